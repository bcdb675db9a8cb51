package conformance

import (
	"math"
	"math/rand/v2"

	"afctl/kernels"
	"afctl/kernels/ref"
)

// How far a result may be from the float64 reference. Bounds are a priori and per element: (relative error of the arithmetic) x (the formula evaluated on
// absolute values), plus the rounding to the output's dtype. The magnitudes are computed beside the reference; the relative errors come from the functions below.

const (
	unitF32  = 0x1p-24 // unit roundoff: half the distance from 1 to the next number
	unitBF16 = 0x1p-8
	// chainLambda makes the bound of a sum of n terms lambda sqrt(n) u instead of n u where that is smaller: rounding errors are then taken as independent with mean
	// zero, and a sum exceeds its bound with probability below 2 exp(-lambda^2/2) = 3e-8 (Higham & Mary 2019, theorem 2.4). Seeds are fixed, so a case that passes once
	// passes always.
	chainLambda = 6
	// tiny is allowed everywhere: results below 2^-126 may be flushed to 0 before they are multiplied or summed.
	tiny = 0x1p-116
	// expError is that of a back end's exponential, relative: 1.5 units in the last place, and as much again for logarithms and divisions near it.
	expError = 4 * unitF32
	// sameGradient is what sharing prefixes may change, relative to the norm of the tensor: what the trainer promises of a forest in float32.
	sameGradient = 1e-5
)

// unit is the roundoff of storing in d.
func unit(d kernels.DType) float64 {
	if d == kernels.BF16 {
		return unitBF16
	}
	return unitF32
}

// chain is the relative error of a sum of n products in float32, relative to the sum of their magnitudes.
func chain(n int) float64 {
	return math.Min(float64(n), chainLambda*math.Sqrt(float64(n))) * unitF32
}

// expected is a result and how far each element may be off.
type expected struct{ want, tol []float64 }

// near is want, give or take rel x magnitude and the rounding to d.
func near(want, magnitude []float64, rel float64, d kernels.DType) expected {
	tol := make([]float64, len(want))
	for i := range want {
		tol[i] = rel*magnitude[i] + unit(d)*(math.Abs(want[i])+rel*magnitude[i]) + tiny
	}
	return expected{want, tol}
}

// rows is the given rows of e, which has so many columns.
func (e expected) rows(rows []int32, cols int) expected {
	return expected{pick(e.want, rows, cols), pick(e.tol, rows, cols)}
}

// exactly is want to the bit, -0 being 0.
func exactly(want []float64) expected { return expected{want, make([]float64, len(want))} }

// expect compares a result.
func (p *probe) expect(b *buffer, e expected) []float32 {
	got := p.read(b)
	p.compare(b.name, got, b.Cols, e)
	return got
}

// compare compares values with cols columns; NaN fits NaN alone.
func (p *probe) compare(name string, got []float32, cols int, e expected) {
	if len(got) != len(e.want) {
		p.failf("%s: found %d values, expected %d", name, len(got), len(e.want))
	}
	for i, g := range got {
		off := math.Abs(float64(g) - e.want[i])
		if off <= e.tol[i] || float64(g) == e.want[i] || (g != g && math.IsNaN(e.want[i])) {
			continue
		}
		p.failf("%s[%d,%d]: found %.9g, expected %.9g within %.3g (off by %.3g)", name, i/cols, i%cols, g, e.want[i], e.tol[i], off)
	}
}

// compareNorm compares values as a whole: |got - want| <= rel |want| in the 2-norm.
func (p *probe) compareNorm(name string, got []float32, want []float64, rel float64) {
	off, norm := 0.0, 0.0
	for i := range want {
		off += (float64(got[i]) - want[i]) * (float64(got[i]) - want[i])
		norm += want[i] * want[i]
	}
	if off, norm = math.Sqrt(off), math.Sqrt(norm); !(off <= rel*norm+tiny) {
		p.failf("%s: off by %.3g of its norm, expected at most %.3g", name, off/norm, rel)
	}
}

// normals are n normal values of standard deviation dev, as d stores them.
func normals(r *rand.Rand, d kernels.DType, n int, dev float64) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = stored(d, dev*r.NormFloat64())
	}
	return x
}

// stored is x as d stores it.
func stored(d kernels.DType, x float64) float64 {
	if d == kernels.BF16 {
		return ref.BF16(x)
	}
	return float64(float32(x))
}

// all applies f to every element.
func all(x []float64, f func(float64) float64) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = f(v)
	}
	return y
}

func abs(x []float64) []float64 { return all(x, math.Abs) }

// plus is the elementwise sum.
func plus(x []float64, more ...[]float64) []float64 {
	y := append([]float64(nil), x...)
	for _, m := range more {
		for i := range y {
			y[i] += m[i]
		}
	}
	return y
}

func fill(n int, v float64) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = v
	}
	return x
}
