// Package engine trains and samples a transformer on a kernels.Backend: forward and backward of forests, LoRA or all
// weights, one optimizer step of Flow-GRPO, log-probs of given tokens, a supervised step, and a sampler whose key/value cache
// keeps shared prefixes once.
//
// An Engine holds the frozen weights and what is trained on them. Update runs the optimizer steps of one set of
// rollouts: a reference pass (adapter off), the policy pass, the loss over targets, the backward pass to the trained matrices,
// clip, AdamW on float32 masters. Its micro-batches are forests cut by a budget of rows; no cut changes the gradient.
// Sampler draws completions for many callers at once on the same kernels: what it reports as a token's log-prob has the bits
// that Score and the first policy pass compute for it, on a back end whose rows are exact (package kernels).
//
//	b, err := cpu.New(cpu.Options{})
//	e, err := engine.New(b, model, engine.Options{})
//	err = e.SetAdapter(adapter)
//	up, err := e.Begin(update)
//	metrics, err := up.Step(ctx, engine.DefaultOptimizer())
//
// Errors are wrapped with what was being done. After a back end's error the Engine refuses further work with the first cause; one of memory that was
// asked for before anything was computed leaves it as it was.
// Methods of an Engine exclude each other; a Sampler is safe for concurrent use and takes its turns on the engine.
package engine
