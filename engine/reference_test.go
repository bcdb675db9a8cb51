package engine

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"

	"afctl/ckpt"
	"afctl/flow"
)

// TestReferenceIsBase (trap 19): the adapter off is the base, bit for bit; with B = 0 the KL is 0 and every ratio 1.
func TestReferenceIsBase(t *testing.T) {
	ctx := context.Background()
	for _, d := range dtypes {
		m := randomModel(t, tiny(true), ckpt.BF16, 4)
		base, with := newEngine(t, m, 2, Options{DType: d}), newEngine(t, m, 2, Options{DType: d})
		if err := with.SetAdapter(randomAdapter(t, m.Config, 4, 3)); err != nil {
			t.Fatal(err)
		}
		seqs := randomSequences(rand.New(rand.NewPCG(1, 1)), 9, m.Config.VocabSize)
		want, err := base.Score(ctx, seqs, 0.7, true)
		if err != nil {
			t.Fatal(err)
		}
		got, err := with.Score(ctx, seqs, 0.7, false)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(want, got) {
			t.Errorf("%v: the adapter off is not the base", d)
		}
		if policy, _ := with.Score(ctx, seqs, 0.7, true); slices.Equal(want, policy) {
			t.Errorf("%v: the adapter does nothing", d)
		}
		fresh, err := ckpt.NewAdapter(m.Config, 4, 8, ckpt.Projections, 1, false)
		if err != nil {
			t.Fatal(err)
		}
		if err := with.SetAdapter(fresh); err != nil {
			t.Fatal(err)
		}
		if policy, err := with.Score(ctx, seqs, 0.7, true); err != nil || !slices.Equal(want, policy) { // so that the update needs no reference pass
			t.Errorf("%v: an adapter with B = 0 is not the base, %v", d, err)
		}
		up, err := with.Begin(randomUpdate(t, rand.New(rand.NewPCG(2, 2)), m.Config.VocabSize, flow.DefaultObjective()))
		if err != nil {
			t.Fatal(err)
		}
		mt, err := up.Step(ctx, DefaultOptimizer())
		if err != nil {
			t.Fatal(err)
		}
		if mt.KL != 0 || mt.RatioMean != 1 || mt.RatioMax != 1 || !(mt.GradNorm > 0) {
			t.Errorf("%v: first step of a fresh adapter: kl %v, ratio %v max %v, grad norm %v", d, mt.KL, mt.RatioMean, mt.RatioMax, mt.GradNorm)
		}
		mt, err = up.Step(ctx, DefaultOptimizer())
		if err != nil {
			t.Fatal(err)
		}
		if !(mt.KL > 0) {
			t.Errorf("%v: second step: kl %v, expected > 0", d, mt.KL)
		}
	}
}

// TestReferenceStaysBase (trap 19): whatever training has made of the policy, and after a resume from it, the reference is the base, bit for
// bit: the next update has a KL.
func TestReferenceStaysBase(t *testing.T) {
	ctx := context.Background()
	for _, d := range dtypes {
		for _, train := range []Trainable{LoRA, Full} {
			m := randomModel(t, tiny(true), ckpt.BF16, 8)
			open := func() *Engine {
				e := newEngine(t, m, 2, Options{DType: d, Trainable: train})
				if train == Full {
					return e
				}
				a, err := ckpt.NewAdapter(m.Config, 4, 8, ckpt.Projections, 1, false)
				if err == nil {
					err = e.SetAdapter(a)
				}
				if err != nil {
					t.Fatal(err)
				}
				return e
			}
			seqs := randomSequences(rand.New(rand.NewPCG(1, 1)), 9, m.Config.VocabSize)
			score := func(e *Engine, policy bool) []float32 {
				lp, err := e.Score(ctx, seqs, 0.7, policy)
				if err != nil {
					t.Fatal(err)
				}
				return lp
			}
			step := func(e *Engine, seed uint64) flow.Metrics {
				up, err := e.Begin(randomUpdate(t, rand.New(rand.NewPCG(seed, 2)), m.Config.VocabSize, flow.DefaultObjective()))
				if err != nil {
					t.Fatal(err)
				}
				o := DefaultOptimizer()
				o.LR = 1e-2
				mt, err := up.Step(ctx, o)
				if err != nil {
					t.Fatal(err)
				}
				return mt
			}
			e := open()
			base := score(e, false)
			step(e, 1)
			state, err := e.State()
			if err != nil {
				t.Fatal(err)
			}
			resumed := open()
			if err := resumed.SetState(state); err != nil {
				t.Fatal(err)
			}
			var kl []flow.Number
			for name, x := range map[string]*Engine{"after a step": e, "resumed": resumed} {
				if !slices.Equal(score(x, false), base) || slices.Equal(score(x, true), base) {
					t.Errorf("%v %s, %s: the reference is not the base, or the policy is", d, train, name)
				}
				kl = append(kl, step(x, 2).KL)
			}
			if !(kl[0] > 0) || kl[0] != kl[1] {
				t.Errorf("%v %s: kl of the next update %v, expected the same > 0 after a resume and without", d, train, kl)
			}
		}
	}
}

// TestReferenceIsTakenOnce: lr is constant within an update, so later steps have no reference pass.
func TestReferenceIsTakenOnce(t *testing.T) {
	m := randomModel(t, tiny(true), ckpt.F32, 4)
	o := flow.DefaultObjective()
	for _, o.KLEstimator = range []flow.KLEstimator{flow.K3, flow.K1} {
		up, _ := beginWith(t, m, randomAdapter(t, m.Config, 4, 3), o)
		for i := range 3 {
			mt, err := up.Step(context.Background(), DefaultOptimizer())
			if err != nil {
				t.Fatal(err)
			}
			if taken := mt.SecondsReference > 0; taken != (i == 0) || !(mt.SecondsUpdate > 0) {
				t.Errorf("%s, step %d: %v seconds of reference pass, %v of update", o.KLEstimator, i+1, mt.SecondsReference, mt.SecondsUpdate)
			}
		}
	}
}

// TestReferenceOfANewAdapter: with B = 0 the reference's log-probs are the policy's, which no pass need make: also where k1 wants them before the
// gradient, and takes nothing off the rewards then. Of an adapter that was trained they are others.
func TestReferenceOfANewAdapter(t *testing.T) {
	m := randomModel(t, tiny(true), ckpt.F32, 4)
	fresh, err := ckpt.NewAdapter(m.Config, 4, 8, ckpt.Projections, 1, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []flow.KLEstimator{flow.K1, flow.K3} {
		o := flow.DefaultObjective()
		o.KLEstimator, o.KL = k, 0.5
		for _, a := range []*ckpt.Adapter{fresh, randomAdapter(t, m.Config, 4, 3)} {
			up, _ := beginWith(t, m, a, o)
			before := slices.Clone(up.u.Advantage)
			if _, err := up.Step(context.Background(), DefaultOptimizer()); err != nil {
				t.Fatal(err)
			}
			lo, lr := up.Constants()
			if same := slices.Equal(lo, lr); same != (a == fresh) || slices.Max(lr) >= 0 {
				t.Errorf("%s, new %v: the reference is the policy: %v", k, a == fresh, same)
			}
			if same := slices.Equal(up.u.Advantage, before); same != (a == fresh || k == flow.K3) {
				t.Errorf("%s, new %v: the same advantages: %v", k, a == fresh, same)
			}
		}
	}
}
