package rollout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"afctl/flow"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// clocks are the fields of a trajectory that a clock fills.
var clocks = []cmp.Option{cmpopts.IgnoreFields(flow.Trajectory{}, "TotalMS"), cmpopts.IgnoreFields(flow.Step{}, "ToolMS", "TotalMS")}

// One whole solve: what each slot is given, in which order, and what is recorded.
func TestSolveLoop(t *testing.T) {
	var log []string
	saw := func(slot string, in Input) {
		log = append(log, fmt.Sprintf("%s %d/%d %d steps, analysis %q", slot, in.Turn, in.MaxTurns, len(in.Memory.Steps()), in.Analysis))
	}
	seeds := map[uint64]string{}
	s := fixture(t, func(s *Solver) {
		s.Options.MaxTurns = 5
		s.Slots.Analyst = analystFunc(func(_ context.Context, in Input) (string, error) {
			saw("analyst", in)
			return "look it up", nil
		})
		planner, executor, generator := s.Slots.Planner, s.Slots.Executor, s.Slots.Generator
		s.Slots.Planner = plannerFunc(func(ctx context.Context, in Input) (Planning, error) {
			saw("planner", in)
			if first, twice := seeds[in.Seed]; twice {
				t.Errorf("turn %d has the seed of %s", in.Turn, first)
			}
			seeds[in.Seed] = fmt.Sprint("turn ", in.Turn)
			p, err := planner.Plan(ctx, in)
			p.Sampling = flow.Sampling{Temperature: 0.5, MaxTokens: 99}
			return p, err
		})
		s.Slots.Executor = executorFunc(func(ctx context.Context, in Input, p Plan, spec ToolSpec) (json.RawMessage, error) {
			saw("executor", in)
			if spec.Name != "Search" || p.Context != "c" {
				t.Errorf("executor was given %+v and the spec of %s", p, spec.Name)
			}
			return executor.Arguments(ctx, in, p, spec)
		})
		s.Slots.Verifier = verifierFunc(func(_ context.Context, in Input) (flow.Verdict, string, error) {
			saw("verifier", in)
			if in.Turn == 2 {
				return flow.VerdictStop, "enough", nil
			}
			return flow.VerdictContinue, "more", nil
		})
		s.Slots.Generator = generatorFunc(func(ctx context.Context, in Input) (string, error) {
			saw("generator", in)
			return generator.Answer(ctx, in)
		})
	})
	got := s.Solve(t.Context(), Job{Task: flow.Task{ID: "q", Question: "what?", Answers: []string{"Search of goal"}}, Group: "g", Sample: 3, Seed: 11})
	wantLog := []string{
		`analyst 0/5 0 steps, analysis ""`,
		`planner 1/5 0 steps, analysis "look it up"`, `executor 1/5 0 steps, analysis "look it up"`, `verifier 1/5 1 steps, analysis "look it up"`,
		`planner 2/5 1 steps, analysis "look it up"`, `executor 2/5 1 steps, analysis "look it up"`, `verifier 2/5 2 steps, analysis "look it up"`,
		`generator 2/5 2 steps, analysis "look it up"`,
	}
	if d := cmp.Diff(wantLog, log); d != "" {
		t.Errorf("calls (-want +got):\n%s", d)
	}
	step := func(turn int, v flow.Verdict, note string) flow.Step {
		return flow.Step{Turn: turn, Context: "c", SubGoal: "goal", Tool: "Search", Args: json.RawMessage(`{"q":"goal"}`), Result: "Search of goal", Verdict: v, VerdictNote: note, Tokens: 4}
	}
	one := 1.0
	want := flow.Trajectory{
		Task: "q", Group: "g", Sample: 3, Answer: "Search of goal", Reward: &one, PolicyVersion: 7, AdapterHash: "abc", Analysis: "look it up",
		Sampling: flow.Sampling{Temperature: 0.5, MaxTokens: 99, Seed: 11},
		Turns:    []flow.Turn{*fakeTurn(1), *fakeTurn(2)},
		Steps:    []flow.Step{step(1, flow.VerdictContinue, "more"), step(2, flow.VerdictStop, "enough")},
	}
	if d := cmp.Diff(want, got, clocks...); d != "" {
		t.Errorf("trajectory (-want +got):\n%s", d)
	}
	if _, err := json.Marshal(got); err != nil {
		t.Error(err)
	}
}

