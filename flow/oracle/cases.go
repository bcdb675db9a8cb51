package oracle

import (
	"fmt"
	"math"

	"afctl/flow"
)

// testCase is one entry of Check's table.
type testCase struct {
	name      string
	objective flow.Objective
	inputs    Inputs
	want      Outputs // by Loss
}

// Sizes of the cases: no multiple of a tile or a vector.
const (
	caseTargets = 13
	caseVocab   = 37
)

// edge is how far from a bound the cases keep: far more than float32 blurs, so that both sides are told apart.
const edge = 1.0 / 256

// cases returns the table: every option of the loss by itself and all of them together, log-probs on both sides of
// every bound, and what may be missing.
func cases() []testCase {
	var table []testCase
	add := func(name string, in Inputs, options ...func(o *flow.Objective)) {
		o := flow.DefaultObjective()
		for _, set := range options {
			set(&o)
		}
		table = append(table, testCase{name: name, objective: o, inputs: in})
	}
	temperature := func(t float64) func(*flow.Objective) { return func(o *flow.Objective) { o.Temperature = t } }
	kl := func(e flow.KLEstimator, beta float64) func(*flow.Objective) {
		return func(o *flow.Objective) { o.KLEstimator, o.KL = e, beta }
	}
	tis := func(o *flow.Objective) { o.TISCap = 1.25 }
	dual := func(o *flow.Objective) { o.DualClip = 1.5 }
	entropy := func(o *flow.Objective) { o.Entropy = 0.125 }
	noClip := func(o *flow.Objective) { o.ClipLow, o.ClipHigh = 0, 0 }

	// Differences lp - lo on both sides of ln 0.8, ln 1.3 and ln 1.5 (the dual clip), and at random.
	var offsets []float64
	for _, bound := range []float64{math.Log(0.8), math.Log(1.3), math.Log(1.5)} {
		offsets = append(offsets, bound-edge, bound+edge)
	}
	in := func(t float64) Inputs { return newInputs(1, t, caseTargets, caseVocab, offsets) }

	for _, t := range []float64{0.7, 1, 2.5} {
		add(fmt.Sprintf("temperature %v", t), in(t), temperature(t), kl(flow.K3, 0.5), entropy)
	}
	for _, e := range []flow.KLEstimator{flow.K1, flow.K2, flow.K3} {
		add("kl "+string(e), in(0.7), kl(e, 0.5))
	}
	add("kl 0", in(0.7), kl(flow.K3, 0))
	add("dual clip", in(0.7), dual)
	add("truncated importance sampling", in(0.7), tis, kl(flow.K3, 0.5))
	add("entropy", in(0.7), entropy)
	add("everything", in(2.5), temperature(2.5), kl(flow.K3, 0.5), tis, dual, entropy)

	some := in(0.7)
	for i := 0; i < caseTargets; i += 2 {
		some.LS[i] = math.NaN()
	}
	add("ls missing in some", some)
	none := in(0.7)
	none.LS, none.LR = nil, nil
	add("ls and lr missing", none, kl(flow.K3, 0))

	onPolicy := in(0.7)
	onPolicy.LO = nil
	add("first step", onPolicy, kl(flow.K3, 0.5))
	add("first step, no clip: the bound itself", onPolicy, noClip)
	onPolicy.Weight = make([]float64, caseTargets)
	add("weights of 0", onPolicy, entropy)

	zero := in(0.7)
	zero.Advantage = make([]float64, caseTargets)
	add("zero signal, or a group of one", zero, kl(flow.K3, 0.5))

	// Beyond the clamp of 20 nats, and just within: with lp - lo, then with lr - lp and lo - ls.
	far := []float64{-25, -16, 16, 25}
	add("clamp of lp - lo", newInputs(2, 1, caseTargets, caseVocab, far), temperature(1), kl(flow.K3, 0))
	clamped := newInputs(3, 1, caseTargets, caseVocab, offsets)
	for i := range clamped.LR {
		clamped.LR[i] = float64(float32(clamped.LO[i] + far[i%len(far)]))
		clamped.LS[i] = float64(float32(clamped.LO[i] - far[i%len(far)]))
	}
	add("clamp of lr - lp, k2", clamped, temperature(1), kl(flow.K2, 0.5), tis)
	add("clamp of lr - lp, k3", clamped, temperature(1), kl(flow.K3, 0.5), tis)

	add("one target", newInputs(4, 0.7, 1, caseVocab, offsets[:1]), kl(flow.K3, 0.5), entropy)
	add("two tokens in the vocabulary", newInputs(5, 0.7, caseTargets, 2, offsets), kl(flow.K3, 0.5), entropy)
	return table
}

// newInputs draws inputs from a fixed seed at temperature t: log-probs around lp, with lp - lo running through the
// offsets, and after them at random with A = 0; all exact in float32.
func newInputs(seed uint64, t float64, n, vocab int, offsets []float64) Inputs {
	r := flow.NewRand(flow.DeriveSeed(seed, "oracle"))
	exact := func(x float64) float64 { return float64(float32(x)) }
	in := Inputs{
		Logits: make([]float64, n*vocab), Vocab: vocab, Tokens: make([]int32, n),
		LO: make([]float64, n), LR: make([]float64, n), LS: make([]float64, n),
		Advantage: make([]float64, n), Weight: make([]float64, n),
	}
	magnitudes := []float64{1, 0.353552, 2.474867}
	for i := range n {
		row := in.Logits[i*vocab : (i+1)*vocab]
		sum := 0.0
		for j := range row {
			row[j] = exact(2 * r.NormFloat64())
			sum += math.Exp(row[j] / t)
		}
		in.Tokens[i] = int32(r.IntN(vocab))
		lp := row[in.Tokens[i]]/t - math.Log(sum)
		offset := r.NormFloat64() / 4
		a := magnitudes[i%len(magnitudes)]
		if k := i / 2; k < len(offsets) { // each with A > 0 and with A < 0
			offset = offsets[k]
		} else {
			a = 0
		}
		if i%2 == 1 {
			a = -a
		}
		in.LO[i] = exact(lp - offset)
		in.LR[i] = exact(lp + r.NormFloat64()/4)
		in.LS[i] = exact(in.LO[i] + r.NormFloat64()/4)
		in.Advantage[i] = exact(a)
		in.Weight[i] = exact((1 + r.Float64()) / float64(n))
	}
	return in
}
