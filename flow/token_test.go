package flow

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

// vectorTolerance is half a unit in the last of the six decimals that the test vectors are given with.
const vectorTolerance = 5e-7

// differenceStep and differenceTolerance are those of central differences in float64. With step h the truncation is
// h^2/6 of the third derivative, which for exponentials is the value itself: 2e-11 of it. Rounding puts 2^-53 of the
// value over h, and of |lp| <= 40 over h into the step: below 1e-9 of value and slope. 1e-7 leaves room for sums.
const (
	differenceStep      = 1e-5
	differenceTolerance = 1e-7
)

func near(a, b, tolerance float64) bool { return math.Abs(a-b) <= tolerance }

// TestTokenVectors holds the numbers worked out by hand.
func TestTokenVectors(t *testing.T) {
	o := DefaultObjective()
	o.KL = 0
	for _, c := range []struct {
		name                  string
		in                    TokenIn
		policy, kl, dLogProb  float64
		clippedLow, clippedHi bool
	}{
		{"clipped above", TokenIn{LP: math.Log(1.5), Advantage: 1}, -1.3, 0, 0, false, true},
		{"above, A < 0", TokenIn{LP: math.Log(1.5), Advantage: -1}, 1.5, 0, 1.5, false, false},
		{"clipped below", TokenIn{LP: math.Log(0.5), Advantage: -1}, 0.8, 0, 0, true, false},
		{"below, A > 0", TokenIn{LP: math.Log(0.5), Advantage: 1}, -0.5, 0, -0.5, false, false},
	} {
		c.in.LR, c.in.LS = c.in.LP, math.NaN()
		got := o.Token(c.in)
		if !near(got.Policy, c.policy, vectorTolerance) || !near(got.DLP, c.dLogProb, vectorTolerance) ||
			!near(got.Loss, c.policy, vectorTolerance) || got.KL != 0 || got.Weight != 1 ||
			got.ClipLow != c.clippedLow || got.ClipHigh != c.clippedHi {
			t.Errorf("%s: found %+v", c.name, got)
		}
	}
	o.KL = 1
	if got := o.Token(TokenIn{LR: 0.1, LS: math.NaN()}); !near(got.KL, 0.005171, vectorTolerance) ||
		!near(got.DLP, -0.105171, vectorTolerance) || got.Loss != got.KL {
		t.Errorf("k3 at x = 0.1: found %+v", got)
	}
}

// drawObjective draws every option of the loss, the defaults among them.
func drawObjective(t *rapid.T) Objective {
	o := DefaultObjective()
	o.ClipLow = rapid.SampledFrom([]float64{0, 0.2, 0.5}).Draw(t, "clip_low")
	o.ClipHigh = rapid.SampledFrom([]float64{0, 0.3, 1.5}).Draw(t, "clip_high")
	o.DualClip = rapid.SampledFrom([]float64{0, 1.1, 3}).Draw(t, "dual_clip")
	o.KL = rapid.SampledFrom([]float64{0, 0.001, 1}).Draw(t, "kl")
	o.KLEstimator = rapid.SampledFrom([]KLEstimator{K1, K2, K3}).Draw(t, "kl_estimator")
	o.TISCap = rapid.SampledFrom([]float64{0, 0.5, 2}).Draw(t, "tis_cap")
	o.Entropy = rapid.SampledFrom([]float64{0, 0.01}).Draw(t, "entropy")
	return o
}

func drawToken(t *rapid.T) TokenIn {
	lp := rapid.Float64Range(-30, 0).Draw(t, "lp")
	apart := func(name string) float64 {
		return lp + rapid.OneOf(rapid.Float64Range(-1, 1), rapid.Float64Range(-25, 25)).Draw(t, name)
	}
	return TokenIn{
		LP: lp, LO: apart("lo"), LR: apart("lr"), LS: apart("ls"),
		Advantage: rapid.OneOf(rapid.Just(0.0), rapid.Float64Range(-3, 3)).Draw(t, "A"),
		Entropy:   rapid.Float64Range(0, 10).Draw(t, "H"),
	}
}

// TestTrap18FiniteDifferences: dloss/dlp against central differences, with every option, away from the kinks.
func TestTrap18FiniteDifferences(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o, in := drawObjective(t), drawToken(t)
		for _, kink := range []float64{math.Log(1 - o.ClipLow), math.Log(1 + o.ClipHigh), math.Log(max(o.DualClip, 1)),
			-LogRatioClamp, LogRatioClamp} {
			if near(in.LP-in.LO, kink, 2*differenceStep) || near(in.LR-in.LP, kink, 2*differenceStep) {
				t.Skip("at a kink")
			}
		}
		at := func(lp float64) float64 {
			moved := in
			moved.LP = lp
			return o.Token(moved).Loss
		}
		want := (at(in.LP+differenceStep) - at(in.LP-differenceStep)) / (2 * differenceStep)
		got := o.Token(in)
		if scale := 1 + math.Abs(got.Loss) + math.Abs(want); !near(got.DLP, want, differenceTolerance*scale) {
			t.Fatalf("dloss/dlp = %v, by differences %v: %+v", got.DLP, want, got)
		}
	})
}