// Whatever goes wrong within a step is a step, of a kind, that the planner sees at its next turn.
func TestStepErrors(t *testing.T) {
	tool := func(err error) func(*Solver) {
		return func(s *Solver) {
			s.Tools, _ = NewRegistry(fakeTool{"Search", func(context.Context, string) (Result, error) { return Result{}, err }})
		}
	}
	arguments := func(raw string, err error) func(*Solver) {
		return func(s *Solver) {
			s.Slots.Executor = executorFunc(func(context.Context, Input, Plan, ToolSpec) (json.RawMessage, error) {
				return json.RawMessage(raw), err
			})
		}
	}
	for name, c := range map[string]struct {
		edit      func(*Solver)
		kind, see string
	}{
		"parse": {func(s *Solver) {
			s.Slots.Planner = plannerFunc(func(context.Context, Input) (Planning, error) {
				return Planning{ParseError: "no tool", Completion: Completion{Turn: fakeTurn(1)}}, nil
			})
		}, KindParse, "Error (parse): no tool"},
		"unknown tool": {func(s *Solver) { s.Slots.Planner = says(plan("Serch", "goal")) }, KindUnknownTool, `no tool "Serch"; there are: Search, Web_Search`},
		"bad schema":   {arguments(`{"q": 3}`, nil), KindBadArgs, "q: got number, want string"},
		"bad json":     {arguments(`{"q": `, nil), KindBadArgs, "no JSON object"},
		"no arguments": {arguments(``, nil), KindBadArgs, "no JSON"},
		"executor":     {arguments(``, &ToolError{KindBadArgs, "no address in the sub-goal"}), KindBadArgs, "Error (bad_args): no address in the sub-goal"},
		"not found":    {tool(&ToolError{KindNotFound, "no article"}), KindNotFound, "Error (not_found): no article"},
		"own kind":     {tool(fmt.Errorf("wrapped: %w", &ToolError{"division_by_zero", "1/0"})), "division_by_zero", "Error (division_by_zero): 1/0"},
		"plain error":  {tool(errors.New("disk on fire")), KindFailed, "Error (failed): disk on fire"},
		"overload":     {tool(errOverload), KindUnavailable, "Error (unavailable): transient: overloaded"},
		"timeout": {func(s *Solver) {
			s.Options.ToolTimeout = time.Millisecond
			s.Tools, _ = NewRegistry(fakeTool{"Search", func(ctx context.Context, _ string) (Result, error) {
				<-ctx.Done()
				return Result{}, ctx.Err()
			}})
		}, KindTimeout, "Error (timeout): no result within 1ms"},
		"timeout hidden": {func(s *Solver) {
			s.Options.ToolTimeout = time.Millisecond
			s.Tools, _ = NewRegistry(fakeTool{"Search", func(ctx context.Context, _ string) (Result, error) {
				<-ctx.Done()
				return Result{}, errors.New("connection closed")
			}})
		}, KindTimeout, "no result within 1ms"},
	} {
		t.Run(name, func(t *testing.T) {
			s := fixture(t, c.edit)
			s.Slots.Verifier = never
			s.Options.MaxTurns = 2
			planner, seen := s.Slots.Planner, ""
			s.Slots.Planner = plannerFunc(func(ctx context.Context, in Input) (Planning, error) {
				seen = in.Memory.Render(0, nil)
				return planner.Plan(ctx, in)
			})
			got := s.Solve(t.Context(), job("q"))
			mustScore(t, got, 0)
			if len(got.Steps) != 2 || got.Steps[0].ErrorKind != c.kind || got.Steps[1].ErrorKind != c.kind || len(got.Turns) != 2 {
				t.Fatalf("steps %+v, %d turns recorded; expected 2 of kind %s", got.Steps, len(got.Turns), c.kind)
			}
			if _, err := json.Marshal(got); err != nil {
				t.Errorf("the trajectory cannot be stored: %v", err)
			}
			contains(t, "the planner's memory at turn 2", seen, c.see)
		})
	}
}

