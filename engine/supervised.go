package engine

import (
	"context"
	"errors"
	"time"

	"afctl/flow"
)

// SupervisedMetrics are those of a supervised step.
type SupervisedMetrics struct {
	Loss     float64 // mean of -lp over the targets, nats
	GradNorm float64 // before the clip
	Tokens   int     // targets
	Rows     int     // computed
	Skipped  bool    // the gradient was not finite
	Seconds  float64
}

// SupervisedStep takes one optimizer step on the mean negative log-likelihood (temperature 1) of the sequences' targets. When ctx ends it stops
// between micro-batches, nothing changed. Errors are Begin's.
func (e *Engine) SupervisedStep(ctx context.Context, seqs []flow.Sequence, o Optimizer) (SupervisedMetrics, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var m SupervisedMetrics
	if err := e.usable(); err != nil {
		return m, err
	}
	ps := e.trained()
	if ps == nil {
		return m, ErrNothingTrained
	}
	if err := e.checkSequences(seqs); err != nil {
		return m, err
	}
	begin := time.Now()
	for _, s := range seqs {
		m.Tokens += len(s.Tokens) - s.Start
	}
	if m.Tokens == 0 {
		return m, errors.New("supervised step: found no target in the sequences, expected some")
	}
	if err := e.fail(e.b.Zero(ps.g)); err != nil {
		return m, err
	}
	forests := e.forests(seqs)
	if err := e.reserve(forests, true, true, false); err != nil {
		return m, err
	}
	weight := 1 / float64(m.Tokens)
	for i := range forests {
		if err := ctx.Err(); err != nil {
			return m, err
		}
		p := e.begin(&forests[i], true, true, false)
		p.forward()
		p.head(1)
		if p.err != nil {
			return m, e.end(p)
		}
		p.grad = grow(p.grad, p.N)
		for j := range p.grad {
			p.grad[j] = float32(-weight)
			m.Loss -= weight * float64(p.lpHost[j])
		}
		p.back(1)
		if err := e.end(p); err != nil {
			return m, err
		}
		m.Rows += p.T
	}
	norm, taken, err := e.optimize(o)
	m.GradNorm, m.Skipped, m.Seconds = norm, !taken, time.Since(begin).Seconds()
	return m, err
}
