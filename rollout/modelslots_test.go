package rollout

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"afctl/flow"
)

// replies is a model that gives these texts one after the other, and keeps what it was asked.
type replies struct {
	texts []string
	asked []Request
}

func (m *replies) Complete(_ context.Context, r Request) (Completion, error) {
	m.asked = append(m.asked, r)
	if len(m.asked) > len(m.texts) {
		return Completion{}, errors.New("asked too often")
	}
	return Completion{Text: m.texts[len(m.asked)-1], Turn: fakeTurn(len(m.asked))}, nil
}

func input() Input {
	return Input{Question: "what?", Tools: []ToolSpec{echo("Search").Spec()}, Memory: NewMemory(), Turn: 1, MaxTurns: 3, Seed: 5}
}

func TestModelPlanner(t *testing.T) {
	m := &replies{texts: []string{"Sub-Goal: find it\nTool Name: Search", "no idea"}}
	p := ModelPlanner{Model: m, Temperature: 0.7, MaxTokens: 64}
	got, err := p.Plan(t.Context(), input())
	if err != nil || got.Plan.SubGoal != "find it" || got.Plan.Tool != "Search" || got.ParseError != "" || got.Completion.Turn == nil {
		t.Errorf("%+v, %v", got, err)
	}
	if got.Sampling != (flow.Sampling{Temperature: 0.7, MaxTokens: 64}) {
		t.Errorf("sampling %+v", got.Sampling)
	}
	r := m.asked[0]
	if r.Slot != SlotPlanner || r.Seed != 5 || r.Temperature != 0.7 || r.MaxTokens != 64 || r.Schema != nil {
		t.Errorf("request %+v", r)
	}
	got, err = p.Plan(t.Context(), input())
	if err != nil || got.ParseError == "" || got.Completion.Turn == nil {
		t.Errorf("an answer that is no plan: %+v, %v; expected a recorded turn with a parse error", got, err)
	}
	if len(m.asked) != 2 {
		t.Errorf("the planner was asked %d times for 2 plans: it has no repair round", len(m.asked))
	}
}

// What a model thinks before it answers is not read: a draft of a call is not made. The planner's tokens stay as they were sampled.
func TestThinking(t *testing.T) {
	const draft = "<think>\nSub-Goal: no. Tool Name: Wrong. {\"q\": \"draft\"} Should we STOP? <answer>no</answer>\n</think>\n\n"
	said := func(text string) *replies { return &replies{texts: []string{draft + text}} }
	planned, err := ModelPlanner{Model: said("Sub-Goal: find it\nTool Name: Search")}.Plan(t.Context(), input())
	if err != nil || planned.Plan.SubGoal != "find it" || planned.Plan.Tool != "Search" || !strings.HasPrefix(planned.Completion.Text, draft) {
		t.Errorf("%+v, %v", planned, err)
	}
	args, err := ModelExecutor{Model: said(`{"q": "a"}`)}.Arguments(t.Context(), input(), plan("Search", "goal"), echo("Search").Spec())
	if err != nil || string(args) != `{"q": "a"}` {
		t.Errorf("%s, %v", args, err)
	}
	verdict, _, err := ModelVerifier{Model: said(`CONTINUE`)}.Verify(t.Context(), input())
	if err != nil || verdict != flow.VerdictContinue {
		t.Errorf("%v, %v", verdict, err)
	}
	for text, want := range map[string]string{"Paris": "Paris", "<answer>Paris</answer>": "Paris"} {
		if answer, err := (ModelGenerator{Model: said(text)}).Answer(t.Context(), input()); err != nil || answer != want {
			t.Errorf("%q, %v; expected %q", answer, err, want)
		}
	}
	if answer, err := (ModelGenerator{Model: said("")}).Answer(t.Context(), input()); err != nil || answer != "no" { // all that there is
		t.Errorf("%q, %v", answer, err)
	}
}

