package main

import (
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"afctl/ckpt"
)

// modelCommand is a command line that reads a model's folder, without the flags for model, adapter and output.
type modelCommand struct {
	name, out string // out is the flag of what is written
	args      []string
}

// run runs it; what it writes is to be in dir.
func (c *modelCommand) run(t *testing.T, dir, model, adapter string, more ...string) result {
	args := append([]string{c.name, c.out, filepath.Join(dir, "out"), "--model", model}, c.args...)
	if adapter != "" {
		args = append(args, "--adapter", adapter)
	}
	return afctl(t, append(args, more...)...)
}

// modelCommands are all of them.
func modelCommands(t *testing.T) []modelCommand {
	return []modelCommand{
		{"score", "--out", []string{"--in", writeFile(t, "in.jsonl", `{"tokens":[1,2,3],"start":1}`)}},
		{"update", "--out", []string{"--trajectories", writeFile(t, "t.jsonl", tinyTrajectories(1, 1, 2)[0])}},
		{"sft", "--out", []string{"--data", writeFile(t, "d.jsonl", `{"prompt":[1],"completion":[2]}`)}},
		{"export", "--out", []string{"--to", "merged"}},
		{"rollout", "--out", []string{"--tasks", "gym:heldout", "--n", "1", "--group", "1"}},
		{"eval", "--out", []string{"--suite", "gym:heldout", "--n", "1"}},
		{"train", "--run", []string{"--steps", "1", "--set", "tasks.eval=", "--set", "run.tasks_per_step=1"}},
	}
}

// replaceOnce returns an edit of a file that puts one text in the place of another.
func replaceOnce(old, new string) func(t *testing.T, data []byte) []byte {
	return func(t *testing.T, data []byte) []byte {
		if !strings.Contains(string(data), old) {
			t.Fatalf("%q is not in the file", old)
		}
		return []byte(strings.Replace(string(data), old, new, 1))
	}
}

// withFloat returns an edit that overwrites a float32 near the end of a file.
func withFloat(x float64, before int) func(t *testing.T, data []byte) []byte {
	return func(t *testing.T, data []byte) []byte {
		binary.LittleEndian.PutUint32(data[len(data)-before:], math.Float32bits(float32(x)))
		return data
	}
}

// cut returns an edit that keeps a part of a file.
func cut(keep func(size int) int) func(t *testing.T, data []byte) []byte {
	return func(t *testing.T, data []byte) []byte { return data[:keep(len(data))] }
}

func content(text string) func(t *testing.T, data []byte) []byte {
	return func(*testing.T, []byte) []byte { return []byte(text) }
}

// lyingLength returns an edit that changes the length of a safetensors header.
func lyingLength(n uint64) func(t *testing.T, data []byte) []byte {
	return func(t *testing.T, data []byte) []byte {
		binary.LittleEndian.PutUint64(data, n)
		return data
	}
}

