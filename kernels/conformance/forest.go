package conformance

import (
	"fmt"
	"math"
	"math/rand/v2"

	"afctl/kernels"
	"afctl/kernels/ref"
)

// Forest is attention over a forest of runs, judged by the separate sequences that it stands for: every path from a root to a leaf by itself.
type Forest struct {
	Runs  []kernels.Run
	Rows  []int32 // the query rows wanted, ascending; nil is all
	Heads kernels.Heads
	DType kernels.DType // of q, k, v and o
	DKV   kernels.DType // of dk and dv
	Gap   int           // between the rows of the tensors
	Seed  uint64
}

// T is the rows of all runs.
func (f Forest) T() int {
	n := int32(0)
	for _, r := range f.Runs {
		n += r.Len
	}
	return int(n)
}

// queries are the query rows.
func (f Forest) queries() []int32 {
	if f.Rows != nil {
		return f.Rows
	}
	rows := make([]int32, f.T())
	for i := range rows {
		rows[i] = int32(i)
	}
	return rows
}

// Sequences returns, for every leaf of the forest, the rows of its path in order of depth.
func (f Forest) Sequences() [][]int32 {
	parent := make(map[int32]bool)
	for _, r := range f.Runs {
		parent[r.Parent] = true
	}
	var leaves [][]int32
	for i := range f.Runs {
		if !parent[int32(i)] {
			leaves = append(leaves, f.path(int32(i)))
		}
	}
	return leaves
}

func (f Forest) path(run int32) []int32 {
	if run < 0 {
		return nil
	}
	r := f.Runs[run]
	rows := f.path(r.Parent)
	for i := range r.Len {
		rows = append(rows, r.Start+i)
	}
	return rows
}

// RandomRuns makes a forest of n runs of 1..most rows: each continues any run before it or, one time in eight, is a root.
func RandomRuns(r *rand.Rand, n, most int) []kernels.Run {
	var runs []kernels.Run
	start := int32(0)
	for i := range n {
		run := kernels.Run{Start: start, Len: 1 + r.Int32N(int32(most)), Parent: -1}
		if i > 0 && r.IntN(8) > 0 {
			run.Parent = r.Int32N(int32(i))
			run.Depth = runs[run.Parent].Depth + runs[run.Parent].Len
		}
		runs = append(runs, run)
		start += run.Len
	}
	return runs
}

// Chain is one sequence cut into runs of the given lengths.
func Chain(lengths ...int32) []kernels.Run {
	var runs []kernels.Run
	start := int32(0)
	for i, n := range lengths {
		runs = append(runs, kernels.Run{Start: start, Len: n, Parent: int32(i) - 1, Depth: start})
		start += n
	}
	return runs
}

// forestInput is a forest's tensors, and what the separate sequences make of them.
type forestInput struct {
	q, k, v, dout          []float64 // over all rows; a query row that is not wanted has dout 0
	o, lse, dq, dk, dv     expected
	wantDQ, wantDK, wantDV []float64
}

func (f Forest) scale() float64 { return 1 / math.Sqrt(float64(f.Heads.Dim)) }

// take is the given rows of x, width columns.
func take(x []float64, rows []int32, width int) []float64 { return ref.Gather(x, rows, width) }

// random makes queries, keys and values.
func (f Forest) random(r *rand.Rand) (in forestInput) {
	n, t := f.Heads, f.T()
	wq, wk := n.Query*n.Dim, n.KeyValue*n.Dim
	in.q, in.k, in.v = normals(r, f.DType, t*wq, 1), normals(r, f.DType, t*wk, 1), normals(r, f.DType, t*wk, 1)
	return in
}

