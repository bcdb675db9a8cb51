package flow

import "fmt"

// ShapeRewards puts the KL into the reward, as the k1 estimator asks: rollout i's reward becomes
//
//	R_i - kl * sum over its action tokens of clamp(lo - lr)
//
// and the advantages are formed anew; Group.Rollouts and Advantage are rewritten, Rollout.Reward keeps the outcome.
// lo and lr are over action tokens, as Weight is. A group of zero signal thus carries its KL with this estimator, too,
// unless Objective.SkipZeroSignal has left it out. Calling it again starts from the outcome rewards again.
//
// Errors: an estimator that is not k1, arrays of another length, *TrajectoryError where a shaped reward is not finite.
// The update is then unchanged. Source: Schulman 2020; arXiv 2512.21852 for k1 in the reward.
func (u *Update) ShapeRewards(lo, lr []float32) error {
	if u.Objective.KLEstimator != K1 {
		return fmt.Errorf("shape rewards: found flow.kl_estimator %q, expected %q: the others are terms of the loss",
			u.Objective.KLEstimator, K1)
	}
	if len(lo) != len(u.Weight) || len(lr) != len(u.Weight) {
		return fmt.Errorf("shape rewards: found %d values of lo and %d of lr, expected %d: one per action token",
			len(lo), len(lr), len(u.Weight))
	}
	kl := make([]float64, u.Counts.Rollouts)
	for k, r := range u.Rollout {
		d, _ := clampLog(float64(lo[k]) - float64(lr[k]))
		kl[r] += d
	}
	shaped := make([]Group, len(u.Groups))
	advantage := make([]float64, 0, len(kl)) // per rollout
	for i, g := range u.Groups {
		rewards := g.rewards()
		g.Rollouts = append([]Rollout(nil), g.Rollouts...)
		for j := range rewards {
			rewards[j] -= u.Objective.KL * kl[len(advantage)+j]
			if !finite(rewards[j]) {
				return &TrajectoryError{g.Name, g.Rollouts[j].Sample, "reward", fmt.Sprintf(
					"found %v after taking the KL off, expected finite log-probs", rewards[j])}
			}
		}
		if err := g.setAdvantages(rewards, u.Objective); err != nil {
			return err
		}
		for _, r := range g.Rollouts {
			advantage = append(advantage, r.Advantage)
		}
		shaped[i] = g
	}
	u.Groups = shaped
	for k, r := range u.Rollout {
		u.Advantage[k] = advantage[r]
	}
	return nil
}
