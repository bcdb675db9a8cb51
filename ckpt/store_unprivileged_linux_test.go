package ckpt

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"afctl/flow"
)

// asNobody runs f as a user who owns nothing. A thread of its own changes its user for files, and is not used again.
func asNobody(t *testing.T, f func() error) error {
	t.Helper()
	if os.Geteuid() != 0 {
		return f() // the folder's bits hold for this user as well
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		const nobody = 65534
		if _, err := unix.SetfsgidRetGid(nobody); err != nil {
			done <- err
			return
		}
		if _, err := unix.SetfsuidRetUid(nobody); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

// A run that has ended is read by those who cannot write its folder.
func TestStoreOfAnotherUser(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, StoreFile)
	s, err := OpenStore(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.PutTasks(t.Context(), []flow.Task{{ID: "q", Question: "?"}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{filepath.Dir(dir): 0o755, dir: 0o555, path: 0o444} {
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { os.Chmod(dir, 0o755) })
	read := func() error {
		r, err := OpenStoreReadOnly(t.Context(), path)
		if err != nil {
			return err
		}
		for _, err := range r.Tasks(t.Context()) {
			if err != nil {
				return err
			}
		}
		return r.Close()
	}
	for range 2 {
		if err := asNobody(t, read); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(path + "-shm"); err == nil {
		t.Error("reading left a file in a folder that is not the reader's")
	}
	// What is in a log only cannot be left out.
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+"-wal", []byte("commits"), 0o444); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	if err := asNobody(t, read); err == nil {
		t.Error("a log beside the store was passed over")
	}
}
