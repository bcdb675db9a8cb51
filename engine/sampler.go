package engine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"

	"afctl/flow"
	"afctl/kernels"
)

// ErrClosed says that a sampler was closed.
var ErrClosed = errors.New("the sampler is closed")

// SamplerOptions of a Sampler.
type SamplerOptions struct {
	Base          bool // sample from the base: the adapter off
	CacheTokens   int  // slots for keys and values; 0 takes what DefaultCacheBytes hold, 4096 to 65536
	PrefillTokens int  // rows of a prompt pass; 0 takes 1024
	MaxBatch      int  // requests decoded together; 0 takes 256
}

// DefaultCacheBytes is the memory of a sampler's key/value cache unless CacheTokens says otherwise; small models stop at mostCacheTokens, which
// a few hundred requests share.
const (
	DefaultCacheBytes = 512 << 20
	mostCacheTokens   = 1 << 16
)

// SampleRequest asks for one completion by plain temperature sampling.
type SampleRequest struct {
	Prompt      []int32
	MaxTokens   int
	Temperature float64 // 0 takes the likeliest token
	// Seed is the request's own random stream: the same prompt, seed and weights give the same completion, whatever else is sampled.
	Seed uint64
	// Stop are the end tokens; nil takes the model's.
	Stop []int32
}

// Sample is a completion.
type Sample struct {
	Action   []int32
	LogProbs []float32 // ls, at the request's temperature (at 1 for temperature 0)
	Stop     flow.StopReason
	// PolicyVersion and AdapterHash are what Publish last set.
	PolicyVersion int
	AdapterHash   string
}

// request is a SampleRequest on its way.
type request struct {
	SampleRequest
	ctx  context.Context
	out  Sample
	err  error
	done chan struct{}
	rng  *rand.Rand

	leaf        *prefixNode   // end of the cached prompt
	path        []kernels.Seg // to it, then what is generated
	from, start int32         // slots of the last prompt token and of what is generated
	taken       int32         // how many
	length      int32         // of them in use
	next        int32         // token whose row comes next
}

// Sampler draws completions for many callers at once: a loop of its own takes in what is waiting, computes the prompts that are not in the cache,
// PrefillTokens rows at a time, each prefix that several share once, and then one token of every request, again and again. Each row's bits are
// independent of the others, so the batches that happen to form do not show in the results. Safe for concurrent use.
type Sampler struct {
	e       *Engine
	o       SamplerOptions
	cache   kvCache
	tree    *prefixTree
	p       pass
	stop    []int32
	version int
	hash    string

	mu      sync.Mutex
	wake    chan struct{}
	waiting []*request
	publish []func() // what waits for the requests under way
	closed  bool
	ended   chan struct{}

	// Of the loop alone.
	active    []*request
	joined    bool            // some of them since the last token
	full      bool            // no room for the first that waits, until someone leaves
	spoiled   bool            // there may be values in the cache that are not finite
	changes   uint64          // of the engine's weights, that the last Publish was for
	paths     [][]kernels.Seg // of the active ones
	fresh     []*prefixNode   // to be computed
	path      []kernels.Seg   // of one of them
	tokens    []int32
	positions []int32
	slots     []int32 // in the cache
	temps, us []float64
	drawn     []int32
	lps       []float32
}

// NewSampler makes a sampler with a cache of its own and starts its loop; Close ends it. Errors: options out of range; kernels.ErrMemory.
func (e *Engine) NewSampler(o SamplerOptions) (*Sampler, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.usable(); err != nil {
		return nil, err
	}
	c := &e.cfg
	if o.CacheTokens == 0 {
		perToken := 2 * c.NumHiddenLayers * c.NumKeyValueHeads * c.HeadDim * e.opts.DType.Size()
		o.CacheTokens = min(max(DefaultCacheBytes/perToken, 4096), mostCacheTokens)
	}
	if o.PrefillTokens == 0 {
		o.PrefillTokens = 1024
	}
	if o.MaxBatch == 0 {
		o.MaxBatch = 256
	}
	const least = 16
	if o.CacheTokens > math.MaxInt32 {
		return nil, fmt.Errorf("engine.kv_tokens: found %d, expected at most %d", o.CacheTokens, math.MaxInt32)
	}
	if o.CacheTokens < least {
		return nil, fmt.Errorf("engine.kv_tokens: found %d, expected at least %d, or 0 for as many as %d MiB hold", o.CacheTokens, least, DefaultCacheBytes>>20)
	}
	if o.PrefillTokens < 1 || o.MaxBatch < 1 {
		return nil, fmt.Errorf("sampler: prompt passes of %d tokens, batches of %d: expected positive numbers", o.PrefillTokens, o.MaxBatch)
	}
	o.CacheTokens &^= 1
	kv, err := newKVCache(e, o.CacheTokens)
	if err != nil {
		return nil, fmt.Errorf("key/value cache of %d tokens (engine.kv_tokens): %w", o.CacheTokens, err)
	}
	s := &Sampler{e: e, o: o, cache: kv, tree: newPrefixTree(newSlotPool(o.CacheTokens)), stop: c.EOSTokenIDs, wake: make(chan struct{}, 1),
		ended: make(chan struct{}), changes: e.changes.Load()}
	if err := s.p.open(e); err != nil {
		kv.free(e.b)
		return nil, err
	}
	go s.loop()
	return s, nil
}