// TestTokenIsTheFormula compares with the formula as it stands on paper: min after multiplying by A, no case split.
func TestTokenIsTheFormula(t *testing.T) {
	clamp := func(x, lo, hi float64) float64 { return math.Max(lo, math.Min(hi, x)) }
	rapid.Check(t, func(t *rapid.T) {
		o, in := drawObjective(t), drawToken(t)
		rho := math.Exp(clamp(in.LP-in.LO, -20, 20))
		policy := -math.Min(rho*in.Advantage, clamp(rho, 1-o.ClipLow, 1+o.ClipHigh)*in.Advantage)
		if o.DualClip > 0 && in.Advantage < 0 {
			policy = math.Min(policy, -o.DualClip*in.Advantage)
		}
		x := clamp(in.LR-in.LP, -20, 20)
		kl := map[KLEstimator]float64{K1: -x, K2: x * x / 2, K3: math.Exp(x) - x - 1}[o.KLEstimator]
		w := 1.0
		if o.TISCap > 0 {
			w = math.Min(math.Exp(clamp(in.LO-in.LS, -20, 20)), o.TISCap)
		}
		loss := w*policy - o.Entropy*in.Entropy
		if o.KLEstimator != K1 {
			loss += o.KL * kl
		}
		// A few roundings of values up to exp(20), and 2^-52 of cancellation in k3 near 0.
		same := func(a, b float64) bool { return near(a, b, 1e-14*(1+math.Abs(a)+math.Abs(b))) }
		got := o.Token(in)
		if !same(got.Policy, policy) || !same(got.KL, kl) || got.Weight != w || !same(got.Loss, loss) || got.Ratio != rho {
			t.Fatalf("found %+v, by the formula policy %v, kl %v, w %v, loss %v, rho %v", got, policy, kl, w, loss, rho)
		}
	})
}

// TestTrap15Clips: what happens exactly at the bounds, and beyond the clamp.
func TestTrap15Clips(t *testing.T) {
	o := DefaultObjective()
	o.KL = 0
	at := func(o Objective, d, a float64) TokenOut { return o.Token(TokenIn{LP: d, Advantage: a, LS: math.NaN()}) }

	// rho - 1 and 1 - rho are exact in float64 for 0.5 <= rho < 2: the bounds below are met to the bit.
	high, low := math.Exp(0.25), math.Exp(-0.25)
	o.ClipHigh, o.ClipLow = high-1, 1-low
	if got := at(o, 0.25, 2); got.DLP != -2*high || got.ClipHigh {
		t.Errorf("at 1 + clip_high with A > 0 the unclipped branch counts: found %+v", got)
	}
	if got := at(o, -0.25, -2); got.DLP != 2*low || got.ClipLow {
		t.Errorf("at 1 - clip_low with A < 0 the unclipped branch counts: found %+v", got)
	}
	if got := at(o, 0.26, 2); got.DLP != 0 || got.Policy != -2*high || !got.ClipHigh {
		t.Errorf("above 1 + clip_high with A > 0: found %+v", got)
	}
	if got := at(o, -0.26, -2); got.DLP != 0 || got.Policy != 2*low || !got.ClipLow {
		t.Errorf("below 1 - clip_low with A < 0: found %+v", got)
	}

	o.DualClip = math.Exp(1)
	if got := at(o, 1, -2); got.DLP != 2*math.E {
		t.Errorf("at the dual clip the unclipped branch counts: found %+v", got)
	}
	if got := at(o, 1.01, -2); got.DLP != 0 || got.Policy != 2*math.E || got.ClipLow || got.ClipHigh {
		t.Errorf("beyond the dual clip: found %+v", got)
	}
	o.DualClip, o.ClipHigh = 1.1, 0.5
	if got, plain := at(o, 0.25, 2), at(Objective{ClipLow: o.ClipLow, ClipHigh: o.ClipHigh}, 0.25, 2); got != plain {
		t.Errorf("the dual clip touches A > 0: %+v against %+v", got, plain)
	}

	o.DualClip = 0
	for _, d := range []float64{20, 30} {
		if got := at(o, d, -1); got.DLP != 0 || got.Policy != math.Exp(20) {
			t.Errorf("lp - lo = %v: found %+v, expected the value at 20 and no gradient", d, got)
		}
		if got := at(o, -d, 1); got.DLP != 0 || got.Policy != -math.Exp(-20) {
			t.Errorf("lp - lo = %v: found %+v, expected the value at -20 and no gradient", -d, got)
		}
	}
	if got := at(o, 19.9, -1); got.DLP != math.Exp(19.9) {
		t.Errorf("lp - lo = 19.9: found %+v, expected a gradient", got)
	}
}

