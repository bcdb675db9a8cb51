package main

import (
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

// fakeTerminal is a terminal of the kind that breaks lines anew when it is resized. It knows the control sequences that a panel needs,
// and complains of every other, and of a write after which it is not as it was.
type fakeTerminal struct {
	t interface {
		Helper()
		Errorf(string, ...any)
	}
	mu            sync.Mutex
	columns, rows int
	lines         []string // up to the ends of lines
	cursor        int      // a line; it is always at the beginning of one between writes
	hidden, cut   bool     // the cursor; what is beyond the last column
	colored       bool     // something was
	writes        []time.Time
}

var controlSequence = regexp.MustCompile(`^\x1b\[(\??)([0-9]*)([A-Za-z])`)

func (f *fakeTerminal) size() (int, int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.columns, f.rows
}

func (f *fakeTerminal) resize(columns int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.columns = columns
}

func (f *fakeTerminal) height(line string) int {
	return max(1, (utf8.RuneCountInString(line)+f.columns-1)/f.columns)
}

func (f *fakeTerminal) Write(b []byte) (int, error) {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writes = append(f.writes, time.Now())
	column := 0
	for text := string(b); text != ""; {
		if m := controlSequence.FindStringSubmatch(text); m != nil {
			text = text[len(m[0]):]
			f.control(m, column)
			continue
		}
		r, n := utf8.DecodeRuneInString(text)
		text = text[n:]
		switch {
		case r == '\r':
			column = 0
		case r == '\n':
			f.cursor++
			column = 0
		case unicode.IsControl(r):
			f.t.Errorf("wrote %U", r)
		case f.cut && column >= f.columns:
		default:
			f.at(column, string(r))
			column++
		}
	}
	if f.hidden || f.cut || column != 0 {
		f.t.Errorf("after %q: cursor hidden %v, lines cut %v, column %d", b, f.hidden, f.cut, column)
	}
	return len(b), nil
}

// at puts text at a column of the line of the cursor.
func (f *fakeTerminal) at(column int, text string) {
	for len(f.lines) <= f.cursor {
		f.lines = append(f.lines, "")
	}
	line := []rune(f.lines[f.cursor])
	rest := []rune{}
	if column+utf8.RuneCountInString(text) < len(line) {
		rest = line[column+utf8.RuneCountInString(text):]
	}
	f.lines[f.cursor] = string(line[:column]) + text + string(rest)
}

func (f *fakeTerminal) control(m []string, column int) {
	f.t.Helper()
	n, _ := strconv.Atoi(m[2])
	switch m[1] + m[3] {
	case "m":
		f.colored = true
	case "A":
		for n > 0 && f.cursor > 0 {
			f.cursor--
			n -= f.height(f.lines[f.cursor])
		}
		if n != 0 {
			f.t.Errorf("the cursor went up into the middle of a line, or above the screen, by %d", -n)
		}
	case "K":
		if f.cursor < len(f.lines) {
			f.lines[f.cursor] = string([]rune(f.lines[f.cursor])[:column])
		}
	case "J":
		f.lines = f.lines[:min(f.cursor, len(f.lines))]
	case "?h", "?l":
		on := m[3] == "h"
		switch n {
		case 25:
			f.hidden = !on
		case 7:
			f.cut = !on
		default:
			f.t.Errorf("unknown mode %q", m[0])
		}
	default:
		f.t.Errorf("unknown control sequence %q", m[0])
	}
}

func (f *fakeTerminal) screen() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.lines, "\n") + "\n"
}
