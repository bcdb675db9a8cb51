package engine

import (
	"errors"
	"fmt"

	"afctl/ckpt"
	"afctl/kernels"
)

// State is all of an engine that training changes, for a checkpoint: values, Adam's moments (by parameter, float32) and step.
type State struct {
	Adapter *ckpt.Adapter // trainable: lora
	Weights []ckpt.Tensor // trainable: full, F32
	Moments []ckpt.Tensor // "NAME.exp_avg", "NAME.exp_avg_sq"
	Step    int           // optimizer steps, for the bias correction
}

// moments are Adam's, by the suffix of their names in a checkpoint.
func (ps *params) moments() [2]struct {
	suffix string
	t      kernels.Tensor
} {
	return [2]struct {
		suffix string
		t      kernels.Tensor
	}{{ckpt.FirstMoment, ps.m}, {ckpt.SecondMoment, ps.v}}
}

// State copies the trained values and the optimizer's state out.
func (e *Engine) State() (State, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := State{Step: e.step}
	if err := e.usable(); err != nil {
		return s, err
	}
	var err error
	switch {
	case e.full != nil:
		if s.Weights, err = e.full.values(e.download, e.full.p, "", ckpt.F32); err != nil {
			return s, err
		}
		for _, x := range e.full.moments() {
			ts, err := e.full.values(e.download, x.t, x.suffix, ckpt.F32)
			if err != nil {
				return s, err
			}
			s.Moments = append(s.Moments, ts...)
		}
	case e.lora != nil:
		if s.Adapter, err = e.lora.export(e.download); err != nil {
			return s, err
		}
		if s.Moments, err = e.lora.exportMoments(e.download); err != nil {
			return s, err
		}
	default:
		return s, ErrNothingTrained
	}
	return s, nil
}

// SetState puts a State back, bit for bit. All of it is looked at before any is used: a tensor that is missing or of another shape is an error
// that names it, after which the engine is as before.
func (e *Engine) SetState(s State) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.usable(); err != nil {
		return err
	}
	moments := map[string]ckpt.Tensor{}
	for _, t := range s.Moments {
		moments[t.Name] = t
	}
	switch {
	case e.full != nil && s.Adapter == nil:
		if err := e.setFull(s.Weights, moments); err != nil {
			return err
		}
	case e.opts.Trainable == LoRA && s.Adapter != nil:
		lo, err := e.load(s.Adapter)
		if err != nil {
			return err
		}
		if err := e.setMoments(lo, moments); err != nil {
			lo.free(e.b)
			return err
		}
		e.setLoRA(lo)
	default:
		return errors.New("a state of another kind of training")
	}
	e.step = s.Step
	return nil
}

// setFull sets all weights and their moments.
func (e *Engine) setFull(weights []ckpt.Tensor, moments map[string]ckpt.Tensor) error {
	f := e.full
	values := map[string]ckpt.Tensor{}
	for _, t := range weights {
		values[t.Name] = t
	}
	flat, err := f.flat(values, "")
	if err != nil {
		return err
	}
	to, from := []kernels.Tensor{f.p}, [][]float32{flat}
	for _, x := range f.moments() {
		if flat, err = f.flat(moments, x.suffix); err != nil {
			return fmt.Errorf("optimizer state: %w", err)
		}
		to, from = append(to, x.t), append(from, flat)
	}
	for i := range to {
		err = errors.Join(err, e.b.Upload(to[i], from[i]))
	}
	e.changes.Add(1)
	return e.fail(errors.Join(err, f.pack(e.b, e.w)))
}

// momentName names a matrix of a module in a checkpoint's moments.
func momentName(m *ckpt.AdapterModule, which, suffix string) string {
	return m.Path() + "." + which + suffix
}

// exportMoments returns Adam's moments under the adapter's tensor names.
func (lo *lora) exportMoments(read readback) ([]ckpt.Tensor, error) {
	var out []ckpt.Tensor
	for _, x := range lo.moments() {
		var failed error
		add := func(name string, rows, cols int, v []float32) {
			t, err := ckpt.Float32Tensor(name, ckpt.F32, []int{rows, cols}, v)
			out, failed = append(out, t), errors.Join(failed, err)
		}
		err := lo.get(read, x.t, func(m *ckpt.AdapterModule, A, B []float32) {
			add(momentName(m, "lora_A", x.suffix), m.Rank, m.In, A)
			add(momentName(m, "lora_B", x.suffix), m.Out, m.Rank, B)
		})
		if err = errors.Join(err, failed); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// setMoments is the reverse, for an adapter that is not in its place yet.
func (e *Engine) setMoments(lo *lora, moments map[string]ckpt.Tensor) error {
	for _, x := range lo.moments() {
		var failed error
		read := func(name string, n int) []float32 {
			c, ok := moments[name]
			if !ok {
				failed = errors.Join(failed, fmt.Errorf("optimizer state: tensor %s is missing", name))
				return make([]float32, n)
			}
			v, err := c.Float32s()
			if err == nil && len(v) != n {
				err = fmt.Errorf("found shape %v, expected %d values", c.Shape, n)
			}
			if err != nil {
				failed = errors.Join(failed, fmt.Errorf("optimizer state: tensor %s: %w", name, err))
				return make([]float32, n)
			}
			return v
		}
		flat := lo.flat(func(m *ckpt.AdapterModule) (A, B []float32) {
			return read(momentName(m, "lora_A", x.suffix), m.Rank*m.In), read(momentName(m, "lora_B", x.suffix), m.Out*m.Rank)
		})
		if failed != nil {
			return failed
		}
		if err := e.fail(e.b.Upload(x.t, flat)); err != nil {
			return err
		}
	}
	return nil
}
