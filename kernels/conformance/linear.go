package conformance

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"afctl/kernels"
	"afctl/kernels/ref"
)

// Dense products with all that belongs to them. A sum over K and R terms is a chain of float32 additions; products of two bf16 are exact in float32.

// linearShape is y [T, N] = x [T, K] W^T, with a low-rank part of rank R where R > 0.
type linearShape struct{ t, n, k, r int }

// Around every edge there is: of vectors (16), panels (64), passes of rows (48), pairs (odd K), no rows.
var linearShapes = []linearShape{
	{0, 5, 4, 8}, {1, 1, 1, 1}, {1, 16, 2, 0}, {2, 17, 3, 8}, {3, 15, 15, 16}, {15, 63, 17, 24}, {17, 65, 63, 64}, {63, 64, 65, 1}, {65, 130, 100, 16},
	{100, 48, 130, 0}, {130, 100, 64, 8}, {49, 33, 31, 24}, {1, 130, 65, 64}, {7, 80, 16, 16}, {48, 128, 48, 3}, {13, 96, 80, 32},
}

// Where back ends cut a long sum or many rows into parts; and with nothing left over anywhere, as units for whole tiles like it.
var longShapes = []linearShape{{50, 70, 6300, 8}, {481, 17, 3150, 0}, {1100, 20, 6, 3}, {270, 601, 530, 5}, {270, 1030, 530, 3}, {128, 192, 64, 64}, {256, 256, 256, 16}}

// linearKind is the dtypes of a product; the low-rank matrix has x's: in a float32 pass over bf16 weights the adapter stays float32.
type linearKind struct{ x, w, y kernels.DType }

var linearKinds = []linearKind{
	{kernels.F32, kernels.F32, kernels.F32}, {kernels.F32, kernels.BF16, kernels.F32}, {kernels.BF16, kernels.BF16, kernels.F32},
	{kernels.F32, kernels.F32, kernels.BF16}, {kernels.BF16, kernels.BF16, kernels.BF16}, {kernels.F32, kernels.BF16, kernels.BF16},
}

func linearCases() []Case {
	var cases []Case
	for _, kind := range linearKinds {
		for i, s := range linearShapes {
			cases = append(cases, linearCase(kind, s, i%2 == 0, i%3 == 0 && kind.y == kernels.F32, spare(i%3*5)))
			cases = append(cases, linearCase(kind, s, i%2 == 1, i%3 != 0 && kind.y == kernels.F32, spare((i+1)%3*5)))
			cases = append(cases, linearBackCase(kind, s, i%2 == 0 && kind.y == kernels.F32, spare(i%3*5)))
		}
		for _, s := range longShapes {
			cases = append(cases, linearCase(kind, s, true, false, 0), linearBackCase(kind, linearShape{s.t, s.k, s.n, s.r}, false, 0))
		}
	}
	return cases
}

func linearName(op string, kind linearKind, s linearShape, gap spare, options map[string]bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s/x%v.w%v.y%v/T%d.N%d.K%d.R%d", op, kind.x, kind.w, kind.y, s.t, s.n, s.k, s.r)
	for _, o := range []string{"bias", "add"} {
		if options[o] {
			b.WriteString("." + o)
		}
	}
	if gap > 0 {
		fmt.Fprintf(&b, ".gap%d", gap)
	}
	return b.String()
}

type linearInput struct {
	x, w, u, b, bias, y []float64
	expected
}

func linearCase(kind linearKind, s linearShape, bias, add bool, gap spare) Case {
	return newCase(linearName("linear", kind, s, gap, map[string]bool{"bias": bias, "add": add}), func(r *rand.Rand) (in linearInput) {
		in.x, in.w = normals(r, kind.x, s.t*s.k, 1), normals(r, kind.w, s.n*s.k, 1)
		want, magnitude := ref.Linear(in.x, in.w, s.t, s.n, s.k), ref.Linear(abs(in.x), abs(in.w), s.t, s.n, s.k)
		if s.r > 0 {
			in.u, in.b = normals(r, kind.x, s.t*s.r, 1), normals(r, kind.x, s.n*s.r, 1)
			want, magnitude = plus(want, ref.Linear(in.u, in.b, s.t, s.n, s.r)), plus(magnitude, ref.Linear(abs(in.u), abs(in.b), s.t, s.n, s.r))
		}
		if bias {
			in.bias = normals(r, kernels.F32, s.n, 1)
			rows := ref.Gather(in.bias, make([]int32, s.t), s.n)
			want, magnitude = plus(want, rows), plus(magnitude, abs(rows))
		}
		if add {
			in.y = normals(r, kernels.F32, s.t*s.n, 1)
			want, magnitude = plus(want, in.y), plus(magnitude, abs(in.y))
		}
		in.expected = near(want, magnitude, chain(s.k+s.r+4), kind.y)
		return in
	}, func(p *probe, in linearInput) {
		y := p.buffer("y", kind.y, s.t, s.n, gap, in.y)
		a := kernels.Linear{Y: y.Tensor, X: p.in("x", kind.x, s.t, s.k, gap, in.x).Tensor, W: p.matrix(kind.w, s.n, s.k, in.w), Add: add}
		if bias {
			a.Bias = p.in("bias", kernels.F32, 1, s.n, 0, in.bias).Tensor
		}
		if s.r > 0 {
			a.U, a.B = p.in("u", kind.x, s.t, s.r, gap, in.u).Tensor, p.matrix(kind.x, s.n, s.r, in.b)
		}
		p.must(p.Linear(a))
		p.expect(y, in.expected)
	})
}

