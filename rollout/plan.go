package rollout

import (
	"errors"
	"maps"
	"regexp"
	"slices"
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

// looseLabels take what models put around the names that they were given: "Selected Tool", "Next Sub-Goal 2".
var looseLabels = [nSections]string{
	labels[justification],
	labels[planContext],
	qualified + labels[subGoal] + numbered,
	qualified + `tools?(?:` + between + `(?:name|used|to` + between + `use|selected|selection|chosen|choice))?` + numbered,
}

const (
	qualified = `(?:(?:the|selected|chosen|suggested|recommended|required|proposed|best|next|current|new)` + between + `)*`
	numbered  = `(?:\s*#?\d{1,2})?`
)

// A label opens a line, after any of: quote mark, bullet, heading marks, a number; in markdown or not. A separator
// follows, or the label is the whole line.
var labelLine = openingLine(labels, "*_`", `[:：=]|\s[-\x{2013}\x{2014}]\s|$`)

// The same with loose labels, in quotes or brackets too, and with arrows. Read where labelLine finds no plan: it takes
// more of the prose around a plan for labels.
var looseLine = openingLine(looseLabels, "*_`\"'“”<>\\[\\]", `[:：=]|\s[-\x{2013}\x{2014}]\s|[-=]+>|→|$`)

func openingLine(labels [nSections]string, marks, separator string) *regexp.Regexp {
	marks = "[" + marks + "]*"
	return regexp.MustCompile(`(?i)^[\s>]*(?:[-*+•–—]\s+|[\p{So}\x{FE0F}]+\s*|step\s+\d{1,2}\s*[-–—:.]\s*)?(?:#{1,6}\s*)?` + marks + `(?:\(?(?:\d{1,2}|[a-h])[.):]\s*)?` + marks + `\s*(?:` +
		alternatives(labels[:]) + `)\s*` + marks + `\s*(?:` + separator + `)` + marks)
}

// Plans written in one line have their labels anywhere; only a colon makes them one then.
var labelInline = regexp.MustCompile(`(?i)(?:\b\d{1,2}[.)]\s*)?[*_]*\b(?:` +
	alternatives([]string{labels[justification], labels[planContext], labels[subGoal], `tool` + between + `name`}) + `)\s*[*_]*\s*[:：][*_]*`)

// Plans written as XML: <sub_goal>...</sub_goal>.
var labelTag = regexp.MustCompile(`(?i)</?\s*(?:` + alternatives(looseLabels[:]) + `)\s*>\s*[:：]?`)

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
// any case, any dash or underscore in a label, text after the tool's name, sections in one line, a JSON object or a
// Python dict with the sections as keys, CRLF; and where that gives no plan, XML tags and labels with words of the
// model's own ("Selected Tool"). Where a section comes several times, the last plan wins: the last tool name and what
// stands before it. A plan without a sub-goal or a tool name is an error that says which is missing; Plan then holds
// what was there. The tool's name is not checked here: Plan.Tool is its line, without markdown.
func ParsePlan(text string) (Plan, error) {
	text = strings.TrimPrefix(strings.ToValidUTF8(text, "\uFFFD"), "\uFEFF")
	text = strings.ReplaceAll(text, "\r\n", "\n")
	text = strings.ReplaceAll(text, "\r", "\n")
	plan, err := assemble(sectionsByLine(labelLine, text))
	if err == nil {
		return plan, nil
	}
	if p, ok := planFromJSON(text); ok {
		plan, err = p, p.missing()
		if err == nil {
			return plan, nil
		}
	}
	for _, found := range [][]section{sectionsWithin(labelInline, text), sectionsWithin(labelTag, text), sectionsByLine(looseLine, text)} {
		if p, e := assemble(found); e == nil {
			return p, nil
		}
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
	bare bool // the label of a tool's name is "Tool" alone, as that of a remark about it may be
}

// sectionsByLine are the sections whose label opens a line.
func sectionsByLine(label *regexp.Regexp, text string) []section {
	var found []section
	for line := range strings.SplitSeq(text, "\n") {
		if m := label.FindStringSubmatchIndex(line); m != nil {
			found = append(found, section{whichLabel(m), line[m[1]:], bareLabel(line, m)})
		} else if n := len(found); n > 0 {
			found[n-1].text += "\n" + line
		}
	}
	return found
}

// sectionsWithin are the sections whose label stands anywhere; a closing tag ends one and begins none.
func sectionsWithin(label *regexp.Regexp, text string) []section {
	var found []section
	matches := label.FindAllStringSubmatchIndex(text, -1)
	for i, m := range matches {
		end := len(text)
		if i+1 < len(matches) {
			end = matches[i+1][0]
		}
		if !strings.HasPrefix(text[m[0]:], "</") {
			found = append(found, section{whichLabel(m), text[m[1]:end], bareLabel(text, m)})
		}
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

// bareLabel tells whether the label that matched in s is the word "tool" and no more.
func bareLabel(s string, m []int) bool {
	label := m[2+2*toolName:]
	return label[0] >= 0 && strings.EqualFold(s[label[0]:label[1]], "tool")
}

// assemble takes the last tool name, and of every other section the last before it, or else the last at all. What a plan
// says of its tool under "Tool:" behind "Tool Name:" is no name: that takes a sub-goal of its own.
func assemble(found []section) (Plan, error) {
	at := len(found)
	var p Plan
	for i := len(found) - 1; i >= 0; i-- {
		if p.Tool != "" && found[i].what == subGoal {
			break
		}
		if name := firstLine(found[i].text); found[i].what == toolName && name != "" && (p.Tool == "" || !found[i].bare) {
			if p.Tool, at = name, i; !found[i].bare {
				break
			}
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

// firstLine is the first line that holds anything, without markdown and quotes around it. The line that opens a fence
// and names its language counts only where the fence holds nothing.
func firstLine(s string) string {
	language := ""
	for line := range strings.SplitSeq(s, "\n") {
		t := strings.Trim(strings.TrimSpace(line), "*_`\"'“”‘’#> \t")
		switch {
		case strings.IndexFunc(t, isWord) >= 0:
			if language != "" || !openFence.MatchString(line) {
				return t
			}
			language = t
		case language != "" && strings.Contains(line, "```"):
			return language
		}
	}
	return language
}

var openFence = regexp.MustCompile("^\\s*```[a-z]+\\s*$")

// tidy trims a section: space, emphasis that wraps all of it, rules and fences at its end.
func tidy(s string) string {
	s = strings.TrimSpace(s)
	for _, end := range []string{"```", "---", "***", "**"} {
		if t, ok := strings.CutSuffix(s, end); ok && strings.Count(t, end)%2 == 0 {
			s = strings.TrimSpace(t)
		}
	}
	if strings.Count(s, "**") == 2 && strings.HasPrefix(s, "**") && strings.HasSuffix(s, "**") {
		s = s[2 : len(s)-2]
	}
	return strings.TrimSpace(s)
}

func isWord(c rune) bool { return unicode.IsLetter(c) || unicode.IsDigit(c) }

// planKeys are the names of the sections as keys of an object, folded, the likeliest first.
var planKeys = [nSections][]string{
	justification: {"justification"},
	planContext:   {"context"},
	subGoal:       {"sub_goal", "subgoal"},
	toolName:      {"tool_name", "toolname", "tool", "selected_tool", "chosen_tool"},
}

// planFromJSON reads the last JSON object in the text that has a tool name.
func planFromJSON(text string) (Plan, bool) {
	var plan Plan
	ok := false
	for object := range jsonObjects(text) {
		var fields map[string]jsontext.Value
		if json.Unmarshal(object, &fields) != nil {
			continue
		}
		if len(fields) == 1 { // {"next_step": {...}}
			for _, only := range fields {
				var within map[string]jsontext.Value
				if json.Unmarshal(only, &within) == nil {
					fields = within
				}
			}
		}
		if tool := firstLine(field(fields, planKeys[toolName]...)); tool != "" {
			plan, ok = Plan{Justification: field(fields, planKeys[justification]...), Context: field(fields, planKeys[planContext]...),
				SubGoal: field(fields, planKeys[subGoal]...), Tool: tool}, true
		}
	}
	return plan, ok
}

// field is the text that an object has under one of these names, the likeliest first: the first that has a text counts,
// as written before any other case or separator of it, and of those the first in byte order.
func field(fields map[string]jsontext.Value, names ...string) string {
	keys := slices.Sorted(maps.Keys(fields))
	for _, name := range names {
		if s := jsonText(fields[name]); s != "" {
			return s
		}
		for _, key := range keys {
			if s := jsonText(fields[key]); strings.Join(nameWords(key), "_") == name && s != "" {
				return s
			}
		}
	}
	return ""
}

// jsonText is a string's text, and any other value as it is written.
func jsonText(v jsontext.Value) string {
	var s string
	if json.Unmarshal(v, &s) == nil {
		return strings.TrimSpace(s)
	}
	return strings.TrimSpace(string(v))
}
