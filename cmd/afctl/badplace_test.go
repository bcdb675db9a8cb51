package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"afctl/ckpt"
)

// TestErrorsNameTheirPlace: what is wrong is named by the file, flag or key that it stands in.
func TestErrorsNameTheirPlace(t *testing.T) {
	dir := t.TempDir()
	model := gymLikeModel(t, filepath.Join(dir, "model"))
	file := writeFile(t, "t.jsonl", `{"question":"1+1?","answer":"2"}`+"\n")
	put := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	fails(t, []string{"init", "--out", filepath.Join(file, "x")}, "--out", "not a directory")
	fails(t, []string{"eval", "--suite", file, "--model", model, "--set", "rollout.planner.prompt=" + dir + "/absent.tmpl"}, "rollout.planner.prompt", "absent.tmpl")
	fails(t, []string{"eval", "--suite", file, "--model", model, "--set", "rollout.verifier.provider=base", "--set", "rollout.verifier.prompt=" + dir + "/absent.tmpl"},
		"rollout.verifier.prompt", "absent.tmpl")
	fails(t, []string{"score", "--model", model, "--set", "engine.threads=100000"}, "engine.threads", "found 100000")
	fails(t, []string{"export", "--model", model, "--adapter", model, "--to", "gguf", "--out", dir + "/out"}, "--to gguf", "only peft and merged")
	for text, want := range map[string]string{"{": "eval.json:1:", `{"suMmary":1}`: `did you mean "summary"`, `{}`: "found 0 rows"} {
		put("eval/eval.json", text)
		fails(t, []string{"eval", "--suite", file, "--model", model, "--compare", dir + "/eval"}, "--compare", "eval.json", want)
	}
	put("model/chat_template.jinja", "{% for m in messages %}")
	fails(t, []string{"eval", "--suite", file, "--model", model}, "chat_template.jinja")
}

// TestTensorsAreNamedWithTheirFile: of a sharded model too.
func TestTensorsAreNamedWithTheirFile(t *testing.T) {
	model := tinyModel(t, true, ckpt.F32)
	path := filepath.Join(model, "model.safetensors")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copy(data[len(data)-4:], "\x00\x00\xc0\x7f")
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
	in := writeFile(t, "in.jsonl", `{"tokens":[1,2],"start":1}`+"\n")
	fails(t, []string{"score", "--model", model, "--in", in}, path+": tensor", "is NaN")
}

// TestBatchOfMoreThanThereIs: a batch has no more sequences than the data.
func TestBatchOfMoreThanThereIs(t *testing.T) {
	model, _ := textModel(t, `{"eos_token":"<|im_end|>"}`)
	data := writeFile(t, "d.jsonl", `{"prompt":"which city?","completion":" the river"}`+"\n")
	must(t, "sft", "--model", model, "--data", data, "--out", filepath.Join(t.TempDir(), "out"), "--batch-size", "9223372036854775807", "--set", "lora.r=2")
}

// TestNoCheckpointIsGood: the reason stands there once, without advice for what has moved.
func TestNoCheckpointIsGood(t *testing.T) {
	run := filepath.Join(t.TempDir(), "run")
	must(t, smallTrain(run, gymModel, "--steps", "1")...)
	states, err := filepath.Glob(filepath.Join(run, "checkpoints", "*", "state.json"))
	if err != nil || len(states) == 0 {
		t.Fatal(states, err)
	}
	for _, s := range states {
		if err := os.Remove(s); err != nil {
			t.Fatal(err)
		}
	}
	r := afctl(t, "train", "--resume", "--run", run, "--steps", "2")
	last := r.stderr[strings.LastIndex(strings.TrimSpace(r.stderr), "\n")+1:]
	if r.status != exitFailed || strings.Count(last, "--resume") != 1 || !strings.Contains(last, "no checkpoint is good") || strings.Contains(last, "moved") {
		t.Errorf("status %d: %s", r.status, last)
	}
}

// TestModelsWithoutAChatTemplate: whoever brings one is told, but for the planner of the gym.
func TestModelsWithoutAChatTemplate(t *testing.T) {
	dir := t.TempDir()
	model := gymLikeModel(t, filepath.Join(dir, "model"))
	solve := func(more ...string) string {
		t.Helper()
		return must(t, append([]string{"eval", "--suite", "gym:heldout", "--n", "1", "--set", "flow.max_action_tokens=4", "--set", "rollout.eval_max_turns=1",
			"--set", "engine.kv_tokens=20000"}, more...)...).stderr
	}
	const told = "has no chat template"
	if got := solve("--model", model); !strings.Contains(got, model+" "+told) {
		t.Errorf("without one: %s", got)
	}
	if got := solve(); strings.Contains(got, told) {
		t.Errorf("the gym's: %s", got)
	}
	if err := os.WriteFile(filepath.Join(model, "chat_template.jinja"), []byte("{% for m in messages %}{{ m.content }}{% endfor %}"), 0o666); err != nil {
		t.Fatal(err)
	}
	if got := solve("--model", model); strings.Contains(got, told) {
		t.Errorf("with one: %s", got)
	}
}