// TestBadModels: every command refuses torn, lying and foreign folders with the same words, and writes nothing.
func TestBadModels(t *testing.T) {
	const settings, weights, index = "config.json", "model.safetensors", "model.safetensors.index.json"
	commands := modelCommands(t)
	adapter := tinyAdapter(t, tinyConfig(true), 1)
	for _, c := range []struct {
		name, file string
		change     func(t *testing.T, data []byte) []byte // nil removes the file
		want       []string
	}{
		{"no folder", "", nil, []string{"model", "no such folder"}},
		{"no config", settings, nil, []string{settings}},
		{"no weights", weights, nil, []string{weights}},
		{"config is not JSON", settings, replaceOnce("{", ""), []string{settings}},
		{"config is empty", settings, content(""), []string{settings}},
		{"config is not text", settings, content("\xff\xfe{\x00"), []string{settings}},
		{"hidden size of 0", settings, replaceOnce(`"hidden_size": 32`, `"hidden_size": 0`), []string{settings, "hidden_size", "0"}},
		{"hidden size as text", settings, replaceOnce(`"hidden_size": 32`, `"hidden_size": "32"`), []string{settings, "hidden_size"}},
		{"hidden size beyond memory", settings, replaceOnce(`"hidden_size": 32`, `"hidden_size": 2000000000`), []string{"hidden_size", "2000000000"}},
		{"no vocabulary", settings, replaceOnce(`"vocab_size": 80`, `"vocab_sise": 80`), []string{settings, "vocab_size"}},
		{"another architecture", settings, replaceOnce(`"model_type": "qwen2"`, `"model_type": "gpt2"`), []string{settings, "model_type", "gpt2"}},
		{"more layers than weights", settings, replaceOnce(`"num_hidden_layers": 2`, `"num_hidden_layers": 3`), []string{"model.layers.2.", "no such tensor"}},
		{"another vocabulary", settings, replaceOnce(`"vocab_size": 80`, `"vocab_size": 81`), []string{"model.embed_tokens.weight", "80", "81"}},
		{"torn weights", weights, cut(func(n int) int { return n / 2 }), []string{weights}},
		{"torn header", weights, cut(func(int) int { return 100 }), []string{weights}},
		{"torn length", weights, cut(func(int) int { return 7 }), []string{weights}},
		{"empty weights", weights, content(""), []string{weights}},
		{"length beyond the file", weights, lyingLength(1 << 40), []string{weights}},
		{"length beyond 64 bits", weights, lyingLength(1<<64 - 1), []string{weights}},
		{"length of 0", weights, lyingLength(0), []string{weights}},
		{"length short of the header", weights, lyingLength(64), []string{weights}},
		{"overlap", weights, replaceOnce(`"data_offsets":[10240,`, `"data_offsets":[10239,`), []string{weights}},
		{"offsets backwards", weights, replaceOnce(`"data_offsets":[0,10240]`, `"data_offsets":[10240,0]`), []string{weights}},
		{"another dtype", weights, replaceOnce(`"dtype":"F32"`, `"dtype":"I32"`), []string{"I32"}},
		{"half the dtype", weights, replaceOnce(`"dtype":"F32"`, `"dtype":"F16"`), []string{weights, "F16"}},
		{"unknown dtype", weights, replaceOnce(`"dtype":"F32"`, `"dtype":"F99"`), []string{weights, "F99"}},
		{"another shape", weights, replaceOnce(`"shape":[80,32]`, `"shape":[32,80]`), []string{"model.embed_tokens.weight", "80", "32"}},
		{"a negative shape", weights, replaceOnce(`"shape":[80,32]`, `"shape":[-80,-32]`), []string{weights}},
		{"NaN", weights, withFloat(math.NaN(), 400), []string{"NaN", "finite"}},
		{"infinite", weights, withFloat(math.Inf(-1), 400), []string{"Inf", "finite"}},
		{"an index of nothing", index, content(`{"weight_map":{"model.norm.weight":"model-00001-of-00002.safetensors"}}`), []string{"model-00001-of-00002.safetensors"}},
		{"an index to elsewhere", index, content(`{"weight_map":{"model.norm.weight":"../other/model.safetensors"}}`), []string{index, "../other"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			model := tinyModel(t, true, ckpt.F32)
			path := filepath.Join(model, c.file)
			switch {
			case c.change == nil:
				if err := os.RemoveAll(path); err != nil {
					t.Fatal(err)
				}
			case c.file == index: // counts where the single file is not there
				if err := errors.Join(os.Remove(filepath.Join(model, weights)), os.WriteFile(path, c.change(t, nil), 0o666)); err != nil {
					t.Fatal(err)
				}
			default:
				edit(t, path, c.change)
			}
			for _, command := range commands {
				dir, with := t.TempDir(), ""
				if command.name == "export" {
					with = adapter
				}
				t.Run(command.name, func(t *testing.T) {
					checkRefusal(t, command.run(t, dir, model, with), exitFailed, c.want...)
					checkOnly(t, dir)
				})
			}
		})
	}
}