// What ends a solve leaves no reward, and a kind.
func TestSolveFailures(t *testing.T) {
	boom := errors.New("no such model")
	turnOf := func(c Completion) func(*Solver) {
		return func(s *Solver) {
			s.Slots.Planner = plannerFunc(func(context.Context, Input) (Planning, error) {
				return Planning{Plan: plan("Search", "goal"), Completion: c}, nil
			})
		}
	}
	score := func(f Scorer) func(*Solver) { return func(s *Solver) { s.Score = f } }
	for name, c := range map[string]struct {
		edit  func(*Solver)
		kind  string
		steps int
	}{
		"analyst": {func(s *Solver) {
			s.Slots.Analyst = analystFunc(func(context.Context, Input) (string, error) { return "", boom })
		}, KindModel, 0},
		"planner": {func(s *Solver) {
			s.Slots.Planner = plannerFunc(func(context.Context, Input) (Planning, error) { return Planning{}, boom })
		}, KindModel, 0},
		"executor": {func(s *Solver) {
			s.Slots.Executor = executorFunc(func(context.Context, Input, Plan, ToolSpec) (json.RawMessage, error) { return nil, boom })
		}, KindModel, 1},
		"verifier": {func(s *Solver) {
			s.Slots.Verifier = verifierFunc(func(context.Context, Input) (flow.Verdict, string, error) { return "", "", boom })
		}, KindModel, 1},
		"generator": {func(s *Solver) {
			s.Slots.Generator = generatorFunc(func(context.Context, Input) (string, error) { return "", boom })
		}, KindModel, 1},
		"overload": {func(s *Solver) {
			s.Slots.Generator = generatorFunc(func(context.Context, Input) (string, error) { return "", errOverload })
		}, KindUnavailable, 1},
		"call timeout": {func(s *Solver) {
			s.Options.CallTimeout = time.Millisecond
			s.Slots.Planner = plannerFunc(func(ctx context.Context, _ Input) (Planning, error) {
				<-ctx.Done()
				return Planning{}, ctx.Err()
			})
		}, KindTimeout, 0},
		"scorer":     {score(func(context.Context, flow.Task, string) (float64, error) { return 1, boom }), KindScore, 1},
		"scorer NaN": {score(func(context.Context, flow.Task, string) (float64, error) { return math.NaN(), nil }), KindScore, 1},
		"scorer 2":   {score(func(context.Context, flow.Task, string) (float64, error) { return 2, nil }), KindScore, 1},
		"planner panics": {func(s *Solver) {
			s.Slots.Planner = plannerFunc(func(context.Context, Input) (Planning, error) { panic("bug") })
		}, KindInternal, 0},
		"scorer panics":    {score(func(context.Context, flow.Task, string) (float64, error) { panic("bug") }), KindInternal, 1},
		"no ids":           {turnOf(Completion{Text: "only text"}), KindUnrecorded, 0},
		"no action":        {turnOf(Completion{Turn: &flow.Turn{Prompt: []int32{1}}}), KindUnrecorded, 0},
		"no prompt":        {turnOf(Completion{Turn: &flow.Turn{Action: []int32{1}}}), KindUnrecorded, 0},
		"log-probs differ": {turnOf(Completion{Turn: &flow.Turn{Prompt: []int32{1}, Action: []int32{1, 2}, LogProbs: []float32{-1}}}), KindUnrecorded, 0},
		"no planner":       {func(s *Solver) { s.Slots.Planner = nil }, KindInvalid, 0},
		"negative option":  {func(s *Solver) { s.Options.MaxTurns = -1 }, KindInvalid, 0},
	} {
		t.Run(name, func(t *testing.T) {
			got := fixture(t, c.edit).Solve(t.Context(), job("q"))
			mustFail(t, got, c.kind)
			if len(got.Steps) != c.steps {
				t.Errorf("%d steps, expected %d", len(got.Steps), c.steps)
			}
		})
	}
}

// A tool that panics is a fault of the program, not of the plan.
func TestToolPanic(t *testing.T) {
	got := fixture(t, func(s *Solver) {
		s.Tools, _ = NewRegistry(fakeTool{"Search", func(context.Context, string) (Result, error) { panic("bug") }})
	}).Solve(t.Context(), job("q"))
	mustFail(t, got, KindInternal)
	contains(t, "detail", got.FailureDetail, "tool", "panic: bug")
}

