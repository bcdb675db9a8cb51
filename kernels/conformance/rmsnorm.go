package conformance

import (
	"math"
	"math/rand/v2"

	"afctl/kernels"
	"afctl/kernels/ref"
)

// normEps is large, so that where it goes is seen.
const normEps = 0.1

type normInput struct {
	x, w, dy, rstd, dx, dw []float64
	y, wantRstd            expected
	backDX, backDW         expected
}

func rmsNormCases() []Case {
	var cases []Case
	for i, s := range [][2]int{{0, 16}, {1, 1}, {2, 3}, {3, 15}, {17, 16}, {65, 17}, {33, 130}, {64, 896}} {
		for _, x := range floats {
			for _, y := range floats {
				cases = append(cases, rmsNormCase(s[0], s[1], x, y, i%2 == 0, spare(i%3*3)))
			}
			cases = append(cases, rmsNormBackCase(s[0], s[1], x, i%2 == 1, true, spare(i%3*3)), rmsNormBackCase(s[0], s[1], x, i%2 == 0, i%4 == 0, spare((i+1)%3*3)))
		}
	}
	return cases
}

func rmsNormCase(t, d int, dx, dy kernels.DType, withRstd bool, gap spare) Case {
	what := "rmsnorm"
	if !withRstd {
		what += ".norstd"
	}
	return newCase(name(what, t, d, gap, dx, dy), func(r *rand.Rand) (in normInput) {
		in.x, in.w = normals(r, dx, t*d, 3), normals(r, kernels.F32, d, 1)
		y, rstd := ref.RMSNorm(in.x, in.w, d, normEps)
		// rstd is as good as half of the sum of squares; y is two products more.
		in.y, in.wantRstd = near(y, abs(y), chain(d+4)/2+5*unitF32, dy), near(rstd, rstd, chain(d+4)/2+3*unitF32, kernels.F32)
		return in
	}, func(p *probe, in normInput) {
		y, rstd := p.out("y", dy, t, d, gap), p.out("rstd", kernels.F32, 1, t, 0)
		var keep kernels.Tensor
		if withRstd {
			keep = rstd.Tensor
		}
		p.must(p.RMSNorm(y.Tensor, keep, p.in("x", dx, t, d, gap, in.x).Tensor, p.in("w", kernels.F32, 1, d, 0, in.w).Tensor, normEps))
		p.expect(y, in.y)
		if withRstd {
			p.expect(rstd, in.wantRstd)
		}
	})
}

func rmsNormBackCase(t, d int, xType kernels.DType, add, withDW bool, gap spare) Case {
	what := "rmsnormback"
	if add {
		what += ".add"
	}
	if !withDW {
		what += ".nodw"
	}
	return newCase(name(what, t, d, gap, xType), func(r *rand.Rand) (in normInput) {
		in.x, in.w, in.dy = normals(r, xType, t*d, 3), normals(r, kernels.F32, d, 1), normals(r, kernels.F32, t*d, 1)
		in.dx, in.dw = normals(r, kernels.F32, t*d, 1), normals(r, kernels.F32, d, 1)
		_, in.rstd = ref.RMSNorm(in.x, in.w, d, normEps)
		in.rstd = all(in.rstd, func(v float64) float64 { return stored(kernels.F32, v) })
		dx, dw := ref.RMSNormBack(in.dy, in.x, in.w, in.rstd, d)
		// The magnitude of dx: rstd (|g| + |xhat| mean|g xhat|), g = dy w.
		magnitude := make([]float64, t*d)
		for i := range t {
			mean := 0.0
			for c := range d {
				mean += math.Abs(in.dy[i*d+c]*in.w[c]*in.x[i*d+c]) * in.rstd[i] / float64(d)
			}
			for c := range d {
				magnitude[i*d+c] = in.rstd[i] * (math.Abs(in.dy[i*d+c]*in.w[c]) + math.Abs(in.x[i*d+c])*in.rstd[i]*mean)
			}
		}
		if add {
			dx, magnitude = plus(dx, in.dx), plus(magnitude, abs(in.dx))
		}
		in.backDX = near(dx, magnitude, chain(d+4)+9*unitF32, kernels.F32)
		_, dwMagnitude := ref.RMSNormBack(abs(in.dy), abs(in.x), in.w, in.rstd, d)
		in.backDW = near(plus(in.dw, dw), plus(abs(in.dw), dwMagnitude), chain(t+4)+3*unitF32, kernels.F32)
		return in
	}, func(p *probe, in normInput) {
		dx, dw := p.buffer("dx", kernels.F32, t, d, gap, in.dx), p.buffer("dw", kernels.F32, 1, d, 0, in.dw)
		var sum kernels.Tensor
		if withDW {
			sum = dw.Tensor
		}
		p.must(p.RMSNormBack(dx.Tensor, sum, p.in("dy", kernels.F32, t, d, gap, in.dy).Tensor, p.in("x", xType, t, d, gap, in.x).Tensor,
			p.in("w", kernels.F32, 1, d, 0, in.w).Tensor, p.in("rstd", kernels.F32, 1, t, 0, in.rstd).Tensor, add))
		p.expect(dx, in.backDX)
		if withDW {
			p.expect(dw, in.backDW)
		}
	})
}
