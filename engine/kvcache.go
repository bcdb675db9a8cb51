package engine

import "afctl/kernels"

// kvCache is memory for keys and values of some tokens in every layer.
type kvCache []kernels.KV

func newKVCache(e *Engine, slots int) (kvCache, error) {
	var c kvCache
	for range e.cfg.NumHiddenLayers {
		kv, err := e.b.NewKV(e.opts.DType, slots, e.heads())
		if err != nil {
			c.free(e.b)
			return nil, err
		}
		c = append(c, kv)
	}
	return c, nil
}

func (c kvCache) free(b kernels.Backend) {
	for _, kv := range c {
		b.FreeKV(kv)
	}
}