// All turns of a trajectory come from one policy.
func TestPolicyChange(t *testing.T) {
	for name, second := range map[string]Completion{
		"version": {Turn: fakeTurn(2), PolicyVersion: 2, AdapterHash: "a"},
		"adapter": {Turn: fakeTurn(2), PolicyVersion: 1, AdapterHash: "b"},
	} {
		t.Run(name, func(t *testing.T) {
			got := fixture(t, func(s *Solver) {
				s.Slots.Verifier = never
				s.Slots.Planner = plannerFunc(func(_ context.Context, in Input) (Planning, error) {
					c := Completion{Turn: fakeTurn(1), PolicyVersion: 1, AdapterHash: "a"}
					if in.Turn == 2 {
						c = second
					}
					return Planning{Plan: plan("Search", "goal"), Completion: c}, nil
				})
			}).Solve(t.Context(), job("q"))
			mustFail(t, got, KindPolicyChanged)
		})
	}
}

// Evaluation may run on a model that gives only text.
func TestTextOnlyPlanner(t *testing.T) {
	got := fixture(t, func(s *Solver) {
		s.Options.Record = false
		s.Slots.Planner = plannerFunc(func(context.Context, Input) (Planning, error) { return Planning{Plan: plan("Search", "goal")}, nil })
	}).Solve(t.Context(), job("q"))
	mustScore(t, got, 1)
	if len(got.Turns) != 0 {
		t.Errorf("%d turns recorded", len(got.Turns))
	}
}

// Time that runs out ends the loop, and the answer is made from the steps that are there; without one, the solve fails.
func TestMaxTime(t *testing.T) {
	hangs := func(turn int) func(*Solver) {
		return func(s *Solver) {
			s.Options.MaxTime, s.Options.MaxTurns = 30*time.Millisecond, 5
			s.Slots.Verifier = never
			planner := s.Slots.Planner
			s.Slots.Planner = plannerFunc(func(ctx context.Context, in Input) (Planning, error) {
				if in.Turn == turn {
					<-ctx.Done()
					return Planning{}, ctx.Err()
				}
				return planner.Plan(ctx, in)
			})
		}
	}
	got := fixture(t, hangs(2)).Solve(t.Context(), job("q"))
	mustScore(t, got, 1)
	if len(got.Steps) != 1 || len(got.Turns) != 1 {
		t.Errorf("%d steps, %d turns; expected 1", len(got.Steps), len(got.Turns))
	}
	contains(t, "last note", got.Steps[0].VerdictNote, "time of the solve")
	mustFail(t, fixture(t, hangs(1)).Solve(t.Context(), job("q")), KindDeadline)

	// Neither is a first step that was cut anything to answer from.
	mustFail(t, fixture(t, func(s *Solver) {
		s.Options.MaxTime = 30 * time.Millisecond
		s.Tools, _ = NewRegistry(fakeTool{"Search", func(ctx context.Context, _ string) (Result, error) {
			<-ctx.Done()
			return Result{}, ctx.Err()
		}})
	}).Solve(t.Context(), job("q")), KindDeadline)

	// A tool that the solve's time cuts: its plan is recorded, with the step.
	got = fixture(t, func(s *Solver) {
		s.Options.MaxTime, s.Options.MaxTurns = 30*time.Millisecond, 5
		s.Slots.Verifier = never
		calls := 0
		s.Tools, _ = NewRegistry(fakeTool{"Search", func(ctx context.Context, q string) (Result, error) {
			if calls++; calls == 2 {
				<-ctx.Done()
				return Result{}, ctx.Err()
			}
			return Result{Text: "Search of " + q}, nil
		}})
	}).Solve(t.Context(), job("q"))
	mustScore(t, got, 0)
	if len(got.Steps) != 2 || len(got.Turns) != 2 || got.Steps[1].ErrorKind != KindDeadline {
		t.Errorf("%d turns, steps %+v", len(got.Turns), got.Steps)
	}
}

// A solve that the caller gives up is neither right nor wrong.
func TestSolveCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	got := fixture(t, func(s *Solver) {
		s.Slots.Generator = generatorFunc(func(ctx context.Context, _ Input) (string, error) {
			cancel()
			<-ctx.Done()
			return "", ctx.Err()
		})
	}).Solve(ctx, job("q"))
	mustFail(t, got, KindCanceled)
	mustFail(t, fixture(t, nil).Solve(ctx, job("q")), KindCanceled)
	// The caller's deadline is the caller's doing, too.
	late, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	mustFail(t, fixture(t, func(s *Solver) {
		s.Slots.Generator = generatorFunc(func(ctx context.Context, _ Input) (string, error) {
			<-ctx.Done()
			return "", ctx.Err()
		})
	}).Solve(late, job("q")), KindCanceled)
}

