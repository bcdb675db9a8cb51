package engine

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"afctl/ckpt"
	"afctl/flow"
	"afctl/kernels"
)

// TestStateIsWhole: of a state that lacks a tensor, or has one of another shape, nothing is taken over.
func TestStateIsWhole(t *testing.T) {
	m := randomModel(t, tiny(false), ckpt.F32, 21)
	seqs := randomSequences(rand.New(rand.NewPCG(3, 4)), 5, m.Config.VocabSize)
	for _, trainable := range []Trainable{LoRA, Full} {
		open := func(seed uint64) *Engine {
			e := newEngine(t, m, 1, Options{Trainable: trainable})
			if trainable == LoRA {
				if err := e.SetAdapter(randomAdapter(t, m.Config, 4, seed)); err != nil {
					t.Fatal(err)
				}
			}
			return e
		}
		step := func(e *Engine) {
			if _, err := e.SupervisedStep(t.Context(), seqs, DefaultOptimizer()); err != nil {
				t.Fatal(err)
			}
		}
		hash := func(e *Engine) string {
			s, err := e.State()
			if err != nil {
				t.Fatal(err)
			}
			if s.Adapter != nil {
				return s.Adapter.Hash() + ckpt.HashTensors(s.Moments)
			}
			return ckpt.HashTensors(s.Weights) + ckpt.HashTensors(s.Moments)
		}
		from, e := open(3), open(4)
		step(from)
		step(from)
		step(e)
		was := hash(e)
		for i := range 4 {
			s, err := from.State()
			if err != nil {
				t.Fatal(err)
			}
			last := len(s.Moments) - 1
			switch i {
			case 0:
				s.Moments = s.Moments[:last]
			case 1:
				s.Moments = slices.Clone(s.Moments)
				s.Moments[last], err = ckpt.Float32Tensor(s.Moments[last].Name, ckpt.F32, []int{1}, []float32{0})
			case 2:
				s.Moments = s.Moments[:len(s.Moments)/2]
			case 3:
				if trainable == LoRA {
					continue
				}
				s.Weights = s.Weights[:len(s.Weights)-1]
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := e.SetState(s); err == nil || !strings.Contains(err.Error(), "tensor ") {
				t.Errorf("%s: state %d: %v, expected an error that names a tensor", trainable, i, err)
			}
			if hash(e) != was {
				t.Fatalf("%s: state %d was taken over in part", trainable, i)
			}
		}
		fresh := open(4)
		step(fresh)
		step(fresh)
		step(e)
		if hash(e) != hash(fresh) {
			t.Errorf("%s: the step after a refused state is not that of an engine which never saw one", trainable)
		}
	}
}

// TestShapingFails: rewards that the KL makes infinite are an error at every attempt, not a step with unshaped ones at the second.
func TestShapingFails(t *testing.T) {
	o := flow.DefaultObjective()
	o.KLEstimator, o.KL = flow.K1, 1
	m := randomModel(t, tiny(true), ckpt.F32, 22)
	a := randomAdapter(t, m.Config, 4, 3)
	for i := range a.Modules {
		for j := range a.Modules[i].B {
			a.Modules[i].B[j] *= 1e6 // far from the base
		}
	}
	up, _ := beginWith(t, m, a, o)
	up.u.Objective.KL = math.MaxFloat64 // more than an objective may have
	for range 2 {
		if _, err := up.Step(t.Context(), DefaultOptimizer()); err == nil {
			t.Fatal("a step with rewards that are not finite")
		}
	}
}

// TestMastersAreTheFile: an engine that has trained nothing gives back the values of its model's files to the bit, whatever products round them to.
func TestMastersAreTheFile(t *testing.T) {
	for _, stored := range []ckpt.DType{ckpt.F32, ckpt.F16, ckpt.BF16} {
		for _, d := range []kernels.DType{kernels.F32, kernels.BF16} {
			m := randomModel(t, tiny(true), stored, 11)
			got, err := newEngine(t, m, 1, Options{Trainable: Full, DType: d}).Weights(ckpt.F32)
			if err != nil {
				t.Fatal(err)
			}
			for _, g := range got {
				w, err := m.Weights.Tensor(g.Name)
				if err != nil {
					t.Fatal(err)
				}
				want, err := w.Float32s()
				if err != nil {
					t.Fatal(err)
				}
				if have, err := g.Float32s(); err != nil || !slices.Equal(have, want) {
					t.Errorf("%s in %s, engine.dtype %s: the masters are others (%v)", g.Name, stored, d, err)
				}
			}
		}
	}
}
