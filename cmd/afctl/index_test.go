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

// What a dump's redirects came to is said at the end.
func TestIndexCountsRedirects(t *testing.T) {
	dir := t.TempDir()
	page := func(title, text string) string {
		return "<page><title>" + title + "</title><ns>0</ns><revision><text>" + text + "</text></revision></page>"
	}
	dump := "<mediawiki>" + page("Zelm", "A town on a hill.") + page("Zelm city", "#REDIRECT [[Zelm]]") + page("Gone", "#REDIRECT [[Nowhere]]") + page("Blank", "") + "</mediawiki>"
	if err := os.WriteFile(filepath.Join(dir, "dump.xml"), []byte(dump), 0o600); err != nil {
		t.Fatal(err)
	}
	r := afctl(t, "index", "--in", filepath.Join(dir, "dump.xml"), "--out", filepath.Join(dir, "wiki.db"))
	const want = "1 document (1 further name), 1 passage; skipped: 1 without text, 1 redirect to no document"
	if r.status != exitDone || !strings.Contains(r.stderr, want) {
		t.Errorf("status %d, %s, expected %q", r.status, r.stderr, want)
	}
}
