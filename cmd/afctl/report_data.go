package main

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"
	"time"

	"afctl/bench/eval"
	"afctl/ckpt"
	"afctl/flow"
)

// reportFormat is the version of report.json, raised when a key changes its meaning or goes.
const reportFormat = 1

// reportInput is what a report is made of.
type reportInput struct {
	config   *Config // nil: not known
	heldOut  int     // tasks of an evaluation; 0: not known
	of       reportOf
	tasks    []flow.Task
	metrics  []flow.Metrics
	batches  iter.Seq2[reportBatch, error] // in the order of phase and step; read once
	policies []ckpt.Policy
	written  time.Time // of the last metrics; zero: none
	first    int       // steps to report on, both ends included
	last     int
	chosen   []string             // tasks to show step by step; none: examples are chosen
	decode   func([]int32) string // text of token ids; nil: unknown
	notes    []string             // what could not be read
}

// reportOf is whose folder a report is of.
type reportOf int

const (
	ofTraining   reportOf = iota
	ofEvaluation          // one that was done, whatever was begun after
	ofUnfinished          // one that never was
)

// reportBatch are the solves of one phase and step.
type reportBatch struct {
	phase  string // phaseEval or phaseTrain
	step   int
	solves []flow.Trajectory
}

// reportData are the figures of a run: report.json, and all that report.html shows. Numbers that are not known are null. Texts from
// tasks, models and tools are shortened, and made valid.
type reportData struct {
	Format int       `json:"format"`
	Run    reportRun `json:"run"`
	// Evaluations on held-out tasks in the order of steps. Before and After are the steps of the two that are compared, the first
	// and the last one that are complete; After is null where there is only one, both are where there is none.
	Evaluations []reportEval     `json:"evaluations"`
	Before      *int             `json:"before"`
	After       *int             `json:"after"`
	Comparison  *eval.Comparison `json:"comparison"` // paired, on the tasks of both
	Steps       []reportStep     `json:"steps"`      // optimizer steps
	// TrainFailures counts rollouts without a reward by kind, TrainErrors steps of the agentic loop, over all of Steps and the step in flight: of
	// a run that ended because all its rollouts failed, they say why.
	TrainFailures map[string]int  `json:"train_failures"`
	TrainErrors   map[string]int  `json:"train_errors"`
	Tools         []string        `json:"tools"` // the most used first
	Families      []string        `json:"families"`
	Examples      []reportExample `json:"examples"`
	Notes         []string        `json:"notes"` // what a reader should know about gaps
}

// reportRun says what was run.
type reportRun struct {
	Model        string           `json:"model"`
	Adapter      string           `json:"adapter"`
	Trainable    string           `json:"trainable"`
	Train        string           `json:"train"` // tasks
	Eval         string           `json:"eval"`  // held-out tasks
	ConfigHash   string           `json:"config_hash"`
	Config       string           `json:"config"` // YAML
	Seed         uint64           `json:"seed"`
	StepsDone    int              `json:"steps_done"`    // of the range that is reported on
	StepsPlanned int              `json:"steps_planned"` // 0: not known
	SkippedSteps int              `json:"skipped_steps"`
	InFlight     *reportBatchSize `json:"in_flight"` // rollouts of the step that is not done
	Rollouts     int              `json:"rollouts"`  // that were trained on, or failed
	Failed       int              `json:"failed"`
	Policy       int              `json:"policy_version"`
	AdapterHash  string           `json:"adapter_hash"`
	Written      *time.Time       `json:"written"` // when the last step was
	Seconds      []reportSeconds  `json:"seconds"` // wall time by phase of a step, in sum

	of reportOf
}

// reportBatchSize is how far a step or an evaluation is.
type reportBatchSize struct {
	Step     int `json:"step"`
	Rollouts int `json:"rollouts"`
}

// reportSeconds is the wall time of one phase.
type reportSeconds struct {
	Phase   string      `json:"phase"`
	Seconds flow.Number `json:"seconds"`
}

