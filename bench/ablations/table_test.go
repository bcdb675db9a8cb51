package main

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"afctl/bench/eval"
)

// handMade is a summary with these figures.
func handMade(accuracy, low, high, twoHop, turns, errorRate, stuck float64) eval.Summary {
	return eval.Summary{
		All: eval.Stats{Tasks: 500, Accuracy: eval.Interval{Mean: accuracy, Low: low, High: high}, Turns: turns, ErrorRate: errorRate, StuckRate: stuck},
		Families: []eval.Part{
			{Name: "lookup", Stats: eval.Stats{Accuracy: eval.Interval{Mean: accuracy}, Turns: 1}},
			{Name: "two-hop", Stats: eval.Stats{Accuracy: eval.Interval{Mean: twoHop}, Turns: turns}},
		},
	}
}

func TestTable(t *testing.T) {
	before := handMade(0.3, 0.26, 0.34, 0.05, 2.5, 0.4, 0.125)
	online := outcome{Before: before, After: handMade(0.95, 0.93, 0.965, 0.9, 1.5, 0.02, 0), Curve: []point{{0, 0.3}, {20, 0.6}, {40, 0.95}},
		Tasks: 1280, Rollouts: 10240, Steps: 40, Seconds: 151.4}
	sft := outcome{Before: before, After: handMade(0.8, 0.764, 0.832, 0.5, 1.75, 0.1, 0.01), Curve: []point{{0, 0.3}, {57, 0.8}},
		Tasks: 1280, Examples: 1811, Steps: 57, Seconds: 12.6}
	var b strings.Builder
	rs := results([]ablation{{"sft", "Online or SFT", "As many tasks.", []labelled{{"online", demoArm}, {"SFT", sftArm}}}},
		map[string][]outcome{demoArm: {online}, sftArm: {sft}})
	if err := writeTables(&b, rs); err != nil {
		t.Fatal(err)
	}
	want := `### Online or SFT

As many tasks.

|  | online | SFT |
|---|---:|---:|
| **accuracy** before | 30.0 % [26.0, 34.0] | 30.0 % [26.0, 34.0] |
| **accuracy** after | 95.0 % [93.0, 96.5] | 80.0 % [76.4, 83.2] |
| accuracy after 20 steps | 60.0 % | - |
| lookup | 30.0 % → 95.0 %, 1.00 → 1.00 turns | 30.0 % → 80.0 %, 1.00 → 1.00 turns |
| two-hop | 5.0 % → 90.0 %, 2.50 → 1.50 turns | 5.0 % → 50.0 %, 2.50 → 1.75 turns |
| tool errors | 40.0 % → 2.0 % | 40.0 % → 10.0 % |
| stuck loops | 12.5 % → 0.0 % | 12.5 % → 1.0 % |
| turns | 2.50 → 1.50 | 2.50 → 1.75 |
| training tasks | 1280 | 1280 |
| training rollouts | 10240 | 0 |
| demonstrated turns | 0 | 1811 |
| optimizer steps | 40 | 57 |
| seconds of training | 151 | 13 |

Held-out: 500 tasks. One seed; in brackets 95 % intervals over tasks: they know nothing of what another seed would give.
`
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Error(d)
	}
}

// Over seeds, every figure is a mean, and the interval is of the seeds; an evaluation that one seed lacks has no mean.
func TestTableOverSeeds(t *testing.T) {
	a := outcome{Before: handMade(0.3, 0, 1, 0, 2, 0.4, 0), After: handMade(0.90, 0, 1, 0, 1, 0.2, 0), Curve: []point{{0, 0}, {20, 0.5}, {30, 0.5}, {40, 0.9}}, Seconds: 10}
	b := outcome{Before: handMade(0.3, 0, 1, 0, 2, 0.2, 0), After: handMade(0.94, 0, 1, 0, 2, 0.1, 0), Curve: []point{{0, 0}, {20, 0.7}, {40, 0.94}}, Seconds: 20}
	r := result{Arms: []column{{"x", []outcome{a, b}}}}
	got := r.table()
	for _, want := range []string{
		"| **accuracy** before | 30.0 % [30.0, 30.0] |",
		"| **accuracy** after | 92.0 % [66.6, 100.0] |", // t(1) = 12.706, s = 0.02828, s/sqrt(2) = 0.02: 0.92 ± 0.254, cut at 1
		"| accuracy after 20 steps | 60.0 % |", "| accuracy after 30 steps | - |",
		"| tool errors | 30.0 % → 15.0 % |", "| turns | 2.00 → 1.50 |", "| seconds of training | 15 |",
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("expected %s in\n%s", want, got)
		}
	}
	if l := legend([]result{r}); !strings.Contains(l, "2 seeds") {
		t.Errorf("legend: %s", l)
	}
}

// rounding is half of the last digit of t in printed tables.
const rounding = 5e-4

func TestOverSeeds(t *testing.T) {
	// Mean 0.5, sample deviation 0.01; t(2) = 4.303.
	got := overSeeds([]eval.Interval{{Mean: 0.49}, {Mean: 0.50}, {Mean: 0.51}})
	half := 4.303 * 0.01 / math.Sqrt(3)
	if tol := rounding * 0.01; math.Abs(got.Mean-0.5) > tol || math.Abs(got.Low-(0.5-half)) > tol || math.Abs(got.High-(0.5+half)) > tol {
		t.Errorf("%+v, expected 0.5 ± %g", got, half)
	}
	one := eval.Interval{Mean: 0.5, Low: 0.4, High: 0.7}
	if got := overSeeds([]eval.Interval{one}); got != one {
		t.Errorf("one seed: %+v, expected its own %+v", got, one)
	}
}
