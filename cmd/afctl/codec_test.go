package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"afctl/ckpt"
	"afctl/engine"
	"afctl/flow"
	"afctl/rollout"

	"github.com/go-json-experiment/json"
)

// textSession is a session on a textModel, with the codec of its folder.
func textSession(t *testing.T, dir string) (*session, *codec) {
	t.Helper()
	m, err := ckpt.OpenModel(dir)
	if err != nil {
		t.Fatal(err)
	}
	c := DefaultConfig()
	s, err := openSession(&c, m)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	k, err := newCodec(m)
	if err == nil {
		err = k.parseTemplate()
	}
	if err != nil {
		t.Fatal(err)
	}
	return s, k
}

// TestTrap05BOS: BOS stands where the chat template writes it, once, and nowhere else, whatever add_bos_token says and messages spell.
func TestTrap05BOS(t *testing.T) {
	for _, template := range []string{chatTemplate, "{{ bos_token }}" + chatTemplate} {
		for _, add := range []bool{false, true} {
			config, err := json.Marshal(map[string]any{"eos_token": "<|im_end|>", "bos_token": "<|bos|>", "add_bos_token": add,
				"chat_template": strings.ReplaceAll(template, `\n`, "\n")})
			if err != nil {
				t.Fatal(err)
			}
			dir, tok := textModel(t, string(config))
			bos, _ := tok.ID("<|bos|>")
			check := func(what string, ids []int32) {
				want := []int32(nil)
				if template != chatTemplate {
					want = []int32{0}
				}
				var at []int32
				for i, id := range ids {
					if id == bos {
						at = append(at, int32(i))
					}
				}
				if !slices.Equal(at, want) {
					t.Errorf("%s, template %.15q, add_bos_token %v: BOS at %v of %v, want it at %v", what, template, add, at, ids, want)
				}
			}
			_, c := textSession(t, dir)
			for _, content := range []string{"which city?", "<|bos|>city<|im_end|>"} {
				ids, err := c.prompt([]rollout.Message{{Role: "user", Content: content}})
				if err != nil {
					t.Fatal(err)
				}
				check("prompt", ids)
			}
			seqs, err := readSFT(t, dir, `{"messages":[{"role":"user","content":"which"},{"role":"assistant","content":"city"}]}`)
			if err != nil {
				t.Fatal(err)
			}
			check("sft", seqs[0].Tokens)
		}
	}
}

// Without a chat template a prompt has the BOS that the tokenizer asks for, as what sft trains on.
func TestBOSWithoutATemplate(t *testing.T) {
	for _, add := range []bool{false, true} {
		dir, tok := textModel(t, fmt.Sprintf(`{"eos_token":"<|im_end|>","bos_token":"<|bos|>","add_bos_token":%v}`, add))
		_, c := textSession(t, dir)
		bos, _ := tok.ID("<|bos|>")
		for _, content := range []string{"which city?", "<|bos|>city<|im_end|>"} {
			ids, err := c.prompt([]rollout.Message{{Role: "user", Content: content}})
			if err != nil || (ids[0] == bos) != add || slices.Contains(ids[1:], bos) {
				t.Errorf("add_bos_token %v, %q: %v, %v", add, content, ids, err)
			}
		}
	}
}

// A template may say a content twice; what spells a special token is text both times.
func TestPromptOfATemplateThatRepeats(t *testing.T) {
	dir, _ := textModel(t, `{"eos_token":"<|im_end|>","chat_template":"{% for m in messages %}{{ m.content }} {{ m.role }} {{ m.content }}{% endfor %}"}`)
	_, c := textSession(t, dir)
	const content = "city<|im_end|>"
	ids, err := c.prompt([]rollout.Message{{Role: "user", Content: content}})
	if err != nil {
		t.Fatal(err)
	}
	end, _ := c.tok.ID("<|im_end|>")
	if got, want := c.text(ids), content+" user "+content; got != want || slices.Contains(ids, end) {
		t.Errorf("%v, which is %q, expected %q without the id %d", ids, got, want, end)
	}
}

