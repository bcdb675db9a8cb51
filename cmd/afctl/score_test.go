package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"afctl/ckpt"
	"afctl/flow"
)

// TestScoreOrder: a file of several chunks gives a line per line, in order, each what it gives alone, to the bit.
func TestScoreOrder(t *testing.T) {
	model := tinyModel(t, true, ckpt.F32)
	rng := rand.New(rand.NewPCG(2, 2))
	var lines []string
	for tokens := 0; tokens < scoreChunkTokens*3/2; {
		n := 40 + rng.IntN(25)
		tokens += n
		ids := make([]string, n)
		for i := range ids {
			ids[i] = fmt.Sprint(rng.IntN(80))
		}
		lines = append(lines, fmt.Sprintf(`{"start":%d,"tokens":[%s]}`+"\n", n-1, strings.Join(ids, ",")))
	}
	out := filepath.Join(t.TempDir(), "out.jsonl")
	must(t, "score", "--model", model, "--in", writeFile(t, "in.jsonl", strings.Join(lines, "\n")), "--out", out, "--temperature", "0.5")
	type scored struct {
		LogProbs []float64 `json:"logprobs"`
	}
	got := readLines[scored](t, out)
	if len(got) != len(lines) {
		t.Fatalf("%d lines, want %d", len(got), len(lines))
	}
	picked := []int{0, 1, len(lines) / 2, len(lines) - 2, len(lines) - 1}
	for _, i := range picked {
		alone := parseLines[scored](t, afctlIn(t, lines[i], "score", "--model", model, "--temperature", "0.5").stdout)
		if !slices.Equal(alone[0].LogProbs, got[i].LogProbs) {
			t.Errorf("line %d: %v, alone %v", i+1, got[i].LogProbs, alone[0].LogProbs)
		}
	}
	if r := afctlIn(t, "", "score", "--model", model); r.status != exitDone || r.stdout != "" {
		t.Errorf("no input: %+v", r)
	}
}

// TestScoreByKeys: model and adapter are named by --set as by their flags, as in every command that has them.
func TestScoreByKeys(t *testing.T) {
	model, adapter := tinyModel(t, true, ckpt.F32), tinyAdapter(t, tinyConfig(true), 1)
	in := writeFile(t, "in.jsonl", `{"tokens":[1,2,3],"start":1}`+"\n")
	flags := must(t, "score", "--in", in, "--model", model, "--adapter", adapter)
	if keys := must(t, "score", "--in", in, "--set", "model="+model, "--set", "adapter="+adapter); keys.stdout != flags.stdout {
		t.Errorf("found %q, expected %q", keys.stdout, flags.stdout)
	}
}

// FuzzScoreLine: no line makes the reader panic, and what it accepts fits the model.
func FuzzScoreLine(f *testing.F) {
	for _, s := range []string{`{"tokens":[1,2,3],"start":1}`, `{"tokens":[1,null],"start":1}`, `{"start":1,"start":1}`, `{"tokens":{},"start":[]}`, `nul`, ``} {
		f.Add(s)
	}
	c := tinyConfig(true)
	f.Fuzz(func(t *testing.T, text string) {
		for l, err := range eachLine(context.Background(), strings.NewReader(text), "f") {
			var in scoreLine
			if err != nil || decodeLine(l.text, &in) != nil {
				continue
			}
			if s, err := in.sequence(&c); err == nil {
				checkSequences(t, &c, []flow.Sequence{s})
			}
		}
	})
}

// TestLongLines: lines longer than a buffer are whole, one that never ends is refused.
func TestLongLines(t *testing.T) {
	long := strings.Repeat("x", 3<<20)
	var got []string
	for l, err := range eachLine(context.Background(), strings.NewReader("a\n"+long+"\n \nb"), "f") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(l.number, strings.TrimSpace(string(l.text))))
	}
	if !slices.Equal(got, []string{"1a", "2" + long, "4b"}) {
		t.Errorf("%d lines, of lengths unlike 2, %d, 2", len(got), 1+len(long))
	}
	for _, err := range eachLine(context.Background(), endless{}, "f") {
		if err == nil || !strings.Contains(err.Error(), "f:1") {
			t.Errorf("a line without end: %v", err)
		}
	}
}

// endless is a line that never ends.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '1'
	}
	return len(p), nil
}
