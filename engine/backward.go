package engine

import "afctl/kernels"

// back goes from dloss/dlp of each target (grad) and dloss/dH of each row (dent, used where the entropy has a gradient) to the gradients
// of what is trained, which are added to.
func (p *pass) back(temperature float64) {
	if p.err != nil {
		return
	}
	e, b, t := p.e, p.e.b, &p.t
	p.do(b.Upload(t.g, p.grad))
	a := kernels.LogProbsBack{DH: t.finBack, G: t.g, W: p.w.head, Targets: t.targets, Temperature: temperature, Entropy: t.ent, LSE: t.lse,
		EW: t.ew, ELW: t.elw, H: t.fin}
	if p.entropy {
		p.do(b.Upload(t.dent, p.dent))
		a.DEntropy = t.dent
	}
	p.do(b.LogProbsBack(a))
	if e.full != nil {
		p.do(b.LogProbsGradWeight(e.full.grad(e.full.head), a))
	}
	p.do(b.RMSNormBack(t.dxs, e.full.gradNorm(-1, 0), t.finBack, t.xs, p.w.norm, t.rstd, false))
	for i := len(p.w.layers) - 1; i >= 0 && p.err == nil; i-- {
		p.backLayer(i)
	}
	if e.full != nil {
		p.do(b.GatherBack(e.full.grad(e.full.embed), t.dx, t.tokens))
	}
}

// operand is dx [rows, D] f32 as an operand of products.
func (p *pass) operand(dx kernels.Tensor) kernels.Tensor {
	if p.t.dy.Ptr == p.t.dx.Ptr {
		return dx
	}
	dy := p.t.dy.RowRange(0, dx.Rows)
	p.do(p.e.b.Convert(dy, dx))
	return dy
}

// lowRankBack is du = dy B of one member, and dB += scale dy^T u.
func (p *pass) lowRankBack(g *loraGroup, proj int, du, dy, u kernels.Tensor) {
	if g == nil || g.members[proj] == nil {
		return
	}
	m, b, lo := g.members[proj], p.e.b, p.e.lora
	p.do(b.LinearBack(kernels.LinearBack{DX: du.ColRange(m.off, m.off+m.rp).RowRange(0, dy.Rows), DY: dy, W: m.b}))
	p.do(b.GradWeight(lo.view(lo.g, m.pb), dy, u.ColRange(m.off, m.off+m.rp).RowRange(0, dy.Rows), m.scale))
}

// lowRankInput is dA += du^T x of a group.
func (p *pass) lowRankInput(g *loraGroup, du, x kernels.Tensor) {
	if g == nil {
		return
	}
	lo := p.e.lora
	p.do(p.e.b.GradWeight(lo.view(lo.g, g.pa), du.ColRange(0, g.width).RowRange(0, x.Rows), x, 1))
}

// input is dx = dy W (+ du A) (+ dx); the low-rank part goes with the group's last projection, when all of du is there.
func (p *pass) input(i, proj int, dx, dy kernels.Tensor, g *loraGroup, du kernels.Tensor, add bool) {
	a := kernels.LinearBack{DX: dx, DY: dy, W: p.w.layers[i].w[proj], Add: add}
	if g != nil {
		a.DU, a.A = du.ColRange(0, g.width).RowRange(0, dy.Rows), g.a
	}
	p.do(p.e.b.LinearBack(a))
}

