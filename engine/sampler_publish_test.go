package engine

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"afctl/ckpt"
	"afctl/flow"
)

// TestSamplerPublish (trap 26): after new weights nothing of the old ones is left in the cache, and samples carry the new stamp.
func TestSamplerPublish(t *testing.T) {
	ctx := context.Background()
	m := randomModel(t, tiny(true), ckpt.F32, 13)
	e := newEngine(t, m, 2, Options{})
	if err := e.SetAdapter(randomAdapter(t, m.Config, 4, 3)); err != nil {
		t.Fatal(err)
	}
	s := newSampler(t, e, SamplerOptions{})
	if err := s.Publish(ctx, 1, "one"); err != nil {
		t.Fatal(err)
	}
	req := SampleRequest{Prompt: tokens(rand.New(rand.NewPCG(1, 1)), 40, m.Config.VocabSize), MaxTokens: 8, Temperature: 0.7, Seed: 1, Stop: []int32{}}
	first, err := s.Sample(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	base := newSampler(t, e, SamplerOptions{Base: true})
	if err := e.SetAdapter(randomAdapter(t, m.Config, 4, 99)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Sample(ctx, req); err == nil || !strings.Contains(err.Error(), "since policy version 1 was published") {
		t.Errorf("a request between new weights and Publish: error %v", err)
	}
	if _, err := base.Sample(ctx, req); err != nil {
		t.Errorf("of the base, which does not change: %v", err)
	}
	if err := s.Publish(ctx, 2, "two"); err != nil {
		t.Fatal(err)
	}
	second, err := s.Sample(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	if first.PolicyVersion != 1 || first.AdapterHash != "one" || second.PolicyVersion != 2 || second.AdapterHash != "two" {
		t.Errorf("stamps %d %q and %d %q", first.PolicyVersion, first.AdapterHash, second.PolicyVersion, second.AdapterHash)
	}
	lp, err := e.Score(ctx, []flow.Sequence{{Tokens: append(slices.Clone(req.Prompt), second.Action...), Start: len(req.Prompt)}}, 0.7, true)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(lp, second.LogProbs) {
		t.Error("the second sample was not drawn from the second adapter alone")
	}
}

// asked is a context that tells when the sampler's loop has first asked for its end, as it does when it takes a request in.
type asked struct {
	context.Context
	once *sync.Once
	yes  chan struct{}
}

func (c asked) Err() error {
	c.once.Do(func() { close(c.yes) })
	return c.Context.Err()
}

// TestPublishWaits (trap 26): what is under way when new weights are published ends on the keys and values that it began with, and with its stamp:
// nothing that comes after takes its place in the cache.
func TestPublishWaits(t *testing.T) {
	m := randomModel(t, tiny(true), ckpt.F32, 15)
	e := newEngine(t, m, 1, Options{})
	s := newSampler(t, e, SamplerOptions{Base: true})
	rng := rand.New(rand.NewPCG(6, 6))
	long := SampleRequest{Prompt: tokens(rng, 30, m.Config.VocabSize), MaxTokens: 450, Temperature: 1, Stop: []int32{}}
	ctx, done := asked{context.Background(), new(sync.Once), make(chan struct{})}, make(chan Sample)
	go func() {
		r, err := s.Sample(ctx, long)
		if err != nil {
			t.Error(err)
		}
		done <- r
	}()
	<-ctx.yes
	if err := s.Publish(context.Background(), 1, "one"); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		req := SampleRequest{Prompt: tokens(rng, 60, m.Config.VocabSize), MaxTokens: 20, Temperature: 1, Seed: uint64(i), Stop: []int32{}}
		if _, err := s.Sample(context.Background(), req); err != nil {
			t.Fatal(err)
		}
	}
	r := <-done
	lp, err := e.Score(context.Background(), []flow.Sequence{{Tokens: append(slices.Clone(long.Prompt), r.Action...), Start: len(long.Prompt)}}, 1, false)
	if err != nil {
		t.Fatal(err)
	}
	if r.PolicyVersion != 0 || !slices.Equal(lp, r.LogProbs) {
		t.Errorf("a sample that was under way: version %d, log-probs those of the model: %v", r.PolicyVersion, slices.Equal(lp, r.LogProbs))
	}
}

// TestLatePublish (trap 26): a Publish that nobody waited for speaks, when it happens at last, of the weights that were there when it was called.
func TestLatePublish(t *testing.T) {
	m := randomModel(t, tiny(true), ckpt.F32, 15)
	e := newEngine(t, m, 1, Options{})
	if err := e.SetAdapter(randomAdapter(t, m.Config, 4, 3)); err != nil {
		t.Fatal(err)
	}
	s := newSampler(t, e, SamplerOptions{})
	req := SampleRequest{Prompt: []int32{1, 2, 3}, MaxTokens: 2, Temperature: 1, Stop: []int32{}}
	e.mu.Lock() // the loop waits, with a request under way
	ctx, done := asked{context.Background(), new(sync.Once), make(chan struct{})}, make(chan struct{})
	go func() {
		s.Sample(ctx, req)
		close(done)
	}()
	<-ctx.yes
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Publish(over, 1, "one"); !errors.Is(err, context.Canceled) {
		t.Errorf("publish: %v", err)
	}
	e.changes.Add(1) // as an optimizer step does
	e.mu.Unlock()
	<-done
	if r, err := s.Sample(t.Context(), req); err == nil || !strings.Contains(err.Error(), "since policy version 1 was published") {
		t.Errorf("the second weights were sampled as version %d, error %v", r.PolicyVersion, err)
	}
	if err := s.Publish(t.Context(), 2, "two"); err != nil {
		t.Fatal(err)
	}
	if r, err := s.Sample(t.Context(), req); err != nil || r.PolicyVersion != 2 {
		t.Errorf("version %d, error %v", r.PolicyVersion, err)
	}
}

// TestEveryChangeIsPublished (trap 26): an optimizer step and a state that is set are new weights, too.
func TestEveryChangeIsPublished(t *testing.T) {
	for _, trainable := range []Trainable{LoRA, Full} {
		m := randomModel(t, tiny(true), ckpt.F32, 16)
		e := newEngine(t, m, 1, Options{Trainable: trainable})
		if trainable == LoRA {
			if err := e.SetAdapter(randomAdapter(t, m.Config, 4, 3)); err != nil {
				t.Fatal(err)
			}
		}
		s := newSampler(t, e, SamplerOptions{})
		seq := flow.Sequence{Tokens: tokens(rand.New(rand.NewPCG(7, 7)), 12, m.Config.VocabSize), Start: 6}
		for what, change := range map[string]func() error{
			"a step": func() error {
				_, err := e.SupervisedStep(t.Context(), []flow.Sequence{seq}, DefaultOptimizer())
				return err
			},
			"a state": func() error {
				state, err := e.State()
				if err != nil {
					return err
				}
				return e.SetState(state)
			},
		} {
			if err := s.Publish(t.Context(), 1, "one"); err != nil {
				t.Fatal(err)
			}
			if err := change(); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Sample(t.Context(), SampleRequest{Prompt: seq.Tokens, MaxTokens: 2, Temperature: 1}); err == nil || !strings.Contains(err.Error(), "was published") {
				t.Errorf("%s, trainable %v: error %v", what, trainable, err)
			}
		}
	}
}

// TestWeightsChangeUnderWay (trap 26): a completion is of one policy, that of its stamp, or none.
func TestWeightsChangeUnderWay(t *testing.T) {
	m := randomModel(t, tiny(true), ckpt.F32, 16)
	e := newEngine(t, m, 1, Options{})
	one, two := randomAdapter(t, m.Config, 4, 3), randomAdapter(t, m.Config, 4, 4)
	if err := e.SetAdapter(one); err != nil {
		t.Fatal(err)
	}
	s := newSampler(t, e, SamplerOptions{})
	long := SampleRequest{Prompt: tokens(rand.New(rand.NewPCG(7, 7)), 30, m.Config.VocabSize), MaxTokens: 450, Temperature: 1, Stop: []int32{}}
	ctx, done := asked{context.Background(), new(sync.Once), make(chan struct{})}, make(chan error)
	var r Sample
	go func() {
		var err error
		r, err = s.Sample(ctx, long)
		done <- err
	}()
	<-ctx.yes
	if err := e.SetAdapter(two); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil { // else it was faster
		if !strings.Contains(err.Error(), "was published") {
			t.Error(err)
		}
		return
	}
	if err := e.SetAdapter(one); err != nil {
		t.Fatal(err)
	}
	lp, err := e.Score(context.Background(), []flow.Sequence{{Tokens: append(slices.Clone(long.Prompt), r.Action...), Start: len(long.Prompt)}}, 1, true)
	if err != nil || !slices.Equal(lp, r.LogProbs) {
		t.Errorf("%v: a completion of two policies", err)
	}
}
