package score

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"afctl/flow"
)

// row is one hand-marked answer: the truth's alternatives are separated by " | ".
type row struct {
	truth, answer string
	want          float64
}

func check(t *testing.T, f Func, rows []row, edit ...func(*flow.Task)) {
	t.Helper()
	if len(rows) < 30 {
		t.Errorf("table holds %d hard cases, expected at least 30", len(rows))
	}
	grade(t, f, rows, edit...)
}

func grade(t *testing.T, f Func, rows []row, edit ...func(*flow.Task)) {
	t.Helper()
	for _, r := range rows {
		task := flow.Task{ID: "t", Answers: strings.Split(r.truth, " | ")}
		for _, e := range edit {
			e(&task)
		}
		g, err := f(task, r.answer)
		if err != nil {
			t.Errorf("truth %q, answer %q: %v", r.truth, r.answer, err)
			continue
		}
		if math.Abs(g.Reward-r.want) > 1e-12 {
			t.Errorf("truth %q, answer %q: reward %g (%s), expected %g", r.truth, r.answer, g.Reward, g.Reason, r.want)
		}
		if g.Reason == "" || strings.Contains(g.Reason, "\n") {
			t.Errorf("truth %q, answer %q: reason %q is not one line", r.truth, r.answer, g.Reason)
		}
	}
}

func TestExtract(t *testing.T) {
	for _, c := range []struct {
		text, want string
		origin     Origin
	}{
		{"<answer>Paris</answer>", "Paris", Tagged},
		{"<answer>Rome</answer> no: <answer> Paris </answer> done", "Paris", Tagged},
		{"thinking <ANSWER>Paris", "Paris", Tagged},
		{"<answer>Paris</answer>, in the <answer> format", "Paris", Tagged},
		{"In the <answer> format: <Answer>Paris</Answer>", "Paris", Tagged},
		{"<answer>Paris</answer> <answer> </answer>", "Paris", Tagged},
		{"<answer>Paris</answer> or <answer>Rome", "Paris", Tagged},
		{"<answer></answer><answer>Paris", "Paris", Tagged},
		{"Paris <answer></answer>", "", Tagged},
		{"<answer>Paris <answer></answer>", "Paris", Tagged},
		{`<answer>\boxed{5}</answer>`, "5", Tagged},
		{`so \boxed{\frac{1}{2}} it is`, `\frac{1}{2}`, Boxed},
		{`\boxed{3}, then \boxed{4}`, "4", Boxed},
		{`\boxed{\{1,2\}}`, `\{1,2\}`, Boxed},
		{`first \boxed{3} then \boxed{4`, "3", Boxed},
		{"Reasoning.\nFinal answer: 42\nThanks", "42", Announced},
		{"**Answer:** Paris", "Paris", Announced},
		{"The answer is: B", "B", Announced},
		{"想一想。\n\n**答案**：（B）", "(B)", Announced},
		{"Final Answer:\n42", "42", Announced},
		{"the answer is not 5", "not 5", Announced},
		{"The total is **5**.", "The total is 5.", Unmarked},
		{"**Answer: 5** apples", "5 apples", Announced},
		{"The answer is `x`.", "x.", Announced},
		{"<b>Final answer:</b> 5", "5", Announced},
		{"2**3 and 2*3*4 and a_1", "2**3 and 2*3*4 and a_1", Unmarked},
		{"4 *3* 2", "4 *3* 2", Unmarked},
		{"answers vary", "answers vary", Unmarked},
		// a heading, and a question between
		{"Some thought.\n\n## Final Answer\n\nParis\n\nIt is on the Seine.", "Paris", Announced},
		{"Final Answer\nParis", "Paris", Announced},
		{"**Final Answer**\r\nParis", "Paris", Announced},
		{"### Answer\n5", "5", Announced},
		{"## Final Answer\n\nThe answer is Paris.", "Paris.", Announced},
		{"Final Answer", "Final Answer", Unmarked},
		{"Paris is my answer\nand Rome is not", "Paris is my answer\nand Rome is not", Unmarked},
		{"The answer to the question is Paris.", "Paris.", Announced},
		{"The final answer to this hard question is: Paris.", "Paris.", Announced},
		{"The answer to the question is not Paris.", "not Paris.", Announced},
		// what is said of an answer announces none
		{"The answer is 42. My answer is final.", "42.", Announced},
		{"Answer: 42\n\nThis answer is exact.", "42", Announced},
		{"The answer is Paris. I am confident this answer is correct.", "Paris.", Announced},
		{"Answer: Paris\nThis answer is based on the Wikipedia article.", "Paris", Announced},
		{"Answer: 42. Each answer is weighed, then added to 3.", "42.", Announced},
		{"The answer is 3.5. The answer is rounded to 1 decimal place.", "3.5.", Announced},
		{"The answer is 42. I hope this answer is helpful, clear and complete!", "42.", Announced},
		{"The answer is 41. That answer is wrong. The answer is 42. This answer is right.", "42.", Announced},
		{"Paris. This answer is based on Wikipedia.", "Paris.", Unmarked},
		// the last that does decides
		{"The answer is 41. My first answer is wrong and the answer is 42.", "42.", Announced},
		{"The answer is 41. This answer is wrong, the answer is 42.", "42.", Announced},
		{"The answer is 41. My answer is 42.", "42.", Announced},
		{"The answer is 41. Or this answer is 42.", "42.", Announced},
		{"The answer is Rome. This answer is Paris.", "Paris.", Announced},
		{"The answer is 41. The answer is exact: 42", "exact: 42", Announced},
		{"The answer is 41. My answer is wrong, 42 is right.", "wrong, 42 is right.", Announced},
		{"The answer is 1, 2 and my answer is final.", "final.", Announced},
		{"The answer is 41.\nFinal answer: 42 (this answer is exact).", "exact).", Announced},
		{"The answer is left. Final answer: right", "right", Announced},
		{"The answer is 42. The answer is unknown.", "unknown.", Announced},
		{"By the map, the answer is right.", "right.", Announced},
		{"It turns. The answer is right.", "right.", Announced},
		{"This answer is correct.", "correct.", Announced},
		{"", "", Unmarked},
	} {
		got, origin := Extract(c.text)
		if got != c.want || origin != c.origin {
			t.Errorf("Extract(%q) = %q, %d; expected %q, %d", c.text, got, origin, c.want, c.origin)
		}
	}
}

