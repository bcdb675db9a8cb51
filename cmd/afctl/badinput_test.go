package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"afctl/ckpt"
)

const goodTurns = `"turns":[{"prompt":[1,2],"action":[3,4],"logprobs":[-1,-2]}]`

// line is a trajectory with some fields.
func trajectory(fields string) string { return "{" + fields + "}\n" }

// TestBadTrajectories: what is wrong with a line is said with file, line and field, and nothing is written.
func TestBadTrajectories(t *testing.T) {
	good := trajectory(`"group":"q","sample":0,"reward":1,` + goodTurns)
	model := tinyModel(t, true, ckpt.F32)
	for _, c := range []struct {
		name, text string
		sets       []string
		want       []string
	}{
		{"empty file", "", nil, []string{"t.jsonl", "found no line"}},
		{"blank lines only", "\n\n", nil, []string{"t.jsonl", "found no line"}},
		{"not JSON", good + "{group:1}\n", nil, []string{"t.jsonl:2", "not JSON"}},
		{"torn", good + good[:30], nil, []string{"t.jsonl:2"}},
		{"a list", "[]\n", nil, []string{"t.jsonl:1"}},
		{"unknown key", trajectory(`"group":"q","reword":1,` + goodTurns), nil, []string{"t.jsonl:1", "reword", `"reward"`}},
		{"another case", trajectory(`"group":"q","Reward":1,` + goodTurns), nil, []string{"t.jsonl:1", "Reward", `"reward"`}},
		{"key twice", trajectory(`"group":"q","reward":1,"reward":0,` + goodTurns), nil, []string{"t.jsonl:1", "reward", "twice"}},
		{"no group", trajectory(`"reward":1,` + goodTurns), nil, []string{"t.jsonl:1", "group"}},
		{"reward as text", trajectory(`"group":"q","reward":"1",` + goodTurns), nil, []string{"t.jsonl:1", "reward", "string", "number"}},
		{"reward too large", trajectory(`"group":"q","reward":1e999,` + goodTurns), nil, []string{"t.jsonl:1", "reward"}},
		{"no turns", good + trajectory(`"group":"q","sample":1,"reward":1,"turns":[]`), nil, []string{"t.jsonl:2", "sample 1", "turns"}},
		{"empty prompt", good + trajectory(`"group":"q","sample":1,"reward":1,"turns":[{"prompt":[],"action":[1]}]`), nil,
			[]string{"t.jsonl:2", "turns[0].prompt"}},
		{"empty action", good + trajectory(`"group":"q","sample":1,"reward":1,"turns":[{"prompt":[1],"action":[2]},{"prompt":[1],"action":[]}]`), nil,
			[]string{"t.jsonl:2", "turns[1].action"}},
		{"null id", trajectory(`"group":"q","reward":1,"turns":[{"prompt":[1,null],"action":[1]}]`), nil, []string{"t.jsonl:1", "turns[0].prompt[1]", "null"}},
		{"fraction as id", trajectory(`"group":"q","reward":1,"turns":[{"prompt":[1.5],"action":[1]}]`), nil, []string{"t.jsonl:1", "turns[0].prompt[0]", "1.5"}},
		{"negative id", trajectory(`"group":"q","reward":1,"turns":[{"prompt":[-1],"action":[1]}]`), nil, []string{"t.jsonl:1", "turns[0].prompt[0]", "-1"}},
		{"id outside the vocabulary", good + trajectory(`"group":"q","sample":1,"reward":1,"turns":[{"prompt":[1],"action":[79,80]}]`), nil,
			[]string{"t.jsonl:2", "turns[0].action[1]", "80", "id < 80"}},
		{"id of 33 bits", trajectory(`"group":"q","reward":1,"turns":[{"prompt":[4294967297],"action":[1]}]`), nil,
			[]string{"t.jsonl:1", "turns[0].prompt[0]", "4294967297"}},
		{"too few log-probs", trajectory(`"group":"q","reward":1,"turns":[{"prompt":[1],"action":[2,3],"logprobs":[-1]}]`), nil,
			[]string{"t.jsonl:1", "turns[0].logprobs", "found 1", "expected 2"}},
		{"too many log-probs", trajectory(`"group":"q","reward":1,"turns":[{"prompt":[1],"action":[2],"logprobs":[-1,-2]}]`), nil,
			[]string{"t.jsonl:1", "turns[0].logprobs", "found 2", "expected 1"}},
		{"a log-prob that is NaN", good + trajectory(`"group":"q","sample":1,"reward":1,"turns":[{"prompt":[1],"action":[2],"logprobs":[NaN]}]`), nil,
			[]string{"t.jsonl:2", "logprobs[0]", "'N'"}},
		{"a log-prob as text", trajectory(`"group":"q","reward":1,"turns":[{"prompt":[1],"action":[2],"logprobs":["NaN"]}]`), nil,
			[]string{"t.jsonl:1", "turns[0].logprobs[0]", "string", "number"}},
		{"a log-prob of null", trajectory(`"group":"q","reward":1,"turns":[{"prompt":[1],"action":[2],"logprobs":[null]}]`), nil,
			[]string{"t.jsonl:1", "turns[0].logprobs[0]", "null", "number"}},
		{"a log-prob beyond float32", trajectory(`"group":"q","reward":1,"turns":[{"prompt":[1],"action":[2],"logprobs":[-1e99]}]`), nil,
			[]string{"t.jsonl:1", "turns[0].logprobs[0]", "-1e99"}},
		{"reward NaN", trajectory(`"group":"q","reward":NaN,` + goodTurns), nil, []string{"t.jsonl:1", "reward", "'N'"}},
		{"reward as a boolean", trajectory(`"group":"q","reward":true,` + goodTurns), nil, []string{"t.jsonl:1", "reward", "boolean", "number"}},
		{"turns as an object", trajectory(`"group":"q","reward":1,"turns":{}`), nil, []string{"t.jsonl:1", "turns", "object"}},
		{"prompt as text", trajectory(`"group":"q","reward":1,"turns":[{"prompt":"hello","action":[1]}]`), nil, []string{"t.jsonl:1", "turns[0].prompt", "string"}},
		{"too long", trajectory(`"group":"q","reward":1,"turns":[{"prompt":[1` + strings.Repeat(",1", 63) + `],"action":[1]}]`), nil,
			[]string{"t.jsonl:1", "turns[0]", "65", "max_position_embeddings"}},
		{"sample twice", good + good, nil, []string{"t.jsonl:2", "sample", "twice"}},
		{"sample missing in some", good + trajectory(`"group":"q","reward":1,`+goodTurns), nil, []string{"t.jsonl:2", "sample", "missing"}},
		{"all failed", trajectory(`"group":"q","reward":null,` + goodTurns), nil, []string{"t.jsonl", "no rollout with a reward"}},
		{"tis without log-probs", trajectory(`"group":"q","reward":1,"turns":[{"prompt":[1],"action":[2]}]`), []string{"flow.tis_cap=2"},
			[]string{"t.jsonl:1", "turns[0].logprobs", "tis_cap"}},
		{"sampled with top-k", trajectory(`"group":"q","reward":1,"sampling":{"temperature":0.7,"top_k":40},` + goodTurns), nil,
			[]string{"t.jsonl:1", "sampling.top_k", "40"}},
		{"sampled at another temperature", trajectory(`"group":"q","reward":1,"sampling":{"temperature":1},` + goodTurns), nil,
			[]string{"t.jsonl:1", "sampling.temperature"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "t.jsonl")
			if err := os.WriteFile(file, []byte(c.text), 0o666); err != nil {
				t.Fatal(err)
			}
			args := []string{"update", "--model", model, "--trajectories", file, "--out", filepath.Join(dir, "out")}
			for _, s := range c.sets {
				args = append(args, "--set", s)
			}
			checkRefusal(t, afctl(t, args...), exitFailed, c.want...)
			checkOnly(t, dir, "t.jsonl")
		})
	}
}

