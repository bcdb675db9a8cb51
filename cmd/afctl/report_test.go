package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"afctl/bench/gym"
	"afctl/ckpt"
	"afctl/flow"
	"afctl/rollout"

	"github.com/go-json-experiment/json"
)

// runFolder writes a run folder from what a report is made of.
func runFolder(t testing.TB, in reportInput) string {
	t.Helper()
	dir, ctx := t.TempDir(), t.Context()
	store, err := ckpt.OpenStore(ctx, filepath.Join(dir, storeFile))
	if err != nil {
		t.Fatal(err)
	}
	errs := []error{store.PutTasks(ctx, in.tasks)}
	for b := range in.batches {
		for i := range b.solves {
			errs = append(errs, store.PutTrajectory(ctx, b.step, b.phase, &b.solves[i]))
		}
	}
	var log bytes.Buffer
	for _, m := range in.metrics {
		line, err := json.Marshal(m)
		errs = append(errs, err, store.PutMetrics(ctx, m.Step, line))
		log.Write(append(line, '\n'))
	}
	for _, p := range in.policies {
		errs = append(errs, store.PutPolicy(ctx, p.Version, p.AdapterHash, p.Step))
	}
	errs = append(errs, store.Close(), os.WriteFile(filepath.Join(dir, metricsFile), log.Bytes(), 0o666))
	if in.config != nil {
		errs = append(errs, os.WriteFile(filepath.Join(dir, configFile), marshalConfig(in.config, false), 0o666))
	}
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return dir
}

// runReport runs the command.
func runReport(t testing.TB, args ...string) error {
	t.Helper()
	cmd := newReportCommand()
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(append([]string{}, args...)) // of nil it would take the test program's own
	cmd.SetOut(io.Discard)
	cmd.SetErr(io.Discard)
	return cmd.ExecuteContext(t.Context())
}

// Of the first evaluation, the command knows from the file of its tasks whether it is whole.
func TestReportKnowsTheTasksAskedFor(t *testing.T) {
	tasks := ""
	for _, q := range []string{"one", "two", "three"} {
		tasks += `{"question":"` + q + `?","answer":"a"}` + "\n"
	}
	file := writeFile(t, "held.jsonl", tasks)
	for limit, under := range map[int]bool{0: true, 2: false, 9: true} {
		in, c := inputOf(), DefaultConfig()
		c.Tasks.Eval, c.Tasks.EvalLimit = file, limit
		in.config, in.metrics, in.policies = &c, nil, nil
		in.batches = batchesOf(reportBatch{phaseEval, 0, []flow.Trajectory{solveOf("one", 0, 1, "Calc"), solveOf("two", 0, 0, "Calc")}})
		dir := runFolder(t, in)
		if err := runReport(t, "--run", dir); err != nil {
			t.Fatal(err)
		}
		var d reportData
		readJSON(t, filepath.Join(dir, "report.json"), &d)
		if d.Evaluations[0].Incomplete != under {
			t.Errorf("2 solves, 3 tasks and a limit of %d: incomplete %v", limit, d.Evaluations[0].Incomplete)
		}
	}
}

// An evaluation that was never done has no figures, however its solves lie; one that was, has those of its report.
func TestReportOfAnUnfinishedEvaluation(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "evaluation")
	must(t, "eval", "--suite", "gym:heldout", "--n", "3", "--repeats", "2", "--out", dir, "--set", "flow.max_action_tokens=8")
	for _, done := range []bool{true, false} {
		if !done { // as a kill leaves it after the last solve
			if err := os.Remove(filepath.Join(dir, evalReport)); err != nil {
				t.Fatal(err)
			}
		}
		if err := runReport(t, "--run", dir); err != nil {
			t.Fatal(err)
		}
		var d reportData
		readJSON(t, filepath.Join(dir, "report.json"), &d)
		page, err := os.ReadFile(filepath.Join(dir, "report.html"))
		if err != nil {
			t.Fatal(err)
		}
		if d.Evaluations[0].Incomplete == done || (d.Before != nil) != done {
			t.Errorf("done %v: incomplete %v, before %v", done, d.Evaluations[0].Incomplete, d.Before)
		}
		for text, want := range map[string]bool{"<h1>Evaluation: planner</h1>": true, "Training run": false, "3 tasks, 6 solves": done, "Failed solves": done, "there are 6 solves so far": !done, "config.yaml": false} {
			if bytes.Contains(page, []byte(text)) != want {
				t.Errorf("done %v: the page has %q: %v, expected %v", done, text, !want, want)
			}
		}
	}
}

