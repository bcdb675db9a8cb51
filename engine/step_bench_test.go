package engine

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"afctl/ckpt"
	"afctl/flow"
	"afctl/kernels"
	"afctl/kernels/cpu"
)

// benchShape is a model whose speed is measured, with the dtype that it is trained in.
type benchShape struct {
	name  string
	cfg   ckpt.ModelConfig
	dtype kernels.DType
}

// Shapes that bench/peer compares in, too: a toy, Qwen2.5-0.5B, and the first 4 layers of it.
var (
	benchToy   = benchShape{"toy", benchConfig(128, 4, 4, 2, 512, 1024), kernels.F32}
	benchQ05x4 = benchShape{"q05-4l", benchConfig(896, 4, 14, 2, 4864, 151936), kernels.BF16}
	benchQ05   = benchShape{"q05", benchConfig(896, 24, 14, 2, 4864, 151936), kernels.BF16}
)

func benchConfig(hidden, layers, heads, kv, ffn, vocab int) ckpt.ModelConfig {
	return ckpt.ModelConfig{ModelType: "qwen2", HiddenSize: hidden, NumHiddenLayers: layers, NumAttentionHeads: heads, NumKeyValueHeads: kv,
		HeadDim: hidden / heads, IntermediateSize: ffn, VocabSize: vocab, MaxPositionEmbeddings: 32768, RMSNormEps: 1e-6, RopeTheta: 1e6,
		TieWordEmbeddings: true, AttentionBias: true, HiddenAct: "silu"}
}

// benchWeights are bf16 tensors of normal values, 0.02 wide (norms: 1), all of them stretches of one array: a model of any size is there at once.
type benchWeights struct {
	cfg    *ckpt.ModelConfig
	random []byte
	ones   []byte
}

func newBenchWeights(cfg *ckpt.ModelConfig) *benchWeights {
	w := &benchWeights{cfg: cfg, random: make([]byte, 2*cfg.VocabSize*cfg.HiddenSize), ones: make([]byte, 2*cfg.HiddenSize)}
	rng := rand.New(rand.NewPCG(5, 6))
	const some = 1 << 20 // values until they repeat; odd offsets below keep rows apart
	for i := 0; i < len(w.random) && i < 2*some; i += 2 {
		binary.LittleEndian.PutUint16(w.random[i:], bf16Bits(float32(0.02*rng.NormFloat64())))
	}
	for n := 2 * some; n < len(w.random); n *= 2 {
		copy(w.random[n:], w.random[:n])
	}
	for i := 0; i < len(w.ones); i += 2 {
		binary.LittleEndian.PutUint16(w.ones[i:], bf16Bits(1))
	}
	return w
}

func bf16Bits(x float32) uint16 {
	t, err := ckpt.Float32Tensor("", ckpt.BF16, []int{1}, []float32{x})
	if err != nil {
		panic(err)
	}
	return binary.LittleEndian.Uint16(t.Data)
}

func (w *benchWeights) Names() []string {
	var names []string
	for _, s := range w.cfg.TensorSpecs() {
		names = append(names, s.Name)
	}
	return names
}

func (w *benchWeights) Tensor(name string) (ckpt.Tensor, error) {
	for i, s := range w.cfg.TensorSpecs() {
		if s.Name != name {
			continue
		}
		n := 2
		for _, k := range s.Shape {
			n *= k
		}
		t := ckpt.Tensor{Name: name, DType: ckpt.BF16, Shape: s.Shape, Data: w.ones[:min(n, len(w.ones))]}
		if len(s.Shape) == 2 {
			from := min(2*(7919*i%(1<<18)), len(w.random)-n)
			t.Data = w.random[from : from+n]
		}
		return t, nil
	}
	return ckpt.Tensor{}, fmt.Errorf("tensor %q: %w", name, ckpt.ErrNoTensor)
}

func (w *benchWeights) File(string) string { return "" }
func (w *benchWeights) Drop(string)        {}
func (w *benchWeights) Close() error       { return nil }

