package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"afctl/ckpt"
	"afctl/ckpt/tokenizer"
	"afctl/flow"
)

// chatTemplate is ChatML without a system default; messages end in the end token and a newline.
const chatTemplate = `{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}` +
	`{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}`

// textModel is a random model with a tokenizer of its own, whose end token is <|im_end|>, and a chat template.
func textModel(t testing.TB, tokenizerConfig string) (dir string, tok *tokenizer.Tokenizer) {
	t.Helper()
	corpus := slices.Values([]string{"the river runs through the city", "which city does the river run through?"})
	data, err := tokenizer.Train(corpus, 300, []string{"<|bos|>", "<|im_start|>", "<|im_end|>"})
	if err != nil {
		t.Fatal(err)
	}
	if tok, err = tokenizer.Parse("tokenizer.json", data); err != nil {
		t.Fatal(err)
	}
	end, _ := tok.ID("<|im_end|>")
	c := tinyConfig(true)
	c.VocabSize, c.EOSTokenIDs = tok.VocabSize(), []int32{end}
	dir = filepath.Join(t.TempDir(), "model")
	if err := ckpt.SaveModel(dir, c, tinyTensors(t, c, ckpt.F32, 2), nil); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"tokenizer.json": string(data), "tokenizer_config.json": tokenizerConfig} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir, tok
}

// chatConfig is a tokenizer's configuration with that template.
func chatConfig() string {
	return strings.ReplaceAll(fmt.Sprintf(`{"eos_token":"<|im_end|>","chat_template":%q}`, chatTemplate), `\\n`, `\n`)
}

const plainTokenizer = `{"eos_token":"<|im_end|>"}`