// linearBackCase is dx = dy W (+ du A) (+ dx); kind.x is dy's dtype, kind.y dx's. A float32 W under a bf16 dy is out of the contract's pairs.
func linearBackCase(kind linearKind, s linearShape, add bool, gap spare) Case {
	return newCase(linearName("linearback", kind, s, gap, map[string]bool{"add": add}), func(r *rand.Rand) (in linearInput) {
		in.x, in.w = normals(r, kind.x, s.t*s.n, 1), normals(r, kind.w, s.n*s.k, 1)
		want, magnitude := ref.LinearBack(in.x, in.w, s.t, s.n, s.k), ref.LinearBack(abs(in.x), abs(in.w), s.t, s.n, s.k)
		if s.r > 0 {
			in.u, in.b = normals(r, kind.x, s.t*s.r, 1), normals(r, kind.x, s.r*s.k, 1)
			want, magnitude = plus(want, ref.LinearBack(in.u, in.b, s.t, s.r, s.k)), plus(magnitude, ref.LinearBack(abs(in.u), abs(in.b), s.t, s.r, s.k))
		}
		if add {
			in.y = normals(r, kernels.F32, s.t*s.k, 1)
			want, magnitude = plus(want, in.y), plus(magnitude, abs(in.y))
		}
		in.expected = near(want, magnitude, chain(s.n+s.r+3), kind.y)
		return in
	}, func(p *probe, in linearInput) {
		dx := p.buffer("dx", kind.y, s.t, s.k, gap, in.y)
		a := kernels.LinearBack{DX: dx.Tensor, DY: p.in("dy", kind.x, s.t, s.n, gap, in.x).Tensor, W: p.matrix(kind.w, s.n, s.k, in.w), Add: add}
		if s.r > 0 {
			a.DU, a.A = p.in("du", kind.x, s.t, s.r, gap, in.u).Tensor, p.matrix(kind.x, s.r, s.k, in.b)
		}
		p.must(p.LinearBack(a))
		p.expect(dx, in.expected)
	})
}

// Gradients of weights and biases: sums over rows, in order.

func gradientCases() []Case {
	var cases []Case
	shapes := []linearShape{{t: 0, n: 5, k: 4}, {t: 1, n: 1, k: 1}, {t: 2, n: 17, k: 3}, {t: 15, n: 63, k: 17}, {t: 65, n: 64, k: 16}, {t: 130, n: 100, k: 65}, {t: 49, n: 16, k: 130},
		{t: 300, n: 257, k: 48}, {t: 129, n: 24, k: 300}, {t: 33, n: 9, k: 40}, {t: 31, n: 60, k: 31},
		{t: 3, n: 64, k: 64}, {t: 517, n: 300, k: 208}, {t: 40, n: 70, k: 1104}}
	for i, s := range shapes {
		for _, dy := range floats {
			for _, x := range floats {
				cases = append(cases, gradWeightCase(dy, x, s, []float64{1, 0.7}[i%2], spare(i%3*5)), gradWeightCase(dy, x, s, []float64{2, 1}[i%2], spare((i+1)%3*5)))
			}
			cases = append(cases, gradBiasCase(dy, s, spare(i%3*5)))
		}
	}
	return cases
}

func gradWeightCase(ddy, dx kernels.DType, s linearShape, scale float64, gap spare) Case {
	kind := linearKind{dx, ddy, kernels.F32}
	return newCase(linearName("gradweight", kind, s, gap, nil)+fmt.Sprintf(".scale%v", scale), func(r *rand.Rand) (in linearInput) {
		in.x, in.u, in.y = normals(r, dx, s.t*s.k, 1), normals(r, ddy, s.t*s.n, 1), normals(r, kernels.F32, s.n*s.k, 1)
		times := func(v float64) float64 { return scale * v }
		want := plus(in.y, all(ref.GradWeight(in.u, in.x, s.t, s.n, s.k), times))
		magnitude := plus(abs(in.y), all(ref.GradWeight(abs(in.u), abs(in.x), s.t, s.n, s.k), times))
		in.expected = near(want, magnitude, chain(s.t+4), kernels.F32)
		return in
	}, func(p *probe, in linearInput) {
		dw := p.buffer("dw", kernels.F32, s.n, s.k, gap, in.y)
		p.must(p.GradWeight(dw.Tensor, p.in("dy", ddy, s.t, s.n, gap, in.u).Tensor, p.in("x", dx, s.t, s.k, gap, in.x).Tensor, scale))
		p.expect(dw, in.expected)
	})
}

func gradBiasCase(d kernels.DType, s linearShape, gap spare) Case {
	return newCase(linearName("gradbias", linearKind{d, d, kernels.F32}, s, gap, nil), func(r *rand.Rand) (in linearInput) {
		in.x, in.y = normals(r, d, s.t*s.n, 1), normals(r, kernels.F32, s.n, 1)
		in.expected = near(plus(in.y, ref.GradBias(in.x, s.t, s.n)), plus(abs(in.y), ref.GradBias(abs(in.x), s.t, s.n)), chain(s.t+1), kernels.F32)
		return in
	}, func(p *probe, in linearInput) {
		db := p.buffer("db", kernels.F32, 1, s.n, 0, in.y)
		p.must(p.GradBias(db.Tensor, p.in("dy", d, s.t, s.n, gap, in.x).Tensor))
		p.expect(db, in.expected)
	})
}
