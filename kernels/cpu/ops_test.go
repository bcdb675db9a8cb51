package cpu_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"afctl/kernels"
	"afctl/kernels/cpu"
)

// shape is the dimensions of a model and the rows of a micro-batch.
type shape struct {
	name                 string
	T, D, F, V, H, K, R  int
	targets, batch, lora int // target rows of the head; requests decoded together; parameters of the optimizer
	dh                   int
}

var (
	model05B = shape{name: "0.5B", T: 2048, D: 896, F: 4864, V: 151936, H: 14, K: 2, dh: 64, R: 16, targets: 256, batch: 32, lora: 8 << 20}
	toy      = shape{name: "toy", T: 2048, D: 128, F: 512, V: 1024, H: 4, K: 2, dh: 32, R: 16, targets: 512, batch: 32, lora: 1 << 19}
	small    = shape{name: "small", T: 70, D: 48, F: 80, V: 300, H: 4, K: 2, dh: 12, R: 16, targets: 20, batch: 5, lora: 1000}
)

// hotOp is an operation of a step, or of a decoded token, on operands that lie ready, with its work: arithmetic where it is bound by that, else bytes moved.
type hotOp struct {
	run   func() error
	flops float64
	bytes float64
}

// bench is operands on a back end.
type bench struct {
	testing.TB
	b   *cpu.Backend
	rng *rand.Rand
}

func (e *bench) must(err error) {
	e.Helper()
	if err != nil {
		e.Fatal(err)
	}
}

// tensor is normal values; ids are 0..ids.
func (e *bench) tensor(d kernels.DType, rows, cols int) kernels.Tensor {
	t, err := e.b.Alloc(d, rows, cols)
	e.must(err)
	e.Cleanup(func() { e.b.Free(t) })
	values := make([]float32, rows*cols)
	for i := range values {
		values[i] = float32(e.rng.NormFloat64())
	}
	e.must(e.b.Upload(t, values))
	return t
}

func (e *bench) ids(n int, at func(i int) int32) kernels.Tensor {
	t, err := e.b.Alloc(kernels.I32, 1, n)
	e.must(err)
	e.Cleanup(func() { e.b.Free(t) })
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = at(i)
	}
	e.must(e.b.UploadI32(t, ids))
	return t
}

func (e *bench) plan(h kernels.Heads) kernels.Plan {
	p, err := e.b.NewPlan(h)
	e.must(err)
	e.Cleanup(func() { e.b.FreePlan(p) })
	return p
}

func (e *bench) kv(d kernels.DType, slots int, h kernels.Heads) kernels.KV {
	kv, err := e.b.NewKV(d, slots, h)
	e.must(err)
	e.Cleanup(func() { e.b.FreeKV(kv) })
	return kv
}

// matrix is W [n, k] of random rows, of which the first thousand repeat.
func (e *bench) matrix(d kernels.DType, n, k int) kernels.Matrix {
	w, err := e.b.NewMatrix(d, n, k)
	e.must(err)
	e.Cleanup(func() { e.b.FreeMatrix(w) })
	rows := min(n, 1000)
	block := make([]float32, rows*k)
	for i := range block {
		block[i] = float32(e.rng.NormFloat64() / math.Sqrt(float64(k)))
	}
	for from := 0; from < n; from += rows {
		some := min(rows, n-from)
		e.must(e.b.Load(w, from, some, unsafe.Slice((*byte)(unsafe.Pointer(&block[0])), 4*some*k), kernels.SourceF32))
	}
	return w
}

