package engine

import (
	"fmt"
	"math"
	"slices"

	"afctl/ckpt"
	"afctl/kernels"
)

// The projections of a layer, in ckpt.Projections' order.
const (
	projQ = iota
	projK
	projV
	projO
	projGate
	projUp
	projDown
	numProj
)

// layer holds the weights of one decoder layer.
type layer struct {
	norm1, norm2 kernels.Tensor // [1, D]: before attention, before the MLP
	w            [numProj]kernels.Matrix
	bias         [3]kernels.Tensor // of q, k, v; none without
}

// weights is a model in a back end's memory.
type weights struct {
	embed  kernels.Matrix // [V, D]
	head   kernels.Matrix // [V, D]; embed itself where they are tied
	norm   kernels.Tensor // [1, D], the last one
	layers []layer
}

// matrixDType is how a weight is kept: as its file has it where a product can take it so.
func matrixDType(stored ckpt.DType, o Options) kernels.DType {
	if o.DType == kernels.BF16 || (stored == ckpt.BF16 && o.Trainable == LoRA) {
		return kernels.BF16
	}
	return kernels.F32
}

func sourceOf(d ckpt.DType) (kernels.Source, error) {
	switch d {
	case ckpt.F32:
		return kernels.SourceF32, nil
	case ckpt.BF16:
		return kernels.SourceBF16, nil
	case ckpt.F16:
		return kernels.SourceF16, nil
	}
	return 0, fmt.Errorf("found dtype %s, expected F32, BF16 or F16", d)
}

// load brings a model's tensors into the back end, each checked for shape and finite values, its file pages dropped after.
func load(b kernels.Backend, m *ckpt.Model, o Options) (w *weights, err error) {
	w = &weights{layers: make([]layer, m.Config.NumHiddenLayers)}
	defer func() {
		if err != nil {
			w.free(b)
			w = nil
		}
	}()
	for _, spec := range m.Config.TensorSpecs() {
		t, err := m.Weights.Tensor(spec.Name)
		if err != nil {
			return w, err
		}
		if !slices.Equal(t.Shape, spec.Shape) {
			return w, fmt.Errorf("%s: tensor %s: found shape %v, expected %v of config.json", m.Where(spec.Name), spec.Name, t.Shape, spec.Shape)
		}
		if len(spec.Shape) == 1 {
			err = w.loadVector(b, spec, t)
		} else {
			err = w.loadMatrix(b, spec, t, o)
		}
		if err != nil {
			return w, fmt.Errorf("%s: %w", m.Where(spec.Name), err)
		}
		m.Weights.Drop(spec.Name)
	}
	if w.head == nil {
		w.head = w.embed
	}
	return w, nil
}

// loadBytes is about how much of a matrix is brought to the back end at a time: the caches hold it, and fewer bytes would wake the threads too often.
const loadBytes = 4 << 20

// loadMatrix copies rows out of the file, checks them and gives them to the back end: in C the fault of a page that the file no longer has would end
// the process. A start with 400 MB of float32 takes 0.24 s, and took 0.21 s without the copy.
func (w *weights) loadMatrix(b kernels.Backend, s ckpt.TensorSpec, t ckpt.Tensor, o Options) error {
	to := w.matrix(s)
	if to == nil {
		return errNoPlace(s)
	}
	src, err := sourceOf(t.DType)
	if err != nil {
		return fmt.Errorf("tensor %s: %w", s.Name, err)
	}
	m, err := b.NewMatrix(matrixDType(t.DType, o), t.Shape[0], t.Shape[1])
	if err != nil {
		return fmt.Errorf("tensor %s: %w", s.Name, err)
	}
	*to = m
	return eachPart(t, func(from, rows int, part []byte) error {
		if err := b.Load(m, from, rows, part, src); err != nil {
			return fmt.Errorf("tensor %s: %w", s.Name, err)
		}
		return nil
	})
}