// checkOnly checks that a folder holds nothing but these names: nothing was written, and nothing temporary was left.
func checkOnly(t *testing.T, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.Contains(strings.Join(names, " "), e.Name()) {
			t.Errorf("%s was written", e.Name())
		}
	}
}

func TestBadScoreLines(t *testing.T) {
	good := `{"tokens":[1,2,3],"start":1}` + "\n"
	model := tinyModel(t, true, ckpt.F32)
	for _, c := range []struct {
		text string
		want []string
	}{
		{good + `{"tokens":[1,2,3]}`, []string{"in.jsonl:2", "start"}},
		{`{"start":1}`, []string{"in.jsonl:1", "tokens"}},
		{`{"tokens":[7],"start":1}`, []string{"in.jsonl:1", "tokens: found 1, expected at least 2"}},
		{`{"tokens":null,"start":1}`, []string{"in.jsonl:1", "tokens"}},
		{`{"tokens":[1,2],"start":null}`, []string{"in.jsonl:1", "start"}},
		{`{"tokens":[1,2],"start":0}`, []string{"in.jsonl:1", "start", "found 0", "1 <= start < 2"}},
		{`{"tokens":[1,2],"start":2}`, []string{"in.jsonl:1", "start", "found 2"}},
		{`{"tokens":[1,2],"start":-1}`, []string{"in.jsonl:1", "start", "found -1"}},
		{`{"tokens":[1,2],"start":1.5}`, []string{"in.jsonl:1", "start", "1.5"}},
		{`{"tokens":[1,2],"start":"1"}`, []string{"in.jsonl:1: start", "a string", "whole number"}},
		{`{"tokens":[1,2],"Start":1}`, []string{"in.jsonl:1", "Start", `"start"`}},
		{`{"tokens":[1,2],"start":1,"start":1}`, []string{"in.jsonl:1", "start", "twice"}},
		{`{"tokens":[1,2],"start":1,"stop":2}`, []string{"in.jsonl:1", "stop", "unknown"}},
		{`{"tokens":[1,null],"start":1}`, []string{"in.jsonl:1", "tokens[1]", "null"}},
		{`{"tokens":[1,80],"start":1}`, []string{"in.jsonl:1", "tokens[1]", "80", "vocabulary"}},
		{`{"tokens":[-1,8],"start":1}`, []string{"in.jsonl:1", "tokens[0]", "-1"}},
		{`{"tokens":[1,99999999999],"start":1}`, []string{"in.jsonl:1", "tokens[1]", "99999999999"}},
		{`{"tokens":"12","start":1}`, []string{"in.jsonl:1", "tokens", "a string", "a list"}},
		{`{"tokens":[1` + strings.Repeat(",1", 64) + `],"start":1}`, []string{"in.jsonl:1", "tokens", "65", "max_position_embeddings"}},
		{good + `{"tokens":[1,2`, []string{"in.jsonl:2", "not JSON"}},
		{good + "tokens\n", []string{"in.jsonl:2", "not JSON"}},
		{`[1,2]`, []string{"in.jsonl:1", "line", "object"}},
		{good + `{"tokens":[1,2],"start":1} x`, []string{"in.jsonl:2"}},
		{"\x00\xff", []string{"in.jsonl:1"}},
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, "in.jsonl")
		if err := os.WriteFile(file, []byte(c.text), 0o666); err != nil {
			t.Fatal(err)
		}
		r := afctl(t, "score", "--model", model, "--in", file, "--out", filepath.Join(dir, "out"))
		checkRefusal(t, r, exitFailed, c.want...)
		checkOnly(t, dir, "in.jsonl")
		if t.Failed() {
			t.Fatalf("line %q", c.text)
		}
	}
}
