package cpu

// #include "af.h"
import "C"

import (
	"unsafe"

	"afctl/kernels"
)

// Gather implements kernels.Backend.
func (b *Backend) Gather(x kernels.Tensor, w kernels.Matrix, tokens kernels.Tensor) error {
	if err := kernels.CheckGather(x, w, tokens); err != nil {
		return err
	}
	m, err := own("gather", w)
	if err != nil {
		return err
	}
	return b.done("gather", C.af_gather(b.c, tensor(x), m, ints(tokens), C.int64_t(x.Rows)))
}

// GatherBack implements kernels.Backend.
func (b *Backend) GatherBack(dw, dx, tokens kernels.Tensor) error {
	if err := kernels.CheckGatherBack(dw, dx, tokens); err != nil {
		return err
	}
	return b.done("gather backward", C.af_gather_back(b.c, tensor(dw), tensor(dx), ints(tokens)))
}

// Select implements kernels.Backend.
func (b *Backend) Select(y, x, rows kernels.Tensor) error {
	if err := kernels.CheckSelect(y, x, rows); err != nil {
		return err
	}
	return b.done("select", C.af_select(b.c, tensor(y), tensor(x), ints(rows)))
}

// ScatterAdd implements kernels.Backend.
func (b *Backend) ScatterAdd(y, x, rows kernels.Tensor) error {
	if err := kernels.CheckScatterAdd(y, x, rows); err != nil {
		return err
	}
	return b.done("scatter", C.af_scatter_add(b.c, tensor(y), tensor(x), ints(rows)))
}

// Convert implements kernels.Backend.
func (b *Backend) Convert(y, x kernels.Tensor) error {
	if err := kernels.CheckSame("convert", y, x); err != nil {
		return err
	}
	return b.done("convert", C.af_convert(b.c, tensor(y), tensor(x)))
}

// RMSNorm implements kernels.Backend.
func (b *Backend) RMSNorm(y, rstd, x, w kernels.Tensor, eps float64) error {
	if err := kernels.CheckRMSNorm(y, rstd, x, w); err != nil {
		return err
	}
	return b.done("rms norm", C.af_rmsnorm(b.c, tensor(y), floats(rstd), tensor(x), floats(w), C.float(eps)))
}

// RMSNormBack implements kernels.Backend.
func (b *Backend) RMSNormBack(dx, dw, dy, x, w, rstd kernels.Tensor, add bool) error {
	if err := kernels.CheckRMSNormBack(dx, dw, dy, x, w, rstd); err != nil {
		return err
	}
	return b.done("rms norm backward", C.af_rmsnorm_back(b.c, tensor(dx), floats(dw), tensor(dy), tensor(x), floats(w), floats(rstd), flag(add)))
}

// Linear implements kernels.Backend.
func (b *Backend) Linear(a kernels.Linear) error {
	if err := a.Check(); err != nil {
		return err
	}
	w, err := own("linear", a.W)
	var low *C.af_matrix
	if err == nil && !a.U.None() {
		low, err = own("linear", a.B)
	}
	if err != nil {
		return err
	}
	return b.done("linear", C.af_linear(b.c, tensor(a.Y), tensor(a.X), w, floats(a.Bias), tensor(a.U), low, flag(a.Add)))
}

// LinearBack implements kernels.Backend.
func (b *Backend) LinearBack(a kernels.LinearBack) error {
	if err := a.Check(); err != nil {
		return err
	}
	w, err := own("linear backward", a.W)
	var low *C.af_matrix
	if err == nil && !a.DU.None() {
		low, err = own("linear backward", a.A)
	}
	if err != nil {
		return err
	}
	return b.done("linear backward", C.af_linear_back(b.c, tensor(a.DX), tensor(a.DY), w, tensor(a.DU), low, flag(a.Add)))
}

// GradWeight implements kernels.Backend.
func (b *Backend) GradWeight(dw, dy, x kernels.Tensor, scale float64) error {
	if err := kernels.CheckGradWeight(dw, dy, x); err != nil {
		return err
	}
	return b.done("weight gradient", C.af_grad_weight(b.c, tensor(dw), tensor(dy), tensor(x), C.float(scale)))
}

// GradBias implements kernels.Backend.
func (b *Backend) GradBias(db, dy kernels.Tensor) error {
	if err := kernels.CheckGradBias(db, dy); err != nil {
		return err
	}
	return b.done("bias gradient", C.af_grad_bias(b.c, floats(db), tensor(dy)))
}

// RoPE implements kernels.Backend.
func (b *Backend) RoPE(x, positions, table kernels.Tensor, dh int, inverse bool) error {
	if err := kernels.CheckRoPE(x, positions, table, dh); err != nil {
		return err
	}
	return b.done("rope", C.af_rope(b.c, tensor(x), ints(positions), floats(table), C.int64_t(x.Cols/dh), C.int64_t(dh), flag(inverse)))
}

// SwiGLU implements kernels.Backend.
func (b *Backend) SwiGLU(act, gate, up kernels.Tensor) error {
	if err := kernels.CheckSwiGLU(act, gate, up); err != nil {
		return err
	}
	return b.done("swiglu", C.af_swiglu(b.c, tensor(act), tensor(gate), tensor(up)))
}

// SwiGLUBack implements kernels.Backend.
func (b *Backend) SwiGLUBack(dgate, dup, act, dact, gate, up kernels.Tensor) error {
	if err := kernels.CheckSwiGLU(dact, dgate, dup, act, gate, up); err != nil {
		return err
	}
	return b.done("swiglu backward", C.af_swiglu_back(b.c, tensor(dgate), tensor(dup), tensor(act), tensor(dact), tensor(gate), tensor(up)))
}

