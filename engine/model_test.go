package engine

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"afctl/ckpt"
	"afctl/flow"
	"afctl/kernels"
	"afctl/kernels/cpu"
)

// tiny is a Qwen2 description small enough for finite differences, with sizes that are no multiple of a vector. Untied it has heads of a size
// of their own: all of them together are wider than the hidden size.
func tiny(tied bool) ckpt.ModelConfig {
	c := ckpt.ModelConfig{ModelType: "qwen2", HiddenSize: 24, NumHiddenLayers: 3, NumAttentionHeads: 4, NumKeyValueHeads: 2, HeadDim: 6,
		IntermediateSize: 40, VocabSize: 300, MaxPositionEmbeddings: 512, RMSNormEps: 1e-6, RopeTheta: 10000, TieWordEmbeddings: tied,
		AttentionBias: true, HiddenAct: "silu", EOSTokenIDs: []int32{7}}
	if !tied {
		c.HeadDim = 10
	}
	return c
}

// randomModel saves a model of random weights and opens it.
func randomModel(t testing.TB, cfg ckpt.ModelConfig, d ckpt.DType, seed uint64) *ckpt.Model {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	var tensors []ckpt.Tensor
	for _, s := range cfg.TensorSpecs() {
		n := 1
		for _, k := range s.Shape {
			n *= k
		}
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(rng.NormFloat64()) * 0.1
			if strings.HasSuffix(s.Name, "norm.weight") {
				v[i] += 1
			}
		}
		c, err := ckpt.Float32Tensor(s.Name, d, s.Shape, v)
		if err != nil {
			t.Fatal(err)
		}
		tensors = append(tensors, c)
	}
	dir := filepath.Join(t.TempDir(), fmt.Sprint("model", seed))
	if err := ckpt.SaveModel(dir, cfg, tensors, nil); err != nil {
		t.Fatal(err)
	}
	m, err := ckpt.OpenModel(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// randomAdapter has B other than 0, so that it does something.
func randomAdapter(t testing.TB, cfg ckpt.ModelConfig, r int, seed uint64, targets ...string) *ckpt.Adapter {
	t.Helper()
	if targets == nil {
		targets = ckpt.Projections
	}
	a, err := ckpt.NewAdapter(cfg, r, float64(2*r), targets, seed, false)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(seed, 2))
	for i := range a.Modules {
		for j := range a.Modules[i].B {
			a.Modules[i].B[j] = float32(rng.NormFloat64()) * 0.1
		}
	}
	return a
}

func newEngine(t testing.TB, m *ckpt.Model, threads int, o Options) *Engine {
	t.Helper()
	b, err := cpu.New(cpu.Options{Threads: threads, Products: cpu.ProductsOwn}) // tests compare bits
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(b, m, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		e.Close()
		b.Close()
	})
	return e
}

func tokens(rng *rand.Rand, n, vocab int) []int32 {
	s := make([]int32, n)
	for i := range s {
		s[i] = rng.Int32N(int32(vocab))
	}
	return s
}

// randomSequences share prefixes, as the turns of a group do: some repeat others whole.
func randomSequences(rng *rand.Rand, n, vocab int) []flow.Sequence {
	stem := tokens(rng, 5+rng.IntN(20), vocab)
	var seqs []flow.Sequence
	index := 0
	for i := range n {
		s := append([]int32(nil), stem[:1+rng.IntN(len(stem))]...)
		if i > 0 && rng.IntN(3) == 0 {
			prev := seqs[rng.IntN(i)].Tokens
			s = append([]int32(nil), prev[:1+rng.IntN(len(prev))]...)
		}
		s = append(s, tokens(rng, 1+rng.IntN(12), vocab)...)
		start := 1 + rng.IntN(len(s)-1)
		seqs = append(seqs, flow.Sequence{Tokens: s, Start: start, Index: index})
		index += len(s) - start
	}
	return seqs
}

// randomUpdate is a set of groups with turns that extend each other, failed rollouts and a group of equal rewards.
func randomUpdate(t testing.TB, rng *rand.Rand, vocab int, o flow.Objective) *flow.Update {
	t.Helper()
	var ts []flow.Trajectory
	for g := range 3 {
		stem := tokens(rng, 8+rng.IntN(12), vocab)
		for s := range 4 {
			tr := flow.Trajectory{Group: fmt.Sprint("g", g), Sample: s}
			if r := float64((s + g) % 2); g == 2 {
				one := 1.0
				tr.Reward = &one
			} else if !(g == 1 && s == 3) {
				tr.Reward = &r
			} else {
				tr.Failure = "timeout"
			}
			prompt := stem
			for range 1 + rng.IntN(3) {
				prompt = append(append([]int32(nil), prompt...), tokens(rng, 1+rng.IntN(4), vocab)...)
				a := tokens(rng, 1+rng.IntN(6), vocab)
				turn := flow.Turn{Prompt: prompt, Action: a, LogProbs: make([]float32, len(a))}
				for i := range a {
					turn.LogProbs[i] = -float32(rng.Float64() * 7)
				}
				tr.Turns = append(tr.Turns, turn)
			}
			ts = append(ts, tr)
		}
	}
	u, err := flow.NewUpdate(ts, o)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// gradients returns the flat gradient of what is trained, by parameter name.
func gradients(t testing.TB, e *Engine) map[string][]float32 {
	t.Helper()
	ps := e.trained()
	flat := make([]float32, ps.g.Cols)
	if err := e.b.Download(flat, ps.g); err != nil {
		t.Fatal(err)
	}
	out := map[string][]float32{}
	for _, q := range ps.list {
		out[q.name] = flat[q.at : q.at+q.rows*q.cols]
	}
	return out
}

// relative is the largest |a-b| over the largest |b|, tensor by tensor.
func relative(t testing.TB, a, b map[string][]float32) float64 {
	t.Helper()
	worst := 0.0
	for name, y := range b {
		x := a[name]
		top, diff := 1e-30, 0.0
		for i := range y {
			top = max(top, abs(float64(y[i])))
			diff = max(diff, abs(float64(x[i])-float64(y[i])))
		}
		if top > 1e-12 {
			worst = max(worst, diff/top)
		}
	}
	return worst
}

func abs(x float64) float64 {
	if x < 0 {
		return -x
	}
	return x
}

var dtypes = []kernels.DType{kernels.F32, kernels.BF16}

// TestNoPlace: a part of a layer for which there is no operation is an error that names it, not a place beside the others.
func TestNoPlace(t *testing.T) {
	w := &weights{layers: make([]layer, 1)}
	for _, part := range []string{"self_attn.q_norm.weight", "self_attn.o_proj.bias", "mlp.gate_proj.bias"} {
		s := ckpt.TensorSpec{Name: "model.layers.0." + part, Part: part, Shape: []int{4}}
		if err := w.loadVector(nil, s, ckpt.Tensor{}); err == nil || !strings.Contains(err.Error(), s.Name) || !strings.Contains(err.Error(), "no operation") {
			t.Errorf("%s: %v", part, err)
		}
	}
	s := ckpt.TensorSpec{Name: "model.layers.0.mlp.router.weight", Part: "mlp.router.weight", Shape: []int{4, 4}}
	if err := w.loadMatrix(nil, s, ckpt.Tensor{}, Options{}); err == nil || !strings.Contains(err.Error(), s.Name) {
		t.Errorf("%s: %v", s.Part, err)
	}
}
