package oracle

import (
	"fmt"
	"math"
	"sync"

	"afctl/flow"
)

// Tolerances of Check, relative to the largest magnitude among the values compared.
const (
	// Float32Tolerance is for losses in float32. Where the table lets no exponential grow, a log-prob of up to 16 nats
	// carries 2^-21 (an ulp of 2^-20, halved), which two exponentials turn into a relative error of twice that, 1e-6;
	// sums over the vocabulary and the targets add a few more. The clamp's cases have exponentials of up to 16 nats of
	// difference, which are as exact.
	Float32Tolerance = 1e-5
)

// LossFunc is a loss implementation to be judged: Outputs of Inputs, as Loss documents them.
type LossFunc func(o flow.Objective, in Inputs) (Outputs, error)

// Check runs the loss over a fixed table of cases and returns an error for the first value that is further from the
// oracle's than tolerance, which names the case, the value, what was found and what was expected. All inputs are exact
// in float32.
func Check(loss LossFunc, tolerance float64) error {
	table, err := judgedCases()
	if err != nil {
		return err
	}
	for _, c := range table {
		got, err := loss(c.objective, c.inputs)
		if err != nil {
			return fmt.Errorf("case %q: %w", c.name, err)
		}
		if err := compare(got, c.want, tolerance); err != nil {
			return fmt.Errorf("case %q: %w", c.name, err)
		}
	}
	return nil
}

// judgedCases is the table with what the oracle makes of it, worked out once per process.
var judgedCases = sync.OnceValues(func() ([]testCase, error) {
	table := cases()
	for i := range table {
		c := &table[i]
		want, err := Loss(c.objective, c.inputs)
		if err != nil {
			return nil, fmt.Errorf("case %q: %w", c.name, err)
		}
		c.want = want
	}
	return table, nil
})

// compare returns an error for the first value of got that is not want's.
func compare(got, want Outputs, tolerance float64) error {
	scalars := func(o Outputs) []float64 { return []float64{o.Loss, o.PolicyLoss, o.KL, o.Entropy} }
	for i, name := range []string{"loss", "policy_loss", "kl", "entropy"} {
		g, w := scalars(got)[i], scalars(want)[i]
		// The loss is a difference of terms, of which the policy's is the largest where they cancel.
		scale := math.Abs(w)
		if name == "loss" {
			scale = math.Max(scale, math.Abs(want.PolicyLoss))
		}
		if !within(g, w, tolerance*scale) {
			return fmt.Errorf("%s: found %v, expected %v", name, g, w)
		}
	}
	for _, array := range []struct {
		name      string
		got, want []float64
	}{
		{"lp", got.LogProb, want.LogProb},
		{"dloss/dlp", got.DLP, want.DLP},
		{"dloss/dlogits", got.DLogits, want.DLogits},
	} {
		if len(array.got) != len(array.want) {
			return fmt.Errorf("%s: found %d values, expected %d", array.name, len(array.got), len(array.want))
		}
		scale := 0.0
		for _, w := range array.want {
			scale = math.Max(scale, math.Abs(w))
		}
		for i, w := range array.want {
			if !within(array.got[i], w, tolerance*scale) {
				return fmt.Errorf("%s[%d]: found %v, expected %v", array.name, i, array.got[i], w)
			}
		}
	}
	return nil
}

// within reports whether two values agree; NaN agrees with NaN.
func within(got, want, tolerance float64) bool {
	if math.IsNaN(want) {
		return math.IsNaN(got)
	}
	return math.Abs(got-want) <= tolerance
}
