package main

import (
	"context"
	"strconv"

	"afctl/flow"
	"afctl/rollout"
)

// rolloutKey names a rollout within an update.
type rolloutKey struct {
	group  string
	sample int
}

func keyOf(t *flow.Trajectory) rolloutKey { return rolloutKey{t.Group, t.Sample} }

// solveJobs runs the jobs, and those that fail again, retries times at most, each time with another random stream; every outcome is handed to
// keep, a later one of a job in place of an earlier one.
func solveJobs(ctx context.Context, s *rollout.Solver, jobs []rollout.Job, retries int, keep func(flow.Trajectory) error) error {
	first := make(map[rolloutKey]rollout.Job, len(jobs))
	for _, j := range jobs {
		first[rolloutKey{j.Group, j.Sample}] = j
	}
	for attempt := 0; len(jobs) > 0; attempt++ {
		var failed []rollout.Job
		err := s.SolveAll(ctx, jobs, func(t flow.Trajectory) error {
			t.Retries = attempt
			if t.Failed() && attempt < retries {
				j := first[keyOf(&t)]
				j.Seed = flow.DeriveSeed(j.Seed, "retry", strconv.Itoa(attempt+1))
				failed = append(failed, j)
			}
			return keep(t)
		})
		if err != nil {
			return err
		}
		jobs = failed
	}
	return nil
}
