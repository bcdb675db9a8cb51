package engine

import "afctl/kernels"

// kvCache is memory for keys and values of `slots` tokens in every layer.
type kvCache struct {
	k, vt []kernels.Tensor // per layer: [slots, KV], [KV, slots or a few more]
	heads int
	dh    int
}

func newKVCache(e *Engine, slots int) (*kvCache, error) {
	c := &e.cfg
	kv := &kvCache{heads: c.NumKeyValueHeads, dh: c.HeadDim}
	w := kv.heads * kv.dh
	row := slots
	if row%256 == 0 {
		row += 48 // rows of vt that are a multiple of 1 KiB apart would share a few sets of the caches
	}
	for range c.NumHiddenLayers {
		k, err := e.b.Alloc(e.opts.DType, slots, w)
		if err != nil {
			kv.free(e.b)
			return nil, err
		}
		kv.k = append(kv.k, k)
		vt, err := e.b.Alloc(e.opts.DType, w, row)
		if err != nil {
			kv.free(e.b)
			return nil, err
		}
		kv.vt = append(kv.vt, vt)
	}
	return kv, nil
}

func (kv *kvCache) free(b kernels.Backend) {
	for _, t := range kv.k {
		b.Free(t)
	}
	for _, t := range kv.vt {
		b.Free(t)
	}
}

func (kv *kvCache) layer(i int) kernels.KV {
	return kernels.KV{K: kv.k[i], VT: kv.vt[i], NumKeyValueHeads: kv.heads, HeadDim: kv.dh}
}
