package rollout

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"text/template"

	"afctl/ckpt"
)

// PromptData is what a template sees. Which fields are set goes by slot: all of Input's for every slot but the judge,
// which sees Question, Answer and Accepted.
type PromptData struct {
	Question string
	Analysis string
	Tools    []ToolSpec // Schema and the arguments of examples print with {{printf "%s" .Schema}}
	Memory   string     // rendered within the slot's budget; empty before the first step
	Turn     int        // of this call, from 1
	MaxTurns int
	Plan     Plan     // executor: what the planner decided
	Tool     ToolSpec // executor: the chosen tool
	Answer   string   // judge: the answer to mark
	Accepted []string // judge: the accepted answers
}

//go:embed prompts/*.tmpl
var promptFiles embed.FS

// defaults holds the built-in templates, parsed at the first use.
var defaults = sync.OnceValues(func() (map[string]*template.Template, error) {
	all := map[string]*template.Template{}
	for _, slot := range []string{SlotAnalyst, SlotPlanner, SlotExecutor, SlotVerifier, SlotGenerator, SlotJudge} {
		name := "prompts/" + slot + ".tmpl"
		text, err := promptFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		if all[slot], err = parseTemplate(name, string(text)); err != nil {
			return nil, err
		}
	}
	return all, nil
})

// DefaultTemplate is the built-in template of a slot.
func DefaultTemplate(slot string) (*template.Template, error) {
	all, err := defaults()
	if err != nil {
		return nil, err
	}
	t, ok := all[slot]
	if !ok {
		return nil, fmt.Errorf("template: no slot %q", slot)
	}
	return t, nil
}

// LoadTemplate reads a user's template from a file, in place of the built-in one. A template defines "user", the
// message that carries the question, and may define "system", what stands before it; their data is PromptData. Both
// are tried once on sample data here, so that a misspelt field is an error at the start that names file and line.
//
// For the planner, keep first what does not change, and last the memory and the turn counter: successive turns then
// share their prefix, which is computed once.
func LoadTemplate(path string) (*template.Template, error) {
	text, err := ReadTemplate(path)
	if err != nil {
		return nil, err
	}
	return parseTemplate(path, string(text))
}

// maxTemplateBytes bounds the file of a template.
const maxTemplateBytes = 4 << 20

// ReadTemplate returns the text of a template's file.
func ReadTemplate(path string) ([]byte, error) {
	f, err := ckpt.OpenRegular(path)
	if err != nil {
		return nil, fmt.Errorf("template: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxTemplateBytes+1))
	if err == nil && len(text) > maxTemplateBytes {
		err = fmt.Errorf("%s: more than %d bytes, too long for a template", path, maxTemplateBytes)
	}
	if err != nil {
		return nil, fmt.Errorf("template: %w", err)
	}
	return text, nil
}

func parseTemplate(name, text string) (*template.Template, error) {
	t, err := template.New(name).Parse(text)
	if err != nil {
		return nil, fmt.Errorf("template %s: %w", name, err)
	}
	if t.Lookup("user") == nil {
		return nil, fmt.Errorf(`template %s: no {{define "user"}}, expected one (and optionally {{define "system"}})`, name)
	}
	spec := ToolSpec{Name: "Tool", Schema: json.RawMessage(`{}`), Limits: "none", Examples: []ToolExample{{Args: json.RawMessage(`{}`)}}}
	sample := PromptData{
		Question: "question", Analysis: "analysis", Memory: "memory", Turn: 1, MaxTurns: 3, Tools: []ToolSpec{spec}, Tool: spec,
		Plan: Plan{Justification: "why", Context: "context", SubGoal: "goal", Tool: "Tool"}, Answer: "answer", Accepted: []string{"answer"},
	}
	for _, part := range []string{"system", "user"} {
		if t.Lookup(part) == nil {
			continue
		}
		if err := t.ExecuteTemplate(io.Discard, part, sample); err != nil {
			return nil, fmt.Errorf("template %s: %w", name, knownFields(err))
		}
	}
	return t, nil
}

var unknownField = regexp.MustCompile(`can't evaluate field (\w+) in type \*?rollout\.(\w+)`)

// knownFields says of a field that a template's data do not have which there are.
func knownFields(err error) error {
	found := unknownField.FindStringSubmatch(err.Error())
	if found == nil {
		return err
	}
	var names []string
	for _, data := range []any{PromptData{}, Plan{}, ToolSpec{}, ToolExample{}} {
		if of := reflect.TypeOf(data); of.Name() == found[2] {
			for f := range of.Fields() {
				if f.IsExported() {
					names = append(names, f.Name)
				}
			}
		}
	}
	return errors.New(unknownField.ReplaceAllString(err.Error(), "no field $1, one of "+strings.Join(names, ", ")+" expected"))
}

// messages renders a template. Whatever stands in the data is data: it is inserted as it is and never read as a template.
func messages(t *template.Template, data PromptData) ([]Message, error) {
	var all []Message
	for _, role := range []string{"system", "user"} {
		if role == "system" && t.Lookup(role) == nil {
			continue
		}
		var b strings.Builder
		if err := t.ExecuteTemplate(&b, role, data); err != nil {
			return nil, fmt.Errorf("template %s: %w", t.Name(), err)
		}
		all = append(all, Message{Role: role, Content: strings.TrimSpace(b.String())})
	}
	return all, nil
}

// promptData is Input as a template sees it.
func (in *Input) promptData(budget int, count func(string) int) PromptData {
	d := PromptData{Question: in.Question, Analysis: in.Analysis, Tools: in.Tools, Turn: in.Turn, MaxTurns: in.MaxTurns}
	if in.Memory != nil {
		d.Memory = in.Memory.Render(budget, count)
	}
	return d
}
