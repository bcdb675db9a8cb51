package engine

import (
	"fmt"

	"afctl/ckpt"
	"afctl/kernels"
)

// Trainable says what of a model is trained.
type Trainable string

// LoRA trains low-rank matrices beside frozen ones (Hu et al. 2021); Full trains every weight.
const (
	LoRA Trainable = "lora"
	Full Trainable = "full"
)

// What a micro-batch's budget is chosen from where none is given: the largest power of two in these bounds whose backward pass takes at most
// microBatchBytes. Larger ones compute fewer shared prefixes twice, smaller ones need less memory; it follows from the model alone, so that
// results do not depend on the machine.
const (
	leastMicroBatch, mostMicroBatch = 2048, 4096
	microBatchBytes                 = 3 << 30
)

// microBatch chooses the budget of rows for a model.
func microBatch(c *ckpt.ModelConfig, d kernels.DType) int {
	D, Q, KV, F := c.HiddenSize, c.NumAttentionHeads*c.HeadDim, c.NumKeyValueHeads*c.HeadDim, c.IntermediateSize
	perRow := d.Size()*(c.NumHiddenLayers*(2*D+2*Q+2*KV+2*F)+2*D+2*F+2*Q+4*KV) + 4*4*D // as layout has it, but for what is small
	rows := mostMicroBatch
	for rows > leastMicroBatch && rows*perRow > microBatchBytes {
		rows /= 2
	}
	return rows
}

// Options of an Engine.
type Options struct {
	// DType is that of activations and of the operands of products: F32, or BF16 (sums stay in float32, and so do the residual
	// stream, the adapter's masters, gradients and moments). Weights stored in bf16 stay so in either.
	DType kernels.DType
	// Trainable is LoRA unless set.
	Trainable Trainable
	// MicroBatchTokens is the budget of rows; 0 chooses one for the model. A sequence longer than it is a micro-batch of its own.
	MicroBatchTokens int
}

func (o *Options) defaults(c *ckpt.ModelConfig) error {
	if o.Trainable == "" {
		o.Trainable = LoRA
	}
	if o.Trainable != LoRA && o.Trainable != Full {
		return fmt.Errorf("trainable: found %q, expected lora or full", o.Trainable)
	}
	if o.MicroBatchTokens == 0 {
		o.MicroBatchTokens = microBatch(c, o.DType)
	}
	if o.MicroBatchTokens < 0 {
		return fmt.Errorf("engine.micro_batch_tokens: found %d, expected a positive number of rows", o.MicroBatchTokens)
	}
	if o.DType != kernels.F32 && o.DType != kernels.BF16 {
		return fmt.Errorf("engine.dtype: found %v, expected f32 or bf16", o.DType)
	}
	return nil
}
