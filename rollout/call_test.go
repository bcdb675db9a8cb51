package rollout

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"afctl/flow"
)

// Transient errors and cut calls are tried again, each call on its own, as often as Retries says.
func TestRetries(t *testing.T) {
	for name, cause := range map[string]error{"transient": errOverload, "deadline": context.DeadlineExceeded} {
		t.Run(name, func(t *testing.T) {
			build := func(fails int) flow.Trajectory {
				return fixture(t, func(s *Solver) {
					s.Options.Retries = 2
					planner, executor, verifier, generator, scorer := s.Slots.Planner, s.Slots.Executor, s.Slots.Verifier, s.Slots.Generator, s.Score
					p, e, v, g, r := newFlaky(fails, cause), newFlaky(fails, cause), newFlaky(fails, cause), newFlaky(fails, cause), newFlaky(fails, cause)
					s.Slots.Planner = plannerFunc(func(ctx context.Context, in Input) (out Planning, err error) {
						if err = p.try(); err == nil {
							out, err = planner.Plan(ctx, in)
						}
						return out, err
					})
					s.Slots.Executor = executorFunc(func(ctx context.Context, in Input, pl Plan, spec ToolSpec) (out json.RawMessage, err error) {
						if err = e.try(); err == nil {
							out, err = executor.Arguments(ctx, in, pl, spec)
						}
						return out, err
					})
					s.Slots.Verifier = verifierFunc(func(ctx context.Context, in Input) (flow.Verdict, string, error) {
						if err := v.try(); err != nil {
							return "", "", err
						}
						return verifier.Verify(ctx, in)
					})
					s.Slots.Generator = generatorFunc(func(ctx context.Context, in Input) (out string, err error) {
						if err = g.try(); err == nil {
							out, err = generator.Answer(ctx, in)
						}
						return out, err
					})
					s.Score = func(ctx context.Context, task flow.Task, answer string) (float64, error) {
						if err := r.try(); err != nil {
							return 0, err
						}
						return scorer(ctx, task, answer)
					}
				}).Solve(t.Context(), job("q"))
			}
			got := build(2)
			mustScore(t, got, 1)
			if len(got.Turns) != 1 {
				t.Errorf("%d turns recorded, expected the one that was answered", len(got.Turns))
			}
			got = build(3)
			if got.Failure != KindUnavailable && got.Failure != KindTimeout {
				t.Errorf("three failures, two retries: %q", got.Failure)
			}
		})
	}
}

// A tool's transient error is tried again; its timeout is a step at once.
func TestToolRetries(t *testing.T) {
	calls := 0
	s := fixture(t, func(s *Solver) {
		s.Options.Retries = 3
		f := newFlaky(3, errOverload)
		s.Tools, _ = NewRegistry(fakeTool{"Search", func(_ context.Context, q string) (Result, error) {
			calls++
			return Result{Text: "Search of " + q}, f.try()
		}})
	})
	mustScore(t, s.Solve(t.Context(), job("q")), 1)
	if calls != 4 {
		t.Errorf("%d calls, expected 4", calls)
	}
	calls = 0
	s.Options.ToolTimeout = time.Millisecond
	s.Tools, _ = NewRegistry(fakeTool{"Search", func(ctx context.Context, _ string) (Result, error) {
		calls++
		<-ctx.Done()
		return Result{}, ctx.Err()
	}})
	got := s.Solve(t.Context(), job("q"))
	if calls != 1 || got.Steps[0].ErrorKind != KindTimeout {
		t.Errorf("%d calls, %+v", calls, got.Steps)
	}
}

func TestBackoff(t *testing.T) {
	b := backoff{initial: time.Second, max: 10 * time.Second}
	for _, c := range []struct {
		n          int
		after      time.Duration
		u          float64
		want, most time.Duration
	}{
		{0, 0, 0, 500 * time.Millisecond, time.Second}, {1, 0, 0, time.Second, 2 * time.Second}, {3, 0, 0, 4 * time.Second, 8 * time.Second},
		{9, 0, 0, 5 * time.Second, 10 * time.Second}, {1 << 40, 0, 0, 5 * time.Second, 10 * time.Second}, {0, time.Minute, 0, time.Minute, time.Minute},
	} {
		if got := b.wait(c.n, c.after, c.u); got != c.want {
			t.Errorf("repetition %d: %v at least, expected %v", c.n, got, c.want)
		}
		if got := b.wait(c.n, c.after, 1); got != c.most {
			t.Errorf("repetition %d: %v at most, expected %v", c.n, got, c.most)
		}
	}
}