func (p *pass) backLayer(i int) {
	e, b, t, w, k := p.e, p.e.b, &p.t, &p.w.layers[i], p.t.layers[i]
	c := &e.cfg
	selected := p.some() && i == c.NumHiddenLayers-1
	dx, h, dh := t.dx, t.h, t.dh
	if selected {
		dx, h, dh = t.dxs, t.hs, t.dhs
	}
	S := dx.Rows

	// MLP: dx is the gradient of its output, and of the residual stream beside it.
	act := t.act.RowRange(0, S) // first its gradient
	dy := p.operand(dx)
	g := p.adapted(i, groupDown)
	p.lowRankBack(g, projDown, t.du[groupDown], dy, k.u[groupDown])
	p.input(i, projDown, act, dy, g, t.du[groupDown], false)
	p.do(b.SwiGLUBack(k.gate, k.up, act, act, k.gate, k.up)) // gate, up become their gradients
	p.lowRankInput(g, t.du[groupDown], act)
	p.gradFull(i, projDown, dy, act)
	p.do(b.RMSNorm(h, kernels.Tensor{}, k.x2, w.norm2, c.RMSNormEps))
	g = p.adapted(i, groupGateUp)
	p.lowRankBack(g, projGate, t.du[groupGateUp], k.gate, k.u[groupGateUp])
	p.lowRankBack(g, projUp, t.du[groupGateUp], k.up, k.u[groupGateUp])
	p.lowRankInput(g, t.du[groupGateUp], h)
	p.gradFull(i, projGate, k.gate, h)
	p.gradFull(i, projUp, k.up, h)
	p.input(i, projGate, dh, k.gate, nil, kernels.Tensor{}, false)
	p.input(i, projUp, dh, k.up, g, t.du[groupGateUp], true)
	p.do(b.RMSNormBack(dx, e.full.gradNorm(i, 1), dh, k.x2, w.norm2, k.rstd2, true))

	// Attention.
	dy = p.operand(dx)
	dout := t.dout.RowRange(0, S)
	g = p.adapted(i, groupO)
	p.lowRankBack(g, projO, t.du[groupO], dy, k.u[groupO])
	p.lowRankInput(g, t.du[groupO], k.o)
	p.gradFull(i, projO, dy, k.o)
	p.input(i, projO, dout, dy, g, t.du[groupO], false)
	dq := t.dq.RowRange(0, S)
	p.do(b.AttentionBack(dq, t.dk, t.dv, dout, k.o, k.lse, k.q, k.k, k.v, p.planOf(i), e.scale()))
	pos := t.positions
	if selected {
		pos = t.rowPos
	}
	p.do(b.RoPE(dq, pos, e.rope, c.HeadDim, true))
	p.do(b.RoPE(t.dk, t.positions, e.rope, c.HeadDim, true))
	p.do(b.RMSNorm(t.h, kernels.Tensor{}, k.x1, w.norm1, c.RMSNormEps))
	if selected {
		p.do(b.Select(t.hs, t.h, t.rows))
	}
	gq, gkv := p.adapted(i, groupQ), p.adapted(i, groupKV)
	p.lowRankBack(gq, projQ, t.du[groupQ], dq, k.u[groupQ])
	p.lowRankBack(gkv, projK, t.du[groupKV], t.dk, k.u[groupKV])
	p.lowRankBack(gkv, projV, t.du[groupKV], t.dv, k.u[groupKV])
	p.lowRankInput(gq, t.du[groupQ], h)
	p.lowRankInput(gkv, t.du[groupKV], t.h)
	p.gradFull(i, projQ, dq, h)
	p.gradFull(i, projK, t.dk, t.h)
	p.gradFull(i, projV, t.dv, t.h)
	if i == 0 && e.full == nil {
		return // nothing below is trained
	}
	p.input(i, projK, t.dh, t.dk, nil, kernels.Tensor{}, false)
	p.input(i, projV, t.dh, t.dv, gkv, t.du[groupKV], true)
	if selected {
		p.input(i, projQ, t.dhs, dq, gq, t.du[groupQ], false)
		p.do(b.ScatterAdd(t.dh, t.dhs, t.rows))
		p.do(b.Zero(t.dx))
		p.do(b.ScatterAdd(t.dx, t.dxs, t.rows))
	} else {
		p.input(i, projQ, t.dh, dq, gq, t.du[groupQ], true)
	}
	p.do(b.RMSNormBack(t.dx, e.full.gradNorm(i, 0), t.dh, k.x1, w.norm1, k.rstd1, true))
}

// gradFull is dW += dy^T x and db of a projection, where all weights are trained.
func (p *pass) gradFull(i, proj int, dy, x kernels.Tensor) {
	f := p.e.full
	if f == nil {
		return
	}
	p.do(p.e.b.GradWeight(f.grad(f.w[i][proj]), dy, x, 1))
	if proj <= projV && f.bias[i][proj] >= 0 {
		p.do(p.e.b.GradBias(f.grad(f.bias[i][proj]), dy))
	}
}
