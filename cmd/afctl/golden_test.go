package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"afctl/ckpt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Golden files by testdata/golden.py, which computes in float32 as these commands do. Log-probs of such models differ by an ulp or two
// of the logits per layer, some 1e-6 nats: measured up to 3e-6.
const (
	golden = "testdata/golden"

	scoreTolerance    = 1e-4 // nats
	lossTolerance     = 1e-4 // relative, of loss, policy_loss, kl and entropy
	gradNormTolerance = 1e-3 // relative
	leastCosine       = 0.999
	// lossFloor is what lossTolerance cannot be asked below: policy_loss is a difference of terms of size mean |A| = 1, each of which moves by
	// |A| rho dlp, 1e-6 for the golden files' ratios.
	lossFloor = 3e-6
	// meanTolerance is for plain means over tokens, relative to the larger of 1 and the value: ratios and gaps move by rho dlp.
	meanTolerance = 1e-4
)

func TestScoreGolden(t *testing.T) {
	var cases []struct {
		Model       string         `json:"model"`
		Adapter     *string        `json:"adapter"`
		Temperature float64        `json:"temperature"`
		Sequences   jsontext.Value `json:"sequences"`
		LogProbs    [][]float64    `json:"logprobs"`
	}
	readJSON(t, filepath.Join(golden, "score.json"), &cases)
	for _, c := range cases {
		args := []string{"score", "--model", filepath.Join(golden, "models", c.Model), "--temperature", fmt.Sprint(c.Temperature)}
		name := c.Model
		if c.Adapter != nil {
			args = append(args, "--adapter", filepath.Join(golden, "adapters", *c.Adapter))
			name = *c.Adapter
		}
		t.Run(fmt.Sprint(name, "/", c.Temperature), func(t *testing.T) {
			var seqs []jsontext.Value
			if err := json.Unmarshal(c.Sequences, &seqs); err != nil {
				t.Fatal(err)
			}
			var in strings.Builder
			for _, s := range seqs {
				fmt.Fprintf(&in, "%s\n", s)
			}
			r := afctlIn(t, in.String(), args...)
			if r.status != exitDone {
				t.Fatal(r.stderr)
			}
			lines := parseLines[struct {
				LogProbs []float64 `json:"logprobs"`
			}](t, r.stdout)
			if len(lines) != len(c.LogProbs) {
				t.Fatalf("%d lines out, want %d", len(lines), len(c.LogProbs))
			}
			for i, want := range c.LogProbs {
				if len(lines[i].LogProbs) != len(want) {
					t.Fatalf("line %d: %d log-probs, want %d", i+1, len(lines[i].LogProbs), len(want))
				}
				for j, w := range want {
					if got := lines[i].LogProbs[j]; !(math.Abs(got-w) <= scoreTolerance) {
						t.Errorf("line %d, log-prob %d: %v, want %v", i+1, j, got, w)
					}
				}
			}
		})
	}
}

// updateCase is a case of update.json.
type updateCase struct {
	Name         string               `json:"name"`
	Model        string               `json:"model"`
	Adapter      *string              `json:"adapter"`
	Trajectories string               `json:"trajectories"`
	Config       jsontext.Value       `json:"config"`
	Steps        int                  `json:"steps"`
	Metrics      []map[string]float64 `json:"metrics"`
}

func TestUpdateGolden(t *testing.T) {
	var cases []updateCase
	readJSON(t, filepath.Join(golden, "update.json"), &cases)
	for i, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			out := filepath.Join(t.TempDir(), "out")
			// The config is JSON, which is YAML too. Results depend neither on the budget of a micro-batch nor on the flag that counts the steps.
			args := []string{"update", "--config", writeFile(t, "config.yaml", string(c.Config)), "--out", out,
				"--model", filepath.Join(golden, "models", c.Model), "--trajectories", filepath.Join(golden, c.Trajectories),
				"--set", "engine.threads=1", "--set", fmt.Sprintf("engine.micro_batch_tokens=%d", []int{4096, 1, 64}[i%3])}
			if steps := fmt.Sprint(c.Steps); i%2 == 0 {
				args = append(args, "--steps", steps)
			} else {
				args = append(args, "--set", "flow.epochs="+steps)
			}
			if c.Adapter != nil {
				args = append(args, "--adapter", filepath.Join(golden, "adapters", *c.Adapter))
			}
			must(t, args...)
			c.checkMetrics(t, readLines[map[string]any](t, filepath.Join(out, metricsFile)))
			c.checkChange(t, out)
		})
	}
}

func (c *updateCase) checkMetrics(t *testing.T, got []map[string]any) {
	if len(got) != len(c.Metrics) {
		t.Fatalf("%d lines of metrics, want %d", len(got), len(c.Metrics))
	}
	for i, want := range c.Metrics {
		for name, w := range want {
			g, ok := got[i][name].(float64)
			if !ok {
				t.Errorf("step %d: %s: found %v, want %v", i+1, name, got[i][name], w)
				continue
			}
			allowed := meanTolerance * max(1, math.Abs(w))
			switch name {
			case "loss", "policy_loss", "kl", "entropy":
				allowed = max(lossTolerance*math.Abs(w), lossFloor)
			case "grad_norm":
				allowed = gradNormTolerance * w
			case "action_tokens", "turns/max", "skipped_steps":
				allowed = 0
			}
			if !(math.Abs(g-w) <= allowed) {
				t.Errorf("step %d: %s: found %v, want %v within %.2g", i+1, name, g, w, allowed)
			}
		}
	}
}

// checkChange compares what training changed, tensor by tensor.
func (c *updateCase) checkChange(t *testing.T, out string) {
	want, err := ckpt.OpenSafetensors(filepath.Join(golden, c.Name+".safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer want.Close()
	read := func(dir string) ckpt.Weights {
		s, err := openTensors(dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	start := filepath.Join(golden, "models", c.Model)
	if c.Adapter != nil {
		start = filepath.Join(golden, "adapters", *c.Adapter)
	}
	before, after := read(start), read(out)
	if a, b := len(after.Names()), len(want.Names()); a != b {
		t.Errorf("%d tensors in %s, want %d", a, out, b)
	}
	for _, name := range want.Names() {
		w, a, b := floats(t, want, name), floats(t, after, name), floats(t, before, name)
		var dot, ww, gg float64
		for i := range w {
			g := float64(a[i]) - float64(b[i])
			dot, ww, gg = dot+g*float64(w[i]), ww+float64(w[i])*float64(w[i]), gg+g*g
		}
		if cos := dot / math.Sqrt(ww*gg); !(cos >= leastCosine) {
			t.Errorf("%s: cosine %.6f of the change, lengths %.3g and %.3g", name, cos, math.Sqrt(gg), math.Sqrt(ww))
		}
		if r := math.Sqrt(gg / ww); !(math.Abs(r-1) <= 1-leastCosine) {
			t.Errorf("%s: length of the change: %.6f times what it should be", name, r)
		}
	}
}

// openTensors opens the tensors of a model's or an adapter's folder.
func openTensors(dir string) (ckpt.Weights, error) {
	file := filepath.Join(dir, "adapter_model.safetensors")
	if _, err := os.Stat(file); err == nil {
		return ckpt.OpenSafetensors(file)
	}
	m, err := ckpt.OpenModel(dir)
	if err != nil {
		return nil, err
	}
	return m.Weights, nil
}

func floats(t *testing.T, w ckpt.Weights, name string) []float32 {
	t.Helper()
	x, err := w.Tensor(name)
	if err != nil {
		t.Fatal(err)
	}
	v, err := x.Float32s()
	if err != nil {
		t.Fatal(err)
	}
	return v
}
