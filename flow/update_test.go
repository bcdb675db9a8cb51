package flow

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

func ptr[T any](v T) *T { return &v }

// rollout makes a trajectory whose turns have actions of the lengths given, with log-probs.
func rollout(group string, sample int, reward float64, lengths ...int) Trajectory {
	t := Trajectory{Group: group, Sample: sample, Reward: &reward}
	for i, n := range lengths {
		turn := Turn{Prompt: []int32{1, int32(i)}}
		for k := range n {
			turn.Action = append(turn.Action, int32(sample+k))
			turn.LogProbs = append(turn.LogProbs, -float32(k+1)/8)
		}
		t.Turns = append(t.Turns, turn)
	}
	return t
}

func failed(group string, sample int, why string) Trajectory {
	return Trajectory{Group: group, Sample: sample, Failure: why}
}

func mustUpdate(t testing.TB, ts []Trajectory, o Objective) *Update {
	t.Helper()
	u, err := NewUpdate(ts, o)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// drawTrajectories draws groups with failed rollouts, equal rewards and turns of several lengths among them.
func drawTrajectories(t *rapid.T) []Trajectory {
	var ts []Trajectory
	for g := range rapid.IntRange(1, 4).Draw(t, "groups") {
		name := fmt.Sprintf("q%d", g)
		for i := range rapid.IntRange(1, 5).Draw(t, "rollouts") {
			if rapid.IntRange(0, 4).Draw(t, "fails") == 0 {
				ts = append(ts, failed(name, i, rapid.SampledFrom([]string{"", "timeout"}).Draw(t, "why")))
				continue
			}
			reward := rapid.SampledFrom([]float64{0, 0.1, 1}).Draw(t, "reward")
			ts = append(ts, rollout(name, i, reward, rapid.SliceOfN(rapid.IntRange(1, 4), 1, 3).Draw(t, "turns")...))
		}
	}
	if !slices.ContainsFunc(ts, func(t Trajectory) bool { return !t.Failed() }) {
		ts = append(ts, rollout("z", 0, 1, 2))
	}
	return ts
}

func drawUpdateObjective(t *rapid.T) Objective {
	o := DefaultObjective()
	o.Aggregation = rapid.SampledFrom([]Aggregation{AggregationFlow, AggregationRolloutMean, AggregationTurnMean,
		AggregationTokenMean, AggregationConstant}).Draw(t, "aggregation")
	o.AdvantageStd = rapid.SampledFrom([]AdvantageStd{StdSample, StdPopulation, StdNone}).Draw(t, "advantage_std")
	o.AdvantageOver = rapid.SampledFrom([]AdvantageOver{AdvantageOverRollouts, AdvantageOverTurns}).Draw(t, "advantage_over")
	o.SkipZeroSignal = rapid.Bool().Draw(t, "skip_zero_signal")
	o.MaxActionTokens = 16
	return o
}

func TestUpdateDoesNotDependOnOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ts, o := drawTrajectories(t), drawUpdateObjective(t)
		a, err := NewUpdate(ts, o)
		if err != nil {
			t.Fatal(err)
		}
		b, err := NewUpdate(rapid.Permutation(ts).Draw(t, "order"), o)
		if err != nil {
			t.Fatal(err)
		}
		if diff := gocmp.Diff(a, b, cmpopts.EquateNaNs()); diff != "" {
			t.Fatal(diff)
		}
	})
}

