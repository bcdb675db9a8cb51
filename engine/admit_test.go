package engine

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"

	"afctl/ckpt"
	"afctl/kernels"
)

// gate is a back end whose passes begin with a call.
type gate struct {
	kernels.Backend
	open func()
}

func (b *gate) Gather(x kernels.Tensor, w kernels.Matrix, tokens kernels.Tensor) error {
	b.open()
	return b.Backend.Gather(x, w, tokens)
}

// TestCancelledPrompt: a request that is given up while its prompt is computed goes between two passes, and its prompt with it; who shares a part of
// the prompt gets what it gets alone.
func TestCancelledPrompt(t *testing.T) {
	m := randomModel(t, tiny(true), ckpt.F32, 33)
	e := newEngine(t, m, 1, Options{})
	rng := rand.New(rand.NewPCG(8, 8))
	long := tokens(rng, 300, m.Config.VocabSize)
	short := SampleRequest{Prompt: append(slices.Clone(long[:20]), tokens(rng, 20, m.Config.VocabSize)...), MaxTokens: 5, Temperature: 1, Stop: []int32{}}
	want, err := newSampler(t, e, SamplerOptions{Base: true}).Sample(t.Context(), short)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	passes, entered, both := 0, make(chan struct{}), make(chan struct{})
	b := &gate{Backend: e.b, open: func() {
		switch passes++; passes {
		case 1: // of a request that keeps the sampler busy until the two wait
			close(entered)
			<-both
		case 3: // in the midst of the long prompt
			cancel()
		}
	}}
	e.b = b
	s := newSampler(t, e, SamplerOptions{Base: true, PrefillTokens: 16})
	var got Sample
	errs := [3]chan error{make(chan error), make(chan error), make(chan error)}
	sample := func(i int, ctx context.Context, r SampleRequest, out *Sample) {
		go func() {
			x, err := s.Sample(ctx, r)
			*out = x
			errs[i] <- err
		}()
	}
	var first, second Sample
	sample(0, t.Context(), SampleRequest{Prompt: []int32{1}, MaxTokens: 1, Temperature: 1}, &first)
	<-entered
	waiting := func(n int) {
		for {
			s.mu.Lock()
			k := len(s.waiting)
			s.mu.Unlock()
			if k == n {
				return
			}
		}
	}
	sample(1, ctx, SampleRequest{Prompt: long, MaxTokens: 5, Temperature: 1}, &second)
	waiting(1)
	sample(2, t.Context(), short, &got)
	waiting(2)
	close(both)
	for i, want := range []error{nil, context.Canceled, nil} {
		if err := <-errs[i]; !errors.Is(err, want) {
			t.Errorf("request %d: %v, expected %v", i, err, want)
		}
	}
	if !slices.Equal(got.Action, want.Action) || !slices.Equal(got.LogProbs, want.LogProbs) {
		t.Errorf("beside a request that was given up: %v %v, alone %v %v", got.Action, got.LogProbs, want.Action, want.LogProbs)
	}
	if passes > 12 { // one, two of the long prompt, three of the short one at most, five tokens
		t.Errorf("%d passes: the long prompt was computed to its end", passes)
	}
}

// TestPrefixesStay: a request for which there is no room takes nothing from the cache that would not have made room for it.
func TestPrefixesStay(t *testing.T) {
	tree := newPrefixTree(newSlotPool(100))
	rng := rand.New(rand.NewPCG(1, 1))
	tree.insert(tokens(rng, 40, 1000)) // held
	leaf, _, _ := tree.insert(tokens(rng, 30, 1000))
	tree.release(leaf)
	if _, _, ok := tree.take(61, 0); ok {
		t.Fatal("61 slots beside 40 that are held, of 100")
	}
	if len(tree.root.children) != 2 {
		t.Error("a prefix was given up for a request that it makes no room for")
	}
	if _, _, ok := tree.take(60, 0); !ok || len(tree.root.children) != 1 {
		t.Errorf("60 slots: found %v, %d prefixes, expected the one that nobody holds to make room", ok, len(tree.root.children))
	}
}

