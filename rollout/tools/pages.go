package tools

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"afctl/ckpt"
	"afctl/flow/strictjson"
)

// Page is one web page as plain text. Lines of Text that begin with "## " are headings.
type Page struct {
	URL   string `json:"url"`
	Title string `json:"title,omitempty"`
	Text  string `json:"text"`
}

// ErrPageNotFound is the error of a store that has no page of that address.
var ErrPageNotFound = errors.New("page not found")

// PageStore gives pages by address; how an address is written does not matter (see NormalURL). A page that is not
// there is ErrPageNotFound. Implementations are safe for concurrent use.
type PageStore interface {
	Page(ctx context.Context, url string) (Page, error)
}

var scheme = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://`)

// NormalURL is the form under which addresses are compared: https for http, lower-case scheme and host without "www."
// and ports 80 and 443, path without dot segments and without a slash at its end, no fragment. Quotes, angle brackets, asterisks and
// the punctuation of a sentence around the address, Markdown's link and brackets without a partner are dropped, and a missing scheme is https. The error says what is
// wrong with an address that has no host.
func NormalURL(address string) (string, error) {
	s, _, _ := strings.Cut(bare(address), "#") // which may stand within a link
	s = bare(s)
	if !scheme.MatchString(s) {
		s = "https://" + s
	}
	u, err := url.Parse(s)
	if err != nil {
		return "", fmt.Errorf("address %q: %w", clipRunes(address), errors.Unwrap(err))
	}
	u.Scheme = strings.ToLower(u.Scheme)
	if u.Scheme != "https" && u.Scheme != "http" {
		return "", fmt.Errorf("address %q: scheme %s, expected http or https", clipRunes(address), u.Scheme)
	}
	host := strings.TrimRight(strings.ToLower(u.Hostname()), ".")
	for strings.HasPrefix(host, "www.") {
		host = host[len("www."):]
	}
	if host == "" {
		return "", fmt.Errorf("address %q: no host, expected one like https://example.org/page", clipRunes(address))
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]" // IPv6
	}
	if port := u.Port(); port != "" && port != "80" && port != "443" {
		host += ":" + port
	}
	n := url.URL{Scheme: "https", Host: host, RawQuery: u.RawQuery}
	if p := strings.TrimRight(path.Clean("/"+u.Path), "/.,;"); p != "" {
		n.Path = p
	}
	return n.String(), nil
}

var markdownLink = regexp.MustCompile(`^!?\[[^\]]*\]\(\s*(\S+).*\)\W*$`)

// bare is an address without what a sentence puts around it.
func bare(s string) string {
	if m := markdownLink.FindStringSubmatch(strings.TrimSpace(s)); m != nil {
		s = m[1]
	}
	const around = "<>\"'`“”* \t\r\n"
	s = strings.TrimLeft(s, around+"({")
	if inner := strings.TrimPrefix(s, "["); scheme.MatchString(inner) { // else a host in IPv6
		s = inner
	}
	for {
		s = strings.TrimRight(s, around+".,;")
		n := len(s) - 1
		if n < 0 {
			return s
		}
		i := strings.IndexByte(")]}", s[n])
		if i < 0 || strings.Count(s, ")]}"[i:i+1]) <= strings.Count(s, "([{"[i:i+1]) {
			return s
		}
		s = s[:n]
	}
}

// MapPages is a page store in memory, by normal address.
type MapPages map[string]Page

// NewMapPages makes a store of pages. Two pages of one address, and an address that is none, are errors.
func NewMapPages(pages ...Page) (MapPages, error) {
	m := make(MapPages, len(pages))
	for i, p := range pages {
		u, err := NormalURL(p.URL)
		if err != nil {
			return nil, fmt.Errorf("page %d: %w", i, err)
		}
		if _, ok := m[u]; ok {
			return nil, fmt.Errorf("page %d: a second page of %s", i, u)
		}
		m[u] = p
	}
	return m, nil
}

// Page implements PageStore.
func (m MapPages) Page(_ context.Context, address string) (Page, error) {
	u, err := NormalURL(address)
	if err != nil {
		return Page{}, err
	}
	p, ok := m[u]
	if !ok {
		return Page{}, fmt.Errorf("%w: %s", ErrPageNotFound, u)
	}
	return p, nil
}

