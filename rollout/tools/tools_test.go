package tools

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"afctl/flow"
	"afctl/rollout"
	"afctl/rollout/tools/index"
)

type modelFunc func(context.Context, rollout.Request) (rollout.Completion, error)

func (f modelFunc) Complete(ctx context.Context, r rollout.Request) (rollout.Completion, error) {
	return f(ctx, r)
}

func world(t testing.TB) *index.Index {
	t.Helper()
	ix, err := index.BuildMemory([]index.Doc{
		{Title: "Karvon", Text: "Karvon is a city in Belland.\n## Harbour\nIt has five docks.", URL: "https://w.example/Karvon"},
		{Title: "Miro", Text: "The Miro is a river that passes Karvon."},
		{Title: "Ada Lume", Text: "She was born in Karvon."},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ix.Close() })
	return ix
}

func pagesOf(t testing.TB) PageStore {
	t.Helper()
	m, err := NewMapPages(
		Page{URL: "https://firm.example/report", Title: "Report", Text: strings.Repeat("Nothing of note happened. ", 100) + "\n\nRevenue in 2020 was 41 million."},
		Page{URL: "http://www.empty.example/", Text: " "},
	)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func kind(err error) string {
	var bad *rollout.ToolError
	if errors.As(err, &bad) {
		return bad.Kind
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// Every tool fits a registry, its examples satisfy its own schema, and arguments of other names are refused.
func TestSpecs(t *testing.T) {
	all := []rollout.Tool{NewBaseGenerator(nil), NewCalculator(), NewWikipediaSearch(world(t), 3), NewWebSearch(pagesOf(t))}
	r, err := rollout.NewRegistry(all...)
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range r.Specs() {
		if spec.Description == "" || spec.Limits == "" || len(spec.Examples) == 0 {
			t.Errorf("%s does not say what it does, what it cannot do, and how it is called", spec.Name)
		}
		for _, e := range spec.Examples {
			if err := spec.Validate(e.Args); err != nil {
				t.Errorf("%s: example %s: %v", spec.Name, e.Args, err)
			}
		}
		for _, args := range []string{`{}`, `{"Query": "a"}`, `{"query": "a", "expression": "1", "url": "b"}`, `[]`} {
			if err := spec.Validate(json.RawMessage(args)); kind(err) != rollout.KindBadArgs {
				t.Errorf("%s: %s: %v", spec.Name, args, err)
			}
		}
	}
}

func TestBaseGenerator(t *testing.T) {
	boom := errors.New("no model")
	g := NewBaseGenerator(modelFunc(func(_ context.Context, r rollout.Request) (rollout.Completion, error) {
		if r.Temperature != 0 || r.MaxTokens <= 0 || r.Slot == rollout.SlotPlanner || len(r.Messages) != 1 {
			t.Errorf("request %+v", r)
		}
		switch r.Messages[0].Content {
		case "fail":
			return rollout.Completion{}, boom
		case "silent":
			return rollout.Completion{Text: " \n"}, nil
		}
		return rollout.Completion{Text: "<think>Is it?</think> about " + r.Messages[0].Content + "\n"}, nil
	}))
	r, err := g.Execute(t.Context(), json.RawMessage(`{"query": "a {b}"}`))
	if err != nil || r.Text != "about a {b}" {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := g.Execute(t.Context(), json.RawMessage(`{"query": "fail"}`)); !errors.Is(err, boom) {
		t.Errorf("%v", err)
	}
	if _, err := g.Execute(t.Context(), json.RawMessage(`{"query": "silent"}`)); kind(err) != rollout.KindNotFound {
		t.Errorf("%v", err)
	}
}

func TestWikipediaSearch(t *testing.T) {
	w := NewWikipediaSearch(world(t), 2)
	r, err := w.Execute(t.Context(), json.RawMessage(`{"query": "Karvon"}`))
	if err != nil || !strings.HasPrefix(r.Text, "Karvon: Karvon is a city in Belland.\n") || strings.Count(r.Text, "\n") != 1 {
		t.Errorf("%q, %v", r.Text, err)
	}
	var ps []index.Passage
	if err := json.Unmarshal(r.Data, &ps); err != nil || len(ps) != 2 || ps[0].URL != "https://w.example/Karvon" {
		t.Errorf("%s, %v", r.Data, err)
	}
	r, err = w.Execute(t.Context(), json.RawMessage(`{"query": "Karvon harbour docks", "k": 1}`))
	if err != nil || r.Text != "Karvon, Harbour: It has five docks." {
		t.Errorf("%q, %v", r.Text, err)
	}
	for _, q := range []string{"Zanzor", "???", "river of Zanzor"} {
		args, _ := json.Marshal(map[string]string{"query": q})
		if _, err := w.Execute(t.Context(), args); kind(err) != rollout.KindNotFound {
			t.Errorf("%q: %v", q, err)
		}
	}
	// What the schema takes for an integer, the tool takes; the rest is refused.
	spec := w.Spec()
	for k, want := range map[string]string{"1": "", "1.0": "", "1e0": "", "10e-1": "", "1.5": rollout.KindBadArgs, "1e99": rollout.KindBadArgs, `"1"`: rollout.KindBadArgs} {
		args := json.RawMessage(`{"query": "Karvon", "k": ` + k + `}`)
		if err := spec.Validate(args); kind(err) != want {
			t.Errorf("k %s: the schema: %v", k, err)
		}
		if r, err := w.Execute(t.Context(), args); kind(err) != want || err == nil && r.Text != "Karvon: Karvon is a city in Belland." {
			t.Errorf("k %s: %q, %v", k, r.Text, err)
		}
	}
	if got := NewWikipediaSearch(nil, 99).k; got != maxPassages {
		t.Errorf("k %d", got)
	}
}

func TestWebSearch(t *testing.T) {
	w := NewWebSearch(pagesOf(t))
	call := func(url, query string) (string, error) {
		args, _ := json.Marshal(map[string]string{"url": url, "query": query})
		r, err := w.Execute(t.Context(), args)
		return r.Text, err
	}
	for _, url := range []string{"https://firm.example/report", "http://www.FIRM.example:80/x/../report/#top", "firm.example/report", "`https://firm.example/report`.", "<https://firm.example/report>"} {
		got, err := call(url, "revenue 2020")
		if err != nil || !strings.HasPrefix(got, "Report: ") || !strings.Contains(got, "41 million") {
			t.Errorf("%s: %q, %v", url, got, err)
		}
	}
	if got, err := call("https://firm.example/report", "zebra"); err != nil || !strings.HasPrefix(got, "(nothing on the page matches") {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := call("https://firm.example/report", ""); err != nil || !strings.HasPrefix(got, "Report: Nothing of note") {
		t.Errorf("%.50q, %v", got, err)
	}
	for url, want := range map[string]string{
		"https://firm.example/other": rollout.KindNotFound, "https://empty.example": rollout.KindNotFound, "ftp://firm.example/report": rollout.KindBadArgs,
		"the report": rollout.KindBadArgs, "https://": rollout.KindBadArgs, "http://[::1": rollout.KindBadArgs, "%zz": rollout.KindBadArgs,
	} {
		if _, err := call(url, "x"); kind(err) != want {
			t.Errorf("%s: %v, expected %s", url, err, want)
		}
	}
	boom := errors.New("disk on fire")
	broken := NewWebSearch(storeFunc(func(string) (Page, error) { return Page{}, boom }))
	if _, err := broken.Execute(t.Context(), json.RawMessage(`{"url": "a.example"}`)); !errors.Is(err, boom) {
		t.Errorf("%v", err)
	}
}

type storeFunc func(string) (Page, error)

func (f storeFunc) Page(_ context.Context, url string) (Page, error) { return f(url) }

// A solve over the real tools: the first plan's tool finds nothing, the second answers.
func TestToolsInASolve(t *testing.T) {
	registry, err := rollout.NewRegistry(NewWikipediaSearch(world(t), 1), NewWebSearch(pagesOf(t)), NewCalculator())
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string][]string{
		rollout.SlotPlanner:  {"Sub-Goal: revenue of the firm in 2020\nTool Name: wikipedia search", "Sub-Goal: revenue in 2020 at firm.example/report\nTool Name: `Web_Search`"},
		rollout.SlotExecutor: {`{"query": "Firm Zanzor revenue"}`, "execution = tool.execute(\n  url=\"firm.example/report\",\n  query=\"revenue in 2020\")"},
		rollout.SlotVerifier: {"CONTINUE", "STOP"}, rollout.SlotGenerator: {"<answer>41 million</answer>"},
	}
	m := modelFunc(func(_ context.Context, r rollout.Request) (rollout.Completion, error) {
		text := texts[r.Slot][0]
		texts[r.Slot] = texts[r.Slot][1:]
		return rollout.Completion{Text: text}, nil
	})
	s := rollout.Solver{
		Tools: registry,
		Slots: rollout.Slots{Planner: rollout.ModelPlanner{Model: m}, Executor: rollout.ModelExecutor{Model: m}, Verifier: rollout.ModelVerifier{Model: m}, Generator: rollout.ModelGenerator{Model: m}},
		Score: func(context.Context, flow.Task, string) (float64, error) { return 1, nil },
	}
	tr := s.Solve(t.Context(), rollout.Job{Task: flow.Task{ID: "q", Question: "What was the firm's revenue in 2020?"}})
	kinds := []string{}
	for _, step := range tr.Steps {
		kinds = append(kinds, step.Tool+" "+step.ErrorKind)
	}
	if tr.Failed() || tr.Answer != "41 million" || !slices.Equal(kinds, []string{"Wikipedia_Search not_found", "Web_Search "}) || !strings.Contains(tr.Steps[1].Result, "41 million") {
		t.Errorf("%+v", tr)
	}
}
