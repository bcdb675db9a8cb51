package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"afctl/bench/eval"
	"afctl/ckpt"
	"afctl/flow"
)

// Solves are taken over only by the evaluation that they are of.
func TestEvalOutIsOfOneEvaluation(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	args := func(more ...string) []string {
		return append([]string{"eval", "--suite", "gym:heldout", "--n", "7", "--out", out, "--set", "flow.max_action_tokens=16"}, more...)
	}
	first := must(t, args()...)
	if again := must(t, args("--set", "rollout.concurrency=3")...); again.stdout != first.stdout {
		t.Errorf("the same evaluation again:\n%s\nbefore\n%s", again.stdout, first.stdout)
	}
	fails(t, args("--set", "rollout.eval_max_turns=1"), "another evaluation", "eval_max_turns")
	fails(t, args("--set", "flow.temperature=0.5"), "another evaluation", "temperature")
	fails(t, args("--model", gymLikeModel(t, filepath.Join(dir, "model"))), "another evaluation", "model")
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "mine"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	fails(t, []string{"eval", "--suite", "gym:heldout", "--n", "7", "--out", full}, "mine", "empty")
	fails(t, []string{"eval", "--suite", "gym:heldout", "--n", "7", "--retry-failed"}, "--retry-failed", "--out")
}

// An evaluation that is stopped says how it goes on, if its solves are kept, and goes on with them.
func TestEvalGoesOn(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	args := []string{"eval", "--suite", "gym:heldout", "--n", "20", "--seed", "5", "--out", out, "--set", "flow.max_action_tokens=24"}
	ctx, stop := context.WithCancel(t.Context())
	var errs bytes.Buffer
	ended := make(chan int)
	go func() { ended <- run(ctx, append(args, "--set", "rollout.concurrency=1"), nil, io.Discard, &errs) }()
	for len(solvesIn(t, out)) < 2 {
		time.Sleep(time.Millisecond)
	}
	stop()
	if status := <-ended; status != exitFailed || !strings.Contains(errs.String(), "stopped; the same command goes on with what is solved, in "+out) {
		t.Fatalf("status %d of a command that was stopped: %s", status, errs.String())
	}
	before := solvesIn(t, out)
	must(t, args...)
	if report, err := eval.ReadReport(filepath.Join(out, evalReport)); err != nil || report.Seed != 5 {
		t.Errorf("report %+v, %v: expected the seed that was given", report, err)
	}
	after := solvesIn(t, out)
	if len(before) >= len(after) || len(after) != 20 {
		t.Fatalf("%d solves, and then %d", len(before), len(after))
	}
	for _, r := range before {
		if !slices.ContainsFunc(after, func(x flow.Trajectory) bool { return keyOf(&x) == keyOf(&r) && x.TotalMS == r.TotalMS }) {
			t.Errorf("%s was solved again", r.Group)
		}
	}
}

// solvesIn are the solves of a folder so far.
func solvesIn(t *testing.T, dir string) (all []flow.Trajectory) {
	t.Helper()
	store, err := ckpt.OpenStoreReadOnly(t.Context(), filepath.Join(dir, storeFile))
	if err != nil {
		return nil // not there yet
	}
	defer store.Close()
	for r, err := range store.Trajectories(t.Context(), ckpt.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, *r)
	}
	return all
}

