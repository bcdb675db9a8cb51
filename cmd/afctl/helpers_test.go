package main

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"afctl/ckpt"

	"github.com/go-json-experiment/json"
)

// result is what one command line did.
type result struct {
	status         int
	stdout, stderr string
}

// afctl runs a command line without a standard input.
func afctl(t *testing.T, args ...string) result { return afctlIn(t, "", args...) }

func afctlIn(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	status := run(context.Background(), args, strings.NewReader(stdin), &out, &errs)
	return result{status, out.String(), errs.String()}
}

// must runs a command line that has to succeed.
func must(t *testing.T, args ...string) result {
	t.Helper()
	r := afctl(t, args...)
	if r.status != exitDone {
		t.Fatalf("afctl %s: status %d\n%s", strings.Join(args, " "), r.status, r.stderr)
	}
	return r
}

// adapterIn is the adapter of a folder that has to hold one.
func adapterIn(t *testing.T, dir string) *ckpt.Adapter {
	t.Helper()
	a, err := ckpt.ReadAdapter(dir)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// tinyConfig describes a model of two layers with grouped heads.
func tinyConfig(tied bool) ckpt.ModelConfig {
	return ckpt.ModelConfig{ModelType: "qwen2", HiddenSize: 32, NumHiddenLayers: 2, NumAttentionHeads: 4, NumKeyValueHeads: 2, HeadDim: 8,
		IntermediateSize: 48, VocabSize: 80, MaxPositionEmbeddings: 64, RMSNormEps: 1e-6, RopeTheta: 10000, TieWordEmbeddings: tied,
		AttentionBias: true, HiddenAct: "silu", EOSTokenIDs: []int32{1}}
}

// tinyTensors are random weights of a model.
func tinyTensors(t testing.TB, c ckpt.ModelConfig, d ckpt.DType, seed uint64) []ckpt.Tensor {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	var ts []ckpt.Tensor
	for _, spec := range c.TensorSpecs() {
		n := 1
		for _, s := range spec.Shape {
			n *= s
		}
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(rng.NormFloat64() / math.Sqrt(float64(spec.Shape[len(spec.Shape)-1])))
			if strings.Contains(spec.Name, "norm") {
				v[i] += 1
			}
		}
		x, err := ckpt.Float32Tensor(spec.Name, d, spec.Shape, v)
		if err != nil {
			t.Fatal(err)
		}
		ts = append(ts, x)
	}
	return ts
}

// tinyModel writes a random model and returns its folder.
func tinyModel(t testing.TB, tied bool, d ckpt.DType) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "model")
	c := tinyConfig(tied)
	if err := ckpt.SaveModel(dir, c, tinyTensors(t, c, d, 1), nil); err != nil {
		t.Fatal(err)
	}
	return dir
}

// tinyAdapter writes a random adapter, B not zero, for a model and returns its folder.
func tinyAdapter(t *testing.T, c ckpt.ModelConfig, seed uint64) string {
	t.Helper()
	a, err := ckpt.NewAdapter(c, 4, 8, ckpt.Projections, seed, false)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(seed, 2))
	for i := range a.Modules {
		for k := range a.Modules[i].B {
			a.Modules[i].B[k] = float32(0.1 * rng.NormFloat64())
		}
	}
	dir := filepath.Join(t.TempDir(), "adapter")
	if err := ckpt.WriteDirAtomic(dir, func(d *ckpt.DirWriter) error { return ckpt.WriteAdapterFiles(d.Create, a) }); err != nil {
		t.Fatal(err)
	}
	return dir
}

// writeFile writes a file into a new temporary folder and returns its path.
func writeFile(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// readJSON reads a file of one JSON value.
func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// readLines reads a file, or text, of JSON Lines.
func parseLines[T any](t *testing.T, text string) []T {
	t.Helper()
	var out []T
	for l := range strings.Lines(text) {
		var v T
		if err := json.Unmarshal([]byte(l), &v); err != nil {
			t.Fatalf("line %q: %v", l, err)
		}
		out = append(out, v)
	}
	return out
}

func readLines[T any](t *testing.T, path string) []T {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return parseLines[T](t, string(data))
}

// tinyTrajectories are lines of an update: groups that share prefixes, within a rollout too.
func tinyTrajectories(seed uint64, groups, size int) []string {
	rng := rand.New(rand.NewPCG(seed, 3))
	ids := func(n int) []int32 {
		out := make([]int32, n)
		for i := range out {
			out[i] = rng.Int32N(80)
		}
		return out
	}
	list := func(ids []int32) string { return strings.ReplaceAll(fmt.Sprint(ids), " ", ",") }
	var lines []string
	shared := ids(6)
	for g := range groups {
		question := append(shared[:6:6], ids(3)...)
		for s := range size {
			prompt := question
			var turns []string
			for range 1 + rng.IntN(2) {
				action := ids(1 + rng.IntN(4))
				turns = append(turns, fmt.Sprintf(`{"prompt":%s,"action":%s}`, list(prompt), list(action)))
				prompt = append(append(prompt[:len(prompt):len(prompt)], action...), ids(2)...)
			}
			lines = append(lines, fmt.Sprintf(`{"group":"g%d","sample":%d,"reward":%d,"turns":[%s]}`+"\n", g, s, rng.IntN(2), strings.Join(turns, ",")))
		}
	}
	return lines
}