// LogProbs implements kernels.Backend.
func (b *Backend) LogProbs(a kernels.LogProbs) error {
	if err := a.Check(); err != nil {
		return err
	}
	w, err := own("log-probs", a.W)
	if err != nil {
		return err
	}
	return b.done("log-probs", C.af_head(b.c, tensor(a.H), w, ints(a.Targets.First), ints(a.Targets.Tokens), C.float(1/a.Temperature), floats(a.LP),
		floats(a.Entropy), floats(a.LSE), tensor(a.EW), tensor(a.ELW)))
}

// LogProbsBack implements kernels.Backend.
func (b *Backend) LogProbsBack(a kernels.LogProbsBack) error {
	if err := a.Check(); err != nil {
		return err
	}
	w, err := own("log-probs backward", a.W)
	if err != nil {
		return err
	}
	return b.done("log-probs backward", C.af_head_back(b.c, tensor(a.DH), w, ints(a.Targets.First), ints(a.Targets.Tokens), floats(a.G), floats(a.DEntropy),
		floats(a.Entropy), tensor(a.EW), tensor(a.ELW), C.float(1/a.Temperature)))
}

// LogProbsGradWeight implements kernels.Backend.
func (b *Backend) LogProbsGradWeight(dw kernels.Tensor, a kernels.LogProbsBack) error {
	if err := a.CheckGradWeight(dw); err != nil {
		return err
	}
	w, err := own("log-probs weight gradient", a.W)
	if err != nil {
		return err
	}
	return b.done("log-probs weight gradient", C.af_head_grad_weight(b.c, tensor(dw), tensor(a.H), w, ints(a.Targets.First), ints(a.Targets.Tokens), floats(a.G),
		floats(a.DEntropy), floats(a.Entropy), floats(a.LSE), C.float(1/a.Temperature)))
}

// Loss implements kernels.Backend.
func (b *Backend) Loss(a kernels.Loss, sums *kernels.LossSums) error {
	if err := a.Check(); err != nil {
		return err
	}
	n := len(a.Index)
	if n == 0 {
		return nil
	}
	p := a.Params
	cp := C.af_loss_params{clip_low: C.double(p.ClipLow), clip_high: C.double(p.ClipHigh), dual_clip: C.double(p.DualClip), kl: C.double(p.KL),
		tis_cap: C.double(p.TISCap), kl_estimator: C.int32_t(p.KLEstimator)}
	var s C.af_loss_sums
	s.ratio_max, s.mismatch_max = C.double(sums.RatioMax), C.double(sums.MismatchMax)
	C.af_loss(&cp, C.int64_t(n), (*C.int32_t)(unsafe.SliceData(a.Index)), (*C.double)(unsafe.SliceData(a.Weight)), (*C.double)(unsafe.SliceData(a.Advantage)),
		(*C.float)(unsafe.SliceData(a.LO)), (*C.float)(unsafe.SliceData(a.LR)), (*C.float)(unsafe.SliceData(a.LS)),
		(*C.float)(unsafe.SliceData(a.LP)), (*C.float)(unsafe.SliceData(a.Entropy)), (*C.float)(unsafe.SliceData(a.DLP)), &s)
	sums.Policy += float64(s.policy)
	sums.KL += float64(s.kl)
	sums.Entropy += float64(s.entropy)
	sums.Ratio += float64(s.ratio)
	sums.ClipLow += float64(s.clip_low)
	sums.ClipHigh += float64(s.clip_high)
	sums.Mismatch += float64(s.mismatch)
	sums.MismatchK3 += float64(s.mismatch_k3)
	sums.MismatchCount += float64(s.mismatch_count)
	sums.Count += float64(s.count)
	sums.RatioMax, sums.MismatchMax = float64(s.ratio_max), float64(s.mismatch_max)
	return nil
}

// Sample implements kernels.Backend.
func (b *Backend) Sample(h kernels.Tensor, w kernels.Matrix, temperature, u []float64, tokens []int32, lp []float32) error {
	if err := kernels.CheckSample(h, w, temperature, u, tokens, lp); err != nil {
		return err
	}
	m, err := own("sample", w)
	if err != nil {
		return err
	}
	if h.Rows == 0 {
		return nil
	}
	return b.done("sample", C.af_sample(b.c, tensor(h), m, (*C.double)(unsafe.SliceData(temperature)), (*C.double)(unsafe.SliceData(u)),
		(*C.int32_t)(unsafe.SliceData(tokens)), (*C.float)(unsafe.SliceData(lp))))
}

// SumSquares implements kernels.Backend.
func (b *Backend) SumSquares(x kernels.Tensor) (float64, error) {
	if err := kernels.CheckSumSquares(x); err != nil {
		return 0, err
	}
	s := C.af_sum_squares(b.c, floats(x), C.int64_t(x.Rows*x.Cols))
	return float64(s.value), b.done("sum of squares", s.rc)
}

// AdamW implements kernels.Backend.
func (b *Backend) AdamW(a kernels.AdamW) error {
	if err := a.Check(); err != nil {
		return err
	}
	return b.done("adamw", C.af_adamw(b.c, floats(a.P), floats(a.G), floats(a.M), floats(a.V), C.int64_t(a.P.Rows*a.P.Cols), C.int64_t(a.Step), C.double(a.LR),
		C.double(a.Beta1), C.double(a.Beta2), C.double(a.Eps), C.double(a.WeightDecay), C.double(a.GradScale)))
}
