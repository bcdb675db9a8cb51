package conformance

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"

	"afctl/kernels"
)

// Case is one named check of a back end.
type Case struct {
	// Name is the operation, the dtypes and shapes, and what is particular, such as "rmsnorm/xF32.yBF16/T17.D65/gap".
	Name string
	// RowsExact says that the case tests the promise that an output row has the same bits whatever else is in the batch, from which a back end may be exempt (see
	// Applies).
	RowsExact bool
	run       func(p *probe)
}

// newCase makes a case whose inputs and wanted results are prepared once, on the first run, from a random stream of its own.
func newCase[T any](name string, prepare func(r *rand.Rand) T, run func(p *probe, in T)) Case {
	prepared := sync.OnceValue(func() T { return prepare(newRand(name)) })
	return Case{Name: name, run: func(p *probe) { run(p, prepared()) }}
}

// exact marks a case as one of rows that do not depend on their batch.
func exact(c Case) Case {
	c.RowsExact = true
	return c
}

// Cases returns the whole suite; its cases keep what they prepare for as long as they live.
func Cases() []Case {
	var all []Case
	for _, of := range []func() []Case{matrixCases, rowCases, linearCases, gradientCases, rmsNormCases, ropeCases, swigluCases, attentionCases, cacheCases,
		logProbCases, sampleCases, lossCases, optimizerCases, brokenCases, exactCases, shapeCases} {
		all = append(all, of()...)
	}
	return all
}

// suite is one set of cases for everybody, so that references are computed once in a process.
var suite = sync.OnceValue(Cases)

// Applies reports whether a back end is to pass c: see kernels.RowsExact.
func (c Case) Applies(b kernels.Backend) bool { return !c.RowsExact || rowsExact(b) }

func rowsExact(b kernels.Backend) bool {
	x, ok := b.(kernels.RowsExact)
	return !ok || x.RowsExact()
}

// Run runs c on b: nil when it passes. digest stands for the bits of all that the back end computed, up to where the case failed.
func (c Case) Run(b kernels.Backend) (digest uint64, err error) {
	p := newProbe(b)
	defer p.free()
	defer func() {
		digest = p.digest.Sum64()
		if r := recover(); r != nil {
			f, ok := r.(failure)
			if !ok {
				panic(r)
			}
			err = f.err
		}
	}()
	c.run(p)
	p.checkUntouched()
	return 0, nil
}

// twice runs c two times, which must give the same bits.
func (c Case) twice(b kernels.Backend) error {
	first, err := c.Run(b)
	if err != nil {
		return err
	}
	second, err := c.Run(b)
	if err != nil {
		return fmt.Errorf("the second time: %w", err)
	}
	if first != second {
		return fmt.Errorf("the same calls gave other bits the second time")
	}
	return nil
}

// Check runs every case that applies to b and reports each by its name: nil, or what is wrong. The error is that of ctx, which ends it between cases.
func Check(ctx context.Context, b kernels.Backend, report func(name string, err error)) error {
	for _, c := range suite() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if c.Applies(b) {
			report(c.Name, c.twice(b))
		}
	}
	return nil
}

// SameBits runs every case that applies on all of bs and reports where one does not give the bits that the first gives. That bits are the same does not say that they
// are right: Check does.
func SameBits(report func(name string, err error), bs ...kernels.Backend) {
	for _, c := range suite() {
		report(c.Name, c.sameBits(bs))
	}
}

func (c Case) sameBits(bs []kernels.Backend) error {
	var first kernels.Backend
	var bits uint64
	for _, b := range bs {
		if !c.Applies(b) {
			continue
		}
		digest, _ := c.Run(b)
		if first == nil {
			first, bits = b, digest
		}
		if digest != bits {
			return fmt.Errorf("%s gives other bits than %s", b.Describe(), first.Describe())
		}
	}
	return nil
}

// T is what Run needs of *testing.T.
type T[Self any] interface {
	Run(name string, f func(Self)) bool
	Error(args ...any)
	Skip(args ...any)
	Helper()
}

// Run is the suite as tests: every case is a subtest of t, on the back end that open gives.
func Run[Test T[Test]](t Test, open func(t Test) kernels.Backend) {
	t.Helper()
	b := open(t)
	for _, c := range suite() {
		t.Run(c.Name, func(t Test) {
			if !c.Applies(b) {
				t.Skip("this back end does not promise the same bits for a row in every batch")
			}
			if err := c.twice(b); err != nil {
				t.Error(err)
			}
		})
	}
}
