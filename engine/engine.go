package engine

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"

	"afctl/ckpt"
	"afctl/flow"
	"afctl/kernels"
)

// ErrBroken says that an earlier error of the back end left the engine in an unknown state: every method that computes returns it then, with the cause.
var ErrBroken = errors.New("the engine stopped after an error")

// Engine is a model on a back end, with what is trained on it.
type Engine struct {
	b    kernels.Backend
	cfg  ckpt.ModelConfig
	opts Options
	name string // of the model, for messages

	w   *weights // the policy's
	ref *weights // the reference's: w itself where only an adapter is trained

	lora   *lora // nil without adapter
	full   *full // nil where weights are frozen
	widest [numGroups]int
	step   int // Adam's, of the present adapter
	// changes counts those of the policy's weights: a sampler that was not told of one draws nothing (Sampler.Publish).
	changes atomic.Uint64

	rope    kernels.Tensor
	ropeLen int

	mu     sync.Mutex
	broken error
	p      pass
}

// New loads a model's weights into b, which the engine uses alone from now on but does not close. The model's files may be closed
// after. A LoRA engine has no adapter yet: it scores the base.
//
// Errors: options out of range; a tensor that is missing or of another shape, or not finite, by its name; kernels.ErrMemory.
func New(b kernels.Backend, m *ckpt.Model, o Options) (*Engine, error) {
	if err := o.defaults(); err != nil {
		return nil, err
	}
	e := &Engine{b: b, cfg: m.Config, opts: o, name: m.Name}
	if err := e.p.open(e); err != nil {
		return nil, err
	}
	var err error
	if e.w, err = load(b, m, o); err != nil {
		e.p.close()
		return nil, err
	}
	e.ref = e.w
	if o.Trainable == Full {
		// The reference is the base for ever, whatever the policy becomes: a second copy.
		if e.ref, err = load(b, m, o); err == nil {
			e.full, err = newFull(b, m, e.w)
		}
		if err != nil {
			e.Close()
			return nil, fmt.Errorf("trainable: full: %w", err)
		}
	}
	return e, nil
}

// Close frees the engine's memory. The back end is the caller's.
func (e *Engine) Close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.w == nil {
		return
	}
	if e.ref != nil && e.ref != e.w {
		e.ref.free(e.b)
	}
	e.w.free(e.b)
	e.lora.free(e.b)
	if e.full != nil {
		e.full.params.free(e.b)
	}
	freeTensor(e.b, e.rope)
	e.p.close()
	e.w, e.ref, e.lora, e.full, e.rope, e.ropeLen = nil, nil, nil, nil, kernels.Tensor{}, 0
	e.broken = errors.New("it was closed")
}

// Config returns the model's description.
func (e *Engine) Config() ckpt.ModelConfig { return e.cfg }

// Options returns the options in force.
func (e *Engine) Options() Options { return e.opts }

// SetAdapter makes a the adapter that is trained and sampled with, its moments zero. It refuses one for another model. After an error, such as
// kernels.ErrMemory, the adapter is the one before.
func (e *Engine) SetAdapter(a *ckpt.Adapter) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.usable(); err != nil {
		return err
	}
	if e.opts.Trainable != LoRA {
		return errors.New("an adapter goes with trainable: lora")
	}
	lo, err := e.load(a)
	if err != nil {
		return err
	}
	e.setLoRA(lo)
	e.step = 0
	return nil
}

// load brings an adapter into the back end's memory, beside the present one.
func (e *Engine) load(a *ckpt.Adapter) (*lora, error) {
	lo, err := newLoRA(e.b, a, e.cfg, e.opts.DType)
	if err != nil {
		return nil, err
	}
	if err := e.fail(lo.fill(e.b)); err != nil {
		lo.free(e.b)
		return nil, err
	}
	return lo, nil
}

// setLoRA puts lo in the place of the adapter.
func (e *Engine) setLoRA(lo *lora) {
	e.changes.Add(1)
	e.lora.free(e.b)
	e.lora, e.widest = lo, [numGroups]int{}
	for _, l := range lo.layers {
		for g := range l {
			e.widest[g] = max(e.widest[g], l[g].width)
		}
	}
}

