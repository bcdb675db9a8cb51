package gym

import (
	"fmt"
	"strings"
	"sync"
	"text/template"

	"afctl/rollout"
)

// promptText is the planner's prompt. A tiny model pays for every token: what does not change is a few words, and stands
// first; the question follows; then, turn by turn, what was planned and what came of it. Since a plan is remembered in the very
// words it is written in, the prompt of a turn begins with the prompt and the answer of the turn before.
const promptText = `{{define "user" -}}
Plan one step.
Base_Generator: common facts
Calculator: sums
Wikipedia_Search: one name
Web_Search: one address or name
Question: {{.Question}}
{{transcript .Memory .MaxTurns}}Turn {{.Turn}} of {{.MaxTurns}}
{{- end}}`

// Template is the planner's prompt in the gym, for rollout.ModelPlanner. The answer it asks for is Answer's.
var Template = sync.OnceValues(func() (*template.Template, error) {
	return template.New("gym planner").Funcs(template.FuncMap{"transcript": transcript}).Parse(promptText)
})

// transcript writes a rendered memory (rollout.Memory.Render) as the planner saw it come about: every step under the
// number of its turn, the plan in the words of Answer. What the executor made of it is left out, for the result tells; of an
// error only the kind is told, for the planner cannot mend more than its choice.
func transcript(memory string, maxTurns int) string {
	var b strings.Builder
	failed := false
	for line := range strings.Lines(memory) {
		if failed && strings.HasPrefix(line, " ") {
			continue // of the error's text
		}
		failed = false
		switch label, text, _ := strings.Cut(line, " "); label {
		case "Step":
			line = fmt.Sprintf("Turn %s of %d\n", strings.TrimSpace(text), maxTurns)
		case "Tool:":
			line = toolLabel + text
		case "Arguments:":
			continue
		case "Error":
			kind, _, _ := strings.Cut(text, ":")
			line, failed = "Error "+strings.TrimSpace(kind)+"\n", true
		}
		b.WriteString(line)
	}
	return b.String()
}

const (
	goalLabel = "Sub-Goal: "
	toolLabel = "Tool Name: "
)

// Answer is a plan as the gym's planner writes it; rollout.ParsePlan reads it.
func Answer(p rollout.Plan) string {
	return goalLabel + p.SubGoal + "\n" + toolLabel + p.Tool
}
