package ref

import (
	"math"
	"math/rand/v2"
	"testing"

	"afctl/kernels"
)

func rng(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

func TestLinearBack(t *testing.T) {
	const T, N, K = 3, 4, 5
	r := rng(1)
	x, w, b, dy := normals(r, T*K), normals(r, N*K), normals(r, N), normals(r, T*N)
	f := func() float64 {
		y := Linear(x, w, T, N, K)
		for i := range y {
			y[i] += b[i%N]
		}
		return dot(y, dy)
	}
	requireSlope(t, "dx", LinearBack(dy, w, T, N, K), x, f)
	requireSlope(t, "dw", GradWeight(dy, x, T, N, K), w, f)
	requireSlope(t, "db", GradBias(dy, T, N), b, f)
}

func TestGatherBack(t *testing.T) {
	tokens := []int32{2, 0, 2, 1, 2}
	r := rng(2)
	w, dx := normals(r, 4*3), normals(r, len(tokens)*3)
	dw := make([]float64, len(w))
	ScatterAdd(dw, dx, tokens, 3)
	requireSlope(t, "dw", dw, w, func() float64 { return dot(Gather(w, tokens, 3), dx) })
}

func TestRMSNormBack(t *testing.T) {
	const D = 7
	r := rng(3)
	x, w, dy := normals(r, 4*D), normals(r, D), normals(r, 4*D)
	f := func() float64 { y, _ := RMSNorm(x, w, D, 0.3); return dot(y, dy) }
	_, rstd := RMSNorm(x, w, D, 0.3)
	dx, dw := RMSNormBack(dy, x, w, rstd, D)
	requireSlope(t, "dx", dx, x, f)
	requireSlope(t, "dw", dw, w, f)
}

func TestRoPEBack(t *testing.T) {
	const heads, dh = 2, 6
	positions, table := []int32{0, 3, 11}, RoPETable(12, dh, 100)
	r := rng(4)
	x, dy := normals(r, 3*heads*dh), normals(r, 3*heads*dh)
	requireSlope(t, "dx", RoPE(dy, positions, table, heads, dh, true), x, func() float64 {
		return dot(RoPE(x, positions, table, heads, dh, false), dy)
	})
	// What rotary embedding is for: a score depends on the distance alone (Su et al. 2021, eq. 11).
	q, k := x[:dh], x[dh:2*dh]
	score := func(i, j int32) float64 {
		return dot(RoPE(q, []int32{i}, table, 1, dh, false), RoPE(k, []int32{j}, table, 1, dh, false))
	}
	if a, b := score(9, 4), score(7, 2); math.Abs(a-b) > 1e-12 {
		t.Errorf("scores at equal distance: found %v and %v", a, b)
	}
}

func TestSwiGLUBack(t *testing.T) {
	r := rng(5)
	gate, up, dact := normals(r, 9), normals(r, 9), normals(r, 9)
	f := func() float64 { return dot(SwiGLU(gate, up), dact) }
	dgate, dup := SwiGLUBack(dact, gate, up)
	requireSlope(t, "dgate", dgate, gate, f)
	requireSlope(t, "dup", dup, up, f)
}

func TestAttentionBack(t *testing.T) {
	const T = 5
	n := kernels.Heads{Query: 4, KeyValue: 2, Dim: 3}
	r := rng(6)
	q, k, v := normals(r, T*12), normals(r, T*6), normals(r, T*6)
	dout := normals(r, T*12)
	f := func() float64 { o, _ := Attention(q, k, v, n, 0.7); return dot(o, dout) }
	dq, dk, dv := AttentionBack(dout, q, k, v, n, 0.7)
	requireSlope(t, "dq", dq, q, f)
	requireSlope(t, "dk", dk, k, f)
	requireSlope(t, "dv", dv, v, f)
	// Causality: the last key moves the last row alone.
	before, _ := Attention(q, k, v, n, 0.7)
	k[len(k)-1]++
	v[len(v)-1]++
	after, _ := Attention(q, k, v, n, 0.7)
	for i := range before[:(T-1)*12] {
		if before[i] != after[i] {
			t.Fatalf("o[%d] sees a later key", i)
		}
	}
}

func TestLogProbsBack(t *testing.T) {
	const D, V, T = 4, 11, 0.7
	first, tokens := []int32{0, 2, 2, 5}, []int32{3, 3, 10, 0, 3} // a repeated token, a row without targets, several on a row
	r := rng(7)
	h, w := normals(r, 3*D), normals(r, V*D)
	g, dent := normals(r, len(tokens)), normals(r, 3)
	f := func() float64 {
		out := LogProbs(h, w, first, tokens, D, T)
		return dot(out.LP, g) + dot(out.Entropy, dent)
	}
	out := LogProbs(h, w, first, tokens, D, T)
	dh, dw := LogProbsBack(out, h, w, first, tokens, D, T, g, dent)
	requireSlope(t, "dh", dh, h, f)
	requireSlope(t, "dw", dw, w, f)
	// The form that back ends use: dh = (sum g W_token - (sum g) EW - dent (ELW + H EW))/T.
	for r := range 3 {
		for c := range D {
			s := -dent[r] * (out.ELW[r*D+c] + out.Entropy[r]*out.EW[r*D+c])
			for i := first[r]; i < first[r+1]; i++ {
				s += g[i] * (w[int(tokens[i])*D+c] - out.EW[r*D+c])
			}
			if math.Abs(s/T-dh[r*D+c]) > 1e-12 {
				t.Fatalf("dh[%d,%d] by EW, ELW: found %v, expected %v", r, c, s/T, dh[r*D+c])
			}
		}
	}
}

// The loss kernel's derivative at random points of every estimator, at least kinkGap away from where the objective has a kink, and the
// test vectors of the objective's definition.
func TestLossDerivative(t *testing.T) {
	const kinkGap = 1e-3
	r := rng(8)
	for range 2000 {
		p := kernels.LossParams{ClipLow: 0.2, ClipHigh: 0.3, KL: r.Float64(), KLEstimator: kernels.K2 + kernels.KLEstimator(r.IntN(2))}
		if r.IntN(2) == 0 {
			p.DualClip = 2
		}
		if r.IntN(2) == 0 {
			p.TISCap = 1.5
		}
		in := Token{LO: -1 + 0.4*r.NormFloat64(), LR: -1 + r.NormFloat64(), LS: -1 + r.NormFloat64(), Advantage: r.NormFloat64(), LP: -1 + r.NormFloat64()}
		near := false
		for _, kink := range []float64{0.8, 1.3, p.DualClip} {
			near = near || math.Abs(math.Exp(in.LP-in.LO)-kink) < kinkGap
		}
		if near {
			continue
		}
		x := []float64{in.LP}
		f := func() float64 { at := in; at.LP = x[0]; return Loss(p, at).Loss }
		want, got := slope(x, f)[0], Loss(p, in).DLP
		if !(math.Abs(got-want) <= diffTolerance*math.Max(1, math.Abs(want))) {
			t.Fatalf("%+v %+v: found %v, by differences %v", p, in, got, want)
		}
	}
}

func TestLossVectors(t *testing.T) {
	p := kernels.LossParams{ClipLow: 0.2, ClipHigh: 0.3}
	for _, c := range []struct{ a, logRatio, policy, dlp float64 }{
		{1, math.Log(1.5), -1.3, 0}, {-1, math.Log(1.5), 1.5, 1.5}, {-1, math.Log(0.5), 0.8, 0}, {1, math.Log(0.5), -0.5, -0.5},
		{1, 0, -1, -1},
		{-1, 25, math.Exp(20), 0}, // beyond the clamp
	} {
		out := Loss(p, Token{LP: c.logRatio, Advantage: c.a})
		if math.Abs(out.Policy-c.policy) > 1e-12*math.Abs(c.policy) || math.Abs(out.DLP-c.dlp) > 1e-12 {
			t.Errorf("A %v, ratio e^%v: found policy %v, gradient %v, expected %v, %v", c.a, c.logRatio, out.Policy, out.DLP, c.policy, c.dlp)
		}
	}
	out := Loss(kernels.LossParams{KL: 1, KLEstimator: kernels.K3}, Token{LR: 0.1})
	if math.Abs(out.KL-0.005170918075647) > 1e-14 || math.Abs(out.DLP+0.105170918075648) > 1e-14 {
		t.Errorf("k3 at 0.1: found %v, gradient %v", out.KL, out.DLP)
	}
	// Bounds count as unclipped; what is not needed may be missing, what is needed may not.
	at := Loss(kernels.LossParams{ClipLow: 0.5, ClipHigh: 0}, Token{Advantage: 2, LR: math.NaN(), LS: math.NaN()})
	if at.DLP != -2 {
		t.Errorf("at the upper bound: found gradient %v, expected -2", at.DLP)
	}
	for name, out := range map[string]TokenLoss{
		"lr":  Loss(kernels.LossParams{KL: 0.1, KLEstimator: kernels.K3}, Token{LR: math.NaN()}),
		"ls":  Loss(kernels.LossParams{TISCap: 2}, Token{LS: math.NaN(), Advantage: 1}),
		"lp":  Loss(kernels.LossParams{}, Token{LP: math.NaN(), Advantage: 1}),
		"old": Loss(kernels.LossParams{}, Token{LO: math.NaN(), Advantage: -1}),
	} {
		if !math.IsNaN(out.DLP) {
			t.Errorf("%s missing where it is needed: found gradient %v, expected NaN", name, out.DLP)
		}
	}
}

func TestSample(t *testing.T) {
	z := []float64{math.Inf(-1), 0, math.Log(2), math.Log(5), math.Inf(-1)} // 0, 1/8, 2/8, 5/8, 0
	for _, c := range []struct {
		u     float64
		token int
	}{{0, 1}, {0.1249, 1}, {0.1251, 2}, {0.3749, 2}, {0.3751, 3}, {1 - 0x1p-53, 3}} {
		if token, lp := Sample(z, 1, c.u); token != c.token || math.Abs(lp-(z[token]-math.Log(8))) > 1e-15 {
			t.Errorf("u %v: found token %d with %v", c.u, token, lp)
		}
	}
	// At temperature 1/2 the masses are squared: 1, 4, 25 of 30.
	if token, lp := Sample(z, 0.5, 4.9/30); token != 2 || math.Abs(lp-math.Log(4.0/30)) > 1e-15 {
		t.Errorf("temperature 1/2: found token %d with %v", token, lp)
	}
	if token, lp := Sample([]float64{0, 7, 7}, 0, 0.99); token != 1 || math.Abs(lp-math.Log(math.Exp(7)/(1+2*math.Exp(7)))) > 1e-15 {
		t.Errorf("greedy: found token %d with %v", token, lp)
	}
}

// Three steps of torch.optim.AdamW (PyTorch 2.15.0, float64, lr 0.01, betas 0.9, 0.999, eps 1e-8, weight_decay 0.1) on
// p = [0.5, -1.25, 0, 3, 0.001] with the gradient [0.1, -2, 0, 1e-6, 30] (1.5 - step) + [0.01, 0.02, 0, 3e-7, -4] at steps 1, 2, 3.
func TestAdamWAgainstPyTorch(t *testing.T) {
	p, m, v, g := []float64{0.5, -1.25, 0, 3, 0.001}, make([]float64, 5), make([]float64, 5), make([]float64, 5)
	for step := 1; step <= 3; step++ {
		for i := range g {
			g[i] = []float64{0.1, -2, 0, 1e-6, 30}[i]*(1.5-float64(step)) + []float64{0.01, 0.02, 0, 3e-7, -4}[i]
			g[i] *= 4 // taken back by GradScale
		}
		AdamW(p, g, m, v, kernels.AdamW{Step: step, LR: 0.01, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: 0.1, GradScale: 0.25})
	}
	for _, c := range []struct {
		name      string
		got, want []float64
	}{
		{"p", p, []float64{0.4922465908540025, -1.2430229170738811, 0, 2.979716113065629, 0.0009035262310666528}},
		{"m", m, []float64{-0.01274, 0.3144199999999999, 0, -7.319999999999997e-08, -5.718999999999999}},
		{"v", v, []float64{2.479120360000003e-05, 0.01111823976040001, 0, 2.118680640000002e-15, 2.8823971210000026}},
	} {
		for i := range c.want {
			if math.Abs(c.got[i]-c.want[i]) > 1e-14*math.Abs(c.want[i]) {
				t.Errorf("%s[%d]: found %v, PyTorch has %v", c.name, i, c.got[i], c.want[i])
			}
		}
	}
}

func TestBF16(t *testing.T) {
	for _, c := range []struct{ x, want float64 }{
		{1, 1}, {1 + 0x1p-8, 1}, {1 + 0x1.8p-7, 1 + 0x1p-6}, {1 + 0x1.01p-8, 1 + 0x1p-7}, {-3.14159, -3.140625}, {0x1p-133, 0x1p-133}, {0x1p-135, 0}, // ties to even; subnormals stay
		{math.MaxFloat32, math.Inf(1)}, {math.Inf(-1), math.Inf(-1)},
	} {
		if got := BF16(c.x); got != c.want {
			t.Errorf("%v: found %v, expected %v", c.x, got, c.want)
		}
	}
	if !math.IsNaN(BF16(math.NaN())) {
		t.Error("NaN did not stay one")
	}
}
