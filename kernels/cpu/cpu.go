package cpu

/*
#cgo CFLAGS: -O3 -std=gnu11 -Wall -Wextra -Wno-psabi
#cgo LDFLAGS: -lm -lpthread
#cgo noescape af_linear
#cgo nocallback af_linear
#cgo noescape af_linear_back
#cgo nocallback af_linear_back
#cgo noescape af_attention
#cgo nocallback af_attention
#cgo noescape af_attention_back
#cgo nocallback af_attention_back
#cgo noescape af_attention_rows
#cgo nocallback af_attention_rows
#cgo noescape af_kv_put
#cgo nocallback af_kv_put
#cgo noescape af_loss
#cgo nocallback af_loss
#cgo noescape af_sample
#cgo nocallback af_sample
#cgo noescape af_pack
#cgo nocallback af_pack
#include <stdlib.h>
#include "af.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"afctl/kernels"
)

// Level is an instruction-set level of the C code.
type Level int

// Levels; Auto takes the one that this machine is fastest at.
const (
	Auto       Level = iota
	Baseline         // of the compiler's target
	AVX2             // and FMA
	AVX512           // F, BW, VL, DQ
	AVX512BF16       // conversions to bf16; products of bf16 by f32 multiply-adds
	AVX512Dot        // and by the bf16 dot product
)

// String names the level.
func (l Level) String() string {
	switch l {
	case Auto:
		return "auto"
	case AVX2:
		return "AVX2"
	case AVX512:
		return "AVX-512"
	case AVX512BF16:
		return "AVX-512 bf16"
	case AVX512Dot:
		return "AVX-512 bf16 dot product"
	}
	return "baseline " + runtime.GOARCH
}

// BestLevel returns what this machine is fastest at: not always the highest that it can run (dispatch.c).
func BestLevel() Level { return levelOf(C.af_best_level()) }

// levelOf is a level by its number in C, AF_LEVEL (isa.h): Auto has none.
func levelOf(n C.int) Level { return Level(n) + Baseline }

// Options choose threads and instruction set; the zero value takes what is fastest.
type Options struct {
	Threads  int      // 0: all processors
	Level    Level    // at most this one; Auto is no bound
	Products Products // of many rows
}

// Products says who multiplies large matrices.
type Products string

// The library that is linked in (build tag dnnl: oneDNN) is as fast as our own product on AVX-512 and several times faster on a CPU with AMX,
// but its rounding depends on the number of rows: with it a sampler and a trainer agree to about 1e-6, not to the bit. So
// ProductsAuto takes it where AMX is, for bf16 work.
const (
	ProductsAuto    Products = ""
	ProductsOwn     Products = "own"
	ProductsLibrary Products = "library"
)

// ProductLibrary names the product library that is linked in; empty for none.
func ProductLibrary() string {
	if n := C.af_products_name(); n != nil {
		return C.GoString(n)
	}
	return ""
}

// Backend is the CPU.
type Backend struct {
	c       *C.af_ctx
	library bool      // large products, at least those of bf16, are the library's
	yielded time.Time // when other goroutines last got a turn
}

var _ kernels.Backend = (*Backend)(nil)

// batch makes the process batch work for the system's scheduler: Go's monitor thread wakes every 20 us for a while after each call of C that took
// more than 10 ms, and would each time interrupt a thread that computes.
var batch = sync.OnceFunc(func() { C.af_batch() })

// maxThreads bounds what a slip can ask for.
const maxThreads = 4096

// New starts the worker threads. On Linux the process becomes batch work (SCHED_BATCH), unless it has a policy of its own.
func New(o Options) (*Backend, error) {
	if o.Threads <= 0 {
		o.Threads = runtime.NumCPU()
	}
	if o.Threads > maxThreads {
		return nil, fmt.Errorf("cpu: found %d threads, expected at most %d", o.Threads, maxThreads)
	}
	if o.Level < Auto || o.Level > AVX512Dot {
		return nil, fmt.Errorf("cpu: found level %d, expected %d (auto), %d (baseline) to %d (%v)", o.Level, Auto, Baseline, AVX512Dot, AVX512Dot)
	}
	if o.Products != ProductsAuto && o.Products != ProductsOwn && o.Products != ProductsLibrary {
		return nil, fmt.Errorf("cpu: found products %q, expected %q, %q or %q", o.Products, ProductsAuto, ProductsOwn, ProductsLibrary)
	}
	batch()
	c := C.af_new(C.int(o.Threads), C.int(o.Level-Baseline))
	if c == nil {
		return nil, fmt.Errorf("cpu: %d threads: %w", o.Threads, kernels.ErrMemory)
	}
	b := &Backend{c: c}
	switch {
	case o.Products == ProductsLibrary && ProductLibrary() == "":
		b.Close()
		return nil, errors.New("cpu: products by a library: this build has none (install libdnnl-dev and build with -tags dnnl)")
	case o.Products == ProductsLibrary:
		C.af_use_products(c, C.AF_PRODUCTS_ALL)
		b.library = true
	case o.Products == ProductsAuto && ProductLibrary() != "" && C.af_products_faster() != 0:
		C.af_use_products(c, C.AF_PRODUCTS_BF16)
		b.library = true
	}
	return b, nil
}

// RowsExact reports whether an output row has the same bits whatever else is in the batch, as package kernels describes it; otherwise those of
// float32 alone may.
func (b *Backend) RowsExact() bool { return !b.library }

// Close ends the threads and frees scratch memory; tensors and matrices are the caller's to free before.
func (b *Backend) Close() error {
	if b.c != nil {
		C.af_free(b.c)
		b.c = nil
	}
	return nil
}

// Name implements kernels.Backend.
func (b *Backend) Name() string { return "cpu" }

// Describe implements kernels.Backend.
func (b *Backend) Describe() string {
	products := ""
	if b.library {
		products = ", products by " + ProductLibrary()
	}
	return fmt.Sprintf("cpu, %d threads, %v%s", b.Threads(), b.Level(), products)
}

// Threads returns how many threads work.
func (b *Backend) Threads() int { return int(C.af_threads(b.c)) }

// Level returns the instruction set in use.
func (b *Backend) Level() Level { return levelOf(C.af_level(b.c)) }

// PeakGFLOPS measures what a loop in registers reaches on all threads, f32 or bf16. 0 where there is no memory for a number of each thread.
func (b *Backend) PeakGFLOPS(bf16 bool, seconds float64) float64 {
	return float64(C.af_peak(b.c, flag(bf16), C.double(seconds)))
}

// ReadGBps measures reading memory of nBytes, larger than the caches, on all threads.
func (b *Backend) ReadGBps(nBytes int, seconds float64) (float64, error) {
	t, err := b.Alloc(kernels.F32, 1, nBytes/4)
	if err != nil {
		return 0, err
	}
	defer b.Free(t)
	one := unsafe.Slice((*float32)(t.Ptr), nBytes/4)
	for i := range one {
		one[i] = 1
	}
	gbps := float64(C.af_bandwidth(b.c, t.Ptr, C.size_t(nBytes), C.double(seconds)))
	if gbps == 0 {
		return 0, fmt.Errorf("read bandwidth: %w", kernels.ErrMemory)
	}
	return gbps, nil
}

// yieldEvery is how long operations follow each other before other goroutines get a turn. From a goroutine that has not paused for 10 ms Go's
// monitor thread takes the processor in the midst of calls of C, and it then wakes every 20 us for a while: where operations are short, as in a
// small model's step, that costs a tenth.
const yieldEvery = 5 * time.Millisecond

// done ends an operation: other goroutines get their turn when it is due, and a C status that is not well, which memory alone can make, becomes an error.
func (b *Backend) done(op string, rc C.int) error {
	if t := time.Now(); t.Sub(b.yielded) >= yieldEvery {
		b.yielded = t
		runtime.Gosched()
	}
	if rc != C.AF_OK {
		return fmt.Errorf("%s: %w", op, kernels.ErrMemory)
	}
	return nil
}

func tensor(t kernels.Tensor) C.af_tensor {
	return C.af_tensor{p: t.Ptr, rows: C.int64_t(t.Rows), cols: C.int64_t(t.Cols), stride: C.int64_t(t.Stride), dtype: C.int32_t(t.DType)}
}

func floats(t kernels.Tensor) *C.float { return (*C.float)(t.Ptr) }
func ints(t kernels.Tensor) *C.int32_t { return (*C.int32_t)(t.Ptr) }

func flag(v bool) C.int {
	if v {
		return 1
	}
	return 0
}

// matrix is a packed weight; its struct lives in C memory, so that it can be handed over by pointer.
type matrix struct {
	m    *C.af_matrix
	size int
}

// Dims implements kernels.Matrix; a freed one has none.
func (m *matrix) Dims() (n, k int) {
	if m.m == nil {
		return 0, 0
	}
	return int(m.m.n), int(m.m.k)
}

// DType implements kernels.Matrix.
func (m *matrix) DType() kernels.DType {
	if m.m == nil {
		return 0
	}
	return kernels.DType(m.m.dtype)
}

// Bytes implements kernels.Matrix.
func (m *matrix) Bytes() int { return m.size }

// own returns w as memory of this back end.
func own(op string, w kernels.Matrix) (*C.af_matrix, error) {
	if m, ok := w.(*matrix); ok && m.m != nil {
		return m.m, nil
	}
	return nil, notOurs(op, w)
}

// notOurs is the error of an operation on what this back end did not make, or has freed.
func notOurs(op string, x any) error {
	return fmt.Errorf("%s: %T that this back end did not make, or has freed: %w", op, x, kernels.ErrShape)
}

// Products names who makes the large products, as results depend on it: "own", or the library with its version.
func (b *Backend) Products() string {
	if b.library {
		return ProductLibrary()
	}
	return string(ProductsOwn)
}
