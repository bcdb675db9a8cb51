package oracle

import (
	"math"
	"strings"
	"sync"
	"testing"

	"afctl/flow"
)

// token is what lossBy puts together; mutants of it are what Check has to find.
type token func(o flow.Objective, in flow.TokenIn) flow.TokenOut

// lossBy is a loss by closed formulas: log-softmax, the token's objective, and the gradient
// dloss/dlp * (1[v = token] - p_v)/T + entropy * p_v (log p_v + H)/T.
func lossBy(objective token) LossFunc {
	return func(o flow.Objective, in Inputs) (Outputs, error) {
		out := Outputs{DLogits: make([]float64, len(in.Logits))}
		var sums flow.TokenSums
		for i, id := range in.Tokens {
			z := in.Logits[i*in.Vocab : (i+1)*in.Vocab]
			lse := 0.0
			for _, l := range z {
				lse += math.Exp(l / o.Temperature)
			}
			lse = math.Log(lse)
			t := flow.TokenIn{LP: z[id]/o.Temperature - lse, LO: at(in.LO, i), LR: at(in.LR, i), LS: at(in.LS, i), Advantage: in.Advantage[i]}
			if in.LO == nil {
				t.LO = t.LP
			}
			for _, l := range z {
				lp := l/o.Temperature - lse
				t.Entropy -= math.Exp(lp) * lp
			}
			r := objective(o, t)
			sums.Observe(in.Weight[i], t, r)
			out.Loss += in.Weight[i] * r.Loss
			out.LogProb = append(out.LogProb, t.LP)
			out.DLP = append(out.DLP, in.Weight[i]*r.DLP)
			for v, l := range z {
				lp := l/o.Temperature - lse
				d := -math.Exp(lp)
				if v == int(id) {
					d++
				}
				out.DLogits[i*in.Vocab+v] = (in.Weight[i]*r.DLP*d + in.Weight[i]*o.Entropy*math.Exp(lp)*(lp+t.Entropy)) / o.Temperature
			}
		}
		out.PolicyLoss, out.KL, out.Entropy = sums.Policy, sums.KL, sums.Entropy
		return out, nil
	}
}

// exactTolerance is what two float64 computations of the same values may differ by: 2^-53 in log-probs of up to 16,
// through exponentials, over sums of a few hundred terms.
const exactTolerance = 1e-12

// TestTokenAgainstAutodiff: the closed formulas of package flow, and their gradients through the logits, are those of
// automatic differentiation in every case of the table.
func TestTokenAgainstAutodiff(t *testing.T) {
	if err := Check(lossBy(flow.Objective.Token), exactTolerance); err != nil {
		t.Fatal(err)
	}
}

// TestFloat32Passes: a loss whose log-probs went through float32 is within the tolerance that is meant for it.
func TestFloat32Passes(t *testing.T) {
	err := Check(lossBy(func(o flow.Objective, in flow.TokenIn) flow.TokenOut {
		for _, x := range []*float64{&in.LP, &in.LO, &in.Entropy} {
			*x = float64(float32(*x))
		}
		out := o.Token(in)
		for _, x := range []*float64{&out.Policy, &out.KL, &out.Weight, &out.Loss, &out.DLP} {
			*x = float64(float32(*x))
		}
		return out
	}), Float32Tolerance)
	if err != nil {
		t.Fatal(err)
	}
}

