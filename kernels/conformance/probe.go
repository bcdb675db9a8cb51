package conformance

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc64"
	"math"
	"math/rand/v2"
	"unsafe"

	"afctl/kernels"
)

// probe is a case under way: what it allocated, and the digest of what the back end computed. Its methods end the case by panicking with a failure, which
// Case.Run turns into an error, as testing.T.FailNow ends a test.
type probe struct {
	kernels.Backend
	digest   hash.Hash64
	margin   int // guard words before and after every tensor
	buffers  []*buffer
	tensors  []kernels.Tensor
	matrices []kernels.Matrix
	plans    []kernels.Plan
	kvs      []kernels.KV
}

type failure struct{ err error }

func newProbe(b kernels.Backend) *probe {
	return &probe{Backend: b, digest: crc64.New(crc64.MakeTable(crc64.ECMA)), margin: guardWords}
}

func (p *probe) free() {
	for _, t := range p.tensors {
		p.Free(t)
	}
	for _, w := range p.matrices {
		p.FreeMatrix(w)
	}
	for _, plan := range p.plans {
		p.FreePlan(plan)
	}
	for _, kv := range p.kvs {
		p.FreeKV(kv)
	}
}

// must ends the case on an error.
func (p *probe) must(err error) {
	if err != nil {
		panic(failure{err})
	}
}

func (p *probe) failf(format string, args ...any) { p.must(fmt.Errorf(format, args...)) }

const (
	// guardWords stand before and after every tensor: two cache lines of bf16.
	guardWords = 64
	// wideMargin is their number where an operation that should refuse, and does not, would write far beside a tensor.
	wideMargin = 4096
)

// guard is the value of guard word i, exact in bf16, and not the same everywhere.
func guard(i int) float32 { return guards[i%len(guards)] }

var guards = func() (g [61 * 64]float32) {
	for i := range g {
		g[i] = -float32(130 + i%61)
		if i%3 == 1 {
			g[i] = float32(math.Inf(-1)) // times 0 it is seen as well
		}
	}
	return g
}()

// buffer is a tensor between guard words.
type buffer struct {
	kernels.Tensor                // what operations get
	name           string         // in messages
	whole          kernels.Tensor // dense, guards included
	held           []float32      // what whole was filled with
	input          bool           // the tensor too must stay as it is
	scratch        int            // columns after the tensor's that operations may use
}

// spare is how far apart the rows of a tensor are beyond its width; the tensor is a view in the middle. 0 is a dense one.
type spare int

// buffer allocates [rows, cols] with values, or with guard words where there are none.
func (p *probe) buffer(name string, d kernels.DType, rows, cols int, gap spare, values []float64) *buffer {
	stride := cols + int(gap)
	b := &buffer{name: name, held: make([]float32, 2*p.margin+rows*stride)}
	for i := 0; i < len(b.held); {
		i += copy(b.held[i:], guards[:])
	}
	from := p.margin + int(gap)/2
	for r := 0; len(values) > 0 && r < rows; r++ {
		row := b.held[from+r*stride:]
		for c, v := range values[r*cols : (r+1)*cols] {
			row[c] = float32(v)
		}
	}
	var err error
	b.whole, err = p.Alloc(d, 1, len(b.held))
	p.must(err)
	p.tensors = append(p.tensors, b.whole)
	p.must(p.Upload(b.whole, b.held))
	b.Tensor = b.whole.ColRange(from, from+cols)
	b.Rows, b.Stride = rows, stride
	p.buffers = append(p.buffers, b)
	return b
}

// in is a tensor that is read only.
func (p *probe) in(name string, d kernels.DType, rows, cols int, gap spare, values []float64) *buffer {
	b := p.buffer(name, d, rows, cols, gap, values)
	b.input = true
	return b
}

// out is a tensor that is overwritten; it starts as guard words.
func (p *probe) out(name string, d kernels.DType, rows, cols int, gap spare) *buffer {
	return p.buffer(name, d, rows, cols, gap, nil)
}

// ints is a tensor [1, n] of ids.
func (p *probe) ints(values []int32) kernels.Tensor {
	t, err := p.Alloc(kernels.I32, 1, len(values))
	p.must(err)
	p.tensors = append(p.tensors, t)
	p.must(p.UploadI32(t, values))
	return t
}

// matrix is W [n, k] from values.
func (p *probe) matrix(d kernels.DType, n, k int, values []float64) kernels.Matrix {
	w := p.newMatrix(d, n, k)
	p.must(p.Load(w, 0, n, float32Bytes(values), kernels.SourceF32))
	return w
}

func (p *probe) newMatrix(d kernels.DType, n, k int) kernels.Matrix {
	w, err := p.NewMatrix(d, n, k)
	p.must(err)
	p.matrices = append(p.matrices, w)
	return w
}

