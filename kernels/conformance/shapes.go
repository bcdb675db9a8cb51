package conformance

import (
	"math"
	"math/rand/v2"

	"afctl/kernels"
)

// Every operation refuses shapes and dtypes that do not fit, with kernels.ErrShape, and then writes nothing.

// misfit is a call that must be refused: make lays out its operands and returns the call.
type misfit struct {
	op, what string
	call     func(p *probe, t *operands) func() error
}

func shapeCases() []Case {
	var cases []Case
	for _, list := range [][]misfit{productMisfits(), rowMisfits(), normMisfits(), attentionMisfits(), headMisfits(), hostMisfits()} {
		for _, m := range list {
			cases = append(cases, newCase("shapes/"+m.op+"/"+m.what, func(*rand.Rand) struct{} { return struct{}{} }, func(p *probe, _ struct{}) {
				p.margin = wideMargin
				p.refused(m.what, m.call(p, &operands{p}))
			}))
		}
	}
	return cases
}

// operands makes tensors by dtype and shape alone.
type operands struct{ p *probe }

func (o *operands) tensor(d kernels.DType, rows, cols int) kernels.Tensor {
	if d == kernels.I32 {
		t := o.p.ints(make([]int32, rows*cols+wideMargin))
		t.Rows, t.Cols, t.Stride = rows, cols, cols
		return t
	}
	return o.p.out(d.String(), d, rows, cols, 0).Tensor
}

func (o *operands) f(rows, cols int) kernels.Tensor { return o.tensor(kernels.F32, rows, cols) }
func (o *operands) b(rows, cols int) kernels.Tensor { return o.tensor(kernels.BF16, rows, cols) }
func (o *operands) i(n int) kernels.Tensor          { return o.tensor(kernels.I32, 1, n) }

// wide is an F32 view of a wider tensor.
func (o *operands) wide(rows, cols int) kernels.Tensor {
	return o.p.out("wide", kernels.F32, rows, cols, 3).Tensor
}

func (o *operands) w(d kernels.DType, n, k int) kernels.Matrix { return o.p.newMatrix(d, n, k) }

// foreign is a matrix of no back end.
type foreign struct{ n, k int }

func (f foreign) Dims() (n, k int)     { return f.n, f.k }
func (f foreign) DType() kernels.DType { return kernels.F32 }
func (f foreign) Bytes() int           { return 0 }

// change is what one misfit changes of a call that fits.
type change[A any] struct {
	what string
	make func(o *operands, a *A)
}

// misfits makes one for every change of what fits makes.
func misfits[A any](op string, fits func(o *operands) A, run func(p *probe, a A) error, changes []change[A]) []misfit {
	var list []misfit
	for _, c := range changes {
		list = append(list, misfit{op, c.what, func(p *probe, o *operands) func() error {
			a := fits(o)
			c.make(o, &a)
			return func() error { return run(p, a) }
		}})
	}
	return list
}

const (
	sT, sN, sK, sR = 3, 5, 4, 2
	sD, sV         = 16, 20
)

