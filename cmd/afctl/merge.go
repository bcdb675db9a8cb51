package main

import (
	"context"
	"fmt"
	"runtime"
	"sync"

	"afctl/ckpt"
)

// mergedTensors returns the model's tensors with the adapter in them, W + scale * B A, in dtype; empty takes the type that each has in the
// model. What the adapter does not touch and keeps its type is not copied.
func mergedTensors(ctx context.Context, m *ckpt.Model, a *ckpt.Adapter, dtype ckpt.DType) ([]ckpt.Tensor, error) {
	modules := map[string]*ckpt.AdapterModule{}
	for i := range a.Modules {
		mod := &a.Modules[i]
		modules[mod.Path()+".weight"] = mod
	}
	return convertTensors(ctx, m, m.Weights.Tensor, modules, dtype)
}

// convertTensors returns the tensors of a model's names, which from gives, with the modules of an adapter in them, as mergedTensors does.
func convertTensors(ctx context.Context, m *ckpt.Model, from func(name string) (ckpt.Tensor, error), modules map[string]*ckpt.AdapterModule, dtype ckpt.DType) ([]ckpt.Tensor, error) {
	var out []ckpt.Tensor
	for _, spec := range m.Config.TensorSpecs() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		t, err := from(spec.Name)
		if err != nil {
			return nil, err
		}
		if err := ckpt.CheckFinite(t); err != nil {
			return nil, fmt.Errorf("%s: %w", m.Where(spec.Name), err)
		}
		to := dtype
		if to == "" {
			base, err := m.Weights.Tensor(spec.Name)
			if err != nil {
				return nil, err
			}
			to = base.DType
		}
		mod := modules[spec.Name]
		if mod == nil && to == t.DType {
			out = append(out, t)
			continue
		}
		w, err := t.Float32s()
		if err != nil {
			return nil, err
		}
		if mod != nil {
			merge(w, mod)
		}
		t, err = ckpt.Float32Tensor(spec.Name, to, spec.Shape, w)
		if err == nil {
			err = ckpt.CheckFinite(t)
		}
		if err != nil {
			of := m.Where(spec.Name)
			if mod != nil {
				of += " with its adapter"
			}
			return nil, fmt.Errorf("%s, merged as %s, which holds less: %w", of, to, err)
		}
		out = append(out, t)
	}
	return out, nil
}

// merge adds scale * B A to w [Out, In], each element's sum in float64, on all cores.
func merge(w []float32, m *ckpt.AdapterModule) {
	var wg sync.WaitGroup
	workers := min(runtime.GOMAXPROCS(0), m.Out)
	for i := range workers {
		wg.Go(func() {
			delta := make([]float64, m.In)
			for o := i; o < m.Out; o += workers {
				clear(delta)
				for r := range m.Rank {
					b := float64(m.B[o*m.Rank+r])
					for k, a := range m.A[r*m.In : (r+1)*m.In] {
						delta[k] += b * float64(a)
					}
				}
				row := w[o*m.In : (o+1)*m.In]
				for k := range row {
					row[k] = float32(float64(row[k]) + m.Scale*delta[k])
				}
			}
		})
	}
	wg.Wait()
}
