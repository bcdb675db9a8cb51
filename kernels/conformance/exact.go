package conformance

import (
	"fmt"
	"math/rand/v2"

	"afctl/kernels"
)

// A row of Linear, RMSNorm, Attention, LogProbs and Sample has the same bits alone, in part of a batch and in all of it.

func exactCases() []Case {
	var cases []Case
	for _, kind := range linearKinds {
		cases = append(cases, exactLinear(kind, linearShape{130, 80, 65, 16}), exactLinear(kind, linearShape{130, 33, 6300, 0}), exactLinear(kind, linearShape{130, 590, 531, 16}),
			exactLinear(kind, linearShape{1100, 70, 600, 16}))
	}
	for _, d := range floats {
		cases = append(cases, exactRMSNorm(130, 100, d))
	}
	r := newRand("exact/attention")
	for _, n := range attentionHeads {
		for _, d := range floats {
			runs := RandomRuns(r, 12, 25)
			cases = append(cases, exactForest(Forest{Heads: n, DType: d, DKV: d, Runs: runs, Rows: subset(r, runs, 3)}))
		}
	}
	for _, kind := range headKinds {
		cases = append(cases, exactHead(headShape{rows: 110, d: 24, v: 600, temperature: 0.7, spread: 2}, kind),
			exactHead(headShape{rows: 1100, d: 24, v: 270, temperature: 0.7, spread: 2}, kind))
	}
	return cases
}

// someRows are single rows and stretches of a batch of n, which is at least 110; of a large one across where back ends cut it, too.
func someRows(n int) [][2]int {
	rows := [][2]int{{0, 1}, {5, 6}, {47, 49}, {64, 107}, {109, 110}}
	if n >= 1100 {
		rows = append(rows, [2]int{200, 530}, [2]int{1007, 1100})
	}
	return rows
}

func exactLinear(kind linearKind, s linearShape) Case {
	return exact(newCase(linearName("exact/linear", kind, s, 0, nil), func(r *rand.Rand) (in linearInput) {
		in.x, in.w, in.bias = normals(r, kind.x, s.t*s.k, 1), normals(r, kind.w, s.n*s.k, 1), normals(r, kernels.F32, s.n, 1)
		in.u, in.b = normals(r, kind.x, s.t*s.r, 1), normals(r, kind.x, s.n*s.r, 1)
		return in
	}, func(p *probe, in linearInput) {
		a := kernels.Linear{X: p.in("x", kind.x, s.t, s.k, 0, in.x).Tensor, W: p.matrix(kind.w, s.n, s.k, in.w), Bias: p.in("bias", kernels.F32, 1, s.n, 0, in.bias).Tensor}
		if s.r > 0 {
			a.U, a.B = p.in("u", kind.x, s.t, s.r, 0, in.u).Tensor, p.matrix(kind.x, s.n, s.r, in.b)
		}
		y := p.out("y", kind.y, s.t, s.n, 0)
		a.Y = y.Tensor
		p.must(p.Linear(a))
		whole := p.read(y)
		for _, r := range someRows(s.t) {
			part, y := a, p.out("y of some rows", kind.y, r[1]-r[0], s.n, 5)
			part.Y, part.X = y.Tensor, a.X.RowRange(r[0], r[1])
			if s.r > 0 {
				part.U = a.U.RowRange(r[0], r[1])
			}
			p.must(p.Linear(part))
			p.same(fmt.Sprintf("rows %v of %d, alone and together", r, s.t), p.read(y), whole[r[0]*s.n:r[1]*s.n])
		}
	}))
}

func exactRMSNorm(t, d int, dtype kernels.DType) Case {
	return exact(newCase(name("exact/rmsnorm", t, d, 0, dtype), func(r *rand.Rand) (in normInput) {
		in.x, in.w = normals(r, dtype, t*d, 3), normals(r, kernels.F32, d, 1)
		return in
	}, func(p *probe, in normInput) {
		x, w := p.in("x", dtype, t, d, 0, in.x), p.in("w", kernels.F32, 1, d, 0, in.w)
		norm := func(x kernels.Tensor) (y, rstd []float32) {
			by, br := p.out("y", kernels.F32, x.Rows, d, 0), p.out("rstd", kernels.F32, 1, x.Rows, 0)
			p.must(p.RMSNorm(by.Tensor, br.Tensor, x, w.Tensor, normEps))
			return p.read(by), p.read(br)
		}
		y, rstd := norm(x.Tensor)
		for _, r := range someRows(t) {
			y1, rstd1 := norm(x.RowRange(r[0], r[1]))
			p.same("y of some rows", y1, y[r[0]*d:r[1]*d])
			p.same("rstd of some rows", rstd1, rstd[r[0]:r[1]])
		}
	}))
}

