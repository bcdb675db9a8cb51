package main

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"afctl/ckpt"

	"github.com/go-json-experiment/json"
)

func TestUsage(t *testing.T) {
	for _, c := range []struct {
		args   string
		status int
		want   []string
	}{
		{"", exitUsage, []string{"afctl:", "command is missing", "update"}},
		{"updat", exitUsage, []string{"afctl:", `unknown command "updat"`, `"update"`}},
		{"score --modle x", exitUsage, []string{"afctl score:", "--modle", "--model"}},
		{"help trian", exitUsage, []string{"afctl help:", `unknown command "trian"`, `"train"`}},
		{"score -x", exitUsage, []string{"afctl score:", "-x"}},
		{"score --temperature warm --model x", exitUsage, []string{`afctl score: --temperature: found "warm", expected a number`}},
		{"train --steps 1e3", exitUsage, []string{`afctl train: --steps: found "1e3", expected a whole number`}},
		{"train --resume=yes", exitUsage, []string{`afctl train: --resume: found "yes", expected true or false`}},
		{"eval --seed -1", exitUsage, []string{`afctl eval: --seed: found "-1", expected a whole number from 0`}},
		{"train --resume --run nowhere", exitFailed, []string{"afctl train: --run: open nowhere/config.yaml: no such file"}},
		{"score file.jsonl", exitUsage, []string{"afctl score:", "file.jsonl"}},
		{"score", exitUsage, []string{"afctl score:", "--model"}},
		{"score --model", exitUsage, []string{"afctl score:", "--model"}},
		{"score --model x --temperature 0", exitUsage, []string{"afctl score:", "--temperature", "found 0"}},
		{"score --model x --temperature NaN", exitUsage, []string{"afctl score:", "--temperature", "NaN"}},
		{"score --model x --temperature 1e-39", exitUsage, []string{"afctl score:", "--temperature", "1e-39"}},
		{"score --model x --temperature +Inf", exitUsage, []string{"afctl score:", "--temperature", "Inf"}},
		{"score --model x --set flow.kl=1", exitUsage, []string{"afctl score:", "--set flow.kl", "no effect on this command", "engine"}},
		{"score --model x --set engine.thread=1", exitUsage, []string{"afctl score:", "--set engine.thread", "engine.threads"}},
		{"update --model x", exitUsage, []string{"afctl update:", "--trajectories"}},
		{"update --model x --trajectories t", exitUsage, []string{"afctl update:", "--out"}},
		{"update --model x --trajectories t --out o --steps 0", exitUsage, []string{"afctl update:", "--steps", "found 0"}},
		{"update --model x --trajectories t --out o --steps 2 --set flow.epochs=3", exitUsage, []string{"--steps 2", "--set flow.epochs=3"}},
		{"update --model x --trajectories t --out o --adapter a --set trainable=full", exitUsage, []string{"--adapter", "trainable: full"}},
		{"update --model x --trajectories t --out o --adapter a --set lora.r=2", exitUsage, []string{"--set lora.r", "adapter"}},
		{"update --model x --trajectories t --out o --config nowhere.yaml", exitFailed, []string{"--config", "nowhere.yaml"}},
		{"sft --model x --data - --heldout - --out o", exitUsage, []string{"afctl sft:", "--data and --heldout"}},
		{"update --model x --trajectories t --out o --set optimizer.eps=1e-46", exitUsage, []string{"--set optimizer.eps", "1e-46", "float32"}},
		{"update --model x --trajectories t --out o --set optimizer.eps=1e300", exitUsage, []string{"--set optimizer.eps", "1e+300", "float32"}},
		{"update --model x --trajectories t --out o --set flow.entropy=1e39", exitUsage, []string{"--set flow.entropy", "1e+39", "float32"}},
		{"update --model x --trajectories t --out o --set lora.alpha=1e39", exitUsage, []string{"--set lora.alpha", "1e+39", "float32"}},
		{"update --model x --trajectories t --out o --set flow.max_action_tokens=3", exitUsage, []string{"--set flow.max_action_tokens", "no effect", "flow.aggregation: flow"}},
		{"update --model x --trajectories t --out o --steps 010 --set flow.epochs=8", exitUsage, []string{"--steps 10", "contradict"}}, // ten, as in a config
		{"update --model x --trajectories t --out o --set lora.targets=[q_proj", exitUsage, []string{"--set lora.targets: found \"[q_proj\": not YAML"}},
		{"update --model x --trajectories t --out o --steps 0x10", exitUsage, []string{"--steps", "0x10", "a whole number"}},
		{"update --model x --trajectories t --out o --steps 1_0", exitUsage, []string{"--steps", "1_0", "a whole number"}},
		{"update --model x --trajectories t --out o --steps 99999999999999999999", exitUsage, []string{"--steps", "a whole number of 64 bits"}},
		{"score --model x --in i --temperature 1_0", exitUsage, []string{"--temperature", "1_0", "a number"}},
		{"train --set flow.epochs=99999999999", exitUsage, []string{"--set flow.epochs", "from 1 to 2147483647"}},
		{"eval --set rollout.verifier.provider=base --set rollout.verifier.temperature=1e-300", exitUsage, []string{"--set rollout.verifier.temperature", "float32"}},
		{"update --model x --trajectories t --out o --set optimizer.max_grad_norm=1e-300", exitUsage, []string{"--set optimizer.max_grad_norm", "1e-300", "float32"}},
		{"sft --model x --data d --out o --epochs 0", exitUsage, []string{"afctl sft:", "--epochs"}},
		{"sft --model x --data d --out o --batch-size -1", exitUsage, []string{"afctl sft:", "--batch-size"}},
		{"sft --model x --data d --out o --save-dtype f64 --set trainable=full", exitUsage, []string{"afctl sft:", "--save-dtype", `"f64"`}},
		{"sft --model x --data d --out o --save-dtype f16", exitUsage, []string{"afctl sft:", "--save-dtype", "trainable: lora"}},
		{"export --model x --out o --to peft", exitUsage, []string{"afctl export:", "--adapter"}},
		{"export --model x --adapter a --out o", exitUsage, []string{"afctl export:", "--to"}},
		{"export --model x --adapter a --out o --to perf", exitUsage, []string{"afctl export:", "--to", `"perf"`, "peft"}},
		{"export --model x --adapter a --out o --to peft --dtype f16", exitUsage, []string{"afctl export:", "--dtype"}},
		{"export --model x --adapter a --out o --to gguf", exitFailed, []string{"afctl export:", "gguf", "this build"}},
		{"export --model x --adapter a --out o --to ollama", exitFailed, []string{"afctl export:", "ollama", "this build"}},
		{"index --in x", exitUsage, []string{"afctl index:", "--out"}},
		{"index --in nowhere.jsonl --out o", exitFailed, []string{"afctl index:", "nowhere.jsonl"}},
		{"update --trajectories a --trajectories b", exitUsage, []string{"--trajectories: found twice, expected once"}},
		{"train --steps 1 --steps=2", exitUsage, []string{"--steps: found twice"}},
		{"update --model x --trajectories t --out o --set flow.group_size=2000000", exitUsage, []string{"--set flow.group_size: found 2000000, expected at most 1048576"}},
		{"train --set flow.group_size=1000000", exitUsage, []string{"run.tasks_per_step: found 32", "flow.group_size 1000000"}},
		{"update --model x --trajectories nowhere --out o --set optimizer.lr=1e-400", exitUsage, []string{"--set optimizer.lr", "1e-400", "too small"}},
		{"doctor --threads -1", exitUsage, []string{"afctl doctor:", "--threads"}},
		{"score --model x --gpus 0,1", exitFailed, []string{"afctl score:", "this build has no GPU engine", "afctl-cuda"}},
		{"--gpus 0 doctor", exitFailed, []string{"this build has no GPU engine"}},
		{"doctor --gpus one", exitUsage, []string{`--gpus: found "one", expected whole numbers with commas between`}},
	} {
		t.Run(c.args, func(t *testing.T) { checkRefusal(t, afctl(t, strings.Fields(c.args)...), c.status, c.want...) })
	}
	for _, command := range []string{"init", "rollout", "eval", "report", "score", "update", "sft", "export", "index"} {
		t.Run(command+" --out", func(t *testing.T) {
			checkRefusal(t, afctl(t, command, "--out="), exitUsage, `--out: found "", expected a `)
		})
	}
	for _, args := range [][]string{{"eval", "--compare"}, {"eval", "--suite"}, {"rollout", "--tasks"}, {"score", "--in"}, {"sft", "--heldout"}, {"train", "--run"}, {"report", "--json"},
		{"score", "--model"}, {"score", "--adapter"}, {"score", "--config"}} {
		t.Run(strings.Join(args, " ")+" empty", func(t *testing.T) {
			checkRefusal(t, afctl(t, append(args, "")...), exitUsage, args[1]+`: found "", expected a value`)
		})
	}
	t.Run("backend", func(t *testing.T) {
		r := afctl(t, "score", "--model", tinyModel(t, true, "F32"), "--set", "engine.backend=cuda", "--in", writeFile(t, "i", ""))
		checkRefusal(t, r, exitUsage, "engine.backend: found cuda, expected cpu: this build has no GPU engine")
	})
}