// TestCheckFindsMistakes: each mistake that such losses are known for fails in some case.
func TestCheckFindsMistakes(t *testing.T) {
	none := math.NaN()
	for name, wrong := range map[string]token{
		"clip bounds swapped": func(o flow.Objective, in flow.TokenIn) flow.TokenOut {
			o.ClipLow, o.ClipHigh = o.ClipHigh, o.ClipLow
			return o.Token(in)
		},
		"clip whatever the sign of A": func(o flow.Objective, in flow.TokenIn) flow.TokenOut {
			out := o.Token(in)
			if out.Ratio > 1+o.ClipHigh || out.Ratio < 1-o.ClipLow {
				out.DLP = 0
			}
			return out
		},
		"gradient where clipped": func(o flow.Objective, in flow.TokenIn) flow.TokenOut {
			out := o.Token(in)
			o.ClipLow, o.ClipHigh = 1, 1e30
			out.DLP = o.Token(in).DLP
			return out
		},
		"no gradient at the bound": func(o flow.Objective, in flow.TokenIn) flow.TokenOut {
			out := o.Token(in)
			if out.Ratio >= 1+o.ClipHigh || out.Ratio <= 1-o.ClipLow {
				out.DLP = 0
			}
			return out
		},
		"no clamp of the ratio": func(o flow.Objective, in flow.TokenIn) flow.TokenOut {
			out := o.Token(in)
			if d := in.LP - in.LO; d > flow.LogRatioClamp && in.Advantage < 0 {
				out.Policy = -in.Advantage * math.Exp(d)
			}
			return out
		},
		"gradient beyond the clamp": func(o flow.Objective, in flow.TokenIn) flow.TokenOut {
			out := o.Token(in)
			if in.LP-in.LO > flow.LogRatioClamp && in.Advantage < 0 {
				out.DLP = -in.Advantage * out.Ratio
			}
			return out
		},
		"dual clip where A > 0 too": func(o flow.Objective, in flow.TokenIn) flow.TokenOut {
			out := o.Token(in)
			if o.DualClip > 0 && in.Advantage > 0 && out.Ratio < 1/o.DualClip {
				out.DLP = 0
			}
			if o.DualClip > 0 {
				out.Policy = math.Min(out.Policy, o.DualClip*in.Advantage)
			}
			return out
		},
		"no dual clip": func(o flow.Objective, in flow.TokenIn) flow.TokenOut { o.DualClip = 0; return o.Token(in) },
		"k2 for k3": func(o flow.Objective, in flow.TokenIn) flow.TokenOut {
			if o.KLEstimator == flow.K3 {
				o.KLEstimator = flow.K2
			}
			return o.Token(in)
		},
		"k1 in the loss": func(o flow.Objective, in flow.TokenIn) flow.TokenOut {
			out := o.Token(in)
			if o.KLEstimator == flow.K1 {
				out.Loss += o.KL * out.KL
				out.DLP += o.KL
			}
			return out
		},
		"KL the other way round": func(o flow.Objective, in flow.TokenIn) flow.TokenOut {
			in.LR = 2*in.LP - in.LR
			return o.Token(in)
		},
		"KL weighted by w": func(o flow.Objective, in flow.TokenIn) flow.TokenOut {
			out := o.Token(in)
			if o.KLInLoss() {
				out.Loss += (out.Weight - 1) * o.KL * out.KL
			}
			return out
		},
		"w without its cap": func(o flow.Objective, in flow.TokenIn) flow.TokenOut {
			if o.TISCap > 0 {
				o.TISCap = 1e30
			}
			return o.Token(in)
		},
		"w not of the gradient": func(o flow.Objective, in flow.TokenIn) flow.TokenOut {
			out := o.Token(in)
			o.TISCap = 0
			out.DLP = o.Token(in).DLP
			return out
		},
		"ls for lo": func(o flow.Objective, in flow.TokenIn) flow.TokenOut {
			if !math.IsNaN(in.LS) {
				in.LO = in.LS
			}
			return o.Token(in)
		},
		"missing ls as a number": func(o flow.Objective, in flow.TokenIn) flow.TokenOut {
			if math.IsNaN(in.LS) {
				o.TISCap = 1
			}
			return o.Token(in)
		},
		"missing lr as a number": func(o flow.Objective, in flow.TokenIn) flow.TokenOut {
			if math.IsNaN(in.LR) {
				in.LR = 0
			}
			return o.Token(in)
		},
		"entropy added": func(o flow.Objective, in flow.TokenIn) flow.TokenOut { o.Entropy = -o.Entropy; return o.Token(in) },
		"NaN": func(flow.Objective, flow.TokenIn) flow.TokenOut {
			return flow.TokenOut{Loss: none, Policy: none, KL: none, DLP: none}
		},
	} {
		if err := Check(lossBy(wrong), Float32Tolerance); err == nil || !strings.HasPrefix(err.Error(), "case ") {
			t.Errorf("%s: error %v", name, err)
		}
	}
	right := lossBy(flow.Objective.Token)
	for name, wrong := range map[string]LossFunc{
		"temperature ignored": func(o flow.Objective, in Inputs) (Outputs, error) { o.Temperature = 1; return right(o, in) },
		"temperature not in the gradient": func(o flow.Objective, in Inputs) (Outputs, error) {
			out, err := right(o, in)
			for i := range out.DLogits {
				out.DLogits[i] *= o.Temperature
			}
			return out, err
		},
		"entropy without gradient": func(o flow.Objective, in Inputs) (Outputs, error) {
			out, err := right(o, in)
			o.Entropy = 0
			plain, _ := right(o, in)
			out.DLogits = plain.DLogits
			return out, err
		},
		"KL without its weight": func(o flow.Objective, in Inputs) (Outputs, error) {
			out, err := right(o, in)
			out.KL *= 13
			return out, err
		},
		"an array cut short": func(o flow.Objective, in Inputs) (Outputs, error) {
			out, err := right(o, in)
			out.DLP = out.DLP[:len(out.DLP)-1]
			return out, err
		},
	} {
		if err := Check(wrong, Float32Tolerance); err == nil {
			t.Errorf("%s: found no error", name)
		}
	}
}