// TestUpdateArrays: every action token of every trained rollout once, in order, with its rollout's advantage.
func TestUpdateArrays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u, err := NewUpdate(drawTrajectories(t), drawUpdateObjective(t))
		if err != nil {
			t.Fatal(err)
		}
		sequence, index, n := 0, 0, int32(0)
		for _, g := range u.Groups {
			for _, r := range g.Rollouts {
				for _, turn := range r.Turns {
					if u.Objective.SkipZeroSignal && g.ZeroSignal {
						continue
					}
					s := u.Sequences[sequence]
					if !slices.Equal(s.Tokens, slices.Concat(turn.Prompt, turn.Action)) || s.Start != len(turn.Prompt) || s.Index != index {
						t.Fatalf("sequence %d is %+v, the turn %+v at %d", sequence, s, turn, index)
					}
					for k := range turn.Action {
						if u.Advantage[index] != r.Advantage || u.Rollout[index] != n || u.LS[index] != turn.LogProbs[k] {
							t.Fatalf("token %d: A %v, rollout %d, ls %v", index, u.Advantage[index], u.Rollout[index], u.LS[index])
						}
						index++
					}
					sequence++
				}
				n++
			}
		}
		if sequence != len(u.Sequences) || index != len(u.Weight) || index != len(u.Advantage) || index != len(u.Rollout) {
			t.Fatalf("%d sequences, %d tokens, arrays of %d", len(u.Sequences), index, len(u.Weight))
		}
	})
}

// sumTolerance bounds the rounding of a sum of at most 1e3 weights of order 1.
const sumTolerance = 1e-12

// TestTrap13Denominators: what the weights of each aggregation sum to, over what they claim to share equally.
func TestTrap13Denominators(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := drawUpdateObjective(t)
		o.SkipZeroSignal = false
		u, err := NewUpdate(drawTrajectories(t), o)
		if err != nil {
			t.Fatal(err)
		}
		c, index, total := u.Counts, 0, 0.0
		for _, g := range u.Groups {
			group := 0.0
			for _, r := range g.Rollouts {
				rollout := 0.0
				for _, turn := range r.Turns {
					sum := 0.0
					for range turn.Action {
						sum += u.Weight[index]
						index++
					}
					switch {
					case o.Aggregation == AggregationFlow && !near(sum, 1/float64(c.Groups*len(g.Rollouts)*len(r.Turns)), sumTolerance),
						o.Aggregation == AggregationTurnMean && !near(sum, 1/float64(c.Turns), sumTolerance):
						t.Fatalf("%s: a turn sums to %v", o.Aggregation, sum)
					}
					rollout += sum
				}
				if o.Aggregation == AggregationRolloutMean && !near(rollout, 1/float64(c.Rollouts), sumTolerance) {
					t.Fatalf("rollout-mean: a rollout sums to %v of %d", rollout, c.Rollouts)
				}
				group += rollout
			}
			if o.Aggregation == AggregationFlow && !near(group, 1/float64(c.Groups), sumTolerance) {
				t.Fatalf("flow: a group sums to %v of %d", group, c.Groups)
			}
			total += group
		}
		want := 1.0
		if o.Aggregation == AggregationConstant {
			want = float64(c.ActionTokens) / float64(c.Turns*o.MaxActionTokens)
		}
		if !near(total, want, sumTolerance) {
			t.Fatalf("%s: weights sum to %v, expected %v", o.Aggregation, total, want)
		}
		if a := u.Weight[0]; (o.Aggregation == AggregationTokenMean || o.Aggregation == AggregationConstant) &&
			slices.ContainsFunc(u.Weight, func(w float64) bool { return w != a }) {
			t.Fatalf("%s: weights differ", o.Aggregation)
		}
	})
}

// TestWeightsByHand: two groups, a failed rollout, turns of 1 to 3 tokens.
func TestWeightsByHand(t *testing.T) {
	ts := []Trajectory{
		rollout("q1", 0, 1, 1, 3), rollout("q1", 1, 0, 2), failed("q1", 2, "timeout"),
		rollout("q10", 0, 1, 2), failed("q2", 0, ""),
	}
	for aggregation, want := range map[Aggregation][]float64{
		AggregationFlow:        {1. / 8, 1. / 24, 1. / 24, 1. / 24, 1. / 8, 1. / 8, 1. / 4, 1. / 4},
		AggregationRolloutMean: {1. / 12, 1. / 12, 1. / 12, 1. / 12, 1. / 6, 1. / 6, 1. / 6, 1. / 6},
		AggregationTurnMean:    {1. / 4, 1. / 12, 1. / 12, 1. / 12, 1. / 8, 1. / 8, 1. / 8, 1. / 8},
		AggregationTokenMean:   slices.Repeat([]float64{1. / 8}, 8),
		AggregationConstant:    slices.Repeat([]float64{1. / 40}, 8),
	} {
		o := DefaultObjective()
		o.Aggregation, o.MaxActionTokens = aggregation, 10
		u := mustUpdate(t, ts, o)
		if diff := gocmp.Diff(want, u.Weight, cmpopts.EquateApprox(0, sumTolerance)); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", aggregation, diff)
		}
		wantCounts := Counts{Groups: 2, Rollouts: 3, Turns: 4, ActionTokens: 8, ZeroSignal: 1, Incomplete: 1,
			FailedGroups: 1, Failed: map[string]int{"timeout": 1, "unknown": 1}}
		if diff := gocmp.Diff(wantCounts, u.Counts); diff != "" {
			t.Errorf("counts (-want +got)\n%s", diff)
		}
	}
}

