package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"afctl/ckpt"
)

// writeOutput writes a file that appears complete or not at all; "-" is stdout, and what is no regular file (a pipe, a device) is
// written to directly, until ctx ends.
func writeOutput(ctx context.Context, flag, path string, stdout io.Writer, write func(w io.Writer) error) error {
	if path == "-" {
		return write(stdout)
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		if info.IsDir() {
			return fmt.Errorf("--%s: %s: found a folder, expected a file", flag, path)
		}
		return writeWaiting(ctx, path, write)
	}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // a link stays one
	}
	var failed error // of write itself: it speaks of the input, and is not to be blamed on the file
	err := ckpt.WriteFileAtomic(path, 0o666, func(w io.Writer) error {
		failed = write(w)
		return failed
	})
	if failed != nil {
		return failed
	}
	return err
}

// writeWaiting writes to what is no regular file. It may have no reader, or a slow one.
func writeWaiting(ctx context.Context, path string, write func(w io.Writer) error) error {
	f, err := ckpt.OpenWaiting(ctx, path, os.O_WRONLY)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = f.SetWriteDeadline(time.Now()) })() // a file that has no deadlines never waits
	err = write(struct{ io.Writer }{f})                                           // not to be closed by write
	if err = errors.Join(err, f.Close()); errors.Is(err, os.ErrDeadlineExceeded) {
		return context.Cause(ctx)
	}
	return err
}

// checkOutDir says whether the folder of --out, which is worked in, is empty but for files that may be there.
func checkOutDir(path string, may func(name string) bool) error {
	entries, err := os.ReadDir(path)
	entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return may(e.Name()) })
	switch {
	case err == nil && len(entries) > 0:
		return fmt.Errorf("--out: %s: %w: found %s in it, expected an empty folder or none", path, ckpt.ErrExists, entries[0].Name())
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("--out: %w", err)
	}
	return nil
}

// writeOutDir makes the folder of --out, and those above it, with the files that work creates: complete or not at all. What can be known to
// be in the way is an error before any work.
func writeOutDir(path string, work func(d *ckpt.DirWriter) error) (err error) {
	parent := filepath.Dir(filepath.Clean(path))
	if _, err := os.Lstat(parent); err != nil && !errors.Is(err, fs.ErrNotExist) { // such as a name that is too long as a whole, though no part of it is
		return fmt.Errorf("--out: %w", err)
	}
	var made []string // by us, the lowest first
	for dir := parent; isMissing(dir); dir = filepath.Dir(dir) {
		made = append(made, dir)
	}
	defer func() {
		for _, dir := range made {
			if err != nil {
				os.Remove(dir) // stays where somebody else has put something into it
			}
		}
	}()
	if err := ckpt.MkdirAll(parent); err != nil {
		return fmt.Errorf("--out: %s: %w", path, err)
	}
	var failed error // of work itself: it speaks of the input, and is not to be blamed on the folder
	err = ckpt.WriteDirAtomic(path, func(d *ckpt.DirWriter) error {
		err := work(d)
		if d.Err() == nil {
			failed = err
		}
		return err
	})
	if failed != nil {
		return failed
	}
	if err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	// Gone is what a process that was killed left beside it. One that still writes the same could not finish any more, and what stays is no failure.
	_ = ckpt.RemoveTemps(path)
	return nil
}

func isMissing(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}