// Options that are not given are those of the documentation, none of them 0.
func TestDefaults(t *testing.T) {
	o := Options{}.withDefaults()
	if o.backoff != (backoff{500 * time.Millisecond, 30 * time.Second}) || o.MaxTime != DefaultMaxTime || o.CallTimeout != DefaultCallTimeout || o.ToolTimeout != DefaultToolTimeout ||
		o.Concurrency != 1 || o.MaxTurns != DefaultMaxTurns || o.maxResult != defaultMaxResult {
		t.Errorf("%+v", o)
	}
}

// Waiting that would outlast the solve is not begun.
func TestRetryAfterTooLong(t *testing.T) {
	later := &TransientError{Err: errors.New("later"), RetryAfter: time.Hour}
	s := fixture(t, func(s *Solver) {
		s.Options.Retries = 5
		s.Slots.Planner = plannerFunc(func(context.Context, Input) (Planning, error) { return Planning{}, later })
	})
	got := s.Solve(t.Context(), job("q"))
	mustFail(t, got, KindDeadline)
	contains(t, "detail", got.FailureDetail, "later", "1h0m0s", "too late")
	// The caller's deadline is no end of the loop.
	short, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	mustFail(t, s.Solve(short, job("q")), KindUnavailable)
	// The generator has no steps to fall back on.
	s = fixture(t, func(s *Solver) {
		s.Options.Retries = 5
		s.Slots.Generator = generatorFunc(func(context.Context, Input) (string, error) { return "", later })
	})
	mustFail(t, s.Solve(t.Context(), job("q")), KindUnavailable)
}

// Where a slot's pause would outlast the loop, the answer is made from the steps that are there. A tool's ends nothing.
func TestRetryAfterEndsLoop(t *testing.T) {
	later := &TransientError{Err: errors.New("later"), RetryAfter: time.Hour}
	for name, c := range map[string]struct {
		edit  func(*Solver)
		steps int
		note  string
		score float64
	}{
		"planner": {func(s *Solver) {
			planner := s.Slots.Planner
			s.Slots.Planner = plannerFunc(func(ctx context.Context, in Input) (Planning, error) {
				if in.Turn == 2 {
					return Planning{}, later
				}
				return planner.Plan(ctx, in)
			})
		}, 1, "planner: deadline: transient: later", 1},
		"verifier": {func(s *Solver) {
			s.Slots.Verifier = verifierFunc(func(context.Context, Input) (flow.Verdict, string, error) { return "", "", later })
		}, 1, "verifier: deadline: transient: later", 1},
		"executor": {func(s *Solver) {
			executor := s.Slots.Executor
			s.Slots.Executor = executorFunc(func(ctx context.Context, in Input, p Plan, spec ToolSpec) (json.RawMessage, error) {
				if in.Turn == 2 {
					return nil, later
				}
				return executor.Arguments(ctx, in, p, spec)
			})
		}, 2, "executor: deadline: transient: later", 0}, // the fixture answers with the last result
		"tool": {func(s *Solver) {
			n := 0
			s.Tools, _ = NewRegistry(fakeTool{"Search", func(_ context.Context, q string) (Result, error) {
				if n++; n == 2 {
					return Result{}, later
				}
				return Result{Text: "Search of " + q}, nil
			}})
		}, 3, "", 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := fixture(t, func(s *Solver) {
				s.Options.Retries, s.Slots.Verifier = 5, never
				c.edit(s)
			})
			got := s.Solve(t.Context(), job("q"))
			mustScore(t, got, c.score)
			if len(got.Steps) != c.steps {
				t.Fatalf("%d steps, expected %d: %+v", len(got.Steps), c.steps, got.Steps)
			}
			contains(t, "the last note", got.Steps[c.steps-1].VerdictNote, c.note)
			if name == "tool" && got.Steps[1].ErrorKind != KindUnavailable {
				t.Errorf("the tool's step is of kind %q, expected %s", got.Steps[1].ErrorKind, KindUnavailable)
			}
		})
	}
}
