package conformance

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"

	"afctl/kernels"
)

// Memory and weights: what goes in comes out, rounded as the dtype demands, and nothing else moves.

func matrixCases() []Case {
	cases := []Case{uploadCase(), zeroCase()}
	for _, d := range floats {
		for _, s := range []kernels.Source{kernels.SourceF32, kernels.SourceBF16, kernels.SourceF16} {
			for _, n := range [][2]int{{1, 1}, {15, 2}, {17, 3}, {64, 64}, {65, 33}, {130, 100}, {200, 31}} {
				cases = append(cases, loadCase(d, s, n[0], n[1]))
			}
		}
		for _, n := range [][2]int{{1, 1}, {17, 3}, {130, 64}} {
			cases = append(cases, packCase(d, n[0], n[1]))
		}
	}
	return cases
}

// uploadCase checks the rounding of transfers: ties to even, subnormals, infinities, NaN, ids.
func uploadCase() Case {
	values := []float64{0, 1, -1, 1 + 0x1p-8, 1 + 0x1.8p-7, 1 + 0x1.01p-8, 1e-40, -1e-40, 0x1p-133, math.MaxFloat32, math.Inf(1), math.Inf(-1), math.NaN(), 1. / 3}
	return newCase("upload", func(*rand.Rand) []float64 { return values }, func(p *probe, values []float64) {
		for _, d := range floats {
			p.expect(p.buffer(d.String(), d, 1, len(values), 0, values), exactly(all(values, func(x float64) float64 { return stored(d, x) })))
		}
		ids := []int32{0, -1, math.MaxInt32, math.MinInt32, 7}
		got := make([]int32, len(ids))
		p.must(p.DownloadI32(got, p.ints(ids)))
		for i := range ids {
			if got[i] != ids[i] {
				p.failf("id %d: found %d, expected %d", i, got[i], ids[i])
			}
		}
	})
}

// zeroCase checks that memory starts as zeros, that Zero makes it zeros, and that it does so within a view.
func zeroCase() Case {
	return newCase("zero", func(*rand.Rand) []float64 { return fill(5*7, 3) }, func(p *probe, values []float64) {
		for _, d := range floats {
			for _, gap := range []spare{0, 5} {
				x := p.buffer("x", d, 5, 7, gap, values)
				p.must(p.Zero(x.Tensor))
				p.expect(x, exactly(fill(5*7, 0)))
			}
			for _, n := range []int{1, 1000, 1 << 20} { // small blocks, and those that come from the system
				t, err := p.Alloc(d, 1, n)
				p.must(err)
				p.tensors = append(p.tensors, t)
				now := make([]float32, n)
				p.must(p.Download(now, t))
				for i, v := range now {
					if v != 0 {
						p.failf("element %d of %v as allocated: found %v, expected 0", i, t, v)
					}
				}
			}
		}
	})
}

// sourceRows are n values that every dtype of a source has exactly, and their bytes.
func sourceRows(r *rand.Rand, s kernels.Source, n int) (values []float64, bytes []byte) {
	for range n {
		switch s {
		case kernels.SourceF32:
			v := float32(r.NormFloat64())
			values, bytes = append(values, float64(v)), binary.NativeEndian.AppendUint32(bytes, math.Float32bits(v))
		case kernels.SourceBF16:
			v := stored(kernels.BF16, r.NormFloat64())
			values, bytes = append(values, v), binary.NativeEndian.AppendUint16(bytes, uint16(math.Float32bits(float32(v))>>16))
		default: // IEEE half: sign, 5 bits of exponent, 10 of significand; exponent 0 is subnormal
			e, m := r.IntN(31), r.IntN(1024)
			v := math.Ldexp(float64(m), -24)
			if e > 0 {
				v = math.Ldexp(1+float64(m)/1024, e-15)
			}
			sign := r.IntN(2)
			values, bytes = append(values, v*float64(1-2*sign)), binary.NativeEndian.AppendUint16(bytes, uint16(sign<<15|e<<10|m))
		}
	}
	return values, bytes
}

type loadInput struct {
	values []float64
	bytes  []byte
	cuts   [2]int
}

// loadCase fills a matrix from its end to its start, in three parts of which the middle one comes last, and reads it back.
func loadCase(d kernels.DType, s kernels.Source, n, k int) Case {
	source := map[kernels.Source]string{kernels.SourceF32: "F32", kernels.SourceBF16: "BF16", kernels.SourceF16: "F16"}[s]
	return newCase(fmt.Sprintf("matrix/%v.from%s/N%d.K%d", d, source, n, k), func(r *rand.Rand) (in loadInput) {
		in.values, in.bytes = sourceRows(r, s, n*k)
		in.cuts = [2]int{n / 3, n - n/4}
		return in
	}, func(p *probe, in loadInput) {
		w, row := p.newMatrix(d, n, k), len(in.bytes)/n
		if gotN, gotK := w.Dims(); gotN != n || gotK != k || w.DType() != d || w.Bytes() < n*k*d.Size() {
			p.failf("matrix: found [%d %d] %v of %d bytes, expected [%d %d] %v", gotN, gotK, w.DType(), w.Bytes(), n, k, d)
		}
		all := func(x []float64, from, to int) expected {
			want := make([]float64, n*k)
			for i := from * k; i < to*k; i++ {
				want[i] = stored(d, x[i])
			}
			return exactly(want)
		}
		a, b := in.cuts[0], in.cuts[1]
		p.must(p.Load(w, b, n-b, in.bytes[b*row:], s))
		back := p.out("W", kernels.F32, n, k, 0)
		p.must(p.Unpack(back.Tensor, w))
		p.expect(back, all(in.values, b, n))
		p.must(p.Load(w, 0, a, in.bytes[:a*row], s))
		p.must(p.Load(w, a, b-a, in.bytes[a*row:b*row], s))
		p.must(p.Unpack(back.Tensor, w))
		p.expect(back, all(in.values, 0, n))
		p.refused("too few bytes", func() error { return p.Load(w, 0, n, in.bytes[1:], s) })
		p.refused("rows past the last", func() error { return p.Load(w, 1, n, in.bytes, s) })
		p.refused("rows before the first", func() error { return p.Load(w, -1, n, in.bytes, s) })
		p.must(p.Unpack(back.Tensor, w))
		p.expect(back, all(in.values, 0, n))
	})
}

// packCase fills a matrix from a tensor times a scale.
func packCase(d kernels.DType, n, k int) Case {
	return newCase(fmt.Sprintf("matrix/%v.pack/N%d.K%d", d, n, k), func(r *rand.Rand) []float64 { return normals(r, kernels.F32, n*k, 1) }, func(p *probe, x []float64) {
		w, src, back := p.newMatrix(d, n, k), p.in("src", kernels.F32, n, k, 0, x), p.out("W", kernels.F32, n, k, 0)
		for _, scale := range []float64{1, -0.5, 1. / 3} {
			p.must(p.Pack(w, src.Tensor, scale))
			p.must(p.Unpack(back.Tensor, w))
			want := all(x, func(v float64) float64 { return scale * v })
			p.expect(back, near(want, abs(want), 2*unitF32, d)) // the scale's rounding, and the product's
		}
		p.must(p.Pack(w, src.Tensor, 1)) // no rounding but the dtype's
		p.must(p.Unpack(back.Tensor, w))
		p.expect(back, exactly(all(x, func(v float64) float64 { return stored(d, v) })))
	})
}
