package main

import (
	"context"
	"errors"
	"testing"

	"afctl/bench/gym"
	"afctl/bench/gym/frozen"
	"afctl/flow"
	"afctl/rollout"
)

// planless is a planner that answers with what is no plan.
type planless struct{}

func (planless) Plan(context.Context, rollout.Input) (rollout.Planning, error) {
	return rollout.Planning{ParseError: "no plan", Completion: rollout.Completion{Turn: &flow.Turn{Prompt: []int32{1}, Action: []int32{2}, LogProbs: []float32{-1}}}}, nil
}

// TestRetriesHaveStreamsOfTheirOwn: a solve that failed is made again, each time with another random stream, so often and no more; one that came out
// right is not.
func TestRetriesHaveStreamsOfTheirOwn(t *testing.T) {
	w, err := gym.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	scored := map[string]int{}
	fails := map[string]int{"never": 0, "once": 1, "always": 9}
	s := &rollout.Solver{
		Slots: rollout.Slots{Planner: planless{}, Executor: frozen.Executor{}, Generator: frozen.Generator{}, Verifier: frozen.Verifier{}}, Tools: w.Tools(),
		Score: func(_ context.Context, task flow.Task, _ string) (float64, error) {
			if scored[task.ID]++; scored[task.ID] <= fails[task.ID] {
				return 0, errors.New("no score")
			}
			return 1, nil
		},
		Options: rollout.Options{MaxTurns: 1, Concurrency: 1, Record: true},
	}
	var jobs []rollout.Job
	for _, id := range []string{"never", "once", "always"} {
		jobs = append(jobs, rollout.Job{Task: flow.Task{ID: id, Question: "what?", Answers: []string{"this"}}, Group: id, Seed: 7})
	}
	type outcome struct {
		retries int
		seed    uint64
		failed  bool
	}
	got := map[string][]outcome{}
	if err := solveJobs(t.Context(), s, jobs, 2, func(r flow.Trajectory) error {
		got[r.Task] = append(got[r.Task], outcome{r.Retries, r.Sampling.Seed, r.Failed()})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	again := func(n string) uint64 { return flow.DeriveSeed(7, "retry", n) }
	for id, want := range map[string][]outcome{
		"never":  {{0, 7, false}},
		"once":   {{0, 7, true}, {1, again("1"), false}},
		"always": {{0, 7, true}, {1, again("1"), true}, {2, again("2"), true}},
	} {
		if len(got[id]) != len(want) {
			t.Errorf("%s: %v, expected %v", id, got[id], want)
			continue
		}
		for i := range want {
			if got[id][i] != want[i] {
				t.Errorf("%s, attempt %d: %v, expected %v", id, i, got[id][i], want[i])
			}
		}
	}
}
