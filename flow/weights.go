package flow

// tokenWeight returns the weight of each action token of one turn: of rollout r of group g, which has rolloutTokens
// action tokens in all its turns and turnTokens in this one. Every denominator is a count of the whole update: failed
// rollouts are in none of them, groups skipped for zero signal in all.
// Sources: AgentFlow eq. 5; DeepSeekMath (GRPO) eq. 3; DAPO sec. 3.3; Dr.GRPO sec. 3.
func (u *Update) tokenWeight(g *Group, r *Rollout, rolloutTokens, turnTokens int) float64 {
	c := &u.Counts
	switch u.Objective.Aggregation {
	case AggregationRolloutMean:
		return 1 / (float64(c.Rollouts) * float64(rolloutTokens))
	case AggregationTurnMean:
		return 1 / (float64(c.Turns) * float64(turnTokens))
	case AggregationTokenMean:
		return 1 / float64(c.ActionTokens)
	case AggregationConstant:
		return 1 / (float64(c.Turns) * float64(u.Objective.MaxActionTokens))
	default:
		return 1 / (float64(c.Groups) * float64(len(g.Rollouts)) * float64(len(r.Turns)) * float64(turnTokens))
	}
}