// TestBadAdapters: so they do with adapters.
func TestBadAdapters(t *testing.T) {
	const settings, weights = "adapter_config.json", "adapter_model.safetensors"
	config := tinyConfig(true)
	narrower, deeper := config, config
	narrower.HiddenSize, narrower.NumAttentionHeads, narrower.NumKeyValueHeads = 24, 3, 1
	deeper.NumHiddenLayers = 3
	model, commands := tinyModel(t, true, ckpt.F32), modelCommands(t)
	changed := func(file string, change func(t *testing.T, data []byte) []byte) string {
		dir := tinyAdapter(t, config, 1)
		if path := filepath.Join(dir, file); change != nil {
			edit(t, path, change)
		} else if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	for _, c := range []struct {
		name, dir string
		want      []string
	}{
		{"no folder", "nowhere", []string{"nowhere", "no such folder"}},
		{"a model's folder", model, []string{settings}},
		{"a file", filepath.Join(model, "config.json"), []string{"config.json"}},
		{"no weights", changed(weights, nil), []string{weights}},
		{"of a narrower model", tinyAdapter(t, narrower, 1), []string{"does not fit the model", "model.layers.0.self_attn.q_proj", "24", "32"}},
		{"of a deeper model", tinyAdapter(t, deeper, 1), []string{"does not fit the model", "model.layers.2."}},
		{"not JSON", changed(settings, content("r: 4")), []string{settings}},
		{"alpha 0", changed(settings, replaceOnce(`"lora_alpha": 8`, `"lora_alpha": 0`)), []string{settings, "lora_alpha"}},
		{"rank 0", changed(settings, replaceOnce(`"r": 4`, `"r": 0`)), []string{settings, "r"}},
		{"another rank", changed(settings, replaceOnce(`"r": 4`, `"r": 3`)), []string{weights, "lora_A", "rank 3"}},
		{"DoRA", changed(settings, replaceOnce(`"use_dora": false`, `"use_dora": true`)), []string{settings, "use_dora"}},
		{"another kind", changed(settings, replaceOnce(`"peft_type": "LORA"`, `"peft_type": "IA3"`)), []string{settings, "peft_type", "IA3"}},
		{"a tensor of no layer", changed(weights, replaceOnce("layers.0.self_attn.q_proj.lora_A", "layers.9.self_attn.q_proj.lora_A")), []string{weights, "q_proj"}},
		{"torn", changed(weights, cut(func(n int) int { return n - 7 })), []string{weights}},
		{"empty", changed(weights, content("")), []string{weights}},
		{"length beyond the file", changed(weights, lyingLength(1<<40)), []string{weights}},
		{"NaN", changed(weights, withFloat(math.NaN(), 40)), []string{weights, "NaN"}},
		{"infinite", changed(weights, withFloat(math.Inf(1), 40)), []string{weights, "Inf"}},
	} {
		for _, command := range commands {
			t.Run(c.name+"/"+command.name, func(t *testing.T) {
				dir := t.TempDir()
				checkRefusal(t, command.run(t, dir, model, c.dir), exitFailed, c.want...)
				checkOnly(t, dir)
			})
		}
	}
}

// TestMissingTokenizer: what solves tasks says that it needs one; the rest works on ids.
func TestMissingTokenizer(t *testing.T) {
	model, adapter := tinyModel(t, true, ckpt.F32), tinyAdapter(t, tinyConfig(true), 1)
	for _, command := range modelCommands(t) {
		dir := t.TempDir()
		r := command.run(t, dir, model, adapter)
		switch command.name {
		case "rollout", "eval", "train":
			checkRefusal(t, r, exitFailed, "text needs the model's tokenizer", "tokenizer.json", model)
			checkOnly(t, dir)
		default:
			if r.status != exitDone {
				t.Errorf("afctl %s: %s", command.name, r.stderr)
			}
		}
	}
}

// TestBadConfigs: every command that takes a config refuses one that cannot be meant.
func TestBadConfigs(t *testing.T) {
	for _, c := range []struct {
		name, text string
		status     int
		want       []string
	}{
		{"unknown key", "flow:\n  kl_estimater: k3\n", exitUsage, []string{"c.yaml:2:3", "flow.kl_estimater", "flow.kl_estimator"}},
		{"without effect", "flow:\n  kl: 0\n  kl_estimator: k3\n", exitUsage, []string{"c.yaml:3:3", "flow.kl_estimator", "flow.kl: 0"}},
		{"key twice", "run:\n  seed: 1\n  seed: 2\n", exitUsage, []string{"c.yaml:3:3", "seed"}},
		{"wrong type", "engine:\n  threads: all\n", exitUsage, []string{"c.yaml:2:12", "engine.threads", `"all"`, "whole number"}},
		{"not UTF-8", "# caf\xe9\nmodel: m\n", exitUsage, []string{"c.yaml:1:6", "0xe9", "UTF-8"}},
		{"UTF-16", "m\x00o\x00", exitUsage, []string{"c.yaml:1:2", "0x00"}},
		{"missing", "", exitFailed, []string{"--config", "no such file"}},
	} {
		for _, command := range modelCommands(t) {
			t.Run(c.name+"/"+command.name, func(t *testing.T) {
				dir, file := t.TempDir(), "nowhere.yaml"
				if c.text != "" {
					file = writeFile(t, "c.yaml", c.text)
				}
				checkRefusal(t, command.run(t, dir, "nowhere", "", "--config", file), c.status, c.want...)
				checkOnly(t, dir)
			})
		}
	}
	// What editors add to text is no error.
	plain := writeFile(t, "c.yaml", "\ufefflora:\r\n  r: 3\r\n")
	if s, err := readSettings(t.Context(), configSource{file: plain}); err != nil || s.LoRA.R != 3 {
		t.Errorf("a byte order mark and CRLF: %v", err)
	}
}

// edit rewrites a file.
func edit(t *testing.T, path string, change func(t *testing.T, data []byte) []byte) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, change(t, data), 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
}