// TestTrap04EndToken: the end token is a token of the action like the others: why an action ended changes nothing of what is trained.
func TestTrap04EndToken(t *testing.T) {
	o := DefaultObjective()
	for _, o.Aggregation = range []Aggregation{AggregationFlow, AggregationRolloutMean, AggregationTurnMean,
		AggregationTokenMean, AggregationConstant} {
		made := func(stop StopReason) *Update {
			ts := []Trajectory{rollout("a", 0, 1, 2, 3), rollout("a", 1, 0, 1)}
			for _, r := range ts {
				for i := range r.Turns {
					r.Turns[i].Stop = stop
				}
			}
			u := mustUpdate(t, ts, o)
			u.Groups = nil // they hold the turns
			return u
		}
		for _, stop := range []StopReason{StopEOS, StopLimit} {
			if diff := gocmp.Diff(made(""), made(stop)); diff != "" {
				t.Errorf("%s, actions that ended with %q:\n%s", o.Aggregation, stop, diff)
			}
		}
	}
}

// TestTrap08MultiTurnMask: prompt tokens, which hold what tools returned, are in no array and in no denominator.
func TestTrap08MultiTurnMask(t *testing.T) {
	o := DefaultObjective()
	for _, o.Aggregation = range []Aggregation{AggregationFlow, AggregationRolloutMean, AggregationTurnMean,
		AggregationTokenMean, AggregationConstant} {
		ts := []Trajectory{rollout("a", 0, 1, 2, 3), rollout("a", 1, 0, 1)}
		short := mustUpdate(t, ts, o)
		ts[0].Turns[1].Prompt = slices.Repeat([]int32{5}, 100)
		long := mustUpdate(t, ts, o)
		if !slices.Equal(short.Weight, long.Weight) || !slices.Equal(short.Advantage, long.Advantage) {
			t.Errorf("%s: a longer tool result changes the weights", o.Aggregation)
		}
		for _, f := range Forests(long.Sequences, 0) {
			if len(f.Targets) != 6 {
				t.Errorf("%d targets, expected the 6 action tokens", len(f.Targets))
			}
		}
	}
}

// TestTrap10GroupSizeOne: statistics are over the rollouts of a group, not over turns, and a group of one has A = 0
// and a warning.
func TestTrap10GroupSizeOne(t *testing.T) {
	var ts []Trajectory
	for i := range 4 {
		ts = append(ts, rollout("a", i, 1, 2), rollout("a", i+4, 0, 2, 2, 2))
	}
	right, wrong := func(u *Update) float64 { return u.Groups[0].Rollouts[0].Advantage },
		func(u *Update) float64 { return u.Groups[0].Rollouts[7].Advantage }
	o := DefaultObjective()
	if u := mustUpdate(t, ts, o); !near(right(u), 0.935413, vectorTolerance) || !near(wrong(u), -0.935413, vectorTolerance) {
		t.Errorf("over rollouts: %v and %v", right(u), wrong(u))
	}
	o.AdvantageOver = AdvantageOverTurns
	if u := mustUpdate(t, ts, o); !near(right(u), 1.677, 5e-4) || !near(wrong(u), -0.559, 5e-4) {
		t.Errorf("over turns: %v and %v", right(u), wrong(u))
	}

	o = DefaultObjective()
	u := mustUpdate(t, []Trajectory{rollout("a", 0, 1, 2), failed("a", 1, "timeout"), rollout("b", 0, 1, 1), rollout("b", 1, 0, 1)}, o)
	if g := u.Groups[0]; g.Rollouts[0].Advantage != 0 || !g.ZeroSignal || !g.Incomplete {
		t.Errorf("a group of one: %+v", g)
	}
	if len(u.Warnings) != 1 || !strings.Contains(u.Warnings[0], "1 of 2 groups have one rollout") {
		t.Errorf("warnings: %q", u.Warnings)
	}
	u = mustUpdate(t, []Trajectory{rollout("a", 0, 1, 2), rollout("a", 1, 0, 2), failed("b", 0, "timeout"), failed("c", 0, "")}, o)
	if len(u.Groups) != 1 || u.Counts.FailedGroups != 2 || len(u.Warnings) != 1 || !strings.Contains(u.Warnings[0], "2 of 3 groups have no rollout with a reward and are left out (b, c)") {
		t.Errorf("%d groups, %d failed, warnings: %q", len(u.Groups), u.Counts.FailedGroups, u.Warnings)
	}
}

