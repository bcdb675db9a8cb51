package eval

import (
	"math"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// near compares with published values, which are given to four digits.
const near = 5e-5

func TestWilson(t *testing.T) {
	for _, c := range []struct{ p, n, low, high float64 }{
		// Newcombe 1998 (Stat. Med. 17:857), table I, method 3.
		{81.0 / 263, 263, 0.2553, 0.3662},
		{15.0 / 148, 148, 0.0624, 0.1605},
		{0, 20, 0, 0.1611},
		{1.0 / 29, 29, 0.0061, 0.1718},
		{1, 20, 1 - 0.1611, 1},
	} {
		got := wilson(c.p, c.n)
		if math.Abs(got.Low-c.low) > near || math.Abs(got.High-c.high) > near || got.Mean != c.p {
			t.Errorf("wilson(%g, %g) = %+v, expected %g to %g", c.p, c.n, got, c.low, c.high)
		}
	}
}

// One repeat of right or wrong is Wilson's interval; repeats that are all alike add nothing; no repeats are worth more than
// independent solves.
func TestClustersAreWorthTheirTasks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, k := rapid.IntRange(1, 60).Draw(t, "n"), rapid.IntRange(1, 8).Draw(t, "k")
		alike := make([]float64, n)
		means := make([]float64, n)
		p, q := 0.0, 0.0
		for i := range n {
			alike[i] = float64(rapid.IntRange(0, 1).Draw(t, "right"))
			means[i] = float64(rapid.IntRange(0, k).Draw(t, "rights")) / float64(k)
			p += alike[i] / float64(n)
			q += means[i] / float64(n)
		}
		const rounding = 1e-12
		same := func(a, b Interval) bool {
			return math.Abs(a.Low-b.Low) < rounding && math.Abs(a.High-b.High) < rounding
		}
		if got, want := accuracy(alike, 1), wilson(p, float64(n)); !same(got, want) {
			t.Fatalf("one repeat: %+v, Wilson %+v", got, want)
		}
		if got, want := accuracy(alike, k), wilson(p, float64(n)); !same(got, want) {
			t.Fatalf("%d equal repeats: %+v, one: %+v", k, got, want)
		}
		got, narrow, wide := accuracy(means, k), wilson(q, float64(n*k)), wilson(q, float64(n))
		if got.Low > narrow.Low+rounding || got.High < narrow.High-rounding || got.Low < wide.Low-rounding || got.High > wide.High+rounding {
			t.Fatalf("%+v is not between %+v and %+v", got, narrow, wide)
		}
		if got.Mean < got.Low || got.Mean > got.High || got.Low < 0 || got.High > 1 {
			t.Fatalf("%+v", got)
		}
	})
}

// The interval covers the truth 95 times in 100, for tasks of uneven difficulty and any number of repeats; one that took the repeats
// for independent would cover it far less often.
func TestCoverage(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	const runs, tasks, repeats = 2000, 60, 8
	covered, naive := 0, 0
	for range runs {
		means := make([]float64, tasks)
		p := 0.0
		for i := range means {
			difficulty := 0.1 // half of the tasks are nearly always wrong, half nearly always right: the mean is 0.5
			if rng.IntN(2) == 0 {
				difficulty = 0.9
			}
			for range repeats {
				if rng.Float64() < difficulty {
					means[i] += 1.0 / repeats
				}
			}
			p += means[i] / tasks
		}
		if in := accuracy(means, repeats); in.Low <= 0.5 && 0.5 <= in.High {
			covered++
		}
		if in := wilson(p, tasks*repeats); in.Low <= 0.5 && 0.5 <= in.High {
			naive++
		}
	}
	// Three standard errors of a share of 0.95 over 2,000 runs are 0.015.
	if share := float64(covered) / runs; share < 0.935 || share > 0.965 {
		t.Errorf("covers the truth in %.3f of the runs, expected 0.95", share)
	}
	if share := float64(naive) / runs; share > 0.8 {
		t.Errorf("independent repeats would cover it in %.3f of the runs: the test shows nothing", share)
	}
}
