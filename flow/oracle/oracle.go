package oracle

import (
	"errors"
	"fmt"
	"math"

	g "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"afctl/flow"
)

// Inputs are N targets, each with a row of logits of its own.
type Inputs struct {
	Logits []float64 // [N, Vocab], as the model gives them: not yet divided by the temperature
	Vocab  int
	Tokens []int32   // [N], the token that each row predicts
	LO     []float64 // [N]; nil: lo is lp, detached, as in the first step after the rollouts
	LR     []float64 // [N]; nil: not known, which only kl = 0 allows
	LS     []float64 // [N], NaN where missing; nil: all are
	// Advantage and Weight are A and the aggregation's weight, [N].
	Advantage, Weight []float64
}

// Outputs are what a loss makes of Inputs. Sums are over the targets, with their weights.
type Outputs struct {
	Loss       float64   // PolicyLoss + kl*KL - entropy*Entropy; no KL term for k1
	PolicyLoss float64   // sum weight * w * policy
	KL         float64   // sum weight * kl; NaN where lr is not known
	Entropy    float64   // sum weight * H
	LogProb    []float64 // [N], lp
	DLP        []float64 // [N], dLoss/dlp with the entropy held fixed
	DLogits    []float64 // [N, Vocab], dLoss/dlogits, all of it
}

// Loss returns the objective and its gradients by automatic differentiation.
func Loss(o flow.Objective, in Inputs) (out Outputs, err error) {
	n, v := len(in.Tokens), in.Vocab
	if err := in.check(); err != nil {
		return Outputs{}, fmt.Errorf("oracle: %w", err)
	}
	out = Outputs{LogProb: make([]float64, n), DLP: make([]float64, n), DLogits: make([]float64, 0, n*v)}
	for i, token := range in.Tokens {
		if token < 0 || int(token) >= v {
			return Outputs{}, fmt.Errorf("oracle: target %d: found token %d, expected 0 <= token < %d", i, token, v)
		}
		t := target{
			logits: in.Logits[i*v : (i+1)*v], token: int(token), advantage: in.Advantage[i], weight: in.Weight[i],
			lo: at(in.LO, i), lr: at(in.LR, i), ls: at(in.LS, i),
		}
		if in.LO == nil {
			r, err := t.run(o, true)
			if err != nil {
				return Outputs{}, fmt.Errorf("oracle: target %d: %w", i, err)
			}
			t.lo = r.logProb
		}
		r, err := t.run(o, false)
		if err != nil {
			return Outputs{}, fmt.Errorf("oracle: target %d: %w", i, err)
		}
		out.Loss += r.loss
		out.PolicyLoss += t.weight * r.policy
		out.KL += t.weight * r.kl
		out.Entropy += t.weight * r.entropy
		out.LogProb[i], out.DLP[i] = r.logProb, r.dLogProb
		out.DLogits = append(out.DLogits, r.dLogits...)
	}
	return out, nil
}

// at returns values[i], NaN where there are none.
func at(values []float64, i int) float64 {
	if values == nil {
		return math.NaN()
	}
	return values[i]
}

// check reports arrays of the wrong length.
func (in Inputs) check() error {
	n := len(in.Tokens)
	if in.Vocab < 1 || len(in.Logits) != n*in.Vocab {
		return fmt.Errorf("found %d logits, expected [%d, %d]", len(in.Logits), n, in.Vocab)
	}
	for _, a := range []struct {
		name   string
		values []float64
	}{{"lo", in.LO}, {"lr", in.LR}, {"ls", in.LS}} {
		if a.values != nil && len(a.values) != n {
			return fmt.Errorf("found %d values of %s, expected %d or none", len(a.values), a.name, n)
		}
	}
	if len(in.Advantage) != n || len(in.Weight) != n {
		return fmt.Errorf("found %d advantages and %d weights, expected %d", len(in.Advantage), len(in.Weight), n)
	}
	return nil
}

// target is one of Inputs.
type target struct {
	logits                        []float64
	token                         int
	lo, lr, ls, advantage, weight float64
}

// result is what the graph of one target gives; loss and gradients are weighted.
type result struct {
	loss, policy, kl, entropy, logProb, dLogProb float64
	dLogits                                      []float64
}

