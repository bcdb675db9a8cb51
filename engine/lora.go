package engine

import (
	"errors"
	"fmt"
	"slices"

	"afctl/ckpt"
	"afctl/kernels"
)

// Projections that read the same input share one product by their A matrices, stacked.
const (
	groupQ = iota
	groupKV
	groupO
	groupGateUp
	groupDown
	numGroups
)

var groupOf = [numProj]int{groupQ, groupKV, groupKV, groupO, groupGateUp, groupGateUp, groupDown}

// rankPad is what ranks are padded to: a vector of the kernels. The padding is zero in A, B and their gradients, and stays so.
const rankPad = 16

func padRank(r int) int { return (r + rankPad - 1) / rankPad * rankPad }

// member is one adapted projection of a group.
type member struct {
	rp    int     // rank, padded
	off   int     // its columns of U = x A^T
	scale float64 // alpha/r, or alpha/sqrt(r)
	b     kernels.Matrix
	pb    int // B's parameter, [N, rp]
	out   int
}

// loraGroup is the low-rank part of one group of a layer; width 0 where nothing is adapted.
type loraGroup struct {
	width   int            // sum of padded ranks
	a       kernels.Matrix // [width, K]
	pa      int            // A's parameter, [width, K]
	members [numProj]*member
}

// lora is an adapter in a back end's memory: float32 masters in params, and their packed copies that products read, B times scale.
type lora struct {
	params
	layers  [][numGroups]loraGroup
	adapter *ckpt.Adapter // shapes, scales and config; the values are those at load
	zero    bool          // every B is 0: the policy is the base, to the bit
}

// newLoRA takes memory for an adapter, which fill is to fill.
func newLoRA(b kernels.Backend, a *ckpt.Adapter, cfg ckpt.ModelConfig, d kernels.DType) (lo *lora, err error) {
	if err := a.Check(cfg); err != nil {
		return nil, err
	}
	lo = &lora{layers: make([][numGroups]loraGroup, cfg.NumHiddenLayers), adapter: a, zero: true}
	defer func() {
		if err != nil {
			lo.free(b)
			lo = nil
		}
	}()
	for i := range a.Modules {
		m := &a.Modules[i]
		lo.zero = lo.zero && !slices.ContainsFunc(m.B, func(x float32) bool { return x != 0 })
		p := slices.Index(ckpt.Projections, m.Name)
		g := &lo.layers[m.Layer][groupOf[p]]
		mb := &member{rp: padRank(m.Rank), off: g.width, scale: m.Scale, out: m.Out}
		g.width += mb.rp
		g.members[p] = mb
	}
	for l := range lo.layers {
		for gi := range lo.layers[l] {
			g := &lo.layers[l][gi]
			if g.width == 0 {
				continue
			}
			in := 0
			for p, mb := range g.members {
				if mb != nil {
					in, _, _ = cfg.ProjectionSize(ckpt.Projections[p])
					mb.pb = lo.add(fmt.Sprintf("layers.%d.%s.lora_B", l, ckpt.Projections[p]), mb.out, mb.rp)
				}
			}
			g.pa = lo.add(fmt.Sprintf("layers.%d.%d.lora_A", l, gi), g.width, in)
			if g.a, err = b.NewMatrix(d, g.width, in); err != nil {
				return lo, err
			}
			for _, mb := range g.members {
				if mb == nil {
					continue
				}
				if mb.b, err = b.NewMatrix(d, mb.out, mb.rp); err != nil {
					return lo, err
				}
			}
		}
	}
	if err := lo.alloc(b); err != nil {
		return lo, err
	}
	return lo, nil
}

// fill gives the matrices the adapter's values.
func (lo *lora) fill(b kernels.Backend) error {
	flat := lo.flat(func(m *ckpt.AdapterModule) ([]float32, []float32) { return m.A, m.B })
	if err := b.Upload(lo.p, flat); err != nil {
		return err
	}
	return lo.pack(b)
}

func (lo *lora) free(b kernels.Backend) {
	if lo == nil {
		return
	}
	lo.params.free(b)
	for l := range lo.layers {
		for gi := range lo.layers[l] {
			g := &lo.layers[l][gi]
			if g.a != nil {
				b.FreeMatrix(g.a)
			}
			for _, mb := range g.members {
				if mb != nil && mb.b != nil {
					b.FreeMatrix(mb.b)
				}
			}
		}
	}
}

// pack renews the copies that products read.
func (lo *lora) pack(b kernels.Backend) error {
	var err error
	for l := range lo.layers {
		for gi := range lo.layers[l] {
			g := &lo.layers[l][gi]
			if g.width == 0 {
				continue
			}
			err = errors.Join(err, b.Pack(g.a, lo.view(lo.p, g.pa), 1))
			for _, mb := range g.members {
				if mb != nil {
					err = errors.Join(err, b.Pack(mb.b, lo.view(lo.p, mb.pb), mb.scale))
				}
			}
		}
	}
	return err
}

// find returns the group and member of a module.
func (lo *lora) find(m *ckpt.AdapterModule) (*loraGroup, *member) {
	p := slices.Index(ckpt.Projections, m.Name)
	g := &lo.layers[m.Layer][groupOf[p]]
	return g, g.members[p]
}

// flat lays matrices A [r, K], B [N, r] per module out as the flat arrays have them.
func (lo *lora) flat(of func(m *ckpt.AdapterModule) (A, B []float32)) []float32 {
	flat := make([]float32, lo.p.Cols)
	for i := range lo.adapter.Modules {
		m := &lo.adapter.Modules[i]
		g, mb := lo.find(m)
		A, B := of(m)
		at := lo.list[g.pa].at + mb.off*m.In
		copy(flat[at:at+m.Rank*m.In], A)
		at = lo.list[mb.pb].at
		for n := range m.Out {
			copy(flat[at+n*mb.rp:at+n*mb.rp+m.Rank], B[n*m.Rank:(n+1)*m.Rank])
		}
	}
	return flat
}

// get is the reverse of flat for one of the arrays: new slices per module, in the adapter's order.
func (lo *lora) get(read readback, t kernels.Tensor, to func(m *ckpt.AdapterModule, A, B []float32)) error {
	flat := make([]float32, t.Cols)
	if err := read(flat, t); err != nil {
		return err
	}
	for i := range lo.adapter.Modules {
		m := &lo.adapter.Modules[i]
		g, mb := lo.find(m)
		A, B := make([]float32, m.Rank*m.In), make([]float32, m.Out*m.Rank)
		copy(A, flat[lo.list[g.pa].at+mb.off*m.In:])
		at := lo.list[mb.pb].at
		for n := range m.Out {
			copy(B[n*m.Rank:(n+1)*m.Rank], flat[at+n*mb.rp:])
		}
		to(m, A, B)
	}
	return nil
}

// export returns the adapter with its present values.
func (lo *lora) export(read readback) (*ckpt.Adapter, error) {
	a := &ckpt.Adapter{Config: lo.adapter.Config, Modules: slices.Clone(lo.adapter.Modules)}
	i := 0
	err := lo.get(read, lo.p, func(_ *ckpt.AdapterModule, A, B []float32) {
		a.Modules[i].A, a.Modules[i].B = A, B
		i++
	})
	return a, err
}
