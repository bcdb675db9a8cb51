package engine

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"afctl/ckpt"
	"afctl/flow"
)

func newSampler(t testing.TB, e *Engine, o SamplerOptions) *Sampler {
	t.Helper()
	s, err := e.NewSampler(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// promptsOf are prompts of a group: a common stem, some the same, some going on from others.
func promptsOf(rng *rand.Rand, n, vocab int) [][]int32 {
	stem := tokens(rng, 9+rng.IntN(30), vocab)
	var out [][]int32
	for i := range n {
		p := append([]int32(nil), stem[:1+rng.IntN(len(stem))]...)
		if i > 0 && i%3 == 0 {
			p = append([]int32(nil), out[rng.IntN(i)]...)
		}
		if i%4 != 0 {
			p = append(p, tokens(rng, rng.IntN(8), vocab)...)
		}
		out = append(out, p)
	}
	return out
}

// TestSamplerAgreesWithTrainer: the log-probs that the sampler reports have the bits that the trainer computes for them, in float32 and
// in bf16, whatever was sampled beside them and whatever the cache held. (Required is 1e-5 in float32.)
func TestSamplerAgreesWithTrainer(t *testing.T) {
	ctx := context.Background()
	for _, d := range dtypes {
		m := randomModel(t, tiny(true), ckpt.BF16, 11)
		e := newEngine(t, m, 2, Options{DType: d})
		if err := e.SetAdapter(randomAdapter(t, m.Config, 4, 3)); err != nil {
			t.Fatal(err)
		}
		for _, o := range []SamplerOptions{{}, {CacheTokens: 300, PrefillTokens: 7, MaxBatch: 5}, {Base: true}} {
			s := newSampler(t, e, o)
			rng := rand.New(rand.NewPCG(3, 8))
			prompts := promptsOf(rng, 30, m.Config.VocabSize)
			prompts[5], prompts[11] = prompts[5][:1], prompts[11][:1] // trap 3: a prompt of one token, once with an action of one token
			samples := make([]Sample, len(prompts))
			draw := func(i int) Sample {
				r, err := s.Sample(ctx, SampleRequest{Prompt: prompts[i], MaxTokens: 1 + i%11, Temperature: 0.7, Seed: uint64(i % 20)})
				if err != nil {
					t.Error(err)
				}
				return r
			}
			var wg sync.WaitGroup
			for i := range prompts {
				wg.Add(1)
				go func() {
					defer wg.Done()
					samples[i] = draw(i)
				}()
			}
			wg.Wait()
			var seqs []flow.Sequence
			n := 0
			for i, r := range samples {
				seqs = append(seqs, flow.Sequence{Tokens: append(slices.Clone(prompts[i]), r.Action...), Start: len(prompts[i]), Index: n})
				n += len(r.Action)
				eos := slices.Contains(m.Config.EOSTokenIDs, r.Action[len(r.Action)-1])
				if eos != (r.Stop == flow.StopEOS) || (!eos && len(r.Action) != 1+i%11) || len(r.LogProbs) != len(r.Action) {
					t.Errorf("%v sample %d: %d tokens, stop %q, end token %v", d, i, len(r.Action), r.Stop, eos)
				}
			}
			lp, err := e.Score(ctx, seqs, 0.7, !o.Base)
			if err != nil {
				t.Fatal(err)
			}
			for i, r := range samples {
				if want := lp[seqs[i].Index : seqs[i].Index+len(r.Action)]; !slices.Equal(r.LogProbs, want) {
					t.Fatalf("%v %+v sample %d: the sampler says %v, the trainer %v", d, o, i, r.LogProbs, want)
				}
			}
			// Alone and later: the same completion.
			for i := range 6 {
				if again := draw(i); !slices.Equal(again.Action, samples[i].Action) || !slices.Equal(again.LogProbs, samples[i].LogProbs) {
					t.Errorf("%v %+v sample %d: another completion when drawn alone", d, o, i)
				}
			}
		}
	}
}

// TestTrap04EndTokens: any of a set of end tokens ends a completion and is its last token, also where the limit is reached with it; the model's
// own set serves where the request names none.
func TestTrap04EndTokens(t *testing.T) {
	request := SampleRequest{Prompt: []int32{1, 2, 3}, MaxTokens: 12, Temperature: 1, Seed: 5, Stop: []int32{}}
	cfg := tiny(true)
	sampler := func() *Sampler {
		return newSampler(t, newEngine(t, randomModel(t, cfg, ckpt.F32, 14), 1, Options{}), SamplerOptions{})
	}
	draw := func(s *Sampler, r SampleRequest) Sample {
		x, err := s.Sample(context.Background(), r)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	s := sampler()
	free := draw(s, request)
	if len(free.Action) != request.MaxTokens || free.Stop != flow.StopLimit {
		t.Fatalf("without end tokens: %d tokens, stop %q", len(free.Action), free.Stop)
	}
	end := free.Action[6]
	n := slices.Index(free.Action, end) + 1
	if n < 2 {
		t.Fatalf("the end token is the first of %v", free.Action)
	}
	absent := int32(0)
	for slices.Contains(free.Action, absent) {
		absent++
	}
	cfg.EOSTokenIDs = []int32{absent, end}
	ofModel := sampler()
	for _, c := range []struct {
		name  string
		s     *Sampler
		stop  []int32
		limit int
		want  flow.StopReason
	}{
		{"the first of two", s, []int32{end, absent}, 12, flow.StopEOS},
		{"the second of two", s, []int32{absent, end}, 12, flow.StopEOS},
		{"the model's", ofModel, nil, 12, flow.StopEOS},
		{"at the limit", s, []int32{end}, n, flow.StopEOS},
		{"just before it", s, []int32{end}, n - 1, flow.StopLimit},
	} {
		r := request
		r.Stop, r.MaxTokens = c.stop, c.limit
		want := free.Action[:min(n, c.limit)]
		if x := draw(c.s, r); !slices.Equal(x.Action, want) || x.Stop != c.want {
			t.Errorf("%s: %v, stop %q, expected %v and %q", c.name, x.Action, x.Stop, want, c.want)
		}
	}
}

// TestSamplerSharesPrompts: what is in the cache is not computed again, and a shared prefix is there once.
func TestSamplerSharesPrompts(t *testing.T) {
	m := randomModel(t, tiny(true), ckpt.F32, 12)
	e := newEngine(t, m, 1, Options{})
	s := newSampler(t, e, SamplerOptions{Base: true})
	rng := rand.New(rand.NewPCG(1, 8))
	stem := tokens(rng, 101, m.Config.VocabSize)
	for i := range 8 {
		p := append(slices.Clone(stem), tokens(rng, i, m.Config.VocabSize)...)
		if _, err := s.Sample(context.Background(), SampleRequest{Prompt: p, MaxTokens: 3, Temperature: 1, Seed: uint64(i)}); err != nil {
			t.Fatal(err)
		}
	}
	free := 0
	for _, f := range s.tree.pool.free {
		free += int(f.to - f.from)
	}
	used := s.o.CacheTokens - free
	if want := 100 + 28 + 8; used > want { // the stem, the tails, a slot of parity each
		t.Errorf("%d slots in use for a stem of 101 tokens and tails of 0..7, expected at most %d", used, want)
	}
}

// patient is a context that ends itself when it has been asked for its end so often.
type patient struct {
	context.Context
	cancel context.CancelFunc
	left   *atomic.Int32
}

func endsWhenAsked(t *testing.T, times int32) context.Context {
	p := patient{left: new(atomic.Int32)}
	p.left.Store(times)
	p.Context, p.cancel = context.WithCancel(t.Context())
	return p
}

func (p patient) Err() error {
	if p.left.Add(-1) == 0 {
		p.cancel()
	}
	return p.Context.Err()
}

// TestCancelledSpoilsNothing: what a cancelled request has drawn from was finite, so that the cache stays as it is.
func TestCancelledSpoilsNothing(t *testing.T) {
	m := randomModel(t, tiny(true), ckpt.F32, 16)
	s := newSampler(t, newEngine(t, m, 1, Options{}), SamplerOptions{})
	r := SampleRequest{Prompt: tokens(rand.New(rand.NewPCG(7, 7)), 30, m.Config.VocabSize), MaxTokens: 450, Temperature: 1, Stop: []int32{}}
	if _, err := s.Sample(endsWhenAsked(t, 20), r); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	next := SampleRequest{Prompt: tokens(rand.New(rand.NewPCG(8, 8)), 30, m.Config.VocabSize), MaxTokens: 2, Temperature: 1}
	if _, err := s.Sample(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, fresh, ok := s.tree.insert(r.Prompt[:len(r.Prompt)-1]); !ok || fresh != nil {
		t.Error("the cancelled request's prompt is no longer in the cache")
	}
}

// A cache is no larger than slots can be numbered.
func TestSamplerCacheHasABound(t *testing.T) {
	e := newEngine(t, randomModel(t, tiny(true), ckpt.F32, 16), 1, Options{})
	if _, err := e.NewSampler(SamplerOptions{CacheTokens: math.MaxInt32 + 65}); err == nil || !strings.Contains(err.Error(), "engine.kv_tokens: found 2147483712") {
		t.Errorf("error %v", err)
	}
}

// TestSamplerEnds: a cancelled request returns, leaving others alone; Close fails what is under way and frees the loop.
func TestSamplerEnds(t *testing.T) {
	m := randomModel(t, tiny(true), ckpt.F32, 14)
	e := newEngine(t, m, 1, Options{})
	s := newSampler(t, e, SamplerOptions{Base: true})
	req := SampleRequest{Prompt: []int32{1, 2, 3}, MaxTokens: 400, Temperature: 1, Stop: []int32{}}
	want, err := s.Sample(context.Background(), req)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	errs := make(chan error, 2)
	e.mu.Lock() // the loop stops before its first token
	go func() {
		_, err := s.Sample(ctx, req)
		errs <- err
	}()
	go func() {
		got, err := s.Sample(context.Background(), req)
		if !slices.Equal(got.Action, want.Action) {
			t.Error("a request beside one that is cancelled draws something else")
		}
		errs <- err
	}()
	cancel()
	e.mu.Unlock()
	if err := errors.Join(<-errs, <-errs); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	go func() {
		for {
			if _, err := s.Sample(context.Background(), req); err != nil {
				errs <- err
				return
			}
		}
	}()
	time.Sleep(5 * time.Millisecond)
	s.Close()
	if err := <-errs; !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	for _, bad := range []SampleRequest{{}, {Prompt: []int32{1}}, {Prompt: []int32{300}, MaxTokens: 1}, {Prompt: []int32{-1}, MaxTokens: 1},
		{Prompt: []int32{1}, MaxTokens: 600}, {Prompt: []int32{1}, MaxTokens: 1, Temperature: -1}} {
		if _, err := s.Sample(context.Background(), bad); err == nil || errors.Is(err, ErrClosed) {
			t.Errorf("%+v: %v, expected a refusal that says why", bad, err)
		}
	}
}

// TestSlotPool: what is taken never overlaps, has the parity asked for, and all comes back.
func TestSlotPool(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	p := newSlotPool(1000)
	type piece struct{ from, start, to int32 }
	var held []piece
	owner := make([]bool, 1000)
	for range 5000 {
		if rng.IntN(2) == 0 {
			n, parity := 1+rng.Int32N(40), rng.Int32N(2)
			from, start, ok := p.take(n, parity)
			if !ok {
				continue
			}
			if start&1 != parity || from > start {
				t.Fatalf("take(%d, %d) = %d, %d", n, parity, from, start)
			}
			for i := from; i < start+n; i++ {
				if owner[i] {
					t.Fatalf("slot %d given twice", i)
				}
				owner[i] = true
			}
			held = append(held, piece{from, start, start + n})
		} else if len(held) > 0 {
			i := rng.IntN(len(held))
			h := held[i]
			for j := h.from; j < h.to; j++ {
				owner[j] = false
			}
			p.give(h.from, h.to)
			held = slices.Delete(held, i, i+1)
		}
	}
	for _, h := range held {
		p.give(h.from, h.to)
	}
	if len(p.free) != 1 || p.free[0] != (span{0, 1000}) {
		t.Errorf("free after all came back: %v", p.free)
	}
}

// TestSamplerTakesWhatFits: what is cached of a request's own prompt does not keep it from the slots that an empty cache has for it.
func TestSamplerTakesWhatFits(t *testing.T) {
	m := randomModel(t, tiny(true), ckpt.F32, 11)
	s := newSampler(t, newEngine(t, m, 1, Options{}), SamplerOptions{Base: true, CacheTokens: 64})
	rng := rand.New(rand.NewPCG(5, 5))
	a, b := tokens(rng, 21, m.Config.VocabSize), tokens(rng, 11, m.Config.VocabSize)
	for _, r := range []SampleRequest{{Prompt: a, MaxTokens: 1}, {Prompt: b, MaxTokens: 1}, {Prompt: b, MaxTokens: 40}, {Prompt: b, MaxTokens: 51}} {
		if _, err := s.Sample(t.Context(), r); err != nil {
			t.Errorf("%d tokens and %d to generate: %v", len(r.Prompt), r.MaxTokens, err)
		}
	}
	if _, err := s.Sample(t.Context(), SampleRequest{Prompt: b, MaxTokens: 52}); err == nil || !strings.Contains(err.Error(), "the cache has 64 (engine.kv_tokens)") {
		t.Errorf("one token more: error %v", err)
	}
}
