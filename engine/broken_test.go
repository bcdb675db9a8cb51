package engine

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"afctl/ckpt"
	"afctl/flow"
	"afctl/kernels"
)

// faulty is a back end of which one operation fails, once: at its first call, or at its second.
type faulty struct {
	kernels.Backend
	op string
}

func (b *faulty) fails(op string) error {
	switch b.op {
	case op:
		b.op = ""
		return errLost
	case "second " + op:
		b.op = op
	}
	return nil
}

func (b *faulty) Zero(t kernels.Tensor) error {
	if err := b.fails("zero"); err != nil {
		return err
	}
	return b.Backend.Zero(t)
}

func (b *faulty) Upload(t kernels.Tensor, x []float32) error {
	if err := b.fails("upload"); err != nil {
		return err
	}
	return b.Backend.Upload(t, x)
}

func (b *faulty) Download(x []float32, t kernels.Tensor) error {
	if err := b.fails("download"); err != nil {
		return err
	}
	return b.Backend.Download(x, t)
}

func (b *faulty) AdamW(a kernels.AdamW) error {
	if err := b.fails("adamw"); err != nil {
		return err
	}
	return b.Backend.AdamW(a)
}

// TestRotaryTableFails: a rotary table that could not be filled is not taken for one, and its memory goes back.
func TestRotaryTableFails(t *testing.T) {
	m := randomModel(t, tiny(false), ckpt.F32, 41)
	seqs := randomSequences(rand.New(rand.NewPCG(5, 6)), 3, m.Config.VocabSize)
	want, err := newEngine(t, m, 1, Options{}).Score(t.Context(), seqs, 1, true)
	if err != nil {
		t.Fatal(err)
	}
	b := newTight(t)
	e, err := New(b, m, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	e.b = &faulty{b, "upload"}
	had := len(b.out)
	if _, err := e.Score(t.Context(), seqs, 1, true); !errors.Is(err, errLost) {
		t.Fatalf("found error %v, expected %v", err, errLost)
	}
	if !e.rope.None() || e.ropeLen != 0 || len(b.out) != had {
		t.Errorf("found a table %v of %d positions and %d tensors more, expected none", e.rope, e.ropeLen, len(b.out)-had)
	}
	e.broken = nil // as if it were back
	if got, err := e.Score(t.Context(), seqs, 1, true); err != nil || !slices.Equal(got, want) {
		t.Errorf("after it: error %v, found log-probs %v, expected %v", err, got, want)
	}
}

// TestBrokenAfterAnyError: whichever operation of the back end fails, the engine that asked for it does no more work, and names the cause.
func TestBrokenAfterAnyError(t *testing.T) {
	m := randomModel(t, tiny(false), ckpt.F32, 42)
	seqs := randomSequences(rand.New(rand.NewPCG(5, 6)), 3, m.Config.VocabSize)
	score := func(e *Engine) error { _, err := e.Score(t.Context(), seqs, 1, true); return err }
	state := func(e *Engine) error { _, err := e.State(); return err }
	supervised := func(e *Engine) error { _, err := e.SupervisedStep(t.Context(), seqs, DefaultOptimizer()); return err }
	setState := func(e *Engine, whole State) error { return e.SetState(whole) }
	for _, c := range []struct {
		what, op  string
		trainable Trainable
		do        func(e *Engine, whole State) error
	}{
		{"rotary table", "upload", LoRA, func(e *Engine, _ State) error { return score(e) }},
		{"arena", "zero", LoRA, func(e *Engine, _ State) error { return score(e) }},
		{"step", "zero", LoRA, func(e *Engine, _ State) error {
			u := randomUpdate(t, rand.New(rand.NewPCG(7, 8)), m.Config.VocabSize, flow.DefaultObjective())
			up, err := e.Begin(u)
			if err != nil {
				t.Fatal(err)
			}
			e.b.(*faulty).op = "zero"
			_, err = up.Step(t.Context(), DefaultOptimizer())
			return err
		}},
		{"supervised step", "zero", LoRA, func(e *Engine, _ State) error { return supervised(e) }},
		{"supervised step", "adamw", LoRA, func(e *Engine, _ State) error { return supervised(e) }},
		{"adapter", "upload", LoRA, func(e *Engine, whole State) error { return e.SetAdapter(whole.Adapter) }},
		{"adapter", "download", LoRA, func(e *Engine, _ State) error { _, err := e.Adapter(); return err }},
		{"state", "download", LoRA, func(e *Engine, _ State) error { return state(e) }},
		{"state", "second download", LoRA, func(e *Engine, _ State) error { return state(e) }},
		{"state", "second upload", LoRA, setState},
		{"weights", "download", Full, func(e *Engine, _ State) error { _, err := e.Weights(ckpt.F32); return err }},
		{"state of all weights", "second download", Full, func(e *Engine, _ State) error { return state(e) }},
		{"state of all weights", "upload", Full, setState},
	} {
		e := newEngine(t, m, 1, Options{Trainable: c.trainable})
		if c.trainable == LoRA {
			if err := e.SetAdapter(randomAdapter(t, m.Config, 4, 3)); err != nil {
				t.Fatal(err)
			}
		}
		whole, err := e.State()
		if err != nil {
			t.Fatal(err)
		}
		b := &faulty{e.b, c.op}
		if c.what == "step" {
			b.op = "" // until it has begun
		}
		e.b = b
		if err := c.do(e, whole); !errors.Is(err, errLost) || errors.Is(err, ErrBroken) {
			t.Errorf("%s: found error %v, expected %v", c.what, err, errLost)
		}
		for what, err := range map[string]error{"score": score(e), "state": state(e), "supervised step": supervised(e)} {
			if !errors.Is(err, ErrBroken) || !errors.Is(err, errLost) {
				t.Errorf("%s after a failed %s of %s: found error %v, expected one that is ErrBroken, and why", what, c.op, c.what, err)
			}
		}
	}
}