// TestTrap12MissingReward: a failed rollout is nowhere but in the counts; a reward that is no number is an error.
func TestTrap12MissingReward(t *testing.T) {
	ts := []Trajectory{rollout("a", 0, 0.9, 2), rollout("a", 1, 0.3, 1)}
	o := DefaultObjective()
	without := mustUpdate(t, ts, o)
	with := mustUpdate(t, append(ts, failed("a", 2, "timeout"), failed("b", 0, "judge")), o)
	if !slices.Equal(without.Weight, with.Weight) || !slices.Equal(without.Advantage, with.Advantage) {
		t.Error("failed rollouts change weights or advantages")
	}
	if c := with.Counts; c.Failed["timeout"] != 1 || c.Failed["judge"] != 1 || c.FailedGroups != 1 || c.Groups != 1 {
		t.Errorf("counts: %+v", c)
	}
	if with.Groups[0].Rollouts[0].Reward != 0.9 {
		t.Error("rewards lost precision")
	}
	for _, r := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		var at *TrajectoryError
		if _, err := NewUpdate([]Trajectory{ts[0], rollout("a", 1, r, 1)}, o); !errors.As(err, &at) || at.Field != "reward" || at.Sample != 1 {
			t.Errorf("reward %v: error %v", r, err)
		}
	}
	bad := []Trajectory{failed("a", 0, "model"), failed("a", 1, "model"), failed("a", 2, ""), failed("b", 0, "timeout")}
	bad[1].FailureDetail, bad[3].FailureDetail = "no room\n for it", strings.Repeat("x", 200)
	want := "no rollout with a reward among 4 trajectories: model 2 (no room for it), timeout 1 (" + strings.Repeat("x", 160) + "...), unknown 1"
	if _, err := NewUpdate(bad, o); !errors.Is(err, ErrNoRollouts) || err.Error() != want {
		t.Errorf("nothing but failures: error %v, expected %s", err, want)
	}
}

// TestTrap30LongRows: no length is cut or dropped after the baseline was formed.
func TestTrap30LongRows(t *testing.T) {
	o := DefaultObjective()
	o.MaxActionTokens = 4
	u := mustUpdate(t, []Trajectory{rollout("a", 0, 1, 100), rollout("a", 1, 0, 3)}, o)
	targets := 0
	for _, f := range Forests(u.Sequences, 8) {
		targets += len(f.Targets)
	}
	if targets != 103 || len(u.Weight) != 103 {
		t.Errorf("%d targets and %d weights of 103 action tokens", targets, len(u.Weight))
	}
}

