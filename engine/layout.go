package engine

import "afctl/kernels"

// kept is what a layer's forward pass leaves for its backward pass: norms, the MLP's product and all that is elementwise are rebuilt
// from it. In a pass without backward all layers share one.
type kept struct {
	x1, x2       kernels.Tensor // the residual stream before attention and before the MLP, in the activations' dtype
	rstd1, rstd2 kernels.Tensor
	q, k, v      kernels.Tensor // q, k rotated
	o, lse       kernels.Tensor
	gate, up     kernels.Tensor
	u            [numGroups]kernels.Tensor // x A^T of each group
}

// tensors of a pass. D hidden, F ffn, Q query width, KV key width; "op" is the activations' dtype.
type tensors struct {
	tokens, positions kernels.Tensor // [1, T] i32
	rows, rowPos      kernels.Tensor // [1, S] i32
	slots             kernels.Tensor // [1, T] i32: of the rows in the cache, if there is one
	targets           kernels.Targets

	x, h    kernels.Tensor // residual stream [T, D] f32; normed [T, D] op
	xs, hs  kernels.Tensor // the selection's [S, D]; x and h themselves where all rows are selected
	act     kernels.Tensor // [T, F] op; in the backward pass its gradient, then itself
	layers  []kept
	fin     kernels.Tensor // [S, D] op: final hidden states, normed
	rstd    kernels.Tensor // [1, S]
	lp      kernels.Tensor // [1, N]
	ent     kernels.Tensor // [1, S]
	lse     kernels.Tensor // [1, S]
	ew, elw kernels.Tensor // [S, D] f32

	// Backward.
	g, dent  kernels.Tensor // [1, N], [1, S]
	dx, dh   kernels.Tensor // [T, D] f32
	dxs, dhs kernels.Tensor // [S, D] f32
	dy       kernels.Tensor // [T, D] op: dx as an operand
	dq, dout kernels.Tensor // [T, Q] op
	dk, dv   kernels.Tensor // [T, KV] op
	du       [numGroups]kernels.Tensor
	finBack  kernels.Tensor // [S, D] f32
}

// layout lays the tensors of a pass of the present sizes over a; a measuring arena only counts.
func (p *pass) layout(a *kernels.Arena) {
	c, d, t := &p.e.cfg, p.e.opts.DType, &p.t
	D, F, Q, KV := c.HiddenSize, c.IntermediateSize, c.NumAttentionHeads*c.HeadDim, c.NumKeyValueHeads*c.HeadDim
	take := func(d kernels.DType, rows, cols int) kernels.Tensor {
		x, err := a.Tensor(d, rows, cols)
		p.do(err)
		return x
	}
	f32 := func(rows, cols int) kernels.Tensor { return take(kernels.F32, rows, cols) }
	i32 := func(n int) kernels.Tensor { return take(kernels.I32, 1, n) }
	op := func(rows, cols int) kernels.Tensor { return take(d, rows, cols) }

	a.Reset()
	layers := t.layers
	*t = tensors{tokens: i32(p.T), positions: i32(p.T), rows: i32(p.S), rowPos: i32(p.S),
		targets: kernels.Targets{First: i32(p.S + 1), Tokens: i32(p.N)},
		x:       f32(p.T, D), h: op(p.T, D), act: op(p.T, F),
		fin: op(p.S, D), rstd: f32(1, p.S), lp: f32(1, p.N), ent: f32(1, p.S), lse: f32(1, p.S)}
	t.xs, t.hs = t.x, t.h
	if p.some() {
		t.xs, t.hs = f32(p.S, D), op(p.S, D)
	}
	if p.cache != nil {
		t.slots = i32(p.T)
	}
	n := 1
	if p.backward {
		n = c.NumHiddenLayers
	}
	t.layers = grow(layers, n)
	for i := range t.layers {
		k, S := &t.layers[i], p.T
		*k = kept{}
		if p.backward {
			S = p.queries(i)
			k.x1, k.x2, k.rstd1, k.rstd2 = op(p.T, D), op(S, D), f32(1, p.T), f32(1, S)
		}
		k.q, k.k, k.v = op(S, Q), op(p.T, KV), op(p.T, KV)
		k.o, k.lse = op(S, Q), f32(S, c.NumAttentionHeads)
		k.gate, k.up = op(S, F), op(S, F)
		for g := range k.u {
			if w := p.e.widest[g]; p.adapter && w > 0 {
				k.u[g] = op(p.T, w)
			}
		}
	}
	if !p.backward {
		return
	}
	wide := (D + 15) &^ 15 // rows of expected weights are written in whole vectors
	t.ew = f32(p.S, wide).ColRange(0, D)
	if p.entropy {
		t.elw = f32(p.S, wide).ColRange(0, D)
	}
	t.g, t.dent, t.finBack = f32(1, p.N), f32(1, p.S), f32(p.S, D)
	t.dx, t.dh = f32(p.T, D), f32(p.T, D)
	t.dxs, t.dhs, t.dy = t.dx, t.dh, t.dx
	if p.some() {
		t.dxs, t.dhs = f32(p.S, D), f32(p.S, D)
	}
	if d != kernels.F32 {
		t.dy = op(p.T, D)
	}
	t.dq, t.dout, t.dk, t.dv = op(p.T, Q), op(p.T, Q), op(p.T, KV), op(p.T, KV)
	for g := range t.du {
		if w := p.e.widest[g]; w > 0 {
			t.du[g] = op(p.T, w)
		}
	}
}

// layer returns what layer i keeps, cut to its queries where layers share.
func (p *pass) layer(i int) kept {
	if p.backward {
		return p.t.layers[i]
	}
	k, n := p.t.layers[0], p.queries(i)
	k.q, k.o, k.lse, k.gate, k.up = k.q.RowRange(0, n), k.o.RowRange(0, n), k.lse.RowRange(0, n), k.gate.RowRange(0, n), k.up.RowRange(0, n)
	return k
}

// need is how many bytes of arena the pass takes.
func (p *pass) need() int {
	var measure kernels.Arena
	p.layout(&measure)
	return measure.Size()
}

// reserve makes the arena at least so large.
func (p *pass) reserve(nBytes int) {
	if p.err == nil && p.arena.Capacity() < nBytes {
		p.arena.Free()
		p.arena, p.err = kernels.NewArena(p.e.b, nBytes)
	}
}

// prepare lays the pass out in its arena, made larger if it has to be.
func (p *pass) prepare() {
	p.reserve(p.need())
	if p.err == nil {
		p.layout(p.arena)
	}
}
