package rollout

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The forms in which models write a plan; each must read as the same plan.
func TestParsePlanForms(t *testing.T) {
	want := Plan{Justification: "We need it.", Context: "The city is Oslo.", SubGoal: "Find the country of Oslo", Tool: "Wikipedia_Search"}
	const j, c, g, n = "We need it.", "The city is Oslo.", "Find the country of Oslo", "Wikipedia_Search"
	for name, text := range map[string]string{
		"plain":           "Justification: " + j + "\nContext: " + c + "\nSub-Goal: " + g + "\nTool Name: " + n,
		"bold":            "**Justification:** " + j + "\n**Context:** " + c + "\n**Sub-Goal:** " + g + "\n**Tool Name:** " + n,
		"bold outside":    "**Justification**: " + j + "\n**Context**: " + c + "\n**Sub-Goal**: " + g + "\n**Tool Name**: **" + n + "**",
		"headings":        "### Justification\n" + j + "\n\n### Context\n" + c + "\n\n### Sub-Goal\n" + g + "\n\n### Tool Name\n" + n,
		"bold headings":   "## **Justification**\n" + j + "\n## **Context**\n" + c + "\n## **Sub-Goal**\n" + g + "\n## **Tool Name**\n" + n,
		"numbered":        "1. Justification: " + j + "\n2. Context: " + c + "\n3. Sub-Goal: " + g + "\n4. Tool Name: " + n,
		"numbered bold":   "1. **Justification:** " + j + "\n2. **Context:** " + c + "\n3. **Sub-Goal:** " + g + "\n4. **Tool Name:** " + n,
		"bold numbered":   "**1. Justification:** " + j + "\n**2. Context:** " + c + "\n**3. Sub-Goal:** " + g + "\n**4. Tool Name:** " + n,
		"bullets":         "- Justification: " + j + "\n- Context: " + c + "\n* Sub-Goal: " + g + "\n• Tool Name: " + n,
		"quoted":          "> Justification: " + j + "\n> Context: " + c + "\n> Sub-Goal: " + g + "\n> Tool Name: " + n,
		"backticks":       "Justification: " + j + "\nContext: " + c + "\nSub-Goal: " + g + "\nTool Name: `" + n + "`",
		"quotes":          "Justification: " + j + "\nContext: " + c + "\nSub-Goal: " + g + "\nTool Name: \"" + n + "\"",
		"text after":      "Justification: " + j + "\nContext: " + c + "\nSub-Goal: " + g + "\nTool Name: " + n + "\nThis tool will find the article.\n\nGood luck!",
		"name below":      "Justification: " + j + "\nContext: " + c + "\nSub-Goal: " + g + "\nTool Name:\n\n" + n,
		"crlf":            "Justification: " + j + "\r\nContext: " + c + "\r\nSub-Goal: " + g + "\r\nTool Name: " + n + "\r\n",
		"cr":              "Justification: " + j + "\rContext: " + c + "\rSub-Goal: " + g + "\rTool Name: " + n + "\r",
		"case":            "JUSTIFICATION: " + j + "\ncontext: " + c + "\nSUB-GOAL: " + g + "\ntool name: " + n,
		"underscores":     "justification: " + j + "\ncontext: " + c + "\nsub_goal: " + g + "\ntool_name: " + n,
		"unicode dash":    "Justification: " + j + "\nContext: " + c + "\nSub\u2011Goal: " + g + "\nTool Name \u2013 " + n,
		"spaces":          "Justification : " + j + "\nContext : " + c + "\nSub Goal : " + g + "\nTool\u00A0Name : " + n,
		"wide colon":      "Justification： " + j + "\nContext： " + c + "\nSubgoal： " + g + "\nTool： " + n,
		"one line":        "Justification: " + j + " Context: " + c + " Sub-Goal: " + g + " Tool Name: " + n,
		"one line bold":   "**Justification:** " + j + " **Context:** " + c + " **Sub-Goal:** " + g + " **Tool Name:** " + n,
		"one line nums":   "1. Justification: " + j + " 2. Context: " + c + " 3. Sub-Goal: " + g + " 4. Tool Name: " + n,
		"chatter before":  "Sure, here is the next step.\n\nJustification: " + j + "\nContext: " + c + "\nSub-Goal: " + g + "\nTool Name: " + n,
		"tool first":      "Tool Name: " + n + "\nSub-Goal: " + g + "\nContext: " + c + "\nJustification: " + j,
		"last wins":       "Justification: a\nContext: b\nSub-Goal: c\nTool Name: Calculator\n\nOn second thoughts:\nJustification: " + j + "\nContext: " + c + "\nSub-Goal: " + g + "\nTool Name: " + n,
		"prompt repeated": "Tool Name: one name from the list\n\nJustification: " + j + "\nContext: " + c + "\nSub-Goal: " + g + "\nTool Name: " + n,
		"last is empty":   "Justification: " + j + "\nContext: " + c + "\nSub-Goal: " + g + "\nTool Name: " + n + "\n\nTool Name:\n",
		"tool described":  "Justification: " + j + "\nContext: " + c + "\nSub-Goal: " + g + "\nTool Name: " + n + "\n\nTool: it searches titles",
		"tool twice":      "Justification: " + j + "\nContext: " + c + "\nSub-Goal: " + g + "\nTool: it searches\nTool Name: " + n + "\n**Tool:** it searches\nTool: so it does",
		"tool unnamed":    "Justification: " + j + "\nContext: " + c + "\nSub-Goal: " + g + "\nTool Name:\n\nTool: " + n,
		"bare plan last":  "Sub-Goal: x\nTool Name: Calculator\n\nNo:\nJustification: " + j + "\nContext: " + c + "\nSub-Goal: " + g + "\nTool: " + n,
		"prompt and bare": "Tool Name: one name from the list\n\nJustification: " + j + "\nContext: " + c + "\nSub-Goal: " + g + "\nTool: " + n,
		"loose described": "Justification -> " + j + "\nContext -> " + c + "\nSub-Goal -> " + g + "\nSelected Tool -> " + n + "\nTool -> it searches",
		"bare last":       "Justification: " + j + "\nContext: " + c + "\nSub-Goal: " + g + "\nTool: Calculator\nTool: " + n,
		"name fenced":     "Justification: " + j + "\nContext: " + c + "\nSub-Goal: " + g + "\nTool Name:\n```text\n" + n + "\n```",
		"fenced":          "```\nJustification: " + j + "\nContext: " + c + "\nSub-Goal: " + g + "\nTool Name: " + n + "\n```",
		"json":            fmt.Sprintf(`{"justification": %q, "context": %q, "sub_goal": %q, "tool_name": %q}`, j, c, g, n),
		"json fenced":     fmt.Sprintf("Here it is:\n```json\n{\n  \"justification\": %q,\n  \"context\": %q,\n  \"sub_goal\": %q,\n  \"tool_name\": %q\n}\n```", j, c, g, n),
		"json keys":       fmt.Sprintf(`{"Justification": %q, "Context": %q, "Sub-Goal": %q, "Tool Name": %q}`, j, c, g, n),
		"lettered":        "a) Justification: " + j + "\nb) Context: " + c + "\nc) Sub-Goal: " + g + "\nd) Tool Name: " + n,
		"dashes":          "– Justification: " + j + "\n– Context: " + c + "\n– Sub-Goal: " + g + "\n– Tool Name: " + n,
		"steps":           "Step 1 - Justification: " + j + "\nStep 2 - Context: " + c + "\nStep 3 - Sub-Goal: " + g + "\nStep 4 - Tool Name: " + n,
		"emoji":           "✅ Justification: " + j + "\n🔍 Context: " + c + "\n🎯 Sub-Goal: " + g + "\n🛠️ Tool Name: " + n,
		"byte order mark": "\uFEFFJustification: " + j + "\nContext: " + c + "\nSub-Goal: " + g + "\nTool Name: " + n,
		"json within":     fmt.Sprintf(`{"next_step": {"justification": %q, "context": %q, "sub_goal": %q, "tool_name": %q}}`, j, c, g, n),
		"json twice":      fmt.Sprintf(`{"sub_goal": "x", "tool_name": "Calculator"} {"justification": %q, "context": %q, "subgoal": %q, "tool": %q}`, j, c, g, n),
		"selected tool":   "Justification: " + j + "\nContext: " + c + "\nSub-Goal: " + g + "\nSelected Tool: " + n,
		"tool to use":     "Justification: " + j + "\nContext: " + c + "\n**Next Sub-Goal:** " + g + "\n**Tool to Use:** " + n,
		"numbered goal":   "Justification: " + j + "\nContext: " + c + "\nSub-Goal 1: " + g + "\nTool 1: " + n,
		"bracket labels":  "[Justification]: " + j + "\n[Context]: " + c + "\n[Sub-Goal]: " + g + "\n[Tool Name]: " + n,
		"angle labels":    "<justification>: " + j + "\n<context>: " + c + "\n<sub_goal>: " + g + "\n<tool_name>: " + n,
		"arrows":          "Justification -> " + j + "\nContext -> " + c + "\nSub-Goal -> " + g + "\nTool Name → " + n,
		"tags":            "<justification>" + j + "</justification>\n<context>\n" + c + "\n</context>\n<sub_goal>" + g + "</sub_goal>\n<tool_name>" + n + "</tool_name>\nDone.",
		"tags in a line":  "<plan><Justification>" + j + "</Justification> <Context>" + c + "</Context> <Sub-Goal>" + g + "</Sub-Goal> <Tool Name>" + n + "</Tool Name></plan>",
		"python":          fmt.Sprintf("{'justification': '%s', 'context': '%s', 'sub_goal': \"%s\", 'tool_name': '%s'}", j, c, g, n),
		"python fenced":   fmt.Sprintf("```python\nplan = {\n    'justification': '%s',\n    'context': '%s',  # where\n    'sub_goal': '%s',\n    'tool_name': '%s',\n}\n```", j, c, g, n),
		"json over lines": fmt.Sprintf("{\"justification\": %q, \"context\": \"\tThe city is Oslo.\n\", \"sub_goal\": %q, \"tool_name\": %q}", j, g, n),
		"json comma":      fmt.Sprintf(`{"justification": %q, "context": %q, "sub_goal": %q, "tool_name": %q,}`, j, c, g, n),
		"json selected":   fmt.Sprintf(`{"justification": %q, "context": %q, "subGoal": %q, "selected_tool": %q}`, j, c, g, n),
		"json empty key":  fmt.Sprintf(`{"justification": %q, "context": %q, "sub_goal": %q, "tool_name": null, "tool": %q}`, j, c, g, n),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParsePlan(text)
			if err != nil || got != want {
				t.Errorf("from\n%s\ngot  %+v, %v\nwant %+v", text, got, err, want)
			}
		})
	}
}

