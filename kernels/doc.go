// Package kernels is the numeric operations of training and sampling behind one interface, Backend: forward and backward
// of each, on packed rows, with shapes and dtypes in their documentation. kernels/cpu implements it in C; kernels/ref is the
// float64 reference of each operation, written to be read; kernels/conformance is the one suite that every back end passes.
//
// # Legend
//
//	T rows (tokens of a forest), D hidden, H query heads, K kv heads, Dh head size, F ffn, V vocabulary, R rank, N targets
//	a product's weight is [N, K]: N outputs, K inputs
//	dx the gradient of x; rstd, lse statistics kept for the backward pass
//
// # Memory
//
// A back end owns its memory. A Tensor is a view on it and may be copied freely; nothing here is collected by Go. Arena lays
// tensors over one allocation, so that a step allocates nothing. A Matrix is a weight, a KV a layer's cached keys and values, a Plan the
// geometry of an attention, each in whatever form the back end prefers.
//
// # Exactness
//
// Every reduction has a fixed order. An output row of Linear, RMSNorm, Attention, LogProbs and Sample has the same bits
// whatever else is in the batch and however many threads work, so that a sampler and a trainer on the same back end
// agree to the bit; a back end that cannot promise that says so (RowsExact). It is said of finite values: a key or value that is not finite may reach rows beside those that attend to it, with a weight
// of 0. Sums over rows (weight gradients, norms) run in an order that depends on the shapes alone.
//
// # Errors and concurrency
//
// Operations return errors that wrap ErrShape (with the operation and the shapes) or ErrMemory; they do not panic. A
// Backend is used by one goroutine at a time; it runs each operation on all its threads.
//
// An operation may return before it is done: those that give values to the host (Download, Sample, SumSquares, ...) wait for what they
// depend on, and Free for what uses the memory. What an operation was given of the host's, a Plan to be filled anew included, is the caller's
// again when it returns. What fails after that is reported by a later operation, and from then on by all.
//
//	b, err := cpu.New(cpu.Options{})
//	defer b.Close()
//	x, err := b.Alloc(kernels.F32, 512, 896)
//	y, err := b.Alloc(kernels.F32, 512, 4864)
//	err = b.Linear(kernels.Linear{Y: y, X: x, W: w})
package kernels
