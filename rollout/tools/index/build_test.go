package index

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// failing gives some documents, then an error.
type failing struct {
	Source
	n   int
	err error
}

func (f *failing) Next(ctx context.Context) (Doc, error) {
	if f.n--; f.n < 0 {
		return Doc{}, f.err
	}
	return f.Source.Next(ctx)
}

// A build that fails leaves what was there before, and nothing else.
func TestBuildIsAtomic(t *testing.T) {
	dir := t.TempDir()
	dst := filepath.Join(dir, "wiki.db")
	if err := Build(t.Context(), dst, Docs(manyDocs(3)), nil); err != nil {
		t.Fatal(err)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	broken := errors.New("disk on fire")
	path := filepath.Join(t.TempDir(), "blank.jsonl")
	if err := os.WriteFile(path, []byte(`{"title": "A"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	blank, err := OpenSource(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer blank.Close()
	for name, c := range map[string]struct {
		ctx  context.Context
		src  Source
		want string
	}{
		"source":   {t.Context(), &failing{Docs(manyDocs(50)), 20, broken}, "disk on fire"},
		"canceled": {canceled, Docs(manyDocs(50)), "canceled"},
		"empty":    {t.Context(), Docs(nil), "no document with text"},
		"blank":    {t.Context(), blank, "no document with text in " + path},
		"no text":  {t.Context(), Docs([]Doc{{Title: "a", Text: "  "}}), "1 without"},
		"no title": {t.Context(), Docs([]Doc{{Title: "a", Text: "b"}, {Text: "c"}}), "document 2 has no title"},
	} {
		err := Build(c.ctx, dst, c.src, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), dst) {
			t.Errorf("%s: %v, expected %q", name, err, c.want)
		}
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("left behind: %v", files)
	}
	ix, err := Open(dst)
	if err != nil {
		t.Fatal(err)
	}
	defer ix.Close()
	if ix.Docs() != 3 {
		t.Errorf("%d documents, expected the former 3", ix.Docs())
	}
	if err := Build(t.Context(), filepath.Join(dir, "absent", "x.db"), Docs(manyDocs(1)), nil); err == nil {
		t.Error("built in a folder that does not exist")
	}
}

// A build that is interrupted says so, wherever it is, and not how the database took it.
func TestBuildInterrupted(t *testing.T) {
	for _, n := range []int{0, 1, 20} {
		ctx, cancel := context.WithCancelCause(t.Context())
		docs := Docs(manyDocs(50))
		calls := 0
		src := sourceFunc(func(ctx context.Context) (Doc, error) {
			if calls++; calls > n {
				cancel(errors.New("stop"))
				// The transaction is rolled back beside us: it takes its statements with it.
				time.Sleep(20 * time.Millisecond)
			}
			return docs.Next(ctx)
		})
		err := Build(ctx, filepath.Join(t.TempDir(), "x.db"), src, nil)
		cancel(nil)
		if !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "sql") {
			t.Errorf("interrupted after %d documents: %v, expected %v", n, err, context.Canceled)
		}
	}
}

// sourceFunc is a source without a file.
type sourceFunc func(context.Context) (Doc, error)

func (f sourceFunc) Next(ctx context.Context) (Doc, error) { return f(ctx) }
func (sourceFunc) Offset() (done, total int64)             { return 0, 0 }
func (sourceFunc) Close() error                            { return nil }

// A name may be as long as the file system has them, and what a killed builder left is removed by the next one.
func TestBuildOfALongName(t *testing.T) {
	dir := t.TempDir()
	dst := filepath.Join(dir, strings.Repeat("x", 240)+".db")
	dead := filepath.Join(dir, ".tmp-"+strings.Repeat("x", 200)+"-123")
	if err := os.WriteFile(dead, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Build(t.Context(), dst, Docs(manyDocs(1)), nil); err != nil {
		t.Fatal(err)
	}
	if files := listing(t, dir); len(files) != 1 {
		t.Errorf("found %q, expected the index alone", files)
	}
}

// Nothing but a regular file is replaced, and not the source.
func TestBuildRefusesTargets(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	const docs = `{"title":"A","text":"some words"}`
	for _, err := range []error{
		os.WriteFile(at("docs.jsonl"), []byte(docs), 0o600), os.Link(at("docs.jsonl"), at("same.jsonl")), os.WriteFile(at("old.db"), nil, 0o600),
		os.Symlink("old.db", at("link")), os.Symlink("absent", at("dangling")), os.Mkdir(at("folder"), 0o700), unix.Mkfifo(at("pipe"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	wants := map[string]string{
		"docs.jsonl": "found the file of the documents", "same.jsonl": "found the file of the documents", "link": "a symbolic link",
		"dangling": "a symbolic link", "folder": "a folder", "pipe": "a named pipe",
	}
	if unix.Mknod(at("device"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))) == nil { // may be forbidden
		wants["device"] = "a device"
	}
	before := listing(t, dir)
	for name, want := range wants {
		src, err := OpenSource(t.Context(), at("docs.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		if err := Build(t.Context(), at(name), src, nil); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), at(name)) {
			t.Errorf("%s: %v, expected %q", name, err, want)
		}
		src.Close()
	}
	if after := listing(t, dir); !slices.Equal(after, before) {
		t.Errorf("the folder was\n%q, is\n%q", before, after)
	}
	if text, err := os.ReadFile(at("docs.jsonl")); string(text) != docs {
		t.Errorf("the documents are %q, %v", text, err)
	}
	if _, err := Open(at("pipe")); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "a named pipe") {
		t.Errorf("opened as an index: %v", err)
	}
}

func listing(t *testing.T, dir string) (files []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		files = append(files, e.Type().String()+" "+e.Name())
	}
	return files
}

// The umask says who may read an index. No test of this package runs beside another.
func TestBuildGoesByTheUmask(t *testing.T) {
	dst := filepath.Join(t.TempDir(), "x.db")
	before := unix.Umask(0o077)
	err := Build(t.Context(), dst, Docs(manyDocs(1)), nil)
	unix.Umask(before)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dst); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestBuildProgress(t *testing.T) {
	var seen []Progress
	docs := append(manyDocs(2500), Doc{Title: "empty"})
	if err := Build(t.Context(), t.TempDir()+"/x.db", Docs(docs), func(p Progress) { seen = append(seen, p) }); err != nil {
		t.Fatal(err)
	}
	if last := seen[len(seen)-1]; len(seen) != 3 || seen[0].Docs != 1000 || last.Docs != 2500 || last.Skipped != 1 || last.Passages != 2500 {
		t.Errorf("%+v", seen)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "good.db")
	if err := Build(t.Context(), good, Docs(manyDocs(500)), nil); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	other := append([]byte(nil), whole...)
	other[63] = 99 // user_version
	older := append([]byte(nil), whole...)
	older[63] = formatVersion - 1
	for name, content := range map[string][]byte{
		"text": []byte("not a database at all, but longer than a header of a hundred bytes, so that it is looked at in full......"), "empty": nil,
		"head": whole[:100], "torn": whole[:len(whole)/3], "version": other, "older": older,
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		ix, err := Open(path)
		if err == nil {
			_, err = ix.Search(t.Context(), "city river Name1", 3)
			ix.Close()
			if name != "torn" || err == nil {
				t.Errorf("%s: opened", name)
			}
		} else if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, expected ErrFormat with the path", name, err)
		} else if name == "older" && !strings.Contains(err.Error(), "version 2, expected 0x61666978 and 3; build it anew") {
			t.Errorf("%s: %v, expected both versions and what mends it", name, err)
		}
	}
	if _, err := Open(filepath.Join(dir, "absent")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "absent")); err == nil {
		t.Error("opening made a file")
	}
}

func readAll(t *testing.T, path string) ([]Doc, error) {
	t.Helper()
	src, err := OpenSource(t.Context(), path)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	var docs []Doc
	for {
		d, err := src.Next(t.Context())
		if err == io.EOF {
			if done, total := src.Offset(); done != total {
				t.Errorf("%s: %d of %d bytes read", path, done, total)
			}
			return docs, nil
		}
		if err != nil {
			return docs, err
		}
		docs = append(docs, d)
	}
}

func TestJSONLSource(t *testing.T) {
	path := filepath.Join(t.TempDir(), "docs.jsonl")
	read := func(text string) ([]Doc, error) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return readAll(t, path)
	}
	long := strings.Repeat("x", 3<<20)
	docs, err := read("{\"title\": \"A\", \"text\": \"a {x}\", \"url\": \"u\"}\n\n{\"title\":\"B\",\"text\":\"" + long + "\"}\r\n{\"title\":\"C\"}")
	if err != nil || len(docs) != 3 || docs[0] != (Doc{Title: "A", Text: "a {x}", URL: "u"}) || docs[1].Text != long || docs[2].Title != "C" {
		t.Errorf("%d documents, %v", len(docs), err)
	}
	if docs, err = read("\ufeff{\"title\": \"A\"}\n"); err != nil || len(docs) != 1 {
		t.Errorf("after a byte order mark: %d documents, %v", len(docs), err)
	}
	numbered := `{"id": "12", "url": "u", "title": "A", "text": "a"}` + "\n" + `{"_id": 7, "title": "B", "text": "b", "metadata": {"url": "v"}}`
	if docs, err = read(numbered); err != nil || !slices.Equal(docs, []Doc{{Title: "A", Text: "a", URL: "u"}, {Title: "B", Text: "b"}}) {
		t.Errorf("numbered documents: %+v, %v", docs, err)
	}
	for name, c := range map[string]struct{ line, want string }{
		"no json":     {"title: A", "invalid character"},
		"late mark":   {"\ufeff{}", "invalid character"},
		"torn":        {`{"title": "A"`, "EOF"},
		"key":         {`{"Title": "A", "text": "b"}`, `/Title: unknown key; did you mean "title"?`},
		"unknown key": {`{"title": "A", "textt": "b"}`, `/textt: unknown key; did you mean "text"?`},
		"double key":  {`{"title": "A", "title": "B"}`, "/title: found twice"},
		"type":        {`{"title": 3}`, "/title: found a number, expected a string"},
		"null":        {`{"title": null}`, "/title: missing, null"},
		"no title":    {`{"text": "b"}`, "/title: missing"},
		"array":       {`["A"]`, "found a list, expected an object"},
		"two":         {`{"title": "A"} {"title": "B"}`, "after top-level value"},
		"too long":    {`{"title": "` + strings.Repeat("x", MaxDocBytes+2<<20) + `"}`, "more than"},
	} {
		_, err := read("{\"title\": \"A\"}\n" + c.line + "\n")
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path+":2:") {
			t.Errorf("%s: %.300v, expected %q", name, err, c.want)
		}
	}
	if _, err := OpenSource(t.Context(), filepath.Join(t.TempDir(), "x.csv")); err == nil {
		t.Error("an absent file is opened")
	}
	csv := filepath.Join(t.TempDir(), "x.csv")
	os.WriteFile(csv, nil, 0o600)
	if _, err := OpenSource(t.Context(), csv); err == nil || !strings.Contains(err.Error(), ".jsonl") {
		t.Errorf("%v", err)
	}
}

func FuzzJSONLSource(f *testing.F) {
	f.Add([]byte(`{"title": "A", "text": "b", "url": "c"}`))
	f.Add([]byte("{\"title\": \"A\"}\n{"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for line := range strings.Lines(string(data)) {
			if d, err := parseDoc("fuzz", 1, []byte(line)); err == nil && strings.TrimSpace(d.Title) == "" {
				t.Errorf("a document without a title: %+v", d)
			}
		}
	})
}