// What stands in files does not reach the terminal as a command to it.
func TestErrorsArePrintable(t *testing.T) {
	for _, args := range [][]string{{"update", "--model", "gym", "--out", "o", "--trajectories"}, {"score", "--model", "gym", "--in"}, {"sft", "--model", "gym", "--out", "o", "--data"}} {
		t.Chdir(t.TempDir())
		r := afctl(t, append(args, writeFile(t, "e.jsonl", `{"\u001b[2Jx\u0007":1}`+"\n"))...)
		checkRefusal(t, r, exitFailed, "[2Jx")
		if strings.ContainsAny(r.stderr, "\x1b\x07") {
			t.Errorf("%s: %q", args[0], r.stderr)
		}
	}
}

// A config for training serves commands that train nothing: they take the adapter that they are given, and hold the weights once.
func TestConfigOfFullTraining(t *testing.T) {
	model := tinyModel(t, true, ckpt.F32)
	adapter, config := tinyAdapter(t, tinyConfig(true), 3), writeFile(t, "full.yaml", "model: "+model+"\ntrainable: full\n")
	in := writeFile(t, "in.jsonl", `{"tokens":[1,2,3],"start":1}`+"\n")
	plain := must(t, "score", "--model", model, "--adapter", adapter, "--in", in)
	if full := must(t, "score", "--config", config, "--adapter", adapter, "--in", in); full.stdout != plain.stdout {
		t.Errorf("%q, expected %q", full.stdout, plain.stdout)
	}
	run := filepath.Join(t.TempDir(), "run")
	must(t, smallTrain(run, gymModel, "--steps", "1", "--set", "tasks.eval=")...)
	gymAdapter, config := filepath.Join(run, "checkpoints", "step-000001"), writeFile(t, "gym.yaml", "model: gym\ntrainable: full\n")
	short := []string{"--config", config, "--adapter", gymAdapter, "--n", "1", "--set", "flow.max_action_tokens=4"}
	must(t, append([]string{"eval", "--suite", "gym:heldout", "--out", filepath.Join(t.TempDir(), "eval")}, short...)...)
	must(t, append([]string{"rollout", "--tasks", "gym:heldout", "--group", "1", "--out", filepath.Join(t.TempDir(), "o.jsonl")}, short...)...)
}

