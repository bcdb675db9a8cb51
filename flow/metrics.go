package flow

import (
	"iter"
	"math"
	"reflect"

	"github.com/go-json-experiment/json"
)

// TokenSums are the sums and maxima over action tokens that metrics follow from. A loss kernel adds those of its targets to them, micro-batch
// by micro-batch, so that no metric is a mean of means.
type TokenSums struct {
	Policy  float64 // sum of weight * w * policy
	KL      float64 // sum of weight * kl
	Entropy float64 // sum of weight * H

	Tokens   int     // action tokens summed over
	Ratio    float64 // sum of rho
	RatioMax float64 // largest rho; 0 without tokens
	ClipLow  int     // tokens with rho < 1 - clip_low and A < 0
	ClipHigh int     // tokens with rho > 1 + clip_high and A > 0

	MismatchCount int     // tokens that have ls; those without are in none of the following
	Mismatch      float64 // sum of lo - ls
	MismatchMax   float64 // largest |lo - ls|
	MismatchK3    float64 // sum of exp(d) - d - 1 with d = lo - ls
}

// Observe adds one token of the weight given: what Objective.Token made of in. It is the reference of what a loss kernel adds.
func (s *TokenSums) Observe(weight float64, in TokenIn, out TokenOut) {
	s.Policy += weight * out.Weight * out.Policy
	s.KL += weight * out.KL
	s.Entropy += weight * in.Entropy
	s.Tokens++
	s.Ratio += out.Ratio
	s.RatioMax = math.Max(s.RatioMax, out.Ratio)
	if out.ClipLow {
		s.ClipLow++
	}
	if out.ClipHigh {
		s.ClipHigh++
	}
	if !math.IsNaN(in.LS) {
		d := in.LO - in.LS
		s.MismatchCount++
		s.Mismatch += d
		s.MismatchMax = math.Max(s.MismatchMax, math.Abs(d))
		s.MismatchK3 += math.Expm1(d) - d
	}
}

// Number is a float64 of a metrics line. What is not finite, or not known (NaN), is written as null; null is read as
// NaN.
type Number float64

// MarshalJSON writes a JSON number, or null.
func (n Number) MarshalJSON() ([]byte, error) {
	if !finite(float64(n)) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(n))
}

// UnmarshalJSON reads a JSON number, or null.
func (n *Number) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*n = Number(math.NaN())
		return nil
	}
	return json.Unmarshal(b, (*float64)(n))
}

// Metrics are one line of metrics.jsonl: an optimizer step with the update that it is part of. Update.Metrics fills
// what follows from the update and the loss; the rest is whoever's who measures it, and null until then.
type Metrics struct {
	Step int `json:"step"` // optimizer steps of the run, from 1

	// Loss = PolicyLoss + kl*KL - entropy*Entropy, with the coefficients of the objective; without the KL term for k1.
	Loss       Number `json:"loss"`
	PolicyLoss Number `json:"policy_loss"` // with the weights of the aggregation, as are KL and Entropy
	KL         Number `json:"kl"`          // nats
	Entropy    Number `json:"entropy"`     // nats

	// Means and maxima over all trained action tokens.
	RatioMean    Number `json:"ratio/mean"`
	RatioMax     Number `json:"ratio/max"`
	ClipLow      Number `json:"clip/low"`      // share of tokens
	ClipHigh     Number `json:"clip/high"`     // share of tokens
	MismatchMean Number `json:"mismatch/mean"` // lo - ls, signed; null where no token has ls
	MismatchMax  Number `json:"mismatch/max"`  // |lo - ls|
	MismatchK3   Number `json:"mismatch/k3"`

	// Over rollouts with a reward.
	RewardMean Number `json:"reward/mean"`
	RewardStd  Number `json:"reward/std"` // sample deviation; null for one rollout
	TurnsMean  Number `json:"turns/mean"`
	TurnsMax   int    `json:"turns/max"`

	GroupZeroSignal Number `json:"group/zero_signal"` // share of the groups with a reward
	GroupIncomplete Number `json:"group/incomplete"`  // share of the groups with a reward
	Groups          int    `json:"groups"`            // with a reward
	Rollouts        int    `json:"rollouts"`          // with a reward
	Failed          int    `json:"failed"`            // rollouts without
	ActionTokens    int    `json:"action_tokens"`     // of the rollouts with a reward

	ForestTokens         int `json:"forest/tokens"`          // rows computed, over all micro-batches
	ForestUnsharedTokens int `json:"forest/unshared_tokens"` // rows without sharing: their ratio is the dedup factor

	GradNorm     Number `json:"grad_norm"` // over all trained tensors, before the clip
	LR           Number `json:"lr"`
	SkippedSteps int    `json:"skipped_steps"` // of the run so far, for a gradient that is not finite

	TokensPerSecond   Number `json:"tokens_per_second"`
	SecondsRollout    Number `json:"seconds/rollout"`
	SecondsReference  Number `json:"seconds/reference"`
	SecondsUpdate     Number `json:"seconds/update"`
	SecondsPublish    Number `json:"seconds/publish"`
	SecondsCheckpoint Number `json:"seconds/checkpoint"`

	PolicyVersion int    `json:"policy_version"` // of the policy that made the rollouts
	AdapterHash   string `json:"adapter_hash"`   // of the same
}

