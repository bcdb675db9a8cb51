package index

import (
	"html"
	"strings"
)

// plain strips wikitext to plain text: templates, tables, references, comments, files and categories go, links and
// emphasis keep their words, headings become lines that begin with headingMark. Sections that hold no prose of their
// own (references, external links, ...) are left out. It reads the text once, whatever is unbalanced in it: what is
// opened and not closed ends with its section.
func plain(source string) string {
	return tidy(html.UnescapeString(unmarked(source)))
}

// unmarked is plain before white space and entities are seen to.
func unmarked(source string) string {
	w := wikitext{s: source, lower: lowerASCII(source), ends: map[string]int{}}
	for w.i < len(w.s) {
		w.step()
	}
	return w.out.String()
}

type wikitext struct {
	s     string
	lower string
	i     int
	ends  map[string]int // see next
	out   strings.Builder
	// What is open around the place in hand. Text within a template, a table or a file is dropped. Within a template
	// only its braces count: whatever else is opened there ends with it.
	templates, tables, files, external int
	templateAt                         int // where the outermost template began
}

// lowerASCII keeps every byte in its place.
func lowerASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// droppedTags are elements whose content is no prose.
var droppedTags = []string{"ref", "gallery", "timeline", "syntaxhighlight", "source", "score", "imagemap", "math", "chem", "templatestyles"}

func (w *wikitext) at(prefix string) bool { return strings.HasPrefix(w.s[w.i:], prefix) }

func (w *wikitext) lineStart() bool { return w.i == 0 || w.s[w.i-1] == '\n' }

func (w *wikitext) dropping() bool { return w.templates > 0 || w.tables > 0 || w.files > 0 }

func (w *wikitext) emit(s string) {
	if !w.dropping() {
		w.out.WriteString(s)
	}
}

// step consumes at least one byte.
func (w *wikitext) step() {
	if w.lineStart() && w.line() {
		return
	}
	switch c := w.s[w.i]; c {
	case '<':
		w.tag()
	case '\n':
		w.emit("\n")
		w.i++
	case '{':
		w.open()
	case '}':
		w.closeBraces()
	case '[', ']':
		switch {
		case w.templates > 0:
			w.i++
		case c == '[':
			w.link()
		default:
			w.closeLink()
		}
	case '\'':
		n := len(w.s[w.i:]) - len(strings.TrimLeft(w.s[w.i:min(len(w.s), w.i+8)], "'")) - len(w.s[min(len(w.s), w.i+8):])
		if n == 1 {
			w.emit("'")
		}
		w.i += n
	default:
		next := strings.IndexAny(w.s[w.i+1:], "<{}[]'\n")
		end := len(w.s)
		if next >= 0 {
			end = w.i + 1 + next
		}
		w.emit(w.s[w.i:end])
		w.i = end
	}
}

// line handles what counts only at the beginning of a line, and tells whether it consumed anything.
func (w *wikitext) line() bool {
	switch {
	case w.at("=="):
		return w.heading()
	case w.templates > 0:
		return false
	case w.at("{|"):
		w.tables++
		w.i += 2
		return true
	case w.tables > 0 && w.at("|}"):
		w.tables--
		w.i += 2
		return true
	}
	rest := w.s[w.i:min(len(w.s), w.i+16)]
	if n := len(rest) - len(strings.TrimLeft(rest, "*#:;")); n > 0 {
		w.i += n
		return true
	}
	return false
}

// heading reads "== Heading ==" and ends whatever an author forgot to close.
func (w *wikitext) heading() bool {
	line, _, _ := strings.Cut(w.s[w.i:], "\n")
	title := strings.TrimRight(line, " \t\r")
	if len(title) < 5 || !strings.HasSuffix(title, "==") {
		return false
	}
	w.templates, w.tables, w.files, w.external = 0, 0, 0, 0
	w.i += len(line)
	w.emit("\n" + headingMark + strings.TrimSpace(strings.Trim(title, "= ")) + "\n")
	return true
}

// next is where the next end (in lower-case ASCII) stands from here on, or -1. Each end is looked for once over the whole
// text, however often it is asked for.
func (w *wikitext) next(end string) int {
	at, known := w.ends[end]
	if !known || at >= 0 && at < w.i {
		at = strings.Index(w.lower[w.i:], end)
		if at >= 0 {
			at += w.i
		}
		w.ends[end] = at
	}
	return at
}