func TestExtractLooksAtTheEnd(t *testing.T) {
	got, _ := Extract(strings.Repeat("é", MaxAnswer) + " <answer>7</answer>")
	if got != "7" {
		t.Errorf("found %q, expected 7", got)
	}
	if got, _ := Extract(strings.Repeat("\x80", 2*MaxAnswer)); got != "" {
		t.Errorf("of no text: %d bytes", len(got))
	}
}

func TestScoreErrors(t *testing.T) {
	if _, err := Score(flow.Task{ID: "x", Scorer: "exakt"}, ""); !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "exact") {
		t.Errorf("unknown scorer: %v", err)
	}
	for name, task := range map[string]flow.Task{
		"exact": {}, "f1": {Answers: []string{" "}}, "number": {}, "yesno": {Answers: []string{"maybe"}},
		"choice": {Answers: []string{"E"}, Choices: []string{"a1", "b1"}}, "Choice": {Answers: []string{"A", "B"}, Choices: []string{"a1", "b1"}}, "game24": {Answers: []string{"yes"}},
	} {
		task.Scorer = strings.ToLower(name)
		if _, err := Rule(context.Background(), task, "5"); !errors.Is(err, ErrTruth) {
			t.Errorf("%s without a usable truth: found %v, expected ErrTruth", name, err)
		}
	}
	r, err := Rule(context.Background(), flow.Task{Answers: []string{"Paris"}}, "paris")
	if r != 1 || err != nil {
		t.Errorf("fallback scorer: %g, %v", r, err)
	}
}
