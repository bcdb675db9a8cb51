package ref

import (
	"math"

	"afctl/kernels"
)

// LogRatioClamp bounds a difference of log-probs, in nats, before it is exponentiated; where it binds there is no gradient.
const LogRatioClamp = 20.0

// Token is what the objective of one action token depends on: log-probs in nats at the sampler's temperature under the policy (LP), the policy when
// the update began (LO), the reference (LR) and as the sampler reported it (LS, NaN where missing).
type Token struct {
	LP, LO, LR, LS, Advantage float64
}

// TokenLoss is the objective of a token, without the aggregation's weight.
type TokenLoss struct {
	Policy, KL float64 // the clipped surrogate, negated; the estimate of the KL
	Weight     float64 // of truncated importance sampling, a constant; 1 where it is off
	Loss       float64 // Weight*Policy + kl*KL
	DLP        float64 // dLoss/dLP
	Ratio      float64
	// ClipLow, ClipHigh: the ratio is beyond a bound, and the advantage such that the clipped branch is the minimum.
	ClipLow, ClipHigh bool
}

// Loss is Flow-GRPO's objective of one token (AgentFlow, arXiv 2510.05592, eq. 5; the clip of PPO, Schulman et al. 2017, eq. 7, with bounds apart as in DAPO, Yu et al.
// 2025; dual clip, Ye et al. 2020; truncated importance sampling, Yao et al. 2025):
//
//	rho = exp(clamp(lp - lo)),   policy = -min(rho A, clip(rho, 1-low, 1+high) A);   where A < 0 and dual clip c is on: min(policy, -c A)
//	x = clamp(lr - lp),          kl = e^x - x - 1 (k3), x^2/2 (k2), -x (k1, which belongs to the reward: it is reported, not in the loss)
//	w = min(exp(clamp(lo - ls)), cap),   loss = w policy + beta kl
//
// The unclipped branch has the gradient -A rho, ties included; where the clamp binds (bounds included), where the clipped branch
// or the dual clip is the value, it is 0. A value that is NaN and needed makes the gradient NaN; one that is not needed (beta 0, no cap)
// does not touch it.
func Loss(p kernels.LossParams, in Token) TokenLoss {
	rho, a := math.Exp(clamp(in.LP-in.LO)), in.Advantage
	out := TokenLoss{Ratio: rho, Weight: 1, ClipLow: rho < 1-p.ClipLow && a < 0, ClipHigh: rho > 1+p.ClipHigh && a > 0}
	dPolicy := 0.0
	switch {
	case out.ClipLow:
		out.Policy = -(1 - p.ClipLow) * a
	case out.ClipHigh:
		out.Policy = -(1 + p.ClipHigh) * a
	case p.DualClip > 0 && a < 0 && rho > p.DualClip:
		out.Policy = -p.DualClip * a
	default:
		out.Policy = -rho * a
		if !clamped(in.LP - in.LO) {
			dPolicy = -rho * a
		}
	}
	x, dKL := clamp(in.LR-in.LP), 0.0
	switch p.KLEstimator {
	case kernels.K1:
		out.KL = -x
	case kernels.K2:
		out.KL, dKL = x*x/2, -x
	default:
		out.KL, dKL = math.Expm1(x)-x, -math.Expm1(x)
	}
	if clamped(in.LR - in.LP) {
		dKL = 0
	}
	if p.TISCap > 0 {
		out.Weight = math.Min(math.Exp(clamp(in.LO-in.LS)), p.TISCap)
	}
	out.Loss, out.DLP = out.Weight*out.Policy, out.Weight*dPolicy
	if p.KL != 0 && p.KLEstimator != kernels.K1 {
		out.Loss += p.KL * out.KL
		out.DLP += p.KL * dKL
	}
	return out
}

func clamp(d float64) float64 {
	if clamped(d) {
		return math.Copysign(LogRatioClamp, d)
	}
	return d
}

func clamped(d float64) bool { return math.Abs(d) >= LogRatioClamp }
