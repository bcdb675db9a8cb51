package flow

import "math"

// LogRatioClamp bounds every difference of log-probs, in nats, before it is exponentiated. Where it binds, the
// gradient is 0.
const LogRatioClamp = 20.0

// TokenIn is what the objective of one action token depends on: log-probs in nats, all at the sampler's temperature.
type TokenIn struct {
	LP        float64 // under the policy being trained
	LO        float64 // under the policy as it was when the update began
	LR        float64 // under the reference; NaN where it was not computed, which only KL = 0 allows
	LS        float64 // as the sampler reported it; NaN where it reported none, which only TISCap = 0 allows
	Advantage float64 // A of the token's rollout
	Entropy   float64 // H of the whole distribution that the token was drawn from, in nats
}

// TokenOut is the objective of one action token, without the aggregation's weight.
type TokenOut struct {
	Policy float64 // the clipped surrogate, negated: what is minimised
	KL     float64 // the estimate of the KL to the reference, without its coefficient
	Weight float64 // w of truncated importance sampling, a constant; 1 where it is off
	Loss   float64 // Weight*Policy + kl*KL - entropy*Entropy
	DLP    float64 // dLoss/dLP with the entropy held fixed: its gradient goes through the logits
	Ratio  float64 // rho = exp(LP - LO)
	// ClipLow says that rho < 1 - clip_low with A < 0, ClipHigh that rho > 1 + clip_high with A > 0: the clipped branch
	// is the minimum, and the policy term has no gradient.
	ClipLow, ClipHigh bool
}

// Token returns the objective of one token in float64: its statement in this package, which flow/oracle judges.
//
//	rho    = exp(clamp(lp - lo))                                             PPO eq. 6; AgentFlow eq. 6
//	policy = -min(rho*A, clip(rho, 1-clip_low, 1+clip_high)*A)               AgentFlow eq. 5; PPO eq. 7
//	         where A < 0 and dual_clip = c is set: min(policy, -c*A)         Ye et al. 2020
//	x      = clamp(lr - lp);  kl = exp(x)-x-1 (k3), x^2/2 (k2), -x (k1)      Schulman 2020
//	w      = min(exp(clamp(lo - ls)), tis_cap)                               Yao et al. 2025; Ionides 2008
//	loss   = w*policy + beta*kl - entropy*H
//
//	dloss/dlp = w*(-A*rho) + beta*(1 - exp(x))     (k3; -x for k2)
//
// The policy term has a gradient where the unclipped branch is the minimum, ties included (rho == 1 + clip_high,
// rho == 1 - clip_low and rho == c count as unclipped), and the clamp does not bind. With k1 the KL is part of the
// reward (Update.ShapeRewards): KL is then reported, and is no part of Loss. Terms with a coefficient of 0 are left
// out rather than multiplied by it, so what is missing (NaN) stays out of the loss; a missing value that is needed
// makes it NaN.
func (o Objective) Token(in TokenIn) TokenOut {
	d, dClamped := clampLog(in.LP - in.LO)
	x, xClamped := clampLog(in.LR - in.LP)
	rho, a := math.Exp(d), in.Advantage
	out := TokenOut{
		Ratio:    rho,
		ClipLow:  rho < 1-o.ClipLow && a < 0,
		ClipHigh: rho > 1+o.ClipHigh && a > 0,
	}

	dPolicy := 0.0
	switch {
	case out.ClipHigh:
		out.Policy = -a * (1 + o.ClipHigh)
	case out.ClipLow:
		out.Policy = -a * (1 - o.ClipLow)
	case o.DualClip > 0 && a < 0 && rho > o.DualClip:
		out.Policy = -a * o.DualClip
	default:
		out.Policy = -a * rho
		if !dClamped {
			dPolicy = -a * rho
		}
	}

	dKL := 0.0
	switch o.KLEstimator {
	case K1:
		out.KL = -x
	case K2:
		out.KL, dKL = x*x/2, -x
	default:
		e := math.Expm1(x) // exp(x)-1 without the cancellation near 0
		out.KL, dKL = e-x, -e
	}
	if xClamped {
		dKL = 0
	}

	out.Weight = 1
	if o.TISCap > 0 {
		s, _ := clampLog(in.LO - in.LS)
		out.Weight = math.Min(math.Exp(s), o.TISCap)
	}
	out.Loss = out.Weight * out.Policy
	out.DLP = out.Weight * dPolicy
	if o.KLInLoss() {
		out.Loss += o.KL * out.KL
		out.DLP += o.KL * dKL
	}
	if o.Entropy != 0 {
		out.Loss -= o.Entropy * in.Entropy
	}
	return out
}

// KLInLoss reports whether the loss has a KL term: kl is not 0, and the estimator is not k1, which goes into the
// reward.
func (o Objective) KLInLoss() bool { return o.KL != 0 && o.KLEstimator != K1 }

// clampLog clamps a difference of log-probs and reports whether the clamp binds (its bounds included). NaN stays NaN,
// unclamped, so that it shows in loss and gradient alike.
func clampLog(d float64) (clamped float64, binds bool) {
	if d <= -LogRatioClamp || d >= LogRatioClamp {
		return math.Copysign(LogRatioClamp, d), true
	}
	return d, false
}
