package engine

import (
	"context"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"afctl/ckpt"
	"afctl/flow"
	"afctl/kernels"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// splitTolerance is what float32 leaves between two orders of the same sums: 2^-24 times a few hundred additions, by the square root
// of their number, with a factor 10 of room below the required 1e-5.
const splitTolerance = 1e-5

// TestForestEqualsSequences is the property that prefix sharing rests on: over random trees, log-probs and every gradient of a
// forest are those of the sequences one by one.
func TestForestEqualsSequences(t *testing.T) {
	m := randomModel(t, tiny(true), ckpt.F32, 1)
	e := newEngine(t, m, 2, Options{})
	if err := e.SetAdapter(randomAdapter(t, m.Config, 4, 3)); err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(r *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(r, "seed"), 5))
		seqs := randomSequences(rng, 1+rng.IntN(12), m.Config.VocabSize)
		n := 0
		for _, s := range seqs {
			n = s.Index + len(s.Tokens) - s.Start
		}
		weight := make([]float32, n)
		for i := range weight {
			weight[i] = float32(rng.NormFloat64())
		}
		run := func(forests []flow.Forest) ([]float32, map[string][]float32) {
			if err := e.b.Zero(e.lora.g); err != nil {
				r.Fatal(err)
			}
			lp := make([]float32, n)
			for i := range forests {
				p := e.begin(&forests[i], true, true, false)
				p.forward()
				p.head(0.7)
				p.grad = grow(p.grad, p.N)
				for j, k := range p.index {
					lp[k], p.grad[j] = p.lpHost[j], weight[k]
				}
				p.back(0.7)
				if err := e.end(p); err != nil {
					r.Fatal(err)
				}
			}
			g := gradients(t, e)
			for k, v := range g {
				g[k] = slices.Clone(v)
			}
			return lp, g
		}
		var alone []flow.Forest
		for _, s := range seqs {
			alone = append(alone, flow.Forests([]flow.Sequence{s}, 0)...)
		}
		lp1, g1 := run(alone)
		lp2, g2 := run(flow.Forests(seqs, rapid.SampledFrom([]int{0, 20, 50}).Draw(r, "budget")))
		if !slices.Equal(lp1, lp2) {
			r.Fatalf("log-probs of a forest are not those of its sequences, bit for bit")
		}
		if d := relative(t, g2, g1); d > splitTolerance {
			r.Fatalf("gradients differ by %.2e, allowed %.0e", d, splitTolerance)
		}
	})
}

// TestTrap31SplitsChangeNothing: any micro-batch budget, one thread or two, give the same update and the same metrics, of a policy that has
// moved from the one that the update began with.
func TestTrap31SplitsChangeNothing(t *testing.T) {
	o := flow.DefaultObjective()
	o.TISCap, o.Entropy, o.DualClip, o.Epochs = 2, 0.01, 3, 2
	m := randomModel(t, tiny(false), ckpt.F32, 2)
	a := randomAdapter(t, m.Config, 8, 4)
	var first map[string]float64
	var grads map[string][]float32
	for i, c := range []struct{ threads, budget int }{{1, 0}, {2, 30}, {2, 64}, {1, 17}, {2, 0}} {
		budget := c.budget
		if budget == 0 {
			budget = 1 << 20
		}
		e := newEngine(t, m, c.threads, Options{MicroBatchTokens: budget})
		rng := rand.New(rand.NewPCG(9, 9))
		up := begin(t, e, a, randomUpdate(t, rng, m.Config.VocabSize, o))
		lo, lr := make([]float32, len(up.lo)), make([]float32, len(up.lr))
		for k := range lo {
			lo[k], lr[k] = -4-float32(rng.Float64()), -4-float32(rng.Float64())
		}
		if err := up.Resume(1, lo, lr); err != nil {
			t.Fatal(err)
		}
		m, err := up.Step(context.Background(), DefaultOptimizer())
		if err != nil {
			t.Fatal(err)
		}
		got, g := maps.Collect(m.Scalars()), gradients(t, e)
		maps.DeleteFunc(got, func(name string, _ float64) bool { // they speak of the split itself
			return name == "forest/tokens" || name == "tokens_per_second" || strings.HasPrefix(name, "seconds/")
		})
		if i == 0 {
			if first, grads = got, g; first["clip/low"] == 0 || first["clip/high"] == 0 || first["ratio/max"] <= 1 || len(first) < 20 {
				t.Fatalf("metrics that a split could change: %v", first)
			}
			continue
		}
		if d := relative(t, g, grads); d > splitTolerance {
			t.Errorf("%+v: gradients differ by %.2e from one thread and one micro-batch", c, d)
		}
		if d := cmp.Diff(first, got, cmpopts.EquateApprox(splitTolerance, 0)); d != "" {
			t.Errorf("%+v: %s", c, d)
		}
	}
}

