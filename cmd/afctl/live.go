package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"afctl/bench/eval"
	"afctl/flow"

	"golang.org/x/term"
)

// paintEvery is the time between two paintings of the panel.
const paintEvery = 100 * time.Millisecond

// liveView shows how a run goes: on a terminal a panel of a few lines that is painted over, elsewhere a line per step and per
// evaluation. Its methods are safe for concurrent use, and those that tell of events take microseconds: the panel is painted by a
// goroutine of its own, which Close ends. Every painting leaves the terminal as it found it, the cursor visible on the line below the
// panel, so that a process may be killed at any moment. A terminal or a pipe that cannot be written to stops nothing.
type liveView struct {
	w     io.Writer
	size  func() (columns, rows int) // of the terminal; nil elsewhere
	color bool

	mu     sync.Mutex
	state  runState
	plain  *progress // of the present phase; only elsewhere, in a command that takes no steps
	notes  []string  // not painted yet
	closed bool

	stop, stopped chan struct{}
	painted       []string // the lines on the screen, without colors; the painter's own
	columns       int      // the width that they were painted for
}

// newLiveView shows on w a run of so many optimizer steps, or with 0 a command that only solves.
func newLiveView(w io.Writer, steps int) *liveView {
	if !onTerminal(w) {
		return startLiveView(w, steps, nil, false)
	}
	size := func() (int, int) {
		columns, rows, err := term.GetSize(int(w.(*os.File).Fd()))
		if err != nil || columns <= 0 || rows <= 0 {
			return 80, 24
		}
		return columns, rows
	}
	return startLiveView(w, steps, size, os.Getenv("NO_COLOR") == "")
}

// startLiveView shows a panel if the size of a terminal is given, and lines if not.
func startLiveView(w io.Writer, steps int, size func() (columns, rows int), color bool) *liveView {
	v := &liveView{w: w, size: size, color: color, state: runState{steps: steps}}
	if size != nil {
		v.stop, v.stopped = make(chan struct{}), make(chan struct{})
		go v.painter()
	}
	return v
}

// Resume tells what a run has behind it that goes on: the metrics of its steps, and the evaluation before training or nil.
func (v *liveView) Resume(past []flow.Metrics, before *eval.Summary) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, m := range past {
		v.state.metrics(m)
	}
	if before != nil {
		v.state.evaluated(0, before)
	}
}

// BeginRollouts begins the rollouts of an update: total, of which some are there already.
func (v *liveView) BeginRollouts(total int, have []flow.Trajectory) {
	v.begin(newPhase(phaseSolve, total, have))
}

// BeginEval begins an evaluation of total solves, of which some are there already.
func (v *liveView) BeginEval(total int, have []flow.Trajectory) {
	v.begin(newPhase(phaseEvaluate, total, have))
}

func (v *liveView) begin(p *phase) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.state.beginPhase(p)
	if v.size == nil && v.state.steps == 0 {
		v.plain = newProgress(v.w, p.name, "solves", p.total)
		v.plain.done = p.done()
	}
}

// Rollout tells of a solve of the present phase. One that is told of again, as where a failed solve was tried again, counts once.
func (v *liveView) Rollout(t *flow.Trajectory) {
	v.mu.Lock()
	defer v.mu.Unlock()
	p := v.state.phase
	if p == nil {
		return
	}
	before := p.done()
	p.add(t)
	if v.plain != nil {
		v.plain.addf(p.done()-before, "reward %s", figureText("%.2f", p.reward()))
	}
}

// Metrics tells of an optimizer step.
func (v *liveView) Metrics(m flow.Metrics) {
	v.mu.Lock()
	defer v.mu.Unlock()
	began := v.state.workBegan()
	v.state.metrics(m)
	if v.size == nil {
		v.println(v.state.stepLine(time.Since(began)))
	}
}

// Eval tells what the evaluation after so many optimizer steps found.
func (v *liveView) Eval(step int, s eval.Summary) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.state.evaluated(step, &s)
	if v.size == nil {
		v.println(v.state.evalLine(step, &s))
	}
}

// Note says something in passing, if it is anything; on a terminal it stays above the panel.
func (v *liveView) Note(text string) {
	if text == "" {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	text = printable(text)
	if v.size == nil || v.closed {
		v.println(text)
		return
	}
	v.notes = append(v.notes, text)
}

// Close paints the panel a last time, and leaves it on the screen. A second Close does nothing.
func (v *liveView) Close() {
	v.mu.Lock()
	if v.closed {
		v.mu.Unlock()
		return
	}
	v.closed = true
	if v.plain != nil {
		v.println(v.state.phase.line(time.Since(v.state.phase.begin)))
	}
	v.mu.Unlock()
	if v.size != nil {
		close(v.stop)
		<-v.stopped
		v.paint()
	}
}

// println writes a line where there is no panel.
func (v *liveView) println(text string) { _, _ = io.WriteString(v.w, text+"\n") }

// painter paints until it is stopped.
func (v *liveView) painter() {
	defer close(v.stopped)
	ticker := time.NewTicker(paintEvery)
	defer ticker.Stop()
	for {
		select {
		case <-v.stop:
			return
		case <-ticker.C:
			v.paint()
		}
	}
}

// Control sequences of terminals (ECMA-48, and DEC's private modes).
const (
	hideCursor, showCursor = "\x1b[?25l", "\x1b[?25h"
	wrapOff, wrapOn        = "\x1b[?7l", "\x1b[?7h"
	clearLine, clearBelow  = "\x1b[K", "\x1b[J"
)

// paint writes the panel over the one on the screen, the new notes above it. What is written is one write: it is made under the lock,
// and written outside of it, so that a terminal that is held (Ctrl-S) holds nothing else.
func (v *liveView) paint() {
	columns, rows := v.size()
	v.mu.Lock()
	notes := v.notes
	v.notes = nil
	lines := v.state.panel(columns, time.Now(), v.closed)
	v.mu.Unlock()
	lines = lines[:min(len(lines), rows-1)]

	texts := make([]string, len(lines))
	for i, l := range lines {
		texts[i] = l.text(false)
	}
	if len(notes) == 0 && columns == v.columns && slices.Equal(texts, v.painted) {
		return
	}
	var b strings.Builder
	b.WriteString(hideCursor)
	if up := min(rowsOf(v.painted, columns), rows-1); up > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", up)
	}
	b.WriteByte('\r')
	for _, n := range notes {
		b.WriteString(n + clearLine + "\n")
	}
	b.WriteString(wrapOff)
	for _, l := range lines {
		b.WriteString(l.text(v.color) + clearLine + "\n")
	}
	b.WriteString(clearBelow + wrapOn + showCursor)
	v.painted, v.columns = texts, columns
	_, _ = io.WriteString(v.w, b.String())
}

// rowsOf is how many rows lines take on a screen that has become this wide: terminals break longer ones anew.
func rowsOf(lines []string, columns int) int {
	n := 0
	for _, l := range lines {
		n += max(1, (utf8.RuneCountInString(l)+columns-1)/columns)
	}
	return n
}