// reportEval is one evaluation. Incomplete is one that is under way: its figures are of the solves so far.
type reportEval struct {
	Step       int          `json:"step"` // optimizer steps done
	Incomplete bool         `json:"incomplete,omitzero"`
	Summary    eval.Summary `json:"summary"`

	means map[string]float64 // by task
}

// reportStep is one optimizer step, with the rollouts that were made for it; those of an update stand at its first step.
type reportStep struct {
	Step     int             `json:"step"`
	Metrics  *flow.Metrics   `json:"metrics"`
	Rollouts *reportRollouts `json:"rollouts"`
}

// reportRollouts are the figures of a step's rollouts.
type reportRollouts struct {
	Rollouts int `json:"rollouts"`
	Failed   int `json:"failed"`
	// Reward is the mean reward, a failed rollout counting 0, with a 95 % interval that takes the rollouts of a task for a cluster.
	Reward       eval.Interval      `json:"reward"`
	ErrorRate    float64            `json:"error_rate"`
	StuckRate    float64            `json:"stuck_rate"`
	Turns        float64            `json:"turns"`
	Tools        map[string]float64 `json:"tools"` // share of the steps of the agentic loop
	FamilyTurns  map[string]float64 `json:"family_turns"`
	FamilyReward map[string]float64 `json:"family_reward"`
}

// secondsOf lists the phases of a step in their order, with where the metrics have them.
var secondsOf = []struct {
	phase string
	of    func(*flow.Metrics) flow.Number
}{
	{"rollouts", func(m *flow.Metrics) flow.Number { return m.SecondsRollout }},
	{"reference", func(m *flow.Metrics) flow.Number { return m.SecondsReference }},
	{"update", func(m *flow.Metrics) flow.Number { return m.SecondsUpdate }},
	{"publish", func(m *flow.Metrics) flow.Number { return m.SecondsPublish }},
	{"checkpoint", func(m *flow.Metrics) flow.Number { return m.SecondsCheckpoint }},
}

// reportBuilder collects while the solves pass by, of which it keeps those that examples are chosen from.
type reportBuilder struct {
	in      reportInput
	d       *reportData
	tasks   map[string]flow.Task
	steps   map[int]*reportStep
	calls   map[string]int // by tool
	first   reportBatch    // evaluation
	latest  reportBatch    // evaluation
	trained reportBatch
	chosen  map[string][]reportSolve
}

// buildReport computes a report. Errors are those of in.batches.
func buildReport(in reportInput) (*reportData, error) {
	b := reportBuilder{in: in, tasks: map[string]flow.Task{}, steps: map[int]*reportStep{}, calls: map[string]int{}, chosen: map[string][]reportSolve{}}
	b.d = &reportData{Format: reportFormat, Evaluations: []reportEval{}, TrainFailures: map[string]int{}, TrainErrors: map[string]int{}}
	for _, t := range in.tasks {
		b.tasks[t.ID] = t
	}
	for i := range in.metrics {
		if m := &in.metrics[i]; m.Step >= in.first && m.Step <= in.last {
			b.step(m.Step).Metrics = m
		}
	}
	for batch, err := range in.batches {
		if err != nil {
			return nil, err
		}
		if len(batch.solves) == 0 {
			continue
		}
		if batch.phase == phaseTrain {
			b.addTraining(batch)
		} else {
			b.addEvaluation(batch)
		}
		b.keepChosen(batch)
	}
	b.finish()
	return b.d, nil
}

func (b *reportBuilder) step(n int) *reportStep {
	if b.steps[n] == nil {
		b.steps[n] = &reportStep{Step: n}
	}
	return b.steps[n]
}

