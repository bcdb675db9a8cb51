package ckpt

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/sys/unix"
)

// A pipe in the place of any file is an error at once, and names the file.
func TestPipesAreRefused(t *testing.T) {
	copyTo := func(t *testing.T, from string) string {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	openModel := func(dir string) error {
		m, err := OpenModel(dir)
		if err == nil {
			return m.Close()
		}
		return err
	}
	readAdapter := func(dir string) error { _, err := ReadAdapter(dir); return err }
	model, adapter := filepath.Dir(firstMatch(t, "testdata/models/*/model.safetensors")), filepath.Dir(firstMatch(t, "testdata/adapters/*/adapter_model.safetensors"))
	for _, c := range []struct {
		from, file string
		open       func(dir string) error
	}{
		{model, configFile, openModel}, {model, generationConfigFile, openModel}, {model, weightsFile, openModel},
		{adapter, adapterConfigFile, readAdapter}, {adapter, adapterWeightsFile, readAdapter},
		{adapter, StoreFile, func(dir string) error {
			_, err := OpenStoreReadOnly(context.Background(), filepath.Join(dir, StoreFile))
			return err
		}},
	} {
		dir := copyTo(t, c.from)
		path := filepath.Join(dir, c.file)
		os.Remove(path)
		if err := unix.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
		err := c.open(dir)
		if err == nil || !strings.Contains(err.Error(), "found a named pipe, expected a regular file") || strings.Count(err.Error(), path) != 1 {
			t.Errorf("%s: %v", c.file, err)
		}
	}
}

func firstMatch(t *testing.T, pattern string) string {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		t.Fatal(pattern, err)
	}
	return names[0]
}

// A folder of regular files reads as os.DirFS does.
func TestRegularFS(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a"), []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("a", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := fstest.TestFS(regularFS(dir), "a"); err != nil {
		t.Error(err)
	}
	if text, err := fs.ReadFile(regularFS(dir), "link"); string(text) != "text" {
		t.Errorf("%q, %v", text, err)
	}
}
