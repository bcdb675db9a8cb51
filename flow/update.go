package flow

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// ErrNoRollouts says that an update has nothing to learn from: no trajectory came with a reward.
var ErrNoRollouts = errors.New("no rollout with a reward")

// Rollout is a solve that ended with a reward, as an update sees it.
type Rollout struct {
	Sample    int     // Trajectory.Sample
	Reward    float64 // the outcome reward, never shaped
	Advantage float64 // of every action token of every turn
	Turns     []Turn  // those of the trajectory, not copied
}

// Group holds the rollouts of one task that ended with a reward, by sample.
type Group struct {
	Name     string
	Rollouts []Rollout
	// ZeroSignal says that all outcome rewards are equal, a group of one included: every advantage is 0, but for what KL in the reward (k1)
	// makes of them.
	ZeroSignal bool
	// Incomplete says that the group has failed rollouts beside these.
	Incomplete bool
}

// Counts are the sizes of an update, groups that SkipZeroSignal leaves out included: they are the denominators of the
// aggregations.
type Counts struct {
	Groups       int // N: groups with at least one reward
	Rollouts     int // with a reward
	Turns        int // of those rollouts
	ActionTokens int // of those turns
	ZeroSignal   int // groups, of N
	Incomplete   int // groups, of N
	FailedGroups int // groups without any reward; not in N
	// Failed counts the rollouts without a reward by Trajectory.Failure, "unknown" where that is empty.
	Failed map[string]int
}

// Update is one set of rollouts made ready for training: what every action token weighs is fixed here, before any
// micro-batch is cut, so no cut can change the gradient. Groups are in order of their names, rollouts by sample,
// turns as they were taken; the order of the trajectories given to NewUpdate does not matter.
//
// With Objective.SkipZeroSignal, groups of equal rewards have no sequences and no entries in the arrays, and so carry
// no KL and no entropy either; Groups and Counts still hold them, and with them all denominators: N, G_eff, rollouts,
// turns and action tokens.
type Update struct {
	Objective Objective
	Groups    []Group
	// Sequences has one entry per trained turn: prompt and action, Start at the action, Index into the arrays below.
	Sequences []Sequence
	// Per action token, [action tokens of Sequences]:
	Weight    []float64 // of the aggregation
	Advantage []float64
	LS        []float32 // ls, NaN where the sampler reported none; nil where it reported none at all
	Rollout   []int32   // index of the token's rollout among all rollouts of Groups, in order
	Counts    Counts
	Warnings  []string // for the user, one line each
}

// TrajectoryError says what is wrong with one trajectory.
type TrajectoryError struct {
	Group  string
	Sample int    // -1 where the trajectory has no number
	Field  string // as a path of its JSON form: "turns[1].prompt[3]"
	Reason string // what was found, and what was expected
}

// Error names the group, the sample and the field.
func (e *TrajectoryError) Error() string {
	sample := ""
	if e.Sample >= 0 { // else the line names none
		sample = fmt.Sprintf(", sample %d", e.Sample)
	}
	return fmt.Sprintf("group %q%s: %s: %s", e.Group, sample, e.Field, e.Reason)
}

// NewUpdate forms groups, advantages and token weights from the trajectories of one update.
//
// Trajectories without a reward leave the statistics and all denominators, and are counted by cause. Those with one
// must have turns, prompts and actions that are not empty, ids that are not negative, log-probs (if any) one per
// action token and finite, a finite reward, and plain temperature sampling at the objective's temperature: with a
// filter such as top-k the ratio would be wrong. With tis_cap set, every turn needs log-probs. Samples of a group are
// distinct; -1 in all of a group means that they are numbered in order.
//
// Errors: those of Objective.Validate; *TrajectoryError; ErrNoRollouts.
func NewUpdate(ts []Trajectory, o Objective) (*Update, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	rows, err := canonical(ts)
	if err != nil {
		return nil, err
	}
	u := &Update{Objective: o, Counts: Counts{Failed: map[string]int{}}}
	for len(rows) > 0 {
		n := 1
		for n < len(rows) && rows[n].t.Group == rows[0].t.Group {
			n++
		}
		if err := u.addGroup(rows[:n]); err != nil {
			return nil, err
		}
		rows = rows[n:]
	}
	if len(u.Groups) == 0 {
		text := fmt.Sprintf("%d trajectories", len(ts))
		if failures := Failures(ts); failures != "" {
			text += ": " + failures
		}
		return nil, fmt.Errorf("%w among %s", ErrNoRollouts, text)
	}
	u.count()
	if u.Counts.ActionTokens > math.MaxInt32 {
		return nil, fmt.Errorf("found %d action tokens in one update, expected at most %d: use fewer groups",
			u.Counts.ActionTokens, math.MaxInt32)
	}
	u.layOut()
	u.warn(ts)
	return u, nil
}

