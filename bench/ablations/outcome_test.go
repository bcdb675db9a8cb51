package main

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"afctl/bench/eval"
	"afctl/ckpt"
	"afctl/flow"
)

func heldOutTasks() []flow.Task {
	var tasks []flow.Task
	for i, family := range []string{"lookup", "lookup", "two-hop"} {
		tasks = append(tasks, flow.Task{ID: "h" + strconv.Itoa(i), Question: "?", Meta: map[string]string{flow.MetaFamily: family}})
	}
	return tasks
}

// solve is a rollout of so many turns.
func solve(task string, sample, turns int, reward float64) flow.Trajectory {
	t := flow.Trajectory{Task: task, Group: task, Sample: sample, Reward: &reward}
	for i := range turns {
		t.Turns = append(t.Turns, flow.Turn{Prompt: []int32{1}, Action: []int32{2}})
		t.Steps = append(t.Steps, flow.Step{Turn: i, Tool: "Calculator"})
	}
	return t
}

// makeRun writes a run of two steps on two tasks, evaluated before and after, and, if asked, in between.
func makeRun(t *testing.T, dir string, evaluated ...int) map[int][]flow.Trajectory {
	t.Helper()
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	store, err := ckpt.OpenStore(t.Context(), filepath.Join(dir, ckpt.StoreFile))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	put := func(step int, phase string, r flow.Trajectory) {
		if err := store.PutTrajectory(t.Context(), step, phase, &r); err != nil {
			t.Fatal(err)
		}
	}
	tasks := append(heldOutTasks(), flow.Task{ID: "t0", Question: "?"}, flow.Task{ID: "t1", Question: "?"})
	if err := store.PutTasks(t.Context(), tasks); err != nil {
		t.Fatal(err)
	}
	solves := map[int][]flow.Trajectory{}
	for _, step := range evaluated {
		for i, task := range heldOutTasks() {
			reward := 0.0
			if i <= step {
				reward = 1
			}
			r := solve(task.ID, 0, 1+i%2, reward)
			solves[step] = append(solves[step], r)
			put(step, ckpt.PhaseEval, r)
		}
	}
	for sample := range 4 {
		put(1, ckpt.PhaseTrain, solve("t0", sample, 1, 1))
		put(2, ckpt.PhaseTrain, solve("t1", sample, 1, 0))
	}
	lines := `{"step":1,"loss":null,"seconds/rollout":1,"seconds/reference":0.25,"seconds/update":0.5,"seconds/publish":null,"seconds/checkpoint":0}
{"step":2,"loss":-0.5,"seconds/rollout":2,"seconds/reference":0.25,"seconds/update":0.5,"seconds/publish":0.125,"seconds/checkpoint":0.375}
`
	if err := os.WriteFile(filepath.Join(dir, "metrics.jsonl"), []byte(lines), 0o666); err != nil {
		t.Fatal(err)
	}
	return solves
}

func TestReadRun(t *testing.T) {
	dir := t.TempDir()
	solves := makeRun(t, filepath.Join(dir, runDir), 0, 1, 2)
	got, err := readOutcome(t.Context(), "no-kl", 5, dir, 99)
	if err != nil {
		t.Fatal(err)
	}
	want := outcome{Arm: "no-kl", Seed: 5, Before: eval.Summarize(heldOutTasks(), solves[0]), After: eval.Summarize(heldOutTasks(), solves[2]),
		Curve: []point{{0, 1. / 3}, {1, 2. / 3}, {2, 1}}, Tasks: 2, Rollouts: 8, Steps: 2, Seconds: 5}
	if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
		t.Error(d)
	}
}

func TestRunWithoutItsLastEvaluationIsUnfinished(t *testing.T) {
	for _, evaluated := range [][]int{{0, 1}, {2}, {1, 2}} {
		dir := t.TempDir()
		makeRun(t, filepath.Join(dir, runDir), evaluated...)
		if _, err := readOutcome(t.Context(), "no-kl", 5, dir, 0); !errors.Is(err, errUnfinished) || !strings.Contains(err.Error(), dir) {
			t.Errorf("evaluated after %v: %v, expected errUnfinished and the folder", evaluated, err)
		}
	}
}

func TestReadSFT(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want := outcome{Arm: sftArm, Seed: 5, Curve: []point{{0, 1. / 3}, {2, 1}}, Tasks: 96, Examples: 3, Steps: 2, Seconds: 0.75}
	for i, s := range []*eval.Summary{&want.Before, &want.After} {
		var solves []flow.Trajectory
		for n, task := range heldOutTasks() {
			reward := 0.0
			if n <= 2*i {
				reward = 1
			}
			solves = append(solves, solve(task.ID, 0, 1, reward))
		}
		*s = eval.Summarize(heldOutTasks(), solves)
		report := eval.Report{Suite: "gym:heldout", Repeats: 1, Summary: *s, Rows: []eval.Row{{Task: "h0"}}}
		var b strings.Builder
		if err := report.WriteJSON(&b); err != nil {
			t.Fatal(err)
		}
		write(filepath.Join([]string{beforeDir, afterDir}[i], evalFile), b.String())
	}
	write(demosFile, strings.Repeat(`{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}`+"\n", 3))
	write(adapter+"/metrics.jsonl", `{"step":1,"epoch":1,"loss":2,"seconds":0.5}`+"\n"+`{"step":2,"epoch":1,"loss":1,"seconds":0.25}`+"\n")
	got, err := readOutcome(t.Context(), sftArm, 5, dir, 96)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
		t.Error(d)
	}
	write(demosFile, `{"messages":[`)
	if _, err := readOutcome(t.Context(), sftArm, 5, dir, 96); err == nil || !strings.Contains(err.Error(), demosFile) {
		t.Errorf("torn demonstrations: %v, expected an error that names the file", err)
	}
}
