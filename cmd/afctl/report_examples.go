package main

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"afctl/bench/eval"
	"afctl/bench/suite"
	"afctl/flow"
)

// Bounds of a report's size: of its texts in characters, and of what is shown step by step.
const (
	mostPromptText = 4000
	mostText       = 2000 // any other
	mostFamilies   = 12   // that examples are chosen of
	mostSolves     = 32   // of a task that was asked for: the first and the last ones
)

// reportExample is a task with solves of it, step by step.
type reportExample struct {
	Task     string        `json:"task"`
	ID       string        `json:"id,omitzero"` // the row's own
	Family   string        `json:"family"`
	Question string        `json:"question"`
	Answers  []string      `json:"answers"` // accepted
	Solves   []reportSolve `json:"solves"`
}

// reportSolve is one solve.
type reportSolve struct {
	Phase         string       `json:"phase"`
	Step          int          `json:"step"`
	Sample        int          `json:"sample"`
	Reward        *float64     `json:"reward"` // null: it failed
	Solved        bool         `json:"solved"`
	Answer        string       `json:"answer"`
	Failure       string       `json:"failure,omitzero"`
	FailureDetail string       `json:"failure_detail,omitzero"`
	PolicyVersion int          `json:"policy_version"`
	AdapterHash   string       `json:"adapter_hash"`
	Temperature   float64      `json:"temperature"`
	MS            float64      `json:"ms"`
	Retries       int          `json:"retries"`
	Turns         []reportTurn `json:"turns"`
}

// reportTurn is one planner call with what came of it.
type reportTurn struct {
	Prompt        string  `json:"prompt,omitzero"` // absent without a tokenizer, as is Action
	PromptTokens  int     `json:"prompt_tokens"`
	Action        string  `json:"action,omitzero"`
	ActionTokens  int     `json:"action_tokens"`
	Stop          string  `json:"stop"`
	Justification string  `json:"justification,omitzero"`
	Context       string  `json:"context,omitzero"`
	SubGoal       string  `json:"sub_goal,omitzero"`
	Tool          string  `json:"tool"`
	Args          string  `json:"args,omitzero"`
	Result        string  `json:"result,omitzero"`
	ErrorKind     string  `json:"error_kind,omitzero"`
	Error         string  `json:"error,omitzero"`
	Repeats       bool    `json:"repeats"` // a call that failed before
	Verdict       string  `json:"verdict,omitzero"`
	VerdictNote   string  `json:"verdict_note,omitzero"`
	MS            float64 `json:"ms"`
}

// solvedReward is from which reward on a solve counts as solved; scorers give 1, but for rounding.
const solvedReward = 1 - 1e-9

func solved(t *flow.Trajectory) bool { return !t.Failed() && *t.Reward >= solvedReward }

// keepChosen keeps the solves of tasks that were asked for: of every evaluation, and of the last step that trained on them.
func (b *reportBuilder) keepChosen(batch reportBatch) {
	for _, id := range b.in.chosen {
		fresh := true
		for i := range batch.solves {
			if batch.solves[i].Task != id {
				continue
			}
			if fresh && batch.phase == phaseTrain {
				b.chosen[id] = slices.DeleteFunc(b.chosen[id], func(s reportSolve) bool { return s.Phase == phaseTrain })
			}
			fresh = false
			if len(b.chosen[id]) == mostSolves {
				b.chosen[id] = slices.Delete(b.chosen[id], 1, 2)
			}
			b.chosen[id] = append(b.chosen[id], b.solve(batch, i))
		}
	}
}

// examples are the tasks that were asked for, or of each family one that is solved and one that is not, in the last evaluation; without
// evaluations, in the last rollouts. Solved ones are preferably such as were not before, and then show the solve of before as well.
func (b *reportBuilder) examples() []reportExample {
	list := []reportExample{}
	if len(b.in.chosen) > 0 {
		for _, id := range b.in.chosen {
			if solves := b.chosen[id]; len(solves) > 0 {
				list = append(list, b.example(id, solves...))
			}
			if len(b.chosen[id]) == mostSolves {
				b.d.Notes = append(b.d.Notes, fmt.Sprintf("Of task %s no more than %d solves are shown: the first and the last ones.", clip(id, mostText), mostSolves))
			}
		}
		return list
	}
	batch := b.latest
	if len(batch.solves) == 0 {
		batch = b.trained
	}
	before := map[string]int{} // index of the first solve
	if batch.phase != phaseTrain && b.first.step != batch.step {
		for i := range b.first.solves {
			if _, ok := before[b.first.solves[i].Task]; !ok {
				before[b.first.solves[i].Task] = i
			}
		}
	}
	families := b.d.Families
	if len(families) == 0 {
		families = []string{""}
	}
	for _, family := range families[:min(len(families), mostFamilies)] {
		learned, right, wrong := -1, -1, -1
		for i := range batch.solves {
			t := &batch.solves[i]
			if family != "" && b.tasks[t.Task].Meta[flow.MetaFamily] != family {
				continue
			}
			was, known := before[t.Task]
			switch {
			case !solved(t):
				wrong = firstOf(wrong, i)
			case known && !solved(&b.first.solves[was]):
				learned = firstOf(learned, i)
			default:
				right = firstOf(right, i)
			}
		}
		if learned >= 0 {
			id := batch.solves[learned].Task
			list = append(list, b.example(id, b.solve(b.first, before[id]), b.solve(batch, learned)))
		} else if right >= 0 {
			list = append(list, b.example(batch.solves[right].Task, b.solve(batch, right)))
		}
		if wrong >= 0 {
			list = append(list, b.example(batch.solves[wrong].Task, b.solve(batch, wrong)))
		}
	}
	return list
}

