package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"afctl/flow"
	"afctl/kernels"
)

// Score returns the log-probs (nats) of the sequences' targets at a temperature, by target index, 0 where no sequence has one: with the adapter
// (policy), or of the base. Errors are Begin's, and ctx's between micro-batches.
func (e *Engine) Score(ctx context.Context, seqs []flow.Sequence, temperature float64, policy bool) ([]float32, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.usable(); err != nil {
		return nil, err
	}
	if !flow.Divides(temperature) {
		return nil, fmt.Errorf("temperature: found %v, expected > 0 with an inverse that float32 holds", temperature)
	}
	if err := e.checkSequences(seqs); err != nil {
		return nil, err
	}
	n := 0
	for _, s := range seqs {
		n = max(n, s.Index+len(s.Tokens)-s.Start)
	}
	out := make([]float32, n)
	forests := e.forests(seqs)
	if err := e.reserve(forests, policy, false, false); err != nil {
		return nil, err
	}
	if err := e.logProbs(ctx, forests, temperature, policy, out); err != nil {
		return nil, err
	}
	return out, nil
}

// logProbs is forward passes without gradient; out is by target index. When ctx ends it stops between two of them.
func (e *Engine) logProbs(ctx context.Context, forests []flow.Forest, temperature float64, policy bool, out []float32) error {
	for i := range forests {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := e.begin(&forests[i], policy, false, false)
		p.forward()
		p.head(temperature)
		if err := e.end(p); err != nil {
			return err
		}
		for j, k := range p.index {
			out[k] = p.lpHost[j]
		}
	}
	return nil
}

// set gives the engine's pass a forest.
func (e *Engine) set(f *flow.Forest, policy, backward, entropy bool) *pass {
	p := &e.p
	p.err, p.adapter, p.w, p.backward, p.entropy = nil, policy, e.weightsOf(policy), backward, entropy
	p.do(e.positions(int(slices.Max(f.Positions)) + 1))
	p.setForest(f)
	return p
}

// reserve makes room for the largest of the passes over forests: an arena that grows from pass to pass takes fresh memory each time. Where there
// is not enough, nothing was begun, and the engine goes on.
func (e *Engine) reserve(forests []flow.Forest, policy, backward, entropy bool) error {
	e.p.err = nil // of an earlier attempt
	most := 0
	for i := range forests {
		most = max(most, e.set(&forests[i], policy, backward, entropy).need())
	}
	e.p.reserve(most)
	if e.p.err != nil {
		if !errors.Is(e.p.err, kernels.ErrMemory) {
			return e.end(&e.p)
		}
		return fmt.Errorf("%s: %w (engine.micro_batch_tokens bounds what is computed at once)", e.name, e.p.err)
	}
	return nil
}

// begin makes the engine's pass ready for a forest.
func (e *Engine) begin(f *flow.Forest, policy, backward, entropy bool) *pass {
	p := e.set(f, policy, backward, entropy)
	p.prepare()
	if p.err == nil {
		p.uploadForest(f)
	}
	return p
}

// end returns the pass's error, after which the engine is broken.
func (e *Engine) end(p *pass) error {
	if e.fail(p.err) != nil {
		return fmt.Errorf("%s: %w", e.name, p.err)
	}
	return nil
}