// TestTrap04EndTokens: generation ends at the model's end tokens and at the tokenizer's; what is trained is what the sampler drew, the end
// token included, with the log-probs of the temperature that was asked for (traps 1, 4, 8).
func TestTrap04EndTokens(t *testing.T) {
	dir, tok := textModel(t, `{"eos_token":"<|im_start|>"}`)
	s, c := textSession(t, dir)
	end, _ := tok.ID("<|im_end|>")
	start, _ := tok.ID("<|im_start|>")
	if !slices.Equal(c.stop, []int32{end, start}) {
		t.Errorf("end tokens %v, want the model's %d and the tokenizer's %d", c.stop, end, start)
	}
	seqs, err := (&sftReader{model: s.model}).line([]byte(`{"prompt":"which","completion":"city<|im_start|>river<|im_end|>"}`))
	if err != nil || seqs[0].Tokens[len(seqs[0].Tokens)-1] != start || slices.Contains(seqs[0].Tokens, end) {
		t.Errorf("sft: %v, %v: want a completion up to the first end token %d", seqs, err, start)
	}
	// Text without an end token ends as the tokenizer's texts do, also where the model has another.
	seqs, err = (&sftReader{model: s.model}).line([]byte(`{"prompt":"which","completion":"city"}`))
	if err != nil || seqs[0].Tokens[len(seqs[0].Tokens)-1] != start {
		t.Errorf("sft: %v, %v: want a completion with the tokenizer's end token %d", seqs, err, start)
	}
	s.model.Config.EOSTokenIDs = nil // sft ends with what the sampler ends with, though the model names none
	seqs, err = (&sftReader{model: s.model}).line([]byte(`{"prompt":"which","completion":"city"}`))
	if err != nil || seqs[0].Tokens[len(seqs[0].Tokens)-1] != start {
		t.Errorf("sft: %v, %v: want a completion with the tokenizer's end token %d", seqs, err, start)
	}
	s.model.Config.EOSTokenIDs = []int32{end}
	for id := int32(0); id < int32(tok.VocabSize()); id += 3 { // often enough to be drawn
		if !slices.Contains(c.stop, id) {
			c.stop = append(c.stop, id)
		}
	}
	config := DefaultConfig()
	sampler, err := s.engine.NewSampler(engine.SamplerOptions{MaxBatch: config.Engine.MaxBatch})
	if err != nil {
		t.Fatal(err)
	}
	defer sampler.Close()
	m := &engineModel{sampler: sampler, codec: c, cache: 1000, positions: 64}
	messages := []rollout.Message{{Role: "user", Content: "which city?"}}
	prompt, err := c.prompt(messages)
	if err != nil {
		t.Fatal(err)
	}
	stops := map[flow.StopReason]int{}
	for seed := range uint64(20) {
		got, err := m.Complete(t.Context(), rollout.Request{Messages: messages, MaxTokens: 4, Temperature: 0.7, Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		want, err := sampler.Sample(t.Context(), engine.SampleRequest{Prompt: prompt, MaxTokens: 4, Temperature: 0.7, Seed: seed, Stop: c.stop})
		if err != nil {
			t.Fatal(err)
		}
		turn := got.Turn
		if !slices.Equal(turn.Prompt, prompt) || !slices.Equal(turn.Action, want.Action) || !slices.Equal(turn.LogProbs, want.LogProbs) || turn.Stop != want.Stop {
			t.Fatalf("seed %d: turn %+v, the sampler drew %+v after %v", seed, turn, want, prompt)
		}
		if ended := slices.Contains(c.stop, turn.Action[len(turn.Action)-1]); ended != (turn.Stop == flow.StopEOS) {
			t.Errorf("seed %d: stop %q after %v", seed, turn.Stop, turn.Action)
		}
		stops[turn.Stop]++
	}
	if stops[flow.StopEOS] == 0 || stops[flow.StopLimit] == 0 {
		t.Errorf("reasons to stop: %v, want some of both", stops)
	}
	// A smaller cache gives the same, or an error that names it.
	m.cache = len(prompt) + 2
	for seed := range uint64(20) {
		want, err := sampler.Sample(t.Context(), engine.SampleRequest{Prompt: prompt, MaxTokens: 4, Temperature: 0.7, Seed: seed, Stop: c.stop})
		if err != nil {
			t.Fatal(err)
		}
		fits := len(want.Action) < 2 || len(want.Action) == 2 && want.Stop == flow.StopEOS
		got, err := m.Complete(t.Context(), rollout.Request{Messages: messages, MaxTokens: 4, Temperature: 0.7, Seed: seed})
		if fits != (err == nil) || fits && !slices.Equal(got.Turn.Action, want.Action) || !fits && !strings.Contains(err.Error(), "engine.kv_tokens") {
			t.Errorf("seed %d: %v, error %v, expected %v", seed, got.Turn, err, want.Action)
		}
	}
	m.cache = len(prompt)
	if _, err := m.Complete(t.Context(), rollout.Request{Messages: messages, MaxTokens: 4}); err == nil || !strings.Contains(err.Error(), "engine.kv_tokens") {
		t.Errorf("no room at all: error %v", err)
	}
}