// skipPast moves behind the next end, or, where there is none, behind the n bytes that began it.
func (w *wikitext) skipPast(end string, n int) {
	if at := w.next(end); at >= 0 {
		w.i = at + len(end)
	} else {
		w.i += n
	}
}

// maxTag bounds a tag; what is longer is a sign for "less than".
const maxTag = 500

func (w *wikitext) tag() {
	if w.at("<!--") {
		w.skipPast("-->", 4)
		return
	}
	name := w.lower[w.i+1 : min(len(w.s), w.i+20)]
	closed := w.next(">")
	named := name != "" && (name[0] == '/' || 'a' <= name[0] && name[0] <= 'z')
	if !named || closed < 0 || closed-w.i > maxTag {
		w.emit("<")
		w.i++
		return
	}
	if strings.HasPrefix(name, "br") || strings.HasPrefix(name, "p") || strings.HasPrefix(name, "li") {
		w.emit(" ")
	}
	w.i = closed + 1
	for _, t := range droppedTags {
		after, ok := strings.CutPrefix(name, t)
		if ok && after != "" && strings.ContainsRune(" \t\n>", rune(after[0])) && w.s[closed-1] != '/' {
			w.skipPast("</"+t+">", 0)
		}
	}
}

func (w *wikitext) open() {
	if !w.at("{{") {
		w.emit("{")
		w.i++
		return
	}
	if w.templates == 0 {
		w.templateAt = w.i + 2
	}
	w.templates++
	w.i += 2
}

func (w *wikitext) closeBraces() {
	if !w.at("}}") {
		w.emit("}")
		w.i++
		return
	}
	if w.templates--; w.templates == 0 {
		w.emit(templateText(w.s[w.templateAt:w.i]))
	}
	w.templates = max(w.templates, 0)
	w.i += 2
}

// linkReach bounds the target of a link.
const linkReach = 512

// fileSpaces are the namespaces whose links show no words.
var fileSpaces = []string{"file:", "image:", "category:", "media:"}

func (w *wikitext) link() {
	if !w.at("[[") {
		w.externalLink()
		return
	}
	target := strings.ToLower(w.s[w.i+2 : min(len(w.s), w.i+2+16)])
	target = strings.TrimLeft(target, ": ")
	for _, space := range fileSpaces {
		if w.files > 0 || strings.HasPrefix(target, space) {
			w.files++
			w.i += 2
			return
		}
	}
	w.i += 2
	// [[target|words]]: on to the words, which are read like any others
	reach := w.s[w.i:min(len(w.s), w.i+linkReach)]
	if k := strings.IndexAny(reach, "|]["); k >= 0 && reach[k] == '|' {
		w.i += k + 1
	}
}

func (w *wikitext) closeLink() {
	switch {
	case w.at("]]"):
		w.files = max(w.files-1, 0)
		w.i += 2
	case w.external > 0:
		w.external--
		w.i++
	default:
		w.emit("]")
		w.i++
	}
}

// externalLink reads [http://address words].
func (w *wikitext) externalLink() {
	rest := w.s[w.i+1 : min(len(w.s), w.i+1+8)]
	if !strings.HasPrefix(rest, "http://") && !strings.HasPrefix(rest, "https://") && !strings.HasPrefix(rest, "//") {
		w.emit("[")
		w.i++
		return
	}
	w.external++
	w.i++
	for w.i < len(w.s) && !strings.ContainsRune(" \n]", rune(w.s[w.i])) {
		w.i++
	}
}

// droppedSections hold lists of other places, no prose.
var droppedSections = map[string]bool{
	"references": true, "external links": true, "see also": true, "further reading": true, "notes": true,
	"bibliography": true, "sources": true, "citations": true, "footnotes": true,
}

// tidy squeezes white space, and drops empty lines, switches (__TOC__) and the sections that hold no prose.
func tidy(s string) string {
	var b strings.Builder
	dropped := false
	for line := range strings.SplitSeq(s, "\n") {
		line = strings.Join(strings.Fields(line), " ")
		if heading, ok := strings.CutPrefix(line, headingMark); ok {
			dropped = droppedSections[strings.ToLower(heading)]
		}
		if dropped || line == "" || strings.HasPrefix(line, "__") || strings.Trim(line, "-") == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(line)
	}
	return b.String()
}
