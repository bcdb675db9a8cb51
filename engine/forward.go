package engine

import "afctl/kernels"

// forward runs the model on the rows that the pass holds, up to the final norm: p.t.fin.
func (p *pass) forward() {
	if p.err != nil {
		return
	}
	b, t, w := p.e.b, &p.t, p.w
	p.do(b.Gather(t.x, w.embed, t.tokens))
	for i := 0; i < len(w.layers) && p.err == nil; i++ {
		p.forwardLayer(i)
	}
	p.do(b.RMSNorm(t.fin, t.rstd, t.xs, w.norm, p.e.cfg.RMSNormEps))
}

// adapted is the low-rank part of layer i's group, or nil.
func (p *pass) adapted(i, group int) *loraGroup {
	if !p.adapter || p.e.lora == nil {
		return nil
	}
	if g := &p.e.lora.layers[i][group]; g.width > 0 {
		return g
	}
	return nil
}

// lowRank is U = x A^T of a group, into u; none where the group has no adapter.
func (p *pass) lowRank(g *loraGroup, u, x kernels.Tensor) kernels.Tensor {
	if g == nil {
		return kernels.Tensor{}
	}
	u = u.ColRange(0, g.width).RowRange(0, x.Rows)
	p.do(p.e.b.Linear(kernels.Linear{Y: u, X: x, W: g.a}))
	return u
}

// project is y = x W^T (+ bias) (+ U B^T) (+ y) of a projection.
func (p *pass) project(i, proj int, y, x, bias kernels.Tensor, g *loraGroup, u kernels.Tensor, add bool) {
	a := kernels.Linear{Y: y, X: x, W: p.w.layers[i].w[proj], Bias: bias, Add: add}
	if g != nil && g.members[proj] != nil {
		m := g.members[proj]
		a.U, a.B = u.ColRange(m.off, m.off+m.rp), m.b
	}
	p.do(p.e.b.Linear(a))
}

func (p *pass) forwardLayer(i int) {
	e, b, t, w, k := p.e, p.e.b, &p.t, &p.w.layers[i], p.layer(i)
	c := &e.cfg
	selected := p.some() && i == c.NumHiddenLayers-1

	// Attention.
	if p.backward {
		p.do(b.Convert(k.x1, t.x))
	}
	p.do(b.RMSNorm(t.h, k.rstd1, t.x, w.norm1, c.RMSNormEps))
	g := p.adapted(i, groupKV)
	u := p.lowRank(g, k.u[groupKV], t.h)
	p.project(i, projK, k.k, t.h, w.bias[projK], g, u, false)
	p.project(i, projV, k.v, t.h, w.bias[projV], g, u, false)
	x, h, pos := t.x, t.h, t.positions
	if selected {
		p.do(b.Select(t.xs, t.x, t.rows))
		p.do(b.Select(t.hs, t.h, t.rows))
		x, h, pos = t.xs, t.hs, t.rowPos
	}
	g = p.adapted(i, groupQ)
	u = p.lowRank(g, k.u[groupQ], h)
	p.project(i, projQ, k.q, h, w.bias[projQ], g, u, false)
	p.do(b.RoPE(k.q, pos, e.rope, c.HeadDim, false))
	p.do(b.RoPE(k.k, t.positions, e.rope, c.HeadDim, false))
	p.attend(i, k)
	g = p.adapted(i, groupO)
	u = p.lowRank(g, k.u[groupO], k.o)
	p.project(i, projO, x, k.o, kernels.Tensor{}, g, u, true)

	// MLP.
	if p.backward {
		p.do(b.Convert(k.x2, x))
	}
	p.do(b.RMSNorm(h, k.rstd2, x, w.norm2, c.RMSNormEps))
	g = p.adapted(i, groupGateUp)
	u = p.lowRank(g, k.u[groupGateUp], h)
	p.project(i, projGate, k.gate, h, kernels.Tensor{}, g, u, false)
	p.project(i, projUp, k.up, h, kernels.Tensor{}, g, u, false)
	act := t.act.RowRange(0, h.Rows)
	p.do(b.SwiGLU(act, k.gate, k.up))
	g = p.adapted(i, groupDown)
	u = p.lowRank(g, k.u[groupDown], act)
	p.project(i, projDown, x, act, kernels.Tensor{}, g, u, true)
}

// attend is layer i's attention, over the pass's rows or the cache, where its keys and values are put first.
func (p *pass) attend(i int, k kept) {
	b, plan, scale := p.e.b, p.planOf(i), p.e.scale()
	if p.cache == nil {
		p.do(b.Attention(k.o, k.lse, k.q, k.k, k.v, plan, scale))
		return
	}
	p.do(b.KVPut(p.cache[i], k.k, k.v, p.t.slots))
	p.do(b.AttentionKV(k.o, k.lse, k.q, p.cache[i], plan, scale))
}

// head is the log-probs of the pass's targets at a temperature, with what their gradient needs if the pass is one with backward; lp per
// target and the entropy of each target's row come to the host.
func (p *pass) head(temperature float64) {
	if p.err != nil {
		return
	}
	b, t := p.e.b, &p.t
	a := kernels.LogProbs{H: t.fin, W: p.w.head, Targets: t.targets, Temperature: temperature, LP: t.lp, Entropy: t.ent, LSE: t.lse}
	if p.backward {
		a.EW, a.ELW = t.ew, t.elw
	}
	p.do(b.LogProbs(a))
	p.lpHost, p.entHost, p.entTarget = grow(p.lpHost, p.N), grow(p.entHost, p.S), grow(p.entTarget, p.N)
	p.do(b.Download(p.lpHost, t.lp))
	p.do(b.Download(p.entHost, t.ent))
	for r := range p.S {
		for i := p.firsts[r]; i < p.firsts[r+1]; i++ {
			p.entTarget[i] = p.entHost[r]
		}
	}
}
