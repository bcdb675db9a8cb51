package rollout

import (
	"context"
	"testing"

	"afctl/flow"
)

// BenchmarkSolve is the cost of orchestration: three turns through model-backed slots, templates, parsers and schema,
// with models and tools that cost nothing. us/turn is to stay below 1,000.
func BenchmarkSolve(b *testing.B) {
	m := modelFunc(func(_ context.Context, r Request) (Completion, error) {
		text := "<answer>x</answer>"
		switch r.Slot {
		case SlotPlanner:
			text = "Justification: because\nContext: none\nSub-Goal: goal\nTool Name: Search"
		case SlotExecutor:
			text = `{"q": "goal"}`
		case SlotVerifier:
			text = `{"why": "more", "verdict": "CONTINUE"}`
		}
		return Completion{Text: text, Turn: fakeTurn(1)}, nil
	})
	s := fixture(b, func(s *Solver) {
		s.Slots = Slots{ModelAnalyst{Model: m}, ModelPlanner{Model: m}, ModelExecutor{Model: m}, ModelVerifier{Model: m}, ModelGenerator{Model: m}}
	})
	b.ReportAllocs()
	turns := 0
	for b.Loop() {
		t := s.Solve(b.Context(), job("q"))
		turns += len(t.Steps)
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(turns), "us/turn")
}

// BenchmarkSolveScripted is the same with scripted slots.
func BenchmarkSolveScripted(b *testing.B) {
	s := fixture(b, func(s *Solver) { s.Slots.Verifier = never })
	b.ReportAllocs()
	for b.Loop() {
		s.Solve(b.Context(), job("q"))
	}
}

func BenchmarkSolveAll(b *testing.B) {
	s := fixture(b, func(s *Solver) { s.Options.Concurrency = 1000 })
	all := jobs(1000)
	b.ReportAllocs()
	for b.Loop() {
		if err := s.SolveAll(b.Context(), all, func(flow.Trajectory) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParsePlan(b *testing.B) {
	const text = "**Justification:** because the city is not known yet\n**Context:** none\n**Sub-Goal:** find the city\n**Tool Name:** `Search`"
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParsePlan(text); err != nil {
			b.Fatal(err)
		}
	}
}