// summarize computes the figures of a batch, whose repeats are the solves of one key, such as a task.
func (b *reportBuilder) summarize(batch reportBatch, key func(t *flow.Trajectory) string) eval.Summary {
	solves := slices.Clone(batch.solves)
	var tasks []flow.Task
	seen := map[string]bool{}
	for i := range solves {
		t := b.tasks[solves[i].Task]
		t.ID = key(&solves[i])
		solves[i].Task = t.ID
		if !seen[t.ID] {
			seen[t.ID] = true
			tasks = append(tasks, t)
		}
	}
	s := eval.Summarize(tasks, solves)
	for _, t := range s.All.Tools {
		b.calls[t.Name] += t.Calls
	}
	return s
}

func (b *reportBuilder) addTraining(batch reportBatch) {
	s := b.summarize(batch, func(t *flow.Trajectory) string { return t.Group }) // an update may have a task twice, in two groups
	all := &s.All
	r := &reportRollouts{
		Rollouts: len(batch.solves), Failed: all.Failed, Reward: all.Accuracy, ErrorRate: all.ErrorRate, StuckRate: all.StuckRate, Turns: all.Turns,
		Tools: map[string]float64{}, FamilyTurns: map[string]float64{}, FamilyReward: map[string]float64{},
	}
	for _, t := range all.Tools {
		r.Tools[t.Name] = t.Share
	}
	for _, f := range s.Families {
		r.FamilyTurns[f.Name], r.FamilyReward[f.Name] = f.Stats.Turns, f.Stats.Accuracy.Mean
	}
	addCounts(b.d.TrainFailures, all.Failures)
	addCounts(b.d.TrainErrors, all.Errors)
	b.step(batch.step).Rollouts = r
	b.trained = batch
}

func addCounts(to, from map[string]int) {
	for k, n := range from {
		to[k] += n
	}
}

func (b *reportBuilder) addEvaluation(batch reportBatch) {
	e := reportEval{Step: batch.step, Summary: b.summarize(batch, func(t *flow.Trajectory) string { return t.Task }), means: map[string]float64{}}
	for i := range batch.solves {
		t := &batch.solves[i]
		e.means[t.Task] += 0
		if !t.Failed() {
			e.means[t.Task] += *t.Reward / float64(e.Summary.All.Repeats)
		}
	}
	b.d.Evaluations = append(b.d.Evaluations, e)
	if len(b.d.Evaluations) == 1 {
		b.first = batch
	}
	b.latest = batch
}

func (b *reportBuilder) finish() {
	d := b.d
	for _, n := range slices.Sorted(maps.Keys(b.steps)) {
		d.Steps = append(d.Steps, *b.steps[n])
	}
	lastDone, lastTrained := 0, 0
	for i := range d.Steps {
		if s := &d.Steps[i]; s.Metrics != nil {
			lastDone = s.Step
		} else {
			lastTrained = s.Step
		}
	}
	if lastTrained > lastDone { // rollouts without a step yet: their figures are of a part
		r := d.Steps[len(d.Steps)-1].Rollouts
		d.Run.InFlight = &reportBatchSize{Step: lastTrained, Rollouts: r.Rollouts}
		d.Steps = d.Steps[:len(d.Steps)-1]
	}
	b.fillRun(lastDone)
	b.compare(max(lastDone, lastTrained))
	d.Tools = slices.SortedFunc(maps.Keys(b.calls), func(x, y string) int { return cmp.Or(b.calls[y]-b.calls[x], cmp.Compare(x, y)) })
	families := map[string]bool{}
	for i := range d.Evaluations {
		for _, f := range d.Evaluations[i].Summary.Families {
			families[f.Name] = true
		}
	}
	for i := range d.Steps {
		if r := d.Steps[i].Rollouts; r != nil {
			for f := range r.FamilyTurns {
				families[f] = true
			}
		}
	}
	d.Families = slices.Sorted(maps.Keys(families))
	d.Examples = b.examples()
	if len(d.Steps) == 0 && len(d.Evaluations) == 0 {
		d.Notes = append(d.Notes, "The run has no steps and no evaluations yet.")
	}
	d.Notes = append(d.Notes, b.in.notes...)
}