// TestTrap17OnPolicy: at the first step the ratio is exactly 1, and the gradient is -A although losses sum to 0.
func TestTrap17OnPolicy(t *testing.T) {
	o := DefaultObjective()
	sum := 0.0
	for _, a := range Advantages([]float64{1, 0, 0, 1}, once(4), o.AdvantageStd, o.AdvantageEps) {
		got := o.Token(TokenIn{LP: -1.7, LO: -1.7, LR: -1.7, LS: math.NaN(), Advantage: a})
		sum += got.Loss
		if got.Ratio != 1 || got.KL != 0 || got.DLP != -a || a == 0 {
			t.Errorf("A = %v: found %+v", a, got)
		}
	}
	if sum != 0 {
		t.Errorf("losses sum to %v, expected 0", sum)
	}
}

// TestTrap21KL: k3 is not negative, k1 and k2 are as they are named, no estimator is weighted by w, and the clamp
// stops the gradient.
func TestTrap21KL(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawToken(t)
		o := DefaultObjective()
		if got := o.Token(in); !(got.KL >= 0) {
			t.Fatalf("k3 = %v", got.KL)
		}
		in.Advantage, o.KL, o.TISCap = 0, 1, 0.5
		if got := o.Token(in); got.Loss != got.KL {
			t.Fatalf("w = %v is in the KL term: loss %v, kl %v", got.Weight, got.Loss, got.KL)
		}
		o.KLEstimator = K1
		if got := o.Token(in); got.Loss != 0 || got.DLP != 0 {
			t.Fatalf("k1 is in the loss: %+v", got)
		}
	})
	o := DefaultObjective()
	o.KL = 1
	for _, e := range []KLEstimator{K2, K3} {
		o.KLEstimator = e
		for _, x := range []float64{20, -20, 50} {
			if got := o.Token(TokenIn{LR: x, LS: math.NaN()}); got.DLP != 0 {
				t.Errorf("%s at lr - lp = %v has gradient %v", e, x, got.DLP)
			}
		}
	}
	if got := o.Token(TokenIn{LP: -1, LR: -1 + 1e-9}); !near(got.KL, 5e-19, 1e-24) {
		t.Errorf("k3 near 0 is %v: cancelled", got.KL) // x^2/2
	}
}

// TestTrap14SelectNotMultiply: what is absent and not needed leaves no NaN; what is needed leaves no silent number.
func TestTrap14SelectNotMultiply(t *testing.T) {
	o := DefaultObjective()
	o.KL = 0
	absent := TokenIn{LP: -1, LO: -1.1, LR: math.NaN(), LS: math.NaN(), Advantage: 1, Entropy: math.NaN()}
	if got := o.Token(absent); !finite(got.Loss) || !finite(got.DLP) || got.Weight != 1 {
		t.Errorf("lr, ls and H absent: found %+v", got)
	}
	for name, need := range map[string]func(o *Objective, in *TokenIn){
		"lp":      func(_ *Objective, in *TokenIn) { in.LP = math.NaN() },
		"lo":      func(_ *Objective, in *TokenIn) { in.LO = math.NaN() },
		"lr":      func(o *Objective, _ *TokenIn) { o.KL = 0.001 },
		"ls":      func(o *Objective, _ *TokenIn) { o.TISCap = 2 },
		"entropy": func(o *Objective, _ *TokenIn) { o.Entropy = 0.1 },
	} {
		o, in := o, absent
		need(&o, &in)
		if got := o.Token(in); !math.IsNaN(got.Loss) {
			t.Errorf("%s is needed and absent: found %+v, expected a loss of NaN", name, got)
		}
	}
}

// TestTrap22ImportanceSampling: w is capped, constant, of the policy term only, and clamped before the exponential.
func TestTrap22ImportanceSampling(t *testing.T) {
	o := DefaultObjective()
	o.KL, o.TISCap = 0, 2
	for _, c := range []struct{ ls, w float64 }{{-1, 1}, {-1.5, math.Exp(0.5)}, {-3, 2}, {-100, 2}, {0, math.Exp(-1)}, {90, math.Exp(-20)}} {
		got := o.Token(TokenIn{LP: -1, LO: -1, LR: -1, LS: c.ls, Advantage: 1})
		if got.Weight != c.w || got.Loss != -c.w || got.DLP != -c.w || got.Policy != -1 {
			t.Errorf("ls = %v: found %+v, expected w = %v", c.ls, got, c.w)
		}
	}
}
