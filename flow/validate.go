package flow

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"afctl/flow/nearest"
)

// Validate reports every option that is out of its range, or that has no effect beside the others while it differs
// from its default: one error per option, joined, each naming the option by its config key.
func (o Objective) Validate() error {
	var errs []error
	check := func(ok bool, key string, found any, expected string) {
		if !ok {
			errs = append(errs, fmt.Errorf("flow.%s: found %v, expected %s", key, found, expected))
		}
	}
	const inFloat32 = ", within float32"
	count := fmt.Sprintf("a whole number from 1 to %d", math.MaxInt32)
	check(o.GroupSize >= 1, "group_size", o.GroupSize, "at least 1 (2 or more for an advantage that is not 0)")
	check(o.ClipLow >= 0 && o.ClipLow < 1, "clip_low", o.ClipLow, "0 <= clip_low < 1")
	check(single(o.ClipHigh) && o.ClipHigh >= 0, "clip_high", o.ClipHigh, "clip_high >= 0"+inFloat32)
	check(o.DualClip == 0 || single(o.DualClip) && o.DualClip > 1, "dual_clip", o.DualClip,
		"dual_clip > 1"+inFloat32+", or 0 for none")
	check(single(o.KL) && o.KL >= 0, "kl", o.KL, "kl >= 0"+inFloat32)
	errs = append(errs, checkName("kl_estimator", o.KLEstimator, K1, K2, K3))
	errs = append(errs, checkName("aggregation", o.Aggregation, AggregationFlow, AggregationRolloutMean,
		AggregationTurnMean, AggregationTokenMean, AggregationConstant))
	errs = append(errs, checkName("advantage_std", o.AdvantageStd, StdSample, StdPopulation, StdNone))
	check(single(o.AdvantageEps) && o.AdvantageEps >= 0, "advantage_eps", o.AdvantageEps, "advantage_eps >= 0"+inFloat32)
	if o.AdvantageStd == StdNone {
		eps := DefaultObjective().AdvantageEps
		check(o.AdvantageEps == eps, "advantage_eps", o.AdvantageEps, fmt.Sprintf(
			"its default %v, since flow.advantage_std none divides by nothing: leave one of the two out", eps))
	}
	errs = append(errs, checkName("advantage_over", o.AdvantageOver, AdvantageOverRollouts, AdvantageOverTurns))
	check(Divides(o.Temperature), "temperature", o.Temperature,
		"temperature > 0 with an inverse that float32 holds (at 0 every rollout of a group is the same, and log-probs of logits / temperature do not exist)")
	check(single(o.TISCap) && o.TISCap >= 0, "tis_cap", o.TISCap, "tis_cap > 0"+inFloat32+", or 0 for none")
	check(single(o.Entropy) && o.Entropy >= 0, "entropy", o.Entropy, "entropy >= 0"+inFloat32)
	check(o.Epochs >= 1 && o.Epochs <= math.MaxInt32, "epochs", o.Epochs, count)
	check(o.MaxActionTokens >= 1 && o.MaxActionTokens <= math.MaxInt32, "max_action_tokens", o.MaxActionTokens, count)
	return errors.Join(errs...)
}

// checkName returns nil if found is one of valid, else an error that lists them and offers the nearest.
func checkName[T ~string](key string, found T, valid ...T) error {
	if slices.Contains(valid, found) {
		return nil
	}
	names := make([]string, len(valid))
	for i, v := range valid {
		names[i] = string(v)
	}
	return fmt.Errorf("flow.%s: found %q, expected one of %s; did you mean %q?",
		key, string(found), strings.Join(names, ", "), nearest.Name(string(found), names))
}

// Divides reports whether logits can be divided by a temperature: it is more than 0, and so is its inverse in float32, which is finite.
func Divides(temperature float64) bool {
	inverse := float32(1 / temperature)
	return temperature > 0 && inverse > 0 && inverse <= math.MaxFloat32
}

// single reports whether a number is finite in float32, which the loss kernel computes in.
func single(x float64) bool { return math.Abs(x) <= math.MaxFloat32 }

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
