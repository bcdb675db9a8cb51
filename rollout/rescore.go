package rollout

import (
	"context"
	"fmt"
	"math"
	"strings"

	"afctl/flow"
)

// slotScorer names the scorer in Error.Slot, and with it at the start of Trajectory.FailureDetail.
const slotScorer = "scorer"

// Unscored reports whether a solve came to its answer and failed in the scorer alone, whatever its kind of failure: it can be scored
// again without a solve.
func Unscored(t *flow.Trajectory) bool {
	return t.Failed() && (t.Failure == KindScore || strings.HasPrefix(t.FailureDetail, slotScorer+": "))
}

// grade has the scorer judge the answer: bounded in time, repeated, and its panics errors, as all calls.
func (v *solve) grade(ctx context.Context) error {
	l := limits{slot: slotScorer, timeout: v.options.CallTimeout, other: KindScore}
	reward, err := call(ctx, &v.options, l, func(ctx context.Context) (float64, error) {
		return v.score(ctx, v.job.Task, v.t.Answer)
	})
	if err != nil {
		return err
	}
	if math.IsNaN(reward) || reward < 0 || reward > 1 {
		return &Error{Kind: KindScore, Slot: slotScorer, Err: fmt.Errorf("reward %v, expected a value from 0 to 1", reward)}
	}
	v.t.Reward = &reward
	return nil
}

// fail records what a solve failed of; nil is no failure.
func (v *solve) fail(ctx context.Context, err error) {
	v.t.Failure, v.t.FailureDetail = "", ""
	if err == nil {
		return
	}
	v.t.Reward = nil
	v.t.Failure, v.t.FailureDetail = kindOf(err, KindInternal), clipBytes(err.Error(), 1000)
	if v.t.Failure == KindDeadline && ctx.Err() != nil {
		v.t.Failure = KindCanceled // it was the caller's deadline
	}
}

// Rescore judges the answers of stored solves again, as SolveAll does those of new ones: Options.Concurrency at once, each handed to done with
// its reward or its new failure. Solve i is of job i.
func (s *Solver) Rescore(ctx context.Context, jobs []Job, solves []flow.Trajectory, done func(flow.Trajectory) error) error {
	if err := s.Validate(); err != nil {
		return err
	}
	if len(jobs) != len(solves) {
		return fmt.Errorf("rescore: found %d jobs and %d solves, expected one of each", len(jobs), len(solves))
	}
	return s.all(ctx, len(jobs), func(ctx context.Context, i int) flow.Trajectory {
		v := &solve{score: s.Score, options: s.Options.withDefaults(), job: jobs[i], t: solves[i]}
		v.t.Reward = nil
		v.fail(ctx, v.grade(ctx))
		return v.t
	}, done)
}
