package tools

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestNormalURL(t *testing.T) {
	for address, want := range map[string]string{
		"https://a.example/b": "https://a.example/b", "HTTP://WWW.A.Example:80/b/": "https://a.example/b", "a.example": "https://a.example", "a.example/": "https://a.example",
		"https://a.example:443/./x/../b#c": "https://a.example/b", "https://a.example:8080/b": "https://a.example:8080/b", "https://a.example/b?q=1&r": "https://a.example/b?q=1&r",
		"\"https://a.example/b\".": "https://a.example/b", "https://a.example/B": "https://a.example/B", "https://a.example/a%20b": "https://a.example/a%20b", "a.example/a b": "https://a.example/a%20b",
		"https://a.example/Miro_(river)": "https://a.example/Miro_%28river%29",
		"(https://a.example/b)":          "https://a.example/b", "https://a.example/b).": "https://a.example/b", "[https://a.example/b]": "https://a.example/b",
		"[the page](https://a.example/b)": "https://a.example/b", "[a](a.example/Miro_(river) \"title\").": "https://a.example/Miro_%28river%29", "[::1]/b": "https://[::1]/b",
		"https://u:p@a.example/b": "https://a.example/b", "**https://a.example/b**": "https://a.example/b", "https://a.example/b_": "https://a.example/b_",
		"[a](https://a.example/b#c)": "https://a.example/b", "[a #1](<https://a.example/b#c>).": "https://a.example/b", "(https://a.example/b#c)": "https://a.example/b", "\"https://a.example/b.\"#c": "https://a.example/b",
	} {
		if got, err := NormalURL(address); err != nil || got != want {
			t.Errorf("%s: %s, %v; expected %s", address, got, err, want)
		}
	}
	for _, address := range []string{"", " ", "https://", "javascript://x", "file:///etc/passwd", "http://a b", "https://[::1", "%", "\x00", "https://a.example:port"} {
		if got, err := NormalURL(address); err == nil {
			t.Errorf("%q: %s", address, got)
		} else if strings.Contains(err.Error(), "%!") {
			t.Errorf("%q: %v", address, err)
		}
	}
}

// A normal address is its own normal form.
func TestNormalURLIdempotent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.StringMatching(`(https?://)?(www\.)?[a-z]{1,5}\.[A-Z]{2,3}(:80|:443|:99)?(/[a-z%2.]{0,4}){0,3}/?(\?[a-z=&]{0,5})?(#x)?`).Draw(t, "address")
		once, err := NormalURL(a)
		if err != nil {
			return
		}
		if twice, err := NormalURL(once); err != nil || twice != once {
			t.Fatalf("%s: %s, then %s (%v)", a, once, twice, err)
		}
	})
}

func FuzzNormalURL(f *testing.F) {
	f.Add("https://a.example/b?c#d")
	f.Add("<//%zz:99>")
	f.Fuzz(func(t *testing.T, a string) {
		if u, err := NormalURL(a); err == nil && !strings.HasPrefix(u, "https://") {
			t.Errorf("%q", u)
		}
	})
}

func TestFolderPages(t *testing.T) {
	dir := t.TempDir() + "/pages [1]"
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx := context.Background()
	write("a.jsonl", "{\"url\": \"https://a.example/1\", \"text\": \"one {x}\"}\r\n\n{\"url\": \"https://a.example/2\", \"title\": \"Zwei\", \"text\": \"é\"}")
	write("b.jsonl", "\ufeff{\"url\": \"www.b.example\", \"text\": \"b\"}\n")
	write("notes.txt", "no pages")
	s, err := OpenFolderPages(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	if s.Len() != 3 {
		t.Errorf("%d pages", s.Len())
	}
	for address, want := range map[string]Page{
		"http://a.example/1/": {"https://a.example/1", "", "one {x}"}, "a.example/2": {"https://a.example/2", "Zwei", "é"}, "https://b.example/": {"www.b.example", "", "b"},
	} {
		if got, err := s.Page(ctx, address); err != nil || got != want {
			t.Errorf("%s: %+v, %v", address, got, err)
		}
	}
	if _, err := s.Page(ctx, "a.example/3"); !errors.Is(err, ErrPageNotFound) {
		t.Errorf("%v", err)
	}
	for name, c := range map[string]struct{ line, want string }{
		"no json": {"url", "expected a line"}, "number": {`{"url": "c.example", "title": 5, "text": "x"}`, "/title: found a number, expected a string"}, "list": {`[]`, "found a list, expected an object"}, "unknown key": {`{"url": "c.example", "body": "x"}`, "body"}, "case": {`{"URL": "c.example"}`, "URL"}, "double": {`{"url": "c.example", "url": "d.example"}`, "url"},
		"no url": {`{"text": "x"}`, "no host"}, "twice": {`{"url": "https://www.a.example/2/", "text": "x"}`, "a second page"},
	} {
		write("c.jsonl", "{\"url\": \"c.example/0\", \"text\": \"x\"}\n"+c.line+"\n")
		_, err := OpenFolderPages(ctx, dir)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "c.jsonl:2:") {
			t.Errorf("%s: %v, expected %q", name, err, c.want)
		}
	}
	// A file that changes while the store is in use is an error, not another page.
	write("a.jsonl", "{\"url\": \"https://a.example/9\", \"text\": \"one {x}\"}\r\n")
	for _, address := range []string{"a.example/1", "a.example/2"} {
		if p, err := s.Page(ctx, address); err == nil || !strings.Contains(err.Error(), "changed while it was in use") {
			t.Errorf("%s: %+v, %v", address, p, err)
		}
	}
	if err := os.Remove(filepath.Join(dir, "a.jsonl")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Page(ctx, "a.example/1"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	for path, want := range map[string]string{t.TempDir(): "no *.jsonl files", filepath.Join(dir, "b.jsonl"): "found a file, expected a folder",
		filepath.Join(dir, "absent"): "no such file or directory"} {
		if _, err := OpenFolderPages(ctx, path); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, expected %q", path, err, want)
		}
	}
	if _, err := NewMapPages(Page{URL: "a.example"}, Page{URL: "https://www.a.example/"}); err == nil {
		t.Error("two pages of one address are taken")
	}
}
