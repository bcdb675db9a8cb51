package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"afctl/bench/eval"
	"afctl/bench/gym"
	"afctl/ckpt"
	"afctl/flow"

	"github.com/go-json-experiment/json"
)

// demoGain is what a run of a dozen updates gains in accuracy at the very least; three seeds gained 0.33 and more in ten. Intervals of 500 tasks are 0.04 wide on either side.
const demoGain = 0.2

// TestDemoRun judges the run folder of `make demo`, which AFCTL_DEMO_RUN names: the planner learned, its rollouts were made by the weights that training had
// just published, and the sampler's log-probs are the trainer's.
func TestDemoRun(t *testing.T) {
	dir := os.Getenv("AFCTL_DEMO_RUN")
	if dir == "" {
		t.Skip("AFCTL_DEMO_RUN names no run folder: make demo RUN=folder makes one")
	}
	ctx := context.Background()
	store, err := ckpt.OpenStoreReadOnly(ctx, filepath.Join(dir, storeFile))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()

	policies, err := store.Policies(ctx)
	if err != nil {
		t.Fatal(err)
	}
	versions, hashes := map[int]ckpt.Policy{}, map[string]bool{}
	for _, p := range policies {
		versions[p.Version], hashes[p.AdapterHash] = p, true
	}
	if len(policies) < 3 || len(hashes) != len(policies) {
		t.Errorf("%d policies with %d hashes, expected one of its own for each update", len(policies), len(hashes))
	}
	var first, last []flow.Trajectory
	lastStep, trained := 0, 0
	for r, err := range store.Trajectories(ctx, ckpt.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		if p, ok := versions[r.PolicyVersion]; !r.Failed() && (!ok || r.AdapterHash != p.AdapterHash) {
			t.Fatalf("task %s: policy version %d with hash %.12q, which was not published", r.Task, r.PolicyVersion, r.AdapterHash)
		}
	}
	for range store.Trajectories(ctx, ckpt.Query{Phase: phaseTrain}) {
		trained++
	}
	for r, err := range store.Trajectories(ctx, ckpt.Query{Phase: phaseEval}) {
		if err != nil {
			t.Fatal(err)
		}
		step := versions[r.PolicyVersion].Step
		switch {
		case step == 0:
			first = append(first, *r)
		case step > lastStep:
			lastStep, last = step, nil
		}
		if step == lastStep && step > 0 {
			last = append(last, *r)
		}
	}
	var held []flow.Task
	for task, err := range store.Tasks(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if task.Meta[gym.MetaSplit] == gym.HeldOut.String() {
			held = append(held, task)
		}
	}
	before, after := eval.Summarize(held, first).All, eval.Summarize(held, last).All
	t.Logf("%d rollouts of %d policies; held-out accuracy %.3f before, %.3f after step %d, of %d tasks", trained, len(policies), before.Accuracy.Mean, after.Accuracy.Mean,
		lastStep, after.Tasks)
	if before.Accuracy.Mean < 0.2 || before.Accuracy.Mean > 0.5 {
		t.Errorf("accuracy before training is %.3f, expected 0.2 to 0.5", before.Accuracy.Mean)
	}
	if after.Accuracy.Mean < before.Accuracy.Mean+demoGain {
		t.Errorf("accuracy went from %.3f to %.3f: nothing was learned", before.Accuracy.Mean, after.Accuracy.Mean)
	}
	steps := 0
	for line, err := range store.Metrics(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		var m flow.Metrics
		if err := json.Unmarshal(line.JSON, &m); err != nil {
			t.Fatal(err)
		}
		if steps++; m.MismatchMax > 1e-5 {
			t.Errorf("step %d: lo - ls is up to %g, expected at most 1e-5 in float32", m.Step, float64(m.MismatchMax))
		}
	}
	if steps != lastStep {
		t.Errorf("metrics of %d steps, expected %d", steps, lastStep)
	}
	if page, err := os.Stat(filepath.Join(dir, "report.html")); err != nil || page.Size() < 10_000 {
		t.Errorf("report.html: %v", err)
	}
}
