package main

import (
	"errors"
	"iter"
	"math"
	"slices"
	"strings"
	"testing"

	"afctl/bench/eval"
	"afctl/ckpt"
	"afctl/flow"

	"github.com/google/go-cmp/cmp"
)

// solveOf is a solve of a task with one step per tool; a tool "!X" is a call of X that fails. A reward below 0 is none.
func solveOf(task string, sample int, reward float64, calls ...string) flow.Trajectory {
	t := flow.Trajectory{Task: task, Group: task, Sample: sample, Answer: "a", TotalMS: 1000, AdapterHash: "abc"}
	if reward >= 0 {
		t.Reward = &reward
	} else {
		t.Failure = "timeout"
	}
	for i, tool := range calls {
		p := flow.Step{Turn: i + 1, Tool: tool, SubGoal: "find it", Result: "found"}
		if tool[0] == '!' {
			p.Tool, p.Result, p.ErrorKind, p.Error = tool[1:], "", "not_found", "nothing there"
		}
		t.Steps = append(t.Steps, p)
		t.Turns = append(t.Turns, flow.Turn{Prompt: []int32{1, 2, 3}, Action: []int32{4, 5}, Stop: flow.StopEOS})
	}
	return t
}

func taskOf(id, family string) flow.Task {
	return flow.Task{ID: id, Question: "what is " + id + "?", Answers: []string{"a"}, Meta: map[string]string{"family": family}}
}

// nullMetrics are metrics with nothing known.
func nullMetrics(step int) flow.Metrics {
	m := (&flow.Update{}).Metrics(flow.TokenSums{})
	m.Step = step
	return m
}

func batchesOf(list ...reportBatch) iter.Seq2[reportBatch, error] {
	return func(yield func(reportBatch, error) bool) {
		for _, b := range list {
			if !yield(b, nil) {
				return
			}
		}
	}
}

// inputOf is of a run that learns: two tasks of which one is solved before and both after, and two steps.
func inputOf() reportInput {
	m1, m2 := nullMetrics(1), nullMetrics(2)
	m1.KL, m1.SecondsRollout, m1.SecondsUpdate = 0.5, 3, 1
	m2.SecondsRollout, m2.SkippedSteps = 4, 1
	return reportInput{
		last:     math.MaxInt32 - 1,
		tasks:    []flow.Task{taskOf("one", "easy"), taskOf("two", "hard"), taskOf("t1", "easy"), taskOf("t2", "hard")},
		metrics:  []flow.Metrics{m1, m2},
		policies: []ckpt.Policy{{Version: 0, AdapterHash: "h0"}, {Version: 2, AdapterHash: "h2", Step: 2}, {Version: 3, AdapterHash: "h3", Step: 3}},
		batches: batchesOf(
			reportBatch{phaseEval, 0, []flow.Trajectory{solveOf("one", 0, 1, "Calc"), solveOf("two", 0, 0, "!Search", "!Search", "Calc")}},
			reportBatch{phaseEval, 2, []flow.Trajectory{solveOf("two", 0, 1, "Web", "Calc"), solveOf("one", 0, 1, "Calc")}},
			reportBatch{phaseTrain, 1, []flow.Trajectory{solveOf("t1", 0, 1, "Calc"), solveOf("t1", 1, 0, "Calc"), solveOf("t2", 0, 0, "!Search", "Web"), solveOf("t2", 1, -1)}},
			reportBatch{phaseTrain, 2, []flow.Trajectory{solveOf("t2", 0, 1, "Web"), solveOf("t2", 1, 1, "Web")}},
			reportBatch{phaseTrain, 3, []flow.Trajectory{solveOf("t1", 0, 1, "!Calc"), solveOf("t1", 1, -1)}},
		),
	}
}