// TestSkipZeroSignal: skipped groups have no targets, and stay in every denominator.
func TestSkipZeroSignal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ts, o := drawTrajectories(t), drawUpdateObjective(t)
		o.SkipZeroSignal = false
		all, err := NewUpdate(ts, o)
		if err != nil {
			t.Fatal(err)
		}
		o.SkipZeroSignal = true
		some, err := NewUpdate(ts, o)
		if err != nil {
			t.Fatal(err)
		}
		var want []float64
		zero := make([]bool, 0, all.Counts.Rollouts)
		for _, g := range all.Groups {
			zero = append(zero, slices.Repeat([]bool{g.ZeroSignal}, len(g.Rollouts))...)
		}
		for k, w := range all.Weight {
			if !zero[all.Rollout[k]] {
				want = append(want, w)
			}
		}
		if !slices.Equal(want, some.Weight) || !gocmp.Equal(all.Counts, some.Counts) {
			t.Fatalf("weights %v, expected %v; counts %+v, expected %+v", some.Weight, want, some.Counts, all.Counts)
		}
	})
}

// TestMissingSamples are numbered in the order given.
func TestMissingSamples(t *testing.T) {
	ts := []Trajectory{rollout("b", 4, 1, 1), rollout("a", 0, 1, 1), failed("a", 0, ""), rollout("a", 0, 0, 2)}
	for i := range ts[1:] {
		ts[1+i].Sample = -1
	}
	u := mustUpdate(t, ts, DefaultObjective())
	if g := u.Groups[0]; g.Rollouts[0].Sample != 0 || g.Rollouts[1].Sample != 2 || g.Rollouts[1].Reward != 0 {
		t.Errorf("found %+v", g)
	}
}

// TestTrap22MissingSampled: where some turns have no ls, those of their tokens are NaN and not a number to compute with.
func TestTrap22MissingSampled(t *testing.T) {
	ts := []Trajectory{rollout("a", 0, 1, 2), rollout("a", 1, 0, 2)}
	ts[0].Turns[0].LogProbs = nil
	u := mustUpdate(t, ts, DefaultObjective())
	if s := u.LS; !math.IsNaN(float64(s[0])) || !math.IsNaN(float64(s[1])) || s[2] != -0.125 {
		t.Errorf("ls = %v", s)
	}
	ts[1].Turns[0].LogProbs = nil
	if u := mustUpdate(t, ts, DefaultObjective()); u.LS != nil {
		t.Errorf("ls = %v, expected none", u.LS)
	}
}

func TestMixedPoliciesWarn(t *testing.T) {
	ts := []Trajectory{rollout("a", 0, 1, 2), rollout("a", 1, 0, 2)}
	ts[1].PolicyVersion = 3
	if u := mustUpdate(t, ts, DefaultObjective()); len(u.Warnings) != 1 || !strings.Contains(u.Warnings[0], "2 policies") {
		t.Errorf("warnings: %q", u.Warnings)
	}
	ts[0].PolicyVersion = 3
	ts = append(ts, failed("a", 2, "timeout")) // before its planner was asked: of no policy
	if u := mustUpdate(t, ts, DefaultObjective()); len(u.Warnings) != 0 {
		t.Errorf("a failed rollout of no policy: warnings %q", u.Warnings)
	}
}

// TestWarnsOfNoSignal: equal rewards are no policy gradient, unless the KL is taken off them.
func TestWarnsOfNoSignal(t *testing.T) {
	one := 1.0
	ts := []Trajectory{
		{Group: "a", Reward: &one, Turns: []Turn{{Prompt: []int32{1}, Action: []int32{2}}}},
		{Group: "a", Sample: 1, Reward: &one, Turns: []Turn{{Prompt: []int32{1}, Action: []int32{3}}}},
	}
	for _, c := range []struct {
		set  func(o *Objective)
		warn bool
	}{
		{func(o *Objective) {}, true},
		{func(o *Objective) { o.KLEstimator, o.KL = K1, 0.1 }, false},
		{func(o *Objective) { o.KLEstimator, o.KL = K1, 0 }, true},
		{func(o *Objective) { o.KLEstimator, o.KL, o.SkipZeroSignal = K1, 0.1, true }, true},
	} {
		o := DefaultObjective()
		c.set(&o)
		u := mustUpdate(t, ts, o)
		if warned := len(u.Warnings) == 1 && strings.Contains(u.Warnings[0], "no policy gradient"); warned != c.warn {
			t.Errorf("%+v: warnings %q", o, u.Warnings)
		}
	}
}
