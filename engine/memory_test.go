package engine

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"afctl/ckpt"
	"afctl/kernels"
	"afctl/kernels/cpu"
)

// tight is a back end whose memory ends after `left` allocations (negative: never), and which knows what it handed out.
type tight struct {
	kernels.Backend
	t        testing.TB
	left     int
	tensors  map[unsafe.Pointer]bool
	matrices map[kernels.Matrix]bool
	plans    map[kernels.Plan]bool
	kvs      map[kernels.KV]bool
}

func newTight(t testing.TB) *tight {
	b, err := cpu.New(cpu.Options{Threads: 1, Level: cpu.Auto})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return &tight{b, t, -1, map[unsafe.Pointer]bool{}, map[kernels.Matrix]bool{}, map[kernels.Plan]bool{}, map[kernels.KV]bool{}}
}

func (b *tight) spend() error {
	if b.left == 0 {
		return kernels.ErrMemory
	}
	b.left--
	return nil
}

func (b *tight) Alloc(d kernels.DType, rows, cols int) (kernels.Tensor, error) {
	if err := b.spend(); err != nil {
		return kernels.Tensor{}, err
	}
	x, err := b.Backend.Alloc(d, rows, cols)
	b.tensors[x.Ptr] = true
	return x, err
}

func (b *tight) NewMatrix(d kernels.DType, n, k int) (kernels.Matrix, error) {
	if err := b.spend(); err != nil {
		return nil, err
	}
	m, err := b.Backend.NewMatrix(d, n, k)
	b.matrices[m] = true
	return m, err
}

func (b *tight) Free(x kernels.Tensor) {
	if !b.tensors[x.Ptr] {
		b.t.Errorf("freed twice: %v", x)
		return
	}
	delete(b.tensors, x.Ptr)
	b.Backend.Free(x)
}

func (b *tight) FreeMatrix(m kernels.Matrix) {
	if !b.matrices[m] {
		b.t.Errorf("freed twice: a matrix")
		return
	}
	delete(b.matrices, m)
	b.Backend.FreeMatrix(m)
}

func (b *tight) NewPlan(h kernels.Heads) (kernels.Plan, error) {
	if err := b.spend(); err != nil {
		return nil, err
	}
	p, err := b.Backend.NewPlan(h)
	b.plans[p] = true
	return p, err
}

func (b *tight) FreePlan(p kernels.Plan) {
	if !b.plans[p] {
		b.t.Errorf("freed twice: a plan")
		return
	}
	delete(b.plans, p)
	b.Backend.FreePlan(p)
}

func (b *tight) NewKV(d kernels.DType, slots int, h kernels.Heads) (kernels.KV, error) {
	if err := b.spend(); err != nil {
		return nil, err
	}
	kv, err := b.Backend.NewKV(d, slots, h)
	b.kvs[kv] = true
	return kv, err
}

func (b *tight) FreeKV(kv kernels.KV) {
	if !b.kvs[kv] {
		b.t.Errorf("freed twice: a cache")
		return
	}
	delete(b.kvs, kv)
	b.Backend.FreeKV(kv)
}

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
			if len(b.tensors)+len(b.matrices)+len(b.plans)+len(b.kvs) > 0 {
				t.Fatalf("%s: %d allocations: %d tensors, %d matrices, %d plans and %d caches left behind", trainable, k, len(b.tensors), len(b.matrices), len(b.plans), len(b.kvs))
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
