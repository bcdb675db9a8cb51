package flow

import (
	"math"
	"strings"
	"testing"
)

func TestDefaultObjectiveIsValid(t *testing.T) {
	if err := DefaultObjective().Validate(); err != nil {
		t.Fatal(err)
	}
}

// TestObjectiveBoundsAreValid: the ends of the ranges that have them.
func TestObjectiveBoundsAreValid(t *testing.T) {
	o := DefaultObjective()
	o.GroupSize, o.ClipLow, o.ClipHigh, o.KL, o.AdvantageEps, o.Entropy, o.Epochs, o.MaxActionTokens = 1, 0, 0, 0, 0, 0, 1, 1
	if err := o.Validate(); err != nil {
		t.Fatal(err)
	}
}

// TestObjectiveValidate: every option out of its range is refused by its key, all that are wrong at once.
func TestObjectiveValidate(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, c := range []struct {
		key    string
		values []float64
		set    func(o *Objective, v float64)
	}{
		{"group_size", []float64{0, -1}, func(o *Objective, v float64) { o.GroupSize = int(v) }},
		{"clip_low", []float64{-0.1, 1, nan}, func(o *Objective, v float64) { o.ClipLow = v }},
		{"clip_high", []float64{-0.1, nan, inf}, func(o *Objective, v float64) { o.ClipHigh = v }},
		{"dual_clip", []float64{-1, 0.5, 1, nan, inf}, func(o *Objective, v float64) { o.DualClip = v }},
		{"kl", []float64{-1, nan, inf}, func(o *Objective, v float64) { o.KL = v }},
		{"advantage_eps", []float64{-1, nan, inf}, func(o *Objective, v float64) { o.AdvantageEps = v }},
		{"temperature", []float64{0, -1, nan, inf, 1e-39, 5e-324, 1e50}, func(o *Objective, v float64) { o.Temperature = v }},
		{"tis_cap", []float64{-1, nan, inf}, func(o *Objective, v float64) { o.TISCap = v }},
		{"entropy", []float64{-1, nan, inf}, func(o *Objective, v float64) { o.Entropy = v }},
		{"epochs", []float64{0, -1}, func(o *Objective, v float64) { o.Epochs = int(v) }},
		{"max_action_tokens", []float64{0, -1}, func(o *Objective, v float64) { o.MaxActionTokens = int(v) }},
		{"advantage_eps", []float64{1e-4}, func(o *Objective, v float64) { o.AdvantageStd, o.AdvantageEps = StdNone, v }},
		{"kl_estimator", []float64{0}, func(o *Objective, _ float64) { o.KLEstimator = "" }},
		{"aggregation", []float64{0}, func(o *Objective, _ float64) { o.Aggregation = "mean" }},
		{"advantage_std", []float64{0}, func(o *Objective, _ float64) { o.AdvantageStd = "both" }},
		{"advantage_over", []float64{0}, func(o *Objective, _ float64) { o.AdvantageOver = "rows" }},
	} {
		for _, v := range c.values {
			o := DefaultObjective()
			c.set(&o, v)
			if err := o.Validate(); err == nil || !strings.HasPrefix(err.Error(), "flow."+c.key+": found ") {
				t.Errorf("%s set to %v: error is %v", c.key, v, err)
			}
		}
	}
	o := DefaultObjective()
	o.ClipLow, o.Epochs, o.Aggregation = -1, 0, "Rolout-mean"
	const want = `flow.clip_low: found -1, expected 0 <= clip_low < 1
flow.aggregation: found "Rolout-mean", expected one of flow, rollout-mean, turn-mean, token-mean, constant; did you mean "rollout-mean"?
flow.epochs: found 0, expected a whole number from 1 to 2147483647`
	if err := o.Validate(); err == nil || err.Error() != want {
		t.Errorf("found:\n%v\nexpected:\n%s", err, want)
	}
}
