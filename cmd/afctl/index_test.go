package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// An index takes the place of a regular file, or of none: never of a stream, of a folder or of its own documents.
func TestIndexRefusesTargets(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	const docs = `{"title":"a","text":"some words"}`
	if err := os.WriteFile("docs.jsonl", []byte(docs), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo("pipe", 0o600); err != nil {
		t.Fatal(err)
	}
	for out, want := range map[string]string{"-": "--out", "pipe": "a named pipe", dir: "a folder", "docs.jsonl": "the documents"} {
		r := afctl(t, "index", "--in", filepath.Join(dir, "docs.jsonl"), "--out", out)
		if r.status == exitDone || !strings.Contains(r.stderr, want) || !strings.Contains(r.stderr, out) {
			t.Errorf("--out %s: status %d, %s, expected %q", out, r.status, r.stderr, want)
		}
	}
	files, err := filepath.Glob("*")
	if err != nil || len(files) != 2 {
		t.Errorf("%q, %v", files, err)
	}
	if text, err := os.ReadFile("docs.jsonl"); string(text) != docs {
		t.Errorf("the documents are %q, %v", text, err)
	}
}
