package engine

import (
	"fmt"

	"afctl/ckpt"
	"afctl/flow"
	"afctl/kernels"
)

// Trainable says what of a model is trained.
type Trainable string

// LoRA trains low-rank matrices beside frozen ones (Hu et al. 2021); Full trains every weight.
const (
	LoRA Trainable = "lora"
	Full Trainable = "full"
)

// Where no budget of a micro-batch's rows is given it follows from the model and the sequences alone, so that results do not depend on the
// machine. Beyond usualMicroBatch a product gains nothing, but shared prefixes are cut less often: the budget is doubled as long as prefixes
// that are computed again make up more than a twentieth of the rows and the backward pass takes at most microBatchBytes.
const (
	leastMicroBatch, usualMicroBatch = 2048, 4096
	microBatchBytes                  = 3 << 30
)

// budgets are the usual and the largest budget of rows for a model, powers of two.
func budgets(c *ckpt.ModelConfig, d kernels.DType) (usual, most int) {
	D, Q, KV, F := c.HiddenSize, c.NumAttentionHeads*c.HeadDim, c.NumKeyValueHeads*c.HeadDim, c.IntermediateSize
	perRow := d.Size()*(c.NumHiddenLayers*(2*D+2*Q+2*KV+2*F)+2*D+2*F+2*Q+4*KV) + 4*4*D // as layout has it, but for what is small
	most = leastMicroBatch
	for 2*most*perRow <= microBatchBytes {
		most *= 2
	}
	return min(usualMicroBatch, most), most
}

// forests cuts sequences into micro-batches.
func (e *Engine) forests(seqs []flow.Sequence) []flow.Forest {
	if n := e.opts.MicroBatchTokens; n > 0 {
		return flow.Forests(seqs, n)
	}
	rows := func(fs []flow.Forest) (n int) {
		for i := range fs {
			n += len(fs[i].Tokens)
		}
		return n
	}
	budget, most := budgets(&e.cfg, e.opts.DType)
	fs := flow.Forests(seqs, budget)
	for least := rows(flow.Forests(seqs, 0)); budget < most && 20*(rows(fs)-least) > least; {
		budget *= 2
		fs = flow.Forests(seqs, budget)
	}
	return fs
}

// Options of an Engine.
type Options struct {
	// DType is that of activations and of the operands of products: F32, or BF16 (sums stay in float32, and so do the residual
	// stream, the adapter's masters, gradients and moments). Weights stored in bf16 stay so in either.
	DType kernels.DType
	// Trainable is LoRA unless set.
	Trainable Trainable
	// MicroBatchTokens is the budget of rows; 0 chooses one for model and sequences. A sequence longer than it is a micro-batch of its own.
	MicroBatchTokens int
}

func (o *Options) defaults() error {
	if o.Trainable == "" {
		o.Trainable = LoRA
	}
	if o.Trainable != LoRA && o.Trainable != Full {
		return fmt.Errorf("trainable: found %q, expected lora or full", o.Trainable)
	}
	if o.MicroBatchTokens < 0 {
		return fmt.Errorf("engine.micro_batch_tokens: found %d, expected a positive number of rows", o.MicroBatchTokens)
	}
	if o.DType != kernels.F32 && o.DType != kernels.BF16 {
		return fmt.Errorf("engine.dtype: found %v, expected f32 or bf16", o.DType)
	}
	return nil
}
