package flow

import (
	"math"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// TestTrap21KLInReward: k1 takes beta times the rollout's summed lo - lr off its reward; a group of zero
// signal carries it, too, unless it is left out, and shaping starts from the outcomes every time.
func TestTrap21KLInReward(t *testing.T) {
	o := DefaultObjective()
	o.KLEstimator, o.KL = K1, 0.5
	for _, o.SkipZeroSignal = range []bool{false, true} {
		u := mustUpdate(t, []Trajectory{
			rollout("a", 0, 1, 1), rollout("a", 1, 1, 2), // zero signal
			rollout("b", 0, 1, 2, 1), rollout("b", 1, 0, 2), rollout("b", 2, 0, 1),
		}, o)
		n := len(u.Weight)
		lo, lr := make([]float32, n), make([]float32, n)
		for k := range lo {
			lo[k] = -float32(k%3) / 4
			lr[k] = -float32(k%5) / 2
		}
		lr[n-1] = -1000 // clamped to a difference of 20
		kl := make([]float64, u.Counts.Rollouts)
		for k := range lo {
			kl[u.Rollout[k]] += min(float64(lo[k]-lr[k]), 20)
		}
		want := append(Advantages([]float64{1 - kl[0]/2, 1 - kl[1]/2}, once(2), o.AdvantageStd, o.AdvantageEps),
			Advantages([]float64{1 - kl[2]/2, -kl[3] / 2, -kl[4] / 2}, once(3), o.AdvantageStd, o.AdvantageEps)...)
		for range 2 {
			if err := u.ShapeRewards(lo, lr); err != nil {
				t.Fatal(err)
			}
			for k, r := range u.Rollout {
				if a := want[r]; !near(u.Advantage[k], a, 1e-12) || a == 0 {
					t.Errorf("token %d of rollout %d: A = %v, expected %v", k, r, u.Advantage[k], a)
				}
			}
			if r := u.Groups[1].Rollouts[0]; r.Reward != 1 || r.Advantage != u.Advantage[slices.Index(u.Rollout, 2)] {
				t.Errorf("rollout is %+v", r)
			}
		}
		if a := u.Groups[0].Rollouts[0].Advantage; !u.Groups[0].ZeroSignal || (a == 0) != o.SkipZeroSignal {
			t.Errorf("skip_zero_signal %v: a group of zero signal has the advantage %v", o.SkipZeroSignal, a)
		}
	}
}

func TestShapeRewardsRefuses(t *testing.T) {
	o := DefaultObjective()
	ts := []Trajectory{rollout("a", 0, 1, 2), rollout("a", 1, 0, 1)}
	lp := make([]float32, 3)
	if err := mustUpdate(t, ts, o).ShapeRewards(lp, lp); err == nil {
		t.Error("k3 shapes rewards")
	}
	o.KLEstimator = K1
	u := mustUpdate(t, ts, o)
	before := mustUpdate(t, ts, o)
	if err := u.ShapeRewards(lp[:2], lp); err == nil {
		t.Error("lo of another length is accepted")
	}
	if err := u.ShapeRewards([]float32{0, 0, float32(math.NaN())}, lp); err == nil || !strings.HasPrefix(err.Error(), `group "a", sample 1: reward: found NaN`) {
		t.Errorf("lo that is not finite in sample 1: error %v", err)
	}
	if diff := gocmp.Diff(before, u, cmpopts.EquateNaNs()); diff != "" {
		t.Errorf("refused, and changed:\n%s", diff)
	}
}