// benchEngine is a model of the shape, trained whole or with an adapter of rank 16 whose B is not zero, on as many threads as go test's -cpu says.
func benchEngine(b *testing.B, s benchShape, trainable Trainable) (*Engine, *cpu.Backend) {
	b.Helper()
	back, err := cpu.New(cpu.Options{Threads: runtime.GOMAXPROCS(0)})
	if err != nil {
		b.Fatal(err)
	}
	e, err := New(back, &ckpt.Model{Name: s.name, Config: s.cfg, Weights: newBenchWeights(&s.cfg)}, Options{DType: s.dtype, Trainable: trainable})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		e.Close()
		back.Close()
	})
	if trainable == LoRA {
		if err := e.SetAdapter(randomAdapter(b, s.cfg, 16, 3)); err != nil {
			b.Fatal(err)
		}
	}
	return e, back
}

// benchUpdate is one group of 8 rollouts of 3 turns: prompts of about 300 tokens, 240 of them the group's, actions of 32-48. Unshared
// has prompts of the same lengths with nothing in common.
func benchUpdate(b *testing.B, vocab int, shared bool) *flow.Update {
	b.Helper()
	rng := rand.New(rand.NewPCG(7, 8))
	between := func(lo, hi int) int { return lo + rng.IntN(hi-lo+1) }
	stem := tokens(rng, 240, vocab)
	var ts []flow.Trajectory
	for i := range 8 {
		reward := float64(i % 2)
		t := flow.Trajectory{Group: "q", Sample: i, Reward: &reward}
		prompt := append(append([]int32(nil), stem...), tokens(rng, between(50, 70), vocab)...)
		for turn := range 3 {
			if turn > 0 {
				prompt = append(append([]int32(nil), prompt...), tokens(rng, between(20, 30), vocab)...)
			}
			if !shared {
				prompt = tokens(rng, len(prompt), vocab)
			}
			t.Turns = append(t.Turns, flow.Turn{Prompt: prompt, Action: tokens(rng, between(32, 48), vocab)})
		}
		ts = append(ts, t)
	}
	u, err := flow.NewUpdate(ts, flow.DefaultObjective())
	if err != nil {
		b.Fatal(err)
	}
	return u
}

// usefulFLOP counts the products that a step cannot do without, 1 multiply-add = 2, on distinct rows: those of one forest of all
// sequences, however they are cut into micro-batches. Per layer, T rows, of which the last layer needs S beyond its keys and values (those
// that predict something); P the elements of the layer's seven projections, L those of their A and B, X its attended pairs:
//
//	reference   2 P T + 4 Dh H X
//	policy      2 (P + L) T + 4 Dh H X
//	backward    2 P T (gradient of the inputs; none of q, k, v in the first layer: nothing below is trained)
//	            + 4 L T (gradients of A, B and of what is between) + 10 Dh H X (the scores again, and four products)
//	head        3 x 2 V D S: the reference's logits, the policy's, and the gradient of the hidden states
//
// Not counted: weight gradients of frozen matrices (never computed), norms, rotary, SwiGLU, softmax, loss, AdamW.
func usefulFLOP(c ckpt.ModelConfig, seqs []flow.Sequence, r int) float64 {
	return workOf(seqs).flop(c, 18, func(layer int, p string, in, out float64) float64 {
		P, L := in*out, float64(r)*(in+out)
		sum := 2*P + 2*(P+L) + 4*L
		if layer == 0 && (keysOrValues(p) || p == ckpt.Projections[projQ]) {
			return sum - 2*float64(r)*in // nor is their du A
		}
		return sum + 2*P
	})
}

// usefulFullFLOP is the same of a supervised step on all weights: three products of every matrix, and of the head.
func usefulFullFLOP(c ckpt.ModelConfig, seqs []flow.Sequence) float64 {
	return workOf(seqs).flop(c, 14, func(_ int, _ string, in, out float64) float64 { return 6 * in * out })
}

// work is T, S and X above of one forest of all sequences, and X of the rows that predict.
type work struct{ T, S, X, XS float64 }

func workOf(seqs []flow.Sequence) (w work) {
	f := &flow.Forests(seqs, 1<<30)[0]
	for _, p := range f.Positions {
		w.T, w.X = w.T+1, w.X+float64(p)+1
	}
	for i, t := range f.Targets {
		if i == 0 || t.Row != f.Targets[i-1].Row {
			w.S, w.XS = w.S+1, w.XS+float64(f.Positions[t.Row])+1
		}
	}
	return w
}

