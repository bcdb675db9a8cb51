package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"afctl/ckpt"
)

// withBrokenPipe runs the program with a pipe without a reader as stdout or stderr, and returns its status and what it wrote to the other.
func withBrokenPipe(t *testing.T, stdout bool, args ...string) (status int, other string) {
	t.Helper()
	r, w, err := os.Pipe()
	if err == nil {
		err = r.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	var text bytes.Buffer
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), actAsProgram+"=1")
	cmd.Stdout, cmd.Stderr = &text, w
	if stdout {
		cmd.Stdout, cmd.Stderr = w, &text
	}
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), text.String()
}

// TestBrokenPipes: without a reader of stderr the work is done all the same; without one of stdout it ends without a word, and leaves nothing.
func TestBrokenPipes(t *testing.T) {
	dir, temp := t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", temp)
	model := tinyModel(t, true, ckpt.F32)
	update := []string{"update", "--model", model, "--trajectories", writeFile(t, "t.jsonl", strings.Join(tinyTrajectories(1, 2, 2), "")), "--out", filepath.Join(dir, "out")}
	if status, _ := withBrokenPipe(t, false, update...); status != exitDone {
		t.Errorf("update, nobody reads stderr: status %d", status)
	}
	adapterIn(t, filepath.Join(dir, "out"))
	if status, _ := withBrokenPipe(t, false, "score", "--model", "nowhere", "--in", "nowhere", "--out", filepath.Join(dir, "scores")); status != exitFailed {
		t.Errorf("score that fails, nobody reads stderr: status %d", status)
	}
	planner := gymLikeModel(t, filepath.Join(dir, "planner"))
	for _, args := range [][]string{
		{"init"},
		{"rollout", "--model", planner, "--tasks", "gym:heldout", "--n", "1", "--group", "1", "--set", "flow.max_action_tokens=4", "--set", "rollout.max_turns=1", "--set", "engine.kv_tokens=20000"},
	} {
		status, errs := withBrokenPipe(t, true, args...)
		if status != exitPipe || strings.Contains(errs, "broken pipe") {
			t.Errorf("%s, nobody reads stdout: status %d, %q", args[0], status, errs)
		}
	}
	checkOnly(t, temp)
	checkOnly(t, dir, "out", "planner")
}

// TestInterruptedWhileReading: an end that is asked for while stdin is silent is one at once, and leaves nothing.
func TestInterruptedWhileReading(t *testing.T) {
	model := tinyModel(t, true, ckpt.F32)
	for _, args := range [][]string{{"score", "--in", "-"}, {"update", "--trajectories", "-"}, {"sft", "--data", "-"}} {
		stdin := &silent{reading: make(chan struct{}), ends: make(chan struct{})}
		defer close(stdin.ends)
		endsWhenAsked(t, stdin, func() { <-stdin.reading }, append(args, "--model", model)...)
	}
}

// TestInterruptedWhileWaiting: the same of a named pipe that nobody has opened to write.
func TestInterruptedWhileWaiting(t *testing.T) {
	model := tinyModel(t, true, ckpt.F32)
	for name, args := range map[string][]string{"d.jsonl": {"sft", "--model", model, "--data"}, "t.jsonl": {"update", "--model", model, "--trajectories"}, "docs.jsonl": {"index", "--in"}, "docs.xml": {"index", "--in"}, "c.yaml": {"update", "--model", model, "--trajectories", os.DevNull, "--config"}} {
		pipe := filepath.Join(t.TempDir(), name)
		if err := unix.Mkfifo(pipe, 0o600); err != nil {
			t.Fatal(err)
		}
		endsWhenAsked(t, nil, func() { time.Sleep(50 * time.Millisecond) }, append(args, pipe)...) // before or after it waits: it ends
	}
}