// Failures counts the failed ones of trajectories by kind, each with its first reason, for a line of a terminal; "" where none failed.
func Failures(ts []Trajectory) string {
	counts, reasons := map[string]int{}, map[string]string{}
	for i := range ts {
		if !ts[i].Failed() {
			continue
		}
		kind := cmp.Or(ts[i].Failure, "unknown")
		counts[kind]++
		reasons[kind] = cmp.Or(reasons[kind], ts[i].Reason())
	}
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(counts)) {
		part := fmt.Sprintf("%s %d", kind, counts[kind])
		if reasons[kind] != "" {
			part += " (" + reasons[kind] + ")"
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ", ")
}

// addGroup checks the rows of one group and adds it, unless all of them failed.
func (u *Update) addGroup(rows []row) error {
	g := Group{Name: rows[0].t.Group}
	for _, r := range rows {
		if r.t.Failed() {
			g.Incomplete = true
			u.Counts.Failed[cmp.Or(r.t.Failure, "unknown")]++
			continue
		}
		if err := checkRollout(r, u.Objective); err != nil {
			return err
		}
		g.Rollouts = append(g.Rollouts, Rollout{Sample: r.sample, Reward: *r.t.Reward, Turns: r.t.Turns})
	}
	if len(g.Rollouts) == 0 {
		u.Counts.FailedGroups++
		return nil
	}
	rewards := g.rewards()
	g.ZeroSignal = allEqual(rewards)
	if err := g.setAdvantages(rewards, u.Objective); err != nil {
		return err
	}
	u.Groups = append(u.Groups, g)
	return nil
}

// rewards returns the outcome rewards of the group's rollouts, in order.
func (g *Group) rewards() []float64 {
	rs := make([]float64, len(g.Rollouts))
	for i := range g.Rollouts {
		rs[i] = g.Rollouts[i].Reward
	}
	return rs
}

// setAdvantages sets every rollout's advantage from the rewards given, which may be shaped.
func (g *Group) setAdvantages(rewards []float64, o Objective) error {
	rows := make([]int, len(g.Rollouts))
	for i := range rows {
		rows[i] = 1
		if o.AdvantageOver == AdvantageOverTurns {
			rows[i] = len(g.Rollouts[i].Turns)
		}
	}
	for i, a := range Advantages(rewards, rows, o.AdvantageStd, o.AdvantageEps) {
		if !finite(a) {
			return &TrajectoryError{Group: g.Name, Sample: g.Rollouts[i].Sample, Field: "reward", Reason: fmt.Sprintf(
				"found an advantage of %v from rewards between %v and %v, expected rewards whose sum is finite",
				a, slices.Min(rewards), slices.Max(rewards))}
		}
		g.Rollouts[i].Advantage = a
	}
	return nil
}

// count fills what Counts says about Groups.
func (u *Update) count() {
	c := &u.Counts
	c.Groups = len(u.Groups)
	for i := range u.Groups {
		g := &u.Groups[i]
		c.Rollouts += len(g.Rollouts)
		if g.ZeroSignal {
			c.ZeroSignal++
		}
		if g.Incomplete {
			c.Incomplete++
		}
		for _, r := range g.Rollouts {
			c.Turns += len(r.Turns)
			c.ActionTokens += r.actionTokens()
		}
	}
}

// actionTokens returns the number of action tokens of all turns.
func (r *Rollout) actionTokens() int {
	n := 0
	for _, t := range r.Turns {
		n += len(t.Action)
	}
	return n
}

// trained reports whether a group's turns become sequences.
func (u *Update) trained(g *Group) bool { return !g.ZeroSignal || !u.Objective.SkipZeroSignal }

