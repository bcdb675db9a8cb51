package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"afctl/flow"
)

func jobs(n int) []Job {
	out := make([]Job, n)
	for i := range out {
		out[i] = job(fmt.Sprintf("q%d", i/4))
		out[i].Sample, out[i].Seed = i%4, uint64(i)
	}
	return out
}

// Every job is handed over once, never more than Concurrency run at once, and failed ones are among them.
func TestSolveAll(t *testing.T) {
	noLeaks(t)
	const n, at = 200, 16
	var now, most atomic.Int64
	s := fixture(t, func(s *Solver) {
		s.Options.Concurrency = at
		generator := s.Slots.Generator
		s.Slots.Generator = generatorFunc(func(ctx context.Context, in Input) (string, error) {
			for k := now.Add(1); ; {
				if m := most.Load(); k <= m || most.CompareAndSwap(m, k) {
					break
				}
			}
			defer now.Add(-1)
			time.Sleep(100 * time.Microsecond)
			if in.Seed%5 == 0 {
				return "", errors.New("no model")
			}
			return generator.Answer(ctx, in)
		})
	})
	seen := map[string]int{}
	failed := 0
	err := s.SolveAll(t.Context(), jobs(n), func(tr flow.Trajectory) error {
		seen[fmt.Sprint(tr.Task, tr.Sample)]++
		if tr.Failed() {
			failed++
		}
		return nil
	})
	if err != nil || len(seen) != n || failed == 0 || failed == n {
		t.Fatalf("%v, %d trajectories, %d failed", err, len(seen), failed)
	}
	for k, v := range seen {
		if v != 1 {
			t.Errorf("%s came %d times", k, v)
		}
	}
	if m := most.Load(); m > at || m < 2 {
		t.Errorf("%d solves at once, expected up to %d", m, at)
	}
}

// A thousand solves at once, all waiting at the same time, all come back.
func TestSolveAllThousandAtOnce(t *testing.T) {
	noLeaks(t)
	const n = 1000
	var waiting atomic.Int64
	all := make(chan struct{})
	s := fixture(t, func(s *Solver) {
		s.Options.Concurrency = n
		planner := s.Slots.Planner
		s.Slots.Planner = plannerFunc(func(ctx context.Context, in Input) (Planning, error) {
			if waiting.Add(1) == n {
				close(all)
			}
			select {
			case <-all:
			case <-ctx.Done():
				return Planning{}, ctx.Err()
			}
			return planner.Plan(ctx, in)
		})
	})
	right := 0
	if err := s.SolveAll(t.Context(), jobs(n), func(tr flow.Trajectory) error {
		if !tr.Failed() && *tr.Reward == 1 {
			right++
		}
		return nil
	}); err != nil || right != n {
		t.Errorf("%d right of %d, %v", right, n, err)
	}
}

// When the context ends, what was under way is given up and not handed over.
func TestSolveAllCanceled(t *testing.T) {
	noLeaks(t)
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	s := fixture(t, func(s *Solver) {
		s.Options.Concurrency = 4
		s.Slots.Generator = generatorFunc(func(ctx context.Context, in Input) (string, error) {
			if in.Seed%2 == 0 {
				return "x", nil
			}
			<-ctx.Done()
			return "", ctx.Err()
		})
	})
	handed := 0
	err := s.SolveAll(ctx, jobs(100), func(tr flow.Trajectory) error {
		if tr.Failure == KindCanceled {
			t.Error("a solve that was given up was handed over")
		}
		if handed++; handed == 1 {
			cancel(cause)
		}
		return nil
	})
	if !errors.Is(err, cause) || handed == 0 || handed == 100 {
		t.Errorf("%v after %d", err, handed)
	}
}

// One solve that is given up is enough for an error.
func TestSolveAllOneCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := fixture(t, nil).SolveAll(ctx, jobs(1), func(flow.Trajectory) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// An error of done ends it, and done is not called again.
func TestSolveAllDoneFails(t *testing.T) {
	noLeaks(t)
	full := errors.New("disk full")
	s := fixture(t, func(s *Solver) { s.Options.Concurrency = 8 })
	calls := 0
	err := s.SolveAll(t.Context(), jobs(100), func(flow.Trajectory) error {
		if calls++; calls == 3 {
			return full
		}
		return nil
	})
	if !errors.Is(err, full) || calls != 3 {
		t.Errorf("%v after %d calls", err, calls)
	}
}

// Nothing is left behind even where done panics.
func TestSolveAllDonePanics(t *testing.T) {
	noLeaks(t)
	s := fixture(t, func(s *Solver) { s.Options.Concurrency = 8 })
	defer func() {
		if recover() == nil {
			t.Error("the panic was swallowed")
		}
	}()
	_ = s.SolveAll(t.Context(), jobs(50), func(flow.Trajectory) error { panic("bug") })
}

func TestSolveAllNothingToDo(t *testing.T) {
	if err := fixture(t, nil).SolveAll(t.Context(), nil, nil); err != nil {
		t.Error(err)
	}
	if err := (&Solver{}).SolveAll(t.Context(), jobs(1), nil); err == nil {
		t.Error("an empty solver is taken")
	}
}

// The same jobs give the same trajectories whatever runs beside them.
func TestSolveAllDeterministic(t *testing.T) {
	run := func(concurrency int) []string {
		s := fixture(t, func(s *Solver) {
			s.Options.Concurrency = concurrency
			s.Options.MaxTurns = 3
			s.Slots.Verifier = never
			s.Slots.Planner = plannerFunc(func(_ context.Context, in Input) (Planning, error) {
				r := flow.NewRand(in.Seed)
				return Planning{Plan: plan("Search", fmt.Sprint("goal", r.IntN(1000))), Completion: Completion{Turn: fakeTurn(in.Turn)}}, nil
			})
		})
		var out []string
		if err := s.SolveAll(t.Context(), jobs(40), func(tr flow.Trajectory) error {
			out = append(out, fmt.Sprint(tr.Task, tr.Sample, tr.Steps[0].SubGoal, tr.Steps[1].SubGoal, tr.Steps[2].SubGoal, tr.Answer))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		slices.Sort(out)
		return out
	}
	one, many := run(1), run(16)
	if !slices.Equal(one, many) {
		t.Errorf("one at a time\n%v\nmany at once\n%v", one, many)
	}
}
