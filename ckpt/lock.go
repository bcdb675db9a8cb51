package ckpt

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"afctl/flow/strictjson"

	"github.com/go-json-experiment/json"
	"golang.org/x/sys/unix"
)

// LockFile is the file of a run folder that its one trainer holds, or its one evaluation.
const LockFile = "lock"

// LockedError is what a second process gets. PID is 0 where the holder has not said who it is yet.
type LockedError struct {
	Dir   string
	PID   int
	Since time.Time // when the holder took the lock
}

// Error names who holds the lock.
func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("folder %s: another process works in it; wait for it to end, or choose another folder", e.Dir)
	}
	return fmt.Sprintf("folder %s: process %d works in it since %s; wait for it to end, stop it (kill %d), or choose another folder",
		e.Dir, e.PID, e.Since.Format("2006-01-02 15:04:05"), e.PID)
}

// holder is what the lock file says, for people; the lock itself is the kernel's, on the open file.
type holder struct {
	PID   int       `json:"pid"`
	Since time.Time `json:"since"`
}

// RunLock is the right to write to a folder of a run or of solves.
type RunLock struct {
	file  *os.File
	close func() error
}

// LockRun takes the right to write to the folder at dir, which must be there, or returns a *LockedError at once if
// another process has it. The lock (flock) is gone with the process that holds it, however that one ends, and is not
// inherited by processes started from it.
func LockRun(dir string) (*RunLock, error) {
	path := filepath.Join(dir, LockFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, fmt.Errorf("lock folder %s: %w", dir, err)
	}
	err = Lock(f)
	if err == nil && !stillAt(path, f) {
		err = unix.EWOULDBLOCK // it was the file of a run that was discarded meanwhile
	}
	if err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = lockedError(dir, f)
		} else {
			err = fmt.Errorf("lock %s: %w: the folder must be on a file system with file locks", path, err)
		}
		return nil, errors.Join(err, f.Close())
	}
	if err := writeHolder(f); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	return &RunLock{file: f, close: sync.OnceValue(f.Close)}, nil
}

// stillAt tells whether path names the file f: without that, two processes could each lock a file of this name.
func stillAt(path string, f *os.File) bool {
	named, err := os.Stat(path)
	opened, err2 := f.Stat()
	return err == nil && err2 == nil && os.SameFile(named, opened)
}

// Discard gives the run folder free and removes it, if nothing but the lock is in it.
func (l *RunLock) Discard() error {
	dir := filepath.Dir(l.file.Name())
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) == 1 && entries[0].Name() == LockFile {
		err = errors.Join(os.Remove(l.file.Name()), os.Remove(dir)) // while the lock is held: nobody else holds one of this name
	}
	return errors.Join(err, l.Close())
}

// Close gives the run folder free. A second call does nothing.
func (l *RunLock) Close() error { return l.close() }

// Lock makes f's holder its only one until f is closed (flock); unix.EWOULDBLOCK, at once, where there is another.
func Lock(f *os.File) error {
	for {
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != unix.EINTR {
			return err
		}
	}
}

func writeHolder(f *os.File) error {
	line, err := json.Marshal(holder{PID: os.Getpid(), Since: time.Now().Truncate(time.Second)})
	if err != nil {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = f.WriteAt(append(line, '\n'), 0)
	return err
}

// maxHolderBytes is more than any lock file holds.
const maxHolderBytes = 4 << 10

// lockedError reads who holds the lock. What it finds may be half written, or of an earlier holder for a moment; then
// nobody is named.
func lockedError(dir string, f *os.File) error {
	locked := &LockedError{Dir: dir}
	data, err := io.ReadAll(io.LimitReader(f, maxHolderBytes))
	if err != nil {
		return locked
	}
	var h holder
	if err := DecodeJSON(f.Name(), data, &h, strictjson.RefuseUnknown); err == nil && h.PID > 0 {
		locked.PID, locked.Since = h.PID, h.Since.Local()
	}
	return locked
}