// TestEvalOutByContents: an evaluation of files goes on from another folder, and not where what a tool reads has changed.
func TestEvalOutByContents(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	model := gymLikeModel(t, filepath.Join(dir, "model"))
	if err := os.Mkdir("pages", 0o777); err != nil {
		t.Fatal(err)
	}
	page := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "pages", "p.jsonl"), []byte(`{"url":"https://a.example/","title":"a","text":"`+text+`"}`+"\n"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	page("b")
	for _, name := range []string{"t.jsonl", "other.jsonl"} {
		if err := os.WriteFile(name, []byte(`{"question":"1+1?","answer":"2"}`+"\n"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	args := func(above, tasks string) []string {
		list := []string{"eval", "--model", model, "--suite", above + tasks, "--out", filepath.Join(dir, "out"), "--set", "rollout.tools.pages=" + above + "pages",
			"--set", "flow.max_action_tokens=4", "--set", "rollout.eval_max_turns=1", "--set", "engine.kv_tokens=20000"}
		for _, provider := range []string{"analyst", "verifier"} {
			list = append(list, "--set", "rollout."+provider+".provider=off")
		}
		return list
	}
	must(t, args("", "t.jsonl")...)
	t.Chdir("pages")
	must(t, args("../", "t.jsonl")...)
	fails(t, args("../", "other.jsonl"), "another evaluation", "other.jsonl")
	page("c")
	fails(t, args("../", "t.jsonl"), "another evaluation", "pages")
	page("b")
	must(t, args("../", "t.jsonl")...)
}

// TestReportOfAnEvaluation: the report of an evaluation's folder is of the tasks and repeats that its eval.json is of, whatever other calls have
// left there; so is what an evaluation goes on with.
func TestReportOfAnEvaluation(t *testing.T) {
	dir := t.TempDir()
	model, out := gymLikeModel(t, filepath.Join(dir, "model")), filepath.Join(dir, "out")
	solve := func(n, repeats string) {
		t.Helper()
		must(t, "eval", "--suite", "gym:heldout", "--n", n, "--repeats", repeats, "--model", model, "--out", out, "--set", "flow.max_action_tokens=4",
			"--set", "rollout.eval_max_turns=1", "--set", "engine.kv_tokens=20000")
	}
	for _, c := range []struct{ n, repeats string }{{"4", "2"}, {"3", "1"}, {"2", "3"}} {
		solve(c.n, c.repeats)
		must(t, "report", "--run", out)
		want, err := eval.ReadReport(filepath.Join(out, evalReport))
		if err != nil {
			t.Fatal(err)
		}
		var d reportData
		readJSON(t, filepath.Join(out, "report.json"), &d)
		if len(d.Evaluations) != 1 {
			t.Fatalf("%d evaluations", len(d.Evaluations))
		}
		if a, b := d.Evaluations[0].Summary.All, want.Summary.All; a.Tasks != b.Tasks || a.Repeats != b.Repeats || a.Missing != 0 || a.Accuracy != b.Accuracy || a.Turns != b.Turns {
			t.Errorf("--n %s --repeats %s: the report has %+v, eval.json %+v", c.n, c.repeats, a, b)
		}
	}
	// Other tasks are no tasks to compare with, which is said before a model is asked for.
	fails(t, []string{"eval", "--suite", "gym:heldout", "--n", "3", "--compare", out, "--model", filepath.Join(dir, "nowhere")}, "--compare", "only in the second: 1 (", "only in the first: none")
	fails(t, []string{"eval", "--suite", "gym:heldout", "--n", "2", "--compare", out, "--model", filepath.Join(dir, "nowhere")}, "nowhere", "no such folder")
	identity, err := os.ReadFile(filepath.Join(out, solvesIdentity))
	if err != nil {
		t.Fatal(err)
	}
	found, err := loadSuite("gym:heldout", 3, &TasksConfig{})
	if err != nil {
		t.Fatal(err)
	}
	r := eval.Run{Tasks: found.Tasks, Repeats: 1}
	store, err := openEval(t.Context(), out, string(identity), &r)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if len(r.Stored) != 3 {
		t.Errorf("%d solves are there of the 3 that are asked for", len(r.Stored))
	}
}

// TestRetryFailed: what failed for limits that were too tight is solved again under others, in the same folder.
func TestRetryFailed(t *testing.T) {
	dir := t.TempDir()
	model, out := gymLikeModel(t, filepath.Join(dir, "model")), filepath.Join(dir, "out")
	failed := func(more ...string) int {
		t.Helper()
		must(t, append([]string{"eval", "--suite", "gym:heldout", "--n", "3", "--model", model, "--out", out, "--set", "flow.max_action_tokens=4",
			"--set", "rollout.eval_max_turns=1"}, more...)...)
		report, err := eval.ReadReport(filepath.Join(out, evalReport))
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, row := range report.Rows {
			if strings.Join(row.Failures, "") != "" {
				n++
			}
		}
		return n
	}
	if n := failed("--set", "engine.kv_tokens=40", "--set", "rollout.call_seconds=1000", "--set", "rollout.retries=0"); n != 3 {
		t.Fatalf("%d solves failed without room for a prompt, expected 3", n)
	}
	if n := failed("--set", "engine.kv_tokens=20000"); n != 3 {
		t.Errorf("%d solves failed where the same command goes on, expected the stored 3", n)
	}
	if n := failed("--set", "engine.kv_tokens=20000", "--retry-failed", "--set", "rollout.call_seconds=500", "--set", "rollout.concurrency=2"); n != 0 {
		t.Errorf("%d solves failed the second time, expected none", n)
	}
	// A loop that time ended is no failure, and would be taken for one under the new limit.
	for _, limit := range []string{"rollout.max_seconds=7", "rollout.tool_seconds=7"} {
		fails(t, []string{"eval", "--suite", "gym:heldout", "--n", "3", "--model", model, "--out", out, "--set", "flow.max_action_tokens=4", "--set", "rollout.eval_max_turns=1",
			"--set", "engine.kv_tokens=20000", "--retry-failed", "--set", limit}, "another evaluation", strings.TrimPrefix(limit[:strings.Index(limit, "=")], "rollout."))
	}
}

// TestSecondSolverIsRefused: two evaluations, or two rollouts, in one folder; and no lock is left in a folder of somebody else's.
func TestSecondSolverIsRefused(t *testing.T) {
	dir := t.TempDir()
	model := gymLikeModel(t, filepath.Join(dir, "model"))
	with := []string{"--model", model, "--set", "flow.max_action_tokens=4", "--set", "engine.kv_tokens=20000"}
	evaluation := append([]string{"eval", "--suite", "gym:heldout", "--n", "2", "--set", "rollout.eval_max_turns=1", "--out", dir + "/eval"}, with...)
	rollouts := append([]string{"rollout", "--tasks", "gym:heldout", "--n", "2", "--group", "2", "--out", dir + "/r.jsonl"}, with...)
	for folder, args := range map[string][]string{dir + "/eval": evaluation, dir + "/r.jsonl" + solvesSuffix: rollouts} {
		if err := os.MkdirAll(folder, 0o777); err != nil {
			t.Fatal(err)
		}
		lock, err := ckpt.LockRun(folder)
		if err != nil {
			t.Fatal(err)
		}
		fails(t, args, folder, fmt.Sprintf("process %d works in it", os.Getpid()))
		if err := lock.Close(); err != nil {
			t.Fatal(err)
		}
		must(t, args...)
	}
	// What a kill -9 leaves of a file that was being written is in nobody's way, and goes.
	again := dir + "/again"
	left := []string{dir + "/.tmp-r.jsonl-3guh", again + "/.tmp-" + solvesIdentity + "-1", again + "/" + ckpt.LockFile}
	others := []string{dir + "/.tmp-r.jsonl-2-3guh", dir + "/.tmp-other.jsonl-3guh"}
	if err := os.Mkdir(again, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, name := range append(left, others...) {
		if err := os.WriteFile(name, []byte("torn"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	must(t, rollouts...)
	evaluation[slices.Index(evaluation, dir+"/eval")] = again
	must(t, evaluation...)
	for _, name := range left[:2] {
		if !isMissing(name) {
			t.Errorf("%s is still there", name)
		}
	}
	for _, name := range others {
		if isMissing(name) {
			t.Errorf("%s, which is another file's, is gone", name)
		}
	}
	foreign := filepath.Dir(writeFile(t, "thesis.txt", "mine"))
	fails(t, append([]string{"eval", "--suite", "gym:heldout", "--n", "2", "--out", foreign}, with[:2]...), "thesis.txt")
	if entries, _ := os.ReadDir(foreign); len(entries) != 1 {
		t.Errorf("a folder of somebody else's holds %v", entries)
	}
}

// What was opened before an error is closed once.
func TestToolsAreClosedOnce(t *testing.T) {
	dir := t.TempDir()
	tasks := writeFile(t, "t.jsonl", `{"question":"1+1?","answer":"2"}`+"\n")
	r := afctl(t, "eval", "--suite", tasks, "--set", "rollout.tools.record="+filepath.Join(dir, "record.jsonl"), "--set", "rollout.tools.wikipedia_index="+filepath.Join(dir, "absent.db"))
	if r.status != exitFailed || !strings.Contains(r.stderr, "absent.db") || strings.Contains(r.stderr, "already closed") {
		t.Errorf("status %d: %s", r.status, r.stderr)
	}
}
