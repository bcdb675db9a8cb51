// Package flow is the algorithm: Flow-GRPO (AgentFlow, arXiv 2510.05592, eq. 5-7) as pure functions on plain arrays.
//
// It holds what every other room speaks: tasks, trajectories and their turns; groups, advantages and the one fixed
// weight of every action token; the objective of one token; and forests, the prefix trees over token ids that the
// engine trains on. Nothing here does I/O, calls C or knows a model. PAPERS.md maps every formula to its source, its
// function and its test.
//
// # Terms
//
//	task        a question with its ground truth
//	rollout     one solve of a task; a trajectory is its record
//	group       the rollouts of one task under one policy version
//	turn        one planner call: prompt tokens (never trained) and action tokens (trained)
//	lp          log-prob of a token under the policy being trained
//	lo          the same under the policy as it was when the update began, constant
//	lr          the same with the adapter off (the reference), constant
//	ls          the log-prob that the sampler reported, constant, may be missing (as what is below -1e30); never used as lo
//	target      an action token seen from the model: hidden state of a row predicts a token
//	row         one token that the model computes; its hidden state predicts what follows it
//	run         a stretch of consecutive rows of a forest without a branch
//
// # From trajectories to an update
//
//	u, err := flow.NewUpdate(trajectories, objective) // groups, advantages, weights: fixed before anything is cut
//	forests := flow.Forests(u.Sequences, budget)      // what the engine computes at once, in place of sequences
//	...                                               // lo, lr and lp of each Target, loss and gradient: the engine's
//	metrics := u.Metrics(sums)                        // of the TokenSums over all targets
//
// The main types are Trajectory, Objective, Update, Forest, TokenSums and Metrics.
//
// # Errors and concurrency
//
// Nothing panics on input. What is wrong with a trajectory is a *TrajectoryError, which names the group, the sample
// and the field; what is wrong with the options names their config keys, all at once. The package has no state: all
// functions may be called from any number of goroutines, values may be read by all of them and written by one.
package flow