// run builds the graph of a target, differentiates and evaluates it; with logProbOnly, no more than lp.
func (t target) run(o flow.Objective, logProbOnly bool) (r result, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("gorgonia: %v", p)
		}
	}()
	b := builder{g.NewGraph()}
	logits := g.NewVector(b.graph, tensor.Float64, g.WithShape(len(t.logits)), g.WithName("logits"),
		g.WithValue(tensor.New(tensor.WithBacking(append([]float64(nil), t.logits...)))))
	// The gradient of what is added to lp is that of lp itself, by the paths that go through lp alone.
	nudge := g.NewScalar(b.graph, tensor.Float64, g.WithName("nudge"), g.WithValue(0.0))

	z := b.mul(logits, b.constant(1/o.Temperature))
	top := math.Inf(-1)
	for _, l := range t.logits {
		top = math.Max(top, l/o.Temperature)
	}
	z = b.sub(z, b.constant(top)) // softmax is the same, and exp cannot overflow
	logProbs := b.sub(z, g.Must(g.Log(g.Must(g.Sum(g.Must(g.Exp(z)))))))
	oneHot := make([]float64, len(t.logits))
	oneHot[t.token] = 1
	picked := g.NewConstant(tensor.New(tensor.WithBacking(oneHot)))
	lp := b.add(g.Must(g.Sum(g.Must(g.HadamardProd(logProbs, picked)))), nudge)
	entropy := g.Must(g.Neg(g.Must(g.Sum(g.Must(g.HadamardProd(g.Must(g.Exp(logProbs)), logProbs))))))

	outputs := []*float64{&r.logProb}
	nodes := g.Nodes{lp}
	var grads g.Nodes
	if !logProbOnly {
		policy, kl, loss := t.loss(b, o, lp, entropy)
		outputs = append(outputs, &r.policy, &r.entropy, &r.loss)
		nodes = append(nodes, policy, entropy, loss)
		r.kl = math.NaN()
		if kl != nil {
			outputs, nodes = append(outputs, &r.kl), append(nodes, kl)
		}
		if grads, err = g.Grad(loss, nudge, logits); err != nil {
			return result{}, err
		}
		outputs, nodes = append(outputs, &r.dLogProb), append(nodes, grads[0])
	}
	values := make([]g.Value, len(nodes))
	for i, n := range nodes {
		g.Read(n, &values[i])
	}
	var dLogits g.Value
	if grads != nil {
		g.Read(grads[1], &dLogits)
	}
	vm := g.NewTapeMachine(b.graph)
	err = errors.Join(vm.RunAll(), vm.Close())
	if err != nil {
		return result{}, err
	}
	for i, v := range values {
		x, ok := v.Data().(float64)
		if !ok {
			return result{}, fmt.Errorf("gorgonia: found %T, expected float64", v.Data())
		}
		*outputs[i] = x
	}
	if dLogits != nil {
		r.dLogits = append([]float64(nil), dLogits.Data().([]float64)...)
	}
	return r, nil
}

// loss adds the objective of one token to the graph: w*policy, kl (nil where lr is not known) and the weighted loss.
func (t target) loss(b builder, o flow.Objective, lp, entropy *g.Node) (policy, kl, loss *g.Node) {
	a := b.constant(t.advantage)
	ratio := g.Must(g.Exp(b.clamp(b.sub(lp, b.constant(t.lo)))))
	clipped := b.atMost(b.atLeast(ratio, b.constant(1-o.ClipLow)), b.constant(1+o.ClipHigh))
	policy = g.Must(g.Neg(b.atMost(b.mul(ratio, a), b.mul(clipped, a))))
	if o.DualClip > 0 && t.advantage < 0 {
		policy = b.atMost(policy, b.constant(-o.DualClip*t.advantage))
	}
	if o.TISCap > 0 {
		w := g.Must(g.Exp(b.clamp(b.sub(b.constant(t.lo), b.constant(t.ls)))))
		policy = b.mul(b.atMost(w, b.constant(o.TISCap)), policy)
	}
	loss = policy
	if !math.IsNaN(t.lr) {
		x := b.clamp(b.sub(b.constant(t.lr), lp))
		switch o.KLEstimator {
		case flow.K1:
			kl = g.Must(g.Neg(x))
		case flow.K2:
			kl = b.mul(b.constant(0.5), b.mul(x, x))
		default:
			kl = b.sub(b.sub(g.Must(g.Exp(x)), x), b.constant(1))
		}
		if o.KLEstimator != flow.K1 {
			loss = b.add(loss, b.mul(b.constant(o.KL), kl))
		}
	}
	loss = b.sub(loss, b.mul(b.constant(o.Entropy), entropy))
	return policy, kl, b.mul(b.constant(t.weight), loss)
}

// builder makes nodes of one graph. It panics where gorgonia refuses; run turns that into an error.
type builder struct{ graph *g.ExprGraph }

func (b builder) constant(x float64) *g.Node { return b.graph.AddNode(g.NewConstant(x)) }
func (b builder) add(x, y *g.Node) *g.Node   { return g.Must(g.Add(x, y)) }
func (b builder) sub(x, y *g.Node) *g.Node   { return g.Must(g.Sub(x, y)) }
func (b builder) mul(x, y *g.Node) *g.Node   { return g.Must(g.Mul(x, y)) }

// choose is x where the mask is 1, else y.
func (b builder) choose(mask, x, y *g.Node) *g.Node {
	return b.add(b.mul(mask, x), b.mul(b.sub(b.constant(1), mask), y))
}

// atMost and atLeast are min(x, y) and max(x, y); on a tie the gradient is that of x.
func (b builder) atMost(x, y *g.Node) *g.Node  { return b.choose(g.Must(g.Lte(x, y, true)), x, y) }
func (b builder) atLeast(x, y *g.Node) *g.Node { return b.choose(g.Must(g.Gte(x, y, true)), x, y) }

// clamp bounds a difference of log-probs to 20 nats; at the bound the gradient is 0.
func (b builder) clamp(x *g.Node) *g.Node {
	const bound = 20
	return b.atLeast(b.constant(-bound), b.atMost(b.constant(bound), x))
}