// Sample draws one completion. It returns when that is done, ctx ends or the sampler is closed, after the operations that are under way: a token
// of all requests, PrefillTokens of prompts, or what else the engine is at.
//
// Errors: what is wrong with the request; context.Cause(ctx); ErrClosed; ErrBroken; that a log-prob is not finite.
func (s *Sampler) Sample(ctx context.Context, r SampleRequest) (Sample, error) {
	if err := s.check(&r); err != nil {
		return Sample{}, err
	}
	q := &request{SampleRequest: r, ctx: ctx, done: make(chan struct{}), rng: flow.NewRand(r.Seed)}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return Sample{}, ErrClosed
	}
	s.waiting = append(s.waiting, q)
	s.mu.Unlock()
	s.poke()
	select {
	case <-q.done:
		return q.out, q.err
	case <-ctx.Done():
		s.poke() // the loop drops it
		<-q.done
		if q.err == nil {
			return q.out, nil
		}
		return Sample{}, context.Cause(ctx)
	}
}

func (s *Sampler) check(r *SampleRequest) error {
	c := &s.e.cfg
	switch {
	case len(r.Prompt) == 0:
		return errors.New("sample: the prompt is empty")
	case r.MaxTokens < 1:
		return fmt.Errorf("sample: max tokens: found %d, expected at least 1", r.MaxTokens)
	case r.Temperature != 0 && !flow.Divides(r.Temperature):
		return fmt.Errorf("sample: temperature: found %v, expected 0, or more with an inverse that float32 holds", r.Temperature)
	case r.MaxTokens > c.MaxPositionEmbeddings-len(r.Prompt):
		return fmt.Errorf("sample: %d prompt tokens and %d to generate: the model has %d positions", len(r.Prompt), r.MaxTokens, c.MaxPositionEmbeddings)
	case r.MaxTokens > s.o.CacheTokens-2-len(r.Prompt):
		return fmt.Errorf("sample: %d prompt tokens and %d to generate: the cache has %d (engine.kv_tokens)", len(r.Prompt), r.MaxTokens, s.o.CacheTokens)
	}
	for i, t := range r.Prompt {
		if t < 0 || int(t) >= c.VocabSize {
			return fmt.Errorf("sample: prompt token %d: found id %d, expected 0 <= id < %d", i, t, c.VocabSize)
		}
	}
	if r.Stop == nil {
		r.Stop = s.stop
	}
	return nil
}

// Publish says that the engine's weights are now those of a policy version: it waits for the requests under way, drops all cached keys and
// values (they are the old policy's), and stamps what is sampled from then on. If ctx ends before, it may still happen after. Between a change of
// the weights and Publish every request fails: its tokens would be of two policies, or of another than its stamp says.
func (s *Sampler) Publish(ctx context.Context, version int, hash string) error {
	done := make(chan struct{})
	changes := s.e.changes.Load() // of the weights that it speaks of; when it happens they may be others
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	s.publish = append(s.publish, func() {
		s.version, s.hash, s.changes = version, hash, changes
		s.clear()
		close(done)
	})
	s.mu.Unlock()
	s.poke()
	select {
	case <-done:
		return nil
	case <-s.ended:
		return ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Close ends the loop, failing what is under way with ErrClosed, and frees the cache.
func (s *Sampler) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.poke()
	<-s.ended
	s.e.mu.Lock()
	defer s.e.mu.Unlock()
	if s.cache != nil {
		s.cache.free(s.e.b)
		s.p.close()
		s.cache = nil
	}
}

func (s *Sampler) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// loop serves requests until Close.
func (s *Sampler) loop() {
	defer close(s.ended)
	for {
		if len(s.active) == 0 && s.idle() {
			<-s.wake
		}
		if s.closing() {
			return
		}
		err := s.admit()
		if err == nil && len(s.active) > 0 {
			err = s.decode()
		}
		if err != nil { // of all: everyone learns why
			for _, r := range s.active {
				s.finish(r, err)
			}
			s.active = s.active[:0]
			s.clear() // what was due to be computed may not have been
		}
	}
}

// idle reports whether nothing is waiting.
func (s *Sampler) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waiting) == 0 && len(s.publish) == 0 && !s.closed
}

