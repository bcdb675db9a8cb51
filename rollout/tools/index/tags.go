package index

import (
	"html"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// droppedTags are elements whose content is no prose.
var droppedTags = []string{"ref", "gallery", "timeline", "syntaxhighlight", "source", "score", "imagemap", "math", "chem", "templatestyles"}

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

// maxTag bounds a tag, maxBare what stands in one that has no attribute with a value; what is longer is a sign for "less than".
const (
	maxTag  = 500
	maxBare = 16
)

func (w *wikitext) tag() {
	if w.at("<!--") {
		w.skipPast("-->", 4)
		return
	}
	name := tagName.FindString(w.lower[w.i+1 : min(len(w.s), w.i+20)])
	closed := w.next(">")
	if !elements[strings.TrimPrefix(name, "/")] || closed < 0 || closed-w.i > maxTag || !attributes(w.s[w.i+1+len(name):closed]) {
		w.emit("<")
		w.i++
		return
	}
	if blocks[strings.TrimPrefix(name, "/")] {
		w.emit(" ")
	}
	empty := w.s[closed-1] == '/'
	w.i = closed + 1
	switch {
	case name == "nowiki" && !empty: // as it stands
		if end := w.closing(name); end >= 0 {
			text := w.s[w.i:end]
			w.emit(text[:strings.LastIndexByte(text, '<')])
			w.i = end
		}
	case name == "sup" && !empty:
		w.emit(w.exponent())
	case slices.Contains(droppedTags, name) && !empty:
		if end := w.closing(name); end >= 0 {
			w.i = end
		}
	}
}

var tagName = regexp.MustCompile(`^/?[a-z][a-z0-9]*`)

// attributes reports whether s may stand behind the name of a tag, and not behind "less than".
func attributes(s string) bool {
	words := strings.TrimSpace(strings.TrimSuffix(s, "/"))
	return words == "" || strings.ContainsRune(" \t\r\n", rune(s[0])) && !strings.Contains(s, "\n\n") && (len(words) <= maxBare || strings.ContainsRune(s, '='))
}

// elements are those that wikitext may have, of HTML and of MediaWiki's extensions; other names between angle brackets are text.
var elements = func() map[string]bool {
	set := map[string]bool{}
	for _, name := range strings.Fields(`abbr b bdi bdo big blockquote br caption center cite code col colgroup data dd del dfn div dl dt em figcaption figure font
		h1 h2 h3 h4 h5 h6 hr i ins kbd li link mark meta ol p pre q rb rbc rp rt rtc ruby s samp section small span strike strong sub sup table tbody td tfoot th
		thead time tr tt u ul var wbr
		categorytree ce charinsert chem gallery graph hiero imagemap includeonly indicator inputbox languages mapframe maplink math noinclude nowiki onlyinclude
		pagelist pages poem ref references score source syntaxhighlight templatedata templatestyles timeline translate tvar`) {
		set[name] = true
	}
	return set
}()

// blocks are the elements that part words, as those within a line do not.
var blocks = func() map[string]bool {
	set := map[string]bool{}
	for _, name := range strings.Fields(`blockquote br caption center dd div dl dt h1 h2 h3 h4 h5 h6 hr li ol p poem pre section table tbody td th tr ul`) {
		set[name] = true
	}
	return set
}()

// closing is the place behind the next end of an element from here on, or -1. As next, it looks once over the whole text.
func (w *wikitext) closing(name string) int {
	tag := "</" + name
	end, known := w.ends[tag]
	if known && (end < 0 || end > w.i) {
		return end
	}
	end = -1
	for from := w.i; end < 0; {
		k := strings.Index(w.lower[from:], tag)
		if k < 0 {
			break
		}
		from += k + len(tag)
		after := strings.TrimLeft(w.lower[from:min(len(w.s), from+maxTag)], " \t\r\n")
		if strings.HasPrefix(after, ">") { // </ref >, but not </references>
			end = from + strings.IndexByte(w.lower[from:], '>') + 1
		}
	}
	w.ends[tag] = end
	return end
}

// exponent is what joins the superscript that begins here to what stands before it: "10<sup>6</sup>" is not 106. It is a
// space in 5<sup>1</sup>/<sub>2</sub>, and nothing where there is no base (isotopes) or no number (19<sup>th</sup>).
func (w *wikitext) exponent() string {
	inner, after, _ := strings.Cut(w.lower[w.i:min(len(w.s), w.i+64)], "<")
	return power(w.out.String(), inner, upperHalf.MatchString(after))
}

var upperHalf = regexp.MustCompile(`^/sup>\s*(?:/|⁄|&frasl;)\s*<sub`)

// power is what stands between a base at the end of a text and an exponent.
func power(before, exponent string, fraction bool) string {
	base, _ := utf8.DecodeLastRuneInString(before)
	digits := strings.TrimLeft(strings.TrimPrefix(html.UnescapeString(exponent), "{{minus}}"), "+-−–")
	switch {
	case digits == "" || digits[0] < '0' || digits[0] > '9' || !unicode.IsLetter(base) && !unicode.IsDigit(base) && base != ')' && base != ']':
		return ""
	case fraction:
		return " "
	}
	return "^"
}
