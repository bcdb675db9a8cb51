package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"afctl/ckpt"
	"afctl/flow"
	"afctl/rollout"
)

// openTrainer opens a small run in dir as `afctl train` does.
func openTrainer(t *testing.T, dir string) *trainer {
	t.Helper()
	c := DefaultConfig()
	c.Model, c.Run.Dir, c.Run.Steps, c.Run.TasksPerStep = gymLikeModel(t, filepath.Join(t.TempDir(), "model")), dir, 2, 2
	c.Flow.GroupSize, c.Flow.MaxActionTokens, c.Flow.Temperature, c.Tasks.Eval, c.Engine.KVTokens = 2, 8, 1, "", 20000
	tr, err := newTrainer(t.Context(), &c, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	return tr
}

// TestStaleRollouts (trap 26): a rollout of another policy than the one that is trained is never kept, for its version as for its adapter.
func TestStaleRollouts(t *testing.T) {
	ctx := t.Context()
	tr := openTrainer(t, t.TempDir())
	version, hash := tr.state.PolicyVersion, tr.hash
	for _, other := range []ckpt.Policy{{Version: version + 1, AdapterHash: hash}, {Version: version, AdapterHash: "another"}} {
		if err := tr.y.policy.Publish(ctx, other.Version, other.AdapterHash, tr.s.engine.Adapter); err != nil {
			t.Fatal(err)
		}
		if _, err := tr.rollouts(ctx); err == nil || !strings.Contains(err.Error(), "does not follow the training") {
			t.Errorf("%+v: %v", other, err)
		}
	}
	have, err := tr.stored(ctx, phaseTrain, 1)
	for _, r := range have {
		if !r.Failed() {
			t.Errorf("kept: group %s, sample %d of version %d", r.Group, r.Sample, r.PolicyVersion)
		}
	}
	if err != nil {
		t.Error(err)
	}
}

// TestRolloutsAreKept (trap 27): what an update has of its rollouts in the store is not solved again.
func TestRolloutsAreKept(t *testing.T) {
	tr := openTrainer(t, t.TempDir())
	first, err := tr.rollouts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tr.y.policy.(*engineModel).sampler.Close() // nobody is left to solve
	again, err := tr.rollouts(t.Context())
	if err != nil || len(first) != 4 || len(again) != len(first) {
		t.Fatalf("%d and %d rollouts, error %v; 4 expected", len(first), len(again), err)
	}
	for i, r := range again {
		if r.Failed() || len(r.Turns) == 0 || !slices.Equal(r.Turns[0].Action, first[i].Turns[0].Action) {
			t.Errorf("rollout %d is another the second time: %s %s", i, r.Failure, r.FailureDetail)
		}
	}
}

// TestRolloutsOfAnUpdateInFlight: between its steps an update keeps the rollouts that it began with, failed ones too: their policy is gone, and its
// constants in the checkpoint are of these.
func TestRolloutsOfAnUpdateInFlight(t *testing.T) {
	ctx := t.Context()
	tr := openTrainer(t, t.TempDir())
	begun, err := tr.rollouts(ctx)
	if err != nil {
		t.Fatal(err)
	}
	failed := begun[2]
	failed.Reward, failed.Failure, failed.FailureDetail, failed.Turns, failed.Steps = nil, rollout.KindTimeout, "too slow", nil, nil
	if err := tr.store.PutTrajectory(ctx, 1, phaseTrain, &failed); err != nil {
		t.Fatal(err)
	}
	tr.state.Step, tr.state.Epoch, tr.c.Rollout.SolveRetries = 1, 1, 3
	again, err := tr.rollouts(ctx)
	if err != nil || len(again) != len(begun) || again[2].FailureDetail != "too slow" || again[2].Retries != 0 {
		t.Errorf("the failed rollout came back as %+v, error %v", again[2], err)
	}
	other := openTrainer(t, t.TempDir())
	if err := other.store.PutTasks(ctx, []flow.Task{other.tasks.jobs(0, 2, 0)[0].Task}); err != nil {
		t.Fatal(err)
	}
	if err := other.store.PutTrajectory(ctx, 1, phaseTrain, &begun[0]); err != nil {
		t.Fatal(err)
	}
	other.state.Step, other.state.Epoch = 1, 1
	if _, err := other.rollouts(ctx); err == nil || !strings.Contains(err.Error(), "run.db lacks rollout 1 of group") {
		t.Errorf("rollouts that are gone: %v", err)
	}
}

// TestMetricsBeforeCheckpoint (trap 27): a step's metrics are in log and store before a checkpoint speaks of the step, or a resume would miss them.
func TestMetricsBeforeCheckpoint(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	tr := openTrainer(t, dir)
	if err := os.WriteFile(filepath.Join(dir, "checkpoints"), nil, 0o666); err != nil { // in the way of the folder
		t.Fatal(err)
	}
	if err := tr.update(ctx); err == nil || !strings.Contains(err.Error(), "checkpoint") {
		t.Fatalf("%v: expected that the checkpoint cannot be saved", err)
	}
	log, err := os.ReadFile(filepath.Join(dir, metricsFile))
	if err != nil || strings.Count(string(log), "\n") != 1 {
		t.Errorf("%v: the log is %q", err, log)
	}
	if lines, err := tr.metricsLines(ctx); err != nil || len(lines) != 1 {
		t.Errorf("%v: the store has %d lines", err, len(lines))
	}
}

// TestSecondsOfAStep: each checkpoint and each publication is in one line of metrics, the one after it.
func TestSecondsOfAStep(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	tr := openTrainer(t, dir)
	tr.c.Checkpoint.Every, tr.c.Run.Steps = 3, 5
	if tr.publishing <= 0 {
		t.Error("the first publication took no time")
	}
	for range 4 {
		tr.publishing += 100
		if err := tr.update(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for i, m := range readLines[flow.Metrics](t, filepath.Join(dir, metricsFile)) {
		if saved := m.SecondsCheckpoint > 0; saved != (i == 3) || m.SecondsPublish < 100 || m.SecondsPublish >= 200 {
			t.Errorf("step %d: %v s of checkpoints, %v s of publishing", i+1, m.SecondsCheckpoint, m.SecondsPublish)
		}
	}
	if tr.saving != 0 || tr.publishing <= 0 {
		t.Errorf("after 4 steps, %v s of checkpoints and %v s of publishing are left; expected a publication", tr.saving, tr.publishing)
	}
}

// TestLongPrompts (trap 30): a prompt that leaves no room is an error, which fails its rollout; it is never cut.
func TestLongPrompts(t *testing.T) {
	tr := openTrainer(t, t.TempDir())
	m := *tr.y.policy.(*engineModel)
	request := rollout.Request{Slot: rollout.SlotPlanner, Messages: []rollout.Message{{Role: "user", Content: strings.Repeat("which city? ", 9)}}, MaxTokens: 5, Temperature: 1}
	prompt, err := m.codec.prompt(request.Messages)
	if err != nil {
		t.Fatal(err)
	}
	m.positions = 3
	for slot, hinted := range map[string]bool{rollout.SlotPlanner: true, rollout.SlotVerifier: true, rollout.SlotAnalyst: false, rollout.SlotJudge: false, rollout.SlotExecutor: false} {
		r := request
		r.Slot = slot
		if _, err := m.Complete(t.Context(), r); err == nil || !strings.Contains(err.Error(), "engine.kv_tokens") || strings.Contains(err.Error(), slot+".memory_tokens bounds") != hinted {
			t.Errorf("%s: %v", slot, err)
		}
	}
	for more, want := range map[int]int{-9: 0, 0: 0, 1: 1, 9: 5} { // tokens at most
		m.positions = len(prompt) + more
		c, err := m.Complete(t.Context(), request)
		if (err == nil) != (want > 0) {
			t.Errorf("room for %d tokens beside the prompt: error %v", more, err)
		}
		if err == nil && (!slices.Equal(c.Turn.Prompt, prompt) || len(c.Turn.Action) > want) {
			t.Errorf("room for %d tokens beside the prompt of %d: turn %v", more, len(prompt), c.Turn)
		}
	}
}

// TestBoardHasAccuracy: the accuracy of an evaluation stands among TensorBoard's scalars.
func TestBoardHasAccuracy(t *testing.T) {
	dir := t.TempDir()
	tr := openTrainer(t, dir)
	found, err := loadSuite("gym:heldout", 2, &TasksConfig{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	tr.evalTasks = found.Tasks
	if err := tr.store.PutTasks(t.Context(), tr.evalTasks); err != nil {
		t.Fatal(err)
	}
	if err := tr.evaluate(t.Context()); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, boardDir, "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v: expected one file of events", files, err)
	}
	if events, err := os.ReadFile(files[0]); err != nil || !strings.Contains(string(events), "heldout/accuracy") {
		t.Errorf("%v: no accuracy in %q", err, events)
	}
}

// TestStepTooLarge: weights that the steps made infinite are an error that names what to lower, and are not written.
func TestStepTooLarge(t *testing.T) {
	dir := t.TempDir()
	model, run := gymLikeModel(t, filepath.Join(dir, "model")), filepath.Join(dir, "run")
	const rate, lower = "optimizer.lr=1e300", "lower optimizer.lr (found 1e+300)"
	for _, args := range [][]string{
		{"update", "--trajectories", writeFile(t, "t.jsonl", strings.Join(tinyTrajectories(1, 2, 4), ""))},
		{"sft", "--data", writeFile(t, "d.jsonl", `{"prompt":[1],"completion":[2]}`)},
	} {
		for _, trainable := range []string{"lora", "full"} {
			out := filepath.Join(dir, "out")
			fails(t, append(args, "--model", model, "--out", out, "--set", rate, "--set", "trainable="+trainable), "not finite", lower)
			checkOnly(t, dir, "model")
		}
	}
	fails(t, smallTrain(run, model, "--steps", "1", "--set", "tasks.eval=", "--set", rate, "--set", "flow.entropy=0.1"), "not finite", lower)
	fails(t, smallTrain(run+"2", model, "--steps", "1", "--set", "tasks.eval=", "--set", "optimizer.weight_decay=1e300"), "not finite", "lower optimizer.weight_decay (found 1e+300)")
}

// TestTrainNotes: what a config makes of a run that nobody is likely to mean is told at the start, and at the end where the run is.
func TestTrainNotes(t *testing.T) {
	dir := t.TempDir()
	model, run := gymLikeModel(t, filepath.Join(dir, "model")), filepath.Join(dir, "run")
	r := must(t, smallTrain(run, model, "--steps", "1", "--set", "tasks.limit=1", "--set", "tasks.eval_limit=1", "--set", "optimizer.warmup_steps=3")...)
	for _, want := range []string{"tasks.train has 1 task and run.tasks_per_step is 2: every update solves some of them in several groups",
		"optimizer.warmup_steps is 3 of the run's 1 step: the learning rate does not reach 1e-05", "the run is in " + run + "; afctl report --run " + run + " shows it\n"} {
		if strings.Count(r.stderr, want) != 1 {
			t.Errorf("found\n%s\nexpected once %q", r.stderr, want)
		}
	}
	r = must(t, smallTrain(run+"2", model, "--steps", "1", "--set", "tasks.eval_limit=1")...)
	if strings.Contains(r.stderr, "several groups") || strings.Contains(r.stderr, "does not reach") {
		t.Errorf("of a run without a fault:\n%s", r.stderr)
	}
}

// TestTrainSaysWhatFailed: an accuracy of 0 for want of room is told from one of a planner that knows nothing, and so is a group that lacks rollouts.
func TestTrainSaysWhatFailed(t *testing.T) {
	train := func(tokens string) []string {
		return []string{"train", "--run", filepath.Join(t.TempDir(), "run"), "--steps", "1", "--set", "tasks.eval_limit=3", "--set", "run.tasks_per_step=4",
			"--set", "flow.group_size=2", "--set", "rollout.retries=0", "--set", "rollout.solve_retries=0", "--set", "engine.kv_tokens=" + tokens}
	}
	fails(t, train("20"), "stuck 0 %  failed 3", "eval at step 0: of 3 solves, 3 failed (model) and count as wrong, the first: ", "engine.kv_tokens")
	args := train("110") // what the first turns take, and the second do not
	r := must(t, args...)
	failed := 0
	store, err := ckpt.OpenStoreReadOnly(t.Context(), filepath.Join(args[2], storeFile))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	for x, err := range store.Trajectories(t.Context(), ckpt.Query{Phase: phaseTrain}) {
		if err != nil {
			t.Fatal(err)
		}
		if x.Failed() {
			failed++
		}
	}
	if want := fmt.Sprintf("update 1: of 8 rollouts some failed: model %d (planner: ", failed); failed == 0 || !strings.Contains(r.stderr, want) {
		t.Errorf("found\n%s\nexpected it to say %q", r.stderr, want)
	}
}

// TestEvaluations: before training, every run.eval_every updates (0 for never) and after it, each once.
func TestEvaluations(t *testing.T) {
	for every, want := range map[string][]int{"0": {0, 3}, "1": {0, 1, 2, 3}, "2": {0, 2, 3}, "3": {0, 3}} {
		run := filepath.Join(t.TempDir(), "run")
		must(t, "train", "--run", run, "--steps", "3", "--set", "run.eval_every="+every, "--set", "tasks.eval_limit=1", "--set", "run.tasks_per_step=1", "--set", "flow.group_size=2")
		store, err := ckpt.OpenStoreReadOnly(t.Context(), filepath.Join(run, storeFile))
		if err != nil {
			t.Fatal(err)
		}
		counts, err := store.Counts(t.Context())
		if err := errors.Join(err, store.Close()); err != nil {
			t.Fatal(err)
		}
		var found []int
		for _, c := range counts {
			if c.Phase == phaseEval {
				if found = append(found, c.Step); c.Rollouts != 1 {
					t.Errorf("every %s: %d solves of one task at step %d", every, c.Rollouts, c.Step)
				}
			}
		}
		if slices.Sort(found); !slices.Equal(found, want) {
			t.Errorf("every %s: evaluated at the steps %v, expected %v", every, found, want)
		}
	}
}
