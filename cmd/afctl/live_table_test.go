package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"afctl/bench/eval"

	"github.com/google/go-cmp/cmp"
)

func TestWriteGain(t *testing.T) {
	before, after := liveSummary(0.4), liveSummary(0.8)
	part := func(name string, accuracy, turns float64) eval.Part {
		return eval.Part{Name: name, Stats: eval.Stats{Tasks: 50, Accuracy: eval.Interval{Mean: accuracy}, Turns: turns}}
	}
	before.Families = []eval.Part{part("1-hop", 0.5, 1), part("gone", 0.5, 1), part("two-hop", 0.3, 2.5)}
	after.Families = []eval.Part{part("1-hop", 1, 1), part("two-hop", 0.6, 2)}
	after.All.ErrorRate, after.All.StuckRate, after.All.Turns = 0.05, 0, 1.25
	want := `held-out accuracy  40.0 % (30.0 - 50.0) -> 80.0 % (70.0 - 90.0)  after 60 steps, on 100 tasks, with 95 % intervals

   family  tasks     accuracy %  tool errors %     stuck %         turns
    1-hop     50  50.0 -> 100.0     0.0 -> 0.0  0.0 -> 0.0  1.00 -> 1.00
  two-hop     50   30.0 -> 60.0     0.0 -> 0.0  0.0 -> 0.0  2.50 -> 2.00
      all    100   40.0 -> 80.0    25.0 -> 5.0  4.0 -> 0.0  1.50 -> 1.25
`
	var out bytes.Buffer
	if err := writeGain(&out, &before, &after, 60); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, out.String()); d != "" {
		t.Errorf("- expected, + found:\n%s\n%s", d, out.String())
	}
}

// A run that was stopped and goes on tells the same gain as one that was not: it finds the evaluation before training in its store.
func TestTrainGain(t *testing.T) {
	dir := t.TempDir()
	model := gymLikeModel(t, filepath.Join(dir, "model"))
	begin := func(run, steps string, more ...string) result {
		return must(t, append([]string{"train", "--run", filepath.Join(dir, run), "--model", model, "--steps", steps, "--set", "run.tasks_per_step=2",
			"--set", "flow.group_size=2", "--set", "flow.max_action_tokens=8", "--set", "flow.temperature=1", "--set", "rollout.eval_max_turns=2",
			"--set", "tasks.eval_limit=7", "--set", "lora.r=4", "--set", "engine.kv_tokens=20000"}, more...)...)
	}
	whole := begin("whole", "2")
	begin("parts", "1")
	parts := must(t, "train", "--resume", "--run", filepath.Join(dir, "parts"), "--steps", "2")
	if d := cmp.Diff(whole.stdout, parts.stdout); d != "" || !strings.Contains(whole.stdout, "after 2 steps, on 7 tasks") {
		t.Errorf("- undisturbed, + resumed:\n%s\n%s", d, whole.stdout)
	}
	if !strings.Contains(parts.stderr, "step 2/2") || !strings.Contains(parts.stderr, "before") {
		t.Errorf("a resumed run shows\n%s", parts.stderr)
	}
	// Of other held-out tasks than before training there is nothing to tell.
	if more := must(t, "train", "--resume", "--run", filepath.Join(dir, "parts"), "--steps", "3", "--set", "tasks.eval_limit=14"); more.stdout != "" {
		t.Errorf("with more held-out tasks:\n%s", more.stdout)
	}
}
