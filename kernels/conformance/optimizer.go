package conformance

import (
	"fmt"
	"math"
	"math/rand/v2"

	"afctl/kernels"
	"afctl/kernels/ref"
)

func optimizerCases() []Case {
	var cases []Case
	for i, n := range []int{0, 1, 15, 16, 17, 100, 16384, 16399, 40000} {
		cases = append(cases, adamCase(n, i), sumSquaresCase(n))
	}
	return append(cases, adamPyTorchCase())
}

type adamInput struct {
	p, g, m, v          []float64
	wantP, wantM, wantV expected
}

// adamCase is one step from a random state: each of m, v and p is a few float32 operations.
func adamCase(n, seed int) Case {
	a := kernels.AdamW{Step: 1 + seed*seed, LR: 1e-3, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: []float64{0.1, 0}[seed%2], GradScale: []float64{1, 0.37}[seed%2]}
	return newCase(fmt.Sprintf("adamw/n%d.step%d.decay%v.scale%v", n, a.Step, a.WeightDecay, a.GradScale), func(r *rand.Rand) (in adamInput) {
		in.p, in.g, in.m = normals(r, kernels.F32, n, 1), normals(r, kernels.F32, n, 0.1), normals(r, kernels.F32, n, 0.1)
		in.v = all(normals(r, kernels.F32, n, 0.1), func(x float64) float64 { return float64(float32(x * x)) })
		for i := range in.g {
			if i%11 == 0 { // a parameter that never had a gradient: decay alone moves it
				in.g[i], in.m[i], in.v[i] = 0, 0, 0
			}
		}
		p, m, v := plus(in.p), plus(in.m), plus(in.v)
		ref.AdamW(p, in.g, m, v, a)
		mMag, vMag, pMag := make([]float64, n), make([]float64, n), make([]float64, n)
		c1, c2 := 1-math.Pow(a.Beta1, float64(a.Step)), 1-math.Pow(a.Beta2, float64(a.Step))
		for i := range p {
			mMag[i] = a.Beta1*math.Abs(in.m[i]) + (1-a.Beta1)*math.Abs(a.GradScale*in.g[i])
			vMag[i] = v[i]
			pMag[i] = math.Abs(in.p[i]) + 3*a.LR/c1*mMag[i]/(math.Sqrt(v[i])/math.Sqrt(c2)+a.Eps)
		}
		// Constants and products are rounded, then added: at most 6 roundings each; the update adds a root, two quotients and three products.
		in.wantM, in.wantV, in.wantP = near(m, mMag, 6*unitF32, kernels.F32), near(v, vMag, 6*unitF32, kernels.F32), near(p, pMag, 6*unitF32, kernels.F32)
		return in
	}, func(pr *probe, in adamInput) {
		p, m, v := pr.buffer("p", kernels.F32, 1, n, 0, in.p), pr.buffer("m", kernels.F32, 1, n, 0, in.m), pr.buffer("v", kernels.F32, 1, n, 0, in.v)
		step := a
		step.P, step.G, step.M, step.V = p.Tensor, pr.in("g", kernels.F32, 1, n, 0, in.g).Tensor, m.Tensor, v.Tensor
		pr.must(pr.AdamW(step))
		pr.expect(m, in.wantM)
		pr.expect(v, in.wantV)
		pr.expect(p, in.wantP)
	})
}

// pyTorchError is what three float32 steps may differ from PyTorch's, which rounds in another order: at most 6 units a step, relative to a number and what was added to it.
const pyTorchError = 3 * 6 * unitF32

// adamPyTorchCase is three steps of torch.optim.AdamW (PyTorch 2.15.0, float32, foreach=False, lr 0.01, betas 0.9, 0.999, eps 1e-8, weight_decay 0.1) on
// p = [0.5, -1.25, 0, 3, 0.001] with the gradient [0.1, -2, 0, 1e-6, 30] (1.5 - step) + [0.01, 0.02, 0, 3e-7, -4] at steps 1, 2, 3.
func adamPyTorchCase() Case {
	return newCase("adamw/pytorch", func(*rand.Rand) struct{} { return struct{}{} }, func(pr *probe, _ struct{}) {
		p := pr.buffer("p", kernels.F32, 1, 5, 0, []float64{0.5, -1.25, 0, 3, 0.001})
		m, v := pr.buffer("m", kernels.F32, 1, 5, 0, make([]float64, 5)), pr.buffer("v", kernels.F32, 1, 5, 0, make([]float64, 5))
		for step := 1; step <= 3; step++ {
			var g []float64
			for i, slope := range []float64{0.1, -2, 0, 1e-6, 30} {
				g = append(g, slope*(1.5-float64(step))+[]float64{0.01, 0.02, 0, 3e-7, -4}[i])
			}
			pr.must(pr.AdamW(kernels.AdamW{P: p.Tensor, G: pr.in("g", kernels.F32, 1, 5, 0, g).Tensor, M: m.Tensor, V: v.Tensor, Step: step, LR: 0.01, Beta1: 0.9,
				Beta2: 0.999, Eps: 1e-8, WeightDecay: 0.1, GradScale: 1}))
		}
		for _, c := range []struct {
			b     *buffer
			added float64 // a step moves p by up to about the learning rate
			want  []float64
		}{
			{p, 0.01, []float64{0.4922465980052948, -1.2430229187011719, 0, 2.9797160625457764, 0.0009035267867147923}},
			{m, 0, []float64{-0.0127399992197752, 0.31442001461982727, 0, -7.320000605659516e-08, -5.719000339508057}},
			{v, 0, []float64{2.4791204850771464e-05, 0.011118240654468536, 0, 2.1186809698683397e-15, 2.882397174835205}},
		} {
			pr.expect(c.b, near(c.want, all(c.want, func(x float64) float64 { return math.Abs(x) + c.added }), pyTorchError, kernels.F32))
		}
	})
}

// sumSquaresCase is sum x^2 in float64: values whose squares float32 does not hold are among them.
func sumSquaresCase(n int) Case {
	return newCase(fmt.Sprintf("sumsquares/n%d", n), func(r *rand.Rand) []float64 {
		x := normals(r, kernels.F32, n, 1)
		if n > 100 {
			x[3], x[n-1] = float64(float32(1e25)), float64(float32(-1e25))
		}
		return x
	}, func(p *probe, x []float64) {
		got, err := p.SumSquares(p.in("x", kernels.F32, 1, n, 0, x).Tensor)
		p.must(err)
		want := ref.SumSquares(x)
		if !(math.Abs(got-want) <= float64(n)*0x1p-53*want) {
			p.failf("found %v, expected %v", got, want)
		}
		p.note([]float32{float32(got), float32(got - float64(float32(got)))})
	})
}
