package eval

import (
	"math"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// Interval is a mean with its 95 % confidence interval.
type Interval struct {
	Mean float64 `json:"mean"`
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// Student is the mean of two values or more with its interval by Student's distribution, mean ± t(n-1) s/sqrt(n).
func Student(values []float64) Interval {
	n := float64(len(values))
	mean, deviation := stat.MeanStdDev(values, nil)
	half := distuv.StudentsT{Sigma: 1, Nu: n - 1}.Quantile(0.975) * deviation / math.Sqrt(n)
	return Interval{Mean: mean, Low: mean - half, High: mean + half}
}

// z95 is the 97.5 % quantile of the standard normal distribution.
const z95 = 1.959963984540054

// wilson is the score interval of a proportion p over n trials (Wilson 1927, "Probable inference, the law of succession,
// and statistical inference"). Unlike p ± 2 s it has a width at 0 and at 1, and never leaves 0..1.
func wilson(p, n float64) Interval {
	if n <= 0 {
		return Interval{Low: 0, High: 1}
	}
	const z2 = z95 * z95
	center := (p + z2/(2*n)) / (1 + z2/n)
	half := z95 / (1 + z2/n) * math.Sqrt(p*(1-p)/n+z2/(4*n*n))
	// At 0 and 1 an end equals the mean but for rounding.
	return Interval{Mean: p, Low: min(p, max(0, center-half)), High: max(p, min(1, center+half))}
}

// accuracy is the mean reward over tasks that were each solved repeats times, given the mean of every task, rewards
// lying in 0..1.
//
// The repeats of a task are a cluster: they succeed and fail together, so that they are worth fewer than as many tasks. The interval is
// Wilson's over the effective number of trials, p(1-p)/SE², with SE that of the mean of independent cluster means
// (Korn & Graubard 1998; compared with others by Franco, Little, Louis & Slud 2019, J. Surv. Stat. Methodol. 7(3)). That
// number lies between the tasks (repeats of a task all alike) and all solves (repeats independent); with one repeat of right or
// wrong it is the number of tasks, and the interval Wilson's own.
func accuracy(taskMeans []float64, repeats int) Interval {
	n := float64(len(taskMeans))
	p := 0.0
	for _, m := range taskMeans {
		p += m
	}
	p /= max(n, 1)
	squares := 0.0
	for _, m := range taskMeans {
		squares += (m - p) * (m - p)
	}
	trials := n
	if variance := p * (1 - p); variance > 0 && n > 1 {
		trials = min(max(variance*n*(n-1)/squares, n), n*float64(repeats))
	}
	return wilson(p, trials)
}