// What is no plan is an error that says what is missing.
func TestParsePlanRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"empty":            {"", errNoTool},
		"prose":            {"I would look it up in the encyclopedia.", errNoTool},
		"prose with words": {"The context is clear, and the tool is good.", errNoTool},
		"no tool":          {"Justification: a\nSub-Goal: b", errNoTool},
		"empty tool":       {"Sub-Goal: b\nTool Name:   \n---\n", errNoTool},
		"no sub-goal":      {"Justification: a\nTool Name: Calculator", errNoSubGoal},
		"json no sub-goal": {`{"tool_name": "Calculator"}`, errNoSubGoal},
		"error object":     {`{"error": "rate limit", "message": "slow down"}`, errNoTool},
		"double keys":      {`{"sub_goal": "a", "tool_name": "X", "tool_name": "Y"}`, errNoTool},
		"python double":    {`{'sub_goal': 'a', 'tool_name': 'X', 'tool_name': 'Y'}`, errNoTool},
		"python code":      {`{'sub_goal': open('x').read(), 'tool_name': 'X'}`, errNoTool},
		"python torn":      {`{'sub_goal': 'a', 'tool_name': 'X'`, errNoTool},
		"tag no sub-goal":  {"<tool_name>Calculator</tool_name>", errNoTool},
		"tool input":       {"Sub-Goal: b\nTool Input: 2 + 2", errNoTool},
	} {
		t.Run(name, func(t *testing.T) {
			if p, err := ParsePlan(c.text); err != c.want {
				t.Errorf("got %+v, %v; expected %v", p, err, c.want)
			}
		})
	}
}