// TestThreadsSameBits: the number of threads does not show in the adapter's bits, nor does a second run.
func TestThreadsSameBits(t *testing.T) {
	for _, d := range dtypes {
		var hash string
		for _, threads := range []int{1, 2, 3, 2} {
			m := randomModel(t, tiny(true), ckpt.BF16, 3)
			e := newEngine(t, m, threads, Options{DType: d, MicroBatchTokens: 60})
			up := begin(t, e, randomAdapter(t, m.Config, 4, 3), randomUpdate(t, rand.New(rand.NewPCG(1, 9)), m.Config.VocabSize, flow.DefaultObjective()))
			for range 3 {
				if _, err := up.Step(context.Background(), DefaultOptimizer()); err != nil {
					t.Fatal(err)
				}
			}
			a, err := e.Adapter()
			if err != nil {
				t.Fatal(err)
			}
			if h := a.Hash(); hash == "" {
				hash = h
			} else if h != hash {
				t.Errorf("%v, %d threads: other bits than one thread", d, threads)
			}
		}
	}
}

// begin begins an update of an engine from an adapter.
func begin(t *testing.T, e *Engine, a *ckpt.Adapter, u *flow.Update) *Update {
	t.Helper()
	if err := e.SetAdapter(a); err != nil {
		t.Fatal(err)
	}
	up, err := e.Begin(u)
	if err != nil {
		t.Fatal(err)
	}
	return up
}

// beginWith begins an update of random rollouts from an adapter.
func beginWith(t *testing.T, m *ckpt.Model, a *ckpt.Adapter, o flow.Objective) (*Update, *Engine) {
	t.Helper()
	e := newEngine(t, m, 1, Options{})
	return begin(t, e, a, randomUpdate(t, rand.New(rand.NewPCG(2, 2)), m.Config.VocabSize, o)), e
}

// TestResumeWithinUpdate (trap 27): steps taken from the constants of an interrupted update are those of the undisturbed one.
func TestResumeWithinUpdate(t *testing.T) {
	ctx := context.Background()
	for _, k := range []flow.KLEstimator{flow.K3, flow.K1} {
		o := flow.DefaultObjective()
		o.KLEstimator = k
		m := randomModel(t, tiny(true), ckpt.F32, 5)
		open := func() (*Engine, *Update) {
			e := newEngine(t, m, 2, Options{MicroBatchTokens: 80})
			return e, begin(t, e, randomAdapter(t, m.Config, 4, 3), randomUpdate(t, rand.New(rand.NewPCG(2, 3)), m.Config.VocabSize, o))
		}
		step := func(up *Update) flow.Metrics {
			mt, err := up.Step(ctx, Optimizer{LR: 1e-2, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: 0.01, MaxGradNorm: 1})
			if err != nil {
				t.Fatal(err)
			}
			return mt
		}
		e1, up1 := open()
		step(up1)
		state, err := e1.State()
		if err != nil {
			t.Fatal(err)
		}
		old, ref := up1.Constants()
		old, ref = slices.Clone(old), slices.Clone(ref)
		want := step(up1)

		e2, up2 := open()
		if err := e2.SetState(state); err != nil {
			t.Fatal(err)
		}
		if err := up2.Resume(1, old, ref); err != nil {
			t.Fatal(err)
		}
		got := step(up2)
		a1, _ := e1.Adapter()
		a2, _ := e2.Adapter()
		if a1.Hash() != a2.Hash() {
			t.Errorf("%s: the resumed update gives another adapter", k)
		}
		if got.Loss != want.Loss || got.GradNorm != want.GradNorm || got.RatioMax != want.RatioMax {
			t.Errorf("%s: resumed metrics %v %v, want %v %v", k, got.Loss, got.GradNorm, want.Loss, want.GradNorm)
		}
	}
}