// The command gives, through a run folder, the figures that buildReport gives.
func TestReportCommand(t *testing.T) {
	dir := runFolder(t, inputOf())
	if err := runReport(t, "--run", dir); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(dir, "report.html"))
	if err != nil {
		t.Fatal(err)
	}
	d := mustReport(t, inputOf())
	info, err := os.Stat(filepath.Join(dir, metricsFile))
	if err != nil {
		t.Fatal(err)
	}
	written := info.ModTime().UTC()
	d.Run.Written = &written
	var own bytes.Buffer
	if err := d.writeHTML(&own); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(page, own.Bytes()) {
		t.Errorf("the page through the folder differs from that of the data:\n%s", firstDifference(own.String(), string(page)))
	}
	var figures reportData
	readJSON(t, filepath.Join(dir, "report.json"), &figures)
	if figures.Comparison == nil || figures.Comparison.Better != 1 || len(figures.Steps) != 2 {
		t.Errorf("%+v", figures)
	}

	var part reportData
	partFile := filepath.Join(t.TempDir(), "part.json")
	if err := runReport(t, "--run", dir, "--steps", "1:1", "--json", partFile, "--out", os.DevNull); err != nil {
		t.Fatal(err)
	}
	readJSON(t, partFile, &part)
	if len(part.Steps) != 1 || part.Steps[0].Rollouts.Rollouts != 4 || len(part.Evaluations) != 0 {
		t.Errorf("steps 1:1: %+v", part)
	}
}

// A task is asked for by the id of its row as well, which is all that a user knows of it; rows of two files may share one.
func TestReportOfTasksByTheirOwnIDs(t *testing.T) {
	in := inputOf()
	for i := range in.tasks {
		in.tasks[i].Meta["id"] = map[string]string{"one": "q-1", "two": "q-2", "t2": "q-2", "t1": "one"}[in.tasks[i].ID]
	}
	dir := runFolder(t, in)
	for asked, want := range map[string][]string{"q-1": {"one"}, "q-2": {"t2", "two"}, "one": {"one"}, "two": {"two"}} {
		if err := runReport(t, "--run", dir, "--task", asked); err != nil {
			t.Fatal(err)
		}
		var d reportData
		readJSON(t, filepath.Join(dir, "report.json"), &d)
		var found []string
		for _, e := range d.Examples {
			found = append(found, e.Task)
			if asked != e.Task && e.ID != asked {
				t.Errorf("%s: task %s has the id %q", asked, e.Task, e.ID)
			}
		}
		if slices.Sort(found); !slices.Equal(found, want) {
			t.Errorf("%s: found the tasks %q, expected %q", asked, found, want)
		}
		page, err := os.ReadFile(filepath.Join(dir, "report.html"))
		if err != nil || !strings.Contains(string(page), "id q-") {
			t.Errorf("%s: the page says no id (%v)", asked, err)
		}
	}
	if err := runReport(t, "--run", dir, "--task", "q-3"); err == nil || !strings.Contains(err.Error(), "did you mean q-1") {
		t.Errorf("%v", err)
	}
}

func TestReportRefuses(t *testing.T) {
	dir := runFolder(t, inputOf())
	for _, c := range []struct {
		args  []string
		usage bool
		says  string
	}{
		{nil, true, "--run is missing"},
		{[]string{"--run", dir, "--steps", "5:2"}, true, "--steps"},
		{[]string{"--run", dir, "--steps", "5"}, true, "--steps"},
		{[]string{"--run", dir, "--steps", "-1:5"}, true, "--steps"},
		{[]string{"--run", dir, "--out", "-", "--json", "-"}, true, "--json"},
		{[]string{"--run", dir, "--task", "two", "--task", "two"}, true, "--task two"},
		{[]string{"--run", dir, "--json", t.TempDir()}, false, "--json: "},
		{[]string{"--run", dir, "--out", t.TempDir()}, false, "--out: "},
		{[]string{"--run", dir, "--steps", "5:9"}, false, "--steps: found none from step 5 on, expected some of the run's steps, 0 to 3"},
		{[]string{"--run", dir, "--task", "twos"}, false, `did you mean two`},
		{[]string{"--run", t.TempDir()}, false, storeFile},
	} {
		err := runReport(t, c.args...)
		var usage *usageError
		if err == nil || errors.As(err, &usage) != c.usage || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: %v", c.args, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "report.html")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something was written: %v", err)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, storeFile+"-*")); len(files) > 0 {
		t.Errorf("left beside the store: %v", files)
	}
}

// A reward that no rollout has is told by its place.
func TestReportOfAWrongReward(t *testing.T) {
	for _, reward := range []float64{2, 1e99} {
		in := inputOf()
		wrong := solveOf("one", 0, reward, "Calc")
		in.batches = batchesOf(reportBatch{phaseEval, 0, []flow.Trajectory{wrong}})
		err := runReport(t, "--run", runFolder(t, in))
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf(`%s of step 0: rollout 0 of group "one": reward: found %v, expected 0 to 1`, storeFile, reward)) {
			t.Errorf("%v: %v", reward, err)
		}
	}
}

