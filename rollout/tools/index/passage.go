package index

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Passage is a stretch of a document, as a search gives it.
type Passage struct {
	Title   string  `json:"title"`
	Section string  `json:"section,omitempty"` // heading above the passage; empty before the first
	URL     string  `json:"url,omitempty"`
	Text    string  `json:"text"`
	Score   float64 `json:"score"` // BM25, larger is better; comparable within one search only
}

// Sizes of a passage in words. Sentences are kept whole up to maxWords.
const (
	targetWords = 150
	maxWords    = 200
)

// maxWordBytes cuts what is no word of any language, so that a passage is bounded in bytes too.
const maxWordBytes = 256

// headingMark opens a line that is a heading, in the plain text of a document.
const headingMark = "## "

// Split cuts a document into passages: along its sections (lines that begin with "## "), then its sentences. A document
// without text gives none.
func Split(d Doc) []Passage {
	var out []Passage
	section := ""
	var part []string // sentences of the passage in hand
	n := 0            // words in it
	flush := func() {
		if n > 0 {
			out = append(out, Passage{Title: d.Title, Section: section, URL: d.URL, Text: strings.Join(part, " ")})
		}
		part, n = nil, 0
	}
	for line := range strings.SplitSeq(d.Text, "\n") {
		if heading, ok := strings.CutPrefix(line, headingMark); ok {
			flush()
			section = strings.TrimSpace(heading)
			continue
		}
		for _, sentence := range sentences(line) {
			w := len(sentence)
			if n > 0 && (n+w > maxWords || n >= targetWords) {
				flush()
			}
			part = append(part, strings.Join(sentence, " "))
			n += w
		}
	}
	flush()
	return out
}

// sentences cuts a line into sentences of words, none longer than maxWords.
func sentences(line string) [][]string {
	var out [][]string
	var now []string
	add := func(word string) {
		now = append(now, word)
		if len(now) == maxWords {
			out, now = append(out, now), nil
		}
	}
	fields := strings.Fields(line)
	for i, f := range fields {
		for len(f) > maxWordBytes {
			cut := maxWordBytes
			for cut > 0 && !utf8.RuneStart(f[cut]) {
				cut--
			}
			if cut == 0 {
				cut = maxWordBytes
			}
			add(f[:cut])
			f = f[cut:]
		}
		add(f)
		if len(now) > 0 && endsSentence(f) && i+1 < len(fields) && opensSentence(fields[i+1]) {
			out, now = append(out, now), nil
		}
	}
	if len(now) > 0 {
		out = append(out, now)
	}
	return out
}

func endsSentence(word string) bool {
	word = strings.TrimRight(word, `"')]»”’`)
	if word == "" {
		return false
	}
	switch last, _ := utf8.DecodeLastRuneInString(word); last {
	case '!', '?', '。', '！', '？', '…':
		return true
	case '.':
		// an initial ("J.") or a title ("Dr.") ends nothing
		return utf8.RuneCountInString(word) > 3
	}
	return false
}

func opensSentence(word string) bool {
	c, _ := utf8.DecodeRuneInString(strings.TrimLeft(word, `"'([«“‘`))
	return unicode.IsUpper(c) || unicode.IsDigit(c) || unicode.In(c, unicode.Han)
}