// layOut fills Sequences and the arrays over action tokens.
func (u *Update) layOut() {
	var turns, tokens, actions int
	sampled := false
	for i := range u.Groups {
		if !u.trained(&u.Groups[i]) {
			continue
		}
		for _, r := range u.Groups[i].Rollouts {
			turns += len(r.Turns)
			for _, t := range r.Turns {
				tokens += len(t.Prompt) + len(t.Action)
				actions += len(t.Action)
				sampled = sampled || t.LogProbs != nil
			}
		}
	}
	u.Sequences = make([]Sequence, 0, turns)
	u.Weight = make([]float64, 0, actions)
	u.Advantage = make([]float64, 0, actions)
	u.Rollout = make([]int32, 0, actions)
	if sampled {
		u.LS = make([]float32, 0, actions)
	}
	store := make([]int32, 0, tokens) // all sequences' tokens, in one block
	rollout := int32(0)
	for i := range u.Groups {
		g := &u.Groups[i]
		if !u.trained(g) {
			rollout += int32(len(g.Rollouts))
			continue
		}
		for j := range g.Rollouts {
			r := &g.Rollouts[j]
			rolloutTokens := r.actionTokens()
			for _, t := range r.Turns {
				first := len(store)
				store = append(append(store, t.Prompt...), t.Action...)
				u.Sequences = append(u.Sequences, Sequence{
					Tokens: store[first:len(store):len(store)], Start: len(t.Prompt), Index: len(u.Weight),
				})
				w := u.tokenWeight(g, r, rolloutTokens, len(t.Action))
				for k := range t.Action {
					u.Weight = append(u.Weight, w)
					u.Advantage = append(u.Advantage, r.Advantage)
					u.Rollout = append(u.Rollout, rollout)
					if sampled {
						u.LS = append(u.LS, logProb(t, k))
					}
				}
			}
			rollout++
		}
	}
}

// logProb returns ls of action token k, NaN where the sampler reported none.
func logProb(t Turn, k int) float32 {
	if t.LogProbs == nil || !reported(t.LogProbs[k]) {
		return float32(math.NaN())
	}
	return t.LogProbs[k]
}

// warn fills Warnings with what is allowed but probably not meant.
func (u *Update) warn(ts []Trajectory) {
	var alone []string
	for _, g := range u.Groups {
		if len(g.Rollouts) == 1 {
			alone = append(alone, g.Name)
		}
	}
	if n := len(alone); n > 0 {
		u.Warnings = append(u.Warnings, fmt.Sprintf(
			"%d of %d groups have one rollout with a reward, so nothing to compare it with: their advantage is 0 (%s)",
			n, len(u.Groups), some(alone)))
	}
	rewarded := map[string]bool{}
	for i := range ts {
		rewarded[ts[i].Group] = rewarded[ts[i].Group] || !ts[i].Failed()
	}
	var failed []string
	for _, name := range slices.Sorted(maps.Keys(rewarded)) {
		if !rewarded[name] {
			failed = append(failed, name)
		}
	}
	if n := len(failed); n > 0 {
		u.Warnings = append(u.Warnings, fmt.Sprintf("%d of %d groups have no rollout with a reward and are left out (%s)", n, len(rewarded), some(failed)))
	}
	if o := &u.Objective; u.Counts.ZeroSignal == u.Counts.Groups && (o.KLEstimator != K1 || o.KL == 0 || o.SkipZeroSignal) { // else the KL makes rewards differ
		u.Warnings = append(u.Warnings, "in every group all rewards are equal: this update has no policy gradient")
	}
	type policy struct {
		version int
		adapter string
	}
	policies := map[policy]bool{}
	for i := range ts {
		if !ts[i].Failed() {
			policies[policy{ts[i].PolicyVersion, ts[i].AdapterHash}] = true
		}
	}
	if len(policies) > 1 {
		u.Warnings = append(u.Warnings, fmt.Sprintf(
			"rollouts come from %d policies (policy_version, adapter_hash); an update is meant for those of one", len(policies)))
	}
}

// some lists the first few names.
func some(names []string) string {
	const few = 3
	if len(names) <= few {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:few], ", ") + ", ..."
}
