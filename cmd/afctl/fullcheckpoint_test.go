package main

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"afctl/ckpt"
	"afctl/engine"
	"afctl/flow"
)

// TestExportFull: the checkpoint of a run with trainable: full becomes a model folder that computes what the run's own weights do.
func TestExportFull(t *testing.T) {
	dir := t.TempDir()
	model, run := gymLikeModel(t, filepath.Join(dir, "model")), filepath.Join(dir, "run")
	args := []string{"train", "--run", run, "--model", model, "--steps", "1"}
	for _, set := range []string{"trainable=full", "run.tasks_per_step=2", "flow.group_size=2", "flow.max_action_tokens=8", "flow.temperature=1", "flow.entropy=0.1",
		"rollout.max_turns=1", "engine.kv_tokens=20000", "tasks.eval=", "optimizer.lr=1e-3"} {
		args = append(args, "--set", set)
	}
	must(t, args...)
	checkpoint, out := filepath.Join(run, "checkpoints", "step-000001"), filepath.Join(dir, "out")
	exported := func(out string, more ...string) []string {
		return append([]string{"export", "--model", model, "--adapter", checkpoint, "--to", "merged", "--out", out}, more...)
	}
	must(t, exported(out, "--config", filepath.Join(run, configFile), "--dtype", "f32")...)

	want, plain := trainedLogProbs(t, model, checkpoint), scored(t, "--model", model)
	effect := 0.0
	for i, got := range scored(t, "--model", out) {
		effect = max(effect, math.Abs(want[i]-plain[i]))
		if float32(got) != float32(want[i]) {
			t.Errorf("log-prob %d: %v, the run's weights give %v", i, got, want[i])
		}
	}
	if effect < 1e-3 {
		t.Errorf("training moves log-probs by %v only: it proves nothing", effect)
	}
	if _, err := os.Stat(filepath.Join(out, "tokenizer.json")); err != nil {
		t.Error(err)
	}
	must(t, exported(filepath.Join(dir, "half"))...)
	if x, err := openTestModel(t, filepath.Join(dir, "half")).Weights.Tensor("model.norm.weight"); err != nil || x.DType != ckpt.BF16 {
		t.Errorf("without --dtype: %s, %v, expected the type of the model", x.DType, err)
	}

	// Solved with, the checkpoint plans and the other modules ask the model as it was: the planner's first turn is that of the exported model.
	first := func(args ...string) flow.Trajectory {
		solves := filepath.Join(t.TempDir(), "s.jsonl")
		must(t, append([]string{"rollout", "--tasks", "gym:train", "--n", "1", "--group", "1", "--set", "flow.max_action_tokens=8", "--set", "engine.kv_tokens=20000", "--out", solves}, args...)...)
		return readLines[flow.Trajectory](t, solves)[0]
	}
	a, b, base := first("--model", model, "--adapter", checkpoint), first("--model", out), first("--model", model)
	if c, err := ckpt.ReadCheckpoint(checkpoint); err != nil || a.PolicyVersion != 1 || a.AdapterHash != c.State.AdapterHash {
		t.Errorf("version %d of %.12s, %v; expected those of %s", a.PolicyVersion, a.AdapterHash, err, checkpoint)
	}
	if x := a.Turns[0].LogProbs; !slices.Equal(x, b.Turns[0].LogProbs) || slices.Equal(x, base.Turns[0].LogProbs) {
		t.Errorf("log-probs %v with the checkpoint, %v of the model made of it, %v without", x, b.Turns[0].LogProbs, base.Turns[0].LogProbs)
	}

	refused := filepath.Join(dir, "refused")
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"export", "--model", model, "--adapter", checkpoint, "--to", "peft", "--out", refused}, []string{"--adapter", "trainable: full", "--to merged"}},
		{[]string{"score", "--model", model, "--adapter", checkpoint, "--out", refused}, []string{"--adapter", "trainable: full", "afctl export"}},
		{[]string{"score", "--model", checkpoint, "--out", refused}, []string{"--model", "trainable: full", "afctl export"}},
		{[]string{"export", "--model", tinyModel(t, true, ckpt.F32), "--adapter", checkpoint, "--to", "merged", "--out", refused}, []string{"--model", "trained from", model}},
	} {
		checkRefusal(t, afctl(t, c.args...), exitFailed, c.want...)
	}
	for file, want := range map[string]string{"model.safetensors": "SHA-256", "optimizer.safetensors": "SHA-256", "state.json": "SHA-256", "SHA256SUMS": "SHA256SUMS"} {
		path := filepath.Join(checkpoint, file)
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		changed := append([]byte{}, before...)
		changed[0] ^= 1
		if err := os.WriteFile(path, changed, 0o666); err != nil {
			t.Fatal(err)
		}
		checkRefusal(t, afctl(t, exported(refused)...), exitFailed, file, want)
		if err := os.WriteFile(path, before, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(refused); err == nil {
		t.Error("something was written")
	}
}

// trainedLogProbs are what scored gives for the weights of a run's newest checkpoint.
func trainedLogProbs(t *testing.T, model, checkpoint string) []float64 {
	t.Helper()
	found, _, err := ckpt.Latest(filepath.Dir(filepath.Dir(checkpoint)))
	if err != nil {
		t.Fatal(err)
	}
	c := DefaultConfig()
	c.Model, c.Trainable = model, engine.Full
	m, err := openModel(&c)
	if err != nil {
		t.Fatal(err)
	}
	s, err := openSession(&c, m)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.engine.SetState(engine.State{Weights: found.Weights, Moments: found.Moments, Step: found.State.AdamStep}); err != nil {
		t.Fatal(err)
	}
	cfg := s.engine.Config()
	line := scoreLine{}
	if err := decodeLine([]byte(`{"tokens":[5,6,7,8,9,10,11,12],"start":2}`), &line); err != nil {
		t.Fatal(err)
	}
	q, err := line.sequence(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	lps, err := s.engine.Score(t.Context(), []flow.Sequence{q}, 1, true)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]float64, len(lps))
	for i, lp := range lps {
		out[i] = float64(lp)
	}
	return out
}
