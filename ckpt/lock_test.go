package ckpt

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// childEnv, where it is set, makes the test binary a process that does one thing and waits to be killed: it names the
// thing and the path it is about.
const childEnv = "AFCTL_CKPT_TEST_CHILD"

func TestMain(m *testing.M) {
	if what, path, ok := strings.Cut(os.Getenv(childEnv), ":"); ok {
		os.Exit(map[string]func(string) int{"lock": lockChild, "store": storeChild}[what](path))
	}
	os.Exit(m.Run())
}

// startChild starts such a process and returns the lines that it prints.
func startChild(t *testing.T, what, path string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+what+":"+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return cmd, bufio.NewScanner(out)
}

func lockChild(dir string) int {
	if _, err := LockRun(dir); err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		return 1
	}
	os.Stdout.WriteString("locked\n")
	time.Sleep(time.Minute) // the parent kills it long before
	return 0
}

func TestLockRun(t *testing.T) {
	dir := t.TempDir()
	start := time.Now().Add(-time.Second)
	child, lines := startChild(t, "lock", dir)
	if !lines.Scan() || lines.Text() != "locked" {
		t.Fatalf("the child printed %q", lines.Text())
	}

	_, err := LockRun(dir)
	var locked *LockedError
	if !errors.As(err, &locked) {
		t.Fatalf("error %v, expected a *LockedError", err)
	}
	if locked.PID != child.Process.Pid || locked.Since.Before(start) || locked.Since.After(time.Now()) {
		t.Errorf("holder %d since %v, expected %d since about %v", locked.PID, locked.Since, child.Process.Pid, start)
	}

	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	child.Wait()
	l, err := LockRun(dir)
	if err != nil {
		t.Fatalf("after the holder was killed: %v", err)
	}
	if _, err := LockRun(dir); !errors.As(err, &locked) || locked.PID != os.Getpid() {
		t.Errorf("within one process: error %v, this process named", err)
	}
	if err := errors.Join(l.Close(), l.Close()); err != nil {
		t.Fatal(err)
	}
	again, err := LockRun(dir)
	if err != nil {
		t.Fatalf("after Close: %v", err)
	}
	again.Close()
}

// A lock file that says nothing readable refuses all the same.
func TestLockRunUnknownHolder(t *testing.T) {
	for _, content := range []string{"", `{"pid":`, `{"pid":-3,"since":"2026-01-02T03:04:05Z"}`, "\x00\x00"} {
		dir := t.TempDir()
		l, err := LockRun(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(dir+"/"+LockFile, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		var locked *LockedError
		if _, err := LockRun(dir); !errors.As(err, &locked) || locked.PID != 0 {
			t.Errorf("%q: error %v, expected a *LockedError without a process", content, err)
		}
		l.Close()
	}
}

// A discarded run folder is gone if it has nothing but the lock, and its lock file, where another process has it open, is no lock any more.
func TestDiscard(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	for _, kept := range []bool{false, true} {
		if err := MkdirAll(dir); err != nil {
			t.Fatal(err)
		}
		l, err := LockRun(dir)
		if err != nil {
			t.Fatal(err)
		}
		if kept {
			if err := os.WriteFile(filepath.Join(dir, "config.yaml"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		opened, err := os.Open(filepath.Join(dir, LockFile))
		if err != nil {
			t.Fatal(err)
		}
		defer opened.Close()
		if err := l.Discard(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(dir); (err == nil) != kept {
			t.Errorf("kept %v: %v", kept, err)
		}
		if got := stillAt(filepath.Join(dir, LockFile), opened); got != kept {
			t.Errorf("kept %v: the lock file counts as the folder's: %v", kept, got)
		}
	}
	l, err := LockRun(dir)
	if err != nil {
		t.Fatalf("after Discard: %v", err)
	}
	l.Close()
}

// Run folders that come and go have one holder at a time all the same: whoever opened the lock file of one that was discarded gets no lock by it.
func TestDiscardLeavesOneHolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	var holders atomic.Int32
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 3000 {
				if err := os.Mkdir(dir, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
					t.Error(err)
					return
				}
				l, err := LockRun(dir)
				if err != nil {
					continue // another holds it, or has just removed the folder
				}
				if n := holders.Add(1); n != 1 {
					t.Errorf("%d hold the lock", n)
				}
				runtime.Gosched()
				holders.Add(-1)
				l.Discard()
			}
		})
	}
	wg.Wait()
}
