package rollout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"afctl/flow"
)

// Faults of the original system (lupantech/AgentFlow at b940064), each a test that its behaviour fails.

// The original keeps one memory per worker and never clears it: steps of one question stand in the prompts of the next.
func TestOriginalMemoryOfOtherQuestions(t *testing.T) {
	s := fixture(t, func(s *Solver) {
		s.Slots.Verifier = never
		s.Slots.Planner = plannerFunc(func(_ context.Context, in Input) (Planning, error) {
			if text := in.Memory.Render(0, nil); len(in.Memory.Steps()) != in.Turn-1 || strings.Contains(strings.ReplaceAll(text, in.Question, ""), "secret") {
				t.Errorf("turn %d of %q sees\n%s", in.Turn, in.Question, text)
			}
			return Planning{Plan: plan("Search", in.Question), Completion: Completion{Turn: fakeTurn(1)}}, nil
		})
	})
	for i := range 3 {
		s.Solve(t.Context(), Job{Task: flow.Task{ID: "q", Question: fmt.Sprintf("secret of %d", i)}})
	}
}

// The original trains whatever call reached the training server: here the same model serves every slot and a tool, all
// of its replies carry token ids, and only the planner's are recorded.
func TestOriginalTrainsEveryCall(t *testing.T) {
	id := map[string]int32{SlotPlanner: 1, SlotExecutor: 2, SlotVerifier: 3, SlotGenerator: 4, SlotAnalyst: 5, "tool": 6}
	m := modelFunc(func(_ context.Context, r Request) (Completion, error) {
		text := map[string]string{
			SlotPlanner: "Sub-Goal: goal\nTool Name: Search", SlotExecutor: `{"q":"goal"}`, SlotVerifier: "CONTINUE", SlotGenerator: "x", SlotAnalyst: "y", "tool": "z",
		}[r.Slot]
		return Completion{Text: text, Turn: &flow.Turn{Prompt: []int32{id[r.Slot]}, Action: []int32{id[r.Slot]}}}, nil
	})
	s := fixture(t, func(s *Solver) {
		s.Slots = Slots{ModelAnalyst{Model: m}, ModelPlanner{Model: m}, ModelExecutor{Model: m}, ModelVerifier{Model: m}, ModelGenerator{Model: m}}
		s.Tools, _ = NewRegistry(fakeTool{"Search", func(ctx context.Context, q string) (Result, error) {
			c, err := m.Complete(ctx, Request{Slot: "tool"})
			return Result{Text: c.Text}, err
		}})
	})
	got := s.Solve(t.Context(), job("q"))
	mustScore(t, got, 0)
	if len(got.Turns) != got.Steps[len(got.Steps)-1].Turn || len(got.Turns) != 3 {
		t.Fatalf("%d turns recorded of 3 planner calls", len(got.Turns))
	}
	for _, turn := range got.Turns {
		if turn.Action[0] != id[SlotPlanner] {
			t.Errorf("a call of slot %d was recorded", turn.Action[0])
		}
	}
}

// The original runs a tool's code twice, and its time limit never interrupts.
func TestOriginalToolRunsTwiceWithoutTimeout(t *testing.T) {
	calls := 0
	s := fixture(t, func(s *Solver) {
		s.Options.ToolTimeout = 10 * time.Millisecond
		s.Tools, _ = NewRegistry(fakeTool{"Search", func(ctx context.Context, _ string) (Result, error) {
			calls++
			<-ctx.Done() // a loop that only its limit ends
			return Result{}, ctx.Err()
		}})
	})
	got := s.Solve(t.Context(), job("q"))
	if calls != 1 || got.Steps[0].ErrorKind != KindTimeout {
		t.Errorf("%d calls, step %+v", calls, got.Steps[0])
	}
}

// The original runs the executor's text in its own process, with its keys, and takes a call of several lines for none.
func TestOriginalExecutesModelText(t *testing.T) {
	t.Setenv("SECRET_KEY", "s3cret")
	for text, want := range map[string]string{
		"execution = tool.execute(\n    q=\"goal\"\n)":                                            "Search of goal",
		"import os\nexecution = tool.execute(q=os.environ[\"SECRET_KEY\"])":                       "",
		"execution = tool.execute(q=open(\"/etc/passwd\").read())":                                "",
		"execution = tool.execute(q=(lambda: __import__(\"os\").environ[\"SECRET_KEY\"])())":      "",
		"load(\"x.star\", \"q\")\nexecution = tool.execute(q=q)":                                  "",
		"execution = tool.execute(q=\"goal\")\nexecution = tool.execute(q=open(\"/etc/passwd\"))": "(only the first of 2 calls was made) Search of goal",
	} {
		m := modelFunc(func(context.Context, Request) (Completion, error) { return Completion{Text: text}, nil })
		got := fixture(t, func(s *Solver) { s.Slots.Executor = ModelExecutor{Model: m} }).Solve(t.Context(), job("q"))
		step := got.Steps[0]
		if step.Result != want || want == "" && step.ErrorKind != KindBadArgs || strings.Contains(step.Error, "s3cret") {
			t.Errorf("%s\nbecame %+v", text, step)
		}
	}
}