// TestHelp: every command explains itself, with an example that begins with its name, and lists its flags.
func TestHelp(t *testing.T) {
	for _, c := range commands() {
		for _, args := range [][]string{{c.Name(), "--help"}, {"help", c.Name()}} {
			r := must(t, args...)
			if want := "afctl " + c.Name(); r.stderr != "" || !strings.Contains(r.stdout, "Examples:\n  "+want) || !strings.Contains(r.stdout, "Flags:") {
				t.Errorf("%q: %s%s", args, r.stdout, r.stderr)
			}
		}
	}
	if r := must(t, "--help"); !strings.Contains(r.stdout, "update") || r.stderr != "" {
		t.Errorf("afctl --help: %+v", r)
	}
	if flag, r := must(t, "--version"), must(t, "version"); flag.stdout != r.stdout || !strings.HasPrefix(r.stdout, "afctl ") || strings.Count(r.stdout, "\n") != 1 {
		t.Errorf("afctl version: %q", r.stdout)
	}
}

// TestDoctor: the measurements are there, and what is missing comes with what mends it.
func TestDoctor(t *testing.T) {
	var m machine
	if err := json.Unmarshal([]byte(must(t, "doctor", "--json", "--threads", "1").stdout), &m); err != nil {
		t.Fatal(err)
	}
	if m.CPU == "" || m.Cores < 1 || !(m.F32GFLOPS > 0) || !(m.BF16GFLOPS > 0) || !(m.MemoryGBps > 0) || m.Products == "" || m.GPU == "" {
		t.Errorf("%+v", m)
	}
	text := must(t, "doctor", "--threads", "1").stdout
	for _, s := range m.Missing {
		if s.Mend == "" || !strings.Contains(text, fmt.Sprintf("%s: %s", s.What, s.Mend)) {
			t.Errorf("%+v is not in %q", s, text)
		}
	}
}

// full is a device without room.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// What cannot be written to standard output ends with exit 1 and says so, also where it is help.
func TestStandardOutputThatIsFull(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"train", "--help"}, {"version"}, {"init"}} {
		var stderr bytes.Buffer
		if status := run(t.Context(), args, nil, full{}, &stderr); status != exitFailed || !strings.Contains(stderr.String(), "no space left") {
			t.Errorf("%v: found exit %d and %q, expected exit %d and the reason", args, status, stderr.String(), exitFailed)
		}
	}
}
