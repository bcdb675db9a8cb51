package frozen

import (
	"context"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"afctl/flow"
	"afctl/rollout"
)

func TestExecutor(t *testing.T) {
	for _, c := range []struct{ tool, goal, want string }{
		{Calculator, "418 * 37 - 95", `{"expression":"418 * 37 - 95"}`},
		{WikipediaSearch, " Velmar ", `{"query":"Velmar"}`},
		{BaseGenerator, `capital of "Vesk"`, `{"query":"capital of \"Vesk\""}`},
		{WebSearch, "zorak.test/tin", `{"url":"zorak.test/tin"}`},
		{WebSearch, "read https://zorak.test/tin, please", `{"url":"zorak.test/tin,"}`},
		{WebSearch, "Zorak", `{"url":"zorak.test"}`},
		{WebSearch, "418 * 37", ""},
		{WebSearch, "capital of Vesk", ""},
	} {
		got, err := Executor{}.Arguments(context.Background(), rollout.Input{}, rollout.Plan{SubGoal: c.goal}, rollout.ToolSpec{Name: c.tool})
		var bad *rollout.ToolError
		if c.want == "" {
			if !errors.As(err, &bad) || bad.Kind != rollout.KindBadArgs {
				t.Errorf("%s, %q: %s, %v; expected bad_args", c.tool, c.goal, got, err)
			}
		} else if err != nil || string(got) != c.want {
			t.Errorf("%s, %q: %s, %v; expected %s", c.tool, c.goal, got, err, c.want)
		}
	}
	if _, err := (Executor{}).Arguments(context.Background(), rollout.Input{}, rollout.Plan{}, rollout.ToolSpec{Name: "Hammer"}); err == nil {
		t.Error("a tool that is not the gym's was taken")
	}
}

func step(tool, result string) flow.Step {
	return flow.Step{Tool: tool, Result: result, Args: []byte(`{"url":"zorak.test/tin"}`)}
}

func failed(s flow.Step) flow.Step {
	s.ErrorKind = rollout.KindNotFound
	return s
}

func TestAnswers(t *testing.T) {
	city := step(WikipediaSearch, "Velmar: A city in Ostr on the river Tam, founded in 1742.")
	old := step(WebSearch, "Velmar: Long ago: A city in Gral on the river Om, founded in 1601.")
	weaver := step(WikipediaSearch, "Orin: A weaver born in 1823 in Velmar.")
	sum := step(Calculator, "27")
	for _, c := range []struct {
		name, question, want string
		steps                []flow.Step
	}{
		{"one step", "In which country is the city Velmar?", "Ostr", []flow.Step{city}},
		{"a failed step says nothing", "In which country is the city Velmar?", "", []flow.Step{failed(city)}},
		{"another city", "In which country is the city Velnor?", "", []flow.Step{city}},
		{"the later result counts", "In which country is the city Velmar?", "Gral", []flow.Step{city, old}},
		{"first hop only", "On which river is the birthplace of Orin?", "", []flow.Step{weaver}},
		{"second hop only", "On which river is the birthplace of Orin?", "", []flow.Step{city}},
		{"both hops", "On which river is the birthplace of Orin?", "Tam", []flow.Step{weaver, city}},
		{"place before year", "Who is the author of the book Orin?", "", []flow.Step{weaver}},
		{"age", "How old was Orin in 1850?", "27", []flow.Step{weaver, sum}},
		{"a sum before the year is known", "How old was Orin in 1850?", "", []flow.Step{sum, weaver}},
		{"a sum alone", "How old was Orin in 1850?", "", []flow.Step{sum}},
		{"arithmetic", "Compute 3 * 9.", "27", []flow.Step{sum}},
		{"figure", "How many mills does zorak.test/tin report?", "41", []flow.Step{step(WebSearch, "Zorak: 41 mills and 7 carts.")}},
		{"another page's figure", "How many mills does zorak.test/ore report?", "", []flow.Step{step(WebSearch, "Zorak: 41 mills and 7 carts.")}},
		{"another thing's figure", "How many bells does zorak.test/tin report?", "", []flow.Step{step(WebSearch, "Zorak: 41 mills and 7 carts.")}},
		{"capital", "Name the capital of Vesk.", "Tolm", []flow.Step{step(BaseGenerator, "The capital of Vesk is Tolm.")}},
		{"no fact", "Name the capital of Vesk.", "", []flow.Step{step(BaseGenerator, DoesNotKnow)}},
		{"no form", "Is Velmar large?", "", []flow.Step{city}},
	} {
		in := rollout.Input{Question: c.question, Memory: rollout.NewMemory()}
		for _, s := range c.steps {
			in.Memory.Append(s)
		}
		verdict, _, err := Verifier{}.Verify(context.Background(), in)
		answer, err2 := Generator{}.Answer(context.Background(), in)
		want, stop := c.want, flow.VerdictStop
		if want == "" {
			want, stop = Unknown, flow.VerdictContinue
		}
		if err != nil || err2 != nil || verdict != stop || answer != want {
			t.Errorf("%s: %s, %q (%v, %v); expected %s, %q", c.name, verdict, answer, err, err2, stop, want)
		}
	}
}

func TestModelKnowsWhatItIsAskedFor(t *testing.T) {
	m := NewModel(map[string]Country{"Vesk": {Capital: "Tolm", Currency: "groat"}})
	for query, want := range map[string]string{
		"capital of Vesk": "The capital of Vesk is Tolm.", "What is the Currency of Vesk?": "The currency of Vesk is the groat.",
		"Vesk": DoesNotKnow, "capital": DoesNotKnow, "capital of Veskan": DoesNotKnow, "": DoesNotKnow,
	} {
		c, err := m.Complete(context.Background(), rollout.Request{Messages: []rollout.Message{{Role: "user", Content: query}}})
		if err != nil || c.Text != want {
			t.Errorf("%q: %q, %v; expected %q", query, c.Text, err, want)
		}
	}
	if _, err := m.Complete(context.Background(), rollout.Request{}); err == nil {
		t.Error("no message was answered")
	}
}

// Every phrasing of every kind is read back as what it was made from, and by one form only.
func TestParseReadsEveryPhrasing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := Question{Kind: Kind(rapid.IntRange(0, int(nKinds)-1).Draw(t, "kind"))}
		i := rapid.IntRange(0, q.Kind.Phrasings()-1).Draw(t, "phrasing")
		for _, f := range q.fields() {
			if strings.Contains(phrasings[q.Kind][i], f.placeholder) {
				*f.value = rapid.StringMatching(f.pattern).Draw(t, f.placeholder)
			}
		}
		text := q.Text(i)
		got, ok := Parse(text)
		if !ok || got != q {
			t.Fatalf("%q read as %+v, %v; expected %+v", text, got, ok, q)
		}
		n := 0
		for _, f := range forms() {
			if f.pattern.MatchString(text) {
				n++
			}
		}
		if n != 1 {
			t.Fatalf("%q is of %d forms", text, n)
		}
	})
}
