package eval

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"afctl/flow"
)

func reward(r float64) *float64 { return &r }

func sample() ([]flow.Task, []flow.Trajectory) {
	tasks := []flow.Task{
		{ID: "a", Question: "qa", Meta: map[string]string{flow.MetaFamily: "easy"}},
		{ID: "b", Question: "qb", Meta: map[string]string{flow.MetaFamily: "hard"}},
		{ID: "c", Question: "qc", Meta: map[string]string{flow.MetaFamily: "hard"}},
		{ID: "d", Question: "qd", Meta: map[string]string{flow.MetaFamily: "hard"}},
	}
	ts := []flow.Trajectory{
		{Task: "a", Answer: "x", Reward: reward(1), TotalMS: 1000, Steps: []flow.Step{{Tool: "Search", Args: []byte(`{"q":1}`)}},
			Turns: []flow.Turn{{Prompt: make([]int32, 10), Action: make([]int32, 4)}}},
		{Task: "b", Answer: "y", Reward: reward(0), TotalMS: 3000, Steps: []flow.Step{
			{Tool: "Search", Args: []byte(`{"q":1}`), ErrorKind: "not_found"},
			{Tool: "Search", Args: []byte(`{"q":1}`), ErrorKind: "not_found"}, // stuck
			{Tool: "Saerch", SubGoal: "s", ErrorKind: "unknown_tool"},
			{Tool: "Saerch", SubGoal: "s", ErrorKind: "unknown_tool"}, // stuck
			{ErrorKind: "parse"},
			{ErrorKind: "parse"},
			{Tool: "Search", Args: []byte(`{"q":2}`)},
			{Tool: "Search", Args: []byte(`{"q":2}`)}, // again, but it had not failed
		}},
		{Task: "c", Failure: "timeout", FailureDetail: "no answer\nfor\x1b 9 s", TotalMS: 2000},
		{Task: "stranger", Reward: reward(1)},
	}
	return tasks, ts
}

func TestSummarize(t *testing.T) {
	tasks, ts := sample()
	s := Summarize(tasks, ts)
	want := Stats{
		Tasks: 4, Repeats: 1, Requested: 4, Missing: 1, Failed: 1, Failures: map[string]int{"timeout": 1}, Reasons: map[string]string{"timeout": "no answer for 9 s"},
		Accuracy: wilson(0.25, 4), Turns: 3, Histogram: []int{1, 1, 0, 0, 0, 0, 0, 0, 1}, Steps: 9,
		Tools: []ToolStats{
			{Name: "Search", Calls: 5, Share: 5.0 / 9, Errors: 2},
			{Name: UnknownTool, Calls: 2, Share: 2.0 / 9, Errors: 2},
			{Name: UnreadablePlan, Calls: 2, Share: 2.0 / 9, Errors: 2},
		},
		ErrorRate: 6.0 / 9, Errors: map[string]int{"not_found": 2, "unknown_tool": 2, "parse": 2},
		RepeatRate: 2.0 / 9, StuckRate: 1.0 / 3, Seconds: 2, PromptTokens: 10.0 / 3, ActionTokens: 4.0 / 3,
	}
	const rounding = 1e-12
	if diff := cmp.Diff(want, s.All, cmpopts.EquateApprox(0, rounding)); diff != "" {
		t.Errorf("- expected, + found:\n%s", diff)
	}
	if len(s.Families) != 2 || s.Families[0].Name != "easy" || s.Families[1].Stats.Tasks != 3 || s.Families[0].Stats.Accuracy.Mean != 1 {
		t.Errorf("families: %+v", s.Families)
	}
	// With a second record of one task, every other task misses one: 2 right of 8.
	s = Summarize(tasks, append(ts, flow.Trajectory{Task: "a", Sample: 1, Reward: reward(1)}))
	if s.All.Repeats != 2 || s.All.Requested != 8 || s.All.Missing != 4 || s.All.Accuracy.Mean != 0.25 {
		t.Errorf("a second record: %+v", s.All)
	}
	s = Summarize(tasks, append(ts, flow.Trajectory{Task: "b", Sample: 1, Reward: reward(1)}))
	if s.All.Accuracy.Mean != 0.25 {
		t.Errorf("one right of two and of one missing: %+v", s.All.Accuracy)
	}
	if empty := Summarize(nil, nil); empty.All.Accuracy.Mean != 0 || empty.All.Accuracy.High != 1 {
		t.Errorf("of nothing: %+v", empty.All)
	}
}