// cancelling makes queries, keys and values of which a third of the outputs would be 0 but for the order of their additions, so that the order shows even in bf16: of 32
// positions, the second 11 have the keys of the first 11 and their values negated, and the last 10 have values of 0. Rows at the same position have the same keys and values.
func (f Forest) cancelling(r *rand.Rand) forestInput {
	in, wk := f.random(r), f.Heads.KeyValue*f.Heads.Dim
	first := make(map[int32][2][]float64) // of a position
	for _, run := range f.Runs {
		for i := range run.Len {
			at, row := run.Depth+i, int(run.Start+i)*wk
			k, v := in.k[row:row+wk], in.v[row:row+wk]
			if same, ok := first[at]; ok {
				copy(k, same[0])
				copy(v, same[1])
				continue
			}
			switch j := at % 32; {
			case j >= 22:
				clear(v)
			case j >= 11:
				copy(k, first[at-11][0])
				for c, x := range first[at-11][1] {
					v[c] = -x
				}
			}
			first[at] = [2][]float64{k, v}
		}
	}
	return in
}

func (f Forest) prepare(r *rand.Rand) (in forestInput) {
	in = f.random(r)
	n, t := f.Heads, f.T()
	wq, wk := n.Query*n.Dim, n.KeyValue*n.Dim
	in.dout = make([]float64, t*wq)
	for _, row := range f.queries() {
		copy(in.dout[int(row)*wq:], normals(r, f.DType, wq, 1))
	}
	// Each row's gradient is shared out evenly over the sequences that hold the row.
	sequences, holders := f.Sequences(), make([]float64, t)
	for _, rows := range sequences {
		for _, row := range rows {
			holders[row]++
		}
	}
	o, lse := make([]float64, t*wq), make([]float64, t*n.Query)
	dq, dk, dv := make([]float64, t*wq), make([]float64, t*wk), make([]float64, t*wk)
	m := newMagnitudes(t, n)
	for _, rows := range sequences {
		q, k, v, dout := take(in.q, rows, wq), take(in.k, rows, wk), take(in.v, rows, wk), take(in.dout, rows, wq)
		for i := range dout {
			dout[i] /= holders[rows[i/wq]]
		}
		so, sl := ref.Attention(q, k, v, n, f.scale())
		for i, row := range rows {
			copy(o[int(row)*wq:], so[i*wq:(i+1)*wq])
			copy(lse[int(row)*n.Query:], sl[i*n.Query:(i+1)*n.Query])
		}
		sq, sk, sv := ref.AttentionBack(dout, q, k, v, n, f.scale())
		ref.ScatterAdd(dq, sq, rows, wq)
		ref.ScatterAdd(dk, sk, rows, wk)
		ref.ScatterAdd(dv, sv, rows, wk)
		m.add(rows, q, k, v, dout, sl, n, f.scale())
	}
	rows := f.queries()
	in.wantDQ, in.wantDK, in.wantDV = take(dq, rows, wq), dk, dv
	e := m.errors(f, n)
	in.o, in.lse = near(take(o, rows, wq), take(m.o, rows, wq), e.o, f.DType), near(take(lse, rows, n.Query), fill(len(rows)*n.Query, 1), e.lse, kernels.F32)
	in.dq = near(in.wantDQ, take(m.dq, rows, wq), e.back, f.DType)
	in.dk, in.dv = near(dk, m.dk, e.back, f.DKV), near(dv, m.dv, e.back, f.DKV)
	return in
}

// Case is f as a case.
func (f Forest) Case() Case {
	rows := "all"
	if f.Rows != nil {
		rows = fmt.Sprint(len(f.Rows))
	}
	title := fmt.Sprintf("attention/%v.dkv%v/T%d.runs%d.queries%s.H%d.K%d.Dh%d.gap%d.seed%d", f.DType, f.DKV, f.T(), len(f.Runs), rows, f.Heads.Query,
		f.Heads.KeyValue, f.Heads.Dim, f.Gap, f.Seed)
	return newCase(title, f.prepare, f.run)
}

// forestTensors are a forest on a back end.
type forestTensors struct {
	q, k, v *buffer
	o, lse  *buffer
	plan    kernels.Plan
	scale   float64
}

