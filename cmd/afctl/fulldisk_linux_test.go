package main

import (
	"path/filepath"
	"strings"
	"testing"

	"afctl/ckpt"

	"golang.org/x/sys/unix"
)

// TestTrainOnFullDisk: a run that finds no room says so once, where and what then, and goes on once there is room.
func TestTrainOnFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4k"); err != nil {
		t.Skipf("no right to mount a small disk: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	model, run := gymLikeModel(t, filepath.Join(t.TempDir(), "model")), filepath.Join(dir, "run")
	begin := smallTrain(run, model, "--steps", "1", "--set", "tasks.eval=")
	for i, size := range []string{"4k", "16k", "60k", "100k"} { // ends in config.yaml, run.db, its -shm and later
		if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size="+size); err != nil {
			t.Fatal(err)
		}
		args, then := begin, "afctl train --resume --run "+run+" goes on"
		switch i {
		case 0: // nothing is there yet that could be resumed
			then = "start it again"
		case 1:
		default:
			args = []string{"train", "--resume", "--run", run}
		}
		r := afctl(t, args...)
		lines := strings.Split(strings.TrimSpace(r.stderr), "\n")
		last := lines[len(lines)-1]
		if r.status != exitFailed || strings.Count(last, "no space left on device") != 1 || strings.Contains(last, "(1") ||
			!strings.HasPrefix(last, "afctl train: the disk is full: ") || !strings.Contains(last, run) || !strings.HasSuffix(last, " once there is room, "+then) {
			t.Errorf("%s: status %d, %s", size, r.status, last)
		}
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	must(t, "train", "--resume", "--run", run)
	if _, _, err := ckpt.Latest(run); err != nil {
		t.Error(err)
	}
}