// A report that cannot be written whole leaves both files of the one before.
func TestReportIsBothFilesOrNone(t *testing.T) {
	dir := runFolder(t, inputOf())
	if err := runReport(t, "--run", dir); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "report.json")
	if err := os.WriteFile(file, []byte("old"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, bad := range [][]string{{"--out", dir}, {"--json", dir}, {"--out", "/dev/full"}, {"--json", "/dev/full"}} {
		if !isDevice(bad[1]) && bad[1] != dir {
			continue
		}
		page := filepath.Join(dir, "report.html")
		if err := os.WriteFile(page, []byte("old"), 0o666); err != nil {
			t.Fatal(err)
		}
		if err := runReport(t, append([]string{"--run", dir}, bad...)...); err == nil {
			t.Errorf("%v: no error", bad)
		}
		for _, f := range []string{file, page} {
			if text, err := os.ReadFile(f); err != nil || string(text) != "old" {
				t.Errorf("%v: %s is new, or gone: %v", bad, f, err)
			}
		}
	}
}

// A config that this build cannot read, or a model that is gone, leaves a report that says so.
func TestReportWithoutConfigOrModel(t *testing.T) {
	in := inputOf()
	c := DefaultConfig()
	c.Model = "/no/such/model"
	in.config = &c
	dir := runFolder(t, in)
	if err := runReport(t, "--run", dir); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(dir, "report.html"))
	if err != nil || !strings.Contains(string(page), "tokenizer cannot be read") || !strings.Contains(string(page), "2 of 100 steps") {
		t.Errorf("without a model: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, configFile), []byte("from_the_future: 1\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := runReport(t, "--run", dir); err != nil {
		t.Fatal(err)
	}
	page, err = os.ReadFile(filepath.Join(dir, "report.html"))
	if err != nil || !strings.Contains(string(page), "from_the_future") || !strings.Contains(string(page), "2 steps") {
		t.Errorf("without a config: %v", err)
	}
}

// A run of the gym, by a planner that learns all at once: what was wrong before is shown beside what is right now.
func TestReportOfGym(t *testing.T) {
	w, err := gym.New(7)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	const n = 35
	in := inputOf()
	in.tasks = w.Tasks(gym.HeldOut, n, 1)
	solve := func(p rollout.Planner) (list []flow.Trajectory) {
		s := w.Solver(p, rollout.Options{})
		for i, task := range in.tasks {
			list = append(list, s.Solve(t.Context(), rollout.Job{Task: task, Group: task.ID, Seed: uint64(i)}))
		}
		return list
	}
	in.batches = batchesOf(reportBatch{phaseEval, 0, solve(gym.Naive{})}, reportBatch{phaseEval, 2, solve(gym.Teacher{})})
	dir := runFolder(t, in)
	if err := runReport(t, "--run", dir); err != nil {
		t.Fatal(err)
	}
	var d reportData
	readJSON(t, filepath.Join(dir, "report.json"), &d)
	if c := d.Comparison; c == nil || c.Tasks != n || c.Difference.Mean < 0.3 || c.Worse > 0 {
		t.Errorf("%+v", c)
	}
	if len(d.Families) != len(gym.Families()) || len(d.Examples) < 3 || len(d.Examples[0].Solves) != 2 {
		t.Errorf("%d families, examples %+v", len(d.Families), d.Examples)
	}
}

func TestParseSteps(t *testing.T) {
	for _, c := range []struct {
		text        string
		first, last int
	}{{"0:60", 0, 60}, {"20:", 20, 1<<31 - 2}, {":20", 0, 20}, {"3:3", 3, 3}, {"", 0, 1<<31 - 2}} {
		if first, last, err := parseSteps(c.text); err != nil || first != c.first || last != c.last {
			t.Errorf("%q: %d to %d, %v", c.text, first, last, err)
		}
	}
}

// BenchmarkReport is of a run of 100 steps with 5,000 rollouts, from the folder to both files.
func BenchmarkReport(b *testing.B) {
	const steps, perStep = 100, 50
	in := reportInput{}
	var batches []reportBatch
	batch := func(phase string, step, n int) {
		x := reportBatch{phase: phase, step: step}
		for i := range n {
			s := solveOf(fmt.Sprintf("task-%d", i), 0, float64(i%2), "Calculator", "!Web_Search", "Wikipedia_Search")
			for k := range s.Turns {
				s.Turns[k].Prompt, s.Turns[k].Action, s.Turns[k].LogProbs = make([]int32, 300), make([]int32, 40), make([]float32, 40)
			}
			x.solves = append(x.solves, s)
		}
		batches = append(batches, x)
	}
	for i := range 500 {
		in.tasks = append(in.tasks, taskOf(fmt.Sprintf("task-%d", i), gym.Families()[i%7]))
	}
	batch(phaseEval, 0, 500)
	batch(phaseEval, steps, 500)
	for s := range steps {
		batch(phaseTrain, s+1, perStep)
		in.metrics = append(in.metrics, nullMetrics(s+1))
	}
	in.batches = batchesOf(batches...)
	dir := runFolder(b, in)
	for b.Loop() {
		if err := runReport(b, "--run", dir); err != nil {
			b.Fatal(err)
		}
	}
	info, err := os.Stat(filepath.Join(dir, "report.html"))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(info.Size())/1e6, "MB")
}
