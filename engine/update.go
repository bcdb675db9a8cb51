package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"afctl/flow"
	"afctl/kernels"
)

// ErrNothingTrained says that the engine has neither an adapter nor trainable weights.
var ErrNothingTrained = errors.New("nothing to train: no adapter is set and the weights are frozen")

// Update is the optimizer steps on one set of rollouts: lo and lr are fixed by its beginning, lp moves.
type Update struct {
	e       *Engine
	u       *flow.Update
	forests []flow.Forest
	params  kernels.LossParams
	lo, lr  []float32 // by target index
	epoch   int       // steps taken
	known   bool      // lo and lr are there, and K1 was taken off the rewards
}

// Begin prepares an update: sequences checked against the model, forests cut, memory taken.
//
// Errors: ErrNothingTrained; ids outside the vocabulary and sequences longer than the model's positions; kernels.ErrMemory.
func (e *Engine) Begin(u *flow.Update) (*Update, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.usable(); err != nil {
		return nil, err
	}
	if e.trained() == nil {
		return nil, ErrNothingTrained
	}
	if err := u.CheckVocab(e.cfg.VocabSize); err != nil {
		return nil, err
	}
	if err := e.checkSequences(u.Sequences); err != nil {
		return nil, err
	}
	o := u.Objective
	up := &Update{e: e, u: u, forests: e.forests(u.Sequences), lo: make([]float32, len(u.Weight)), lr: make([]float32, len(u.Weight)),
		params: LossParams(&o)}
	err := e.reserve(up.forests, true, true, o.Entropy != 0)
	if err == nil { // of one layer, the reference's pass and that of lo for k1 may take more: they select no rows in the midst of it
		err = e.reserve(up.forests, true, false, false)
	}
	if err != nil {
		return nil, err
	}
	return up, nil
}

// Epoch returns how many steps were taken.
func (up *Update) Epoch() int { return up.epoch }

// Constants returns lo and lr by target index, once a step was taken: with Resume they let an interrupted update go on.
func (up *Update) Constants() (lo, lr []float32) {
	if !up.known {
		return nil, nil
	}
	return up.lo, up.lr
}

// Resume sets an update to where it was: epoch steps taken, with these lo and lr.
func (up *Update) Resume(epoch int, lo, lr []float32) error {
	if len(lo) != len(up.lo) || len(lr) != len(up.lr) {
		return fmt.Errorf("resume: %d and %d log-probs for an update of %d action tokens", len(lo), len(lr), len(up.lo))
	}
	copy(up.lo, lo)
	copy(up.lr, lr)
	if err := up.shape(); err != nil {
		return err
	}
	up.epoch, up.known = epoch, true
	return nil
}

// shape takes K1 off the rewards, where the objective says so.
func (up *Update) shape() error {
	if up.u.Objective.KLEstimator != flow.K1 {
		return nil
	}
	return up.u.ShapeRewards(up.lo, up.lr)
}

