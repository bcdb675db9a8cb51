package ckpt

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// A file is the old one or the new one, whole, whatever fails and wherever the process or the power stops.
func TestWriteFileSurvivesEveryFault(t *testing.T) {
	before, after := bytes.Repeat([]byte("old"), 1000), bytes.Repeat([]byte("new!"), writeBufferBytes/3)
	setup := func(t *testing.T, dir string) {
		if err := os.WriteFile(filepath.Join(dir, "f"), before, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(d disk, dir string) error {
		return writeFile(d, filepath.Join(dir, "f"), 0o600, func(w io.Writer) error {
			for piece := range slices.Chunk(after, len(after)/3) {
				if _, err := w.Write(piece); err != nil {
					return err
				}
			}
			return nil
		})
	}
	forEachFault(t, setup, run, func(t *testing.T, dir string, d *faultyDisk, err error) {
		d.checkOldOrNew(t, dir, before, after, err)
		if d.fault == diskFull && err != nil && !errors.Is(err, unix.ENOSPC) {
			t.Fatalf("error %v does not say that the disk is full", err)
		}
	})
}

// A folder is absent or complete.
func TestWriteDirSurvivesEveryFault(t *testing.T) {
	files := map[string][]byte{"a": []byte("first"), "b": bytes.Repeat([]byte("x"), 2*writeBufferBytes), "c": nil}
	run := func(d disk, dir string) error {
		path := filepath.Join(dir, "out")
		return writeDir(d, path, func(w *DirWriter) error {
			for _, name := range []string{"a", "b", "c"} {
				f, err := w.Create(name)
				if err != nil {
					return err
				}
				if _, err := f.Write(files[name]); err != nil {
					return err
				}
				if name == "a" { // the others are left to be closed for us
					if err := f.Close(); err != nil {
						return err
					}
				}
			}
			return nil
		}, func(temp string) error { return d.rename(temp, path) })
	}
	forEachFault(t, func(*testing.T, string) {}, run, func(t *testing.T, dir string, d *faultyDisk, err error) {
		d.checkClean(t, dir)
		entries, readErr := os.ReadDir(filepath.Join(dir, "out"))
		if errors.Is(readErr, fs.ErrNotExist) {
			if err == nil {
				t.Fatal("no error, and no folder")
			}
			return
		}
		if len(entries) != len(files) {
			t.Fatalf("%d files, expected %d", len(entries), len(files))
		}
		for name, want := range files {
			if got, err := os.ReadFile(filepath.Join(dir, "out", name)); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%s: %d bytes, error %v; %d bytes expected", name, len(got), err, len(want))
			}
		}
	})
}

// A folder that was made is there, with those above it that were made for it.
func TestMkdirAllSurvivesEveryFault(t *testing.T) {
	run := func(d disk, dir string) error { return mkdirAll(d, filepath.Join(dir, "a", "b", "c", "d", "e")) }
	forEachFault(t, func(*testing.T, string) {}, run, func(t *testing.T, dir string, d *faultyDisk, err error) {
		if info, statErr := os.Stat(filepath.Join(dir, "a", "b", "c", "d", "e")); err == nil && (statErr != nil || !info.IsDir()) {
			t.Fatalf("no error, and no folder: %v", statErr)
		}
	})
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, filepath.Join(file, "b")} {
		if err := MkdirAll(path); !errors.Is(err, unix.ENOTDIR) {
			t.Errorf("%s: %v, expected ENOTDIR", path, err)
		}
	}
	if err := MkdirAll(filepath.Dir(file)); err != nil {
		t.Error(err)
	}
}

func TestWriteDirRefusesWhatIsThere(t *testing.T) {
	dir := t.TempDir()
	write := func(w *DirWriter) error {
		f, err := w.Create("new")
		if err == nil {
			_, err = io.WriteString(f, "content")
		}
		return err
	}
	empty, full, file := filepath.Join(dir, "empty"), filepath.Join(dir, "full"), filepath.Join(dir, "file")
	for _, d := range []string{empty, full} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{file, filepath.Join(full, "precious")} {
		if err := os.WriteFile(f, []byte("keep"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := WriteDirAtomic(empty+"/", write); err != nil {
		t.Errorf("into an empty folder: %v", err)
	}
	for _, path := range []string{full, file} {
		if err := WriteDirAtomic(path, write); !errors.Is(err, ErrExists) {
			t.Errorf("%s: error %v, expected ErrExists", filepath.Base(path), err)
		}
	}
	if got, err := os.ReadFile(filepath.Join(full, "precious")); err != nil || string(got) != "keep" {
		t.Errorf("what was there: %q, %v", got, err)
	}
	// A folder that fills between the first look and the rename.
	late := filepath.Join(dir, "late")
	err := WriteDirAtomic(late, func(w *DirWriter) error {
		return errors.Join(os.Mkdir(late, 0o700), os.WriteFile(filepath.Join(late, "precious"), nil, 0o600), write(w))
	})
	if !errors.Is(err, ErrExists) {
		t.Errorf("a folder that came in between: error %v, expected ErrExists", err)
	}
	if left := leftovers(t, dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A folder's files are in it, and none is hidden: names of temporary files begin with a dot.
func TestDirWriterRefusesNames(t *testing.T) {
	dir := scratch(t)
	path := filepath.Join(dir, "out")
	err := WriteDirAtomic(path, func(w *DirWriter) error {
		for _, name := range []string{"", ".", "..", ".a", "../a", "a/b", "/a"} {
			if _, err := w.Create(name); err == nil {
				t.Errorf("%q was created", name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files := glob(t, dir, "*"); len(files) != 1 {
		t.Errorf("found %q", files)
	}
}

// An error that the caller drops still fails the folder.
func TestDirWriterErrorsStay(t *testing.T) {
	dir := scratch(t)
	d := newFaultyDisk(t, failOnce, 3) // mkdir, open, write
	path := filepath.Join(dir, "out")
	err := writeDir(d, path, func(w *DirWriter) error {
		f, err := w.Create("a")
		if err != nil {
			return err
		}
		f.Write(make([]byte, 2*writeBufferBytes))
		if _, err := w.Create("b"); !errors.Is(err, unix.EIO) {
			t.Errorf("Create after a failed write: error %v, expected the first one", err)
		}
		return nil
	}, func(temp string) error { return d.rename(temp, path) })
	if !errors.Is(err, unix.EIO) {
		t.Fatalf("error %v, expected that of the write", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Fatalf("left behind: %v", entries)
	}
}
