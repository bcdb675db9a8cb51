package ckpt

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"afctl/flow"
)

// sameBits compares floats by their bits and everything else by value, a nil list being an empty one.
var sameBits = cmp.Options{
	cmpopts.EquateEmpty(),
	cmp.Comparer(func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }),
	cmp.Comparer(func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) }),
}

// anyString draws strings that are not all valid UTF-8, as the output of a tool is not.
func anyString() *rapid.Generator[string] {
	return rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 20), func(b []byte) string { return string(b) }),
		rapid.SampledFrom([]string{"", "\x00", "a\x00b", "2026-01-02 03:04:05"}))
}

// anyFinite draws the numbers that a column can hold: SQLite stores -0 as 0.
func anyFinite() *rapid.Generator[float64] {
	return rapid.Map(rapid.Float64(), func(x float64) float64 { return x + 0 })
}

func anyTrajectory() *rapid.Generator[*flow.Trajectory] {
	tokens := rapid.SliceOfN(rapid.Int32(), 0, 9)
	logProbs := rapid.Map(rapid.SliceOfN(rapid.Uint32(), 0, 9), func(bits []uint32) []float32 {
		values := make([]float32, len(bits))
		for i, b := range bits {
			values[i] = math.Float32frombits(b)
		}
		return values
	})
	turn := rapid.Custom(func(t *rapid.T) flow.Turn {
		u := flow.Turn{Prompt: tokens.Draw(t, "prompt"), Action: tokens.Draw(t, "action"), Stop: flow.StopReason(anyString().Draw(t, "stop"))}
		u.LogProbs = logProbs.Draw(t, "logprobs")
		return u
	})
	step := rapid.Custom(func(t *rapid.T) flow.Step {
		s := func(name string) string { return anyString().Draw(t, name) }
		p := flow.Step{
			Turn: rapid.Int().Draw(t, "turn"), Justification: s("justification"), Context: s("context"), SubGoal: s("sub-goal"),
			Tool: s("tool"), Result: s("result"), ErrorKind: s("error kind"), Error: s("error"), Verdict: flow.Verdict(s("verdict")),
			VerdictNote: s("note"), ToolMS: anyFinite().Draw(t, "tool ms"), TotalMS: anyFinite().Draw(t, "total ms"),
			Tokens: rapid.Int().Draw(t, "tokens"),
		}
		if rapid.Bool().Draw(t, "has args") {
			p.Args = []byte(s("args"))
		}
		return p
	})
	return rapid.Custom(func(t *rapid.T) *flow.Trajectory {
		s := func(name string) string { return anyString().Draw(t, name) }
		r := &flow.Trajectory{
			Task: "q", Group: s("group"), Sample: rapid.IntRange(0, 1<<40).Draw(t, "sample"), Answer: s("answer"),
			Failure: s("failure"), FailureDetail: s("detail"), PolicyVersion: rapid.Int().Draw(t, "version"), AdapterHash: s("hash"),
			Sampling: flow.Sampling{Temperature: math.Abs(rapid.Float64().Draw(t, "temperature")), TopK: rapid.Int().Draw(t, "top k"), Seed: rapid.Uint64().Draw(t, "seed")},
			Analysis: s("analysis"), Retries: rapid.Int().Draw(t, "retries"), TotalMS: anyFinite().Draw(t, "ms"),
		}
		if rapid.Bool().Draw(t, "has reward") {
			x := anyFinite().Draw(t, "reward")
			r.Reward = &x
		}
		for range rapid.IntRange(0, 3).Draw(t, "turns") {
			r.Turns = append(r.Turns, turn.Draw(t, "turn"))
		}
		for range rapid.IntRange(0, 3).Draw(t, "steps") {
			r.Steps = append(r.Steps, step.Draw(t, "step"))
		}
		return r
	})
}

// What is read is what was put, to the bit.
func TestTrajectoryRoundTrip(t *testing.T) {
	s := newStore(t)
	step := 0
	rapid.Check(t, func(rt *rapid.T) {
		want := anyTrajectory().Draw(rt, "trajectory")
		step++
		if err := s.PutTrajectory(t.Context(), step, PhaseTrain, want); err != nil {
			rt.Fatal(err)
		}
		got := collect(rt, s.Trajectories(t.Context(), Query{From: step, To: step + 1}))
		if len(got) != 1 {
			rt.Fatalf("%d trajectories", len(got))
		}
		if diff := cmp.Diff(want, got[0], sameBits); diff != "" {
			rt.Fatal(diff)
		}
	})
}

func TestTaskRoundTrip(t *testing.T) {
	ctx := t.Context()
	n := 0
	s := newStore(t)
	rapid.Check(t, func(rt *rapid.T) {
		n++
		text, list := rapid.String(), rapid.SliceOfN(rapid.String(), 0, 3)
		want := flow.Task{
			ID: fmt.Sprintf("%08d", n), Question: text.Draw(rt, "question"), Scorer: text.Draw(rt, "scorer"),
			Answers: list.Draw(rt, "answers"), Choices: list.Draw(rt, "choices"), Meta: rapid.MapOfN(text, text, 0, 3).Draw(rt, "meta"),
		}
		if rapid.Bool().Draw(rt, "nil") {
			want.Choices, want.Meta = nil, nil
		}
		if err := s.PutTasks(ctx, []flow.Task{want}); err != nil {
			rt.Fatal(err)
		}
		tasks := collect(rt, s.Tasks(ctx))
		if got := tasks[len(tasks)-2]; !cmp.Equal(got, want) { // the last is "q"
			rt.Fatal(cmp.Diff(want, got))
		}
	})
	same := flow.Task{ID: "t", Question: "1+1?", Answers: []string{"2"}, Meta: map[string]string{"a": "1", "b": "2"}}
	other := same
	other.Answers = []string{"3"}
	if err := s.PutTasks(ctx, []flow.Task{same, same}); err != nil {
		t.Errorf("the same task twice: %v", err)
	}
	if err := s.PutTasks(ctx, []flow.Task{{ID: "new"}, other}); err == nil || !strings.Contains(err.Error(), `"t"`) {
		t.Errorf("a task with other content: error %v, expected one that names it", err)
	}
	for _, task := range collect(t, s.Tasks(ctx)) {
		if task.ID == "new" {
			t.Error("a task of a call that failed is in the store")
		}
	}
}