func (s *Sampler) closing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		return false
	}
	for _, r := range append(s.active, s.waiting...) {
		s.finish(r, ErrClosed)
	}
	s.active, s.waiting = nil, nil
	return true
}

// decode draws one token of every active request, and lets go of those that are done.
func (s *Sampler) decode() error {
	s.reset()
	s.active = slices.DeleteFunc(s.active, s.gone)
	if len(s.active) == 0 {
		return nil
	}
	if s.joined { // requests that share a beginning stand together from now on
		slices.SortFunc(s.active, func(a, b *request) int { return kernels.ComparePaths(a.path, b.path) })
		s.joined = false
	}
	s.temps, s.us, s.paths = s.temps[:0], s.us[:0], s.paths[:0]
	for _, r := range s.active {
		s.row(r.next, int32(len(r.Prompt))-1+r.length, r.start+r.length)
		r.path[len(r.path)-1].Len = r.length + 1
		s.temps, s.us, s.paths = append(s.temps, r.Temperature), append(s.us, r.rng.Float64()), append(s.paths, r.path)
	}
	s.p.plan.AddBatch(s.paths)
	n := len(s.active)
	if err := s.run(n); err != nil {
		return err
	}
	keep := s.active[:0]
	for i, r := range s.active {
		t := s.drawn[i]
		if lp := float64(s.lps[i]); math.IsNaN(lp) || math.IsInf(lp, 0) {
			s.finish(r, fmt.Errorf("sample: token %d has log-prob %v: the weights of policy version %d overflow", r.length, lp, r.out.PolicyVersion))
			continue
		}
		r.out.Action, r.out.LogProbs = append(r.out.Action, t), append(r.out.LogProbs, s.lps[i])
		r.length++
		r.next = t
		switch {
		case slices.Contains(r.Stop, t):
			r.out.Stop = flow.StopEOS
		case len(r.out.Action) == r.MaxTokens:
			r.out.Stop = flow.StopLimit
		default:
			keep = append(keep, r)
			continue
		}
		s.finish(r, nil)
	}
	clear(s.active[len(keep):])
	s.active = keep
	return nil
}

func (s *Sampler) reset() {
	s.p.plan.Reset()
	s.tokens, s.positions, s.slots = s.tokens[:0], s.positions[:0], s.slots[:0]
}

func (s *Sampler) row(token, position, slot int32) {
	s.tokens, s.positions, s.slots = append(s.tokens, token), append(s.positions, position), append(s.slots, slot)
}

// run computes the rows that are set; the last `draw` of them are drawn from (all or none).
func (s *Sampler) run(draw int) error {
	e, p := s.e, &s.p
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.usable(); err != nil {
		return err
	}
	if !s.o.Base && e.changes.Load() != s.changes {
		return fmt.Errorf("sample: the weights have changed since policy version %d was published; expected Publish before the next request", s.version)
	}
	if err := e.positions(int(slices.Max(s.positions)) + 1); err != nil {
		return err
	}
	p.err, p.adapter, p.w, p.backward, p.entropy, p.cache = nil, !s.o.Base, e.weightsOf(!s.o.Base), false, false, s.cache
	p.T, p.S, p.N = len(s.tokens), draw, 0
	p.last.Reset()
	if p.prepare(); p.err != nil {
		return fmt.Errorf("%s: %d rows of a sampler: %w", e.name, p.T, p.err) // nothing was begun
	}
	p.do(e.b.UploadI32(p.t.tokens, s.tokens))
	p.do(e.b.UploadI32(p.t.positions, s.positions))
	p.do(e.b.UploadI32(p.t.slots, s.slots))
	p.forward()
	if draw > 0 && p.err == nil {
		s.drawn, s.lps = grow(s.drawn, draw), grow(s.lps, draw)
		p.do(e.b.Sample(p.t.fin, p.w.head, s.temps, s.us, s.drawn, s.lps))
	}
	return e.end(p)
}

// Options returns the options in force.
func (s *Sampler) Options() SamplerOptions { return s.o }