// TestResumeFull (trap 27): with all weights trained, the step after a resume is that of the undisturbed engine, bit for bit.
func TestResumeFull(t *testing.T) {
	m := randomModel(t, tiny(false), ckpt.F32, 11)
	seqs := randomSequences(rand.New(rand.NewPCG(3, 4)), 5, m.Config.VocabSize)
	step := func(e *Engine) string {
		if _, err := e.SupervisedStep(context.Background(), seqs, DefaultOptimizer()); err != nil {
			t.Fatal(err)
		}
		s, err := e.State()
		if err != nil {
			t.Fatal(err)
		}
		return ckpt.HashTensors(s.Weights) + ckpt.HashTensors(s.Moments)
	}
	e, resumed := newEngine(t, m, 1, Options{Trainable: Full}), newEngine(t, m, 1, Options{Trainable: Full})
	step(e)
	state, err := e.State()
	if err != nil {
		t.Fatal(err)
	}
	if err := resumed.SetState(state); err != nil {
		t.Fatal(err)
	}
	if step(e) != step(resumed) {
		t.Error("other weights or moments after the resume")
	}
}

// TestDropoutIsNeverApplied (trap 20): an adapter whose configuration has dropout computes what it computes without.
func TestDropoutIsNeverApplied(t *testing.T) {
	m := randomModel(t, tiny(true), ckpt.F32, 16)
	var want string
	for _, dropout := range []float64{0, 0.5} {
		e := newEngine(t, m, 1, Options{})
		a := randomAdapter(t, m.Config, 4, 3)
		a.Config.LoraDropout = dropout
		up := begin(t, e, a, randomUpdate(t, rand.New(rand.NewPCG(2, 3)), m.Config.VocabSize, flow.DefaultObjective()))
		for range 2 {
			if mt, err := up.Step(context.Background(), DefaultOptimizer()); err != nil || up.epoch == 1 && mt.RatioMax != 1 {
				t.Fatalf("dropout %v: largest ratio of the first step %v, error %v", dropout, mt.RatioMax, err)
			}
		}
		got, err := e.Adapter()
		if err != nil {
			t.Fatal(err)
		}
		if want == "" {
			want = got.Hash()
		} else if got.Hash() != want {
			t.Errorf("dropout %v: another adapter", dropout)
		}
	}
}

// TestGradientDirection: the loss changes along the gradient as the gradient says, LoRA and all weights, with the entropy bonus, several
// targets on a row and the selection of target rows in the last layer. Float32 differences leave about 1e-3 of the slope.
func TestGradientDirection(t *testing.T) {
	const (
		tolerance = 5e-3
		noise     = 1e-3 // the rounding of log-probs, some 1e-6 of their sum, in a difference over eps
	)
	for _, c := range []struct {
		name  string
		train Trainable
		tied  bool
	}{{"lora", LoRA, true}, {"full tied", Full, true}, {"full untied", Full, false}} {
		t.Run(c.name, func(t *testing.T) {
			m := randomModel(t, tiny(c.tied), ckpt.F32, 6)
			e := newEngine(t, m, 2, Options{Trainable: c.train})
			if c.train == LoRA {
				if err := e.SetAdapter(randomAdapter(t, m.Config, 4, 3)); err != nil {
					t.Fatal(err)
				}
			}
			rng := rand.New(rand.NewPCG(4, 4))
			seqs := randomSequences(rng, 6, m.Config.VocabSize)
			f := &flow.Forests(seqs, 0)[0]
			weight := make([]float32, 200)
			for i := range weight {
				weight[i] = float32(rng.NormFloat64())
			}
			const entropyWeight = 0.3
			loss := func() float64 {
				p := e.begin(f, true, true, true)
				p.forward()
				p.head(0.8)
				sum := 0.0
				for j, k := range p.index {
					sum += float64(weight[k])*float64(p.lpHost[j]) + entropyWeight*float64(p.entTarget[j])
				}
				if err := e.end(p); err != nil {
					t.Fatal(err)
				}
				return sum
			}
			ps := e.trained()
			if err := e.b.Zero(ps.g); err != nil {
				t.Fatal(err)
			}
			loss()
			p := &e.p
			p.grad, p.dent = grow(p.grad, p.N), grow(p.dent, p.S)
			clear(p.dent)
			for j, k := range p.index {
				p.grad[j] = weight[k]
			}
			for r := range p.S {
				p.dent[r] = entropyWeight * float32(p.firsts[r+1]-p.firsts[r])
			}
			p.back(0.8)
			if err := e.end(p); err != nil {
				t.Fatal(err)
			}
			flat, grad := make([]float32, ps.n), make([]float32, ps.n)
			if err := e.b.Download(flat, ps.p); err != nil {
				t.Fatal(err)
			}
			if err := e.b.Download(grad, ps.g); err != nil {
				t.Fatal(err)
			}
			for _, q := range ps.list {
				norm := 0.0
				for _, g := range grad[q.at : q.at+q.rows*q.cols] {
					norm += float64(g) * float64(g)
				}
				if norm = math.Sqrt(norm); norm == 0 {
					if q.name != "model.layers.0.self_attn.k_proj.bias" {
						t.Errorf("%s: gradient 0", q.name)
					}
					continue
				}
				at := func(eps float64) float64 {
					moved := slices.Clone(flat)
					for i := q.at; i < q.at+q.rows*q.cols; i++ {
						moved[i] += float32(eps * float64(grad[i]) / norm)
					}
					if err := e.b.Upload(ps.p, moved); err != nil {
						t.Fatal(err)
					}
					if c.train == LoRA {
						if err := e.lora.pack(e.b); err != nil {
							t.Fatal(err)
						}
					} else if err := e.full.pack(e.b, e.w); err != nil {
						t.Fatal(err)
					}
					return loss()
				}
				const eps = 1e-2 // the rounding of log-probs over it is noise, its fourth power a bias
				slope := (8*(at(eps)-at(-eps)) - (at(2*eps) - at(-2*eps))) / (12 * eps)
				bound := tolerance * norm
				if norm < 1e-3 {
					bound += noise // a bias of the keys moves every score of a query alike: its gradient is nothing but rounding
				}
				if math.Abs(slope-norm) > bound {
					t.Errorf("%s: slope %.6g along the gradient, its norm is %.6g", q.name, slope, norm)
				}
			}
		})
	}
}

