package flow

import (
	"errors"
	"math"
	"strings"
	"testing"
)

// TestNewUpdateRefuses: what cannot be trained on is refused with group, sample and field.
func TestNewUpdateRefuses(t *testing.T) {
	for want, spoil := range map[string]func(ts []Trajectory, o *Objective) []Trajectory{
		`group "a", sample 1: turns: found none`: func(ts []Trajectory, _ *Objective) []Trajectory { ts[1].Turns = nil; return ts },
		`group "a", sample 1: turns[1].prompt: found no token`: func(ts []Trajectory, _ *Objective) []Trajectory {
			ts[1].Turns[1].Prompt = nil
			return ts
		},
		`group "a", sample 1: turns[1].action: found no token`: func(ts []Trajectory, _ *Objective) []Trajectory {
			ts[1].Turns[1].Action = []int32{}
			return ts
		},
		`group "a", sample 1: turns[1].prompt[1]: found -7`: func(ts []Trajectory, _ *Objective) []Trajectory {
			ts[1].Turns[1].Prompt[1] = -7
			return ts
		},
		`group "a", sample 1: turns[1].action[0]: found -1`: func(ts []Trajectory, _ *Objective) []Trajectory {
			ts[1].Turns[1].Action[0] = -1
			return ts
		},
		`group "a", sample 1: turns[0].logprobs: found 1, expected 2`: func(ts []Trajectory, _ *Objective) []Trajectory {
			ts[1].Turns[0].LogProbs = ts[1].Turns[0].LogProbs[:1]
			return ts
		},
		`group "a", sample 1: turns[1].logprobs[0]: found NaN`: func(ts []Trajectory, _ *Objective) []Trajectory {
			ts[1].Turns[1].LogProbs[0] = float32(math.NaN())
			return ts
		},
		`group "a", sample 1: turns[1].logprobs: found none, expected one per action token, since flow.tis_cap is set`: func(ts []Trajectory, o *Objective) []Trajectory {
			o.TISCap, ts[1].Turns[1].LogProbs = 2, nil
			return ts
		},
		`group "a", sample 1: turns[1].logprobs[0]: found -3.4028235e+38, which stands for none, expected one per action token, since flow.tis_cap is set`: func(ts []Trajectory, o *Objective) []Trajectory {
			o.TISCap, ts[1].Turns[1].LogProbs[0] = 2, -math.MaxFloat32
			return ts
		},
		`group "a", sample 0: sample: found twice`: func(ts []Trajectory, _ *Objective) []Trajectory { ts[1].Sample = 0; return ts },
		`group "a", sample 2: sample: found twice`: func(ts []Trajectory, _ *Objective) []Trajectory {
			return append(ts, failed("a", 2, ""), failed("a", 2, ""))
		},
		`group "a": sample: found -2, expected a number from 0`: func(ts []Trajectory, _ *Objective) []Trajectory {
			ts[1].Sample = -2
			return ts
		},
		`group "a": sample: missing in 1 of the group's 2 rollouts`: func(ts []Trajectory, _ *Objective) []Trajectory {
			ts[1].Sample = -1
			return ts
		},
		`trajectory 2 of 2: group: found none`: func(ts []Trajectory, _ *Objective) []Trajectory { ts[1].Group = ""; return ts },
		`group "a", sample 1: reward: found -1e+308, expected at most 1e+30`: func(ts []Trajectory, _ *Objective) []Trajectory {
			ts[0].Reward, ts[1].Reward = ptr(1e30), ptr(-1e308)
			return ts
		},
		`group "a", sample 1: turns[0].logprobs[0]: found 0.5, expected the log of a probability`: func(ts []Trajectory, _ *Objective) []Trajectory {
			ts[1].Turns[0].LogProbs[0] = 0.5
			return ts
		},
		`flow.kl: found -1`: func(ts []Trajectory, o *Objective) []Trajectory { o.KL = -1; return ts },
	} {
		o := DefaultObjective()
		ts := spoil([]Trajectory{rollout("a", 0, 1, 2), rollout("a", 1, 0, 2, 3)}, &o)
		if _, err := NewUpdate(ts, o); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("found error %v\nexpected       %s", err, want)
		}
	}
}

// TestTrap02SamplerFilters: whatever bends the distribution that tokens were drawn from is refused; its neutral
// values, and another temperature in a failed rollout, are not.
func TestTrap02SamplerFilters(t *testing.T) {
	for field, settings := range map[string][]Sampling{
		"temperature": {{Temperature: 1}}, "top_k": {{TopK: 1}, {TopK: 40}}, "top_p": {{TopP: 0.99}}, "min_p": {{MinP: 0.05}},
		"frequency_penalty": {{FrequencyPenalty: 1.2}, {FrequencyPenalty: -1}}, "presence_penalty": {{PresencePenalty: 1}, {PresencePenalty: -1}},
		"repeat_penalty": {{RepeatPenalty: 1.1}, {RepeatPenalty: 0.9}},
	} {
		for _, s := range settings {
			ts := []Trajectory{rollout("a", 0, 1, 2), rollout("a", 1, 0, 2), failed("a", 2, "timeout")}
			ts[2].Sampling = s
			mustUpdate(t, ts, DefaultObjective())
			ts[1].Sampling = s
			var at *TrajectoryError
			if _, err := NewUpdate(ts, DefaultObjective()); !errors.As(err, &at) || at.Field != "sampling."+field {
				t.Errorf("%+v: error %v", s, err)
			}
		}
	}
	ts := []Trajectory{rollout("a", 0, 1, 2)}
	ts[0].Sampling = Sampling{Temperature: 0.7, TopK: -1, TopP: 1, RepeatPenalty: 1, MaxTokens: 5, Seed: 9}
	mustUpdate(t, ts, DefaultObjective())
}

// One group without a reward is worth a warning.
func TestWarnsOfAFailedGroup(t *testing.T) {
	u := mustUpdate(t, []Trajectory{rollout("a", 0, 1, 2), rollout("a", 1, 0, 2), failed("b", 0, "timeout")}, DefaultObjective())
	if len(u.Warnings) != 1 || !strings.HasPrefix(u.Warnings[0], "1 of 2 groups have no rollout with a reward") {
		t.Errorf("warnings %q", u.Warnings)
	}
}

func TestCheckVocab(t *testing.T) {
	ts := []Trajectory{rollout("a", 0, 1, 2), rollout("a", 1, 1, 2, 3)}
	o := DefaultObjective()
	o.SkipZeroSignal = true // ids are checked in groups that are left out, too
	u := mustUpdate(t, ts, o)
	if err := u.CheckVocab(4); err != nil {
		t.Error(err)
	}
	const want = `group "a", sample 1: turns[1].action[2]: found 3, expected 0 <= id < 3, the size of the model's vocabulary`
	if err := u.CheckVocab(3); err == nil || err.Error() != want {
		t.Errorf("found %v, expected %s", err, want)
	}
}

// A log-prob that a sampler marks as missing is missing in the update; one that is only low is not.
func TestMarkOfNoLogProb(t *testing.T) {
	ts := []Trajectory{rollout("a", 0, 1, 3), rollout("a", 1, 0, 2)}
	copy(ts[0].Turns[0].LogProbs, []float32{-math.MaxFloat32, -1e29, -2e30})
	u := mustUpdate(t, ts, DefaultObjective())
	for k, want := range []bool{false, true, false} {
		if got := u.LS[k] == u.LS[k]; got != want {
			t.Errorf("log-prob %v: found %v in the update", ts[0].Turns[0].LogProbs[k], u.LS[k])
		}
	}
}
