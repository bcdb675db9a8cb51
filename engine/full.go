package engine

import (
	"errors"
	"fmt"
	"slices"

	"afctl/ckpt"
	"afctl/kernels"
)

// full is every weight as a trained parameter: float32 masters in params, from which the matrices that products read are renewed.
// A nil *full stands for "frozen".
type full struct {
	params
	embed, head int // the same where they are tied
	norm        int
	norms       [][2]int
	w           [][numProj]int
	bias        [][3]int          // -1 without
	specs       []ckpt.TensorSpec // of each parameter
}

// newFull makes masters of a model's weights, as its files have them: those of w may be rounded.
func newFull(b kernels.Backend, m *ckpt.Model, w *weights) (f *full, err error) {
	cfg := m.Config
	n := cfg.NumHiddenLayers
	f = &full{norms: make([][2]int, n), w: make([][numProj]int, n), bias: make([][3]int, n), specs: cfg.TensorSpecs()}
	defer func() {
		if err != nil {
			f.params.free(b)
			f = nil
		}
	}()
	for l := range f.bias {
		f.bias[l] = [3]int{-1, -1, -1}
	}
	for _, s := range f.specs {
		rows, cols := 1, s.Shape[0]
		if len(s.Shape) == 2 {
			rows, cols = s.Shape[0], s.Shape[1]
		}
		f.place(s, f.add(s.Name, rows, cols))
	}
	if cfg.TieWordEmbeddings {
		f.head = f.embed
	}
	if err := f.alloc(b); err != nil {
		return f, err
	}
	for i, s := range f.specs {
		dst := f.view(f.p, i)
		if len(s.Shape) == 2 {
			err = loadMaster(b, dst, m, s.Name)
		} else {
			err = b.Convert(dst, *w.vector(s))
		}
		if err != nil {
			return f, err
		}
	}
	return f, nil
}

func loadMaster(b kernels.Backend, dst kernels.Tensor, m *ckpt.Model, name string) error {
	t, err := m.Weights.Tensor(name)
	if err != nil {
		return err
	}
	var values []float32
	err = eachPart(t, func(from, rows int, part []byte) error {
		values = grow(values, rows*dst.Cols)
		if err := ckpt.DecodeFloat32(values, part, t.DType); err != nil {
			return fmt.Errorf("tensor %s: %w", name, err)
		}
		return b.Upload(dst.RowRange(from, from+rows), values)
	})
	m.Weights.Drop(name)
	return err
}

// place remembers where a tensor's parameter is.
func (f *full) place(s ckpt.TensorSpec, i int) {
	switch s.Part {
	case "model.embed_tokens.weight":
		f.embed = i
	case "lm_head.weight":
		f.head = i
	case "model.norm.weight":
		f.norm = i
	case "input_layernorm.weight":
		f.norms[s.Layer][0] = i
	case "post_attention_layernorm.weight":
		f.norms[s.Layer][1] = i
	default:
		if p := projection(s.Part, "weight"); p >= 0 {
			f.w[s.Layer][p] = i
		} else {
			f.bias[s.Layer][projection(s.Part, "bias")] = i
		}
	}
}

// grad is the gradient of parameter i.
func (f *full) grad(i int) kernels.Tensor { return f.view(f.g, i) }

// gradNorm is the gradient of a layer's first or second norm, layer -1 being the final one; none where weights are frozen.
func (f *full) gradNorm(layer, which int) kernels.Tensor {
	switch {
	case f == nil:
		return kernels.Tensor{}
	case layer < 0:
		return f.grad(f.norm)
	}
	return f.grad(f.norms[layer][which])
}

// pack renews what products read.
func (f *full) pack(b kernels.Backend, w *weights) error {
	var err error
	for i, s := range f.specs {
		src := f.view(f.p, i)
		if len(s.Shape) == 2 {
			err = errors.Join(err, b.Pack(*w.matrix(s), src, 1))
		} else {
			err = errors.Join(err, b.Convert(*w.vector(s), src))
		}
	}
	return err
}

// values returns one of the flat arrays as tensors under the model's names with a suffix, in d.
func (f *full) values(read readback, t kernels.Tensor, suffix string, d ckpt.DType) ([]ckpt.Tensor, error) {
	flat := make([]float32, t.Cols)
	if err := read(flat, t); err != nil {
		return nil, err
	}
	var out []ckpt.Tensor
	for i, s := range f.specs {
		q := f.list[i]
		c, err := ckpt.Float32Tensor(s.Name+suffix, d, s.Shape, flat[q.at:q.at+q.rows*q.cols])
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

// flat is the reverse of values: what is to be uploaded.
func (f *full) flat(in map[string]ckpt.Tensor, suffix string) ([]float32, error) {
	flat := make([]float32, f.p.Cols)
	for i, s := range f.specs {
		c, ok := in[s.Name+suffix]
		if !ok {
			return nil, fmt.Errorf("tensor %s is missing", s.Name+suffix)
		}
		if !slices.Equal(c.Shape, s.Shape) {
			return nil, fmt.Errorf("tensor %s: found shape %v, expected %v", c.Name, c.Shape, s.Shape)
		}
		v, err := c.Float32s()
		if err != nil {
			return nil, fmt.Errorf("tensor %s: %w", c.Name, err)
		}
		copy(flat[f.list[i].at:], v)
	}
	return flat, nil
}