func TestModelExecutor(t *testing.T) {
	spec := echo("Search").Spec()
	for name, c := range map[string]struct {
		texts      []string
		args, kind string
		note       string
	}{
		"json":          {[]string{`{"q": "a"}`}, `{"q": "a"}`, "", ""},
		"call":          {[]string{`execution = tool.execute(q="a")`}, `{"q":"a"}`, "", ""},
		"wrapped":       {[]string{`{"name": "Search", "arguments": {"q": "a"}}`}, `{"q": "a"}`, "", ""},
		"wrong within":  {[]string{`{"name": "Search", "arguments": {"q": 3}}`, `{"q": "a"}`}, `{"q": "a"}`, "", ""},
		"several":       {[]string{`{"q": "a"} {"q": "b"}`}, `{"q": "a"}`, "", "only the first of 2 calls"},
		"repaired":      {[]string{`{"query": "a"}`, `{"q": "a"}`}, `{"q": "a"}`, "", ""},
		"repaired text": {[]string{`I am not sure.`, `{"q": "a"}`}, `{"q": "a"}`, "", ""},
		"beyond repair": {[]string{`{"query": "a"}`, `{"q": 3}`}, "", KindBadArgs, ""},
		"only prose":    {[]string{`no`, `no`}, "", KindBadArgs, ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := &replies{texts: c.texts}
			args, err := ModelExecutor{Model: m}.Arguments(t.Context(), input(), plan("Search", "goal"), spec)
			var bad *ToolError
			var note *Note
			switch {
			case c.kind != "":
				if !errors.As(err, &bad) || bad.Kind != c.kind {
					t.Errorf("%s, %v; expected %s", args, err, c.kind)
				}
			case c.note != "":
				if !errors.As(err, &note) || !strings.Contains(note.Text, c.note) {
					t.Errorf("%v; expected the note %q", err, c.note)
				}
			case err != nil:
				t.Error(err)
			}
			if string(args) != c.args {
				t.Errorf("arguments %s, expected %s", args, c.args)
			}
			if len(m.asked) != len(c.texts) {
				t.Errorf("asked %d times, expected %d", len(m.asked), len(c.texts))
			}
			if len(m.asked) == 2 {
				chat := m.asked[1].Messages
				if len(chat) != 4 || chat[2].Role != "assistant" || chat[2].Content != c.texts[0] || m.asked[1].Seed == m.asked[0].Seed {
					t.Errorf("the repair round was asked %+v", m.asked[1])
				}
			}
			if string(m.asked[0].Schema) != fakeSchema {
				t.Errorf("schema %s", m.asked[0].Schema)
			}
		})
	}
}

// The note of a call that was not made stands in the step.
func TestNoteInStep(t *testing.T) {
	s := fixture(t, func(s *Solver) {
		s.Slots.Executor = ModelExecutor{Model: &replies{texts: []string{`{"q": "goal"}{"q": "other"}`}}}
	})
	got := s.Solve(t.Context(), job("q"))
	mustScore(t, got, 0)
	if want := "(only the first of 2 calls was made) Search of goal"; got.Steps[0].Result != want || string(got.Steps[0].Args) != `{"q":"goal"}` {
		t.Errorf("step %+v", got.Steps[0])
	}
}

func TestModelVerifier(t *testing.T) {
	for name, c := range map[string]struct {
		texts []string
		want  flow.Verdict
		note  string
	}{
		"stop":       {[]string{`{"why": "all there", "verdict": "STOP"}`}, flow.VerdictStop, "all there"},
		"continue":   {[]string{`{"why": "the year is missing", "verdict": "CONTINUE"}`}, flow.VerdictContinue, "the year is missing"},
		"prose":      {[]string{"Conclusion: STOP"}, flow.VerdictStop, ""},
		"repaired":   {[]string{"Maybe.", "STOP"}, flow.VerdictStop, ""},
		"unreadable": {[]string{"Maybe.", "Perhaps."}, flow.VerdictContinue, "the verdict could not be read"},
		"error dict": {[]string{`{"error": "rate limit"}`, `{"error": "rate limit"}`}, flow.VerdictContinue, "the verdict could not be read"},
	} {
		t.Run(name, func(t *testing.T) {
			v, note, err := ModelVerifier{Model: &replies{texts: c.texts}}.Verify(t.Context(), input())
			if err != nil || v != c.want || note != c.note {
				t.Errorf("%s, %q, %v; expected %s, %q", v, note, err, c.want, c.note)
			}
		})
	}
}

func TestModelAnalystAndGenerator(t *testing.T) {
	got, err := ModelAnalyst{Model: &replies{texts: []string{" look it up \n"}}}.Analyze(t.Context(), input())
	if err != nil || got != "look it up" {
		t.Errorf("%q, %v", got, err)
	}
	for text, want := range map[string]string{
		"It is <answer> 42 </answer>.": "42", "42": "42", "<answer>1</answer> no, <answer>2</answer>": "2", "<answer>open {x}": "open {x}", "": "",
		"<answer>42</answer>, in the <answer> format": "42", "In the <answer> format: <answer>42</answer>": "42", "<answer>42</answer> <answer> </answer>": "42",
		"<answer>1</answer> or <answer>2": "1", "<answer>1</answer></answer>": "1", "42 <answer></answer>": "42", "42 <answer>": "42", "It is <answer>42": "42", "<answer>42 <answer>": "42",
		"<answer> </answer>": "", "42</answer>": "42", "<answer></answer><answer>open": "open",
		// A JSON object that is all of the reply.
		`{"answer": "42"}`: "42", "```json\n{\n  \"why\": \"so\",\n  \"Final Answer\": 42\n}\n```": "42", `{'answer': 'it\'s 42', 'sure': True}`: "it's 42",
		`{"answer": "\frac{1}{2}"}`: `\frac{1}{2}`, `{"answer": "41", "final_answer": "42"}`: "42", `<answer>{"answer": "42"}</answer>`: "42", `{"answer": ["a", "b"]}`: `["a", "b"]`,
		`{"answers": "42"}`: `{"answers": "42"}`, `{"answer": null}`: `{"answer": null}`, `{1, 2}`: `{1, 2}`, `It is {"answer": "42"}`: `It is {"answer": "42"}`, `{"answer": "4`: `{"answer": "4`,
		`{"answer": "1"} or {"answer": "2"}`: `{"answer": "1"} or {"answer": "2"}`,
	} {
		got, err := ModelGenerator{Model: &replies{texts: []string{text}}}.Answer(t.Context(), input())
		if err != nil || got != want {
			t.Errorf("%q: %q, %v; expected %q", text, got, err, want)
		}
	}
}