func (b *reportBuilder) fillRun(lastDone int) {
	r := &b.d.Run
	if c := b.in.config; c != nil {
		r.Model, r.Adapter, r.Trainable, r.Seed = c.Model, c.Adapter, string(c.Trainable), c.Run.Seed
		r.Train, r.Eval, r.StepsPlanned = c.Tasks.Train, c.Tasks.Eval, c.Run.Steps*c.Flow.Epochs
		what := c.withoutPaths()
		r.Config, r.ConfigHash = string(marshalConfig(c, false)), configHash(&what)
	} else if b.in.of == ofTraining {
		b.d.Notes = append(b.d.Notes, "The folder has no config.yaml that can be read: what was run is not known.")
	}
	r.of = b.in.of
	if !b.in.written.IsZero() {
		r.Written = &b.in.written
	}
	sums := make([]float64, len(secondsOf))
	for i := range b.d.Steps {
		s := &b.d.Steps[i]
		if s.Rollouts != nil {
			r.Rollouts += s.Rollouts.Rollouts
			r.Failed += s.Rollouts.Failed
		}
		if s.Metrics == nil {
			continue
		}
		r.StepsDone++
		r.SkippedSteps = s.Metrics.SkippedSteps
		for k, of := range secondsOf {
			if x := float64(of.of(s.Metrics)); !math.IsNaN(x) {
				sums[k] += x
			}
		}
	}
	for k, of := range secondsOf {
		r.Seconds = append(r.Seconds, reportSeconds{of.phase, flow.Number(sums[k])})
	}
	for _, p := range b.in.policies {
		if p.Step <= lastDone {
			r.Policy, r.AdapterHash = p.Version, p.AdapterHash
		}
	}
}

// compare marks the last evaluation where it is under way, and compares the first complete one with the last. trained is the last step that
// rollouts were made for: an evaluation before it was done then.
func (b *reportBuilder) compare(trained int) {
	d := b.d
	if n := len(d.Evaluations); n > 0 {
		last := &d.Evaluations[n-1]
		expected := b.in.heldOut // by the config that the run went on with: a resumed one may hold out fewer tasks, or more
		if expected == 0 && n > 1 {
			expected = d.Evaluations[n-2].Summary.All.Tasks
		}
		all := &last.Summary.All
		last.Incomplete = b.in.of == ofUnfinished || last.Step >= trained && all.Tasks < expected
		if b.in.of == ofUnfinished {
			d.Notes = append(d.Notes, fmt.Sprintf("The evaluation is not done, and its figures are left out: there are %d solves so far. The same afctl eval goes on with it.",
				all.Requested-all.Missing))
		}
	}
	whole := make([]*reportEval, 0, 2)
	for i := range d.Evaluations {
		if e := &d.Evaluations[i]; !e.Incomplete {
			whole = append(whole[:min(len(whole), 1)], e)
		}
	}
	if len(whole) > 0 {
		d.Before = &whole[0].Step
	}
	if len(whole) < 2 {
		return
	}
	d.After = &whole[1].Step
	var before, after eval.Report
	for _, id := range slices.Sorted(maps.Keys(whole[0].means)) {
		if x, ok := whole[1].means[id]; ok {
			before.Rows = append(before.Rows, eval.Row{Task: id, Mean: whole[0].means[id]})
			after.Rows = append(after.Rows, eval.Row{Task: id, Mean: x})
		}
	}
	if c, err := eval.Compare(&before, &after); err == nil && c.Tasks > 0 { // the same tasks by construction
		d.Comparison = &c
	}
}

// evaluation returns the one of a step, nil for none.
func (d *reportData) evaluation(step *int) *reportEval {
	if step == nil {
		return nil
	}
	i := slices.IndexFunc(d.Evaluations, func(e reportEval) bool { return e.Step == *step })
	return &d.Evaluations[i]
}

// stats are the figures of one family, or with "" of all; nil where the evaluation is nil or has none of it.
func (e *reportEval) stats(family string) *eval.Stats {
	if e == nil {
		return nil
	}
	if family == "" {
		return &e.Summary.All
	}
	return e.Summary.Family(family)
}
