package engine

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"afctl/ckpt"
	"afctl/flow"
	"afctl/kernels"
	"afctl/kernels/cpu"
)

// tight is a back end whose memory ends after `left` allocations (negative: never), and which knows what it handed out.
type tight struct {
	kernels.Backend
	t    testing.TB
	left int
	out  map[any]bool // by handle
}

func newTight(t testing.TB) *tight {
	b, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return &tight{b, t, -1, map[any]bool{}}
}

// handle tells one thing that was handed out from another.
func handle(x any) any {
	if t, ok := x.(kernels.Tensor); ok {
		return t.Ptr
	}
	return x
}

// take hands out what of makes, where there is memory left.
func take[T any](b *tight, of func() (T, error)) (x T, err error) {
	if b.left == 0 {
		return x, kernels.ErrMemory
	}
	b.left--
	if x, err = of(); err == nil {
		b.out[handle(x)] = true
	}
	return x, err
}

// give takes x back, once.
func give[T any](b *tight, x T, free func(T)) {
	if !b.out[handle(x)] {
		b.t.Errorf("freed twice, or never made: %T", x)
		return
	}
	delete(b.out, handle(x))
	free(x)
}

func (b *tight) Alloc(d kernels.DType, rows, cols int) (kernels.Tensor, error) {
	return take(b, func() (kernels.Tensor, error) { return b.Backend.Alloc(d, rows, cols) })
}

func (b *tight) NewMatrix(d kernels.DType, n, k int) (kernels.Matrix, error) {
	return take(b, func() (kernels.Matrix, error) { return b.Backend.NewMatrix(d, n, k) })
}

func (b *tight) NewPlan(h kernels.Heads) (kernels.Plan, error) {
	return take(b, func() (kernels.Plan, error) { return b.Backend.NewPlan(h) })
}

func (b *tight) NewKV(d kernels.DType, slots int, h kernels.Heads) (kernels.KV, error) {
	return take(b, func() (kernels.KV, error) { return b.Backend.NewKV(d, slots, h) })
}

func (b *tight) Free(x kernels.Tensor)       { give(b, x, b.Backend.Free) }
func (b *tight) FreeMatrix(m kernels.Matrix) { give(b, m, b.Backend.FreeMatrix) }
func (b *tight) FreePlan(p kernels.Plan)     { give(b, p, b.Backend.FreePlan) }
func (b *tight) FreeKV(kv kernels.KV)        { give(b, kv, b.Backend.FreeKV) }

