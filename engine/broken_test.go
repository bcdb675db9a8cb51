package engine

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"afctl/ckpt"
	"afctl/kernels"
)

// faulty is a back end of which one operation fails, once.
type faulty struct {
	kernels.Backend
	op string
}

func (b *faulty) fails(op string) error {
	if b.op != op {
		return nil
	}
	b.op = ""
	return errLost
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