// TestStepAllocatesNothing: an optimizer step of shapes seen before takes no memory from Go, but for its metrics.
func TestStepAllocatesNothing(t *testing.T) {
	m := randomModel(t, tiny(true), ckpt.F32, 7)
	e := newEngine(t, m, 2, Options{})
	up := begin(t, e, randomAdapter(t, m.Config, 4, 3), randomUpdate(t, rand.New(rand.NewPCG(2, 3)), m.Config.VocabSize, flow.DefaultObjective()))
	var sums kernels.LossSums
	work := func() {
		for i := range up.forests {
			if err := e.logProbs(t.Context(), up.forests[i:i+1], 0.7, false, up.lr); err != nil {
				t.Fatal(err)
			}
			if err := up.gradient(&up.forests[i], &sums); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := e.optimize(DefaultOptimizer()); err != nil {
			t.Fatal(err)
		}
	}
	work()
	if n := testing.AllocsPerRun(5, work); n != 0 {
		t.Errorf("%v allocations per step, expected 0", n)
	}
}

// TestOppositesCancel: two rollouts of the same tokens, one rewarded and one not, have no gradient at all: not even rounding that Adam would make a step of.
func TestOppositesCancel(t *testing.T) {
	m := randomModel(t, tiny(true), ckpt.F32, 23)
	rng := rand.New(rand.NewPCG(9, 9))
	turn := flow.Turn{Prompt: tokens(rng, 12, m.Config.VocabSize), Action: tokens(rng, 7, m.Config.VocabSize)}
	other := turn
	other.Action = slices.Clone(turn.Action[:5])
	other.Action[4]++ // leaves them, for what comes between two targets of one token
	var ts []flow.Trajectory
	for i, reward := range []float64{0, 1} {
		ts = append(ts, flow.Trajectory{Group: "g", Sample: i, Reward: &reward, Turns: []flow.Turn{turn}},
			flow.Trajectory{Group: "g", Sample: 2 + i, Reward: &reward, Turns: []flow.Turn{other}})
	}
	o := flow.DefaultObjective()
	o.KL = 0
	u, err := flow.NewUpdate(ts, o)
	if err != nil {
		t.Fatal(err)
	}
	e := newEngine(t, m, 1, Options{})
	up := begin(t, e, randomAdapter(t, m.Config, 4, 3), u)
	if x, err := up.Step(t.Context(), DefaultOptimizer()); err != nil || x.GradNorm != 0 {
		t.Errorf("gradient norm %v, %v", x.GradNorm, err)
	}
}