func (p *probe) newPlan(n kernels.Heads) kernels.Plan {
	plan, err := p.NewPlan(n)
	p.must(err)
	p.plans = append(p.plans, plan)
	return plan
}

func (p *probe) newKV(d kernels.DType, slots int, n kernels.Heads) kernels.KV {
	kv, err := p.NewKV(d, slots, n)
	p.must(err)
	p.kvs = append(p.kvs, kv)
	return kv
}

func float32Bytes(values []float64) []byte {
	var b []byte
	for _, v := range values {
		b = binary.NativeEndian.AppendUint32(b, math.Float32bits(float32(v)))
	}
	return b
}

// holds downloads all of b, guards included.
func (p *probe) holds(b *buffer) []float32 {
	now := make([]float32, len(b.held))
	p.must(p.Download(now, b.whole))
	return now
}

// read is the values of a result, dense; they go into the digest.
func (p *probe) read(b *buffer) []float32 {
	now := p.holds(b)
	values := make([]float32, 0, b.Rows*b.Cols)
	for r := range b.Rows {
		at := b.from() + r*b.Stride
		values = append(values, now[at:at+b.Cols]...)
	}
	p.note(values)
	return values
}

// from is the index in whole of b's first element.
func (b *buffer) from() int {
	return (int(uintptr(b.Ptr)) - int(uintptr(b.whole.Ptr))) / b.DType.Size()
}

// note puts values into the digest.
func (p *probe) note(values []float32) {
	if len(values) > 0 {
		p.digest.Write(unsafe.Slice((*byte)(unsafe.Pointer(&values[0])), 4*len(values)))
	}
}

// checkUntouched fails where an operation wrote beside a tensor, or to one that it only reads.
func (p *probe) checkUntouched() {
	for _, b := range p.buffers {
		now := p.holds(b)
		for r := 0; r < b.Rows && !b.input; r++ { // what may have changed
			at := b.from() + r*b.Stride
			copy(b.held[at:at+b.Cols+b.scratch], now[at:])
		}
		if i := differ(now, b.held); i >= 0 {
			at := i - b.from()
			p.failf("%s %v, stride %d: found %v %d elements from its start, expected %v to stay there", b.name, b.Tensor, b.Stride, now[i], at, b.held[i])
		}
	}
}

// differ is the first element where a and b, of one length, have other bits; -1 where none.
func differ(a, b []float32) int {
	for i, v := range a {
		if math.Float32bits(v) != math.Float32bits(b[i]) {
			return i
		}
	}
	return -1
}

// refused fails unless op returns an error that wraps kernels.ErrShape and writes nothing.
func (p *probe) refused(what string, op func() error) {
	before := make([][]float32, len(p.buffers))
	for i, b := range p.buffers {
		before[i] = p.holds(b)
	}
	err := func() (err error) {
		defer func() {
			if r := recover(); r != nil {
				if f, ok := r.(failure); ok {
					panic(f)
				}
				err = fmt.Errorf("panicked: %v", r)
			}
		}()
		return op()
	}()
	switch {
	case err == nil:
		p.failf("%s: found no error, expected one that is kernels.ErrShape", what)
	case !errors.Is(err, kernels.ErrShape):
		p.failf("%s: found %q, expected an error that is kernels.ErrShape", what, err)
	}
	for i, b := range p.buffers {
		if differ(p.holds(b), before[i]) >= 0 {
			p.failf("%s was refused, and yet %s was written to", what, b.name)
		}
	}
}

// onHost is a slice of n guard words for a result on the host, and done, which fails where its neighbours were written to.
func onHost[E float32 | int32](p *probe, name string, n int) (view []E, done func()) {
	whole := make([]E, n+2*guardWords)
	for i := range whole {
		whole[i] = E(guard(i))
	}
	return whole[guardWords : guardWords+n : guardWords+n], func() {
		for i, v := range whole {
			if (i < guardWords || i >= guardWords+n) && v != E(guard(i)) {
				p.failf("%s: found %v at element %d of %d, expected nothing to be written there", name, v, i-guardWords, n)
			}
		}
	}
}

// same fails unless two results have the same bits.
func (p *probe) same(what string, a, b []float32) {
	if len(a) != len(b) {
		p.failf("%s: %d values and %d", what, len(a), len(b))
	}
	if i := differ(a, b); i >= 0 {
		p.failf("%s: element %d: found %v (bits %08x) and %v (bits %08x), expected the same bits", what, i, a[i], math.Float32bits(a[i]), b[i], math.Float32bits(b[i]))
	}
}

// newRand is the random stream of a name.
func newRand(name string) *rand.Rand {
	return rand.New(rand.NewPCG(crc64.Checksum([]byte(name), crc64.MakeTable(crc64.ISO)), 0))
}