// exactForest compares a forest's attention with some of its queries alone, and with its sequences each by itself, as one run and cut into others.
func exactForest(f Forest) Case {
	return exact(newCase("exact/"+f.Case().Name, f.cancelling, func(p *probe, in forestInput) {
		n := f.Heads
		wq, wk := n.Query*n.Dim, n.KeyValue*n.Dim
		attend := func(f Forest, in forestInput) (o, lse []float32) {
			x := f.lay(p, in)
			p.must(x.attend(p))
			return p.read(x.o), p.read(x.lse)
		}
		whole := f
		whole.Rows = nil
		o, lse := attend(whole, in)
		some, someLSE := attend(f, in)
		p.same("o of some queries", some, pick(o, f.Rows, wq))
		p.same("lse of some queries", someLSE, pick(lse, f.Rows, n.Query))
		for i, rows := range f.Sequences() {
			alone := forestInput{q: take(in.q, rows, wq), k: take(in.k, rows, wk), v: take(in.v, rows, wk)}
			sequence := f
			sequence.Rows, sequence.Runs = nil, Chain(int32(len(rows)))
			if len(rows) > 4 && i%2 == 0 {
				sequence.Runs = Chain(3, int32(len(rows))-4, 1)
			}
			so, sl := attend(sequence, alone)
			p.same(fmt.Sprintf("o of sequence %d by itself", i), so, pick(o, rows, wq))
			p.same(fmt.Sprintf("lse of sequence %d by itself", i), sl, pick(lse, rows, n.Query))
		}
	}))
}

// exactHead compares log-probs, entropies, expected weights and draws of some rows with those of the whole batch.
func exactHead(s headShape, kind [2]kernels.DType) Case {
	return exact(newCase(s.name("exact/logprobs", kind), func(r *rand.Rand) headInput { return s.prepare(r, kind) }, func(p *probe, in headInput) {
		h, w := p.in("h", kind[0], s.rows, s.d, 0, in.h), p.matrix(kind[1], s.v, s.d, in.w)
		head := func(from, to int) [][]float32 {
			first, tokens := []int32{0}, in.tokens[in.first[from]:in.first[to]]
			for r := from; r < to; r++ {
				first = append(first, in.first[r+1]-in.first[from])
			}
			part := s
			part.rows = to - from
			lp, entropy, lse := p.out("lp", kernels.F32, 1, len(tokens), 0), p.out("entropy", kernels.F32, 1, to-from, 0), p.out("lse", kernels.F32, 1, to-from, 0)
			ew, elw := p.expected("ew", part, 0), p.expected("elw", part, 0)
			p.must(p.LogProbs(kernels.LogProbs{H: h.RowRange(from, to), W: w, Targets: kernels.Targets{First: p.ints(first), Tokens: p.ints(tokens)},
				Temperature: s.temperature, LP: lp.Tensor, Entropy: entropy.Tensor, LSE: lse.Tensor, EW: ew.Tensor, ELW: elw.Tensor}))
			return [][]float32{p.read(lp), p.read(entropy), p.read(lse), p.read(ew), p.read(elw)}
		}
		u, temperature := fill(s.rows, 0.3), fill(s.rows, s.temperature)
		draw := func(from, to int) ([]int32, []float32) {
			return p.draw(h.RowRange(from, to), w, temperature[from:to], u[from:to])
		}
		whole := head(0, s.rows)
		tokens, lps := draw(0, s.rows)
		for _, r := range someRows(s.rows) {
			part := head(r[0], r[1])
			at := []int32{in.first[r[0]], int32(r[0]), int32(r[0]), int32(r[0] * s.d), int32(r[0] * s.d)}
			for i, what := range []string{"lp", "entropy", "lse", "ew", "elw"} {
				p.same(fmt.Sprintf("%s of rows %v", what, r), part[i], whole[i][at[i]:int(at[i])+len(part[i])])
			}
			some, someLP := draw(r[0], r[1])
			p.same(fmt.Sprintf("log-probs of draws of rows %v", r), someLP, lps[r[0]:r[1]])
			for i, t := range some {
				if t != tokens[r[0]+i] {
					p.failf("draw of row %d: found token %d alone, %d in the batch", r[0]+i, t, tokens[r[0]+i])
				}
			}
		}
	}))
}
