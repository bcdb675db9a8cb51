package engine

import (
	"fmt"

	"afctl/kernels"
)

// Trainable says what of a model is trained.
type Trainable string

// LoRA trains low-rank matrices beside frozen ones (Hu et al. 2021); Full trains every weight.
const (
	LoRA Trainable = "lora"
	Full Trainable = "full"
)

// DefaultMicroBatchTokens is the default budget of rows of a micro-batch.
const DefaultMicroBatchTokens = 2048

// Options of an Engine.
type Options struct {
	// DType is that of activations and of the operands of products: F32, or BF16 (sums stay in float32, and so do the residual
	// stream, the adapter's masters, gradients and moments). Weights stored in bf16 stay so in either.
	DType kernels.DType
	// Trainable is LoRA unless set.
	Trainable Trainable
	// MicroBatchTokens is the budget of rows; 0 takes the default. A sequence longer than it is a micro-batch of its own.
	MicroBatchTokens int
}

func (o *Options) defaults() error {
	if o.Trainable == "" {
		o.Trainable = LoRA
	}
	if o.Trainable != LoRA && o.Trainable != Full {
		return fmt.Errorf("trainable: found %q, expected lora or full", o.Trainable)
	}
	if o.MicroBatchTokens == 0 {
		o.MicroBatchTokens = DefaultMicroBatchTokens
	}
	if o.MicroBatchTokens < 0 {
		return fmt.Errorf("engine.micro_batch_tokens: found %d, expected a positive number of rows", o.MicroBatchTokens)
	}
	if o.DType != kernels.F32 && o.DType != kernels.BF16 {
		return fmt.Errorf("engine.dtype: found %v, expected f32 or bf16", o.DType)
	}
	return nil
}
