package conformance

import (
	"fmt"
	"math/rand/v2"

	"afctl/kernels"
	"afctl/kernels/ref"
)

// Rows moved, converted and summed. Moves are exact but for the rounding to the destination's dtype; a sum of a few rows is a chain of float32 additions.

var floats = []kernels.DType{kernels.F32, kernels.BF16}

func rowCases() []Case {
	var cases []Case
	for i, n := range [][2]int{{0, 5}, {1, 1}, {2, 15}, {3, 17}, {63, 65}, {130, 100}} {
		for _, y := range floats {
			for _, x := range floats {
				gap := spare((i % 3) * 3)
				cases = append(cases, gatherCase(n[0], n[1], x, y, gap), selectCase(n[0], n[1], x, y, gap), convertCase(n[0], n[1], x, y, gap))
			}
			cases = append(cases, scatterCase(n[0], n[1], y, spare(i)))
		}
		cases = append(cases, gatherBackCase(n[0], n[1], spare(i)))
	}
	return cases
}

func name(op string, t, d int, gap spare, dtypes ...kernels.DType) string {
	s := op + "/"
	for _, d := range dtypes {
		s += d.String() + "."
	}
	s += fmt.Sprintf("T%d.D%d", t, d)
	if gap > 0 {
		s += fmt.Sprintf(".gap%d", gap)
	}
	return s
}

type rowInput struct {
	x, y []float64
	rows []int32
}

// gatherCase is x[t] = W[tokens[t]]: repeated tokens, the first and the last of the vocabulary.
func gatherCase(t, d int, dw, dx kernels.DType, gap spare) Case {
	const vocabulary = 83
	return newCase(name("gather", t, d, gap, dw, dx), func(r *rand.Rand) (in rowInput) {
		in.x = normals(r, dw, vocabulary*d, 1)
		for i := range t {
			in.rows = append(in.rows, []int32{0, vocabulary - 1, r.Int32N(vocabulary), 7}[i%4])
		}
		return in
	}, func(p *probe, in rowInput) {
		x := p.out("x", dx, t, d, gap)
		p.must(p.Gather(x.Tensor, p.matrix(dw, vocabulary, d, in.x), p.ints(in.rows)))
		p.expect(x, exactly(all(ref.Gather(in.x, in.rows, d), func(v float64) float64 { return stored(dx, v) })))
	})
}

// gatherBackCase is dw[tokens[t]] += dx[t]; every third row is the same token.
func gatherBackCase(t, d int, gap spare) Case {
	const vocabulary = 37
	return newCase(name("gatherback", t, d, gap, kernels.F32), func(r *rand.Rand) (in rowInput) {
		in.x, in.y = normals(r, kernels.F32, t*d, 1), normals(r, kernels.F32, vocabulary*d, 1)
		for i := range t {
			in.rows = append(in.rows, []int32{5, r.Int32N(vocabulary), vocabulary - 1 - r.Int32N(2)}[i%3])
		}
		return in
	}, func(p *probe, in rowInput) {
		dw := p.buffer("dw", kernels.F32, vocabulary, d, gap, in.y)
		p.must(p.GatherBack(dw.Tensor, p.in("dx", kernels.F32, t, d, gap, in.x).Tensor, p.ints(in.rows)))
		want, magnitude := plus(in.y), abs(in.y)
		ref.ScatterAdd(want, in.x, in.rows, d)
		ref.ScatterAdd(magnitude, abs(in.x), in.rows, d)
		p.expect(dw, near(want, magnitude, chain(t/3+2), kernels.F32))
	})
}

// selectCase is y[i] = x[rows[i]], a row taken twice.
func selectCase(t, d int, dx, dy kernels.DType, gap spare) Case {
	const from = 40
	return newCase(name("select", t, d, gap, dx, dy), func(r *rand.Rand) (in rowInput) {
		in.x = normals(r, dx, from*d, 1)
		for i := range t {
			in.rows = append(in.rows, []int32{from - 1, r.Int32N(from)}[i%2])
		}
		return in
	}, func(p *probe, in rowInput) {
		y := p.out("y", dy, t, d, gap)
		p.must(p.Select(y.Tensor, p.in("x", dx, from, d, gap, in.x).Tensor, p.ints(in.rows)))
		p.expect(y, exactly(all(ref.Gather(in.x, in.rows, d), func(v float64) float64 { return stored(dy, v) })))
	})
}

// scatterCase is y[rows[i]] += x[i], rows distinct.
func scatterCase(t, d int, dx kernels.DType, gap spare) Case {
	return newCase(name("scatter", t, d, gap, dx), func(r *rand.Rand) (in rowInput) {
		in.x, in.y = normals(r, dx, t*d, 1), normals(r, kernels.F32, (t+9)*d, 1)
		for _, i := range r.Perm(t + 9)[:t] {
			in.rows = append(in.rows, int32(i))
		}
		return in
	}, func(p *probe, in rowInput) {
		x, y := p.in("x", dx, t, d, gap, in.x), p.buffer("y", kernels.F32, t+9, d, gap, in.y)
		p.must(p.ScatterAdd(y.Tensor, x.Tensor, p.ints(in.rows)))
		want := plus(in.y)
		ref.ScatterAdd(want, in.x, in.rows, d)
		p.expect(y, exactly(all(want, func(v float64) float64 { return float64(float32(v)) }))) // one addition
	})
}

func convertCase(t, d int, dx, dy kernels.DType, gap spare) Case {
	return newCase(name("convert", t, d, gap, dx, dy), func(r *rand.Rand) []float64 { return normals(r, dx, t*d, 1) }, func(p *probe, x []float64) {
		y := p.out("y", dy, t, d, gap)
		p.must(p.Convert(y.Tensor, p.in("x", dx, t, d, 0, x).Tensor))
		p.expect(y, exactly(all(x, func(v float64) float64 { return stored(dy, v) })))
	})
}