// Step takes one optimizer step over the whole update and returns its metrics (Step, PolicyVersion, AdapterHash and the seconds of other
// phases are the caller's to fill). When ctx ends it stops between micro-batches, nothing changed. A step whose gradient is not
// finite is not taken: SkippedSteps is then 1.
func (up *Update) Step(ctx context.Context, o Optimizer) (flow.Metrics, error) {
	e := up.e
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.usable(); err != nil {
		return flow.Metrics{}, err
	}
	begin := time.Now()
	var reference time.Duration
	ps := e.trained()
	if err := e.fail(e.b.Zero(ps.g)); err != nil {
		return flow.Metrics{}, err
	}
	if up.u.Objective.KLEstimator == flow.K1 && !up.known {
		if err := up.scoreRollouts(ctx); err != nil {
			return flow.Metrics{}, err
		}
		reference = time.Since(begin)
	}
	var sums kernels.LossSums
	rows := 0
	for i := range up.forests {
		if err := ctx.Err(); err != nil {
			return flow.Metrics{}, err
		}
		f := &up.forests[i]
		rows += len(f.Tokens)
		if !up.known && !up.onBase() {
			t := time.Now()
			if err := e.logProbs(ctx, up.forests[i:i+1], up.u.Objective.Temperature, false, up.lr); err != nil {
				return flow.Metrics{}, err
			}
			reference += time.Since(t)
		}
		if err := up.gradient(f, &sums); err != nil {
			return flow.Metrics{}, err
		}
	}
	up.known = true
	norm, taken, err := e.optimize(o)
	if err != nil {
		return flow.Metrics{}, err
	}
	up.epoch++
	m := up.u.Metrics(flow.TokenSums{Policy: sums.Policy, KL: sums.KL, Entropy: sums.Entropy, Tokens: int(sums.Count), Ratio: sums.Ratio,
		RatioMax: sums.RatioMax, ClipLow: int(sums.ClipLow), ClipHigh: int(sums.ClipHigh), MismatchCount: int(sums.MismatchCount),
		Mismatch: sums.Mismatch, MismatchMax: sums.MismatchMax, MismatchK3: sums.MismatchK3})
	m.ForestTokens, m.GradNorm, m.LR = rows, flow.Number(norm), flow.Number(o.LR)
	if !taken {
		m.SkippedSteps = 1
	}
	whole := time.Since(begin)
	m.SecondsReference, m.SecondsUpdate = flow.Number(reference.Seconds()), flow.Number((whole - reference).Seconds())
	m.TokensPerSecond = flow.Number(float64(m.ForestUnsharedTokens) / whole.Seconds())
	return m, nil
}

// scoreRollouts computes lo and lr of whole rollouts and takes K1 off the rewards: advantages have to be there before the first gradient.
func (up *Update) scoreRollouts(ctx context.Context) error {
	t := up.u.Objective.Temperature
	if err := up.e.logProbs(ctx, up.forests, t, true, up.lo); err != nil {
		return err
	}
	if up.onBase() {
		copy(up.lr, up.lo)
	} else if err := up.e.logProbs(ctx, up.forests, t, false, up.lr); err != nil {
		return err
	}
	if err := up.shape(); err != nil {
		return err
	}
	up.known = true
	return nil
}

// onBase reports whether the policy is still the base itself, so that the reference needs no pass of its own.
func (up *Update) onBase() bool { return up.e.lora != nil && up.e.lora.zero }

// gradient is the policy pass over one micro-batch, its loss and its backward pass.
func (up *Update) gradient(f *flow.Forest, sums *kernels.LossSums) error {
	e, o := up.e, &up.u.Objective
	p := e.begin(f, true, true, o.Entropy != 0)
	p.forward()
	p.head(o.Temperature)
	if p.err != nil {
		return e.end(p)
	}
	if !up.known { // on policy: the ratio is 1, its gradient is not 0
		for i, k := range p.index {
			up.lo[k] = p.lpHost[i]
			if up.onBase() {
				up.lr[k] = p.lpHost[i]
			}
		}
	}
	p.grad = grow(p.grad, p.N)
	p.do(e.b.Loss(kernels.Loss{Params: up.params, Index: p.index, Weight: up.u.Weight, Advantage: up.u.Advantage, LO: up.lo, LR: up.lr,
		LS: up.u.LS, LP: p.lpHost, Entropy: p.entTarget, DLP: p.grad}, sums))
	if p.entropy {
		p.dent = grow(p.dent, p.S)
		for r := range p.S {
			w := 0.0
			for i := p.firsts[r]; i < p.firsts[r+1]; i++ {
				w += up.u.Weight[p.index[i]]
			}
			p.dent[r] = float32(-o.Entropy * w)
		}
	}
	p.back(o.Temperature)
	return e.end(p)
}

// LossParams are an objective's options as the loss kernel takes them.
func LossParams(o *flow.Objective) kernels.LossParams {
	p := kernels.LossParams{ClipLow: o.ClipLow, ClipHigh: o.ClipHigh, DualClip: o.DualClip, KL: o.KL, TISCap: o.TISCap}
	switch o.KLEstimator {
	case flow.K1:
		p.KLEstimator = kernels.K1
	case flow.K2:
		p.KLEstimator = kernels.K2
	case flow.K3:
		p.KLEstimator = kernels.K3
	}
	return p
}
