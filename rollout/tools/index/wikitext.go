package index

import (
	"html"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// plain strips wikitext to plain text: templates, tables, references, comments, files and categories go, links and
// emphasis keep their words, headings become lines that begin with headingMark, exponents keep a sign ("10^6"). Sections that hold no prose of their
// own (references, external links, ...) are left out. It reads the text once, whatever is unbalanced in it: what is
// opened and not closed ends with its section. spaces are names that a wiki has for the namespaces of files and categories beside the English ones,
// in lower case.
func plain(source string, spaces ...string) string {
	return tidy(html.UnescapeString(unmarked(source, spaces)))
}

// unmarked is plain before white space and entities are seen to. A heading has as many number signs as it had equals.
func unmarked(source string, spaces []string) string {
	w := wikitext{s: source, lower: lowerASCII(source), ends: map[string]int{}, spaces: spaces}
	for w.i < len(w.s) {
		w.step()
	}
	return w.out.String()
}

type wikitext struct {
	s     string
	lower string
	i     int
	ends  map[string]int // see next and closing
	// spaces are the wiki's own names of fileSpaces.
	spaces []string
	out    strings.Builder
	// What is open around the place in hand. Text within a template, a table or a file is dropped. Within a template
	// only its braces count: whatever else is opened there ends with it.
	templates, tables, files, external int
	templateAt                         int // where the outermost template began
	// The runs of apostrophes up to quotesTo are known: loneBold is the place of the one that holds an apostrophe, -1 if none does.
	quotesTo, loneBold int
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
		w.quotes()
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

// maxIndent bounds what is looked at for the marks of a list or the indent of a table.
const maxIndent = 16

// line handles what counts only at the beginning of a line, and tells whether it consumed anything.
func (w *wikitext) line() bool {
	switch {
	case w.at("=="):
		return w.heading()
	case w.templates > 0:
		return false
	}
	rest := w.s[w.i:min(len(w.s), w.i+maxIndent)]
	switch mark := strings.TrimLeft(rest, ": \t"); { // tables may be indented
	case strings.HasPrefix(mark, "{|"):
		w.tables++
		w.i += len(rest) - len(mark) + 2
		return true
	case w.tables > 0 && strings.HasPrefix(mark, "|}"):
		w.tables--
		w.i += len(rest) - len(mark) + 2
		return true
	}
	if n := len(rest) - len(strings.TrimLeft(rest, "*#:;")); n > 0 {
		w.i += n
		return true
	}
	return false
}

// heading reads "== Heading ==", behind which comments and references may stand, and ends whatever an author forgot to
// close.
func (w *wikitext) heading() bool {
	line, _, _ := strings.Cut(w.s[w.i:], "\n")
	title := strings.TrimRight(line, " \t\r")
	for !strings.HasSuffix(title, "==") {
		k := strings.LastIndexByte(title, '<')
		if k < 0 {
			return false
		}
		if title = title[:k]; strings.HasPrefix(line[k:], "<!--") || strings.HasPrefix(line[k:], "<ref") {
			title = strings.TrimRight(title, " \t")
		} else if strings.HasSuffix(title, "==") {
			return false
		}
	}
	if len(title) < 5 {
		return false
	}
	w.templates, w.tables, w.files, w.external = 0, 0, 0, 0
	w.i += len(title)
	opened, closed := len(title)-len(strings.TrimLeft(title, "=")), len(title)-len(strings.TrimRight(title, "="))
	// The space keeps a title that begins like a list as it is.
	words := strings.Join(strings.Fields(unmarked(" "+strings.Trim(title, "= "), w.spaces)), " ")
	w.emit("\n" + strings.Repeat("#", min(opened, closed, maxLevel)) + " " + words + "\n")
	return true
}

// maxLevel is the deepest level of a heading.
const maxLevel = 6

func (w *wikitext) open() {
	if m := parameter.FindStringSubmatch(w.s[w.i:min(len(w.s), w.i+maxTemplate)]); m != nil {
		w.i += len(m[0])
		w.emit(unmarked(m[1], w.spaces))
		return
	}
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
	inner := ""
	if w.templates--; w.templates == 0 {
		inner = w.s[w.templateAt:w.i]
	}
	w.templates = max(w.templates, 0)
	w.i += 2
	if inner != "" && !w.dropping() {
		w.template(inner)
	}
}

// parameter is what a template is given under a name or number, which no page is: its group is what stands there then.
var parameter = regexp.MustCompile(`^\{\{\{[^{}|\n]*(?:\|([^{}\n]*))?\}\}\}`)

// template writes the text of a template, apart from the words and numbers around it: 3{{frac|1|2}} is not 31/2.
func (w *wikitext) template(inner string) {
	text, known := templateText(inner)
	last, _ := utf8.DecodeLastRuneInString(w.out.String())
	first, _ := utf8.DecodeRuneInString(text)
	next, _ := utf8.DecodeRuneInString(w.s[w.i:])
	inWord := func(c rune) bool { return unicode.IsLetter(c) || unicode.IsDigit(c) }
	switch {
	case !known && inWord(last) && (inWord(next) || next == '[' || next == '{'), unicode.IsDigit(last) && unicode.IsDigit(first):
		text = " " + text
	case strings.HasPrefix(text, "^") && power(w.out.String(), text[1:], false) == "":
		text = text[1:]
	}
	w.emit(text)
}

// linkReach bounds the target of a link.
const linkReach = 512

// fileSpaces are the namespaces whose links show no words, without a colon before them.
var fileSpaces = []string{"file", "image", "category", "media"}

// maxSpace bounds the name of a namespace.
const maxSpace = 64

func (w *wikitext) link() {
	if !w.at("[[") {
		w.externalLink()
		return
	}
	space, _, spaced := strings.Cut(w.s[w.i+2:min(len(w.s), w.i+2+maxSpace)], ":")
	space = strings.ToLower(strings.TrimSpace(strings.ReplaceAll(space, "_", " ")))
	hidden := spaced && (slices.Contains(fileSpaces, space) || slices.Contains(w.spaces, space))
	w.i += 2
	if w.files > 0 || hidden {
		w.files++
		return
	}
	// [[:Category:Cats|cats]] is a link to read like any other.
	if w.at(":") {
		w.i++
	}
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

// switches are MediaWiki's, such as __NOTOC__, in any wiki's language.
var switches = regexp.MustCompile(`__[\p{Lu}\p{Lo}][\p{Lu}\p{Lo}_]*?__`)

// tidy squeezes white space, and drops empty lines, switches and the sections that hold no prose, with the
// sections below them.
func tidy(s string) string {
	var b strings.Builder
	dropped := 0 // level of the section that is being dropped
	for line := range strings.SplitSeq(s, "\n") {
		if strings.Contains(line, "__") {
			line = switches.ReplaceAllString(line, "")
		}
		line = strings.Join(strings.Fields(line), " ")
		heading := strings.TrimLeft(line, "#")
		if level := len(line) - len(heading); level >= len(headingMark)-1 && strings.HasPrefix(heading, " ") {
			line = headingMark + heading[1:]
			if dropped == 0 || level <= dropped {
				dropped = 0
				if droppedSections[strings.ToLower(heading[1:])] {
					dropped = level
				}
			}
		}
		if dropped > 0 || line == "" || strings.Trim(line, "-") == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(line)
	}
	return b.String()
}