// attend is the forward pass.
func (x *forestTensors) attend(p *probe) error {
	return p.Attention(x.o.Tensor, x.lse.Tensor, x.q.Tensor, x.k.Tensor, x.v.Tensor, x.plan, x.scale)
}

// lay uploads q, k and v and fills a plan.
func (f Forest) lay(p *probe, in forestInput) *forestTensors {
	n, t, rows, gap := f.Heads, f.T(), f.queries(), spare(f.Gap)
	wq, wk := n.Query*n.Dim, n.KeyValue*n.Dim
	x := &forestTensors{plan: p.newPlan(n), scale: f.scale()}
	x.plan.Forest(f.Runs, f.Rows)
	x.q = p.in("q", f.DType, len(rows), wq, gap, take(in.q, rows, wq))
	x.k, x.v = p.in("k", f.DType, t, wk, gap, in.k), p.in("v", f.DType, t, wk, gap, in.v)
	x.o, x.lse = p.out("o", f.DType, len(rows), wq, gap), p.out("lse", kernels.F32, len(rows), n.Query, 0)
	return x
}

// spoil has a back end work on a sequence of NaN and as many rows, whose remains nothing else may see.
func (f Forest) spoil(p *probe) {
	n, t := f.Heads, f.T()+2*len(f.Runs)+1
	wq, wk := n.Query*n.Dim, n.KeyValue*n.Dim
	plan := p.newPlan(n)
	plan.Forest(Chain(int32(t)), nil)
	tensor := func(d kernels.DType, cols int) kernels.Tensor { return p.out("spoilt", d, t, cols, 0).Tensor }
	q, k, v := p.in("nan q", f.DType, t, wq, 0, fill(t*wq, nan())), p.in("nan k", f.DType, t, wk, 0, fill(t*wk, nan())), p.in("nan v", f.DType, t, wk, 0, fill(t*wk, nan()))
	o, lse := tensor(f.DType, wq), tensor(kernels.F32, n.Query)
	p.must(p.Attention(o, lse, q.Tensor, k.Tensor, v.Tensor, plan, f.scale()))
	p.must(p.AttentionBack(tensor(f.DType, wq), tensor(f.DKV, wk), tensor(f.DKV, wk), q.Tensor, o, lse, q.Tensor, k.Tensor, v.Tensor, plan, f.scale()))
}

func (f Forest) run(p *probe, in forestInput) {
	n, t, rows, gap := f.Heads, f.T(), f.queries(), spare(f.Gap)
	wq, wk := n.Query*n.Dim, n.KeyValue*n.Dim
	f.spoil(p)
	x := f.lay(p, in)
	p.must(x.attend(p))
	o := p.expect(x.o, in.o)
	p.expect(x.lse, in.lse)
	dout := p.in("dout", f.DType, len(rows), wq, gap, take(in.dout, rows, wq))
	dq, dk, dv := p.out("dq", f.DType, len(rows), wq, gap), p.out("dk", f.DKV, t, wk, gap), p.out("dv", f.DKV, t, wk, gap)
	p.must(p.AttentionBack(dq.Tensor, dk.Tensor, dv.Tensor, dout.Tensor, x.o.Tensor, x.lse.Tensor, x.q.Tensor, x.k.Tensor, x.v.Tensor, x.plan, x.scale))
	gq, gk, gv := p.expect(dq, in.dq), p.expect(dk, in.dk), p.expect(dv, in.dv)
	if f.DType == kernels.F32 && f.DKV == kernels.F32 {
		p.compareNorm("o against separate sequences", o, in.o.want, sameGradient)
		p.compareNorm("dq against separate sequences", gq, in.wantDQ, sameGradient)
		p.compareNorm("dk against separate sequences", gk, in.wantDK, sameGradient)
		p.compareNorm("dv against separate sequences", gv, in.wantDV, sameGradient)
	}
}
