package rollout

import (
	"errors"
	"regexp"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// The sections of a plan, in the order the planner is asked for them.
const (
	justification = iota
	planContext
	subGoal
	toolName
	nSections
)

// labels match the name of each section; the first character class takes any dash, space or underscore.
var labels = [nSections]string{
	`justification`,
	`context`,
	`sub` + between + `goals?`,
	`tool(?:` + between + `name)?`,
}

const between = `[-_\s\x{00A0}\x{2010}-\x{2015}\x{2212}]*`

// A label opens a line, after any of: quote mark, bullet, heading marks, a number; in markdown or not. A separator
// follows, or the label is the whole line.
var labelLine = regexp.MustCompile(`(?i)^[\s>]*(?:[-*+•]\s+)?(?:#{1,6}\s*)?[*_` + "`" + `]*(?:\(?\d{1,2}[.):]\s*)?[*_` + "`" + `]*\s*(?:` +
	alternatives(labels[:]) + `)\s*[*_` + "`" + `]*\s*(?:[:：=]|\s[-\x{2013}\x{2014}]\s|$)[*_` + "`" + `]*`)

// Plans written in one line have their labels anywhere; only a colon makes them one then.
var labelInline = regexp.MustCompile(`(?i)(?:\b\d{1,2}[.)]\s*)?[*_]*\b(?:` +
	alternatives([]string{labels[justification], labels[planContext], labels[subGoal], `tool` + between + `name`}) + `)\s*[*_]*\s*[:：][*_]*`)

func alternatives(names []string) string {
	return "(" + strings.Join(names, ")|(") + ")"
}

// Errors of ParsePlan: what the planner reads about its own text at the next turn.
var (
	errNoTool    = errors.New(`no "Tool Name" section`)
	errNoSubGoal = errors.New(`no "Sub-Goal" section`)
)

// ParsePlan reads a planner's answer: sections labelled Justification, Context, Sub-Goal and Tool Name. It is lenient
// in form and strict in substance. Taken as written by models: markdown (bold, headings, bullets, numbers, backticks),
// any case, any dash or underscore in a label, text after the tool's name, sections in one line, a JSON object with the
// sections as keys, CRLF. Where a section comes several times, the last plan wins: the last tool name and what stands
// before it. A plan without a sub-goal or a tool name is an error that says which is missing; Plan then holds what was
// there. The tool's name is not checked here: Plan.Tool is its line, without markdown.
func ParsePlan(text string) (Plan, error) {
	text = strings.ToValidUTF8(text, "\uFFFD")
	text = strings.ReplaceAll(text, "\r\n", "\n")
	text = strings.ReplaceAll(text, "\r", "\n")
	plan, err := assemble(sectionsByLine(text))
	if err == nil {
		return plan, nil
	}
	if p, ok := planFromJSON(text); ok {
		return p, p.missing()
	}
	if p, e := assemble(sectionsInline(text)); e == nil {
		return p, nil
	}
	return plan, err
}

func (p *Plan) missing() error {
	switch {
	case p.Tool == "":
		return errNoTool
	case p.SubGoal == "":
		return errNoSubGoal
	}
	return nil
}

// section is one labelled stretch of text.
type section struct {
	what int
	text string
}

func sectionsByLine(text string) []section {
	var found []section
	for line := range strings.SplitSeq(text, "\n") {
		if m := labelLine.FindStringSubmatchIndex(line); m != nil {
			found = append(found, section{whichLabel(m), line[m[1]:]})
		} else if n := len(found); n > 0 {
			found[n-1].text += "\n" + line
		}
	}
	return found
}

func sectionsInline(text string) []section {
	var found []section
	matches := labelInline.FindAllStringSubmatchIndex(text, -1)
	for i, m := range matches {
		end := len(text)
		if i+1 < len(matches) {
			end = matches[i+1][0]
		}
		found = append(found, section{whichLabel(m), text[m[1]:end]})
	}
	return found
}

// whichLabel tells which alternative of a label expression matched.
func whichLabel(m []int) int {
	for i := range nSections {
		if m[2+2*i] >= 0 {
			return i
		}
	}
	return justification
}

// assemble takes the last tool name, and of every other section the last before it, or else the last at all.
func assemble(found []section) (Plan, error) {
	at := len(found)
	var p Plan
	for i := len(found) - 1; i >= 0 && p.Tool == ""; i-- {
		if found[i].what == toolName {
			p.Tool, at = firstLine(found[i].text), i
		}
	}
	pick := func(what int) string {
		for i := at - 1; i >= 0; i-- {
			if t := tidy(found[i].text); found[i].what == what && t != "" {
				return t
			}
		}
		for i := len(found) - 1; i > at; i-- {
			if t := tidy(found[i].text); found[i].what == what && t != "" {
				return t
			}
		}
		return ""
	}
	p.Justification, p.Context, p.SubGoal = pick(justification), pick(planContext), pick(subGoal)
	return p, p.missing()
}

// firstLine is the first line that holds anything, without markdown and quotes around it.
func firstLine(s string) string {
	for line := range strings.SplitSeq(s, "\n") {
		if t := strings.Trim(strings.TrimSpace(line), "*_`\"'“”‘’#> \t"); t != "" && strings.IndexFunc(t, isWord) >= 0 {
			return t
		}
	}
	return ""
}

// tidy trims a section: space, emphasis that wraps all of it, rules and fences at its end.
func tidy(s string) string {
	s = strings.TrimSpace(s)
	for _, end := range []string{"```", "---", "***", "**"} {
		if t, ok := strings.CutSuffix(s, end); ok && strings.Count(t, end)%2 == 0 {
			s = strings.TrimSpace(t)
		}
	}
	if len(s) > 4 && strings.HasPrefix(s, "**") && strings.HasSuffix(s, "**") {
		s = s[2 : len(s)-2]
	}
	return strings.TrimSpace(s)
}

func isWord(c rune) bool { return unicode.IsLetter(c) || unicode.IsDigit(c) }

// planFromJSON reads the last JSON object in the text that has a tool name.
func planFromJSON(text string) (Plan, bool) {
	var plan Plan
	ok := false
	for object := range jsonObjects(text) {
		var fields map[string]jsontext.Value
		if json.Unmarshal(object, &fields) != nil {
			continue
		}
		var p Plan
		for key, v := range fields {
			switch strings.ReplaceAll(foldName(key), "_", "") {
			case "justification":
				p.Justification = jsonText(v)
			case "context":
				p.Context = jsonText(v)
			case "subgoal":
				p.SubGoal = jsonText(v)
			case "toolname", "tool":
				p.Tool = firstLine(jsonText(v))
			}
		}
		if p.Tool != "" {
			plan, ok = p, true
		}
	}
	return plan, ok
}

// jsonText is a string's text, and any other value as it is written.
func jsonText(v jsontext.Value) string {
	var s string
	if json.Unmarshal(v, &s) == nil {
		return strings.TrimSpace(s)
	}
	return strings.TrimSpace(string(v))
}
