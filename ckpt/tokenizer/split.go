package tokenizer

import (
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/dlclark/regexp2"
)

// gpt2Pattern is the expression that a ByteLevel pre-tokenizer with use_regex splits by (Radford et al. 2019).
const gpt2Pattern = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`

// Qwen2Pattern is the expression that Qwen2 splits by: contractions in any case, words with one leading character,
// single digits, punctuation, line ends, other white space.
const Qwen2Pattern = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`

// matchTimeout ends the search for one word by an expression that backtracks without end on this text. The expressions
// of published models take microseconds, and 0.7 s for a word of eight million characters.
const matchTimeout = 5 * time.Second

// splitter cuts text into its matches and what lies between them ("Isolated").
type splitter struct {
	re    *regexp2.Regexp
	where string // file and field of the expression
}

// newSplitter compiles an expression; where says in errors whence it is.
func newSplitter(where, pattern string) (splitter, error) {
	written, err := fromOniguruma(pattern)
	if err != nil {
		return splitter{}, fmt.Errorf("%s: %.100q: %w", where, pattern, err)
	}
	re, err := regexp2.Compile(written, regexp2.Unicode|regexp2.Multiline) // Oniguruma's ^ and $ are always those of a line
	if err != nil {
		return splitter{}, fmt.Errorf("%s: %.100q: %w", where, pattern, err)
	}
	re.MatchTimeout = matchTimeout
	return splitter{re, where}, nil
}

// split calls yield for each piece of text, in order and without a gap.
func (s splitter) split(text string, yield func(piece string) error) error {
	if text == "" {
		return nil
	}
	runes, offsets := decodeRunes(text)
	at := 0
	m, err := s.re.FindRunesMatch(runes)
	for ; m != nil && err == nil; m, err = s.re.FindNextMatch(m) {
		start, end := m.Index, m.Index+m.Length
		for _, piece := range [][2]int{{at, start}, {start, end}} { // what matches nothing, as (?=x) does, cuts all the same
			if piece[0] == piece[1] {
				continue
			}
			if err := yield(text[offsets[piece[0]]:offsets[piece[1]]]); err != nil {
				return err
			}
		}
		at = end
	}
	if err != nil { // its own words quote all of the text
		return fmt.Errorf("%s: %.100q found no word within %v in text that begins with %.40q", s.where, s.re, s.re.MatchTimeout, text[offsets[at]:])
	}
	if at < len(runes) {
		return yield(text[offsets[at]:])
	}
	return nil
}

// decodeRunes returns the characters of text and where each begins, with the end of the text after the last. A byte that
// is no UTF-8 is a character of its own, U+FFFD for the expression's eyes, and keeps its place in the text.
func decodeRunes(text string) (runes []rune, offsets []int32) {
	n := utf8.RuneCountInString(text)
	runes, offsets = make([]rune, 0, n), make([]int32, 0, n+1)
	for i, r := range text {
		runes, offsets = append(runes, r), append(offsets, int32(i))
	}
	return runes, append(offsets, int32(len(text)))
}
