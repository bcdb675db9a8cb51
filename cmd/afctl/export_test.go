package main

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"afctl/ckpt"
)

// scored are the log-probs that `afctl score` gives for one line.
func scored(t *testing.T, args ...string) []float64 {
	t.Helper()
	r := afctlIn(t, `{"tokens":[5,6,7,8,9,10,11,12],"start":2}`, append([]string{"score"}, args...)...)
	if r.status != exitDone {
		t.Fatal(r.stderr)
	}
	return parseLines[struct {
		LogProbs []float64 `json:"logprobs"`
	}](t, r.stdout)[0].LogProbs
}

// TestExportMerged: the merged model alone gives the log-probs of base and adapter; what the adapter does not touch, and the
// tokenizer's files, are copied bit for bit.
func TestExportMerged(t *testing.T) {
	for _, c := range []struct {
		stored    ckpt.DType
		flag      string
		want      ckpt.DType
		tolerance float64 // nats; of 16-bit types: half an ulp of every weight, 2^-9 and 2^-12, times the spread of the logits
	}{
		{ckpt.F32, "", ckpt.F32, 1e-5},
		{ckpt.BF16, "f32", ckpt.F32, 1e-5},
		{ckpt.BF16, "", ckpt.BF16, 0.1},
		{ckpt.F32, "f16", ckpt.F16, 0.02},
	} {
		t.Run(fmt.Sprint(c.stored, " to ", c.want), func(t *testing.T) {
			base, adapter := tinyModel(t, false, c.stored), tinyAdapter(t, tinyConfig(false), 3)
			if err := os.WriteFile(filepath.Join(base, "tokenizer.json"), []byte("{}"), 0o666); err != nil {
				t.Fatal(err)
			}
			out := filepath.Join(t.TempDir(), "new", "merged")
			args := []string{"export", "--model", base, "--adapter", adapter, "--to", "merged", "--out", out}
			if c.flag != "" {
				args = append(args, "--dtype", c.flag)
			}
			must(t, args...)
			want, plain := scored(t, "--model", base, "--adapter", adapter), scored(t, "--model", base)
			effect := 0.0
			for i, got := range scored(t, "--model", out) {
				effect = max(effect, math.Abs(want[i]-plain[i]))
				if !(math.Abs(got-want[i]) <= c.tolerance) {
					t.Errorf("log-prob %d: %v, with the adapter %v", i, got, want[i])
				}
			}
			if effect < 3*c.tolerance {
				t.Errorf("the adapter moves log-probs by %v only: it proves nothing", effect)
			}
			if data, err := os.ReadFile(filepath.Join(out, "tokenizer.json")); err != nil || string(data) != "{}" {
				t.Errorf("tokenizer.json: %q, %v", data, err)
			}
			before, after := openTestModel(t, base), openTestModel(t, out)
			for _, name := range after.Weights.Names() {
				a, _ := after.Weights.Tensor(name)
				b, _ := before.Weights.Tensor(name)
				if a.DType != c.want {
					t.Errorf("%s: %s, want %s", name, a.DType, c.want)
				}
				if name == "model.norm.weight" && a.DType == b.DType && !bytes.Equal(a.Data, b.Data) {
					t.Errorf("%s changed", name)
				}
			}
		})
	}
}

func openTestModel(t *testing.T, dir string) *ckpt.Model {
	t.Helper()
	m, err := ckpt.OpenModel(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// TestExportMergedScale (trap 25): what is merged has each module's own scale, alpha/sqrt(r) and patterns included.
func TestExportMergedScale(t *testing.T) {
	base, adapter, out := filepath.Join(golden, "models", "tied"), filepath.Join(golden, "adapters", "tied-rslora"), filepath.Join(t.TempDir(), "merged")
	must(t, "export", "--model", base, "--adapter", adapter, "--to", "merged", "--dtype", "f32", "--out", out)
	want := scored(t, "--model", base, "--adapter", adapter)
	for i, got := range scored(t, "--model", out) {
		if !(math.Abs(got-want[i]) <= 1e-5) { // float32 log-probs of a few nats
			t.Errorf("log-prob %d: %v, with the adapter %v", i, got, want[i])
		}
	}
}

// TestExportPEFT: what comes out is the same adapter, patterns and scales included.
func TestExportPEFT(t *testing.T) {
	for name, model := range map[string]string{"tied-rslora": "tied", "sharded-subset": "sharded"} {
		in, out := filepath.Join(golden, "adapters", name), filepath.Join(t.TempDir(), "out")
		must(t, "export", "--model", filepath.Join(golden, "models", model), "--adapter", in, "--to", "peft", "--out", out)
		a := adapterIn(t, in)
		b := adapterIn(t, out)
		if a.Hash() != b.Hash() {
			t.Errorf("%s: exported, it computes something else", name)
		}
	}
	out := filepath.Join(t.TempDir(), "out")
	r := afctl(t, "export", "--model", filepath.Join(golden, "models", "untied"), "--adapter", filepath.Join(golden, "adapters", "tied-plain"), "--to", "merged", "--out", out)
	checkRefusal(t, r, exitFailed, "tied-plain", "untied", "does not fit the model")
	if _, err := os.Stat(out); err == nil {
		t.Error("something was written")
	}
}
