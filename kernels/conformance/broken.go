package conformance

import (
	"fmt"
	"math"
	"math/rand/v2"

	"afctl/kernels"
)

// A NaN in what a result is made of makes the result NaN: a broken weight or activation is seen in the log-probs and the loss, and no maximum or exponential hides it.

func brokenCases() []Case {
	var cases []Case
	for _, d := range floats {
		cases = append(cases, brokenSwiGLU(d), brokenRMSNorm(d))
		for _, n := range []kernels.Heads{attentionHeads[1], attentionHeads[4]} {
			cases = append(cases, brokenAttention(n, d))
		}
	}
	for _, kind := range linearKinds {
		cases = append(cases, brokenLinear(kind))
	}
	for _, kind := range headKinds {
		cases = append(cases, brokenHead(kind))
	}
	return cases
}

// with is x with a NaN at element i.
func with(x []float64, i int) []float64 {
	y := append([]float64(nil), x...)
	y[i] = math.NaN()
	return y
}

// broken fails unless values[from:to] are all NaN.
func (p *probe) broken(what string, values []float32, from, to int) {
	for i, v := range values[from:to] {
		if v == v {
			p.failf("%s: found %v at element %d, expected NaN", what, v, from+i)
		}
	}
}

func brokenSwiGLU(d kernels.DType) Case {
	const f = 40
	return newCase(name("broken/swiglu", 1, f, 0, d), func(r *rand.Rand) []float64 { return normals(r, d, f, 1) }, func(p *probe, x []float64) {
		good := p.in("good", d, 1, f, 0, x).Tensor
		for i := range f {
			bad := p.in("bad", d, 1, f, 0, with(x, i)).Tensor
			for _, in := range [][2]kernels.Tensor{{bad, good}, {good, bad}} {
				act, dgate, again := p.out("act", d, 1, f, 0), p.out("dgate", d, 1, f, 0), p.out("act again", d, 1, f, 0)
				p.must(p.SwiGLU(act.Tensor, in[0], in[1]))
				p.broken("act", p.read(act), i, i+1)
				p.must(p.SwiGLUBack(dgate.Tensor, p.out("dup", d, 1, f, 0).Tensor, again.Tensor, good, in[0], in[1]))
				p.broken("dgate", p.read(dgate), i, i+1)
				p.broken("act again", p.read(again), i, i+1)
			}
		}
	})
}

func brokenRMSNorm(d kernels.DType) Case {
	const cols = 40
	return newCase(name("broken/rmsnorm", 2, cols, 0, d), func(r *rand.Rand) []float64 { return normals(r, d, 2*cols, 1) }, func(p *probe, x []float64) {
		w := p.in("w", kernels.F32, 1, cols, 0, fill(cols, 1))
		for _, i := range []int{0, 17, cols - 1} {
			y, rstd := p.out("y", d, 2, cols, 0), p.out("rstd", kernels.F32, 1, 2, 0)
			p.must(p.RMSNorm(y.Tensor, rstd.Tensor, p.in("x", d, 2, cols, 0, with(x, cols+i)).Tensor, w.Tensor, normEps))
			p.broken("y of a NaN", p.read(y), cols, 2*cols)
			p.broken("rstd of a NaN", p.read(rstd), 1, 2)
		}
	})
}

func brokenLinear(kind linearKind) Case {
	s := linearShape{5, 70, 33, 8}
	return newCase(linearName("broken/linear", kind, s, 0, nil), func(r *rand.Rand) (in linearInput) {
		in.x, in.w, in.u, in.b = normals(r, kind.x, s.t*s.k, 1), normals(r, kind.w, s.n*s.k, 1), normals(r, kind.x, s.t*s.r, 1), normals(r, kind.x, s.n*s.r, 1)
		return in
	}, func(p *probe, in linearInput) {
		product := func(what string, in linearInput) []float32 {
			y := p.out("y of a NaN "+what, kind.y, s.t, s.n, 0)
			p.must(p.Linear(kernels.Linear{Y: y.Tensor, X: p.in("x", kind.x, s.t, s.k, 0, in.x).Tensor, W: p.matrix(kind.w, s.n, s.k, in.w),
				U: p.in("u", kind.x, s.t, s.r, 0, in.u).Tensor, B: p.matrix(kind.x, s.n, s.r, in.b)}))
			return p.read(y)
		}
		for _, row := range []int{0, s.t - 1} {
			bad := in
			bad.x = with(in.x, row*s.k+s.k-1)
			p.broken("y of a NaN in x", product("in x", bad), row*s.n, (row+1)*s.n)
			bad = in
			bad.u = with(in.u, row*s.r)
			p.broken("y of a NaN in u", product("in u", bad), row*s.n, (row+1)*s.n)
		}
		for _, col := range []int{0, s.n - 1} {
			bad, twice := in, in
			bad.w, twice.b = with(in.w, col*s.k), with(in.b, col*s.r+s.r-1)
			for _, y := range [][]float32{product("in w", bad), product("in b", twice)} {
				for row := range s.t {
					p.broken(fmt.Sprintf("y of a NaN in column %d", col), y, row*s.n+col, row*s.n+col+1)
				}
			}
		}
	})
}

