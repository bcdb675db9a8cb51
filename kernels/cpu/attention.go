package cpu

// #include "af.h"
import "C"

import (
	"fmt"
	"unsafe"

	"afctl/kernels"
)

// The plan's structs are handed over as they lie, and numbers that stand for a choice as they are.
var (
	_ = [1]struct{}{}[unsafe.Sizeof(tile{})-unsafe.Sizeof(C.af_tile{})]
	_ = [1]struct{}{}[unsafe.Sizeof(seg{})-unsafe.Sizeof(C.af_seg{})]

	_ = [1]struct{}{}[kernels.F32-C.AF_F32]
	_ = [1]struct{}{}[kernels.BF16-C.AF_BF16]
	_ = [1]struct{}{}[kernels.I32-C.AF_I32]

	_ = [1]struct{}{}[kernels.SourceF32-C.AF_SRC_F32]
	_ = [1]struct{}{}[kernels.SourceBF16-C.AF_SRC_BF16]
	_ = [1]struct{}{}[kernels.SourceF16-C.AF_SRC_F16]

	_ = [1]struct{}{}[kernels.K1-C.AF_K1]
	_ = [1]struct{}{}[kernels.K2-C.AF_K2]
	_ = [1]struct{}{}[kernels.K3-C.AF_K3]
)

func (p *plan) c() C.af_plan {
	return C.af_plan{tiles: (*C.af_tile)(unsafe.Pointer(unsafe.SliceData(p.tiles))), ntiles: C.int64_t(len(p.tiles)),
		segs: (*C.af_seg)(unsafe.Pointer(unsafe.SliceData(p.segs))), chunks: (*C.int32_t)(unsafe.SliceData(p.chunks)), nchunks: C.int64_t(len(p.chunks) - 1),
		slots: (*C.int32_t)(unsafe.SliceData(p.slots)), row_len: C.int64_t(p.rowLen), heads: C.int64_t(p.heads.Query), kv_heads: C.int64_t(p.heads.KeyValue),
		dh: C.int64_t(p.heads.Dim)}
}

// planOf returns p as a plan of this back end for `queries` queries, made by Forest for so many keys or, where keys is -1, by Add and AddBatch.
func planOf(op string, p kernels.Plan, queries, keys int) (*plan, error) {
	own, ok := p.(*plan)
	if !ok || own == nil {
		return nil, notOurs(op, p)
	}
	if own.err != nil {
		return nil, fmt.Errorf("%s: %w", op, own.err)
	}
	found := -1
	if own.forest {
		found = len(own.slots)
	}
	if own.queries != queries || found != keys {
		return nil, fmt.Errorf("%s: %d queries on %d rows (-1: on a cache), a plan of %d on %d: %w", op, queries, keys, own.queries, found, kernels.ErrShape)
	}
	return own, nil
}

// Attention implements kernels.Backend.
func (b *Backend) Attention(o, lse, q, k, v kernels.Tensor, p kernels.Plan, scale float64) error {
	own, err := planOf("attention", p, q.Rows, k.Rows)
	if err == nil {
		err = kernels.CheckAttention(o, lse, q, k, v, own.heads, scale)
	}
	if err != nil {
		return err
	}
	return b.done("attention", C.af_attention_rows(b.c, tensor(o), floats(lse), tensor(q), tensor(k), tensor(v), own.c(), C.float(scale)))
}

// AttentionBack implements kernels.Backend.
func (b *Backend) AttentionBack(dq, dk, dv, dout, o, lse, q, k, v kernels.Tensor, p kernels.Plan, scale float64) error {
	own, err := planOf("attention backward", p, q.Rows, k.Rows)
	if err == nil {
		err = kernels.CheckAttentionBack(dq, dk, dv, dout, o, lse, q, k, v, own.heads, scale)
	}
	if err != nil {
		return err
	}
	return b.done("attention backward", C.af_attention_back(b.c, tensor(dq), tensor(dk), tensor(dv), tensor(dout), tensor(q), tensor(k), tensor(v), own.c(), C.float(scale)))
}

// kv implements kernels.KV: keys in rows [slots, K*Dh], values in columns [K*Dh, slots or a few more].
type kv struct {
	k, vt kernels.Tensor
	heads kernels.Heads
}

// Heads implements kernels.KV.
func (kv *kv) Heads() kernels.Heads { return kv.heads }

// DType implements kernels.KV.
func (kv *kv) DType() kernels.DType { return kv.k.DType }

func (kv *kv) c() C.af_kv {
	return C.af_kv{k: tensor(kv.k), vt: kv.vt.Ptr, row_len: C.int64_t(kv.vt.Cols)}
}

// NewKV implements kernels.Backend.
func (b *Backend) NewKV(d kernels.DType, slots int, h kernels.Heads) (kernels.KV, error) {
	if err := kernels.CheckNewKV(d, slots, h); err != nil {
		return nil, err
	}
	width := h.KeyValue * h.Dim
	k, err := b.Alloc(d, slots, width)
	if err != nil {
		return nil, err
	}
	vt, err := b.Alloc(d, width, turnedLen(slots))
	if err != nil {
		b.Free(k)
		return nil, err
	}
	return &kv{k, vt, h}, nil
}

// FreeKV implements kernels.Backend. What was freed has no slots any more, and freeing it again does nothing.
func (b *Backend) FreeKV(a kernels.KV) {
	if own, ok := a.(*kv); ok && !own.k.None() {
		b.Free(own.k)
		b.Free(own.vt)
		*own = kv{}
	}
}

// kvOf returns a as memory of this back end.
func kvOf(op string, a kernels.KV) (*kv, error) {
	if own, ok := a.(*kv); ok && !own.k.None() {
		return own, nil
	}
	return nil, notOurs(op, a)
}

// KVPut implements kernels.Backend.
func (b *Backend) KVPut(a kernels.KV, k, v, slots kernels.Tensor) error {
	own, err := kvOf("kv put", a)
	if err != nil {
		return err
	}
	if err := kernels.CheckKVPut(own, k, v, slots); err != nil {
		return err
	}
	c := own.c()
	return b.done("kv put", C.af_kv_put(b.c, &c, tensor(k), tensor(v), ints(slots)))
}

// KVZero implements kernels.Backend.
func (b *Backend) KVZero(a kernels.KV) error {
	own, err := kvOf("kv zero", a)
	if err != nil {
		return err
	}
	if err := b.Zero(own.k); err != nil {
		return err
	}
	return b.Zero(own.vt)
}

// AttentionKV implements kernels.Backend.
func (b *Backend) AttentionKV(o, lse, q kernels.Tensor, a kernels.KV, p kernels.Plan, scale float64) error {
	own, err := kvOf("attention of a cache", a)
	if err != nil {
		return err
	}
	pl, err := planOf("attention of a cache", p, q.Rows, -1)
	if err == nil {
		err = kernels.CheckAttentionKV(o, lse, q, own, pl.heads, scale)
	}
	if err != nil {
		return err
	}
	if pl.reach > own.k.Rows {
		return fmt.Errorf("attention of a cache: a plan that reaches slot %d of %d: %w", pl.reach-1, own.k.Rows, kernels.ErrShape)
	}
	c := own.c()
	return b.done("attention of a cache", C.af_attention(b.c, tensor(o), floats(lse), tensor(q), &c, pl.c(), C.float(scale)))
}