// hotOps makes the operations of a shape one by one, so that only one's operands are in memory at a time; d is the dtype of products and activations.
func hotOps(s shape, d kernels.DType) []struct {
	name string
	make func(e *bench) hotOp
} {
	type maker = struct {
		name string
		make func(e *bench) hotOp
	}
	var list []maker
	add := func(name string, make func(e *bench) hotOp) { list = append(list, maker{name, make}) }
	f32, size := kernels.F32, float64(d.Size())
	T, D, F, V, R := float64(s.T), float64(s.D), float64(s.F), float64(s.V), float64(s.R)
	linear := func(name string, t, n, k int, lora, addTo bool) {
		add(name, func(e *bench) hotOp {
			y := d
			if addTo {
				y = f32
			}
			a := kernels.Linear{Y: e.tensor(y, t, n), X: e.tensor(d, t, k), W: e.matrix(d, n, k), Add: addTo}
			work := 2 * float64(t) * float64(n) * float64(k)
			if lora {
				a.U, a.B = e.tensor(d, t, s.R), e.matrix(d, n, s.R)
				work += 2 * float64(t) * float64(n) * R
			}
			op := hotOp{run: func() error { return e.b.Linear(a) }, flops: work}
			if t == 1 {
				op.flops, op.bytes = 0, float64(a.W.Bytes())
			}
			return op
		})
	}
	linear("linear/q", s.T, s.D, s.D, true, false)
	linear("linear/k", s.T, s.K*s.dh, s.D, true, false)
	linear("linear/gate", s.T, s.F, s.D, true, false)
	linear("linear/down", s.T, s.D, s.F, true, true)
	linear("linear/lowrank", s.T, s.R, s.D, false, false)
	linear("linear/gate.decode1", 1, s.F, s.D, true, false)
	linear("linear/gate.decode", s.batch, s.F, s.D, true, false)
	back := func(name string, n, k int, addTo bool) {
		add(name, func(e *bench) hotOp {
			dx := d
			if addTo {
				dx = f32
			}
			a := kernels.LinearBack{DX: e.tensor(dx, s.T, k), DY: e.tensor(d, s.T, n), W: e.matrix(d, n, k), DU: e.tensor(d, s.T, s.R), A: e.matrix(d, s.R, k), Add: addTo}
			return hotOp{run: func() error { return e.b.LinearBack(a) }, flops: 2 * T * float64(k) * (float64(n) + R)}
		})
	}
	back("linearback/q", s.D, s.D, true)
	back("linearback/gate", s.F, s.D, true)
	back("linearback/down", s.D, s.F, false)
	grad := func(name string, n, k int) {
		add(name, func(e *bench) hotOp {
			dw, dy, x := e.tensor(f32, n, k), e.tensor(d, s.T, n), e.tensor(d, s.T, k)
			return hotOp{run: func() error { return e.b.GradWeight(dw, dy, x, 2) }, flops: 2 * T * float64(n) * float64(k)}
		})
	}
	grad("gradweight/A", s.R, s.D)
	grad("gradweight/B", s.F, s.R)
	grad("gradweight/full", s.D, s.D)
	add("gradbias", func(e *bench) hotOp {
		db, dy := e.tensor(f32, 1, s.D), e.tensor(d, s.T, s.D)
		return hotOp{run: func() error { return e.b.GradBias(db, dy) }, bytes: T * D * size}
	})
	add("rmsnorm", func(e *bench) hotOp {
		y, rstd, x, w := e.tensor(d, s.T, s.D), e.tensor(f32, 1, s.T), e.tensor(f32, s.T, s.D), e.tensor(f32, 1, s.D)
		return hotOp{run: func() error { return e.b.RMSNorm(y, rstd, x, w, 1e-6) }, bytes: T * D * (4 + size)}
	})
	add("rmsnormback", func(e *bench) hotOp {
		dx, dy, x, w, rstd := e.tensor(f32, s.T, s.D), e.tensor(f32, s.T, s.D), e.tensor(d, s.T, s.D), e.tensor(f32, 1, s.D), e.tensor(f32, 1, s.T)
		return hotOp{run: func() error { return e.b.RMSNormBack(dx, kernels.Tensor{}, dy, x, w, rstd, false) }, bytes: T * D * (8 + size)}
	})
	add("rope", func(e *bench) hotOp {
		x, table := e.tensor(d, s.T, s.H*s.dh), e.tensor(f32, s.T, s.dh)
		angles := make([]float32, s.T*s.dh) // rotations: other values would shrink x to subnormal numbers, repetition by repetition
		for i := range angles {
			t, d := i/s.dh, i%s.dh
			if angle := float64(t+d%(s.dh/2)) / 100; d < s.dh/2 {
				angles[i] = float32(math.Cos(angle))
			} else {
				angles[i] = float32(math.Sin(angle))
			}
		}
		e.must(e.b.Upload(table, angles))
		positions := e.ids(s.T, func(i int) int32 { return int32(i) })
		inverse := false
		return hotOp{run: func() error { inverse = !inverse; return e.b.RoPE(x, positions, table, s.dh, inverse) }, bytes: 2 * T * float64(s.H*s.dh) * size}
	})
	add("swiglu", func(e *bench) hotOp {
		act, gate, up := e.tensor(d, s.T, s.F), e.tensor(d, s.T, s.F), e.tensor(d, s.T, s.F)
		return hotOp{run: func() error { return e.b.SwiGLU(act, gate, up) }, bytes: 3 * T * F * size}
	})
	add("swigluback", func(e *bench) hotOp {
		dgate, dup, act, dact, gate, up := e.tensor(d, s.T, s.F), e.tensor(d, s.T, s.F), e.tensor(d, s.T, s.F), e.tensor(d, s.T, s.F), e.tensor(d, s.T, s.F), e.tensor(d, s.T, s.F)
		return hotOp{run: func() error { return e.b.SwiGLUBack(dgate, dup, act, dact, gate, up) }, bytes: 6 * T * F * size}
	})
	attention := func(name string, back bool) {
		add(name, func(e *bench) hotOp {
			// A prefix of half the rows, and eight branches.
			half, branch := int32(s.T/2), int32(s.T/16)
			runs := []kernels.Run{{Start: 0, Len: half, Parent: -1}}
			for i := range int32(8) {
				runs = append(runs, kernels.Run{Start: half + i*branch, Len: branch, Parent: 0, Depth: half})
			}
			t := int(half + 8*branch)
			heads := kernels.Heads{Query: s.H, KeyValue: s.K, Dim: s.dh}
			p := e.plan(heads)
			p.Forest(runs, nil)
			wq, wk := s.H*s.dh, s.K*s.dh
			q, o, lse := e.tensor(d, t, wq), e.tensor(d, t, wq), e.tensor(f32, t, s.H)
			k, v := e.tensor(d, t, wk), e.tensor(d, t, wk)
			scale := 1 / math.Sqrt(float64(s.dh))
			pairs := float64(half)*float64(half+1)/2 + 8*(float64(branch)*float64(half)+float64(branch)*float64(branch+1)/2)
			forward := func() error { return e.b.Attention(o, lse, q, k, v, p, scale) }
			if !back {
				return hotOp{run: forward, flops: 4 * pairs * float64(wq)}
			}
			e.must(forward())
			dq, dk, dv, dout := e.tensor(d, t, wq), e.tensor(d, t, wk), e.tensor(d, t, wk), e.tensor(d, t, wq)
			return hotOp{run: func() error { return e.b.AttentionBack(dq, dk, dv, dout, o, lse, q, k, v, p, scale) }, flops: 10 * pairs * float64(wq)}
		})
	}
	attention("attention", false)
	attention("attentionback", true)
	// A batch of requests with tokens of their own after one prompt; a model's layers have a cache each.
	decode := func(name string, batch, prompt, own, layers int) {
		add(name, func(e *bench) hotOp {
			var paths [][]kernels.Seg
			for i := range batch {
				paths = append(paths, []kernels.Seg{{Len: int32(prompt)}, {Slot: int32(prompt + i*own), Len: int32(own)}})
			}
			heads := kernels.Heads{Query: s.H, KeyValue: s.K, Dim: s.dh}
			p := e.plan(heads)
			p.AddBatch(paths)
			wq := s.H * s.dh
			q, o, lse := e.tensor(d, batch, wq), e.tensor(d, batch, wq), e.tensor(f32, batch, s.H)
			caches := make([]kernels.KV, layers)
			for i := range caches {
				caches[i] = e.kv(d, prompt+batch*own, heads)
			}
			scale, at := 1/math.Sqrt(float64(s.dh)), 0
			return hotOp{run: func() error {
				at = (at + 1) % layers
				return e.b.AttentionKV(o, lse, q, caches[at], p, scale)
			}, flops: 4 * float64(batch*(prompt+own)*wq)}
		})
	}
	decode("attention.decode", s.batch, 300, 32, 1)
	decode("attention.decode/own", 8*s.batch, 80, 43, 4)
	add("kvput", func(e *bench) hotOp {
		kv := e.kv(d, s.T, kernels.Heads{Query: s.H, KeyValue: s.K, Dim: s.dh})
		k, v, slots := e.tensor(d, s.batch, s.K*s.dh), e.tensor(d, s.batch, s.K*s.dh), e.ids(s.batch, func(i int) int32 { return int32(i) })
		return hotOp{run: func() error { return e.b.KVPut(kv, k, v, slots) }, bytes: 4 * float64(s.batch*s.K*s.dh) * size}
	})
	head := func(name string, withGradient bool, back bool) {
		add(name, func(e *bench) hotOp {
			n, wide := s.targets, (s.D+15)&^15
			w := e.matrix(d, s.V, s.D)
			targets := kernels.Targets{First: e.ids(n+1, func(i int) int32 { return int32(i) }), Tokens: e.ids(n, func(i int) int32 { return int32(e.rng.IntN(s.V)) })}
			a := kernels.LogProbs{H: e.tensor(d, n, s.D), W: w, Targets: targets, Temperature: 0.7, LP: e.tensor(f32, 1, n), Entropy: e.tensor(f32, 1, n), LSE: e.tensor(f32, 1, n)}
			ew, elw := e.tensor(f32, n, wide).ColRange(0, s.D), e.tensor(f32, n, wide).ColRange(0, s.D)
			work := 2 * float64(n) * V * D
			if withGradient {
				a.EW, work = ew, 2*work
			}
			if !back {
				return hotOp{run: func() error { return e.b.LogProbs(a) }, flops: work}
			}
			g := kernels.LogProbsBack{DH: e.tensor(d, n, s.D), G: e.tensor(f32, 1, n), DEntropy: e.tensor(f32, 1, n), W: w, Targets: targets, Temperature: 0.7, Entropy: a.Entropy,
				LSE: a.LSE, EW: ew, ELW: elw, H: a.H}
			return hotOp{run: func() error { return e.b.LogProbsBack(g) }, bytes: float64(n) * D * (8 + 2*size)}
		})
	}
	head("logprobs", false, false)
	head("logprobs/gradient", true, false)
	head("logprobsback", true, true)
	sample := func(name string, n int) {
		add(name, func(e *bench) hotOp {
			h, w, u, temperature := e.tensor(d, n, s.D), e.matrix(d, s.V, s.D), make([]float64, n), make([]float64, n)
			for i := range u {
				u[i], temperature[i] = e.rng.Float64(), 0.7
			}
			tokens, lp := make([]int32, n), make([]float32, n)
			op := hotOp{run: func() error { return e.b.Sample(h, w, temperature, u, tokens, lp) }, flops: 2 * float64(n) * V * D}
			if n == 1 {
				op.flops, op.bytes = 0, float64(w.Bytes())
			}
			return op
		})
	}
	sample("sample/1", 1)
	sample("sample/batch", s.batch)
	add("gather", func(e *bench) hotOp {
		x, w := e.tensor(f32, s.T, s.D), e.matrix(d, s.V, s.D)
		tokens := e.ids(s.T, func(int) int32 { return int32(e.rng.IntN(s.V)) })
		return hotOp{run: func() error { return e.b.Gather(x, w, tokens) }, bytes: T * D * (4 + size)}
	})
	add("select", func(e *bench) hotOp {
		y, x := e.tensor(f32, s.targets, s.D), e.tensor(f32, s.T, s.D)
		rows := e.ids(s.targets, func(i int) int32 { return int32(i * (s.T / s.targets)) })
		return hotOp{run: func() error { return e.b.Select(y, x, rows) }, bytes: 8 * float64(s.targets) * D}
	})
	add("scatteradd", func(e *bench) hotOp {
		y, x := e.tensor(f32, s.T, s.D), e.tensor(f32, s.targets, s.D)
		rows := e.ids(s.targets, func(i int) int32 { return int32(i * (s.T / s.targets)) })
		return hotOp{run: func() error { return e.b.ScatterAdd(y, x, rows) }, bytes: 12 * float64(s.targets) * D}
	})
	add("convert", func(e *bench) hotOp {
		y, x := e.tensor(kernels.BF16, s.T, s.D), e.tensor(f32, s.T, s.D)
		return hotOp{run: func() error { return e.b.Convert(y, x) }, bytes: 6 * T * D}
	})
	if d == f32 { // always float32
		add("sumsquares", func(e *bench) hotOp {
			x := e.tensor(f32, 1, s.lora)
			return hotOp{run: func() error { _, err := e.b.SumSquares(x); return err }, bytes: 4 * float64(s.lora)}
		})
		add("adamw", func(e *bench) hotOp {
			a := kernels.AdamW{P: e.tensor(f32, 1, s.lora), G: e.tensor(f32, 1, s.lora), M: e.tensor(f32, 1, s.lora), V: e.tensor(f32, 1, s.lora), Step: 7, LR: 1e-5, Beta1: 0.9, Beta2: 0.999,
				Eps: 1e-8, WeightDecay: 0.01, GradScale: 1}
			e.must(e.b.Zero(a.V)) // not negative
			return hotOp{run: func() error { return e.b.AdamW(a) }, bytes: 28 * float64(s.lora)}
		})
		add("loss", func(e *bench) hotOp {
			n := s.targets
			a := kernels.Loss{Params: kernels.LossParams{ClipLow: 0.2, ClipHigh: 0.3, KL: 0.001, KLEstimator: kernels.K3}, Index: make([]int32, n), Weight: make([]float64, n),
				Advantage: make([]float64, n), LO: make([]float32, n), LR: make([]float32, n), LS: make([]float32, n), LP: make([]float32, n), Entropy: make([]float32, n), DLP: make([]float32, n)}
			for i := range n {
				a.Index[i], a.Weight[i], a.Advantage[i] = int32(i), 1, e.rng.NormFloat64()
				a.LO[i], a.LP[i], a.LR[i] = -float32(e.rng.Float64()), -float32(e.rng.Float64()), -float32(e.rng.Float64())
			}
			var sums kernels.LossSums
			return hotOp{run: func() error { return e.b.Loss(a, &sums) }, bytes: 44 * float64(n)}
		})
	}
	return list
}

// Nothing that a step or a decoded token calls allocates on Go's heap.
func TestHotOperationsDoNotAllocate(t *testing.T) {
	for _, d := range []kernels.DType{kernels.F32, kernels.BF16} {
		for _, m := range hotOps(small, d) {
			t.Run(fmt.Sprintf("%s/%v", m.name, d), func(t *testing.T) {
				e := &bench{t, open(t, cpu.BestLevel(), 2), rand.New(rand.NewPCG(1, 2))}
				op := m.make(e)
				if n := testing.AllocsPerRun(5, func() { e.must(op.run()) }); n != 0 {
					t.Errorf("found %v allocations a call, expected 0", n)
				}
			})
		}
	}
}
