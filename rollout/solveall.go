package rollout

import (
	"context"
	"fmt"
	"sync"

	"afctl/flow"
)

// SolveAll runs the jobs, Options.Concurrency of them at once, and hands each trajectory to done once, in the order in
// which they end, one at a time and on the caller's goroutine. A failed solve is handed over like any other. When ctx
// ends or done returns an error, no further job begins, those under way are given up, and SolveAll returns that error:
// what was given up is not handed over, so that it can be done again. No goroutine outlives the call.
func (s *Solver) SolveAll(ctx context.Context, jobs []Job, done func(flow.Trajectory) error) error {
	if err := s.Validate(); err != nil {
		return err
	}
	return s.all(ctx, len(jobs), func(ctx context.Context, i int) flow.Trajectory { return s.Solve(ctx, jobs[i]) }, done)
}

// all does n pieces of work as SolveAll does its jobs.
func (s *Solver) all(ctx context.Context, n int, work func(ctx context.Context, i int) flow.Trajectory, done func(flow.Trajectory) error) error {
	workers := min(s.Options.withDefaults().Concurrency, n)
	inner, cancel := context.WithCancel(ctx)
	var (
		queue   = make(chan int)
		results = make(chan flow.Trajectory)
		wg      sync.WaitGroup
	)
	wg.Go(func() {
		defer close(queue)
		for i := range n {
			select {
			case queue <- i:
			case <-inner.Done():
				return
			}
		}
	})
	for range workers {
		wg.Go(func() {
			for i := range queue {
				results <- work(inner, i)
			}
		})
	}
	go func() {
		wg.Wait()
		close(results)
	}()
	defer func() { // leaves nothing behind, even if done panics
		cancel()
		for range results {
		}
	}()
	var failed error
	handed := 0
	for t := range results {
		if failed != nil || t.Failure == KindCanceled {
			continue
		}
		if err := done(t); err != nil {
			failed = fmt.Errorf("solve all: after task %q, sample %d: %w", t.Task, t.Sample, err)
			cancel()
			continue
		}
		handed++
	}
	if failed == nil && handed < n {
		return context.Cause(ctx)
	}
	return failed
}