// In the original, a question with braces selects nothing, because its prompts are format strings.
func TestOriginalBracesInQuestion(t *testing.T) {
	seen := map[string]int{}
	m := modelFunc(func(_ context.Context, r Request) (Completion, error) {
		for _, msg := range r.Messages {
			seen[r.Slot] += strings.Count(msg.Content, hostile)
		}
		return Completion{Text: map[string]string{
			SlotPlanner: "Context: " + hostile + "\nSub-Goal: " + hostile + "\nTool Name: Search", SlotVerifier: "STOP", SlotGenerator: "<answer>" + hostile + "</answer>",
			SlotExecutor: `{"q": ` + string(mustJSON(hostile)) + `}`,
		}[r.Slot], Turn: fakeTurn(1)}, nil
	})
	s := fixture(t, func(s *Solver) {
		s.Slots = Slots{ModelAnalyst{Model: m}, ModelPlanner{Model: m}, ModelExecutor{Model: m}, ModelVerifier{Model: m}, ModelGenerator{Model: m}}
	})
	got := s.Solve(t.Context(), Job{Task: flow.Task{ID: "q", Question: hostile, Answers: []string{hostile}}})
	mustScore(t, got, 1)
	if got.Steps[0].Result != "Search of "+hostile {
		t.Errorf("the tool was asked %q", got.Steps[0].Result)
	}
	for slot, least := range map[string]int{SlotAnalyst: 1, SlotPlanner: 1, SlotExecutor: 3, SlotVerifier: 3, SlotGenerator: 3} {
		if seen[slot] < least {
			t.Errorf("%s saw the text %d times, expected %d", slot, seen[slot], least)
		}
	}
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// In the original, engines return errors as values, so that retries never happen and an error text becomes an answer.
func TestOriginalErrorsAsValues(t *testing.T) {
	calls := 0
	m := modelFunc(func(context.Context, Request) (Completion, error) {
		calls++
		if calls < 3 {
			return Completion{}, statusError(429, 0, `{"error": "rate limit"}`)
		}
		return Completion{Text: "<answer>Search of goal</answer>"}, nil
	})
	s := fixture(t, func(s *Solver) {
		s.Options.Retries = 2
		s.Slots.Generator = ModelGenerator{Model: m}
	})
	mustScore(t, s.Solve(t.Context(), job("q")), 1)
	if calls != 3 {
		t.Errorf("%d calls, expected 3", calls)
	}
	calls = -100
	got := s.Solve(t.Context(), job("q"))
	mustFail(t, got, KindUnavailable)
	if got.Answer != "" {
		t.Errorf("the error became the answer %q", got.Answer)
	}
}

// In the original, "do not stop" stops, and an error of the verifier's engine ends the solve with a type error.
func TestOriginalVerifierReadsStop(t *testing.T) {
	for _, text := range []string{"Do not stop.", `{"error": "RateLimitError", "message": "stop sending requests"}`} {
		s := fixture(t, func(s *Solver) {
			s.Slots.Verifier = ModelVerifier{Model: modelFunc(func(context.Context, Request) (Completion, error) { return Completion{Text: text}, nil })}
		})
		got := s.Solve(t.Context(), job("q"))
		mustScore(t, got, 1)
		if len(got.Steps) != DefaultMaxTurns || got.Steps[0].Verdict != flow.VerdictContinue {
			t.Errorf("%q: %d turns, verdict %s", text, len(got.Steps), got.Steps[0].Verdict)
		}
	}
}

// In the original, a parse failure gives the next modules nothing at all; a tool named in markdown or with words after
// it is no tool; and none of it is told to the planner.
func TestOriginalPlannerParser(t *testing.T) {
	for _, text := range []string{
		"Sub-Goal: goal\nTool Name: `Search`", "Sub-Goal: goal\nTool Name: Search\nIt is the best tool.", "### Sub-Goal\ngoal\n### Tool Name\nSearch",
		"3. Sub-Goal: goal\n4. Tool Name: Search",
	} {
		s := fixture(t, func(s *Solver) {
			s.Slots.Planner = ModelPlanner{Model: modelFunc(func(context.Context, Request) (Completion, error) {
				return Completion{Text: text, Turn: fakeTurn(1)}, nil
			})}
		})
		mustScore(t, s.Solve(t.Context(), job("q")), 1)
	}
	var second string
	s := fixture(t, func(s *Solver) {
		s.Slots.Planner = ModelPlanner{Model: modelFunc(func(_ context.Context, r Request) (Completion, error) {
			second = r.Messages[1].Content
			return Completion{Text: `{"error": "rate limit"}`, Turn: fakeTurn(1)}, nil
		})}
		s.Slots.Verifier = never
	})
	got := s.Solve(t.Context(), job("q"))
	mustScore(t, got, 0)
	if got.Steps[0].ErrorKind != KindParse || len(got.Turns) != len(got.Steps) {
		t.Errorf("steps %+v", got.Steps)
	}
	contains(t, "the planner's next prompt", second, "Error (parse)", `no "Tool Name" section`)
}

// A tool error of a kind is an error, however it is wrapped on the way.
func TestOriginalToolErrorsAsText(t *testing.T) {
	s := fixture(t, func(s *Solver) {
		s.Tools, _ = NewRegistry(fakeTool{"Search", func(context.Context, string) (Result, error) {
			return Result{Text: "Error generating response"}, fmt.Errorf("search: %w", errors.New("no index"))
		}})
	})
	got := s.Solve(t.Context(), job("q"))
	if step := got.Steps[0]; step.ErrorKind != KindFailed || step.Result != "" {
		t.Errorf("step %+v", step)
	}
}
