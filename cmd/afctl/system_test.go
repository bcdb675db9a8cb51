package main

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"afctl/flow"
	"afctl/rollout"
)

// saying is a model that always says the same.
type saying string

func (s saying) Complete(_ context.Context, r rollout.Request) (rollout.Completion, error) {
	return rollout.Completion{Text: string(s)}, nil
}

// TestJudge: a task whose scorer is judge, in its row or by tasks.scorer, is marked by a model, the base without adapter, and no other task is.
func TestJudge(t *testing.T) {
	file := writeFile(t, "tasks.jsonl", `{"question":"1+1?","answer":"2","scorer":"judge"}`+"\n"+`{"question":"2+2?","answer":"4"}`+"\n")
	c := DefaultConfig()
	c.Tasks.Train, c.Tasks.Eval, c.Engine.KVTokens = "", file, 20000
	l, err := load(t.Context(), &c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	found, err := loadSuite(file, 0, &c.Tasks)
	if err != nil {
		t.Fatal(err)
	}
	if l.judge.Model != rollout.Model(l.base) {
		t.Error("the judge is not the base model")
	}
	for _, says := range []struct {
		text string
		want [2]float64 // of an answer that only a rule would take for wrong
	}{{`{"why": "a pair", "correct": true}`, [2]float64{1, 0}}, {`{"why": "no", "correct": false}`, [2]float64{0, 0}}} {
		l.judge = &rollout.ModelJudge{ModelSlot: rollout.ModelSlot{Model: saying(says.text)}}
		for i, task := range found.Tasks {
			if got, err := l.system.score(t.Context(), task, "a pair"); err != nil || got != says.want[i] {
				t.Errorf("%q marked by %s: %v, %v; expected %v", task.Question, says.text, got, err, says.want[i])
			}
		}
	}
	// What a model cannot be brought to mark has failed, and is not wrong.
	out := filepath.Join(t.TempDir(), "rollouts.jsonl")
	must(t, "rollout", "--tasks", file, "--group", "1", "--out", out, "--set", "tasks.scorer=judge", "--set", "flow.max_action_tokens=4", "--set", "rollout.max_turns=1",
		"--set", "rollout.judge.max_tokens=4", "--set", "rollout.generator.max_tokens=4", "--set", "rollout.analyst.max_tokens=4", "--set", "rollout.executor.max_tokens=4",
		"--set", "rollout.verifier.provider=off", "--set", "rollout.solve_retries=0", "--set", "engine.kv_tokens=20000")
	for _, r := range readLines[flow.Trajectory](t, out) {
		if r.Failure != rollout.KindScore || r.Reward != nil || !strings.Contains(r.FailureDetail, "judge: ") {
			t.Errorf("task %s: %v %s %s; expected that the judge could not be read", r.Task, r.Reward, r.Failure, r.FailureDetail)
		}
	}
	fails(t, []string{"rollout", "--tasks", "gym:heldout", "--set", "rollout.judge.max_tokens=9"}, "rollout.judge.max_tokens", "no effect", "tasks of the gym")
	fails(t, []string{"rollout", "--tasks", file, "--set", "rollout.judge.provider=scripted"}, "rollout.judge.provider", "auto or base")
	fails(t, []string{"rollout", "--tasks", file, "--set", "rollout.analyst.memory_tokens=9"}, "rollout.analyst.memory_tokens")
	fails(t, []string{"rollout", "--tasks", file, "--set", "rollout.executor.memory_tokens=9"}, "rollout.executor.memory_tokens", "no effect", "rollout.executor.prompt")
}
