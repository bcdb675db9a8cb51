package conformance

import (
	"fmt"
	"math"
	"math/rand/v2"

	"afctl/kernels"
	"afctl/kernels/ref"
)

type ropeInput struct {
	x, table  []float64
	positions []int32
	expected
}

func ropeCases() []Case {
	var cases []Case
	for i, s := range []struct{ t, heads, dh int }{{0, 1, 8}, {1, 1, 2}, {3, 2, 8}, {17, 3, 24}, {65, 1, 128}, {33, 14, 64}, {5, 7, 30}} {
		for _, d := range floats {
			cases = append(cases, ropeCase(s.t, s.heads, s.dh, d, false, spare(i%3*7)), ropeCase(s.t, s.heads, s.dh, d, true, spare((i+1)%3*7)))
		}
	}
	return cases
}

func ropeCase(t, heads, dh int, d kernels.DType, inverse bool, gap spare) Case {
	const positions = 90
	what := "rope"
	if inverse {
		what += ".inverse"
	}
	return newCase(name(what, t, heads*dh, gap, d)+fmt.Sprintf(".H%d", heads), func(r *rand.Rand) (in ropeInput) {
		in.x = normals(r, d, t*heads*dh, 1)
		in.table = all(ref.RoPETable(positions, dh, 1e4), func(v float64) float64 { return stored(kernels.F32, v) })
		for range t {
			in.positions = append(in.positions, r.Int32N(positions))
		}
		want := ref.RoPE(in.x, in.positions, in.table, heads, dh, inverse)
		magnitude := make([]float64, len(want))
		for i := range magnitude { // |x cos| + |x' sin| <= the norm of the pair
			pair := i + dh/2
			if i%dh >= dh/2 {
				pair = i - dh/2
			}
			magnitude[i] = math.Hypot(in.x[i], in.x[pair])
		}
		in.expected = near(want, magnitude, 3*unitF32, d) // two products and their sum
		return in
	}, func(p *probe, in ropeInput) {
		x := p.buffer("x", d, t, heads*dh, gap, in.x)
		table := p.in("table", kernels.F32, positions, dh, 0, in.table)
		p.must(p.RoPE(x.Tensor, p.ints(in.positions), table.Tensor, dh, inverse))
		p.expect(x, in.expected)
	})
}
