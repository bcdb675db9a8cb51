// Package cpu implements kernels.Backend in C: one file per operation, each compiled for AVX-512 with bf16 dot products, AVX-512 with
// bf16 conversions, AVX-512, AVX2 and the baseline of the platform, the fastest chosen at run time (isa.h, dispatch.c); own worker threads
// (pool.c); weights in panels that forward and backward products share (af.h). With the build tag dnnl the large products of training can be oneDNN's.
//
//	b, err := cpu.New(cpu.Options{})
//	if err != nil { ... }
//	defer b.Close()
//
// Errors are kernels.ErrShape and kernels.ErrMemory. A back end is for one goroutine at a time.
package cpu
