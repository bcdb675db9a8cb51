package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"afctl/ckpt"
)

// writeOutput writes a file that appears complete or not at all; "-" is stdout, and what is no regular file (a pipe, a device) is
// written to directly.
func writeOutput(path string, stdout io.Writer, write func(w io.Writer) error) error {
	if path == "-" {
		return write(stdout)
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		if info.IsDir() {
			return fmt.Errorf("--out: %s: found a folder, expected a file", path)
		}
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return errors.Join(write(f), f.Close())
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

// checkOutDir says before any work whether the folder of --out can be made: it has to be absent or empty.
func checkOutDir(path string) error {
	entries, err := os.ReadDir(path)
	switch {
	case err == nil && len(entries) > 0:
		return fmt.Errorf("--out: %s: %w: found %s in it, expected an empty folder or none", path, ckpt.ErrExists, entries[0].Name())
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("--out: %w", err)
	}
	return nil
}

// writeOutDir makes the folder of --out with the files that write creates, and those above it: complete or not at all.
func writeOutDir(path string, write func(d *ckpt.DirWriter) error) error {
	if err := makeParent(path); err != nil {
		return err
	}
	return ckpt.WriteDirAtomic(path, write)
}

// makeParent makes the folders above the path of --out.
func makeParent(path string) error {
	if err := ckpt.MkdirAll(filepath.Dir(filepath.Clean(path))); err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	return nil
}