// An error of the model in the repair round is the model's, to be tried again, and no verdict or call that cannot be read.
func TestRepairFails(t *testing.T) {
	m := &replies{texts: []string{"perhaps"}}
	if _, _, err := (ModelVerifier{Model: m}).Verify(t.Context(), input()); err == nil || err.Error() != "asked too often" || len(m.asked) != 2 {
		t.Errorf("%v after %d calls", err, len(m.asked))
	}
}

// The memory in a prompt keeps to the slot's budget.
func TestSlotMemoryBudget(t *testing.T) {
	in := input()
	in.Memory = remember([]flow.Step{{Result: strings.Repeat("old ", 100)}, {Result: strings.Repeat("new ", 100)}})
	m := &replies{texts: []string{""}}
	words := func(s string) int { return len(strings.Fields(s)) }
	if _, err := (ModelAnalyst{Model: m, MemoryBudget: 120, Count: words}).Analyze(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	d := (&ModelSlot{MemoryBudget: 120, Count: words}).data(in)
	if strings.Contains(d.Memory, "old") || !strings.Contains(d.Memory, "new") || words(d.Memory) > 120 {
		t.Errorf("%d words:\n%s", words(d.Memory), d.Memory)
	}
}

func TestModelSlotWithoutModel(t *testing.T) {
	if _, err := (ModelAnalyst{}).Analyze(t.Context(), input()); err == nil {
		t.Error("no error")
	}
}

func TestModelJudge(t *testing.T) {
	task := flow.Task{ID: "q", Question: "what?", Answers: []string{"forty-two"}}
	m := &replies{texts: []string{`{"why": "same", "correct": true}`, `{"why": "differs", "correct": "False"}`, "hm", `{"correct": "yes"}`, "hm", `{"why": "", "correct": true}`}}
	j := &ModelJudge{ModelSlot: ModelSlot{Model: m}}
	for i, c := range []struct {
		answer string
		want   float64
		fails  bool
		asked  int
	}{
		{"42", 1, false, 1}, {"42", 1, false, 1}, {"43", 0, false, 2}, {"43", 0, false, 2},
		{"44", 0, true, 4}, // never a silent 0, and not remembered
		{"44", 1, false, 6},
	} {
		got, err := j.Score(t.Context(), task, c.answer)
		if (err != nil) != c.fails || got != c.want || len(m.asked) != c.asked {
			t.Errorf("%d: %v, %v after %d questions; expected %v, %d", i, got, err, len(m.asked), c.want, c.asked)
		}
	}
	contains(t, "prompt", m.asked[0].Messages[1].Content, "what?", "forty-two", "42")
	if !slices.ContainsFunc(m.asked, func(r Request) bool { return json.Valid(r.Schema) && r.Slot == SlotJudge }) {
		t.Error("no schema was asked for")
	}
	// The same question under another ID is drawn from the same random stream, whichever comes first.
	task.ID = "r"
	n := &replies{texts: []string{`{"why": "same", "correct": true}`}}
	if _, err := (&ModelJudge{ModelSlot: ModelSlot{Model: n}}).Score(t.Context(), task, "42"); err != nil || n.asked[0].Seed != m.asked[0].Seed {
		t.Errorf("seed %d, %v; expected %d", n.asked[0].Seed, err, m.asked[0].Seed)
	}
}

// A mark is read out of objects that are none for their quotes, and out of prose, where it ends the text and is no copy of what was asked for.
func TestParseMark(t *testing.T) {
	for text, want := range map[string]string{
		`{"why": "same", "correct": true}`: "true", `{"correct": "False", "why": "differs"}`: "false", `{"correct": true} no, {"correct": false}`: "false",
		`{"why": "The answer "42" is the accepted "forty-two".", "correct": true}`: "true", "```json\n{\"why\": \"\"43\" is not \"42\"\", \"correct\": false\n}\n```": "false",
		"They are the same.\n\n**Correct:** true": "true", "Correct: `False`.": "false", "correct: true\nNo, it is not: correct: false": "false",
		`{"why": "It says "correct: true", but it is not.", "correct": false}`: "false", `{"why": "It says "correct: true", which": "is wrong"}`: "",
		`{"why": "one "sentence"", "correct": true or false}`: "", "Incorrect: true": "", "It is correct.": "", "correct: yes": "", "Correct: true if rounded": "", "": "",
	} {
		got := ""
		if correct, ok := parseMark(text); ok {
			got = strconv.FormatBool(correct)
		}
		if got != want {
			t.Errorf("%s: %q, expected %q", text, got, want)
		}
	}
}