// Sections keep what stands in them: several lines, labels within a line, LaTeX, braces, URLs.
func TestParsePlanKeepsText(t *testing.T) {
	text := "Justification: The set {1, 2} and \\frac{a}{b} matter.\nContext: first line\n\nsecond line: see https://a.b/c?d={e}\n- a list\nSub-Goal: compute $\\sum_{i} x_i$\nTool Name: Calculator"
	got, err := ParsePlan(text)
	want := Plan{Justification: "The set {1, 2} and \\frac{a}{b} matter.", Context: "first line\n\nsecond line: see https://a.b/c?d={e}\n- a list", SubGoal: "compute $\\sum_{i} x_i$", Tool: "Calculator"}
	if err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
}

// Emphasis goes where it wraps all of a section; of parts of it, it stays.
func TestParsePlanEmphasis(t *testing.T) {
	for text, want := range map[string]string{"**find it**": "find it", "**a** and **b**": "**a** and **b**", "compare **a** and **b**": "compare **a** and **b**", "find it**": "find it", "**a** b **c": "**a** b **c"} {
		if got, err := ParsePlan("Sub-Goal: " + text + "\nTool Name: Search"); err != nil || got.SubGoal != want {
			t.Errorf("%q: %q, %v; expected %q", text, got.SubGoal, err, want)
		}
	}
}

