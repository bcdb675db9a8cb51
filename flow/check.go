package flow

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// row is a trajectory with the number it goes by in its group.
type row struct {
	t      *Trajectory
	sample int
}

// canonical returns the trajectories by group name and sample. In a group where all samples are -1 they are numbered
// in the order given.
func canonical(ts []Trajectory) ([]row, error) {
	rows := make([]row, len(ts))
	unnumbered, size := map[string]int{}, map[string]int{}
	for i := range ts {
		t := &ts[i]
		rows[i] = row{t, t.Sample}
		if t.Group == "" {
			return nil, fmt.Errorf("trajectory %d of %d: group: found none, expected the name of its group", i+1, len(ts))
		}
		switch {
		case t.Sample < -1:
			return nil, &TrajectoryError{t.Group, t.Sample, "sample", fmt.Sprintf("found %d, expected a number from 0", t.Sample)}
		case t.Sample == -1:
			rows[i].sample = unnumbered[t.Group]
			unnumbered[t.Group]++
		}
		size[t.Group]++
	}
	for _, r := range rows {
		if n := unnumbered[r.t.Group]; n > 0 && n < size[r.t.Group] {
			return nil, &TrajectoryError{r.t.Group, -1, "sample", fmt.Sprintf(
				"missing in %d of the group's %d rollouts, expected in all of them or in none", n, size[r.t.Group])}
		}
	}
	slices.SortStableFunc(rows, func(a, b row) int {
		return cmp.Or(cmp.Compare(a.t.Group, b.t.Group), cmp.Compare(a.sample, b.sample))
	})
	for i := 1; i < len(rows); i++ {
		if a, b := rows[i-1], rows[i]; a.t.Group == b.t.Group && a.sample == b.sample {
			return nil, &TrajectoryError{a.t.Group, a.sample, "sample", "found twice, expected once in a group"}
		}
	}
	return rows, nil
}

const (
	mostReward   = 1e30 // its square, summed over any group, is finite, and so are float32 gradients of it
	logProbSlack = 1e-2 // what a sampler of low precision may be above 0 by rounding

	// leastLogProb is below every log-prob of a token that can be drawn. Samplers write the least float32 where they have none, as llama-server does.
	leastLogProb = -1e30
)

// reported says whether a log-prob is one, and no mark of one that is missing.
func reported(l float32) bool { return l >= leastLogProb }

// checkRollout returns a *TrajectoryError if a trajectory with a reward cannot be trained on.
func checkRollout(r row, o Objective) error {
	bad := func(field, format string, args ...any) error {
		return &TrajectoryError{r.t.Group, r.sample, field, fmt.Sprintf(format, args...)}
	}
	if !finite(*r.t.Reward) {
		return bad("reward", "found %v, expected a finite number, or null for a rollout that failed", *r.t.Reward)
	}
	if math.Abs(*r.t.Reward) > mostReward {
		return bad("reward", "found %v, expected at most %g in size: the deviation of the group's rewards would overflow", *r.t.Reward, mostReward)
	}
	if field, reason := samplingProblem(r.t.Sampling, o.Temperature); field != "" {
		return bad("sampling."+field, "%s", reason)
	}
	if len(r.t.Turns) == 0 {
		return bad("turns", "found none, expected at least one in a rollout with a reward")
	}
	for i, turn := range r.t.Turns {
		at := fmt.Sprintf("turns[%d].", i)
		for _, part := range idsOf(turn) {
			if len(part.ids) == 0 {
				return bad(at+part.name, "found no token, expected at least one")
			}
			if k := slices.IndexFunc(part.ids, func(id int32) bool { return id < 0 }); k >= 0 {
				return bad(fmt.Sprintf("%s%s[%d]", at, part.name, k), "found %d, expected a token id >= 0", part.ids[k])
			}
		}
		if turn.LogProbs == nil {
			if o.TISCap > 0 {
				return bad(at+"logprobs", "found none, expected one per action token, since flow.tis_cap is set (0 is off)")
			}
			continue
		}
		if len(turn.LogProbs) != len(turn.Action) {
			return bad(at+"logprobs", "found %d, expected %d: one per action token", len(turn.LogProbs), len(turn.Action))
		}
		if k := slices.IndexFunc(turn.LogProbs, func(l float32) bool { return !finite(float64(l)) }); k >= 0 {
			return bad(fmt.Sprintf("%slogprobs[%d]", at, k), "found %v, expected a finite number", turn.LogProbs[k])
		}
		if k := slices.IndexFunc(turn.LogProbs, func(l float32) bool { return l > logProbSlack }); k >= 0 {
			return bad(fmt.Sprintf("%slogprobs[%d]", at, k), "found %v, expected the log of a probability, at most 0", turn.LogProbs[k])
		}
		if k := slices.IndexFunc(turn.LogProbs, func(l float32) bool { return !reported(l) }); k >= 0 && o.TISCap > 0 {
			return bad(fmt.Sprintf("%slogprobs[%d]", at, k), "found %v, which stands for none, expected one per action token, since flow.tis_cap is set (0 is off)", turn.LogProbs[k])
		}
	}
	return nil
}

// named is a list of token ids of a turn with its field name.
type named struct {
	name string
	ids  []int32
}

func idsOf(t Turn) [2]named { return [2]named{{"prompt", t.Prompt}, {"action", t.Action}} }

// samplingProblem returns the first setting under which log-probs at temperature t are not those that were sampled
// from, and why; "" where there is none. 0 means that a setting was not recorded.
func samplingProblem(s Sampling, t float64) (field, reason string) {
	const plain = "plain temperature sampling (the ratio would be wrong)"
	neutral := func(ok bool, name string, found any) {
		if field == "" && !ok {
			field, reason = name, fmt.Sprintf("found %v, expected %s", found, plain)
		}
	}
	neutral(s.TopK <= 0, "top_k", s.TopK)
	neutral(s.TopP == 0 || s.TopP >= 1, "top_p", s.TopP)
	neutral(s.MinP == 0, "min_p", s.MinP)
	neutral(s.FrequencyPenalty == 0, "frequency_penalty", s.FrequencyPenalty)
	neutral(s.PresencePenalty == 0, "presence_penalty", s.PresencePenalty)
	neutral(s.RepeatPenalty == 0 || s.RepeatPenalty == 1, "repeat_penalty", s.RepeatPenalty)
	if field == "" && s.Temperature != 0 && s.Temperature != t {
		return "temperature", fmt.Sprintf("found %v, expected flow.temperature, which is %v", s.Temperature, t)
	}
	return field, reason
}

// CheckVocab returns a *TrajectoryError for the first token id that a vocabulary of that size does not have.
func (u *Update) CheckVocab(size int) error {
	for _, g := range u.Groups {
		for _, r := range g.Rollouts {
			for i, t := range r.Turns {
				for _, part := range idsOf(t) {
					k := slices.IndexFunc(part.ids, func(id int32) bool { return int(id) >= size })
					if k >= 0 {
						return &TrajectoryError{g.Name, r.Sample, fmt.Sprintf("turns[%d].%s[%d]", i, part.name, k),
							fmt.Sprintf("found %d, expected 0 <= id < %d, the size of the model's vocabulary", part.ids[k], size)}
					}
				}
			}
		}
	}
	return nil
}
