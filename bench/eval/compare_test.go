package eval

import (
	"errors"
	"math"
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

func reportOf(means ...float64) *Report {
	r := &Report{Suite: "s", Repeats: 1}
	for i, m := range means {
		r.Rows = append(r.Rows, Row{Task: strconv.Itoa(i), Mean: m})
	}
	return r
}

// The exact sign test against sums of binomial coefficients, written out.
func TestSignTest(t *testing.T) {
	for _, c := range []struct {
		a, b int
		p    float64
	}{
		{0, 0, 1}, {1, 0, 1}, {5, 0, 2.0 / 32}, {0, 6, 2.0 / 64}, {3, 3, 1},
		{9, 1, 2 * 11.0 / 1024}, {2, 8, 2 * 56.0 / 1024},
	} {
		const rounding = 1e-12
		if p := signTest(c.a, c.b); math.Abs(p-c.p) > rounding {
			t.Errorf("signTest(%d, %d) = %g, expected %g", c.a, c.b, p, c.p)
		}
	}
}

func TestCompare(t *testing.T) {
	c, err := Compare(reportOf(0, 0, 1, 1, 0.5), reportOf(1, 1, 1, 0, 0.5+1e-15))
	if err != nil || c.Tasks != 5 || c.Better != 2 || c.Worse != 1 || c.P != 1 || math.Abs(c.Difference.Mean-0.2) > 1e-12 {
		t.Errorf("%+v, %v", c, err)
	}
	// Student's 97.5 % quantile with 4 degrees of freedom is 2.776445; the differences' standard deviation is √0.7.
	if half := 2.776445 * math.Sqrt(0.7/5); math.Abs(c.Difference.High-0.2-half) > 1e-6 {
		t.Errorf("interval %+v, expected ±%g", c.Difference, half)
	}
	for _, other := range []*Report{reportOf(1), reportOf(1, 1, 1, 1, 1, 1)} {
		if _, err := Compare(reportOf(0, 0, 1, 1, 0), other); !errors.Is(err, ErrIncomparable) {
			t.Errorf("%d tasks against 5: %v", len(other.Rows), err)
		}
	}
}

// Swapping the reports swaps better and worse and turns the difference; p stays.
func TestCompareIsSymmetric(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(t, "n")
		means := rapid.SliceOfN(rapid.SampledFrom([]float64{0, 1.0 / 3, 2.0 / 3, 1}), n, n)
		a, b := reportOf(means.Draw(t, "a")...), reportOf(means.Draw(t, "b")...)
		x, err1 := Compare(a, b)
		y, err2 := Compare(b, a)
		if err1 != nil || err2 != nil || x.Better != y.Worse || x.Worse != y.Better || x.P != y.P || x.Difference.Mean != -y.Difference.Mean || x.P <= 0 || x.P > 1 {
			t.Fatalf("%+v and %+v", x, y)
		}
	})
}
