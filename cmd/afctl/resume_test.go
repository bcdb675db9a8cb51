package main

import (
	"errors"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"afctl/ckpt"
	"afctl/flow"

	"github.com/google/go-cmp/cmp"
)

// TestStateCounts (traps 27, 28): what a checkpoint counts. A step that is skipped moves the schedule and the data, but not Adam's bias
// correction, and skipped steps add up; a run of nothing else has failed.
func TestStateCounts(t *testing.T) {
	dir := t.TempDir()
	model := gymLikeModel(t, filepath.Join(dir, "model"))
	for entropy, skipped := range map[string]int{"0.01": 0, "3e38": 3} { // whose gradient float32 does not hold
		run := filepath.Join(dir, entropy)
		train := smallTrain(run, model, "--steps", "3", "--set", "tasks.eval=", "--set", "flow.entropy="+entropy, "--set", "optimizer.schedule=linear")
		if skipped > 0 {
			train = append(train, "--set", "lora.alpha="+entropy)
		}
		if skipped < 3 {
			must(t, train...)
		} else {
			fails(t, train, errNothingFinite.Error())
		}
		c, _, err := ckpt.Latest(run)
		if err != nil {
			t.Fatal(err)
		}
		if s := c.State; s.Step != 3 || s.ScheduleStep != 3 || s.SkippedSteps != skipped || s.AdamStep != 3-skipped || s.Data.Tasks != 6 {
			t.Errorf("flow.entropy=%s: state %+v", entropy, s)
		}
		for i, m := range readLines[flow.Metrics](t, filepath.Join(run, metricsFile)) {
			if want := DefaultConfig().Optimizer.LR * float64(3-i) / 3; !(float64(m.LR) > 0.999*want && float64(m.LR) < 1.001*want) || m.SkippedSteps != min(skipped, i+1) {
				t.Errorf("flow.entropy=%s, step %d: lr %v, expected %v; %d steps skipped", entropy, i+1, m.LR, want, m.SkippedSteps)
			}
		}
	}
}