// Metrics returns the metrics of the update from the sums over all its targets.
func (u *Update) Metrics(s TokenSums) Metrics {
	c, unknown := u.Counts, Number(math.NaN())
	m := Metrics{
		PolicyLoss: Number(s.Policy), KL: Number(s.KL), Entropy: Number(s.Entropy),
		RatioMean: mean(s.Ratio, s.Tokens), RatioMax: unknown,
		ClipLow: mean(float64(s.ClipLow), s.Tokens), ClipHigh: mean(float64(s.ClipHigh), s.Tokens),
		MismatchMean: mean(s.Mismatch, s.MismatchCount), MismatchMax: unknown,
		MismatchK3:      mean(s.MismatchK3, s.MismatchCount),
		TurnsMean:       mean(float64(c.Turns), c.Rollouts),
		GroupZeroSignal: mean(float64(c.ZeroSignal), c.Groups),
		GroupIncomplete: mean(float64(c.Incomplete), c.Groups),
		Groups:          c.Groups, Rollouts: c.Rollouts, ActionTokens: c.ActionTokens,
		GradNorm: unknown, LR: unknown, TokensPerSecond: unknown,
		SecondsRollout: unknown, SecondsReference: unknown, SecondsUpdate: unknown,
		SecondsPublish: unknown, SecondsCheckpoint: unknown,
	}
	loss := s.Policy
	if u.Objective.KLInLoss() {
		loss += u.Objective.KL * s.KL
	}
	if u.Objective.Entropy != 0 {
		loss -= u.Objective.Entropy * s.Entropy
	}
	m.Loss = Number(loss)
	if s.Tokens > 0 {
		m.RatioMax = Number(s.RatioMax)
	}
	if s.MismatchCount > 0 {
		m.MismatchMax = Number(s.MismatchMax)
	}
	for _, n := range c.Failed {
		m.Failed += n
	}
	var rewards []float64
	for i := range u.Groups {
		rewards = append(rewards, u.Groups[i].rewards()...)
		for _, r := range u.Groups[i].Rollouts {
			m.TurnsMax = max(m.TurnsMax, len(r.Turns))
		}
	}
	m.RewardMean, m.RewardStd = meanStd(rewards)
	for _, q := range u.Sequences {
		m.ForestUnsharedTokens += q.Rows()
	}
	return m
}

// mean returns sum/n, NaN for n = 0.
func mean(sum float64, n int) Number {
	if n == 0 {
		return Number(math.NaN())
	}
	return Number(sum / float64(n))
}

// meanStd returns mean and sample deviation in two passes; of equal values that value and exactly 0, as Advantages has it.
func meanStd(values []float64) (m, std Number) {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	m = mean(sum, len(values))
	if len(values) > 0 && allEqual(values) {
		m = Number(values[0])
	}
	if len(values) < 2 {
		return m, Number(math.NaN())
	}
	squares := 0.0
	for _, v := range values {
		squares += (v - float64(m)) * (v - float64(m))
	}
	return m, Number(math.Sqrt(squares / float64(len(values)-1)))
}

// Scalars yields the name and value of every metric that is a number and is known, in the order of the fields: what a
// plot or a TensorBoard file takes.
func (m Metrics) Scalars() iter.Seq2[string, float64] {
	return func(yield func(string, float64) bool) {
		v := reflect.ValueOf(m)
		for i := range v.NumField() {
			var x float64
			switch f := v.Field(i); f.Kind() {
			case reflect.Float64:
				x = f.Float()
			case reflect.Int:
				x = float64(f.Int())
			default:
				continue
			}
			if finite(x) && !yield(v.Type().Field(i).Tag.Get("json"), x) {
				return
			}
		}
	}
}
