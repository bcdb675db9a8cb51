package engine

import (
	"context"
	"math"
	"slices"
	"testing"

	"afctl/ckpt"
	"afctl/flow"
)

// TestOptimize (trap 28): the clip's factor is min(1, max/(norm + 1e-6)), and a step whose gradient is not finite leaves values, moments and the
// count of steps as they were.
func TestOptimize(t *testing.T) {
	m := randomModel(t, tiny(true), ckpt.F32, 9)
	e := newEngine(t, m, 1, Options{})
	if err := e.SetAdapter(randomAdapter(t, m.Config, 4, 3)); err != nil {
		t.Fatal(err)
	}
	ps := e.trained()
	grad, p, first := make([]float32, ps.n), make([]float32, ps.n), make([]float32, ps.n)
	o := DefaultOptimizer()
	step := func(want bool) float64 {
		t.Helper()
		if err := e.b.Upload(ps.g, grad); err != nil {
			t.Fatal(err)
		}
		norm, taken, err := e.optimize(o)
		if err != nil || taken != want {
			t.Fatalf("taken %v, error %v", taken, err)
		}
		if err := e.b.Download(p, ps.p); err != nil {
			t.Fatal(err)
		}
		if err := e.b.Download(first, ps.m); err != nil {
			t.Fatal(err)
		}
		return norm
	}
	for _, c := range []struct{ norm, max, scale float64 }{{5, 1, 0.2}, {5, 10, 1}, {5, 0, 1}, {1e-6, 1e-6, 0.5}, {1e-6, 1, 1}} {
		if err := e.SetAdapter(randomAdapter(t, m.Config, 4, 3)); err != nil {
			t.Fatal(err)
		}
		ps = e.trained()
		grad[0], grad[1] = float32(0.6*c.norm), float32(0.8*c.norm)
		o.MaxGradNorm = c.max
		if norm := step(true); math.Abs(norm/c.norm-1) > 1e-6 {
			t.Errorf("%+v: norm %v", c, norm)
		}
		const tolerance = 1e-6 // float32
		if want := (1 - o.Beta1) * c.scale * float64(grad[0]); math.Abs(float64(first[0])/want-1) > tolerance {
			t.Errorf("%+v: the first moment is %v, expected %v", c, first[0], want)
		}
	}
	grad[1] = 3e19 // whose square float32 does not hold, unless it is clipped
	o.MaxGradNorm = 1
	step(true)
	o.MaxGradNorm = 0
	for _, bad := range []float64{3e19, math.NaN(), math.Inf(1), math.Inf(-1)} {
		grad[1] = float32(bad)
		before, moments, steps := slices.Clone(p), slices.Clone(first), e.step
		step(false)
		if !slices.Equal(p, before) || !slices.Equal(first, moments) || e.step != steps {
			t.Errorf("%v in the gradient: values or moments changed, or a step of %d was counted", bad, e.step)
		}
	}
}

// TestTrap28Skip: a gradient that is not finite changes neither values nor moments nor the count of steps, and is counted.
func TestTrap28Skip(t *testing.T) {
	m := randomModel(t, tiny(true), ckpt.F32, 6)
	a := randomAdapter(t, m.Config, 4, 3)
	for i := range a.Modules {
		for j := range a.Modules[i].B {
			a.Modules[i].B[j] *= 1e30
		}
	}
	up, e := beginWith(t, m, a, flow.DefaultObjective())
	mt, err := up.Step(context.Background(), DefaultOptimizer())
	if err != nil {
		t.Fatal(err)
	}
	if norm := float64(mt.GradNorm); mt.SkippedSteps != 1 || !(math.IsNaN(norm) || math.IsInf(norm, 0)) {
		t.Fatalf("skipped %d, grad norm %v, expected 1 and one that is not finite", mt.SkippedSteps, norm)
	}
	s, err := e.State()
	if err != nil {
		t.Fatal(err)
	}
	if s.Step != 0 || s.Adapter.Hash() != a.Hash() {
		t.Errorf("after a skipped step: %d steps, adapter %.12s, expected 0 and %.12s", s.Step, s.Adapter.Hash(), a.Hash())
	}
	for _, moment := range s.Moments {
		if v, err := moment.Float32s(); err != nil || slices.ContainsFunc(v, func(x float32) bool { return x != 0 }) {
			t.Errorf("after a skipped step: %s is not 0 (%v)", moment.Name, err)
		}
	}
}
