package eval

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"afctl/flow"
	"afctl/rollout"
)

// ErrMixed is returned where the solves of one evaluation do not belong together: other seeds, or more than one policy.
var ErrMixed = errors.New("solves of different evaluations")

// Run is one evaluation.
type Run struct {
	Solver *rollout.Solver
	Suite  string // for the report
	Tasks  []flow.Task
	// Repeats is k, how often each task is solved; 0 means once.
	Repeats int
	// Seed is the root of all random streams; every solve has its own, named by task and repeat.
	Seed uint64
	// Stored are the records of an earlier, interrupted run of the same evaluation: only what is not among them is solved.
	// Those of other tasks are left out. One that only the scorer failed on, for whatever reason, is scored again, not solved.
	Stored []flow.Trajectory
	// RetryFailed solves again what is stored without a reward.
	RetryFailed bool
	// Store keeps a finished solve before it is counted; nil keeps none. An error ends the run.
	Store func(flow.Trajectory) error
}

// slot names one requested solve.
type slot struct {
	task   string
	sample int
}

// Do solves what is missing and reports on everything. When ctx ends, the solves that were stored are kept, and Do returns
// the context's error: calling it again with them goes on.
func (r Run) Do(ctx context.Context) (*Report, error) {
	if r.Repeats == 0 {
		r.Repeats = 1
	}
	jobs, err := r.jobs()
	if err != nil {
		return nil, err
	}
	if err := r.Solver.Validate(); err != nil {
		return nil, err
	}
	done, err := r.stored(ctx, jobs)
	if err != nil {
		return nil, err
	}
	var missing []rollout.Job
	for _, j := range jobs {
		if _, ok := done[slot{j.Task.ID, j.Sample}]; !ok {
			missing = append(missing, j)
		}
	}
	err = r.Solver.SolveAll(ctx, missing, func(t flow.Trajectory) error {
		return r.keep(done, t)
	})
	if err != nil {
		return nil, fmt.Errorf("evaluation of %s: %w", r.Suite, err)
	}
	all := make([]flow.Trajectory, 0, len(jobs))
	for _, j := range jobs {
		if t, ok := done[slot{j.Task.ID, j.Sample}]; ok {
			all = append(all, t)
		}
	}
	return newReport(r, all)
}

// jobs lists every requested solve, repeat by repeat, so that an interrupted run has whole repeats first.
func (r Run) jobs() ([]rollout.Job, error) {
	if r.Solver == nil || len(r.Tasks) == 0 || r.Repeats < 1 {
		return nil, fmt.Errorf("evaluation of %s: found %d tasks, %d repeats, solver given: %v; expected some of each", r.Suite, len(r.Tasks), r.Repeats, r.Solver != nil)
	}
	seen := make(map[string]bool, len(r.Tasks))
	for _, t := range r.Tasks {
		if t.ID == "" || seen[t.ID] {
			return nil, fmt.Errorf("evaluation of %s: found task id %q twice or empty, expected distinct ids", r.Suite, t.ID)
		}
		seen[t.ID] = true
	}
	jobs := make([]rollout.Job, 0, len(r.Tasks)*r.Repeats)
	for sample := range r.Repeats {
		for _, t := range r.Tasks {
			jobs = append(jobs, rollout.Job{Task: t, Group: t.ID, Sample: sample, Seed: flow.DeriveSeed(r.Seed, "eval", t.ID, strconv.Itoa(sample))})
		}
	}
	return jobs, nil
}

// stored takes the earlier records that belong here.
func (r Run) stored(ctx context.Context, jobs []rollout.Job) (map[slot]flow.Trajectory, error) {
	wanted := make(map[slot]rollout.Job, len(jobs))
	for _, j := range jobs {
		wanted[slot{j.Task.ID, j.Sample}] = j
	}
	done := make(map[slot]flow.Trajectory, len(jobs))
	seen := make(map[slot]bool, len(jobs))
	var unscored []flow.Trajectory
	var again []rollout.Job
	for _, t := range r.Stored {
		key := slot{t.Task, t.Sample}
		job, ok := wanted[key]
		if !ok {
			continue
		}
		if t.Sampling.Seed != job.Seed {
			return nil, fmt.Errorf("evaluation of %s: %w: task %s, repeat %d is stored with seed %d, expected %d", r.Suite, ErrMixed, t.Task, t.Sample, t.Sampling.Seed, job.Seed)
		}
		if seen[key] {
			return nil, fmt.Errorf("evaluation of %s: %w: task %s, repeat %d is stored twice", r.Suite, ErrMixed, t.Task, t.Sample)
		}
		seen[key] = true
		if rollout.Unscored(&t) {
			unscored, again = append(unscored, t), append(again, job)
		}
		if t.Failed() && r.RetryFailed {
			continue
		}
		done[key] = t
	}
	err := r.Solver.Rescore(ctx, again, unscored, func(t flow.Trajectory) error {
		if t.Failed() {
			return nil // it stays as it is stored
		}
		return r.keep(done, t)
	})
	if err != nil {
		return nil, fmt.Errorf("evaluation of %s: scored again: %w", r.Suite, err)
	}
	return done, nil
}

func (r Run) keep(done map[slot]flow.Trajectory, t flow.Trajectory) error {
	if r.Store != nil {
		if err := r.Store(t); err != nil {
			return err
		}
	}
	done[slot{t.Task, t.Sample}] = t
	return nil
}
