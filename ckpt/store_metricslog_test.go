package ckpt

import (
	"bytes"
	"errors"
	"fmt"
	"golang.org/x/sys/unix"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func metricsLine(step int) string { return fmt.Sprintf(`{"step":%d,"loss":0.5}`, step) }

// Truncating after n whole lines and any part of the next gives the lines up to a step, and the log goes on from there.
func TestTruncateMetrics(t *testing.T) {
	path := filepath.Join(scratch(t), "metrics.jsonl")
	rapid.Check(t, func(t *rapid.T) {
		steps := rapid.IntRange(0, 12).Draw(t, "steps")
		var content, want strings.Builder
		to := rapid.IntRange(0, 14).Draw(t, "to")
		for s := 1; s <= steps; s++ {
			content.WriteString(metricsLine(s) + "\n")
			if s <= to {
				want.WriteString(metricsLine(s) + "\n")
			}
		}
		torn := metricsLine(steps + 1)
		content.WriteString(torn[:rapid.IntRange(0, len(torn)).Draw(t, "torn")])
		content.WriteString(strings.Repeat("\x00", rapid.IntRange(0, 3).Draw(t, "zeros"))) // as after a power cut
		if err := os.WriteFile(path, []byte(content.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		last, err := TruncateMetrics(path, to)
		if err != nil || last != min(steps, to) {
			t.Fatalf("last step %d, error %v; %d expected", last, err, min(steps, to))
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != want.String() {
			t.Fatalf("%q left, expected %q (%v)", got, want.String(), err)
		}
		l, err := OpenMetricsLog(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(l.Append([]byte(metricsLine(to+1))), l.Close()); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != want.String()+metricsLine(to+1)+"\n" {
			t.Fatalf("%q after an append (%v)", got, err)
		}
	})
}

// What is not metrics is not cut away but named.
func TestTruncateMetricsRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.jsonl")
	for _, c := range []struct{ content, want string }{
		{"{\"step\":1}\nnothing\n{\"step\":2}\n", "line 2"},
		{"{\"step\":1}\n{\"loss\":2}\n", "line 2"},
		{"{\"step\":1}\n{\"Step\":2}\n", "Step"},
		{"{\"step\":1,\"step\":2}\n{\"step\":2}\n", "line 1"},
		{"{\"step\":3}\n{\"step\":2}\n", ":2"},
		{"{\"step\":1.5}\n{\"step\":2}\n", "line 1"},
		{"{\"step\":1,\"x\":\"" + strings.Repeat("x", maxMetricsLine) + "\"}\n", "bytes"},
	} {
		if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := TruncateMetrics(path, 0); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.40q: error %v, expected one with %q", c.content, err, c.want)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != c.content {
			t.Errorf("%.40q: the file was changed (%v)", c.content, err)
		}
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := TruncateMetrics(pipe, 0); err == nil || !strings.Contains(err.Error(), pipe+": found a named pipe") {
		t.Errorf("a pipe: %v", err)
	}
	if _, err := OpenMetricsLog(pipe); err == nil || !strings.Contains(err.Error(), "found a named pipe") {
		t.Errorf("a pipe: %v", err)
	}
	if last, err := TruncateMetrics(filepath.Join(t.TempDir(), "none"), 5); err != nil || last != 0 {
		t.Errorf("no file: %d, %v", last, err)
	}
}

// Every line whose Append returned nil is in the file whatever fails later, and after a fault the log says so for good.
func TestMetricsLogSurvivesEveryFault(t *testing.T) {
	const lines = 3
	acknowledged := 0
	run := func(d disk, dir string) error {
		acknowledged = 0
		l, err := openMetricsLog(d, filepath.Join(dir, "metrics.jsonl"))
		if err != nil {
			return err
		}
		defer l.Close()
		for s := 1; s <= lines; s++ {
			if err := l.Append([]byte(metricsLine(s))); err != nil {
				if again := l.Append([]byte(metricsLine(s))); !errors.Is(again, err) {
					t.Errorf("after error %v: error %v", err, again)
				}
				return err
			}
			acknowledged = s
		}
		return nil
	}
	forEachFault(t, func(*testing.T, string) {}, run, func(t *testing.T, dir string, d *faultyDisk, _ error) {
		if d.fault == lostBytes {
			return // nobody can acknowledge what such a disk says
		}
		path := filepath.Join(dir, "metrics.jsonl")
		before, _ := os.ReadFile(path)
		last, err := TruncateMetrics(path, lines)
		if err != nil || last < acknowledged {
			t.Fatalf("last step %d, error %v; at least %d expected", last, err, acknowledged)
		}
		if after, _ := os.ReadFile(path); bytes.Count(after, []byte("\n")) != last || !bytes.HasPrefix(before, after) {
			t.Fatalf("%q after %q", after, before)
		}
	})
}

func TestMetricsLogRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.jsonl")
	l, err := OpenMetricsLog(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"", "{}", `{"step":-1}`, "{\"step\":1}\n", "{\"step\":\n1}", `{"step":1}{"step":2}`} {
		if err := l.Append([]byte(line)); err == nil {
			t.Errorf("%q: no error", line)
		}
	}
	if err := l.Append([]byte(metricsLine(1))); err != nil { // a refused line breaks nothing
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := l.Append([]byte(metricsLine(2))); !errors.Is(err, os.ErrClosed) {
		t.Errorf("after Close: error %v", err)
	}
	if err := os.WriteFile(path, []byte(metricsLine(1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenMetricsLog(path); !errors.Is(err, ErrTorn) {
		t.Errorf("a torn file: error %v, expected ErrTorn", err)
	}
}

func FuzzTruncateMetrics(f *testing.F) {
	for _, s := range []string{"", metricsLine(1), metricsLine(1) + "\n" + metricsLine(2) + "\n{\"st", "\n", "{\"step\":1}\r\n", "{\"step\":1e3}\n\x00"} {
		f.Add([]byte(s), 1)
	}
	f.Fuzz(func(t *testing.T, data []byte, step int) {
		last, keep, err := scanMetrics("metrics.jsonl", bytes.NewReader(data), step)
		if err != nil {
			return
		}
		if keep < 0 || keep > int64(len(data)) || last > max(step, 0) || keep > 0 && data[keep-1] != '\n' {
			t.Fatalf("step %d: %d bytes of %d kept, up to step %d", step, keep, len(data), last)
		}
		again, kept, err := scanMetrics("metrics.jsonl", bytes.NewReader(data[:keep]), step)
		if err != nil || again != last || kept != keep {
			t.Fatalf("a second scan: step %d, %d bytes, error %v", again, kept, err)
		}
	})
}
