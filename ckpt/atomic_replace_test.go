package ckpt

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A file that is filled by name is the old one or the new one, whole, as one that is written.
func TestReplaceFileSurvivesEveryFault(t *testing.T) {
	before, after := bytes.Repeat([]byte("old"), 1000), bytes.Repeat([]byte("new!"), 1000)
	setup := func(t *testing.T, dir string) {
		if err := os.WriteFile(filepath.Join(dir, "f"), before, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(d disk, dir string) error {
		return replaceFile(d, filepath.Join(dir, "f"), func(temp string) error { return os.WriteFile(temp, after, 0o600) })
	}
	forEachFault(t, setup, run, func(t *testing.T, dir string, d *faultyDisk, err error) {
		d.checkOldOrNew(t, dir, before, after, err)
	})
}

// What a killed fill left is removed by the next one; what one that goes on has, and other files, stay. One that fails leaves nothing.
func TestReplaceFileRemovesTheDead(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "wiki.db")
	for _, name := range []string{".tmp-wiki.db-123", ".tmp-wiki.db-old-123", ".wiki.db.bak"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var live string
	broken := errors.New("disk on fire")
	err := ReplaceFile(path, func(temp string) error {
		live = filepath.Base(temp)
		if err := ReplaceFile(path, func(string) error { return broken }); !errors.Is(err, broken) || !strings.Contains(err.Error(), path) {
			t.Errorf("%v, expected %v of %s", err, broken, path)
		}
		want := []string{".tmp-wiki.db-old-123", live, ".wiki.db.bak"}
		slices.Sort(want)
		if got := names(t, dir); !slices.Equal(got, want) {
			t.Errorf("found %q, expected %q", got, want)
		}
		return os.WriteFile(temp, []byte("new"), 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := names(t, dir), []string{".tmp-wiki.db-old-123", ".wiki.db.bak", "wiki.db"}; !slices.Equal(got, want) {
		t.Errorf("found %q, expected %q", got, want)
	}
	if !IsTemp(live, "wiki.db") {
		t.Errorf("%s would not be found by RemoveTemps", live)
	}
}

func names(t *testing.T, dir string) (files []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		files = append(files, e.Name())
	}
	return files
}
