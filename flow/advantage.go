package flow

import "math"

// Advantages returns the group-normalised advantage of every rollout of a group from its rewards:
//
//	A_i = (R_i - mean(R)) / (std(R) + eps)        AgentFlow eq. 7; DeepSeekMath (GRPO) sec. 4.1.2
//
// std is the sample deviation (divisor G-1), the population's (G), or with StdNone nothing is divided by, nor eps
// added (Dr.GRPO). Mean and deviation are two passes in float64. If all rewards are equal, a group of one included,
// every advantage is exactly 0: equality of the rewards decides, since a rounded mean need not equal them. Rewards
// must be finite; where even their sum is not, neither are the advantages.
//
// Rollout i counts rows[i] >= 1 times in mean and deviation. With 1 for all that is the paper's; with the number of turns
// it is what trainers do that take turn rows for rollouts, where a long rollout has more say than a short one
// (AdvantageOverTurns).
func Advantages(rewards []float64, rows []int, std AdvantageStd, eps float64) []float64 {
	out := make([]float64, len(rewards))
	if allEqual(rewards) {
		return out
	}
	n, sum := 0.0, 0.0
	for i, r := range rewards {
		n += float64(rows[i])
		sum += float64(rows[i]) * r
	}
	mean, largest := sum/n, 0.0
	for i, r := range rewards {
		out[i] = r - mean
		largest = math.Max(largest, math.Abs(out[i]))
	}
	squares := 0.0 // in units of the largest deviation: squares neither overflow nor vanish
	for i, d := range out {
		squares += float64(rows[i]) * (d / largest) * (d / largest)
	}
	divisor := 1.0
	switch std {
	case StdSample:
		divisor = largest*math.Sqrt(squares/(n-1)) + eps
	case StdPopulation:
		divisor = largest*math.Sqrt(squares/n) + eps
	}
	for i := range out {
		out[i] /= divisor
	}
	return out
}

// allEqual reports whether no two of the values differ.
func allEqual(values []float64) bool {
	for _, v := range values {
		if v != values[0] {
			return false
		}
	}
	return true
}
