package engine

import (
	"afctl/flow"
	"afctl/kernels"
)

// pass is one batch of rows on its way through the model: T rows, of which the last layer goes on with the S that predict something.
// Its tensors lie in an arena (layout.go), its host arrays are reused; a pass of a size that was seen before allocates nothing.
// The first error sticks: forward, head and back do nothing after one.
type pass struct {
	e   *Engine
	err error

	T, S, N  int
	adapter  bool     // the policy; off it is the reference
	w        *weights // of the policy or of the reference: one and the same unless all weights are trained
	backward bool     // keep what the backward pass needs
	entropy  bool     // the entropy has a gradient
	cache    kvCache  // where keys and values live beyond the pass; nil: among its rows alone

	// On the host.
	runs       []kernels.Run
	plan, last kernels.Plan // of all layers but the last, and of the last
	selected   []int32      // the S rows
	selectPos  []int32
	firsts     []int32
	tokensOf   []int32
	index      []int32 // of the targets
	lpHost     []float32
	entHost    []float32 // per row, then per target
	entTarget  []float32
	grad, dent []float32

	arena *kernels.Arena
	t     tensors
}

// open gives a pass its engine and empty plans; close frees what it holds.
func (p *pass) open(e *Engine) (err error) {
	p.e = e
	for _, plan := range []*kernels.Plan{&p.plan, &p.last} {
		if *plan, err = e.b.NewPlan(e.heads()); err != nil {
			p.close()
			return err
		}
	}
	return nil
}

func (p *pass) close() {
	p.arena.Free()
	for _, plan := range []kernels.Plan{p.plan, p.last} {
		if plan != nil {
			p.e.b.FreePlan(plan)
		}
	}
}

// some reports whether the last layer's queries are a selection.
func (p *pass) some() bool { return p.S < p.T }

// queries is how many rows layer i has queries for.
func (p *pass) queries(i int) int {
	if i == p.e.cfg.NumHiddenLayers-1 {
		return p.S
	}
	return p.T
}

// planOf is the attention plan of layer i.
func (p *pass) planOf(i int) kernels.Plan {
	if p.some() && i == p.e.cfg.NumHiddenLayers-1 {
		return p.last
	}
	return p.plan
}

// do keeps the first error.
func (p *pass) do(err error) {
	if p.err == nil {
		p.err = err
	}
}

// setForest takes a forest's sizes, plans and targets.
func (p *pass) setForest(f *flow.Forest) {
	p.T, p.N, p.cache = len(f.Tokens), len(f.Targets), nil
	p.runs = p.runs[:0]
	for _, r := range f.Runs {
		p.runs = append(p.runs, kernels.Run(r))
	}
	p.selected, p.selectPos, p.firsts = p.selected[:0], p.selectPos[:0], p.firsts[:0]
	p.tokensOf, p.index = p.tokensOf[:0], p.index[:0]
	for i, t := range f.Targets {
		if i == 0 || t.Row != f.Targets[i-1].Row {
			p.selected = append(p.selected, t.Row)
			p.selectPos = append(p.selectPos, f.Positions[t.Row])
			p.firsts = append(p.firsts, int32(i))
		}
		p.tokensOf = append(p.tokensOf, t.Token)
		p.index = append(p.index, t.Index)
	}
	p.firsts = append(p.firsts, int32(p.N))
	p.S = len(p.selected)
	p.plan.Forest(p.runs, nil)
	if p.some() {
		p.last.Forest(p.runs, p.selected)
	}
}

// uploadForest brings what setForest gathered to the device.
func (p *pass) uploadForest(f *flow.Forest) {
	b := p.e.b
	p.do(b.UploadI32(p.t.tokens, f.Tokens))
	p.do(b.UploadI32(p.t.positions, f.Positions))
	p.do(b.UploadI32(p.t.rows, p.selected))
	p.do(b.UploadI32(p.t.rowPos, p.selectPos))
	p.do(b.UploadI32(p.t.targets.First, p.firsts))
	p.do(b.UploadI32(p.t.targets.Tokens, p.tokensOf))
}

// grow returns s with length n, its capacity kept.
func grow[E any](s []E, n int) []E {
	if cap(s) < n {
		return make([]E, n, n+n/4)
	}
	return s[:n]
}