// firstOf keeps the first index that was set.
func firstOf(have, found int) int {
	if have >= 0 {
		return have
	}
	return found
}

func (b *reportBuilder) example(id string, solves ...reportSolve) reportExample {
	t := b.tasks[id]
	e := reportExample{Task: clip(id, mostText), ID: clip(t.Meta[suite.MetaID], mostText), Family: clip(t.Meta[flow.MetaFamily], mostText), Question: clip(t.Question, mostText), Answers: []string{}, Solves: solves}
	for _, a := range t.Answers {
		e.Answers = append(e.Answers, clip(a, mostText))
	}
	return e
}

func (b *reportBuilder) solve(batch reportBatch, i int) reportSolve {
	t := &batch.solves[i]
	s := reportSolve{
		Phase: batch.phase, Step: batch.step, Sample: t.Sample, Reward: t.Reward, Solved: solved(t), Answer: clip(t.Answer, mostText),
		Failure: clip(t.Failure, mostText), FailureDetail: clip(t.FailureDetail, mostText), PolicyVersion: t.PolicyVersion,
		AdapterHash: clip(t.AdapterHash, mostText), Temperature: t.Sampling.Temperature, MS: t.TotalMS, Retries: t.Retries, Turns: []reportTurn{},
	}
	for n := range eval.Turns(t) {
		var u reportTurn
		if n < len(t.Turns) {
			turn := &t.Turns[n]
			u.PromptTokens, u.ActionTokens, u.Stop = len(turn.Prompt), len(turn.Action), clip(string(turn.Stop), mostText)
			if b.in.decode != nil {
				u.Prompt, u.Action = clip(b.in.decode(turn.Prompt), mostPromptText), clip(b.in.decode(turn.Action), mostText)
			}
		}
		if n < len(t.Steps) {
			p := &t.Steps[n]
			u.Tool, u.Repeats, u.MS = clip(eval.ToolLabel(p), mostText), eval.RepeatsFailure(t.Steps, n), p.TotalMS
			for _, f := range []struct {
				to   *string
				from string
			}{{&u.Justification, p.Justification}, {&u.Context, p.Context}, {&u.SubGoal, p.SubGoal}, {&u.Args, string(p.Args)}, {&u.Result, p.Result},
				{&u.ErrorKind, p.ErrorKind}, {&u.Error, p.Error}, {&u.Verdict, string(p.Verdict)}, {&u.VerdictNote, p.VerdictNote}} {
				*f.to = clip(f.from, mostText)
			}
		}
		s.Turns = append(s.Turns, u)
	}
	return s
}

// clip makes a text from outside safe to look at: at most n characters of it, with what is not UTF-8 replaced, and with what would act on a
// page or a terminal, such as control characters and changes of the writing direction, shown as a sign or a code.
func clip(s string, n int) string {
	var b strings.Builder
	for i, r := range s {
		if n == 0 {
			fmt.Fprintf(&b, " … (%d more characters)", utf8.RuneCountInString(s[i:]))
			break
		}
		n--
		switch {
		case r == '\n' || r == '\t':
			b.WriteRune(r)
		case r < ' ':
			b.WriteRune('\u2400' + r) // control pictures
		case r == 0x7f:
			b.WriteRune('\u2421')
		case unicode.In(r, unicode.Cc, unicode.Bidi_Control, unicode.Zl, unicode.Zp):
			fmt.Fprintf(&b, "[U+%04X]", r)
		default:
			b.WriteRune(r) // an invalid byte comes as U+FFFD
		}
	}
	return b.String()
}
