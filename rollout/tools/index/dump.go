package index

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"afctl/ckpt"
)

// dump reads a MediaWiki XML export: its pages of namespace 0, without markup, and of redirects where they lead. Of a page with
// several revisions the last one stands. Exports that follow one another in a file, as the parts of a large one do when
// they are joined, are read as one.
type dump struct {
	*countingFile
	path   string
	x      *xml.Decoder
	budget *budgetReader
	base   string   // address that a title is appended to; empty if the dump names none
	spaces []string // what the wiki calls its files and categories, in lower case
	exact  bool     // titles may begin with a small letter
	page   string   // title of the page in hand, for messages
	opened bool     // within a root element
	roots  int      // root elements that have ended
}

func newDump(path string, file *countingFile, r io.Reader) *dump {
	b := &budgetReader{r: r, limit: MaxDocBytes}
	b.renew()
	x := xml.NewDecoder(b)
	x.CharsetReader = func(string, io.Reader) (io.Reader, error) {
		return nil, errors.New("expected UTF-8, in which MediaWiki exports")
	}
	return &dump{countingFile: file, path: path, x: x, budget: b}
}

// Next reads on to the next article.
func (d *dump) Next(ctx context.Context) (Doc, error) {
	for {
		if err := ctx.Err(); err != nil {
			return Doc{}, err
		}
		doc, kept, err := d.nextPage()
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
		if kept {
			return doc, nil
		}
	}
}

// nextPage reads one page; kept tells whether it is an article or a redirect.
func (d *dump) nextPage() (doc Doc, kept bool, err error) {
	d.page = ""
	for {
		t, err := d.token()
		if err != nil {
			return doc, false, err
		}
		if !d.opened {
			if err := d.between(t); err != nil {
				return doc, false, err
			}
			continue
		}
		switch e := t.(type) {
		case xml.StartElement:
			switch e.Name.Local {
			case "mediawiki":
				return doc, false, errors.New("<mediawiki> within <mediawiki>: the dump before it is torn")
			case "base":
				if err := d.siteBase(); err != nil {
					return doc, false, err
				}
			case "case":
				text, err := d.text("case")
				if err != nil {
					return doc, false, err
				}
				d.exact = text == "case-sensitive"
			case "namespace":
				if err := d.namespace(e); err != nil {
					return doc, false, err
				}
			case "page":
				return d.readPage()
			}
		case xml.EndElement:
			if e.Name.Local == "mediawiki" {
				d.opened, d.roots = false, d.roots+1
			}
		}
	}
}

// between takes a token outside of all root elements: the start of one, or what may stand before and after it.
func (d *dump) between(t xml.Token) error {
	switch e := t.(type) {
	case xml.StartElement:
		if e.Name.Local != "mediawiki" {
			return fmt.Errorf("the root element is <%s>, expected <mediawiki>", e.Name.Local)
		}
		d.opened, d.base, d.spaces, d.exact = true, "", nil, false
	case xml.EndElement:
		return fmt.Errorf("</%s> without a start", e.Name.Local)
	case xml.CharData:
		if text := strings.Trim(string(e), " \t\r\n"+ckpt.ByteOrderMark); text != "" {
			return fmt.Errorf("found %.40q outside of <mediawiki>, expected a MediaWiki export, and nothing but white space around it", text)
		}
	}
	return nil
}

// token reads one token. A dump ends with </mediawiki>: a file that ends before it is torn. The end of the file is io.EOF
// only where its reader has found it, so that a compressed file's checksums have been compared.
func (d *dump) token() (xml.Token, error) {
	t, err := d.x.RawToken()
	switch {
	case errors.Is(err, io.EOF) && !d.opened && d.roots > 0:
		return nil, io.EOF
	case errors.Is(err, io.EOF):
		return nil, errors.New("the file ends before </mediawiki>: it is torn, or no MediaWiki export")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, errors.New("the compressed data end before their end mark: the file is torn")
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

// namespace takes the wiki's own names of media, files and categories, whose links show no words.
func (d *dump) namespace(e xml.StartElement) error {
	name, err := d.text("namespace")
	for _, a := range e.Attr {
		if a.Name.Local == "key" && (a.Value == "-2" || a.Value == "6" || a.Value == "14") && name != "" {
			d.spaces = append(d.spaces, strings.ToLower(name))
		}
	}
	return err
}

// redirect is the text of a page that leads to another, in any wiki's language: older dumps have no element for it. Its group is the other's title.
var redirect = regexp.MustCompile(`^#(?:(?i:redirect)|\p{Lu}{4,}|\p{Lo}{2,}) ?:?\s*\[\[([^\]\n]*)\]\]`)

// target is the title of the page that a link leads to: without a section, and written as titles are.
func (d *dump) target(link string) string {
	link, _, _ = strings.Cut(link, "|")
	link, _, _ = strings.Cut(link, "#")
	link = strings.Join(strings.Fields(strings.ReplaceAll(strings.TrimLeft(link, ": "), "_", " ")), " ")
	if first, size := utf8.DecodeRuneInString(link); !d.exact && size > 0 {
		link = string(unicode.ToUpper(first)) + link[size:]
	}
	return link
}

func (d *dump) readPage() (doc Doc, kept bool, err error) {
	d.budget.renew()
	article, leads := true, false
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
				leads = true
				for _, a := range e.Attr {
					if a.Name.Local == "title" {
						doc.Redirect = d.target(a.Value)
					}
				}
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
			if m := redirect.FindStringSubmatch(source); m != nil || leads {
				if doc.Redirect == "" && m != nil {
					doc.Redirect = d.target(m[1])
				}
				return doc, true, nil
			}
			doc.Text = plain(source, d.spaces...)
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
