package rollout

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"afctl/flow"
)

// Scripted slots: functions behind the interfaces.
type (
	analystFunc   func(context.Context, Input) (string, error)
	plannerFunc   func(context.Context, Input) (Planning, error)
	executorFunc  func(context.Context, Input, Plan, ToolSpec) (json.RawMessage, error)
	verifierFunc  func(context.Context, Input) (flow.Verdict, string, error)
	generatorFunc func(context.Context, Input) (string, error)
	modelFunc     func(context.Context, Request) (Completion, error)
)

func (f analystFunc) Analyze(ctx context.Context, in Input) (string, error) { return f(ctx, in) }
func (f plannerFunc) Plan(ctx context.Context, in Input) (Planning, error)  { return f(ctx, in) }
func (f executorFunc) Arguments(ctx context.Context, in Input, p Plan, t ToolSpec) (json.RawMessage, error) {
	return f(ctx, in, p, t)
}
func (f verifierFunc) Verify(ctx context.Context, in Input) (flow.Verdict, string, error) {
	return f(ctx, in)
}
func (f generatorFunc) Answer(ctx context.Context, in Input) (string, error) { return f(ctx, in) }
func (f modelFunc) Complete(ctx context.Context, r Request) (Completion, error) {
	return f(ctx, r)
}

// fakeTool has one argument, q.
type fakeTool struct {
	name string
	run  func(ctx context.Context, q string) (Result, error)
}

const fakeSchema = `{"type":"object","properties":{"q":{"type":"string","minLength":1},"k":{"type":"integer"}},"required":["q"],"additionalProperties":false}`

func (t fakeTool) Spec() ToolSpec {
	return ToolSpec{Name: t.name, Description: "Finds " + t.name + ".", Schema: json.RawMessage(fakeSchema)}
}

func (t fakeTool) Execute(ctx context.Context, args json.RawMessage) (Result, error) {
	var a struct{ Q string }
	if err := json.Unmarshal(args, &a); err != nil {
		return Result{}, err
	}
	return t.run(ctx, a.Q)
}

// echo is a tool that gives back its argument.
func echo(name string) fakeTool {
	return fakeTool{name, func(_ context.Context, q string) (Result, error) { return Result{Text: name + " of " + q}, nil }}
}

// says is a planner that goes through plans by turn; after the last it repeats it.
func says(plans ...Plan) plannerFunc {
	return func(_ context.Context, in Input) (Planning, error) {
		p := plans[min(in.Turn, len(plans))-1]
		return Planning{Plan: p, Completion: Completion{Turn: fakeTurn(in.Turn), PolicyVersion: 7, AdapterHash: "abc"}}, nil
	}
}

func fakeTurn(n int) *flow.Turn {
	return &flow.Turn{Prompt: []int32{1, int32(n)}, Action: []int32{5, 6}, LogProbs: []float32{-1, -2}, Stop: flow.StopEOS}
}

func plan(tool, goal string) Plan { return Plan{Context: "c", SubGoal: goal, Tool: tool} }

// fixture is a solver whose every part works: it plans with Search, passes the sub-goal on as the argument, stops after
// the first step, and answers with the last result.
func fixture(t testing.TB, edit func(*Solver)) *Solver {
	t.Helper()
	tools, err := NewRegistry(echo("Search"), echo("Web_Search"))
	if err != nil {
		t.Fatal(err)
	}
	s := &Solver{
		Tools: tools,
		Slots: Slots{
			Planner: says(plan("Search", "goal")),
			Executor: executorFunc(func(_ context.Context, _ Input, p Plan, _ ToolSpec) (json.RawMessage, error) {
				return json.RawMessage(fmt.Sprintf(`{"q": %q}`, p.SubGoal)), nil
			}),
			Verifier:  verifierFunc(func(context.Context, Input) (flow.Verdict, string, error) { return flow.VerdictStop, "", nil }),
			Generator: generatorFunc(func(_ context.Context, in Input) (string, error) { return lastResult(in), nil }),
		},
		Score: func(_ context.Context, task flow.Task, answer string) (float64, error) {
			for _, a := range task.Answers {
				if a == answer {
					return 1, nil
				}
			}
			return 0, nil
		},
		Options: Options{Record: true, backoff: backoff{initial: time.Microsecond, max: time.Microsecond}},
	}
	if edit != nil {
		edit(s)
	}
	return s
}

func lastResult(in Input) string {
	steps := in.Memory.Steps()
	if len(steps) == 0 {
		return ""
	}
	return steps[len(steps)-1].Result
}

// never is a verifier that goes on.
var never = verifierFunc(func(context.Context, Input) (flow.Verdict, string, error) { return flow.VerdictContinue, "", nil })

func job(id string) Job {
	return Job{Task: flow.Task{ID: id, Question: "what?", Answers: []string{"Search of goal"}}, Seed: 1}
}

// flaky fails a number of times before it lets a call through.
type flaky struct {
	left atomic.Int64
	err  error
}

func newFlaky(n int, err error) *flaky {
	f := &flaky{err: err}
	f.left.Store(int64(n))
	return f
}

func (f *flaky) try() error {
	if f.left.Add(-1) >= 0 {
		return f.err
	}
	return nil
}

var errOverload = &TransientError{Err: errors.New("overloaded")}

// noLeaks fails if the test leaves goroutines of a solver behind.
func noLeaks(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		var stacks []byte
		for range 200 {
			buf := make([]byte, 1<<22)
			stacks = buf[:runtime.Stack(buf, true)]
			if !bytes.Contains(stacks, []byte("afctl/rollout.(*Solver)")) {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
		t.Errorf("goroutines left behind:\n%.4000s", stacks)
	})
}

func mustFail(t *testing.T, tr flow.Trajectory, kind string) {
	t.Helper()
	if tr.Failure != kind || tr.Reward != nil || tr.FailureDetail == "" {
		t.Fatalf("failure %q (%s), reward %v; expected failure %q without a reward", tr.Failure, tr.FailureDetail, tr.Reward, kind)
	}
}

func mustScore(t *testing.T, tr flow.Trajectory, reward float64) {
	t.Helper()
	if tr.Failed() {
		t.Fatalf("failed: %s: %s", tr.Failure, tr.FailureDetail)
	}
	if *tr.Reward != reward {
		t.Fatalf("reward %v for %q, expected %v", *tr.Reward, tr.Answer, reward)
	}
}

func contains(t *testing.T, what, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%s lacks %q:\n%s", what, p, text)
		}
	}
}
