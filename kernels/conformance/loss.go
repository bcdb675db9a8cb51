package conformance

import (
	"fmt"
	"math"
	"math/rand/v2"

	"afctl/kernels"
	"afctl/kernels/ref"
)

// The loss runs in float64 on the host's arrays; only its inputs and dloss/dlp are float32.

// lossError is what a few dozen float64 operations and an exponential may be off, relative to the magnitudes.
const lossError = 0x1p-46

type lossInput struct {
	loss      kernels.Loss
	dlp       expected
	sums, tol kernels.LossSums
}

func lossCases() []Case {
	var cases []Case
	for _, estimator := range []kernels.KLEstimator{kernels.K1, kernels.K2, kernels.K3} {
		for i, p := range []kernels.LossParams{
			{ClipLow: 0.2, ClipHigh: 0.3},
			{ClipLow: 0.2, ClipHigh: 0.3, KL: 0.1},
			{ClipLow: 0.1, ClipHigh: 0.1, KL: 0.5, DualClip: 3, TISCap: 2},
			{ClipLow: 1, ClipHigh: 1e9, DualClip: 1.5},
		} {
			p.KLEstimator = estimator
			cases = append(cases, lossCase(fmt.Sprintf("loss/k%d/params%d", estimator, i), p, 500))
		}
	}
	return append(append(cases, lossCase("loss/none", kernels.LossParams{KL: 1, KLEstimator: kernels.K3}, 0)), append(missingCases(), nearCase())...)
}

// nearCase is a policy next to its reference, as at the first steps: the estimate k3 is far smaller than the terms that it is the difference of.
func nearCase() Case {
	return newCase("loss/near the reference", func(*rand.Rand) struct{} { return struct{}{} }, func(p *probe, _ struct{}) {
		const lp = -0.01
		for _, lr := range []float32{math.Nextafter32(lp, 0), lp - 1e-6, lp + 1e-4} {
			a := kernels.Loss{Params: kernels.LossParams{KL: 1, KLEstimator: kernels.K3}, Index: []int32{0}, Weight: []float64{1}, Advantage: []float64{0},
				LO: []float32{lp}, LR: []float32{lr}, LS: []float32{lr}, LP: []float32{lp}, Entropy: []float32{0}, DLP: make([]float32, 1)}
			var sums kernels.LossSums
			p.must(p.Loss(a, &sums))
			x := float64(lr) - float64(float32(lp))
			want, mismatch := math.Expm1(x)-x, math.Expm1(-x)+x
			if math.Abs(sums.KL-want) > 1e-9*want || math.Abs(sums.MismatchK3-mismatch) > 1e-9*mismatch || a.DLP[0] != float32(-math.Expm1(x)) {
				p.failf("lr - lp = %v: kl %v, k3 of the mismatch %v, dloss/dlp %v, expected %v, %v, %v", x, sums.KL, sums.MismatchK3, a.DLP[0], want, mismatch, -math.Expm1(x))
			}
		}
	})
}

// lossCase is random targets in a shuffled order, some of an update's twice and some never, ratios on both sides of every clip and of the clamp, some log-probs as
// sampled missing where nothing needs them.
func lossCase(title string, params kernels.LossParams, n int) Case {
	return newCase(title, func(r *rand.Rand) (in lossInput) {
		const all = 400
		in.loss.Params = params
		a := &in.loss
		for range all {
			a.Weight, a.Advantage = append(a.Weight, r.Float64()/all), append(a.Advantage, r.NormFloat64())
			a.LO, a.LR, a.LS = append(a.LO, float32(-2*r.Float64())), append(a.LR, float32(-2*r.Float64())), append(a.LS, float32(-2*r.Float64()))
			if params.TISCap == 0 && r.IntN(3) == 0 {
				a.LS[len(a.LS)-1] = float32(math.NaN())
			}
		}
		for i := range n {
			k := r.Int32N(all)
			lp := a.LO[k] + float32(0.5*r.NormFloat64())
			switch i % 20 {
			case 0:
				lp = a.LO[k]
			case 1:
				lp = a.LO[k] - 25
			case 2:
				lp, a.LO[k] = -0.1, -27
			}
			a.Index, a.LP, a.Entropy = append(a.Index, k), append(a.LP, lp), append(a.Entropy, float32(r.Float64()))
		}
		in.expect()
		return in
	}, func(p *probe, in lossInput) {
		dlp, done := onHost[float32](p, "dlp", n)
		in.loss.DLP = dlp
		defer done()
		sums := kernels.LossSums{Policy: 1, KL: 2, Count: 3, RatioMax: 1e-3} // added to
		p.must(p.Loss(in.loss, &sums))
		p.compareLoss(in, sums, kernels.LossSums{Policy: 1, KL: 2, Count: 3, RatioMax: 1e-3})
		in.loss.LS = nil
		if in.loss.Params.TISCap == 0 { // without ls nothing but the mismatch is missing
			sums = kernels.LossSums{}
			p.must(p.Loss(in.loss, &sums))
			in.sums.Mismatch, in.sums.MismatchK3, in.sums.MismatchCount, in.sums.MismatchMax = 0, 0, 0, 0
			p.compareLoss(in, sums, kernels.LossSums{})
		}
	})
}

