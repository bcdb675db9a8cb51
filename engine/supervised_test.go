package engine

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"afctl/ckpt"
	"afctl/flow"
)

// TestSupervisedNothing: without a target there is no step.
func TestSupervisedNothing(t *testing.T) {
	m := randomModel(t, tiny(true), ckpt.F32, 2)
	e := newEngine(t, m, 1, Options{})
	if err := e.SetAdapter(randomAdapter(t, m.Config, 8, 4)); err != nil {
		t.Fatal(err)
	}
	for _, seqs := range [][]flow.Sequence{nil, {{Tokens: []int32{1, 2}, Start: 2}}} {
		if _, err := e.SupervisedStep(context.Background(), seqs, DefaultOptimizer()); err == nil {
			t.Errorf("%v: no error", seqs)
		}
	}
	if s, err := e.State(); err != nil || s.Step != 0 {
		t.Errorf("%d steps were taken, %v", s.Step, err)
	}
}

// TestSupervisedSplits: any micro-batch budget gives the same supervised step: every target weighs the same, whichever batch it is in.
func TestSupervisedSplits(t *testing.T) {
	m := randomModel(t, tiny(true), ckpt.F32, 2)
	a := randomAdapter(t, m.Config, 8, 4)
	seqs := randomSequences(rand.New(rand.NewPCG(9, 9)), 12, m.Config.VocabSize)
	var first SupervisedMetrics
	var grads map[string][]float32
	for i, budget := range []int{1 << 20, 64, 17} {
		e := newEngine(t, m, 1, Options{MicroBatchTokens: budget})
		if err := e.SetAdapter(a); err != nil {
			t.Fatal(err)
		}
		lps, err := e.Score(context.Background(), seqs, 1, true)
		if err != nil {
			t.Fatal(err)
		}
		got, err := e.SupervisedStep(context.Background(), seqs, DefaultOptimizer())
		if err != nil {
			t.Fatal(err)
		}
		g := gradients(t, e)
		if i == 0 {
			mean := 0.0
			for _, lp := range lps {
				mean -= float64(lp) / float64(len(lps))
			}
			if math.Abs(got.Loss-mean) > splitTolerance*mean {
				t.Errorf("loss %v, the mean of the targets' negative log-probs is %v", got.Loss, mean)
			}
			first, grads = got, g
			continue
		}
		if d := relative(t, g, grads); d > splitTolerance {
			t.Errorf("budget %d: gradients differ by %.2e from one micro-batch", budget, d)
		}
		if got.Tokens != first.Tokens || math.Abs(got.Loss-first.Loss) > splitTolerance*first.Loss {
			t.Errorf("budget %d: %d targets, loss %v; in one micro-batch %d and %v", budget, got.Tokens, got.Loss, first.Tokens, first.Loss)
		}
	}
}
