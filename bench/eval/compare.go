package eval

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/stat/distuv"
)

// ErrIncomparable is returned for two reports that are not over the same tasks.
var ErrIncomparable = errors.New("reports over different tasks")

// Comparison is two reports over the same tasks, paired by task.
type Comparison struct {
	Tasks int `json:"tasks"`
	// Better and Worse count the tasks on which the second report has the higher and the lower mean reward.
	Better int `json:"better"`
	Worse  int `json:"worse"`
	// P is the two-sided exact sign test's: how likely at least so uneven a split of the differing tasks is, if neither were better.
	// With one repeat of right or wrong it is McNemar's exact test.
	P float64 `json:"p"`
	// Difference is the second's mean reward less the first's, with Student's 95 % interval over tasks; of fewer than two tasks, all of -1..1.
	Difference Interval `json:"difference"`
}

// Compare tests whether the second report is better than the first. Both have to hold the same tasks; their repeats may differ.
func Compare(first, second *Report) (Comparison, error) {
	before := make(map[string]float64, len(first.Rows))
	for _, row := range first.Rows {
		before[row.Task] = row.Mean
	}
	c := Comparison{Tasks: len(second.Rows)}
	differences := make([]float64, 0, len(second.Rows))
	var unknown []string
	for _, row := range second.Rows {
		was, ok := before[row.Task]
		if !ok {
			unknown = append(unknown, row.Task)
			continue
		}
		delete(before, row.Task)
		d := row.Mean - was
		differences = append(differences, d)
		// Means of repeats that are equal as fractions may differ in their last bit.
		switch {
		case d > minDifference:
			c.Better++
		case d < -minDifference:
			c.Worse++
		}
	}
	if len(unknown) > 0 || len(before) > 0 {
		only := func(list []string) string {
			if len(list) == 0 {
				return "none"
			}
			return fmt.Sprintf("%d (%s)", len(list), strings.Join(list[:min(3, len(list))], ", "))
		}
		return Comparison{}, fmt.Errorf("%w: %s and %s: tasks only in the second: %s, only in the first: %s", ErrIncomparable,
			first.Suite, second.Suite, only(unknown), only(slices.Sorted(maps.Keys(before))))
	}
	c.P = signTest(c.Better, c.Worse)
	if c.Difference = (Interval{Mean: floats.Sum(differences), Low: -1, High: 1}); len(differences) > 1 {
		c.Difference = Student(differences)
	}
	return c, nil
}

// minDifference of two means is far above rounding (1e-16 per addition) and below what one solve of a million repeats makes.
const minDifference = 1e-9

// signTest is the two-sided exact binomial test of a split at one half (Dixon & Mood 1946; McNemar 1947 for pairs of right and wrong).
func signTest(a, b int) float64 {
	if a+b == 0 {
		return 1
	}
	half := distuv.Binomial{N: float64(a + b), P: 0.5}
	return math.Min(1, 2*half.CDF(float64(min(a, b))))
}

// String says it in a line.
func (c Comparison) String() string {
	return fmt.Sprintf("%+.1f points (95 %% interval %+.1f to %+.1f), better on %d and worse on %d of %d tasks, p = %.3g",
		100*c.Difference.Mean, 100*c.Difference.Low, 100*c.Difference.High, c.Better, c.Worse, c.Tasks, c.P)
}

// counts writes a count by kind, the most frequent first.
func counts(m map[string]int) string {
	kinds := slices.SortedFunc(maps.Keys(m), func(a, b string) int { return cmp.Or(cmp.Compare(m[b], m[a]), cmp.Compare(a, b)) })
	parts := make([]string, len(kinds))
	for i, k := range kinds {
		parts[i] = fmt.Sprintf("%s %d", k, m[k])
	}
	return strings.Join(parts, ", ")
}
