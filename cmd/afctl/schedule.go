package main

import "math"

// Schedule names how the learning rate moves after the warm-up.
type Schedule string

// Schedules, in the form of transformers' get_scheduler; with warm-up step s of w has the factor s/w, so that no step is spent at 0.
const (
	Constant Schedule = "constant"
	Linear   Schedule = "linear" // to 0 just after the last step
	Cosine   Schedule = "cosine" // half a wave, to 0 just after the last step
)

// factor is what the learning rate of step (from 1) of steps is multiplied by.
func (s Schedule) factor(step, warmup, steps int) float64 {
	if step <= warmup {
		return float64(step) / float64(warmup)
	}
	if steps <= warmup {
		return 1
	}
	done := min(1, float64(step-1-warmup)/float64(steps-warmup))
	switch s {
	case Linear:
		return 1 - done
	case Cosine:
		return 0.5 * (1 + math.Cos(math.Pi*done))
	}
	return 1
}