// Long and broken text of tools is bounded, whole UTF-8, and marked where it was cut.
func TestResultBounds(t *testing.T) {
	got := fixture(t, func(s *Solver) {
		s.Options.maxResult = 100
		s.Tools, _ = NewRegistry(fakeTool{"Search", func(context.Context, string) (Result, error) {
			return Result{Text: "\xff" + strings.Repeat("é", 1000)}, nil
		}})
	}).Solve(t.Context(), job("q"))
	mustScore(t, got, 0)
	r := got.Steps[0].Result
	if len(r) > 150 || !strings.HasSuffix(r, " [1902 bytes cut]") || strings.ToValidUTF8(r, "") != r {
		t.Errorf("%d bytes: %q", len(r), r)
	}
}

// Of a long answer the end stays, where it says what it comes to; the mark of the cut holds nothing to be taken for that.
func TestAnswerBounds(t *testing.T) {
	var scored string
	got := fixture(t, func(s *Solver) {
		s.Options.maxResult = 101
		s.Slots.Generator = generatorFunc(func(context.Context, Input) (string, error) {
			return "no: " + strings.Repeat("é", 1000) + " the answer is \xff42", nil
		})
		s.Score = func(_ context.Context, _ flow.Task, answer string) (float64, error) {
			scored = answer
			return 1, nil
		}
	}).Solve(t.Context(), job("q"))
	mustScore(t, got, 1)
	rest, marked := strings.CutPrefix(got.Answer, "[cut] ")
	if !marked || len(rest) > 103 || !strings.HasSuffix(rest, "é the answer is \uFFFD42") || strings.Contains(rest, "no: ") || scored != got.Answer {
		t.Errorf("%d bytes: %q; scored %q", len(got.Answer), got.Answer, scored)
	}
}

// An answer of bytes that are no text is cut as any other.
func TestAnswerOfNoText(t *testing.T) {
	if got := lastBytes(strings.Repeat("\x80", 10), 5); got != "[cut] " {
		t.Errorf("%q", got)
	}
}

// patientTool asks for a day.
type patientTool struct{ fakeTool }

func (t patientTool) Spec() ToolSpec {
	spec := t.fakeTool.Spec()
	spec.Timeout = 24 * time.Hour
	return spec
}

// A tool that asks for more time than others has it.
func TestToolTimeout(t *testing.T) {
	var left time.Duration
	tool := echo("Search")
	tool.run = func(ctx context.Context, _ string) (Result, error) {
		end, _ := ctx.Deadline()
		left = time.Until(end)
		return Result{Text: "x"}, nil
	}
	fixture(t, func(s *Solver) {
		s.Options.MaxTime, s.Options.ToolTimeout = 48*time.Hour, 48*time.Hour
		s.Tools, _ = NewRegistry(patientTool{tool})
	}).Solve(t.Context(), job("q"))
	if left <= 0 || left > 24*time.Hour {
		t.Errorf("%v left", left)
	}
}

// Without a verifier every turn is used, and no step has a verdict.
func TestNoVerifier(t *testing.T) {
	got := fixture(t, func(s *Solver) {
		s.Options.MaxTurns, s.Slots.Verifier = 3, nil
	}).Solve(t.Context(), job("q"))
	if len(got.Turns) != 3 || got.Failure != "" || slices.ContainsFunc(got.Steps, func(s flow.Step) bool { return s.Verdict != "" }) {
		t.Errorf("%d turns, failure %q, steps %+v", len(got.Turns), got.Failure, got.Steps)
	}
}

func TestSolverValidate(t *testing.T) {
	err := (&Solver{Options: Options{Retries: -1, CallTimeout: -time.Second}}).Validate()
	if err == nil {
		t.Fatal("an empty solver is taken")
	}
	contains(t, "error", err.Error(), "Planner", "Executor", "Generator", "Tools", "Score", "Retries is -1", "CallTimeout")
}
