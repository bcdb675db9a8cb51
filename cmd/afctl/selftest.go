package main

import (
	"context"
	"fmt"
	"io"
	"math"

	"afctl/engine"
	"afctl/flow"
	"afctl/flow/oracle"
	"afctl/kernels"
	"afctl/kernels/conformance"
)

// selfTest is what judged a back end.
type selfTest struct {
	Checks int           `json:"checks"`
	Failed []failedCheck `json:"failed"`
}

type failedCheck struct {
	Name  string `json:"name"`
	Error string `json:"error"`
}

// runSelfTest runs every check there is on b. The error is that of ctx: what the checks find is in the result.
func runSelfTest(ctx context.Context, w io.Writer, b kernels.Backend) (*selfTest, error) {
	t := &selfTest{}
	bar := newProgress(w, "selftest", "checks", -1)
	defer bar.end()
	report := func(name string, err error) {
		t.Checks++
		if err != nil {
			t.Failed = append(t.Failed, failedCheck{name, err.Error()})
		}
		bar.add(1)
	}
	if err := conformance.Check(ctx, b, report); err != nil {
		return nil, err
	}
	report("loss against automatic differentiation", oracle.Check(deviceLoss(b), oracle.Float32Tolerance))
	return t, nil
}

// deviceLoss is the objective as b computes it, head included: the hidden states are the logits, and the head's matrix the identity,
// so that products are exact.
func deviceLoss(b kernels.Backend) oracle.LossFunc {
	return func(o flow.Objective, in oracle.Inputs) (out oracle.Outputs, err error) {
		n, v := len(in.Tokens), in.Vocab
		var arena deviceArena
		defer arena.free(b)
		f32 := func(rows, cols int, values []float32) kernels.Tensor {
			t := arena.tensor(b, kernels.F32, rows, cols)
			if values != nil {
				arena.do(b.Upload(t, values))
			}
			return t
		}
		i32 := func(values []int32) kernels.Tensor {
			t := arena.tensor(b, kernels.I32, 1, len(values))
			arena.do(b.UploadI32(t, values))
			return t
		}
		w, err := b.NewMatrix(kernels.F32, v, v)
		if err != nil {
			return out, err
		}
		defer b.FreeMatrix(w)
		identity := make([]float32, v*v)
		first := make([]int32, n+1)
		for i := range v {
			identity[i*v+i] = 1
		}
		for i := range first {
			first[i] = int32(i)
		}
		arena.do(b.Pack(w, f32(v, v, identity), 1))
		wide := (v + 15) &^ 15 // rows of expected weights are written in whole vectors
		head := kernels.LogProbs{H: f32(n, v, narrow(in.Logits)), W: w, Temperature: o.Temperature,
			Targets: kernels.Targets{First: i32(first), Tokens: i32(in.Tokens)},
			LP:      f32(1, n, nil), Entropy: f32(1, n, nil), LSE: f32(1, n, nil), EW: f32(n, wide, nil).ColRange(0, v), ELW: f32(n, wide, nil).ColRange(0, v)}
		back := kernels.LogProbsBack{DH: f32(n, v, nil), G: f32(1, n, nil), DEntropy: f32(1, n, nil), W: w, Targets: head.Targets,
			Temperature: o.Temperature, Entropy: head.Entropy, LSE: head.LSE, EW: head.EW, ELW: head.ELW, H: head.H}
		if arena.err != nil {
			return out, arena.err
		}
		arena.do(b.LogProbs(head))
		loss := kernels.Loss{Params: engine.LossParams(&o), Index: first[:n], Weight: in.Weight, Advantage: in.Advantage,
			LP: arena.download(b, head.LP), Entropy: arena.download(b, head.Entropy), DLP: make([]float32, n)}
		loss.LO, loss.LR, loss.LS = narrow(in.LO), narrow(in.LR), narrow(in.LS)
		if in.LO == nil {
			loss.LO = loss.LP
		}
		if in.LR == nil {
			loss.LR = nans(n)
		}
		var sums kernels.LossSums
		arena.do(b.Loss(loss, &sums))
		dEntropy := make([]float32, n)
		for i, weight := range in.Weight {
			dEntropy[i] = float32(-o.Entropy * weight)
		}
		arena.do(b.Upload(back.G, loss.DLP))
		arena.do(b.Upload(back.DEntropy, dEntropy))
		arena.do(b.LogProbsBack(back))
		out = oracle.Outputs{PolicyLoss: sums.Policy, KL: sums.KL, Entropy: sums.Entropy, LogProb: widen(loss.LP), DLP: widen(loss.DLP),
			DLogits: widen(arena.download(b, back.DH))}
		out.Loss = out.PolicyLoss
		if o.KLInLoss() {
			out.Loss += o.KL * out.KL
		}
		if o.Entropy != 0 {
			out.Loss -= o.Entropy * out.Entropy
		}
		return out, arena.err
	}
}

// deviceArena keeps what was allocated, to free it, and the first error.
type deviceArena struct {
	tensors []kernels.Tensor
	err     error
}

func (a *deviceArena) do(err error) {
	if a.err == nil {
		a.err = err
	}
}

func (a *deviceArena) tensor(b kernels.Backend, d kernels.DType, rows, cols int) kernels.Tensor {
	t, err := b.Alloc(d, rows, cols)
	if err != nil {
		a.do(fmt.Errorf("%v[%d %d]: %w", d, rows, cols, err))
		return kernels.Tensor{}
	}
	a.tensors = append(a.tensors, t)
	return t
}

func (a *deviceArena) download(b kernels.Backend, t kernels.Tensor) []float32 {
	out := make([]float32, t.Rows*t.Cols)
	a.do(b.Download(out, t))
	return out
}

func (a *deviceArena) free(b kernels.Backend) {
	for _, t := range a.tensors {
		b.Free(t)
	}
}

func narrow(x []float64) []float32 {
	if x == nil {
		return nil
	}
	out := make([]float32, len(x))
	for i, v := range x {
		out[i] = float32(v)
	}
	return out
}

func widen(x []float32) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v)
	}
	return out
}

// nans are n times "not known".
func nans(n int) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(math.NaN())
	}
	return out
}