// The families add up to the whole, and the order of records changes nothing.
func TestSummaryAddsUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tasks []flow.Task
		var ts []flow.Trajectory
		for i := range rapid.IntRange(1, 12).Draw(t, "tasks") {
			id := string(rune('a' + i))
			tasks = append(tasks, flow.Task{ID: id, Meta: map[string]string{flow.MetaFamily: rapid.SampledFrom([]string{"f", "g", "h"}).Draw(t, "family")}})
			for k := range rapid.IntRange(0, 3).Draw(t, "records") {
				x := flow.Trajectory{Task: id, Sample: k, TotalMS: float64(rapid.IntRange(0, 9).Draw(t, "ms"))}
				if rapid.IntRange(0, 3).Draw(t, "fails") > 0 {
					x.Reward = reward(float64(rapid.IntRange(0, 1).Draw(t, "reward")))
				} else {
					x.Failure = "timeout"
				}
				for range rapid.IntRange(0, 3).Draw(t, "steps") {
					x.Steps = append(x.Steps, flow.Step{Tool: rapid.SampledFrom([]string{"A", "B"}).Draw(t, "tool"), Args: []byte("{}"),
						ErrorKind: rapid.SampledFrom([]string{"", "not_found"}).Draw(t, "error")})
				}
				ts = append(ts, x)
			}
		}
		s := Summarize(tasks, ts)
		var steps, missing, failed, requested int
		rewards, stuck := 0.0, 0.0
		for _, f := range s.Families {
			steps += f.Stats.Steps
			missing += f.Stats.Missing
			failed += f.Stats.Failed
			requested += f.Stats.Requested
			rewards += f.Stats.Accuracy.Mean * float64(f.Stats.Requested)
			stuck += f.Stats.RepeatRate * float64(f.Stats.Steps)
		}
		const rounding = 1e-9
		if all := s.All; steps != all.Steps || missing != all.Missing || failed != all.Failed || requested != all.Requested || requested-missing != len(ts) ||
			diff(rewards, all.Accuracy.Mean*float64(requested)) > rounding || diff(stuck, all.RepeatRate*float64(steps)) > rounding {
			t.Fatalf("families %+v\nall %+v", s.Families, all)
		}
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		rng.Shuffle(len(ts), func(i, j int) { ts[i], ts[j] = ts[j], ts[i] })
		if d := cmp.Diff(s, Summarize(tasks, ts), cmpopts.EquateApprox(0, rounding)); d != "" {
			t.Fatalf("another order of records:\n%s", d)
		}
	})
}

func diff(a, b float64) float64 { return max(a-b, b-a) }

// One task is no tasks.
func TestTableOfOneTask(t *testing.T) {
	for n, want := range map[int]string{1: "gym: 1 task\n", 2: "gym: 2 tasks\n"} {
		var b strings.Builder
		if err := (&Report{Suite: "gym", Repeats: 1, Summary: Summary{All: Stats{Tasks: n}}}).WriteTable(&b); err != nil || !strings.HasPrefix(b.String(), want) {
			t.Errorf("%v, %.40q, expected %q", err, b.String(), want)
		}
	}
}

func TestTable(t *testing.T) {
	tasks, ts := sample()
	s := Summarize(tasks, ts)
	var b strings.Builder
	if err := writeSummary(&b, &s); err != nil {
		t.Fatal(err)
	}
	want := `  family  tasks  accuracy   95 % interval  turns  errors  repeated   stuck
    easy      1   100.0 %  20.7 - 100.0 %   1.00   0.0 %     0.0 %   0.0 %
    hard      3     0.0 %    0.0 - 56.1 %   4.00  75.0 %    25.0 %  50.0 %
     all      4    25.0 %    4.6 - 69.9 %   3.00  66.7 %    22.2 %  33.3 %

  a solve's  seconds  tokens
       easy    1.000      14
       hard    2.500       0
        all    2.000       5

  tool shares   Search  (unknown tool)  (unreadable plan)
         easy  100.0 %           0.0 %              0.0 %
         hard   50.0 %          25.0 %             25.0 %
          all   55.6 %          22.2 %             22.2 %

solves by turns: 0: 1, 1: 1, 8: 1
steps with errors: not_found 2, parse 2, unknown_tool 2
counted as wrong: 1 failed (timeout 1), 1 missing, of 4
the first timeout: no answer for 9 s
`
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Errorf("- expected, + found:\n%s", d)
	}
}
