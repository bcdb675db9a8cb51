package index

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync/atomic"

	"afctl/ckpt"
	"afctl/flow/strictjson"

	"github.com/go-json-experiment/json/jsontext"
)

// Doc is one document. Lines of Text that begin with "## " are headings.
type Doc struct {
	Title string `json:"title"`
	Text  string `json:"text"`
	URL   string `json:"url,omitempty"`
	// Redirect, where it is set, makes Title a further name of the document of that title, which may come before or after it. Text and URL do not count.
	Redirect string `json:"-"`
}

// MaxDocBytes bounds one document as it stands in its source: a JSON line, or one revision of a page of a dump.
const MaxDocBytes = 16 << 20

// Source gives documents one after the other.
type Source interface {
	// Next gives the next document, or a further name of one; io.EOF after the last. A document without text may come: it is skipped, and counted.
	Next(ctx context.Context) (Doc, error)
	// Offset is how many bytes of how many have been taken from the file; both 0 where there is none.
	Offset() (done, total int64)
	// Close releases the file.
	Close() error
}

// Docs is a source of documents in memory.
func Docs(docs []Doc) Source { return &sliceSource{docs} }

type sliceSource struct{ docs []Doc }

func (s *sliceSource) Next(context.Context) (Doc, error) {
	if len(s.docs) == 0 {
		return Doc{}, io.EOF
	}
	d := s.docs[0]
	s.docs = s.docs[1:]
	return d, nil
}

func (s *sliceSource) Offset() (done, total int64) { return 0, 0 }
func (s *sliceSource) Close() error                { return nil }

// OpenSource opens a file of documents, by its name: JSON Lines (.jsonl) of {"title", "text", "url"}, url being
// optional, id, _id and metadata read over and other keys refused, or a MediaWiki XML dump (.xml, .xml.bz2).
func OpenSource(ctx context.Context, path string) (Source, error) {
	f, err := ckpt.OpenWaiting(ctx, path, os.O_RDONLY)
	if err != nil {
		return nil, fmt.Errorf("index source: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("index source: %w", err)
	}
	file := &countingFile{f: f, info: info}
	switch {
	case strings.HasSuffix(path, ".jsonl"):
		return &jsonlSource{countingFile: file, path: path, lines: ckpt.NewLines(file, MaxDocBytes)}, nil
	case strings.HasSuffix(path, ".xml"):
		return newDump(path, file, file), nil
	case strings.HasSuffix(path, ".xml.bz2"):
		return newDump(path, file, bzip2.NewReader(bufio.NewReaderSize(file, 1<<20))), nil
	}
	f.Close()
	return nil, fmt.Errorf("index source %s: expected a name that ends in .jsonl, .xml or .xml.bz2", path)
}

// countingFile counts what is read, for progress.
type countingFile struct {
	f    *os.File
	info fs.FileInfo
	done atomic.Int64
}

func (c *countingFile) Close() error { return c.f.Close() }

func (c *countingFile) Offset() (done, total int64) { return c.done.Load(), c.info.Size() }

// Name is the file's.
func (c *countingFile) Name() string { return c.f.Name() }

// reads says whether info is of the file that is read.
func (c *countingFile) reads(info fs.FileInfo) bool { return os.SameFile(c.info, info) }

func (c *countingFile) Read(p []byte) (int, error) {
	n, err := c.f.Read(p)
	c.done.Add(int64(n))
	return n, err
}

type jsonlSource struct {
	*countingFile
	path  string
	lines *ckpt.Lines
}

func (s *jsonlSource) Next(context.Context) (Doc, error) {
	for {
		line, err := s.lines.Next()
		if err == io.EOF {
			return Doc{}, io.EOF
		}
		if err == nil && len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		if err != nil {
			return Doc{}, fmt.Errorf("%s:%d: %w", s.path, s.lines.N, err)
		}
		return parseDoc(s.path, s.lines.N, line)
	}
}

// docLine is a line of documents. Published corpora number theirs (Hugging Face's Wikipedia, BEIR): that is read over.
type docLine struct {
	Doc
	ID       jsontext.Value `json:"id"`
	BEIRID   jsontext.Value `json:"_id"`
	Metadata jsontext.Value `json:"metadata"`
}

// parseDoc reads line n of a file, strictly.
func parseDoc(path string, n int, line []byte) (Doc, error) {
	var l docLine
	if err := ckpt.DecodeJSONLine(path, n, line, &l, strictjson.RefuseUnknown); err != nil {
		return l.Doc, fmt.Errorf(`%w; expected a line {"title": "...", "text": "...", "url": "..."}`, err)
	}
	if strings.TrimSpace(l.Title) == "" {
		return l.Doc, fmt.Errorf("%s:%d: /title: missing, null or empty, expected a text", path, n)
	}
	return l.Doc, nil
}