// expect fills in what the reference makes of in.loss.
func (in *lossInput) expect() {
	a, s, m := &in.loss, &in.sums, &in.tol
	for i, k := range a.Index {
		t := ref.Token{LP: float64(a.LP[i]), LO: float64(a.LO[k]), LR: float64(a.LR[k]), LS: float64(a.LS[k]), Advantage: a.Advantage[k]}
		out, wt := ref.Loss(a.Params, t), a.Weight[k]
		in.dlp.want = append(in.dlp.want, wt*out.DLP)
		x := math.Exp(math.Min(t.LR-t.LP, ref.LogRatioClamp)) + math.Abs(t.LR-t.LP) + 1 // what the estimators are differences of
		in.dlp.tol = append(in.dlp.tol, unitF32*math.Abs(wt*out.DLP)+lossError*wt*(out.Weight*math.Abs(t.Advantage)*out.Ratio+a.Params.KL*x)+tiny)
		s.Policy, m.Policy = s.Policy+wt*out.Weight*out.Policy, m.Policy+wt*out.Weight*math.Abs(out.Policy)
		s.KL, m.KL = s.KL+wt*out.KL, m.KL+wt*x*x
		entropy := wt * float64(a.Entropy[i])
		s.Entropy, m.Entropy = s.Entropy+entropy, m.Entropy+entropy
		s.Ratio, m.Ratio = s.Ratio+out.Ratio, m.Ratio+out.Ratio
		s.RatioMax = math.Max(s.RatioMax, out.Ratio)
		m.RatioMax = s.RatioMax
		s.ClipLow, s.ClipHigh, s.Count = s.ClipLow+count(out.ClipLow), s.ClipHigh+count(out.ClipHigh), s.Count+1
		if gap := t.LO - t.LS; !math.IsNaN(gap) {
			s.Mismatch, m.Mismatch = s.Mismatch+gap, m.Mismatch+math.Abs(gap)
			k3 := math.Exp(gap) - gap - 1
			s.MismatchK3, m.MismatchK3 = s.MismatchK3+k3, m.MismatchK3+math.Exp(gap)+math.Abs(gap)+1
			s.MismatchMax = math.Max(s.MismatchMax, math.Abs(gap))
			m.MismatchMax = s.MismatchMax
			s.MismatchCount++
		}
	}
}

func count(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (p *probe) compareLoss(in lossInput, got, before kernels.LossSums) {
	p.note(in.loss.DLP)
	p.compare("dlp", in.loss.DLP, max(1, len(in.loss.DLP)), in.dlp)
	s, m := in.sums, in.tol
	for _, f := range []struct {
		name                         string
		got, before, want, magnitude float64
	}{
		{"policy", got.Policy, before.Policy, s.Policy, m.Policy}, {"kl", got.KL, before.KL, s.KL, m.KL}, {"entropy", got.Entropy, before.Entropy, s.Entropy, m.Entropy},
		{"ratio", got.Ratio, before.Ratio, s.Ratio, m.Ratio}, {"clip low", got.ClipLow, before.ClipLow, s.ClipLow, 0}, {"clip high", got.ClipHigh, before.ClipHigh, s.ClipHigh, 0},
		{"mismatch", got.Mismatch, before.Mismatch, s.Mismatch, m.Mismatch}, {"mismatch k3", got.MismatchK3, before.MismatchK3, s.MismatchK3, m.MismatchK3},
		{"mismatch count", got.MismatchCount, before.MismatchCount, s.MismatchCount, 0}, {"count", got.Count, before.Count, s.Count, 0},
		{"ratio max", got.RatioMax, 0, math.Max(s.RatioMax, before.RatioMax), m.RatioMax}, {"mismatch max", got.MismatchMax, 0, math.Max(s.MismatchMax, before.MismatchMax), m.MismatchMax},
	} {
		want := f.before + f.want
		if tol := lossError * (f.magnitude + math.Abs(f.before)); !(math.Abs(f.got-want) <= tol) {
			p.failf("sum %s: found %.17g, expected %.17g within %.3g", f.name, f.got, want, tol)
		}
		p.note([]float32{float32(f.got), float32(f.got - float64(float32(f.got)))})
	}
}

// missingCases: a value that is needed and is NaN makes the gradient NaN, so that the step is seen to be broken; one that is not needed does not.
func missingCases() []Case {
	nan := float32(math.NaN())
	plain := kernels.LossParams{ClipLow: 0.2, ClipHigh: 0.2, KLEstimator: kernels.K3}
	kl, capped := plain, plain
	kl.KL, capped.TISCap = 0.1, 2
	var cases []Case
	for _, c := range []struct {
		what             string
		params           kernels.LossParams
		lp, old, ref, ls float32
		want             float64
	}{
		{"lr without kl", plain, -1, -1, nan, -1, -1},
		{"ls without a cap", plain, -1, -1, -1, nan, -1},
		{"lr with kl", kl, -1, -1, nan, -1, math.NaN()},
		{"ls with a cap", capped, -1, -1, -1, nan, math.NaN()},
		{"lp", plain, nan, -1, -1, -1, math.NaN()},
		{"lo", plain, -1, nan, -1, -1, math.NaN()},
	} {
		cases = append(cases, newCase("loss/missing "+c.what, func(*rand.Rand) expected { return exactly([]float64{c.want}) }, func(p *probe, want expected) {
			a := kernels.Loss{Params: c.params, Index: []int32{0}, Weight: []float64{1}, Advantage: []float64{1}, LO: []float32{c.old}, LR: []float32{c.ref},
				LS: []float32{c.ls}, LP: []float32{c.lp}, Entropy: []float32{1}, DLP: []float32{7}}
			p.must(p.Loss(a, &kernels.LossSums{}))
			p.compare("dlp", a.DLP, 1, want)
		}))
	}
	return cases
}
