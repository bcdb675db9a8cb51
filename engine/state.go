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

// moment names, as PyTorch's AdamW calls them.
const (
	firstMoment  = ".exp_avg"
	secondMoment = ".exp_avg_sq"
)

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
		if s.Weights, err = e.full.values(e.b, e.full.p, ckpt.F32); err != nil {
			return s, err
		}
		for _, x := range []struct {
			suffix string
			second bool
		}{{firstMoment, false}, {secondMoment, true}} {
			t := e.full.m
			if x.second {
				t = e.full.v
			}
			ts, err := e.full.values(e.b, t, ckpt.F32)
			if err != nil {
				return s, err
			}
			for i := range ts {
				ts[i].Name += x.suffix
			}
			s.Moments = append(s.Moments, ts...)
		}
	case e.lora != nil:
		if s.Adapter, err = e.lora.export(e.b); err != nil {
			return s, err
		}
		if s.Moments, err = e.lora.moments(e.b); err != nil {
			return s, err
		}
	default:
		return s, ErrNothingTrained
	}
	return s, nil
}

// SetState puts a State back, bit for bit.
func (e *Engine) SetState(s State) error {
	if s.Adapter != nil {
		if err := e.SetAdapter(s.Adapter); err != nil {
			return err
		}
	}
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
	case e.full != nil:
		if err := e.full.setValues(e.b, e.full.p, s.Weights); err != nil {
			return err
		}
		if err := e.full.setMoments(e.b, moments); err != nil {
			return err
		}
		if err := e.full.pack(e.b, e.w); err != nil {
			return err
		}
	case e.lora != nil && s.Adapter != nil:
		if err := e.lora.setMoments(e.b, moments); err != nil {
			return err
		}
	default:
		return errors.New("a state of another kind of training")
	}
	e.step = s.Step
	return nil
}

// moments returns Adam's moments under the adapter's tensor names.
func (lo *lora) moments(b kernels.Backend) ([]ckpt.Tensor, error) {
	var out []ckpt.Tensor
	for _, x := range []struct {
		suffix string
		second bool
	}{{firstMoment, false}, {secondMoment, true}} {
		t := lo.m
		if x.second {
			t = lo.v
		}
		err := lo.get(b, t, func(m *ckpt.AdapterModule, A, B []float32) {
			for _, y := range []struct {
				which string
				shape []int
				v     []float32
			}{{"lora_A", []int{m.Rank, m.In}, A}, {"lora_B", []int{m.Out, m.Rank}, B}} {
				c, err := ckpt.Float32Tensor(momentName(m, y.which)+x.suffix, ckpt.F32, y.shape, y.v)
				if err == nil {
					out = append(out, c)
				}
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

func momentName(m *ckpt.AdapterModule, which string) string {
	return m.Path() + "." + which
}

func (lo *lora) setMoments(b kernels.Backend, moments map[string]ckpt.Tensor) error {
	for _, suffix := range []string{firstMoment, secondMoment} {
		t := lo.m
		if suffix == secondMoment {
			t = lo.v
		}
		var failed error
		read := func(m *ckpt.AdapterModule, which string) []float32 {
			name := momentName(m, which) + suffix
			c, ok := moments[name]
			if !ok {
				failed = errors.Join(failed, fmt.Errorf("optimizer state: tensor %s is missing", name))
				return nil
			}
			v, err := c.Float32s()
			if err == nil && len(v) != m.Rank*m.In && which == "lora_A" || err == nil && len(v) != m.Rank*m.Out && which == "lora_B" {
				err = fmt.Errorf("found shape %v", c.Shape)
			}
			if err != nil {
				failed = errors.Join(failed, fmt.Errorf("optimizer state: tensor %s: %w", name, err))
			}
			return v
		}
		// All are looked at before any is used.
		for i := range lo.adapter.Modules {
			read(&lo.adapter.Modules[i], "lora_A")
			read(&lo.adapter.Modules[i], "lora_B")
		}
		if failed != nil {
			return failed
		}
		if err := lo.put(b, t, func(m *ckpt.AdapterModule) (A, B []float32) { return read(m, "lora_A"), read(m, "lora_B") }); err != nil {
			return err
		}
	}
	return nil
}

func (f *full) setMoments(b kernels.Backend, moments map[string]ckpt.Tensor) error {
	for _, suffix := range []string{firstMoment, secondMoment} {
		t := f.m
		if suffix == secondMoment {
			t = f.v
		}
		var ts []ckpt.Tensor
		for _, s := range f.specs {
			c, ok := moments[s.Name+suffix]
			if !ok {
				return fmt.Errorf("optimizer state: tensor %s is missing", s.Name+suffix)
			}
			c.Name = s.Name
			ts = append(ts, c)
		}
		if err := f.setValues(b, t, ts); err != nil {
			return err
		}
	}
	return nil
}
