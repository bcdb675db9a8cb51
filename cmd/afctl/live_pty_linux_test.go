package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"regexp"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// openPTY opens a pseudo-terminal of so many columns: the side of the screen, and that of the program.
func openPTY(t *testing.T, columns uint16) (screen, program *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("this machine has no pseudo-terminals: %v", err)
	}
	t.Cleanup(func() { screen.Close() })
	if err := unix.IoctlSetPointerInt(int(screen.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(screen.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprint("/dev/pts/", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	if err := unix.IoctlSetWinsize(int(program.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns}); err != nil {
		t.Fatal(err)
	}
	return screen, program
}

// TestProgressWidth: no line of a bar is wider than the terminal, whatever stands beside it.
func TestProgressWidth(t *testing.T) {
	t.Setenv("TERM", "xterm")
	t.Setenv("CI", "")
	for _, columns := range []int{60, 80, 100} {
		screen, program := openPTY(t, uint16(columns))
		output := make(chan []byte, 1)
		go func() {
			all, _ := io.ReadAll(screen)
			output <- all
		}()
		for _, total := range []int{4000, -1} {
			p := newProgress(program, "update", "steps", total)
			for range 12 {
				time.Sleep(30 * time.Millisecond) // some of them are painted
				p.addf(300, "loss %.4g, grad norm %.3g", -0.090641234, 0.2351)
			}
			p.end()
		}
		program.Close()
		painted := 0
		for _, line := range bytes.FieldsFunc(<-output, func(r rune) bool { return r == '\r' || r == '\n' }) {
			if n := utf8.RuneCount(regexp.MustCompile("\x1b\\[[0-9;]*[A-Za-z]").ReplaceAll(line, nil)); n > columns {
				t.Errorf("%d columns of %d: %q", n, columns, line)
			}
			if bytes.Contains(line, []byte("update")) {
				painted++
			}
		}
		if painted < 2 {
			t.Errorf("%d columns: %d bars painted", columns, painted)
		}
	}
}

// TestLiveTerminal: a terminal gets a panel as wide as it is, without colors where NO_COLOR asks for none; a dumb one, and one of CI, gets lines.
func TestLiveTerminal(t *testing.T) {
	for _, c := range []struct {
		name, value  string
		panel, color bool
	}{
		{"TERM", "xterm", true, true},
		{"NO_COLOR", "1", true, false},
		{"TERM", "dumb", false, false},
		{"CI", "true", false, false},
	} {
		t.Run(c.name+"="+c.value, func(t *testing.T) {
			for _, name := range []string{"NO_COLOR", "CI"} {
				t.Setenv(name, "")
			}
			t.Setenv("TERM", "xterm")
			t.Setenv(c.name, c.value)
			screen, program := openPTY(t, 40)
			output := make(chan []byte)
			go func() {
				all, _ := io.ReadAll(screen) // ends with an error once the program's side is closed
				output <- all
			}()
			v := newLiveView(program, 2)
			v.BeginRollouts(2, nil)
			v.Rollout(liveSolve("a", 1, 1, "Search"))
			v.Metrics(liveMetrics(1, 0.5))
			v.Close()
			program.Close()
			var got []byte
			select {
			case got = <-output:
			case <-time.After(10 * time.Second):
				t.Fatal("the pseudo-terminal does not end")
			}
			if found := bytes.Contains(got, []byte(clearBelow)); found != c.panel {
				t.Errorf("a panel: %v, expected %v: %q", found, c.panel, got)
			}
			if found := bytes.Contains(got, []byte(sgrReset)); found != c.color {
				t.Errorf("colors: %v, expected %v: %q", found, c.color, got)
			}
			if !c.panel && !bytes.Contains(got, []byte("step 1/2  reward 0.50")) {
				t.Errorf("found %q, expected a line of the step", got)
			}
			// "entropy" has no room in 40 columns, in 80 it has.
			if bytes.Contains(got, []byte("entropy")) {
				t.Errorf("found %q, expected what fits 40 columns", got)
			}
		})
	}
}
