package flow

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func repeat(pairs ...float64) []float64 {
	var out []float64
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, slices.Repeat([]float64{pairs[i+1]}, int(pairs[i]))...)
	}
	return out
}

// once is n rollouts that count once each.
func once(n int) []int { return slices.Repeat([]int{1}, n) }

// TestTrap09Std: which deviation, and where eps stands.
func TestTrap09Std(t *testing.T) {
	for _, c := range []struct {
		name    string
		rewards []float64
		std     AdvantageStd
		eps     float64
		first   float64
		last    float64
	}{
		{"half right", repeat(4, 1, 4, 0), StdSample, 1e-6, 0.935413, -0.935413},
		{"one of eight", repeat(1, 1, 7, 0), StdSample, 1e-6, 2.474867, -0.353552},
		{"one of eight, population", repeat(1, 1, 7, 0), StdPopulation, 0, math.Sqrt(7), -1 / math.Sqrt(7)},
		{"one of eight, mean only", repeat(1, 1, 7, 0), StdNone, 1e-6, 0.875, -0.125},
		{"eps outside the root", repeat(4, .5001, 4, .5), StdPopulation, 1e-4, 1. / 3, -1. / 3},
		// 0.00005 / (0.00005*sqrt(8/7) + eps): what eps does to a small spread.
		{"small spread", repeat(4, .5001, 4, .5), StdSample, 1e-6, 0.918236, -0.918236},
		{"small spread, large eps", repeat(4, .5001, 4, .5), StdSample, 1e-4, 0.325834, -0.325834},
	} {
		got := Advantages(c.rewards, once(len(c.rewards)), c.std, c.eps)
		if !near(got[0], c.first, vectorTolerance) || !near(got[len(got)-1], c.last, vectorTolerance) {
			t.Errorf("%s: found %.6f and %.6f, expected %.6f and %.6f", c.name, got[0], got[len(got)-1], c.first, c.last)
		}
	}
}

// TestTrap11ZeroVariance: equal rewards give exactly 0, also where their float mean is another number.
func TestTrap11ZeroVariance(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rapid.Float64Range(-1e300, 1e300).Draw(t, "reward")
		n := rapid.IntRange(1, 20).Draw(t, "rollouts")
		std := rapid.SampledFrom([]AdvantageStd{StdSample, StdPopulation, StdNone}).Draw(t, "std")
		for _, a := range Advantages(slices.Repeat([]float64{r}, n), once(n), std, 0) {
			if a != 0 {
				t.Fatalf("%d rewards of %v: A = %v", n, r, a)
			}
		}
	})
	tenth := 0.1
	if (tenth+tenth+tenth)/3 == tenth {
		t.Error("three rewards of 0.1 have the mean 0.1 here")
	}
	for _, a := range Advantages([]float64{tenth, tenth, tenth}, once(3), StdSample, 1e-6) { // a test of R == mean misses it
		if a != 0 {
			t.Errorf("three rewards of 0.1: A = %v", a)
		}
	}
}

// TestAdvantagesAreStandardised: over the rows, advantages have mean 0, and without eps a deviation of 1.
func TestAdvantagesAreStandardised(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rewards := rapid.SliceOfN(rapid.Float64Range(-10, 10), 2, 10).Draw(t, "rewards")
		rows := make([]int, len(rewards))
		n, sum, squares := 0.0, 0.0, 0.0
		for i := range rows {
			rows[i] = rapid.IntRange(1, 5).Draw(t, "rows")
			n += float64(rows[i])
		}
		if slices.Max(rewards)-slices.Min(rewards) < 1e-3 {
			t.Skip("spread too small to measure")
		}
		for i, a := range Advantages(rewards, rows, StdSample, 0) {
			sum += float64(rows[i]) * a
			squares += float64(rows[i]) * a * a
		}
		// Rounding of rewards up to 10 over a spread of at least 1e-3: 1e4 * n * 2^-53 < 1e-10.
		if !near(sum/n, 0, 1e-10) || !near(squares/(n-1), 1, 1e-10) {
			t.Fatalf("mean %v, variance %v", sum/n, squares/(n-1))
		}
	})
}

// TestAdvantagesOfExtremeRewards: squares of deviations neither overflow nor vanish.
func TestAdvantagesOfExtremeRewards(t *testing.T) {
	for _, unit := range []float64{1e-300, 1e300} {
		got := Advantages([]float64{unit, unit, 0, 0}, once(4), StdSample, 0)
		if want := math.Sqrt(3) / 2; !near(got[0], want, 1e-12) || !near(got[3], -want, 1e-12) {
			t.Errorf("rewards of %v: A = %v", unit, got)
		}
	}
}