// eachPart gives a matrix's rows out of its file, copied and checked, some at a time.
func eachPart(t ckpt.Tensor, use func(from, rows int, part []byte) error) error {
	n := t.Shape[0]
	row := len(t.Data) / n
	rows := min(max(loadBytes/row&^63, 64), n)
	buffer := make([]byte, rows*row)
	for from := 0; from < n; from += rows {
		rows = min(rows, n-from)
		part := buffer[:rows*row]
		if err := t.ReadFinite(part, from*row); err != nil {
			return err
		}
		if err := use(from, rows, part); err != nil {
			return err
		}
	}
	return nil
}

func (w *weights) loadVector(b kernels.Backend, s ckpt.TensorSpec, t ckpt.Tensor) error {
	to := w.vector(s)
	if to == nil {
		return errNoPlace(s)
	}
	if err := ckpt.CheckFinite(t); err != nil {
		return err
	}
	v, err := t.Float32s()
	if err != nil {
		return err
	}
	d, err := b.Alloc(kernels.F32, 1, len(v))
	if err != nil {
		return fmt.Errorf("tensor %s: %w", s.Name, err)
	}
	*to = d
	if err := b.Upload(d, v); err != nil {
		return fmt.Errorf("tensor %s: %w", s.Name, err)
	}
	return nil
}

// projection returns which projection a part of a layer is the weight or the bias of; -1 for none.
func projection(part, of string) int {
	return slices.IndexFunc(ckpt.Projections, func(name string) bool { return part == ckpt.ProjectionPath(name)+"."+of })
}

// matrix returns where a matrix goes; nil for one that has no place.
func (w *weights) matrix(s ckpt.TensorSpec) *kernels.Matrix {
	switch s.Part {
	case "model.embed_tokens.weight":
		return &w.embed
	case "lm_head.weight":
		return &w.head
	}
	if p := projection(s.Part, "weight"); p >= 0 {
		return &w.layers[s.Layer].w[p]
	}
	return nil
}

// vector returns where a vector goes; nil for one that has no place.
func (w *weights) vector(s ckpt.TensorSpec) *kernels.Tensor {
	switch s.Part {
	case "model.norm.weight":
		return &w.norm
	case "input_layernorm.weight":
		return &w.layers[s.Layer].norm1
	case "post_attention_layernorm.weight":
		return &w.layers[s.Layer].norm2
	}
	if p := projection(s.Part, "bias"); p >= 0 && p < len(layer{}.bias) {
		return &w.layers[s.Layer].bias[p]
	}
	return nil
}

// errNoPlace is of a tensor that a model's description asks for and that no operation here takes.
func errNoPlace(s ckpt.TensorSpec) error {
	return fmt.Errorf("tensor %s: found a part %s, for which the engine has no operation", s.Name, s.Part)
}

func (w *weights) free(b kernels.Backend) {
	if w.head != nil && w.head != w.embed {
		b.FreeMatrix(w.head)
	}
	if w.embed != nil {
		b.FreeMatrix(w.embed)
	}
	freeTensor(b, w.norm)
	for i := range w.layers {
		l := &w.layers[i]
		for _, m := range l.w {
			if m != nil {
				b.FreeMatrix(m)
			}
		}
		for _, t := range []kernels.Tensor{l.norm1, l.norm2, l.bias[0], l.bias[1], l.bias[2]} {
			freeTensor(b, t)
		}
	}
}

func freeTensor(b kernels.Backend, t kernels.Tensor) {
	if !t.None() {
		b.Free(t)
	}
}

// ropeTable holds dh/2 cosines and sines for positions 0..n, with float32 angles as transformers computes them: the function that
// the model was trained with, rounding included (but for a few powers of theta that PyTorch does not round to the nearest).
func ropeTable(n, dh int, theta float64) []float32 {
	half := dh / 2
	inv := make([]float32, half)
	for i := range inv {
		inv[i] = 1 / float32(math.Pow(theta, float64(float32(2*i)/float32(dh))))
	}
	t := make([]float32, n*dh)
	for p := range n {
		row := t[p*dh : (p+1)*dh]
		for i, f := range inv {
			sin, cos := math.Sincos(float64(float32(p) * f))
			row[i], row[half+i] = float32(cos), float32(sin)
		}
	}
	return t
}
