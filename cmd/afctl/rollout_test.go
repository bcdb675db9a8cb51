package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"afctl/flow"
)

// Solves that fail are in the file, for an update to leave out; the command says how many there are, and why.
func TestRolloutSaysWhatFailed(t *testing.T) {
	args := []string{"rollout", "--tasks", "gym:train", "--n", "2", "--group", "2", "--set", "rollout.solve_retries=0", "--set", "rollout.retries=0"}
	if r := must(t, args...); strings.Contains(r.stderr, "solves failed") {
		t.Errorf("nothing failed, and it said %q", r.stderr)
	}
	out := filepath.Join(t.TempDir(), "out.jsonl")
	r := must(t, append(args, "--out", out, "--set", "engine.kv_tokens=20")...)
	all := readLines[flow.Trajectory](t, out)
	if want := "4 solves failed, and have no reward: " + flow.Failures(all); len(all) != 4 || !strings.Contains(r.stderr, want) || !strings.Contains(want, "engine.kv_tokens") {
		t.Errorf("it said %q, expected %q", r.stderr, want)
	}
}

// TestVersionOfACheckpoint: who solves with a checkpoint's adapter stamps the version that it has in its run; a copy of its files alone has none.
func TestVersionOfACheckpoint(t *testing.T) {
	dir := t.TempDir()
	model, run := gymLikeModel(t, filepath.Join(dir, "model")), filepath.Join(dir, "run")
	must(t, smallTrain(run, model, "--steps", "2", "--set", "tasks.eval=", "--set", "flow.entropy=0.01")...)
	checkpoint, bare := filepath.Join(run, "checkpoints", "step-000002"), filepath.Join(dir, "bare")
	must(t, "export", "--model", model, "--adapter", checkpoint, "--to", "peft", "--out", bare)
	for adapter, version := range map[string]int{checkpoint: 2, bare: 0} {
		out := filepath.Join(t.TempDir(), "out.jsonl")
		must(t, "rollout", "--model", model, "--adapter", adapter, "--tasks", "gym:train", "--n", "1", "--group", "1", "--set", "flow.max_action_tokens=4", "--set", "engine.kv_tokens=20000", "--out", out)
		for _, r := range readLines[flow.Trajectory](t, out) {
			if r.PolicyVersion != version || r.AdapterHash == "" {
				t.Errorf("%s: version %d of %.12s, expected %d", adapter, r.PolicyVersion, r.AdapterHash, version)
			}
		}
	}
	if a := adapterIn(t, bare); !filepath.IsAbs(a.Config.BaseModelNameOrPath) {
		t.Errorf("the adapter is of %q, expected a path that other folders know, too", a.Config.BaseModelNameOrPath)
	}
	moved := filepath.Join(dir, "moved")
	if err := os.Rename(model, moved); err != nil {
		t.Fatal(err)
	}
	must(t, "train", "--resume", "--run", run, "--model", moved, "--steps", "3")
	if a := adapterIn(t, filepath.Join(run, "checkpoints", "step-000003")); a.Config.BaseModelNameOrPath != moved {
		t.Errorf("after the model moved to %s, the adapter is of %q", moved, a.Config.BaseModelNameOrPath)
	}
}

// What is solved when rollout is stopped is taken over by the same command, whose file is that of one that was not stopped. Until then there is no file.
func TestRolloutGoesOn(t *testing.T) {
	dir := t.TempDir()
	out, whole := filepath.Join(dir, "out.jsonl"), filepath.Join(dir, "whole.jsonl")
	args := func(out string, more ...string) []string {
		return append([]string{"rollout", "--tasks", "gym:train", "--n", "10", "--group", "2", "--out", out, "--set", "flow.max_action_tokens=24"}, more...)
	}
	must(t, args(whole)...)

	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan int)
	go func() {
		ended <- run(ctx, args(out, "--set", "rollout.concurrency=1"), strings.NewReader(""), io.Discard, io.Discard)
	}()
	stored := func() []flow.Trajectory { return solvesIn(t, out+solvesSuffix) }
	for len(stored()) < 4 {
		time.Sleep(time.Millisecond)
	}
	stop()
	if status := <-ended; status != exitFailed {
		t.Fatalf("status %d of a command that was stopped", status)
	}
	before := stored()
	if _, err := os.Stat(out); err == nil || len(before) < 4 || len(before) >= 20 {
		t.Fatalf("%d solves kept, --out: %v", len(before), err)
	}
	fails(t, args(out, "--set", "flow.temperature=0.5"), out+solvesSuffix, "another rollout", "temperature")
	if r := must(t, args(out)...); !strings.Contains(r.stderr, "20/20") { // those that were there counted
		t.Errorf("found\n%s\nexpected it to end at 20/20", r.stderr)
	}
	after := readLines[flow.Trajectory](t, out)
	for _, r := range before {
		if !slices.ContainsFunc(after, func(x flow.Trajectory) bool { return keyOf(&x) == keyOf(&r) && x.TotalMS == r.TotalMS }) {
			t.Errorf("%s, sample %d was solved again", r.Group, r.Sample)
		}
	}
	clocks := regexp.MustCompile(`_ms":[0-9.e+-]+`)
	text := func(path string) string {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return clocks.ReplaceAllString(string(b), "")
	}
	if text(out) != text(whole) {
		t.Error("the file is not that of a command that was not stopped")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 2 {
		t.Errorf("found %v, expected the two files", left)
	}
	if r := must(t, args("-")...); clocks.ReplaceAllString(r.stdout, "") != text(whole) {
		t.Error("stdout is not what the file is")
	}
}
