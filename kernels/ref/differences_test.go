package ref

import (
	"math"
	"math/rand/v2"
	"testing"
)

const (
	// diffStep is about the cube root of 2^-53, where a central difference's truncation (h^2 f'''/6) and rounding (2^-53 |f|/h) meet.
	diffStep = 1e-5
	// diffTolerance bounds the error of a central difference relative to the largest derivative: with |f'''| <= 100 |f'| and |f| <= 100 |f'| in these tests,
	// truncation is below 2e-9 and rounding below 2e-9; two orders are left for sums of many terms.
	diffTolerance = 1e-7
)

func normals(r *rand.Rand, n int) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = r.NormFloat64()
	}
	return x
}

// slope is df/dx[i] for every i, by central differences.
func slope(x []float64, f func() float64) []float64 {
	d := make([]float64, len(x))
	for i, at := range x {
		x[i] = at + diffStep
		up := f()
		x[i] = at - diffStep
		d[i] = (up - f()) / (2 * diffStep)
		x[i] = at
	}
	return d
}

func requireSlope(t *testing.T, name string, got, x []float64, f func() float64) {
	t.Helper()
	want, most := slope(x, f), 0.0
	for _, w := range want {
		most = math.Max(most, math.Abs(w))
	}
	if len(got) != len(want) {
		t.Fatalf("%s: found %d derivatives, expected %d", name, len(got), len(want))
	}
	for i := range want {
		if !(math.Abs(got[i]-want[i]) <= diffTolerance*most) {
			t.Fatalf("%s[%d]: found %.12g, by differences %.12g", name, i, got[i], want[i])
		}
	}
	if most == 0 {
		t.Fatalf("%s: every derivative is 0, so nothing was tested", name)
	}
}