// brokenAttention has a NaN in a query, a key or a value, all of a row's heads; rows from there on attend to it.
func brokenAttention(n kernels.Heads, d kernels.DType) Case {
	const t = 70
	f := Forest{Heads: n, DType: d, DKV: d, Runs: Chain(t)}
	return newCase(fmt.Sprintf("broken/attention/%v.H%d.Dh%d", d, n.Query, n.Dim), f.prepare, func(p *probe, in forestInput) {
		wq, wk := n.Query*n.Dim, n.KeyValue*n.Dim
		broken := func(x []float64, row, width int) []float64 {
			y := append([]float64(nil), x...)
			for i := 0; i < width; i += n.Dim {
				y[row*width+i] = math.NaN()
			}
			return y
		}
		for _, row := range []int{0, 33, t - 1} {
			for _, what := range []string{"query", "key", "value"} {
				bad := in
				switch what {
				case "query":
					bad.q = broken(in.q, row, wq)
				case "key":
					bad.k = broken(in.k, row, wk)
				case "value":
					bad.v = broken(in.v, row, wk)
				}
				x := f.lay(p, bad)
				p.must(x.attend(p))
				o, lse := p.read(x.o), p.read(x.lse)
				last := t
				if what == "query" {
					last = row + 1
				}
				for r := row; r < last; r++ {
					if what == "value" { // one component of the head
						for h := range n.Query {
							p.broken("o of a NaN value", o, r*wq+h*n.Dim, r*wq+h*n.Dim+1)
						}
						continue
					}
					p.broken("o of a NaN "+what, o, r*wq, (r+1)*wq)
					p.broken("lse of a NaN "+what, lse, r*n.Query, (r+1)*n.Query)
				}
			}
		}
	})
}

func brokenHead(kind [2]kernels.DType) Case {
	s := headShape{rows: 3, d: 20, v: 300, temperature: 1, spread: 2}
	return newCase(s.name("broken/head", kind), func(r *rand.Rand) (in headInput) {
		in.h, in.w = s.weights(r, kind)
		return in
	}, func(p *probe, in headInput) {
		head := func(what string, h, w []float64, row int) {
			ht, wm := p.in("h", kind[0], s.rows, s.d, 0, h).Tensor, p.matrix(kind[1], s.v, s.d, w)
			lp, entropy, lse := p.out("lp", kernels.F32, 1, s.rows, 0), p.out("entropy", kernels.F32, 1, s.rows, 0), p.out("lse", kernels.F32, 1, s.rows, 0)
			p.must(p.LogProbs(kernels.LogProbs{H: ht, W: wm, Targets: kernels.Targets{First: p.ints([]int32{0, 1, 2, 3}), Tokens: p.ints([]int32{0, 5, 299})}, Temperature: 1,
				LP: lp.Tensor, Entropy: entropy.Tensor, LSE: lse.Tensor}))
			p.broken("lp of a NaN "+what, p.read(lp), row, row+1)
			p.broken("entropy of a NaN "+what, p.read(entropy), row, row+1)
			p.broken("lse of a NaN "+what, p.read(lse), row, row+1)
			for _, temperature := range []float64{0, 1} {
				tokens, lps := p.draw(ht, wm, fill(s.rows, temperature), fill(s.rows, 0.5))
				for _, token := range tokens {
					if token < 0 || int(token) >= s.v {
						p.failf("a draw at a NaN %s: found token %d of a vocabulary of %d", what, token, s.v)
					}
				}
				p.broken(fmt.Sprintf("log-prob of a draw at temperature %v at a NaN %s", temperature, what), lps, row, row+1)
			}
		}
		for row := range s.rows {
			head("row", with(in.h, row*s.d+s.d-1), in.w, row)
			for _, token := range []int{0, 130, 256, s.v - 1} { // of any tile
				head("weight", in.h, with(in.w, token*s.d), row)
			}
		}
	})
}