// FolderPages is a page store in a folder of JSON Lines files, one page {"url", "title", "text"} to a line. Only the
// addresses are kept in memory; a page is read when it is asked for, and no file stays open in between, so that a store
// needs no closing. The files must not change while it is in use.
type FolderPages struct {
	files []string
	at    map[string]place
}

// place is where a page's line lies.
type place struct {
	file   int
	line   int // from 1
	offset int64
	length int
}

// maxPageLine bounds the line of one page in bytes.
const maxPageLine = 16 << 20

// OpenFolderPages reads all *.jsonl files of a folder, strictly: an unknown key, a page without address or a second
// page of one address is an error that names file and line.
func OpenFolderPages(ctx context.Context, dir string) (*FolderPages, error) {
	if info, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("page store: %w", err)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("page store %s: found a file, expected a folder with *.jsonl files", dir)
	}
	names, err := filepath.Glob(filepath.Join(escapeGlob(dir), "*.jsonl"))
	if err != nil {
		return nil, fmt.Errorf("page store: %w", err)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("page store %s: no *.jsonl files", dir)
	}
	slices.Sort(names)
	s := &FolderPages{files: names, at: map[string]place{}}
	for i := range names {
		if err := s.scan(ctx, i); err != nil {
			return nil, fmt.Errorf("page store: %w", err)
		}
	}
	return s, nil
}

func escapeGlob(s string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(s)
}

func (s *FolderPages) scan(ctx context.Context, file int) error {
	f, err := ckpt.OpenRegular(s.files[file])
	if err != nil {
		return err
	}
	defer f.Close()
	lines := ckpt.NewLines(f, maxPageLine)
	for {
		line, err := lines.Next()
		if err == io.EOF {
			return nil
		}
		if err == nil && len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		var p Page
		if err == nil {
			if p, err = parsePage(f.Name(), lines.N, line); err != nil {
				return err
			}
		}
		var u string
		if err == nil {
			u, err = NormalURL(p.URL)
		}
		if _, twice := s.at[u]; err == nil && twice {
			err = fmt.Errorf("a second page of %s", u)
		}
		if err != nil {
			return fmt.Errorf("%s:%d: %w", f.Name(), lines.N, err)
		}
		s.at[u] = place{file, lines.N, lines.Offset, len(line)}
	}
}

func parsePage(file string, n int, line []byte) (Page, error) {
	var p Page
	if err := ckpt.DecodeJSONLine(file, n, line, &p, strictjson.RefuseUnknown); err != nil {
		return p, fmt.Errorf(`%w; expected a line {"url": "...", "title": "...", "text": "..."}`, err)
	}
	return p, nil
}

// Page implements PageStore.
func (s *FolderPages) Page(_ context.Context, address string) (Page, error) {
	u, err := NormalURL(address)
	if err != nil {
		return Page{}, err
	}
	at, ok := s.at[u]
	if !ok {
		return Page{}, fmt.Errorf("%w: %s", ErrPageNotFound, u)
	}
	p, err := s.read(at)
	if err != nil {
		return Page{}, fmt.Errorf("page store: %w", err)
	}
	if now, err := NormalURL(p.URL); err != nil || now != u {
		return Page{}, fmt.Errorf("page store: %s changed while it was in use: it no longer has %s in its place", s.files[at.file], u)
	}
	return p, nil
}

func (s *FolderPages) read(at place) (Page, error) {
	f, err := ckpt.OpenRegular(s.files[at.file])
	if err != nil {
		return Page{}, err
	}
	defer f.Close()
	line := make([]byte, at.length)
	if _, err := f.ReadAt(line, at.offset); err != nil && err != io.EOF {
		return Page{}, err
	}
	p, err := parsePage(f.Name(), at.line, line)
	if err != nil {
		return Page{}, fmt.Errorf("the file changed while it was in use: %w", err)
	}
	return p, nil
}

// Len is the number of pages.
func (s *FolderPages) Len() int { return len(s.at) }