func productMisfits() []misfit {
	type L = kernels.Linear
	type B = kernels.LinearBack
	list := misfits("linear", func(o *operands) L {
		return L{Y: o.f(sT, sN), X: o.f(sT, sK), W: o.w(kernels.F32, sN, sK), Bias: o.f(1, sN), U: o.f(sT, sR), B: o.w(kernels.F32, sN, sR)}
	}, func(p *probe, a L) error { return p.Linear(a) }, []change[L]{
		{"x width", func(o *operands, a *L) { a.X = o.f(sT, sK+1) }},
		{"x rows", func(o *operands, a *L) { a.X = o.f(sT-1, sK) }},
		{"y width", func(o *operands, a *L) { a.Y = o.f(sT, sN-1) }},
		{"x ids", func(o *operands, a *L) { a.X = o.tensor(kernels.I32, sT, sK) }},
		{"y ids", func(o *operands, a *L) { a.Y = o.tensor(kernels.I32, sT, sN) }},
		{"x bf16 for W f32", func(o *operands, a *L) { a.X, a.U = o.b(sT, sK), o.b(sT, sR) }},
		{"add to bf16", func(o *operands, a *L) { a.Y, a.Add = o.b(sT, sN), true }},
		{"bias width", func(o *operands, a *L) { a.Bias = o.f(1, sN-1) }},
		{"rows of bias", func(o *operands, a *L) { a.Bias = o.f(2, sN) }},
		{"bias bf16", func(o *operands, a *L) { a.Bias = o.b(1, sN) }},
		{"u width", func(o *operands, a *L) { a.U = o.f(sT, sR+1) }},
		{"u rows", func(o *operands, a *L) { a.U = o.f(sT-1, sR) }},
		{"u bf16 beside x f32", func(o *operands, a *L) { a.U = o.b(sT, sR) }},
		{"B outputs", func(o *operands, a *L) { a.B = o.w(kernels.F32, sN+1, sR) }},
		{"u without B", func(o *operands, a *L) { a.B = nil }},
		{"no W", func(o *operands, a *L) { a.W = nil }},
		{"W of another back end", func(o *operands, a *L) { a.W = foreign{sN, sK} }},
		{"W that was freed", func(o *operands, a *L) { o.p.FreeMatrix(a.W) }},
	})
	list = append(list, misfits("linearback", func(o *operands) B {
		return B{DX: o.f(sT, sK), DY: o.f(sT, sN), W: o.w(kernels.F32, sN, sK), DU: o.f(sT, sR), A: o.w(kernels.F32, sR, sK)}
	}, func(p *probe, a B) error { return p.LinearBack(a) }, []change[B]{
		{"dx width", func(o *operands, a *B) { a.DX = o.f(sT, sK-1) }},
		{"dy width", func(o *operands, a *B) { a.DY = o.f(sT, sN+1) }},
		{"dy rows", func(o *operands, a *B) { a.DY = o.f(sT+1, sN) }},
		{"dy ids", func(o *operands, a *B) { a.DY = o.tensor(kernels.I32, sT, sN) }},
		{"add to bf16", func(o *operands, a *B) { a.DX, a.Add = o.b(sT, sK), true }},
		{"du width", func(o *operands, a *B) { a.DU = o.f(sT, sR-1) }},
		{"du bf16 beside dy f32", func(o *operands, a *B) { a.DU = o.b(sT, sR) }},
		{"du bf16 for A f32", func(o *operands, a *B) { a.DY, a.DU = o.b(sT, sN), o.b(sT, sR) }},
		{"A inputs", func(o *operands, a *B) { a.A = o.w(kernels.F32, sR, sK+1) }},
		{"du without A", func(o *operands, a *B) { a.A = nil }},
		{"no W", func(o *operands, a *B) { a.W = nil }},
		{"W of another back end", func(o *operands, a *B) { a.W = foreign{sN, sK} }},
		{"W that was freed", func(o *operands, a *B) { o.p.FreeMatrix(a.W) }},
	})...)
	type G struct{ dw, dy, x kernels.Tensor }
	list = append(list, misfits("gradweight", func(o *operands) G { return G{o.f(sN, sK), o.f(sT, sN), o.f(sT, sK)} }, func(p *probe, a G) error { return p.GradWeight(a.dw, a.dy, a.x, 1) },
		[]change[G]{
			{"dw rows", func(o *operands, a *G) { a.dw = o.f(sN-1, sK) }},
			{"dw width", func(o *operands, a *G) { a.dw = o.f(sN, sK-1) }},
			{"dw bf16", func(o *operands, a *G) { a.dw = o.b(sN, sK) }},
			{"rows", func(o *operands, a *G) { a.dy = o.f(sT+1, sN) }},
			{"no outputs", func(o *operands, a *G) { a.dw, a.dy = o.f(0, sK), o.f(sT, 0) }},
			{"no inputs", func(o *operands, a *G) { a.dw, a.x = o.f(sN, 0), o.f(sT, 0) }},
			{"x ids", func(o *operands, a *G) { a.x = o.tensor(kernels.I32, sT, sK) }},
		})...)
	return append(list, misfits("gradbias", func(o *operands) G { return G{dw: o.f(1, sN), dy: o.f(sT, sN)} }, func(p *probe, a G) error { return p.GradBias(a.dw, a.dy) },
		[]change[G]{
			{"db width", func(o *operands, a *G) { a.dw = o.f(1, sN-1) }},
			{"rows of db", func(o *operands, a *G) { a.dw = o.f(2, sN) }},
			{"db bf16", func(o *operands, a *G) { a.dw = o.b(1, sN) }},
			{"dy ids", func(o *operands, a *G) { a.dy = o.tensor(kernels.I32, sT, sN) }},
		})...)
}

