package engine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"afctl/ckpt"
	"afctl/flow"
)

// stepsOf begins an update of random rollouts from a random adapter, in micro-batches of so many rows.
func stepsOf(t *testing.T, m *ckpt.Model, o flow.Objective, budget int) (*Engine, *Update) {
	t.Helper()
	e := newEngine(t, m, 1, Options{MicroBatchTokens: budget})
	return e, begin(t, e, randomAdapter(t, m.Config, 4, 3), randomUpdate(t, rand.New(rand.NewPCG(2, 3)), m.Config.VocabSize, o))
}

// TestStepThatIsStopped: a step that ends with its context, before any of its passes, has changed nothing: taken again, it is that of an update which
// was never stopped.
func TestStepThatIsStopped(t *testing.T) {
	const never = 1 << 20
	m := randomModel(t, tiny(true), ckpt.F32, 5)
	for _, k := range []flow.KLEstimator{flow.K3, flow.K1} {
		o := flow.DefaultObjective()
		o.KLEstimator = k
		// steps takes two, each begun with a context that ends when it was asked so often.
		steps := func(asks int32) (result string, stopped int) {
			e, up := stepsOf(t, m, o, 60)
			for range 2 {
				mt, err := up.Step(endsWhenAsked(t, asks+1), DefaultOptimizer())
				if errors.Is(err, context.Canceled) {
					stopped++
					mt, err = up.Step(t.Context(), DefaultOptimizer())
				}
				if err != nil {
					t.Fatal(err)
				}
				result += fmt.Sprintln(mt.Loss, mt.KL, mt.GradNorm, mt.RatioMax)
			}
			a, err := e.Adapter()
			if err != nil {
				t.Fatal(err)
			}
			return result + a.Hash(), stopped
		}
		want, stopped := steps(never)
		if stopped != 0 {
			t.Fatalf("%s: stopped %d times without a reason", k, stopped)
		}
		for asks := int32(0); ; asks++ {
			got, stopped := steps(asks)
			if got != want {
				t.Errorf("%s: stopped when asked for the %d. time:\n%s\nnever stopped:\n%s", k, asks+1, got, want)
			}
			if stopped == 0 {
				if asks < 6 {
					t.Errorf("%s: asked %d times, expected once for each of several passes", k, asks)
				}
				break
			}
		}
	}
}

// TestForestTokens: a step says how many rows it computed: of one micro-batch each prefix once, and of smaller ones what cuts repeat besides.
func TestForestTokens(t *testing.T) {
	m := randomModel(t, tiny(true), ckpt.F32, 5)
	for _, budget := range []int{1 << 20, 40} {
		_, up := stepsOf(t, m, flow.DefaultObjective(), budget)
		prefixes, unshared, cut := map[string]bool{}, 0, 0
		for _, s := range up.u.Sequences {
			unshared += len(s.Tokens) - 1
			for k := 1; k < len(s.Tokens); k++ {
				prefixes[fmt.Sprint(s.Tokens[:k])] = true
			}
		}
		for _, f := range flow.Forests(up.u.Sequences, budget) {
			cut += len(f.Tokens)
		}
		mt, err := up.Step(t.Context(), DefaultOptimizer())
		if err != nil {
			t.Fatal(err)
		}
		if mt.ForestTokens != cut || mt.ForestUnsharedTokens != unshared || !(mt.TokensPerSecond > 0) {
			t.Errorf("micro-batches of %d: %d rows computed of %d, at %v a second, expected %d of %d", budget, mt.ForestTokens, mt.ForestUnsharedTokens,
				mt.TokensPerSecond, cut, unshared)
		}
		if whole := mt.ForestTokens == len(prefixes); whole != (budget > 40) || len(prefixes) >= unshared {
			t.Errorf("micro-batches of %d: %d rows computed, of %d distinct prefixes and %d rows", budget, mt.ForestTokens, len(prefixes), unshared)
		}
	}
}

// TestStepWithoutTargets (trap 13): where every group is left out, for rewards that are all equal, nothing is divided by no tokens: the gradient is 0
// and not NaN, weight decay alone moves A and B, and the update is resumed as any other.
func TestStepWithoutTargets(t *testing.T) {
	m := randomModel(t, tiny(true), ckpt.F32, 5)
	opt := DefaultOptimizer()
	opt.LR, opt.WeightDecay = 0.5, 0.25
	for _, k := range []flow.KLEstimator{flow.K3, flow.K1} {
		o := flow.DefaultObjective()
		o.KLEstimator, o.SkipZeroSignal = k, true
		open := func() (*Engine, *Update) {
			e := newEngine(t, m, 1, Options{})
			reward := 0.1
			turn := flow.Turn{Prompt: []int32{1, 2}, Action: []int32{3, 4}}
			u, err := flow.NewUpdate([]flow.Trajectory{{Group: "g", Reward: &reward, Turns: []flow.Turn{turn}}, {Group: "g", Sample: 1, Reward: &reward, Turns: []flow.Turn{turn}}}, o)
			if err != nil {
				t.Fatal(err)
			}
			return e, begin(t, e, randomAdapter(t, m.Config, 4, 3), u)
		}
		step := func(e *Engine, up *Update) *ckpt.Adapter {
			mt, err := up.Step(t.Context(), opt)
			if err != nil {
				t.Fatal(err)
			}
			if mt.Loss != 0 || mt.GradNorm != 0 || mt.SkippedSteps != 0 || mt.ForestTokens != 0 || mt.ActionTokens != 4 || !math.IsNaN(float64(mt.RatioMean)) {
				t.Errorf("%s: %+v", k, mt)
			}
			a, err := e.Adapter()
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		e, up := open()
		before, err := e.Adapter()
		if err != nil {
			t.Fatal(err)
		}
		after := step(e, up)
		for i, was := range before.Modules {
			now := after.Modules[i]
			for _, x := range [][2][]float32{{was.A, now.A}, {was.B, now.B}} {
				for j := range x[0] {
					if x[1][j] != 0.875*x[0][j] {
						t.Fatalf("%s: %s: %v became %v, expected 1 - lr weight_decay = 0.875 of it", k, was.Path(), x[0][j], x[1][j])
					}
				}
			}
		}
		state, err := e.State()
		if err != nil {
			t.Fatal(err)
		}
		again, resumed := open()
		if err := again.SetState(state); err != nil {
			t.Fatal(err)
		}
		lo, lr := up.Constants()
		if err := resumed.Resume(1, lo, lr); err != nil {
			t.Fatal(err)
		}
		if step(e, up).Hash() != step(again, resumed).Hash() {
			t.Errorf("%s: the resumed update gives another adapter", k)
		}
	}
}
