package main

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"

	"afctl/bench/eval"
	"afctl/flow"
)

// Names of the phases with solves.
const (
	phaseSolve    = "solve"
	phaseEvaluate = "evaluate"
)

// phase is a set of solves under way, with what is known of them so far.
type phase struct {
	name        string
	total       int
	begin, last time.Time // last is when the newest solve ended

	solves map[rolloutKey]solveSeen // all that were told of
	have   int                      // solves from before the phase
	tokens int                      // action tokens sampled in it

	rewards       float64 // sum over solves that have one
	turns         int     // of all solves
	failures      int
	tools         map[string]int // steps by tool
	steps, errors int
}

// solveSeen is what a phase remembers of a solve, which may be made again.
type solveSeen struct {
	failed bool
	turns  int
}

func newPhase(name string, total int, have []flow.Trajectory) *phase {
	p := &phase{name: name, total: total, solves: make(map[rolloutKey]solveSeen, total), tools: map[string]int{}}
	for i := range have {
		p.add(&have[i])
	}
	p.have, p.tokens = p.done(), 0
	p.begin = time.Now()
	p.last = p.begin
	return p
}

// add counts a solve. The rewardless one that it replaces, if it does, is no longer counted, nor are its turns; its steps are, having been taken.
func (p *phase) add(t *flow.Trajectory) {
	key, turns := keyOf(t), eval.Turns(t)
	if before, again := p.solves[key]; again && !before.failed {
		return
	} else if again {
		p.failures--
		p.turns -= before.turns
	}
	p.solves[key] = solveSeen{t.Failed(), turns}
	p.last = time.Now()
	if t.Failed() {
		p.failures++
	} else {
		p.rewards += *t.Reward
	}
	p.turns += turns
	for i := range t.Turns {
		p.tokens += len(t.Turns[i].Action)
	}
	for i := range t.Steps {
		s := &t.Steps[i]
		p.steps++
		p.tools[eval.ToolLabel(s)]++
		if s.ErrorKind != "" {
			p.errors++
		}
	}
}

func (p *phase) done() int { return len(p.solves) }

// reward is the mean over solves that have one.
func (p *phase) reward() float64 { return p.rewards / float64(p.done()-p.failures) }

func (p *phase) meanTurns() float64 { return float64(p.turns) / float64(p.done()) }

func (p *phase) errorRate() float64 { return float64(p.errors) / float64(p.steps) }

// tokensPerSecond is the rate of sampling in this phase.
func (p *phase) tokensPerSecond() float64 { return float64(p.tokens) / p.last.Sub(p.begin).Seconds() }

// left is the time that the rest will take, if it goes on as it went; false where that is not known.
func (p *phase) left(now time.Time) (time.Duration, bool) {
	n := p.done() - p.have
	if n <= 0 || p.done() >= p.total {
		return 0, false
	}
	each := p.last.Sub(p.begin) / time.Duration(n)
	return max(0, each*time.Duration(p.total-p.done())-now.Sub(p.last)), true
}

// shares are the tools by how often they were chosen, the most frequent first.
func (p *phase) shares() []eval.ToolStats {
	var out []eval.ToolStats
	for _, name := range slices.Sorted(maps.Keys(p.tools)) {
		out = append(out, eval.ToolStats{Name: name, Share: float64(p.tools[name]) / float64(p.steps)})
	}
	slices.SortStableFunc(out, func(a, b eval.ToolStats) int { return cmp.Compare(b.Share, a.Share) })
	return out
}

// heldOut is what an evaluation found.
type heldOut struct {
	step     int
	accuracy eval.Interval
}

// runState is what a view knows of a run.
type runState struct {
	steps   int           // of the whole run; 0 for a command that takes none
	done    int           // steps
	phase   *phase        // the present one, or nil
	earlier *phase        // whose figures are shown while the present one has none
	last    *flow.Metrics // of the newest step
	reward  []float64     // by step

	before, now *heldOut // the first evaluation and the newest

	begin    time.Time // of the first phase
	training time.Time // when the first rollouts began
	resumed  int       // steps done then
	stepped  time.Time // when the newest step was done
}

// beginPhase makes a phase the present one.
func (s *runState) beginPhase(p *phase) {
	if s.phase != nil && s.phase.done() > 0 {
		s.earlier = s.phase
	}
	s.phase = p
	if s.begin.IsZero() {
		s.begin = p.begin
	}
	if s.training.IsZero() && p.name == phaseSolve {
		s.training, s.resumed = p.begin, s.done
	}
}

func (s *runState) metrics(m flow.Metrics) {
	s.done, s.last = m.Step, &m
	s.reward = append(s.reward, float64(m.RewardMean))
	s.stepped = time.Now()
}

func (s *runState) evaluated(step int, e *eval.Summary) {
	found := &heldOut{step, e.All.Accuracy}
	if s.before == nil {
		s.before = found
	}
	s.now = found
}

// workBegan is when the work of the step under way began: at its rollouts, or at the step before where both train on the same ones.
func (s *runState) workBegan() time.Time {
	if s.phase == nil || s.stepped.After(s.phase.begin) {
		return s.stepped
	}
	return s.phase.begin
}

// updating says whether the rollouts of a step are all there, so that it is computed, and since when.
func (s *runState) updating() (since time.Time, ok bool) {
	p := s.phase
	if s.steps == 0 || p == nil || p.name != phaseSolve || p.done() < p.total {
		return time.Time{}, false
	}
	if s.stepped.After(p.last) {
		return s.stepped, true
	}
	return p.last, true
}

// figures is the phase whose figures are shown.
func (s *runState) figures() *phase {
	if s.phase == nil || s.phase.done() > 0 || s.earlier == nil {
		return s.phase
	}
	return s.earlier
}

// left is the time that the rest of the run will take, if steps and evaluations go on as they went.
func (s *runState) left(now time.Time) (time.Duration, bool) {
	n := s.done - s.resumed
	if n <= 0 || s.done >= s.steps || s.training.IsZero() {
		return 0, false
	}
	each := s.stepped.Sub(s.training) / time.Duration(n)
	rest := time.Duration(s.steps - s.done)
	if each > math.MaxInt64/rest { // centuries
		return 0, false
	}
	return each*rest - min(each, now.Sub(s.stepped)), true
}