// TestInterruptedWhileNobodyReads: the same of an output that is a named pipe, which nobody has opened to read, or which is full.
func TestInterruptedWhileNobodyReads(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	for _, args := range [][]string{
		{"score", "--model", tinyModel(t, true, ckpt.F32), "--in", writeFile(t, "s.jsonl", `{"tokens":[1,2],"start":1}`)},
		{"rollout", "--model", gymLikeModel(t, filepath.Join(t.TempDir(), "planner")), "--tasks", "gym:heldout", "--n", "1", "--group", "1"},
		{"report", "--run", runFolder(t, inputOf())},
	} {
		for _, full := range []bool{false, true} {
			dir := t.TempDir()
			pipe := filepath.Join(dir, "pipe")
			if err := unix.Mkfifo(pipe, 0o600); err != nil {
				t.Fatal(err)
			}
			if full {
				fd, err := unix.Open(pipe, unix.O_RDWR|unix.O_NONBLOCK, 0)
				for err == nil {
					_, err = unix.Write(fd, make([]byte, 4096))
				}
				if !errors.Is(err, unix.EAGAIN) {
					t.Fatal(err)
				}
				defer unix.Close(fd)
			}
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(200*time.Millisecond, cancel) // before or after it waits: it ends
			var errs bytes.Buffer
			if status := run(ctx, append(args, "--out", pipe), nil, io.Discard, &errs); status != exitFailed || !strings.HasSuffix(errs.String(), ": interrupted\n") {
				t.Errorf("%s, a pipe that is full: %v: status %d, %s", args[0], full, status, errs.String())
			}
			checkOnly(t, dir, "pipe")
		}
	}
	checkOnly(t, temp)
}

// TestInterruptedWhileStdoutIsFull: the same of a reader of stdout that takes nothing.
func TestInterruptedWhileStdoutIsFull(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	for _, args := range [][]string{
		{"score", "--model", tinyModel(t, true, ckpt.F32), "--in", writeFile(t, "s.jsonl", `{"tokens":[1,2],"start":1}`)},
		{"rollout", "--model", gymLikeModel(t, filepath.Join(t.TempDir(), "planner")), "--tasks", "gym:heldout", "--n", "1", "--group", "1"},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		full := &silent{reading: make(chan struct{}), ends: make(chan struct{})}
		defer close(full.ends)
		var errs bytes.Buffer
		status := make(chan int, 1)
		go func() { status <- run(ctx, args, nil, full, &errs) }()
		<-full.reading
		cancel()
		if s := <-status; s != exitFailed || !strings.HasSuffix(errs.String(), ": interrupted\n") {
			t.Errorf("%s: status %d, %s", args[0], s, errs.String())
		}
	}
	checkOnly(t, temp)
}

// TestInterruptedWhileWaitingForARun: the same where the pipe is in the place of a run's config.
func TestInterruptedWhileWaitingForARun(t *testing.T) {
	dir := runFolder(t, inputOf())
	pipe := filepath.Join(dir, configFile)
	if err := os.Remove(pipe); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"train", "--resume", "--run", dir}, {"train", "--resume", "--run", dir, "--config", writeFile(t, "c.yaml", "model: gym\n")}, {"report", "--run", dir}} {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel) // before or after it waits: it ends
		var errs bytes.Buffer
		status := run(ctx, args, nil, io.Discard, &errs)
		checkRefusal(t, result{status, "", errs.String()}, exitFailed, "interrupted")
	}
}

// endsWhenAsked runs a command with an --out, and asks for its end when begun returns.
func endsWhenAsked(t *testing.T, stdin io.Reader, begun func(), args ...string) {
	t.Helper()
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	var errs bytes.Buffer
	status := make(chan int, 1)
	go func() {
		status <- run(ctx, append(args, "--out", filepath.Join(dir, "out")), stdin, io.Discard, &errs)
	}()
	begun()
	cancel()
	select {
	case s := <-status:
		checkRefusal(t, result{s, "", errs.String()}, exitFailed, "interrupted")
	case <-time.After(time.Minute):
		t.Fatalf("%s goes on", args[0])
	}
	checkOnly(t, dir)
}

// silent is an input that says when it is read, and gives nothing until it ends, or an output that takes as much.
type silent struct{ reading, ends chan struct{} }

func (s *silent) Write([]byte) (int, error) { return s.Read(nil) }

func (s *silent) Read([]byte) (int, error) {
	close(s.reading)
	<-s.ends
	return 0, io.EOF
}