// An empty section stands for none: the one before it counts.
func TestParsePlanEmptySection(t *testing.T) {
	got, err := ParsePlan("Sub-Goal: find it\nContext: c\nSub-Goal:\nTool Name: Search")
	if want := (Plan{SubGoal: "find it", Context: "c", Tool: "Search"}); err != nil || got != want {
		t.Errorf("%+v, %v; expected %+v", got, err, want)
	}
}

// Where an object names a section twice, the same one counts every time: the name as it was asked for, then its other
// spellings, then its synonyms.
func TestParsePlanPrecedence(t *testing.T) {
	for text, want := range map[string]Plan{
		`{"tool":"Wikipedia_Search","tool_name":"Calculator","sub_goal":"x","subgoal":"y"}`:           {Tool: "Calculator", SubGoal: "x"},
		`{"subgoal":"y","tool":"Wikipedia_Search","Sub-Goal":"x","Tool Name":"Calculator"}`:           {Tool: "Calculator", SubGoal: "x"},
		`{"Tool Name":"B","tool_name":"A","Sub Goal":"y","sub_goal":"x","Context":"d","context":"c"}`: {Tool: "A", SubGoal: "x", Context: "c"},
		`{"tool-name":"B","Tool Name":"A","sub goal":"y","Sub-Goal":"x"}`:                             {Tool: "A", SubGoal: "x"},
		`{'tool':'B','tool_name':'A','subgoal':'y','sub_goal':'x'}`:                                   {Tool: "A", SubGoal: "x"},
	} {
		for range 200 {
			if got, err := ParsePlan(text); err != nil || got != want {
				t.Fatalf("%s: %+v, %v; expected %+v", text, got, err, want)
			}
		}
	}
}

// A plan written in any mixture of styles reads as itself.
func TestParsePlanProperty(t *testing.T) {
	text := rapid.StringMatching(`[A-Za-z0-9{}\\$%]+( [a-z0-9{}\\,.?()]+){0,6}`)
	label := func(t *rapid.T, words ...string) string {
		l := strings.Join(words, rapid.SampledFrom([]string{" ", "-", "_", "\u2011", ""}).Draw(t, "gap"))
		if rapid.Bool().Draw(t, "upper") {
			l = strings.ToUpper(l)
		}
		l += rapid.SampledFrom([]string{":", " :", "："}).Draw(t, "colon")
		return rapid.SampledFrom([]string{"", "- ", "## ", "3. ", "> "}).Draw(t, "lead") + rapid.SampledFrom([]string{l, "**" + l + "**"}).Draw(t, "bold")
	}
	rapid.Check(t, func(t *rapid.T) {
		want := Plan{Justification: text.Draw(t, "j"), Context: text.Draw(t, "c"), SubGoal: text.Draw(t, "g"), Tool: rapid.StringMatching(`[A-Z][a-z]+(_[A-Z][a-z]+)?`).Draw(t, "tool")}
		gap := rapid.SampledFrom([]string{"\n", "\n\n", "\r\n"}).Draw(t, "newline")
		all := label(t, "Justification") + " " + want.Justification + gap + label(t, "Context") + " " + want.Context + gap +
			label(t, "Sub", "Goal") + " " + want.SubGoal + gap + label(t, "Tool", "Name") + " " + want.Tool + gap
		if got, err := ParsePlan(all); err != nil || got != want {
			t.Fatalf("from\n%s\ngot  %+v, %v\nwant %+v", all, got, err, want)
		}
	})
}

func FuzzParsePlan(f *testing.F) {
	f.Add("Justification: a\nContext: b\nSub-Goal: c\nTool Name: `D`")
	f.Add(`{"sub_goal": "a", "tool_name": "b", "context": {"x": [1]}}`)
	f.Add("**Sub\u2011Goal** – {{{{ Tool Name: x\r\n")
	f.Add("\xff\xfe{\"tool\":")
	f.Add("<sub_goal>a</sub_goal><tool_name>b")
	f.Add("{'sub_goal': 'a\\'', 'tool_name': \"\"\"b\"\"\", 'x': (1, {})}")
	f.Add("[Next Sub-Goal 2] -> a\nTool to use: 1) b")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParsePlan(text)
		if err == nil && (p.Tool == "" || p.SubGoal == "") {
			t.Errorf("no error for %+v", p)
		}
		if strings.ContainsAny(p.Tool, "\n\r") {
			t.Errorf("tool of several lines: %q", p.Tool)
		}
	})
}