// TestLossRefuses: what is not N targets over a vocabulary is an error, never a panic.
func TestLossRefuses(t *testing.T) {
	o := flow.DefaultObjective()
	for name, spoil := range map[string]func(in *Inputs){
		"no vocabulary":         func(in *Inputs) { in.Vocab = 0 },
		"logits missing":        func(in *Inputs) { in.Logits = in.Logits[1:] },
		"token outside":         func(in *Inputs) { in.Tokens[3] = 5 },
		"token negative":        func(in *Inputs) { in.Tokens[3] = -1 },
		"lo short":              func(in *Inputs) { in.LO = in.LO[1:] },
		"ls long":               func(in *Inputs) { in.LS = append(in.LS, 0) },
		"advantages missing":    func(in *Inputs) { in.Advantage = nil },
		"no weight for a token": func(in *Inputs) { in.Weight = in.Weight[1:] },
	} {
		in := newInputs(1, 1, 7, 5, nil)
		spoil(&in)
		if _, err := Loss(o, in); err == nil {
			t.Errorf("%s: found no error", name)
		}
	}
	out, err := Loss(o, Inputs{Vocab: 3})
	if err != nil || out.Loss != 0 || len(out.DLogits) != 0 {
		t.Errorf("no targets: %+v, %v", out, err)
	}
}

// TestTrap18FiniteDifferences: the automatic gradient by the logits against central differences of the automatic loss.
func TestTrap18FiniteDifferences(t *testing.T) {
	const step, tolerance = 1e-5, 1e-8 // h^2 = 1e-10 of third derivatives of order 1, and 2^-53 / h = 1e-11
	o := flow.DefaultObjective()
	o.KL, o.Entropy, o.TISCap = 0.5, 0.125, 1.25
	in := newInputs(6, o.Temperature, 3, 5, []float64{0.1, -0.1})
	out, err := Loss(o, in)
	if err != nil {
		t.Fatal(err)
	}
	for i := range in.Logits {
		at := func(x float64) float64 {
			moved := in
			moved.Logits = append([]float64(nil), in.Logits...)
			moved.Logits[i] += x
			out, err := Loss(o, moved)
			if err != nil {
				t.Fatal(err)
			}
			return out.Loss
		}
		if want := (at(step) - at(-step)) / (2 * step); math.Abs(out.DLogits[i]-want) > tolerance {
			t.Errorf("dloss/dlogits[%d] = %v, by differences %v", i, out.DLogits[i], want)
		}
	}
}

// TestLossConcurrently: graphs of different goroutines do not touch each other (with -race).
func TestLossConcurrently(t *testing.T) {
	in := newInputs(7, 1, 5, 6, nil)
	want, err := Loss(flow.DefaultObjective(), in)
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			got, err := Loss(flow.DefaultObjective(), in)
			if err != nil || got.Loss != want.Loss {
				t.Errorf("loss %v, %v; expected %v", got.Loss, err, want.Loss)
			}
		})
	}
	group.Wait()
}
