package main

import (
	"context"
	"io"
	"math"
	"slices"
	"strings"
	"testing"

	"afctl/ckpt"
	"afctl/flow"

	"github.com/spf13/cobra"
)

// checkSequences reports sequences that a model with this description cannot take.
func checkSequences(t *testing.T, c *ckpt.ModelConfig, seqs []flow.Sequence) {
	t.Helper()
	for _, s := range seqs {
		if s.Start < 1 || s.Start >= len(s.Tokens) || len(s.Tokens) > c.MaxPositionEmbeddings || slices.Min(s.Tokens) < 0 || int(slices.Max(s.Tokens)) >= c.VocabSize {
			t.Errorf("accepted %v", s)
		}
	}
}

// FuzzTrajectories: no file makes `afctl update`'s reader panic, and of what it accepts all tokens fit the model and all weights and
// advantages are finite.
func FuzzTrajectories(f *testing.F) {
	f.Add(strings.Join(tinyTrajectories(1, 2, 3), ""), 0.0)
	f.Add(trajectory(`"group":"q","sample":0,"reward":1,`+goodTurns)+trajectory(`"group":"q","sample":1,"reward":0,`+goodTurns), 2.0)
	f.Add(trajectory(`"group":"q","reward":null,"turns":[]`), 0.0)
	f.Add(trajectory(`"group":"q","reward":1e308,`+goodTurns)+trajectory(`"group":"q","reward":-1e308,`+goodTurns), 0.0)
	f.Add(`{"group":"","reward":0,"turns":[{"prompt":[80],"action":[-1],"logprobs":[null]}]}`, 0.0)
	c := tinyConfig(true)
	f.Fuzz(func(t *testing.T, text string, tisCap float64) {
		s := &settings{Config: DefaultConfig()}
		s.Flow.TISCap = tisCap
		if s.Validate() != nil {
			return
		}
		cmd := &cobra.Command{}
		cmd.SetContext(context.Background())
		cmd.SetIn(strings.NewReader(text))
		cmd.SetErr(io.Discard)
		u, _, err := readUpdate(cmd, s, "-", &c)
		if err != nil {
			return
		}
		checkSequences(t, &c, u.Sequences)
		for i, w := range u.Weight {
			if a := u.Advantage[i]; !(w > 0 && w <= 1) || math.IsNaN(a) || math.IsInf(a, 0) {
				t.Errorf("token %d: weight %v, advantage %v", i, w, a)
			}
		}
	})
}

// FuzzSFT: no file makes `afctl sft`'s reader panic, and what it accepts, ids, text and chats, fits the model.
func FuzzSFT(f *testing.F) {
	for _, s := range []string{`{"prompt":[1,2],"completion":[3]}`, `{"prompt":"the river","completion":"city"}`, `{"prompt":"","completion":""}`,
		`{"messages":[{"role":"user","content":"which?"},{"role":"assistant","content":"the city<|im_end|>"}]}`, `{"messages":[]}`, `{"messages":null}`,
		`{"prompt":[1],"completion":null}`, `{"prompt":{},"completion":[]}`, `{"prompt":"<|bos|><|im_start|>","completion":"\u0000"}`} {
		f.Add(s)
	}
	dir, _ := textModel(f, chatConfig())
	m, err := ckpt.OpenModel(dir)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { m.Close() })
	r := &sftReader{model: m}
	f.Fuzz(func(t *testing.T, text string) {
		if seqs, err := r.read(context.Background(), strings.NewReader(text), "f"); err == nil {
			checkSequences(t, &m.Config, seqs)
		}
	})
}