func rowMisfits() []misfit {
	type R struct {
		y, x, ids kernels.Tensor
		w         kernels.Matrix
	}
	list := misfits("gather", func(o *operands) R { return R{x: o.f(sT, sD), w: o.w(kernels.F32, sV, sD), ids: o.i(sT)} }, func(p *probe, a R) error { return p.Gather(a.x, a.w, a.ids) }, []change[R]{
		{"x width", func(o *operands, a *R) { a.x = o.f(sT, sD-1) }},
		{"ids", func(o *operands, a *R) { a.ids = o.i(sT - 1) }},
		{"rows of ids", func(o *operands, a *R) { a.ids = o.tensor(kernels.I32, 2, sT) }},
		{"float ids", func(o *operands, a *R) { a.ids = o.f(1, sT) }},
		{"x ids", func(o *operands, a *R) { a.x = o.tensor(kernels.I32, sT, sD) }},
		{"W of another back end", func(o *operands, a *R) { a.w = foreign{sV, sD} }},
		{"no W", func(_ *operands, a *R) { a.w = nil }}, {"W that was freed", func(o *operands, a *R) { o.p.FreeMatrix(a.w) }},
	})
	moved := []change[R]{
		{"width", func(o *operands, a *R) { a.x = o.f(sT, sD+1) }},
		{"ids", func(o *operands, a *R) { a.ids = o.i(sT + 1) }},
		{"rows of ids", func(o *operands, a *R) { a.ids = o.tensor(kernels.I32, 2, sT) }},
		{"float ids", func(o *operands, a *R) { a.ids = o.f(1, sT) }},
		{"x ids", func(o *operands, a *R) { a.x = o.tensor(kernels.I32, sT, sD) }},
	}
	add := change[R]{"to bf16", func(o *operands, a *R) { a.y = o.b(sT, sD) }}
	fits := func(o *operands) R { return R{y: o.f(sT, sD), x: o.f(sT, sD), ids: o.i(sT)} }
	list = append(list, misfits("gatherback", fits, func(p *probe, a R) error { return p.GatherBack(a.y, a.x, a.ids) },
		append([]change[R]{add, {"dx bf16", func(o *operands, a *R) { a.x = o.b(sT, sD) }}}, moved...))...)
	list = append(list, misfits("select", fits, func(p *probe, a R) error { return p.Select(a.y, a.x, a.ids) }, moved)...)
	list = append(list, misfits("scatteradd", fits, func(p *probe, a R) error { return p.ScatterAdd(a.y, a.x, a.ids) }, append([]change[R]{add}, moved...))...)
	same := []change[R]{
		{"width", func(o *operands, a *R) { a.x = o.f(sT, sD+1) }},
		{"rows", func(o *operands, a *R) { a.x = o.f(sT-1, sD) }},
		{"x ids", func(o *operands, a *R) { a.x = o.tensor(kernels.I32, sT, sD) }},
	}
	return append(list, misfits("convert", fits, func(p *probe, a R) error { return p.Convert(a.y, a.x) }, same)...)
}