// TestOutOfMemory: wherever memory ends while an engine and its sampler are made, and where it ends before a pass, the error says so, nothing is freed twice or kept,
// and an engine that stands goes on once there is memory again.
func TestOutOfMemory(t *testing.T) {
	ctx := t.Context()
	m := randomModel(t, tiny(false), ckpt.F32, 31)
	rng := rand.New(rand.NewPCG(4, 4))
	for _, trainable := range []Trainable{LoRA, Full} {
		b := newTight(t)
		for k := 0; ; k++ {
			b.left = k
			e, err := New(b, m, Options{Trainable: trainable})
			if err == nil && trainable == LoRA {
				err = e.SetAdapter(randomAdapter(t, m.Config, 4, 3))
			}
			if err == nil {
				var s *Sampler
				if s, err = e.NewSampler(SamplerOptions{CacheTokens: 64}); err == nil {
					s.Close()
					s.Close()
				}
			}
			if e != nil {
				e.Close()
				e.Close()
			}
			for x := range b.out {
				t.Fatalf("%s: %d allocations: %d left behind, one a %T", trainable, k, len(b.out), x)
			}
			if err == nil {
				break
			}
			if !errors.Is(err, kernels.ErrMemory) {
				t.Fatalf("%s: %d allocations: %v", trainable, k, err)
			}
		}
		b.left = -1
		e, err := New(b, m, Options{Trainable: trainable})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		if trainable == LoRA {
			if err := e.SetAdapter(randomAdapter(t, m.Config, 4, 3)); err != nil {
				t.Fatal(err)
			}
		}
		s := newSampler(t, e, SamplerOptions{})
		if err := e.positions(200); err != nil {
			t.Fatal(err)
		}
		seqs := randomSequences(rng, 6, m.Config.VocabSize)
		u := randomUpdate(t, rng, m.Config.VocabSize, flow.DefaultObjective())
		for _, op := range []struct {
			name string
			run  func() error
		}{
			{"sample", func() error {
				_, err := s.Sample(ctx, SampleRequest{Prompt: seqs[0].Tokens, MaxTokens: 4, Temperature: 1})
				return err
			}},
			{"score", func() error { _, err := e.Score(ctx, seqs, 1, true); return err }},
			{"supervised step", func() error { _, err := e.SupervisedStep(ctx, seqs, DefaultOptimizer()); return err }},
			{"update", func() error {
				up, err := e.Begin(u)
				if (up == nil) != (err != nil) {
					t.Errorf("%s: an update %v beside the error %v", trainable, up, err)
				}
				return err
			}},
		} {
			b.left = 0
			if err := op.run(); !errors.Is(err, kernels.ErrMemory) || errors.Is(err, ErrBroken) {
				t.Errorf("%s: %s without memory: %v", trainable, op.name, err)
			}
			b.left = -1
			if err := op.run(); err != nil {
				t.Errorf("%s: %s with memory again: %v", trainable, op.name, err)
			}
		}
	}
}

// TestBeginTakesAll: all that an update's steps work in is there once it has begun, whichever pass takes most: of one layer it is the reference's.
func TestBeginTakesAll(t *testing.T) {
	for i := range 6 {
		layers, o := 1+i/2, flow.DefaultObjective()
		if i%2 == 1 {
			o.KLEstimator = flow.K1
		}
		cfg := tiny(true)
		cfg.NumHiddenLayers, cfg.IntermediateSize = layers, 400
		m, b := randomModel(t, cfg, ckpt.F32, 16), newTight(t)
		e, err := New(b, m, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		if err := e.SetAdapter(randomAdapter(t, cfg, 4, 3)); err != nil {
			t.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(2, 2))
		var ts []flow.Trajectory
		for i := range 2 {
			reward := float64(i)
			ts = append(ts, flow.Trajectory{Group: "g", Sample: i, Reward: &reward, Turns: []flow.Turn{{Prompt: tokens(rng, 200, cfg.VocabSize), Action: tokens(rng, 3, cfg.VocabSize)}}})
		}
		u, err := flow.NewUpdate(ts, o)
		if err != nil {
			t.Fatal(err)
		}
		up, err := e.Begin(u)
		if err != nil {
			t.Fatal(err)
		}
		b.left = 0
		if _, err := up.Step(t.Context(), DefaultOptimizer()); err != nil {
			t.Errorf("%d layers, %v: %v", layers, o.KLEstimator, err)
		}
		b.left = -1
	}
}

// cutting is a back end that has the model's file cut short before each load of rows.
type cutting struct {
	kernels.Backend
	cut func()
}

func (b cutting) NewMatrix(d kernels.DType, n, k int) (kernels.Matrix, error) {
	b.cut()
	return b.Backend.NewMatrix(d, n, k)
}

// TestFileCutShort: a model's file that another program cuts short between the check of a tensor and its load is an error, not the end of the process.
func TestFileCutShort(t *testing.T) {
	m := randomModel(t, tiny(false), ckpt.F32, 32)
	b := cutting{newTight(t), func() {
		if err := os.Truncate(filepath.Join(m.Name, "model.safetensors"), 0); err != nil {
			t.Fatal(err)
		}
	}}
	_, err := New(b, m, Options{})
	if err == nil || !strings.Contains(err.Error(), "model.embed_tokens.weight") || !strings.Contains(err.Error(), "cut short") {
		t.Errorf("%v", err)
	}
}