// TestResumeOfCounts (traps 27, 28): what is gone on from is the step that Adam's bias correction counts, not that of the run, which counts skipped ones too.
func TestResumeOfCounts(t *testing.T) {
	dir := t.TempDir()
	tr := openTrainer(t, dir)
	if err := tr.update(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := tr.Close(); err != nil {
		t.Fatal(err)
	}
	c, _, err := ckpt.Latest(dir)
	if err != nil {
		t.Fatal(err)
	}
	c.State.AdamStep, c.State.SkippedSteps = 0, 1
	if err := ckpt.Save(dir, c, 2); err != nil {
		t.Fatal(err)
	}
	again, err := newTrainer(t.Context(), tr.c, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if s, err := again.s.engine.State(); err != nil || s.Step != 0 || again.state.Step != 1 || again.state.SkippedSteps != 1 {
		t.Errorf("%v: Adam is at step %d of a run at %d with %d skipped, expected 0, 1 and 1", err, s.Step, again.state.Step, again.state.SkippedSteps)
	}
}

// TestResumeFromAfar (trap 27): a run goes on from a checkpoint within an update, of which the store knows the rest and the updates behind it, and
// comes to the same bytes: also where the update has no token to train on, and so no constants.
func TestResumeFromAfar(t *testing.T) {
	dir := t.TempDir()
	model := gymLikeModel(t, filepath.Join(dir, "model"))
	for _, skip := range []string{"false", "true"} { // rewards of noise are all 0
		run := filepath.Join(dir, skip)
		must(t, smallTrain(run, model, "--steps", "3", "--set", "flow.epochs=2", "--set", "checkpoint.every=3", "--set", "tasks.eval=", "--set", "flow.entropy=0.01",
			"--set", "optimizer.lr=0.01", "--set", "optimizer.schedule=linear", "--set", "engine.threads=1", "--set", "flow.skip_zero_signal="+skip)...)
		want := runContents(t, run)
		for i, m := range readLines[flow.Metrics](t, filepath.Join(run, metricsFile)) { // over all epochs of all updates
			if rate := 0.01 * float64(6-i) / 6; math.Abs(float64(m.LR)-rate) > 1e-9 || m.PolicyVersion != i/2 {
				t.Errorf("step %d: lr %v of policy version %d, expected %v of %d", i+1, m.LR, m.PolicyVersion, rate, i/2)
			}
			if first := i%2 == 0; (m.SecondsRollout > 0) != first {
				t.Errorf("step %d: %v s of rollouts, expected them in the first step of their update", i+1, m.SecondsRollout)
			}
		}
		if err := os.RemoveAll(filepath.Join(run, "checkpoints", "step-000006")); err != nil {
			t.Fatal(err)
		}
		c, _, err := ckpt.Latest(run)
		if err != nil || c.State.Step != 3 || c.State.Epoch != 1 || (c.Update[0].Len() == 0) != (skip == "true") {
			t.Fatalf("flow.skip_zero_signal=%s: %v, expected a checkpoint of step 3, with constants unless groups are left out", skip, err)
		}
		must(t, "train", "--resume", "--run", run)
		got := runContents(t, run)
		for _, name := range slices.Sorted(maps.Keys(want)) {
			if got[name] != want[name] {
				t.Errorf("flow.skip_zero_signal=%s: %s differs from the undisturbed run's", skip, name)
			}
		}
		if len(got) != len(want) {
			t.Errorf("flow.skip_zero_signal=%s: found %d things in the run, expected %d", skip, len(got), len(want))
		}
	}
}

// TestResumeRefusesAnother (trap 27): a checkpoint whose bits would not go on here is refused, for its base, config, seed, inputs and engine.
func TestResumeRefusesAnother(t *testing.T) {
	dir := t.TempDir()
	model, run := gymLikeModel(t, filepath.Join(dir, "model")), filepath.Join(dir, "run")
	must(t, smallTrain(run, model, "--steps", "1", "--set", "tasks.eval=")...)
	// A key by its whole name, as there is a max_tokens in every module.
	fails(t, []string{"train", "--resume", "--run", run, "--steps", "2", "--set", "optimizer.weight_decay=0.5"}, `found "optimizer.weight_decay: 0.5"`, "--adapter")
	fails(t, []string{"train", "--resume", "--run", run, "--steps", "2", "--set", "rollout.planner.memory_tokens=7"}, `found "rollout.planner.memory_tokens: 7"`)
	fails(t, []string{"train", "--resume", "--run", run, "--steps", "2", "--adapter", "elsewhere"}, `it had "adapter: \"\""`, `/elsewhere`)
	good, _, err := ckpt.Latest(run)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		spoil func(s *ckpt.State)
		want  string
	}{
		{func(s *ckpt.State) { s.Base.Hash = "0" }, "another model"},
		{func(s *ckpt.State) { s.ConfigHash = "0" }, "another config"},
		{func(s *ckpt.State) { s.Seed++ }, "another config"},
		{func(s *ckpt.State) { s.InputsHash = "0" }, "tasks.train"},
		{func(s *ckpt.State) { s.Engine.Products += "2" }, "bits would differ"},
		{func(s *ckpt.State) { s.Engine.Threads++ }, "bits would differ"},
		{func(s *ckpt.State) { s.Engine.Backend = "cpu of another kind" }, "bits would differ"},
	} {
		spoilt := *good
		c.spoil(&spoilt.State)
		if err := ckpt.Save(run, &spoilt, 2); err != nil {
			t.Fatal(err)
		}
		fails(t, []string{"train", "--resume", "--run", run, "--steps", "2"}, c.want)
	}
}

// TestRefusedResumeChangesNothing: neither the config, though other steps are asked for, nor what lies beside it.
func TestRefusedResumeChangesNothing(t *testing.T) {
	dir := t.TempDir()
	model, whole := gymLikeModel(t, filepath.Join(dir, "model")), filepath.Join(dir, "whole")
	must(t, smallTrain(whole, model, "--steps", "1", "--set", "tasks.eval=")...)
	for name, spoil := range map[string]func(run string) error{
		"run.db is gone":        func(run string) error { return os.Remove(filepath.Join(run, storeFile)) },
		"run.db is gone, empty": func(run string) error { return os.Truncate(filepath.Join(run, storeFile), 0) },
		"metrics.jsonl":         func(run string) error { return replaceByFolder(filepath.Join(run, metricsFile)) },
		"tb":                    func(run string) error { return os.WriteFile(filepath.Join(run, boardDir), nil, 0o666) },
	} {
		run := filepath.Join(t.TempDir(), "run")
		if err := os.CopyFS(run, os.DirFS(whole)); err != nil {
			t.Fatal(err)
		}
		if name == "tb" {
			if err := os.RemoveAll(filepath.Join(run, boardDir)); err != nil {
				t.Fatal(err)
			}
		}
		if err := spoil(run); err != nil {
			t.Fatal(err)
		}
		before := listing(t, run)
		what, _, _ := strings.Cut(name, ",")
		fails(t, []string{"train", "--resume", "--run", run, "--steps", "77", "--set", "optimizer.schedule=constant"}, what)
		if d := cmp.Diff(before, listing(t, run)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func replaceByFolder(path string) error {
	return errors.Join(os.Remove(path), os.Mkdir(path, 0o777))
}

// listing is the names in a run folder, and what its config holds.
func listing(t *testing.T, run string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(run)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	config, err := os.ReadFile(filepath.Join(run, configFile))
	if err != nil {
		t.Fatal(err)
	}
	return append(names, string(config))
}

// TestResumeRefusesAnotherStore: the run.db of another run is refused before anything of it is dropped.
func TestResumeRefusesAnotherStore(t *testing.T) {
	dir := t.TempDir()
	model := gymLikeModel(t, filepath.Join(dir, "model"))
	run, other := filepath.Join(dir, "run"), filepath.Join(dir, "other")
	must(t, smallTrain(run, model, "--steps", "1", "--set", "tasks.eval=")...)
	must(t, smallTrain(other, model, "--steps", "2", "--set", "tasks.eval=", "--set", "optimizer.lr=1e-3")...)
	data, err := os.ReadFile(filepath.Join(other, storeFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(run, storeFile), data, 0o666); err != nil {
		t.Fatal(err)
	}
	fails(t, []string{"train", "--resume", "--run", run, "--steps", "2"}, storeFile+" has another policy version 1 than the checkpoint of step 1: a file of another run")
	s, err := ckpt.OpenStoreReadOnly(t.Context(), filepath.Join(run, storeFile))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	counts, err := s.Counts(t.Context())
	if err != nil || len(counts) != 2 {
		t.Errorf("%v, %v: expected the trajectories of both steps of the other run", counts, err)
	}
}

// TestResumeToLess: fewer updates than are done are refused, and nothing changes.
func TestResumeToLess(t *testing.T) {
	dir := t.TempDir()
	model, run := gymLikeModel(t, filepath.Join(dir, "model")), filepath.Join(dir, "run")
	must(t, smallTrain(run, model, "--steps", "3", "--set", "tasks.eval=")...)
	kept := func() string {
		if err := os.Remove(filepath.Join(run, ckpt.LockFile)); err != nil { // it says since when
			t.Fatal(err)
		}
		return contents(t, run)
	}
	before := kept()
	for place, less := range map[string][]string{"--steps": {"--steps", "2"}, "--set run.steps": {"--set", "run.steps=2"}} {
		r := afctl(t, append([]string{"train", "--resume", "--run", run}, less...)...)
		checkRefusal(t, r, exitUsage, place+": found 2, expected at least 3, which are done")
	}
	if kept() != before {
		t.Error("the run has changed")
	}
	must(t, "train", "--resume", "--run", run, "--steps", "3")
}

// TestResumeWithoutEvaluation: a key that has no effect, as how to evaluate where nothing is evaluated, is no part of what a run is gone on with,
// though the config that it began from gives it.
func TestResumeWithoutEvaluation(t *testing.T) {
	run, config := filepath.Join(t.TempDir(), "run"), writeFile(t, "c.yaml", "tasks: {eval: gym:heldout}\nrollout: {eval_max_turns: 2}\n")
	must(t, smallTrain(run, gymModel, "--config", config, "--steps", "1", "--set", "tasks.eval=")...)
	must(t, "train", "--resume", "--run", run, "--steps", "2")
	must(t, "train", "--resume", "--run", run, "--steps", "3", "--set", "tasks.eval=gym:heldout", "--set", "tasks.eval_limit=3", "--set", "rollout.eval_max_turns=1")
	fails(t, []string{"train", "--resume", "--run", run, "--steps", "4", "--set", "rollout.eval_max_turns=2"}, "rollout.eval_max_turns: found 2, expected 1")
	must(t, "train", "--resume", "--run", run, "--steps", "4", "--set", "tasks.eval=")
}

// TestPathsInUTF8: a path that a checkpoint could not hold is refused before anything is made.
func TestPathsInUTF8(t *testing.T) {
	dir := t.TempDir()
	run := filepath.Join(dir, "run")
	checkRefusal(t, afctl(t, "train", "--run", run, "--model", "caf\xe9"), exitUsage, "model", `caf\xe9"`, "UTF-8")
	checkRefusal(t, afctl(t, "train", "--run", run, "--set", "tasks.train=caf\xe9.jsonl", "--set", "tasks.eval="), exitUsage, "tasks.train", `caf\xe9.jsonl"`, "UTF-8")
	checkOnly(t, dir)
}
