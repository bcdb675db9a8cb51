package index

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
)

// dump reads a MediaWiki XML export: its pages of namespace 0 that are no redirects, without markup. Of a page with
// several revisions the last one stands.
type dump struct {
	*countingFile
	path   string
	x      *xml.Decoder
	budget *budgetReader
	base   string // address that a title is appended to; empty if the dump names none
	page   string // title of the page in hand, for messages
	opened bool   // the root element has been seen
}

func newDump(path string, file *countingFile, r io.Reader) *dump {
	b := &budgetReader{r: r, limit: MaxDocBytes}
	b.renew()
	return &dump{countingFile: file, path: path, x: xml.NewDecoder(b), budget: b}
}

// Next reads on to the next article.
func (d *dump) Next(ctx context.Context) (Doc, error) {
	for {
		if err := ctx.Err(); err != nil {
			return Doc{}, err
		}
		doc, article, err := d.nextPage()
		if err == io.EOF {
			return Doc{}, io.EOF
		}
		if err != nil {
			line, _ := d.x.InputPos()
			where := fmt.Sprintf("%s, line %d", d.path, line)
			if d.page != "" {
				where += fmt.Sprintf(", page %q", d.page)
			}
			return Doc{}, fmt.Errorf("%s: %w", where, err)
		}
		if article {
			return doc, nil
		}
	}
}

// nextPage reads one page; article tells whether it is one.
func (d *dump) nextPage() (doc Doc, article bool, err error) {
	d.page = ""
	for {
		t, err := d.token()
		if err != nil {
			return doc, false, err
		}
		switch e := t.(type) {
		case xml.StartElement:
			switch e.Name.Local {
			case "mediawiki":
				d.opened = true
			case "base":
				if err := d.siteBase(); err != nil {
					return doc, false, err
				}
			case "page":
				return d.readPage()
			}
			if !d.opened {
				return doc, false, fmt.Errorf("the root element is <%s>, expected <mediawiki>", e.Name.Local)
			}
		case xml.EndElement:
			if e.Name.Local == "mediawiki" {
				return doc, false, io.EOF
			}
		}
	}
}

// token reads one token. The dump ends with </mediawiki>: a file that ends before it is torn.
func (d *dump) token() (xml.Token, error) {
	t, err := d.x.RawToken()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("the file ends before </mediawiki>: it is torn, or no MediaWiki export")
	}
	return t, err
}

func (d *dump) siteBase() error {
	text, err := d.text("base")
	if err != nil {
		return err
	}
	if u, err := url.Parse(text); err == nil && u.Host != "" {
		u.Path = u.Path[:strings.LastIndexByte(u.Path, '/')+1]
		u.RawQuery, u.Fragment = "", ""
		d.base = u.String()
	}
	return nil
}

func (d *dump) readPage() (doc Doc, article bool, err error) {
	d.budget.renew()
	article = true
	var source string
	for {
		t, err := d.token()
		if err != nil {
			return doc, false, err
		}
		switch e := t.(type) {
		case xml.StartElement:
			switch e.Name.Local {
			case "title":
				if doc.Title, err = d.text("title"); err != nil {
					return doc, false, err
				}
				d.page = doc.Title
			case "ns":
				ns, err := d.text("ns")
				if err != nil {
					return doc, false, err
				}
				article = article && ns == "0"
			case "redirect":
				article = false
			case "revision":
				d.budget.renew() // the one before it is let go
			case "text":
				if source, err = d.text("text"); err != nil {
					return doc, false, err
				}
			}
		case xml.EndElement:
			if e.Name.Local != "page" {
				continue
			}
			if doc.Title == "" {
				return doc, false, errors.New("a <page> without <title>")
			}
			if !article {
				return doc, false, nil
			}
			doc.Text = plain(source)
			if d.base != "" {
				doc.URL = d.base + url.PathEscape(strings.ReplaceAll(doc.Title, " ", "_"))
			}
			return doc, true, nil
		}
	}
}

// text reads the character data up to the end of the element just opened.
func (d *dump) text(name string) (string, error) {
	var b strings.Builder
	for {
		t, err := d.token()
		if err != nil {
			return "", err
		}
		switch e := t.(type) {
		case xml.CharData:
			b.Write(e)
		case xml.StartElement:
			return "", fmt.Errorf("<%s> within <%s>, expected text", e.Name.Local, name)
		case xml.EndElement:
			if e.Name.Local != name {
				return "", fmt.Errorf("<%s> ends with </%s>", name, e.Name.Local)
			}
			return strings.TrimSpace(b.String()), nil
		}
	}
}

// budgetReader bounds what one revision of a page may take, before the XML decoder holds all of it in memory. The decoder
// reads ahead, so the bound is that of a revision within its buffer's size.
type budgetReader struct {
	r     io.Reader
	limit int
	left  int
}

func (b *budgetReader) renew() { b.left = b.limit }

func (b *budgetReader) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("more than %d bytes without a new page or revision", b.limit)
	}
	n, err := b.r.Read(p)
	b.left -= n
	return n, err
}