// Adapter returns the adapter with its present values; nil without one.
func (e *Engine) Adapter() (*ckpt.Adapter, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.usable(); err != nil || e.lora == nil {
		return nil, err
	}
	return e.lora.export(e.download)
}

// Weights returns all weights under the model's names in d, where they are trained.
func (e *Engine) Weights(d ckpt.DType) ([]ckpt.Tensor, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.usable(); err != nil {
		return nil, err
	}
	if e.full == nil {
		return nil, errors.New("the weights are frozen (trainable: lora)")
	}
	return e.full.values(e.download, e.full.p, "", d)
}

// usable returns the error that broke the engine, if one did.
func (e *Engine) usable() error {
	if e.broken != nil {
		return fmt.Errorf("%w: %w", ErrBroken, e.broken)
	}
	return nil
}

// fail passes on an error of the back end, after which the engine is broken; its first one is the cause that usable names.
func (e *Engine) fail(err error) error {
	if err != nil && e.broken == nil {
		e.broken = err
	}
	return err
}

// readback copies trained values or moments to the host.
type readback func(dst []float32, src kernels.Tensor) error

// download is the back end's readback.
func (e *Engine) download(dst []float32, src kernels.Tensor) error {
	return e.fail(e.b.Download(dst, src))
}

// trained are the flat arrays of what is trained; nil where nothing is.
func (e *Engine) trained() *params {
	switch {
	case e.full != nil:
		return &e.full.params
	case e.lora != nil:
		return &e.lora.params
	}
	return nil
}

// heads are those of attention.
func (e *Engine) heads() kernels.Heads {
	return kernels.Heads{Query: e.cfg.NumAttentionHeads, KeyValue: e.cfg.NumKeyValueHeads, Dim: e.cfg.HeadDim}
}

// scale is attention's.
func (e *Engine) scale() float64 { return 1 / math.Sqrt(float64(e.cfg.HeadDim)) }

// weightsOf are the policy's or the reference's.
func (e *Engine) weightsOf(policy bool) *weights {
	if policy {
		return e.w
	}
	return e.ref
}

// positions makes the rotary table long enough for n positions.
func (e *Engine) positions(n int) error {
	if n <= e.ropeLen {
		return nil
	}
	if n > e.cfg.MaxPositionEmbeddings {
		return fmt.Errorf("a sequence of %d tokens: %s has max_position_embeddings %d", n, e.name, e.cfg.MaxPositionEmbeddings)
	}
	size := min(max(512, 2*n), e.cfg.MaxPositionEmbeddings)
	t, err := e.b.Alloc(kernels.F32, size, e.cfg.HeadDim)
	if err != nil {
		return fmt.Errorf("rotary table: %w", err)
	}
	if err := e.fail(e.b.Upload(t, ropeTable(size, e.cfg.HeadDim, e.cfg.RopeTheta))); err != nil {
		freeTensor(e.b, t)
		return fmt.Errorf("rotary table: %w", err)
	}
	freeTensor(e.b, e.rope)
	e.rope, e.ropeLen = t, size
	return nil
}

// checkSequences refuses ids outside the vocabulary and sequences longer than the model's positions, and makes the rotary table long enough for them.
func (e *Engine) checkSequences(seqs []flow.Sequence) error {
	longest := 0
	for i, s := range seqs {
		if s.Start < 1 || s.Start > len(s.Tokens) {
			return fmt.Errorf("sequence %d: start %d of %d tokens: expected 1 <= start <= length", i, s.Start, len(s.Tokens))
		}
		for j, t := range s.Tokens {
			if t < 0 || int(t) >= e.cfg.VocabSize {
				return fmt.Errorf("sequence %d, token %d: found id %d, expected 0 <= id < %d (the vocabulary of %s)", i, j, t, e.cfg.VocabSize, e.name)
			}
		}
		longest = max(longest, len(s.Tokens))
	}
	return e.positions(longest)
}
