package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"afctl/bench/gym"
	"afctl/bench/suite"
)

// The teacher demonstrates the very tasks that a run of these steps trains on, in as many turns as it has, one user and one assistant
// message a line; the same call gives the same bytes.
func TestDemosAreOfTheTasksOfTheRun(t *testing.T) {
	const n, seed = 24, 3
	path := filepath.Join(t.TempDir(), "demos.jsonl")
	d := demos{Path: path, Tasks: n, Seed: seed}
	if err := d.write(t.Context()); err != nil {
		t.Fatal(err)
	}
	trained, err := suite.Reader{N: n, Seed: seed}.Named("gym:train", "") // as afctl train takes its tasks
	if err != nil {
		t.Fatal(err)
	}
	turns := flat(t, configName(sftArm))["rollout.max_turns"]
	next := 0
	err = eachJSON(path, func(e *gym.Line) error {
		if len(e.Messages) != 2 || e.Messages[0].Role != "user" || e.Messages[1].Role != "assistant" || e.Messages[1].Content == "" {
			t.Fatalf("found %+v, expected a question and an answer", e)
		}
		if prompt := e.Messages[0].Content; strings.HasSuffix(prompt, "Turn 1 of "+turns) {
			if next == n || !strings.Contains(prompt, "Question: "+trained.Tasks[next].Question+"\n") {
				t.Fatalf("demonstration %d is %q, expected task %d of the run", next, prompt, next)
			}
			next++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if next != n {
		t.Errorf("found demonstrations of %d tasks in solves of at most %s turns, expected %d", next, turns, n)
	}
	first, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.write(t.Context()); err != nil {
		t.Fatal(err)
	}
	if second, err := os.ReadFile(path); err != nil || string(second) != string(first) {
		t.Errorf("another call gave other bytes: %v", err)
	}
}