func mustReport(t testing.TB, in reportInput) *reportData {
	t.Helper()
	d, err := buildReport(in)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestReportFigures(t *testing.T) {
	d := mustReport(t, inputOf())
	if d.Before == nil || d.After == nil || *d.Before != 0 || *d.After != 2 {
		t.Fatalf("compared %v with %v", d.Before, d.After)
	}
	before, after := d.evaluation(d.Before), d.evaluation(d.After)
	for _, c := range []struct {
		name        string
		got, expect float64
	}{
		{"accuracy before", before.stats("").Accuracy.Mean, 0.5},
		{"accuracy after", after.stats("").Accuracy.Mean, 1},
		{"of hard tasks before", before.stats("hard").Accuracy.Mean, 0},
		{"error rate", before.stats("").ErrorRate, 2.0 / 4},
		{"stuck", before.stats("").StuckRate, 0.5},
		{"turns after", after.stats("").Turns, 1.5},
		{"difference", d.Comparison.Difference.Mean, 0.5},
		{"better", float64(d.Comparison.Better), 1},
		{"training reward, a failure counting 0", d.Steps[0].Rollouts.Reward.Mean, 0.25},
		{"its share of Web", d.Steps[0].Rollouts.Tools["Web"], 0.25},
		{"its turns in a family", d.Steps[0].Rollouts.FamilyTurns["hard"], 1},
		{"its errors", d.Steps[0].Rollouts.ErrorRate, 0.25},
		{"rollouts", float64(d.Run.Rollouts), 6},
		{"failed", float64(d.Run.Failed), 1},
		{"skipped", float64(d.Run.SkippedSteps), 1},
		{"seconds of rollouts", float64(d.Run.Seconds[0].Seconds), 7},
		{"seconds of updates", float64(d.Run.Seconds[2].Seconds), 1},
		{"steps", float64(d.Run.StepsDone), 2},
		{"policy version", float64(d.Run.Policy), 2},
	} {
		if math.Abs(c.got-c.expect) > 1e-12 { // sums of a few halves and quarters
			t.Errorf("%s: found %g, expected %g", c.name, c.got, c.expect)
		}
	}
	if diff := cmp.Diff([]string{"Calc", "Web", "Search"}, d.Tools); diff != "" {
		t.Errorf("tools by use: %s", diff)
	}
	if diff := cmp.Diff(map[string]int{"timeout": 2}, d.TrainFailures); diff != "" {
		t.Errorf("failures in training, with the step that is not done: %s", diff)
	}
	if diff := cmp.Diff(map[string]int{"not_found": 2}, d.TrainErrors); diff != "" {
		t.Errorf("errors in training, with the step that is not done: %s", diff)
	}
	if diff := cmp.Diff(&reportBatchSize{Step: 3, Rollouts: 2}, d.Run.InFlight); diff != "" {
		t.Errorf("the step that is not done: %s", diff)
	}
}

// An evaluation under way is no figure to compare with.
func TestReportOfAnEvaluationUnderWay(t *testing.T) {
	for heldOut, under := range map[int]bool{0: false, 2: false, 3: true} {
		in := inputOf()
		in.heldOut, in.metrics, in.policies = heldOut, nil, nil
		in.batches = batchesOf(reportBatch{phaseEval, 0, []flow.Trajectory{solveOf("one", 0, 1, "Calc"), solveOf("two", 0, 0, "Calc")}})
		d := mustReport(t, in)
		if d.Evaluations[0].Incomplete != under || (d.Before == nil) != under {
			t.Errorf("2 of %d tasks: incomplete %v, before %v", heldOut, d.Evaluations[0].Incomplete, d.Before)
		}
	}
}

// The last evaluation is whole or under way by the tasks that the config has now: a resumed run may hold out fewer, or more.
func TestReportOfAnotherHeldOut(t *testing.T) {
	for heldOut, under := range map[int]bool{1: false, 2: true} {
		in := inputOf()
		in.heldOut = heldOut
		in.batches = batchesOf(reportBatch{phaseEval, 0, []flow.Trajectory{solveOf("one", 0, 1, "Calc"), solveOf("two", 0, 0, "Calc")}},
			reportBatch{phaseEval, 2, []flow.Trajectory{solveOf("one", 0, 1, "Calc")}})
		if d := mustReport(t, in); d.Evaluations[1].Incomplete != under {
			t.Errorf("1 of %d tasks, after one of 2: incomplete %v", heldOut, d.Evaluations[1].Incomplete)
		}
	}
}

// A task that an update has twice, in two groups, counts as often as its solves.
func TestReportOfATaskTwice(t *testing.T) {
	in := inputOf()
	again := []flow.Trajectory{solveOf("t1", 0, 1, "Calc"), solveOf("t1", 1, 0, "Calc")}
	for i := range again {
		again[i].Group = "t1 (2)"
	}
	solves := append([]flow.Trajectory{solveOf("t1", 0, 1, "Calc"), solveOf("t1", 1, 1, "Calc"), solveOf("t2", 0, 1, "Web"), solveOf("t2", 1, 1, "Web")}, again...)
	in.batches = batchesOf(reportBatch{phaseTrain, 1, solves})
	r := mustReport(t, in).Steps[0].Rollouts
	if r.Reward.Mean != 5./6 || r.FamilyReward["easy"] != 0.75 || r.FamilyReward["hard"] != 1 {
		t.Errorf("rewards %+v, by family %v", r.Reward, r.FamilyReward)
	}
}

// Examples are of the last evaluation; the task that was learned shows the solve of before.
func TestReportExamples(t *testing.T) {
	d := mustReport(t, inputOf())
	if len(d.Examples) != 2 || d.Examples[0].Task != "one" || d.Examples[1].Task != "two" {
		t.Fatalf("%+v", d.Examples)
	}
	learned := d.Examples[1].Solves
	if len(learned) != 2 || learned[0].Step != 0 || learned[0].Solved || learned[1].Step != 2 || !learned[1].Solved {
		t.Errorf("the learned task: %+v", learned)
	}
	if turns := learned[0].Turns; len(turns) != 3 || turns[0].Repeats || !turns[1].Repeats || turns[1].ErrorKind != "not_found" || turns[0].PromptTokens != 3 || turns[0].Prompt != "" {
		t.Errorf("its turns before: %+v", turns)
	}

	in := inputOf()
	in.chosen = []string{"t2", "two"}
	in.decode = func(ids []int32) string { return string(rune('a' + ids[0])) }
	d = mustReport(t, in)
	var shown [][3]any
	for _, e := range d.Examples {
		for _, s := range e.Solves {
			shown = append(shown, [3]any{e.Task, s.Phase, s.Step})
		}
	}
	if diff := cmp.Diff([][3]any{{"t2", phaseTrain, 2}, {"t2", phaseTrain, 2}, {"two", phaseEval, 0}, {"two", phaseEval, 2}}, shown); diff != "" {
		t.Errorf("solves of the chosen tasks: %s", diff)
	}
	if slices.ContainsFunc(d.Notes, func(s string) bool { return strings.Contains(s, "no more than") }) {
		t.Errorf("notes %q", d.Notes)
	}
	if u := d.Examples[0].Solves[0].Turns[0]; u.Prompt != "b" || u.Action != "e" {
		t.Errorf("decoded %q and %q", u.Prompt, u.Action)
	}
}

// What is missing is missing, and the rest is there.
func TestReportOfPartsOfARun(t *testing.T) {
	whole := slices.Collect(func(yield func(reportBatch) bool) {
		for b := range inputOf().batches {
			if !yield(b) {
				return
			}
		}
	})
	for _, c := range []struct {
		name             string
		batches          []reportBatch
		metrics          int
		evaluations      int
		before, after    bool
		steps, examples  int
		inFlight, absent bool
	}{
		{name: "nothing", absent: true},
		{name: "only before", batches: whole[:1], evaluations: 1, before: true, examples: 2},
		{name: "no evaluation", batches: whole[2:4], metrics: 2, steps: 2, examples: 1},
		{name: "no metrics yet", batches: []reportBatch{whole[0], whole[2]}, evaluations: 1, before: true, inFlight: true, examples: 2},
		{name: "metrics alone", metrics: 2, steps: 2},
		{name: "an evaluation under way", batches: []reportBatch{whole[0], {phaseEval, 2, whole[1].solves[:1]}, whole[2], whole[3]}, metrics: 2, evaluations: 2, before: true, steps: 2, examples: 1},
		{name: "an evaluation that was less", batches: []reportBatch{{phaseEval, 0, whole[0].solves[:1]}, whole[1]}, metrics: 2, evaluations: 2, before: true, after: true, steps: 2, examples: 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := inputOf()
			in.batches, in.metrics = batchesOf(c.batches...), in.metrics[:c.metrics]
			d := mustReport(t, in)
			if len(d.Evaluations) != c.evaluations || (d.Before != nil) != c.before || (d.After != nil) != c.after || len(d.Steps) != c.steps || len(d.Examples) != c.examples ||
				(d.Run.InFlight != nil) != c.inFlight {
				t.Errorf("evaluations %d, before %v, after %v, steps %d, examples %d, in flight %v", len(d.Evaluations), d.Before, d.After, len(d.Steps), len(d.Examples), d.Run.InFlight)
			}
			if said := slices.Contains(d.Notes, "The run has no steps and no evaluations yet."); said != c.absent {
				t.Errorf("notes: %q", d.Notes)
			}
			checkPage(t, d)
		})
	}
}

