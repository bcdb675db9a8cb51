package score

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"afctl/flow"
)

// Errors that a caller can tell apart.
var (
	// ErrUnknown is returned for a scorer's name that is not registered.
	ErrUnknown = errors.New("unknown scorer")
	// ErrTruth is returned where the rule cannot use a task's ground truth: the task is at fault, not the answer.
	ErrTruth = errors.New("unusable ground truth")
)

// Judge is the scorer of tasks that no rule can mark: a model does (rollout.ModelJudge), and none of the rules here.
const Judge = "judge"

// MaxAnswer is the most bytes of an answer that are looked at, from its end, where the answer stands.
const MaxAnswer = 16 << 10

// Grade is what a scorer says of one answer.
type Grade struct {
	Reward float64 // 0..1
	Reason string  // one line, for the reader of a report
}

// Func is one rule. It returns ErrTruth for a task that it cannot judge.
type Func func(task flow.Task, answer string) (Grade, error)

// rules is the registry; names are what Task.Scorer and configs hold.
var rules = map[string]Func{
	"exact":  Exact,
	"f1":     F1,
	"number": Number,
	"choice": Choice,
	"yesno":  YesNo,
	"game24": Game24,
}

// Names lists the registered scorers in alphabetical order.
func Names() []string { return slices.Sorted(maps.Keys(rules)) }

// Lookup finds a scorer by name.
func Lookup(name string) (Func, error) {
	if f, ok := rules[name]; ok {
		return f, nil
	}
	return nil, fmt.Errorf("%w %q: expected one of %s", ErrUnknown, name, strings.Join(append(Names(), Judge), ", "))
}

// Score grades an answer with the task's own scorer, or with exact where it names none.
func Score(task flow.Task, answer string) (Grade, error) {
	f, err := Lookup(cmp.Or(task.Scorer, "exact"))
	if err != nil {
		return Grade{}, fmt.Errorf("task %s: %w", task.ID, err)
	}
	return f(task, answer)
}

// Rule is Score in the shape that a solver takes (rollout.Scorer).
func Rule(_ context.Context, task flow.Task, answer string) (float64, error) {
	g, err := Score(task, answer)
	return g.Reward, err
}

// truths returns the accepted answers that are not blank, or ErrTruth.
func truths(task flow.Task) ([]string, error) {
	var out []string
	for _, a := range task.Answers {
		if a = strings.TrimSpace(a); a != "" {
			out = append(out, a)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: task %s: answers: found none, expected at least one", ErrTruth, task.ID)
	}
	return out, nil
}

func right(format string, args ...any) Grade {
	return Grade{Reward: 1, Reason: fmt.Sprintf(format, args...)}
}

func wrong(format string, args ...any) Grade {
	return Grade{Reason: fmt.Sprintf(format, args...)}
}

// excerptRunes is as much of an answer as a reason quotes: one table cell.
const excerptRunes = 60

// excerpt shortens text to one line for a reason.
func excerpt(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if text == "" {
		return "(empty)"
	}
	if r := []rune(text); len(r) > excerptRunes {
		return string(r[:excerptRunes-1]) + "…"
	}
	return text
}