// flop is that of the head and of the layers: attention per element of Dh H and pair, products per row of a projection [out, in].
func (w work) flop(c ckpt.ModelConfig, attention float64, products func(layer int, p string, in, out float64) float64) float64 {
	sum := 3 * 2 * float64(c.VocabSize) * float64(c.HiddenSize) * w.S
	for layer := range c.NumHiddenLayers {
		last := layer == c.NumHiddenLayers-1
		for _, p := range ckpt.Projections {
			in, out, _ := c.ProjectionSize(p)
			sum += w.rows(p, last) * products(layer, p, float64(in), float64(out))
		}
		sum += attention * float64(c.HeadDim*c.NumAttentionHeads) * w.pairs(last)
	}
	return sum
}

func keysOrValues(p string) bool {
	return p == ckpt.Projections[projK] || p == ckpt.Projections[projV]
}

// rows that a projection has to be computed for, in the last layer or another.
func (w work) rows(p string, last bool) float64 {
	if last && !keysOrValues(p) {
		return w.S
	}
	return w.T
}

func (w work) pairs(last bool) float64 {
	if last {
		return w.XS
	}
	return w.X
}

// BenchmarkStep is a whole optimizer step: reference pass, policy pass, loss, backward, clip and AdamW. %peak is of what a loop in registers
// reaches in the step's dtype, measured just before; tokens/s count every turn's rows, as a trainer without sharing has them.
func BenchmarkStep(b *testing.B) {
	for _, s := range []benchShape{benchToy, benchQ05x4, benchQ05} {
		for _, shared := range []bool{true, false} {
			if !shared && s.name == benchQ05.name {
				continue // q05-4l tells the same in a sixth of the time
			}
			b.Run(s.name+map[bool]string{true: "/grouped", false: "/unshared"}[shared], func(b *testing.B) { benchStep(b, s, shared) })
		}
	}
}

func benchStep(b *testing.B, s benchShape, shared bool) {
	e, back := benchEngine(b, s, LoRA)
	u := benchUpdate(b, s.cfg.VocabSize, shared)
	up, err := e.Begin(u)
	if err != nil {
		b.Fatal(err)
	}
	opt := DefaultOptimizer()
	var sums kernels.LossSums
	step := func() {
		up.known = false // lo and lr anew, as on the first step of an update
		for i := range up.forests {
			if err := e.logProbs(b.Context(), up.forests[i:i+1], u.Objective.Temperature, false, up.lr); err != nil {
				b.Fatal(err)
			}
			if err := up.gradient(&up.forests[i], &sums); err != nil {
				b.Fatal(err)
			}
		}
		if _, _, err := e.optimize(opt); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	timeSteps(b, back, s, usefulFLOP(s.cfg, u.Sequences, 16), u.Sequences, step)
}

// BenchmarkFullStep is a supervised step on all weights, as `sft` takes with trainable: full; metrics as above.
func BenchmarkFullStep(b *testing.B) {
	for _, s := range []benchShape{benchToy, benchQ05x4} {
		b.Run(s.name, func(b *testing.B) {
			e, back := benchEngine(b, s, Full)
			seqs := benchUpdate(b, s.cfg.VocabSize, true).Sequences
			timeSteps(b, back, s, usefulFullFLOP(s.cfg, seqs), seqs, func() {
				if _, err := e.SupervisedStep(b.Context(), seqs, DefaultOptimizer()); err != nil {
					b.Fatal(err)
				}
			})
		})
	}
}

// timeSteps runs steps of so many useful floating-point operations and reports their rate.
func timeSteps(b *testing.B, back *cpu.Backend, s benchShape, flop float64, seqs []flow.Sequence, step func()) {
	b.Helper()
	step() // memory is there from now on
	peak := back.PeakGFLOPS(s.dtype == kernels.BF16, 0.3)
	b.ResetTimer()
	for range b.N {
		step()
	}
	b.StopTimer()
	perSecond := float64(b.N) / b.Elapsed().Seconds()
	gflops := flop * perSecond / 1e9
	rows := 0
	for _, q := range seqs {
		rows += q.Rows()
	}
	b.ReportMetric(gflops, "GFLOP/s")
	b.ReportMetric(100*gflops/peak, "%peak")
	b.ReportMetric(float64(rows)*perSecond, "tokens/s")
}
