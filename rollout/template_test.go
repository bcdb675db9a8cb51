package rollout

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"afctl/flow"

	"golang.org/x/sys/unix"
)

// hostile holds what would break a prompt made by formatting or by a template of the question.
const hostile = `Solve {x} in {{.Answer}} where \frac{a}{b} = %d %s {{range .Tools}} $\sum_{i=1}^{n}$ {{end}} <b>&amp; "quoted" ` + "`tick`"

func userText(t *testing.T, slot string, d PromptData) (system, user string) {
	t.Helper()
	tmpl, err := DefaultTemplate(slot)
	if err != nil {
		t.Fatal(err)
	}
	chat, err := messages(tmpl, d)
	if err != nil {
		t.Fatal(err)
	}
	return chat[0].Content, chat[1].Content
}

// Whatever stands in a question, an analysis, a result or an answer is in the prompt as it is.
func TestPromptDataIsData(t *testing.T) {
	m := remember([]flow.Step{{SubGoal: hostile, Tool: "Search", Args: json.RawMessage(`{"q":"{{.}}"}`), Result: hostile}})
	d := PromptData{
		Question: hostile, Analysis: hostile, Memory: m.Render(0, nil), Turn: 1, MaxTurns: 3, Tools: []ToolSpec{{Name: "T", Description: hostile, Limits: hostile}},
		Plan: Plan{Context: hostile, SubGoal: hostile}, Tool: ToolSpec{Name: "T", Description: hostile, Schema: json.RawMessage(`{"a":1}`)}, Answer: hostile, Accepted: []string{hostile},
	}
	for slot, least := range map[string]int{SlotAnalyst: 1, SlotPlanner: 4, SlotExecutor: 4, SlotVerifier: 4, SlotGenerator: 4, SlotJudge: 3} {
		system, user := userText(t, slot, d)
		if n := strings.Count(system+user, hostile); n < least {
			t.Errorf("%s: the hostile text stands %d times in the prompt, expected %d:\n%s\n%s", slot, n, least, system, user)
		}
	}
}

// Successive planner prompts of a solve share everything up to the end of the memory: only the turn counter follows.
func TestPlannerPromptSharesPrefix(t *testing.T) {
	var steps []flow.Step
	for i := range 4 {
		steps = append(steps, flow.Step{SubGoal: "goal", Tool: "Search", Result: strings.Repeat("word ", 10*i+1)})
	}
	in := Input{Question: "what?", Analysis: "look", Tools: []ToolSpec{echo("Search").Spec()}, MaxTurns: 5}
	var system, user string
	for turn := 1; turn <= 5; turn++ {
		in.Turn, in.Memory = turn, remember(steps[:turn-1])
		s, u := userText(t, SlotPlanner, in.promptData(0, nil))
		contains(t, "prompt", u, "turn "+string(rune('0'+turn))+" of 5", in.Memory.Render(0, nil))
		if turn > 1 {
			if s != system {
				t.Errorf("turn %d: the system message changed", turn)
			}
			shared := 0
			for shared < min(len(u), len(user)) && u[shared] == user[shared] {
				shared++
			}
			before := remember(steps[:turn-2]).Render(0, nil)
			if end := strings.Index(user, before) + len(before); before != "" && shared < end {
				t.Errorf("turn %d shares %d bytes with the one before, whose memory ends at %d", turn, shared, end)
			}
			if i := strings.Index(user, "Memory"); shared < i {
				t.Errorf("turn %d shares %d bytes, the memory begins at %d", turn, shared, i)
			}
		}
		system, user = s, u
	}
}

// A user's template takes the place of the built-in one; one that cannot work is refused at the start.
func TestLoadTemplate(t *testing.T) {
	dir := t.TempDir()
	load := func(text string) error {
		path := filepath.Join(dir, "planner.tmpl")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		tmpl, err := LoadTemplate(path)
		if err == nil {
			chat, err := messages(tmpl, PromptData{Question: "Q", Turn: 2, MaxTurns: 3})
			if err != nil || len(chat) != 1 || chat[0].Content != "Q 2/3" || chat[0].Role != "user" {
				t.Errorf("%+v, %v", chat, err)
			}
		}
		return err
	}
	if err := load(`{{define "user"}}{{.Question}} {{.Turn}}/{{.MaxTurns}}{{end}}`); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]struct{ text, want string }{
		"field":           {`{{define "user"}}{{.Qestion}}{{end}}`, "no field Qestion, one of Question, Analysis, "},
		"field of a tool": {`{{define "user"}}{{range .Tools}}{{.Nme}}{{end}}{{end}}`, "no field Nme, one of Name, Description, Schema, Limits, Examples, Timeout expected"}, "syntax": {`{{define "user"}}{{.Question`, "planner.tmpl"},
		"no user": {`{{define "system"}}x{{end}}`, `define "user"`}, "system field": {`{{define "user"}}x{{end}}{{define "system"}}{{.Foo}}{{end}}`, "Foo"},
	} {
		t.Run(name, func(t *testing.T) {
			err := load(c.text)
			if err == nil {
				t.Fatal("taken")
			}
			contains(t, "error", err.Error(), "planner.tmpl", c.want)
		})
	}
	if _, err := LoadTemplate(filepath.Join(dir, "absent.tmpl")); err == nil {
		t.Error("an absent file is taken")
	}
	pipe := filepath.Join(dir, "pipe.tmpl")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{pipe: "found a named pipe, expected a regular file", "/dev/zero": "found a device, expected a regular file"} {
		_, err := LoadTemplate(path)
		if err == nil {
			t.Fatalf("%s is taken", path)
		}
		contains(t, "error", err.Error(), path, want)
	}
	err := load(`{{define "user"}}{{end}}` + strings.Repeat(" ", maxTemplateBytes))
	if err == nil {
		t.Fatal("a file without end is taken")
	}
	contains(t, "error", err.Error(), "planner.tmpl", "more than 4194304 bytes")
	if _, err := DefaultTemplate("nobody"); err == nil {
		t.Error("a slot that does not exist has a template")
	}
}