func normMisfits() []misfit {
	type N struct{ y, rstd, x, w, dx, dw, dy kernels.Tensor }
	fits := func(o *operands) N {
		return N{y: o.f(sT, sD), rstd: o.f(1, sT), x: o.f(sT, sD), w: o.f(1, sD), dx: o.f(sT, sD), dw: o.f(1, sD), dy: o.f(sT, sD)}
	}
	both := []change[N]{
		{"x width", func(o *operands, a *N) { a.x = o.f(sT, sD-1) }},
		{"x rows", func(o *operands, a *N) { a.x = o.f(sT+1, sD) }},
		{"x ids", func(o *operands, a *N) { a.x = o.tensor(kernels.I32, sT, sD) }},
		{"w width", func(o *operands, a *N) { a.w = o.f(1, sD-1) }},
		{"w bf16", func(o *operands, a *N) { a.w = o.b(1, sD) }},
		{"rows of w", func(o *operands, a *N) { a.w = o.f(2, sD) }},
		{"rows of rstd", func(o *operands, a *N) { a.rstd = o.f(2, sT) }},
		{"rstd", func(o *operands, a *N) { a.rstd = o.f(1, sT-1) }},
		{"rstd bf16", func(o *operands, a *N) { a.rstd = o.b(1, sT) }},
	}
	list := misfits("rmsnorm", fits, func(p *probe, a N) error { return p.RMSNorm(a.y, a.rstd, a.x, a.w, normEps) }, both)
	list = append(list, misfits("rmsnormback", fits, func(p *probe, a N) error { return p.RMSNormBack(a.dx, a.dw, a.dy, a.x, a.w, a.rstd, false) }, append([]change[N]{
		{"dx bf16", func(o *operands, a *N) { a.dx = o.b(sT, sD) }},
		{"dy bf16", func(o *operands, a *N) { a.dy = o.b(sT, sD) }},
		{"dy rows", func(o *operands, a *N) { a.dy = o.f(sT-1, sD) }},
		{"no rstd", func(o *operands, a *N) { a.rstd = kernels.Tensor{} }},
		{"dw width", func(o *operands, a *N) { a.dw = o.f(1, sD+1) }},
		{"dw bf16", func(o *operands, a *N) { a.dw = o.b(1, sD) }},
		{"rows of dw", func(o *operands, a *N) { a.dw = o.f(2, sD) }},
	}, both...))...)
	type P struct {
		x, positions, table kernels.Tensor
		dh                  int
	}
	list = append(list, misfits("rope", func(o *operands) P { return P{o.f(sT, sD), o.i(sT), o.f(9, 8), 8} }, func(p *probe, a P) error { return p.RoPE(a.x, a.positions, a.table, a.dh, false) }, []change[P]{
		{"odd head size", func(o *operands, a *P) { a.x, a.table, a.dh = o.f(sT, 15), o.f(9, 5), 5 }},
		{"no head size", func(o *operands, a *P) { a.table, a.dh = o.f(9, 0), 0 }},
		{"width", func(o *operands, a *P) { a.x = o.f(sT, sD-2) }},
		{"positions", func(o *operands, a *P) { a.positions = o.i(sT - 1) }},
		{"rows of positions", func(o *operands, a *P) { a.positions = o.tensor(kernels.I32, 2, sT) }},
		{"float positions", func(o *operands, a *P) { a.positions = o.f(1, sT) }},
		{"table width", func(o *operands, a *P) { a.table = o.f(9, 4) }},
		{"table bf16", func(o *operands, a *P) { a.table = o.b(9, 8) }},
		{"x ids", func(o *operands, a *P) { a.x = o.tensor(kernels.I32, sT, sD) }},
	})...)
	type S struct{ act, dgate, dup, dact, gate, up kernels.Tensor }
	act := func(o *operands) S {
		return S{o.f(sT, sD), o.f(sT, sD), o.f(sT, sD), o.f(sT, sD), o.f(sT, sD), o.f(sT, sD)}
	}
	inputs := []change[S]{
		{"gate width", func(o *operands, a *S) { a.gate = o.f(sT, sD-1) }},
		{"up rows", func(o *operands, a *S) { a.up = o.f(sT-1, sD) }},
		{"gate ids", func(o *operands, a *S) { a.gate = o.tensor(kernels.I32, sT, sD) }},
	}
	list = append(list, misfits("swiglu", act, func(p *probe, a S) error { return p.SwiGLU(a.act, a.gate, a.up) }, append([]change[S]{
		{"act width", func(o *operands, a *S) { a.act = o.f(sT, sD+1) }}}, inputs...))...)
	return append(list, misfits("swigluback", act, func(p *probe, a S) error { return p.SwiGLUBack(a.dgate, a.dup, a.act, a.dact, a.gate, a.up) }, append([]change[S]{
		{"dgate width", func(o *operands, a *S) { a.dgate = o.f(sT, sD+1) }},
		{"dup rows", func(o *operands, a *S) { a.dup = o.f(sT+1, sD) }},
		{"act width", func(o *operands, a *S) { a.act = o.f(sT, sD-1) }},
		{"dact ids", func(o *operands, a *S) { a.dact = o.tensor(kernels.I32, sT, sD) }}}, inputs...))...)
}

