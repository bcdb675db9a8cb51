package rollout

import (
	"cmp"
	"fmt"
	"strings"

	"afctl/flow"
)

// Memory is what one solve has done so far: its steps, in order. It is made fresh for every solve, belongs to that
// solve alone, and only grows. A Memory is not safe for concurrent use; a solve's calls come one after the other.
type Memory struct{ steps []flow.Step }

// NewMemory gives an empty memory.
func NewMemory() *Memory { return &Memory{} }

// Append adds a step.
func (m *Memory) Append(s flow.Step) { m.steps = append(m.steps, s) }

// Steps is a view of the steps, oldest first. The caller must not change it.
func (m *Memory) Steps() []flow.Step { return m.steps[:len(m.steps):len(m.steps)] }

// last is the step of the running turn, which the solver completes with the verdict and the times.
func (m *Memory) last() *flow.Step { return &m.steps[len(m.steps)-1] }

// Render is the memory as a module reads it, in at most budget tokens as count counts them. Budget 0 means no limit;
// a nil count takes a token for every four bytes. Count may be any tokenizer that makes at most one token of a byte.
//
// While nothing has to be cut, the text of a memory begins with the text that the same memory had a step earlier, so
// that successive prompts of a solve share it. Over the budget, results are cut, oldest first; then whole steps, oldest
// first; the newest result is shortened last and keeps half the budget if it needs that. Every cut is marked; where
// not even the newest step fits, only the mark remains. Text of tools is indented from its second line on, so that a
// result cannot pass itself off as another step.
func (m *Memory) Render(budget int, count func(string) int) string {
	if count == nil {
		count = estimateTokens
	}
	entries := make([]entry, len(m.steps))
	for i := range m.steps {
		entries[i] = newEntry(&m.steps[i])
	}
	text := join(entries)
	if budget <= 0 || len(text) <= budget || count(text) <= budget {
		return text
	}
	for i := range entries {
		entries[i].measure(count)
	}
	// Tokenizers merge across the pieces that were counted, mostly to fewer tokens; where it came to more, aim lower.
	aim := budget
	for range 4 {
		text = cut(entries, aim, count)
		over := count(text) - budget
		if over <= 0 {
			return text
		}
		aim -= over
	}
	return mark(entries)
}

// entry is a step as text: head and tail are kept as long as the step is, the body is cut first.
type entry struct {
	turn                          int
	head, body, tail              string
	nHead, nBody, nTail, nCutMark int // tokens
}

func newEntry(s *flow.Step) entry {
	var b strings.Builder
	line := func(label, text string) {
		if text != "" {
			fmt.Fprintf(&b, "%s: %s\n", label, indent(text))
		}
	}
	fmt.Fprintf(&b, "Step %d\n", s.Turn)
	line("Sub-Goal", s.SubGoal)
	line("Tool", s.Tool)
	line("Arguments", string(s.Args))
	e := entry{turn: s.Turn}
	if s.ErrorKind != "" {
		fmt.Fprintf(&b, "Error (%s): ", s.ErrorKind)
		e.body = indent(s.Error)
	} else {
		b.WriteString("Result: ")
		e.body = indent(cmp.Or(s.Result, "(nothing)"))
	}
	e.head = b.String()
	b.Reset()
	b.WriteString("\n")
	line("Verifier", s.VerdictNote)
	e.tail = b.String()
	return e
}

func indent(s string) string {
	return strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n  ")
}

func (e *entry) measure(count func(string) int) {
	e.nHead, e.nBody, e.nTail = count(e.head), count(e.body), count(e.tail)
	e.nCutMark = count(e.cutMark())
}

func (e *entry) cutMark() string { return fmt.Sprintf("[cut, %d tokens]", e.nBody) }

func join(entries []entry) string {
	var b strings.Builder
	for _, e := range entries {
		b.WriteString(e.head)
		b.WriteString(e.body)
		b.WriteString(e.tail)
	}
	return b.String()
}

// mark stands for steps that were cut altogether.
func mark(entries []entry) string {
	if len(entries) == 1 {
		return fmt.Sprintf("[step %d cut]\n", entries[0].turn)
	}
	return fmt.Sprintf("[steps %d to %d cut]\n", entries[0].turn, entries[len(entries)-1].turn)
}

// cut renders measured entries in about aim tokens.
func cut(all []entry, aim int, count func(string) int) string {
	entries := append([]entry(nil), all...)
	total := 0
	for _, e := range entries {
		total += e.nHead + e.nBody + e.nTail
	}
	last := len(entries) - 1
	for i := 0; i < last && total > aim; i++ {
		if e := &entries[i]; e.nCutMark < e.nBody {
			total -= e.nBody - e.nCutMark
			e.body, e.nBody = e.cutMark(), e.nCutMark
		}
	}
	// What the newest result may take at least; without it, an old step goes.
	newest := &entries[last]
	floor := min(newest.nBody, aim/2)
	gone := 0
	nMark := 0
	for gone < last && total-newest.nBody+floor+nMark > aim {
		e := entries[gone]
		total -= e.nHead + e.nBody + e.nTail
		gone++
		nMark = count(mark(all[:gone]))
	}
	var dropped string
	if gone > 0 {
		dropped = mark(all[:gone])
		total += nMark
	}
	if total > aim {
		room := aim - (total - newest.nBody)
		if room <= 0 {
			return mark(all)
		}
		newest.body = clipTokens(newest.body, newest.nBody, room, count)
	}
	return dropped + join(entries[gone:])
}

// clipTokens keeps the beginning of a text of n tokens so that it takes at most room, the mark included.
func clipTokens(s string, n, room int, count func(string) int) string {
	for keep := len(s) * room / max(n, 1); keep > 0; keep = keep * 7 / 8 {
		head := prefix(s, keep)
		short := head + fmt.Sprintf(" [cut, %d more tokens]", max(n-count(head), 0))
		if count(short) <= room {
			return short
		}
	}
	return fmt.Sprintf("[cut, %d tokens]", n)
}
