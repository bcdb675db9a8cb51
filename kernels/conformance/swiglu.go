package conformance

import (
	"math"
	"math/rand/v2"

	"afctl/kernels"
	"afctl/kernels/ref"
)

type swigluInput struct {
	gate, up, dact  []float64
	act, dgate, dup expected
}

func swigluCases() []Case {
	var cases []Case
	for i, s := range [][2]int{{0, 16}, {1, 1}, {2, 15}, {17, 17}, {65, 63}, {16, 130}, {3, 64}} {
		for _, d := range floats {
			for _, inPlace := range []bool{false, true} {
				cases = append(cases, swigluCase(s[0], s[1], d, d, inPlace, spare((i)%3*3)))
			}
		}
		cases = append(cases, swigluCase(s[0], s[1], kernels.F32, kernels.BF16, false, 0), swigluCase(s[0], s[1], kernels.BF16, kernels.F32, false, 3))
	}
	return cases
}

// swigluCase runs forward and backward on gates up to where the exponential overflows and underflows; with inPlace the gradients go over gate and up, and act over its gradient.
func swigluCase(t, f int, d, dOut kernels.DType, inPlace bool, gap spare) Case {
	what := "swiglu"
	if inPlace {
		what += ".inplace"
	}
	return newCase(name(what, t, f, gap, d, dOut), func(r *rand.Rand) (in swigluInput) {
		in.gate, in.up, in.dact = normals(r, d, t*f, 2), normals(r, d, t*f, 1), normals(r, d, t*f, 1)
		for i := range in.gate {
			switch {
			case i%7 == 0:
				in.gate[i] *= 32
			case i%11 == 5: // 1 + g is g in float32
				in.gate[i] = math.Copysign(0x1p25, in.gate[i])
			}
		}
		act := ref.SwiGLU(in.gate, in.up)
		in.act = near(act, abs(act), 3*expError, dOut)
		dgate, dup := ref.SwiGLUBack(in.dact, in.gate, in.up)
		magnitude := make([]float64, t*f) // |dact up s| (1 + |g| (1 - s)), and |g| times what s may be off: nothing where e^-g is lost beside 1
		for i, g := range in.gate {
			e := math.Exp(-g)
			s := 1 / (1 + e)
			magnitude[i] = math.Abs(in.dact[i]*in.up[i]*s) * (1 + math.Abs(g)*(1-s) + math.Abs(g)*math.Min(s, e/unitF32))
		}
		in.dgate, in.dup = near(dgate, magnitude, 3*expError, dOut), near(dup, abs(dup), 3*expError, dOut)
		return in
	}, func(p *probe, in swigluInput) {
		act := p.out("act", dOut, t, f, gap)
		gate, up, dact := p.buffer("gate", d, t, f, gap, in.gate), p.buffer("up", d, t, f, gap, in.up), p.buffer("dact", d, t, f, gap, in.dact)
		gate.input, up.input, dact.input = !inPlace, !inPlace, !inPlace
		p.must(p.SwiGLU(act.Tensor, gate.Tensor, up.Tensor))
		p.expect(act, in.act)
		dgate, dup, again := gate, up, dact
		if !inPlace {
			dgate, dup, again = p.out("dgate", dOut, t, f, gap), p.out("dup", dOut, t, f, gap), p.out("act again", dOut, t, f, gap)
		}
		p.must(p.SwiGLUBack(dgate.Tensor, dup.Tensor, again.Tensor, dact.Tensor, gate.Tensor, up.Tensor))
		p.expect(dgate, in.dgate)
		p.expect(dup, in.dup)
		p.expect(again, in.act)
	})
}