// attentionMisfits: one run of three rows, two query heads on one kv head of 8.
func attentionMisfits() []misfit {
	type A struct {
		o, lse, q, k, v, slots, dq, dk, dv, dout kernels.Tensor
		kv                                       kernels.KV
		plan                                     kernels.Plan
		scale                                    float64
	}
	n := kernels.Heads{Query: 2, KeyValue: 1, Dim: 8}
	fits := func(o *operands) (a A) {
		a.plan = o.p.newPlan(n)
		a.plan.Forest(Chain(sT), nil)
		wq := n.Query * n.Dim
		a.o, a.lse, a.q, a.dq, a.dout = o.f(sT, wq), o.f(sT, n.Query), o.f(sT, wq), o.f(sT, wq), o.f(sT, wq)
		a.k, a.v, a.dk, a.dv = o.f(sT, n.Dim), o.f(sT, n.Dim), o.f(sT, n.Dim), o.f(sT, n.Dim)
		a.kv = o.p.newKV(kernels.F32, 4, n)
		a.slots = o.i(sT)
		a.scale = 1
		return a
	}
	queries := []change[A]{
		{"o width", func(o *operands, a *A) { a.o = o.f(sT, 8) }},
		{"o bf16", func(o *operands, a *A) { a.o = o.b(sT, 16) }},
		{"lse heads", func(o *operands, a *A) { a.lse = o.f(sT, 1) }},
		{"lse bf16", func(o *operands, a *A) { a.lse = o.b(sT, 2) }},
		{"a scale below 0", func(_ *operands, a *A) { a.scale = -1 }},
		{"no number as scale", func(_ *operands, a *A) { a.scale = nan() }},
		{"an endless scale", func(_ *operands, a *A) { a.scale = math.Inf(1) }},
		{"lse not dense", func(o *operands, a *A) { a.lse = o.wide(sT, 2) }},
		{"q bf16", func(o *operands, a *A) { a.q, a.o = o.b(sT, 16), o.b(sT, 16) }},
		{"q heads", func(o *operands, a *A) { a.q, a.o = o.f(sT, 12), o.f(sT, 12) }},
		{"q rows", func(o *operands, a *A) { a.q, a.o, a.lse = o.f(sT+1, 16), o.f(sT+1, 16), o.f(sT+1, 2) }},
		{"plan of another back end", func(o *operands, a *A) { a.plan = foreignPlan{a.plan} }},
	}
	forest := func(what string, rows []int32, runs ...kernels.Run) change[A] {
		return change[A]{what, func(o *operands, a *A) { a.plan.Forest(runs, rows) }}
	}
	rows := append([]change[A]{
		forest("runs with a gap", nil, kernels.Run{Len: 1, Parent: -1}, kernels.Run{Start: 2, Len: 2, Parent: 0, Depth: 1}),
		forest("runs out of order", nil, kernels.Run{Start: 1, Len: 2, Parent: -1}, kernels.Run{Len: 1, Parent: 0, Depth: 2}),
		forest("a run without rows", nil, kernels.Run{Len: 3, Parent: -1}, kernels.Run{Start: 3, Parent: 0, Depth: 3}),
		forest("a run of endless rows", nil, kernels.Run{Len: 3, Parent: -1}, kernels.Run{Start: 3, Len: math.MaxInt32, Parent: 0, Depth: 3}),
		forest("a child before its parent", nil, kernels.Run{Len: 1, Parent: 1, Depth: 2}, kernels.Run{Start: 1, Len: 2, Parent: -1}),
		forest("a run that is its own parent", nil, kernels.Run{Len: 3, Parent: 0, Depth: 3}),
		forest("a parent before the first", nil, kernels.Run{Len: 3, Parent: -2}),
		forest("a depth that is not its parent's end", nil, kernels.Run{Len: 2, Parent: -1}, kernels.Run{Start: 2, Len: 1, Parent: 0, Depth: 1}),
		forest("a root below the first position", nil, kernels.Run{Len: 3, Parent: -1, Depth: 1}),
		forest("query rows that descend", []int32{0, 2, 1}, Chain(sT)...),
		forest("a query row twice", []int32{0, 1, 1}, Chain(sT)...),
		forest("a query row past the last", []int32{0, 1, sT}, Chain(sT)...),
		forest("a query row before the first", []int32{-1, 1, 2}, Chain(sT)...),
		{"k width", func(o *operands, a *A) { a.k = o.f(sT, 6) }},
		{"k rows", func(o *operands, a *A) { a.k = o.f(sT+1, 8) }},
		{"v rows", func(o *operands, a *A) { a.v = o.f(sT-1, 8) }},
		{"v bf16", func(o *operands, a *A) { a.v = o.b(sT, 8) }},
		{"keys of the plan", func(o *operands, a *A) { a.k, a.v, a.dk, a.dv = o.f(sT+1, 8), o.f(sT+1, 8), o.f(sT+1, 8), o.f(sT+1, 8) }},
		{"no plan", func(o *operands, a *A) { a.plan = nil }},
		{"a query of a cache beside a forest", func(o *operands, a *A) {
			a.plan.Forest(Chain(sT), []int32{0, 2})
			a.plan.Add(1, []kernels.Seg{{Len: 1}})
		}},
		{"a batch of a cache beside a forest", func(o *operands, a *A) {
			a.plan.Forest(Chain(sT), []int32{0, 2})
			a.plan.AddBatch([][]kernels.Seg{{{Len: 1}}})
		}},
		{"queries of the plan", func(o *operands, a *A) { a.plan.Forest(Chain(sT), []int32{0, 2}) }},
		{"plan of a cache", func(o *operands, a *A) {
			a.plan.Reset()
			a.plan.Add(sT, []kernels.Seg{{Len: sT}})
		}},
	}, queries...)
	list := misfits("newplan", func(*operands) kernels.Heads { return n }, func(p *probe, n kernels.Heads) error {
		_, err := p.NewPlan(n)
		return err
	}, []change[kernels.Heads]{
		{"no heads", func(_ *operands, n *kernels.Heads) { n.KeyValue = 0 }},
		{"heads that cannot be shared", func(_ *operands, n *kernels.Heads) { n.KeyValue = 3 }},
		{"odd head size", func(_ *operands, n *kernels.Heads) { n.Dim = 7 }},
	})
	type K struct {
		d     kernels.DType
		slots int
		n     kernels.Heads
	}
	list = append(list, misfits("newkv", func(*operands) K { return K{kernels.F32, 4, n} }, func(p *probe, a K) error {
		_, err := p.NewKV(a.d, a.slots, a.n)
		return err
	}, []change[K]{
		{"ids", func(_ *operands, a *K) { a.d = kernels.I32 }},
		{"slots", func(_ *operands, a *K) { a.slots = -1 }},
		{"endless slots", func(_ *operands, a *K) { a.slots = 1 << 60 }},
		{"no heads", func(_ *operands, a *K) { a.n.KeyValue = 0 }},
	})...)
	list = append(list, misfits("attention", fits, func(p *probe, a A) error { return p.Attention(a.o, a.lse, a.q, a.k, a.v, a.plan, a.scale) }, rows)...)
	list = append(list, misfits("attentionback", fits, func(p *probe, a A) error {
		return p.AttentionBack(a.dq, a.dk, a.dv, a.dout, a.o, a.lse, a.q, a.k, a.v, a.plan, a.scale)
	}, append([]change[A]{
		{"dq rows", func(o *operands, a *A) { a.dq = o.f(sT-1, 16) }},
		{"dq bf16", func(o *operands, a *A) { a.dq = o.b(sT, 16) }},
		{"dout bf16", func(o *operands, a *A) { a.dout = o.b(sT, 16) }},
		{"dk rows", func(o *operands, a *A) { a.dk = o.f(sT+1, 8) }},
		{"dv width", func(o *operands, a *A) { a.dv = o.f(sT, 6) }},
		{"dk ids", func(o *operands, a *A) { a.dk = o.tensor(kernels.I32, sT, 8) }},
		{"plan of a batch", func(o *operands, a *A) {
			a.plan.Reset()
			a.plan.AddBatch([][]kernels.Seg{{{Len: 1}}, {{Len: 2}}, {{Len: 3}}})
		}},
	}, rows...))...)
	cached := func(o *operands) A {
		a := fits(o)
		a.plan.Reset()
		a.plan.Add(sT, []kernels.Seg{{Len: sT}})
		return a
	}
	stretch := func(what string, n int, path ...kernels.Seg) change[A] {
		return change[A]{what, func(o *operands, a *A) {
			a.plan.Reset()
			a.plan.Add(sT-n, []kernels.Seg{{Len: sT}})
			a.plan.Add(n, path)
		}}
	}
	batch := func(what string, path ...kernels.Seg) change[A] {
		return change[A]{what, func(o *operands, a *A) {
			a.plan.Reset()
			a.plan.AddBatch([][]kernels.Seg{{{Len: 1}}, path, {{Len: 2}}})
		}}
	}
	list = append(list, misfits("attentionkv", cached, func(p *probe, a A) error { return p.AttentionKV(a.o, a.lse, a.q, a.kv, a.plan, a.scale) }, append([]change[A]{
		{"plan of a forest", func(o *operands, a *A) { a.plan.Forest(Chain(sT), nil) }},
		{"dtype of the cache", func(o *operands, a *A) { a.kv = o.p.newKV(kernels.BF16, 4, n) }},
		{"heads of the cache", func(o *operands, a *A) {
			a.kv = o.p.newKV(kernels.F32, 4, kernels.Heads{Query: 2, KeyValue: 2, Dim: 8})
		}},
		{"cache of another back end", func(o *operands, a *A) { a.kv = foreignKV{a.kv} }},
		{"no cache", func(o *operands, a *A) { a.kv = nil }},
		{"no plan for a cache", func(o *operands, a *A) { a.plan = nil }},
		{"a cache that was freed", func(o *operands, a *A) { o.p.FreeKV(a.kv) }},
		stretch("slots of a stretch", 2, kernels.Seg{Slot: 2, Len: 3}),
		stretch("slots before it", 2, kernels.Seg{Slot: 3, Len: 2}, kernels.Seg{Len: 3}),
		stretch("more queries than keys of their own", 2, kernels.Seg{Len: 3}, kernels.Seg{Slot: 3, Len: 1}),
		stretch("no queries", 0, kernels.Seg{Len: 3}),
		stretch("queries without keys", 2),
		stretch("a slot before the first", 2, kernels.Seg{Slot: -1, Len: 3}),
		stretch("a segment without keys", 2, kernels.Seg{}, kernels.Seg{Len: 3}),
		stretch("a segment of endless keys", 2, kernels.Seg{Slot: 1, Len: math.MaxInt32}, kernels.Seg{Len: 3}),
		batch("slots of a batch", kernels.Seg{Len: 5}),
		batch("slots before them", kernels.Seg{Slot: 4, Len: 1}, kernels.Seg{Len: 2}),
		batch("a query of a batch without keys"),
		batch("a slot of a batch before the first", kernels.Seg{Slot: -1, Len: 2}),
		batch("a segment of a batch without keys", kernels.Seg{Len: 2}, kernels.Seg{Slot: 2}),
	}, queries...))...)
	list = append(list, misfits("kvzero", fits, func(p *probe, a A) error { return p.KVZero(a.kv) }, []change[A]{
		{"no cache", func(o *operands, a *A) { a.kv = nil }},
		{"a cache that was freed", func(o *operands, a *A) { o.p.FreeKV(a.kv) }},
		{"cache of another back end", func(o *operands, a *A) { a.kv = foreignKV{a.kv} }},
	})...)
	return append(list, misfits("kvput", fits, func(p *probe, a A) error { return p.KVPut(a.kv, a.k, a.v, a.slots) }, []change[A]{
		{"k width", func(o *operands, a *A) { a.k = o.f(sT, 6) }},
		{"v rows", func(o *operands, a *A) { a.v = o.f(sT-1, 8) }},
		{"k bf16", func(o *operands, a *A) { a.k = o.b(sT, 8) }},
		{"slots", func(o *operands, a *A) { a.slots = o.i(sT - 1) }},
		{"rows of slots", func(o *operands, a *A) { a.slots = o.tensor(kernels.I32, 2, sT) }},
		{"float slots", func(o *operands, a *A) { a.slots = o.f(1, sT) }},
		{"no cache", func(o *operands, a *A) { a.kv = nil }},
		{"a cache that was freed", func(o *operands, a *A) { o.p.FreeKV(a.kv) }},
		{"cache of another back end", func(o *operands, a *A) { a.kv = foreignKV{a.kv} }},
	})...)
}

// A plan and a cache of no back end.
type (
	foreignPlan struct{ kernels.Plan }
	foreignKV   struct{ kernels.KV }
)

func nan() float64 { return math.NaN() }
