package engine

import (
	"math"

	"afctl/kernels"
)

// Optimizer holds AdamW's numbers for one step, in the config's names.
type Optimizer struct {
	LR, Beta1, Beta2, Eps, WeightDecay, MaxGradNorm float64
}

// DefaultOptimizer is AdamW as Flow-GRPO's LoRA runs use it.
func DefaultOptimizer() Optimizer {
	return Optimizer{LR: 1e-5, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: 0.01, MaxGradNorm: 1}
}

// maxStepNorm bounds the norm of a gradient that a step is taken on: the square of a larger one may be none that float32 holds, and Adam's second
// moment would stay infinite.
const maxStepNorm = 1 << 63

// optimize clips the gradient to MaxGradNorm (factor min(1, max/(norm + 1e-6)); 0 is off) and takes AdamW's step, unless the norm is not
// finite, or beyond maxStepNorm. It returns the norm before the clip and whether the step was taken; an error leaves the engine broken.
func (e *Engine) optimize(o Optimizer) (norm float64, taken bool, err error) {
	defer func() { err = e.fail(err) }()
	ps := e.trained()
	sum, err := e.b.SumSquares(ps.g)
	if err != nil {
		return 0, false, err
	}
	norm = math.Sqrt(sum)
	if math.IsNaN(norm) || math.IsInf(norm, 0) {
		return norm, false, nil
	}
	scale := 1.0
	if o.MaxGradNorm > 0 {
		scale = min(1, o.MaxGradNorm/(norm+1e-6))
	}
	if norm*scale > maxStepNorm {
		return norm, false, nil
	}
	e.step++
	e.changes.Add(1)
	if err := e.b.AdamW(kernels.AdamW{P: ps.p, G: ps.g, M: ps.m, V: ps.v, Step: e.step, LR: o.LR, Beta1: o.Beta1, Beta2: o.Beta2, Eps: o.Eps,
		WeightDecay: o.WeightDecay, GradScale: scale}); err != nil {
		return norm, false, err
	}
	if e.full != nil {
		return norm, true, e.full.pack(e.b, e.w)
	}
	e.lora.zero = false
	return norm, true, e.lora.pack(e.b)
}
