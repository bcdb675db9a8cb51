package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress shows how far a command is: a bar on a terminal, now and then a plain line elsewhere. Not safe for concurrent use.
type progress struct {
	w           io.Writer
	name, unit  string
	done, total int
	bar         *progressbar.ProgressBar // on a terminal
	last        time.Time                // of the last plain line
}

// plainEvery is the time between two plain lines: short commands print none.
const plainEvery = 10 * time.Second

// newProgress begins to show work of total units, -1 where that is not known.
func newProgress(w io.Writer, name, unit string, total int) *progress {
	p := &progress{w: w, name: name, unit: unit, total: total, last: time.Now()}
	if onTerminal(w) {
		p.bar = progressbar.NewOptions(total, progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(name),
			progressbar.OptionShowCount(),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(), progressbar.OptionFullWidth())
	}
	return p
}

// onTerminal says whether w is a terminal that lines can be painted over on, with a reader before it.
func onTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" && os.Getenv("CI") == ""
}

// add counts n more units as done.
func (p *progress) add(n int) { p.addf(n, "") }

// addf does too, and says beside it how the work goes.
func (p *progress) addf(n int, format string, args ...any) {
	p.done += n
	note := ""
	if format != "" {
		note = ", " + fmt.Sprintf(format, args...)
	}
	if p.bar != nil {
		p.bar.Describe(p.fit(p.name + note))
		_ = p.bar.Add(n) // a terminal that cannot be written to stops nothing
		return
	}
	if time.Since(p.last) < plainEvery {
		return
	}
	p.last = time.Now()
	if p.total >= 0 {
		fmt.Fprintf(p.w, "%s: %d of %d %s%s\n", p.name, p.done, p.total, p.unit, note)
		return
	}
	fmt.Fprintf(p.w, "%s: %d %s%s\n", p.name, p.done, p.unit, note)
}

// besideBar are the columns that a bar takes beside its description: share, counts and times.
const besideBar = 46

// fit cuts a description to what a line of the terminal has room for: one that wraps cannot be painted over.
func (p *progress) fit(text string) string {
	columns, _, err := term.GetSize(int(p.w.(*os.File).Fd()))
	if r := []rune(text); err == nil && len(r) > columns-besideBar {
		return string(r[:max(columns-besideBar, 0)])
	}
	return text
}

// end takes the bar off the terminal.
func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}