// TestSampleOverflow: a limit so large that sums of it wrap is refused.
func TestSampleOverflow(t *testing.T) {
	m := randomModel(t, tiny(true), ckpt.F32, 34)
	s := newSampler(t, newEngine(t, m, 1, Options{}), SamplerOptions{Base: true})
	if _, err := s.Sample(t.Context(), SampleRequest{Prompt: []int32{1, 2}, MaxTokens: math.MaxInt, Temperature: 1}); err == nil {
		t.Error("a sample of 2^63-1 tokens")
	}
}

// TestWeightsThatOverflow: what is sampled from weights that overflow is an error, and of the values that they left in the cache nothing reaches
// what is sampled with the next ones.
func TestWeightsThatOverflow(t *testing.T) {
	m := randomModel(t, tiny(true), ckpt.F32, 35)
	e := newEngine(t, m, 1, Options{DType: kernels.BF16})
	good, bad := randomAdapter(t, m.Config, 4, 3), randomAdapter(t, m.Config, 4, 3)
	for i := range bad.Modules {
		for j := range bad.Modules[i].B {
			bad.Modules[i].B[j] = 3e38
		}
	}
	rng := rand.New(rand.NewPCG(1, 1))
	prompts := [][]int32{tokens(rng, 50, m.Config.VocabSize), tokens(rng, 24, m.Config.VocabSize)}
	request := func(i int) SampleRequest {
		return SampleRequest{Prompt: prompts[i], MaxTokens: 3, Temperature: 1, Stop: []int32{}}
	}
	set := func(s *Sampler, a *ckpt.Adapter, version int) {
		if err := e.SetAdapter(a); err != nil {
			t.Fatal(err)
		}
		if err := s.Publish(t.Context(), version, ""); err != nil {
			t.Fatal(err)
		}
	}
	for asks := range int32(4) { // at 3 it ends when its prompt is in the cache and nothing was drawn yet
		s := newSampler(t, e, SamplerOptions{})
		set(s, bad, 1)
		ctx := t.Context()
		if asks > 0 {
			ctx = endsWhenAsked(t, asks+1)
		}
		if x, err := s.Sample(ctx, request(0)); err == nil || errors.Is(err, ErrBroken) {
			t.Fatalf("weights that overflow: %v, %v", x, err)
		}
		set(s, good, 2)
		for i := range prompts {
			got, err := s.Sample(t.Context(), request(1-i))
			if err != nil {
				t.Fatalf("asked %d times: %v", asks, err)
			}
			want, err := newSampler(t, e, SamplerOptions{}).Sample(t.Context(), request(1-i))
			if err != nil || !slices.Equal(got.LogProbs, want.LogProbs) {
				t.Errorf("after weights that overflowed: %v, in a fresh cache %v, %v", got.LogProbs, want.LogProbs, err)
			}
		}
	}
}

// lost is a back end that fails for good, as a device that is lost does.
type lost struct {
	kernels.Backend
	zeroed atomic.Int32
}

var errLost = errors.New("the device is lost")

func (b *lost) Gather(kernels.Tensor, kernels.Matrix, kernels.Tensor) error { return errLost }

func (b *lost) KVZero(kernels.KV) error {
	b.zeroed.Add(1)
	return errLost
}

// TestLostDevice: where nothing works any more, every request ends with the reason, and the sampler rests.
func TestLostDevice(t *testing.T) {
	e := newEngine(t, randomModel(t, tiny(true), ckpt.F32, 33), 1, Options{})
	b := &lost{Backend: e.b}
	s := newSampler(t, e, SamplerOptions{Base: true}) // the cache is there, and then the device is lost
	e.b = b
	for i := range 3 {
		_, err := s.Sample(t.Context(), SampleRequest{Prompt: []int32{1, 2}, MaxTokens: 2, Temperature: 1})
		if !errors.Is(err, errLost) || (i > 0) != errors.Is(err, ErrBroken) {
			t.Errorf("request %d: %v", i, err)
		}
	}
	e.mu.Lock()
	e.broken = nil // as if it were back, but for the cache
	e.mu.Unlock()
	if _, err := s.Sample(t.Context(), SampleRequest{Prompt: []int32{1, 2}, MaxTokens: 2, Temperature: 1}); !errors.Is(err, ErrBroken) || !errors.Is(err, errLost) {
		t.Errorf("a cache that cannot be cleansed: %v", err)
	}
	if n := b.zeroed.Load(); n != 1 {
		t.Errorf("%d caches cleansed", n)
	}
}