// Of a task that was solved often, the first solve and the last ones are shown, and a note says so.
func TestReportOfManySolves(t *testing.T) {
	in := inputOf()
	in.chosen = []string{"two"}
	var list []reportBatch
	for step := range mostSolves + 5 {
		list = append(list, reportBatch{phaseEval, step, []flow.Trajectory{solveOf("two", 0, 1, "Calc")}})
	}
	in.batches = batchesOf(list...)
	d := mustReport(t, in)
	solves := d.Examples[0].Solves
	if len(solves) != mostSolves || solves[0].Step != 0 || solves[1].Step != 6 || solves[mostSolves-1].Step != mostSolves+4 {
		t.Errorf("%d solves are shown, of the steps %d, %d, ... %d", len(solves), solves[0].Step, solves[1].Step, solves[len(solves)-1].Step)
	}
	if !slices.ContainsFunc(d.Notes, func(s string) bool { return strings.Contains(s, "no more than 32 solves") }) {
		t.Errorf("notes %q", d.Notes)
	}
}

// A range leaves out the metrics of other steps; batches are chosen by who reads them.
func TestReportSteps(t *testing.T) {
	in := inputOf()
	in.first, in.last, in.batches = 2, 2, batchesOf()
	if d := mustReport(t, in); len(d.Steps) != 1 || d.Steps[0].Step != 2 {
		t.Errorf("%+v", d.Steps)
	}
}

func TestReportPassesErrorsOn(t *testing.T) {
	broken := errors.New("broken")
	in := inputOf()
	in.batches = func(yield func(reportBatch, error) bool) { yield(reportBatch{}, broken) }
	if _, err := buildReport(in); !errors.Is(err, broken) {
		t.Error(err)
	}
}

// Repeats of a task in an evaluation are one task in the comparison.
func TestReportComparesRepeats(t *testing.T) {
	in := inputOf()
	in.batches = batchesOf(
		reportBatch{phaseEval, 0, []flow.Trajectory{solveOf("one", 0, 1), solveOf("one", 1, 0)}},
		reportBatch{phaseEval, 2, []flow.Trajectory{solveOf("one", 0, 1), solveOf("one", 1, 1)}},
	)
	d := mustReport(t, in)
	if c := d.Comparison; c == nil || c.Tasks != 1 || c.Difference.Mean != 0.5 {
		t.Errorf("%+v", c)
	}
	if got := d.Evaluations[1].Summary.All.Accuracy; got.Mean != 1 || got == (eval.Interval{}) {
		t.Errorf("%+v", got)
	}
}