func readSFT(t testing.TB, dir, text string) ([]flow.Sequence, error) {
	t.Helper()
	m, err := ckpt.OpenModel(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	r := &sftReader{model: m}
	return r.read(context.Background(), strings.NewReader(text), "d.jsonl")
}

// TestSFTForms: the three forms of a line say the same: what is trained, and what it follows.
func TestSFTForms(t *testing.T) {
	dir, tok := textModel(t, chatConfig())
	ids := func(text string) []int32 {
		ids, err := tok.Encode(text, true)
		if err != nil {
			t.Fatal(err)
		}
		return ids
	}
	for _, c := range []struct {
		name, line          string
		prompts, completion []string
	}{
		{"text", `{"prompt":"which city?","completion":" the river"}`, []string{"which city?"}, []string{" the river<|im_end|>"}},
		{"text with an end", `{"prompt":"which","completion":"city<|im_end|>\n"}`, []string{"which"}, []string{"city<|im_end|>"}},
		{"chat", `{"messages":[{"role":"user","content":"which city?"},{"role":"assistant","content":"the river"},` +
			`{"role":"user","content":"run"},{"role":"assistant","content":"city"}]}`,
			[]string{
				"<|im_start|>user\nwhich city?<|im_end|>\n<|im_start|>assistant\n",
				"<|im_start|>user\nwhich city?<|im_end|>\n<|im_start|>assistant\nthe river<|im_end|>\n<|im_start|>user\nrun<|im_end|>\n<|im_start|>assistant\n",
			},
			[]string{"the river<|im_end|>", "city<|im_end|>"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			seqs, err := readSFT(t, dir, c.line)
			if err != nil {
				t.Fatal(err)
			}
			if len(seqs) != len(c.prompts) {
				t.Fatalf("%d sequences, want %d", len(seqs), len(c.prompts))
			}
			for i, s := range seqs {
				if want := ids(c.prompts[i]); !slices.Equal(s.Tokens[:s.Start], want) {
					t.Errorf("prompt %q, want %q", tok.Decode(s.Tokens[:s.Start], false), c.prompts[i])
				}
				if want := ids(c.completion[i]); !slices.Equal(s.Tokens[s.Start:], want) {
					t.Errorf("completion %q, want %q", tok.Decode(s.Tokens[s.Start:], false), c.completion[i])
				}
			}
		})
	}
	t.Run("ids", func(t *testing.T) {
		seqs, err := readSFT(t, dir, `{"prompt":[1,2],"completion":[3]}`)
		if err != nil || len(seqs) != 1 || seqs[0].Start != 2 || !slices.Equal(seqs[0].Tokens, []int32{1, 2, 3}) {
			t.Errorf("%v, %v: ids are to be taken as they are", seqs, err)
		}
	})
	t.Run("bos", func(t *testing.T) {
		dir, tok := textModel(t, `{"eos_token":"<|im_end|>","bos_token":"<|bos|>","add_bos_token":true}`)
		bos, _ := tok.BOS()
		if b, ok := tok.ID("<|bos|>"); ok && bos == 0 {
			bos = b
		}
		seqs, err := readSFT(t, dir, `{"prompt":"city","completion":"x"}`+"\n"+`{"prompt":"<|bos|>city","completion":"x"}`)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range seqs {
			if s.Tokens[0] != bos || s.Tokens[1] == bos {
				t.Errorf("%v begins with other than one %d", s.Tokens, bos)
			}
		}
	})
}

// TestSFT: the first loss is that of `score`, training lowers it, every example is seen in every epoch, and the same call gives the same
// bytes.
func TestSFT(t *testing.T) {
	model := tinyModel(t, true, ckpt.BF16)
	var data, in strings.Builder
	for i := range 7 {
		fmt.Fprintf(&data, `{"prompt":[1,2,%d],"completion":[%d,%d]}`+"\n", 10+i, 20+i, 30+i)
		fmt.Fprintf(&in, `{"tokens":[1,2,%d,%d,%d],"start":3}`+"\n", 10+i, 20+i, 30+i)
	}
	file := writeFile(t, "d.jsonl", data.String())
	nll := 0.0
	for _, l := range parseLines[struct {
		LogProbs []float64 `json:"logprobs"`
	}](t, afctlIn(t, in.String(), "score", "--model", model).stdout) {
		nll -= (l.LogProbs[0] + l.LogProbs[1]) / 14
	}
	for _, c := range []struct {
		name string
		args []string
		out  string // file with the result
	}{
		{"lora", []string{"--set", "lora.seed=1", "--set", "optimizer.lr=0.02"}, "adapter_model.safetensors"},
		{"full", []string{"--set", "trainable=full", "--save-dtype", "f32", "--set", "optimizer.lr=0.01"}, "model.safetensors"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dirs := []string{filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")}
			for _, dir := range dirs {
				must(t, append([]string{"sft", "--model", model, "--data", file, "--heldout", file, "--out", dir, "--epochs", "12", "--batch-size", "3"}, c.args...)...)
			}
			var files [2]string
			for i, dir := range dirs {
				b, err := os.ReadFile(filepath.Join(dir, c.out))
				if err != nil {
					t.Fatal(err)
				}
				files[i] = string(b)
			}
			if files[0] != files[1] {
				t.Error("the same call gave other bytes")
			}
			lines := readLines[sftMetrics](t, filepath.Join(dirs[0], metricsFile))
			tokens, heldOut := map[int]int{}, []float64{}
			for _, m := range lines {
				if m.HeldOutLoss != nil {
					heldOut = append(heldOut, float64(*m.HeldOutLoss))
					continue
				}
				tokens[m.Epoch] += m.Tokens
			}
			for epoch := 1; epoch <= 12; epoch++ {
				if tokens[epoch] != 14 {
					t.Errorf("epoch %d: %d completion tokens, want 14", epoch, tokens[epoch])
				}
			}
			if last := heldOut[len(heldOut)-1]; len(heldOut) != 12 || !(last < heldOut[0] && last < nll/2) {
				t.Errorf("held-out loss %v, began at %v", heldOut, nll)
			}
		})
	}
	t.Run("first loss", func(t *testing.T) {
		out := filepath.Join(t.TempDir(), "o")
		must(t, "sft", "--model", model, "--data", file, "--out", out)
		m := readLines[sftMetrics](t, filepath.Join(out, metricsFile))
		const tolerance = 1e-5 // float32 log-probs of a few nats
		if len(m) != 1 || !(math.Abs(float64(*m[0].Loss)-nll) <= tolerance) {
			t.Errorf("loss %v, score gives %v", float64(*m[0].Loss), nll)
		}
	})
	t.Run("schedule", func(t *testing.T) { // over the steps that there are, an epoch's smaller last batch among them
		out := filepath.Join(t.TempDir(), "o")
		must(t, "sft", "--model", model, "--data", file, "--out", out, "--epochs", "2", "--batch-size", "3", "--set", "optimizer.schedule=linear", "--set", "optimizer.lr=6e-3")
		for i, m := range readLines[sftMetrics](t, filepath.Join(out, metricsFile)) {
			if lr, want := float64(*m.LR), 1e-3*float64(6-i); math.Abs(lr-want) > 1e-12 {
				t.Errorf("step %d: learning rate %v, expected %v", i+1, lr, want)
			}
		}
	})
	t.Run("saved dtype", func(t *testing.T) {
		for flag, want := range map[string]ckpt.DType{"": ckpt.BF16, "f16": ckpt.F16} {
			out := filepath.Join(t.TempDir(), "o")
			args := []string{"sft", "--model", model, "--data", file, "--out", out, "--set", "trainable=full"}
			if flag != "" {
				args = append(args, "--save-dtype", flag)
			}
			must(t, args...)
			m, err := ckpt.OpenModel(out)
			if err != nil {
				t.Fatal(err)
			}
			if d, err := storedDType(m); d != want || err != nil {
				t.Errorf("--save-dtype %q: %s, want %s", flag, d, want)
			}
			m.Close()
		}
	})
}

// TestHeldOutLoss (trap 31): it is the mean over tokens, not over completions, of what `score` says of the result.
func TestHeldOutLoss(t *testing.T) {
	model, out := tinyModel(t, true, ckpt.F32), filepath.Join(t.TempDir(), "out")
	var data, in strings.Builder
	for i := range 5 {
		ids := strings.Repeat(fmt.Sprintf(",%d", 20+i), 3*i)
		fmt.Fprintf(&data, `{"prompt":[1,2],"completion":[%d%s]}`+"\n", 10+i, ids)
		fmt.Fprintf(&in, `{"tokens":[1,2,%d%s],"start":2}`+"\n", 10+i, ids)
	}
	file := writeFile(t, "d.jsonl", data.String())
	must(t, "sft", "--model", model, "--data", file, "--heldout", file, "--out", out, "--set", "optimizer.lr=0.01")
	sum, tokens := 0.0, 0
	for _, l := range parseLines[struct {
		LogProbs []float64 `json:"logprobs"`
	}](t, afctlIn(t, in.String(), "score", "--model", model, "--adapter", out).stdout) {
		for _, lp := range l.LogProbs {
			sum, tokens = sum-lp, tokens+1
		}
	}
	lines := readLines[sftMetrics](t, filepath.Join(out, metricsFile))
	last := lines[len(lines)-1]
	const tolerance = 1e-5 // float32 log-probs of a few nats
	if last.HeldOutLoss == nil || last.Tokens != tokens || !(math.Abs(float64(*last.HeldOutLoss)-sum/float64(tokens)) <= tolerance) {
		t.Errorf("found %+v, score gives %v over %d tokens", last, sum/float64(tokens), tokens)
	}
}

// TestFreshAdapter (trap 25): a LoRA that no folder gives is the one that lora.* describes, its scale with it.
func TestFreshAdapter(t *testing.T) {
	m, err := ckpt.OpenModel(tinyModel(t, true, ckpt.F32))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for rslora, scale := range map[bool]float64{false: 6.0 / 4, true: 6.0 / 2} {
		c := DefaultConfig()
		c.LoRA = LoRAConfig{R: 4, Alpha: 6, Targets: []string{"v_proj"}, Seed: 5, RSLoRA: rslora}
		a, err := startAdapter(&c, m)
		if err != nil {
			t.Fatal(err)
		}
		want, err := ckpt.NewAdapter(m.Config, 4, 6, []string{"v_proj"}, 5, rslora)
		if err != nil {
			t.Fatal(err)
		}
		if a.Hash() != want.Hash() || a.Modules[0].Scale != scale || a.Config.UseRSLoRA != rslora {
			t.Errorf("rslora %v: scale %v, config %+v", rslora, a.Modules[0].Scale, a.Config)
		}
	}
}

func TestBadSFTLines(t *testing.T) {
	dir, _ := textModel(t, plainTokenizer)
	for _, c := range []struct {
		text string
		want []string
	}{
		{"", []string{"d.jsonl", "found no line"}},
		{`{}`, []string{"d.jsonl:1", "prompt"}},
		{`{"prompt":[1]}`, []string{"d.jsonl:1", "completion"}},
		{`{"prompt":[1],"completion":"x"}`, []string{"d.jsonl:1", "both of one kind"}},
		{`{"prompt":[1],"completion":[]}`, []string{"d.jsonl:1", "completion", "no token"}},
		{`{"prompt":"","completion":"x"}`, []string{"d.jsonl:1", "prompt", "no token"}},
		{`{"prompt":[],"completion":[1]}`, []string{"d.jsonl:1", "prompt", "no token"}},
		{`{"prompt":[1],"completion":[300000]}`, []string{"d.jsonl:1", "completion[0]", "300000", "vocabulary"}},
		{`{"prompt":[-1],"completion":[3]}`, []string{"d.jsonl:1", "prompt[0]", "-1", "vocabulary"}},
		{`{"prompt":[1],"completion":[2.5]}`, []string{"d.jsonl:1", "completion", "2.5", "whole number"}},
		{`{"prompt":[1],"completion":[2],"completion":[3]}`, []string{"d.jsonl:1", "completion", "twice"}},
		{`{"prompt":[null],"completion":[1]}`, []string{"d.jsonl:1", "prompt[0]", "null"}},
		{`{"prompt":5,"completion":[1]}`, []string{"d.jsonl:1", "prompt", "a number", "a list"}},
		{`{"prompt":[1],"compleation":[1]}`, []string{"d.jsonl:1", "compleation", `"completion"`}},
		{`{"prompt":[1],"completion":[1` + strings.Repeat(",1", 64) + `]}`, []string{"d.jsonl:1", "66", "max_position_embeddings"}},
		{`{"messages":[{"role":"user","content":"x"}],"prompt":[1]}`, []string{"d.jsonl:1", "messages", "prompt"}},
		{`{"messages":[{"role":"user","content":"x"},{"role":"assistant","content":"y"}]}`, []string{"d.jsonl:1", "no chat template"}},
	} {
		_, err := readSFT(t, dir, c.text)
		if err == nil {
			t.Errorf("%q: no error", c.text)
			continue
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%q: %q does not say %q", c.text, err, w)
			}
		}
	}
	for _, c := range []struct{ text, want string }{
		{`{"messages":[]}`, "assistant"},
		{`{"messages":[{"role":"user","content":"x"}]}`, "assistant"},
		{`{"messages":[{"role":"tool","content":"x"}]}`, "messages[0].role"},
		{`{"messages":[{"role":"user","text":"x"}]}`, "messages[0].text"},
		{`{"messages":[{"role":"user","contnet":"x"}]}`, `messages[0].contnet: unknown key; did you mean "content"`},
		{`{"conversations":[{"from":"human","value":"x"}]}`, `expected a line {"prompt": ..., "completion": ...} of text or ids, or {"messages": [{"role": "...", "content": "..."}, ...]}`},
		{`{"mesages":[]}`, `mesages: unknown key; did you mean "messages"`},
	} {
		withTemplate, _ := textModel(t, fmt.Sprintf(`{"eos_token":"<|im_end|>","chat_template":%q}`, chatTemplate))
		if _, err := readSFT(t, withTemplate, c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v does not say %q", c.text, err, c.want)
		}
	}
	// Without a tokenizer, ids do.
	bare := tinyModel(t, true, ckpt.F32)
	if _, err := readSFT(t, bare, `{"prompt":[1],"completion":[1]}`); err != nil {
		t.Error(err)
	}
	out := filepath.Join(t.TempDir(), "o")
	checkRefusal(t, afctl(t, "sft", "--model", bare, "--data", writeFile(t, "d.jsonl", `{"prompt":"a","completion":"b"}`), "--out", out), exitFailed,
		"d.jsonl:1", "tokenizer.json", bare)
	if _, err := os.Stat(out); err == nil {
		t.Error("something was written")
	}
}
