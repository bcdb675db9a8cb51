package score

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"afctl/flow"
)

// Choice gives 1 where the answer picks the right option, by its letter or by its text. The options are Task.Choices; the
// truth is a letter, a text, or "B. text". An answer is never snapped to the nearest option: none found, or more than one
// (a letter and another option's text included), is wrong, and the reason says which.
func Choice(task flow.Task, answer string) (Grade, error) {
	accepted, err := truths(task)
	if err != nil {
		return Grade{}, err
	}
	options := newOptions(task.Choices)
	want := -1
	for _, t := range accepted {
		picked := options.pick(t)
		if len(picked) != 1 || want >= 0 && picked[0] != want {
			return Grade{}, fmt.Errorf("%w: task %s: answers: found %s, expected one of its %d options", ErrTruth, task.ID, expected(accepted), len(task.Choices))
		}
		want = picked[0]
	}
	found, origin := Extract(answer)
	picked := options.pickMarked(found, origin)
	switch {
	case len(picked) == 0:
		return wrong("no option in %s, expected %s", excerpt(found), options.name(want)), nil
	case len(picked) > 1:
		return wrong("ambiguous: %s picks %s and %s", excerpt(found), options.name(picked[0]), options.name(picked[1])), nil
	case picked[0] != want:
		return wrong("picked %s, expected %s", options.name(picked[0]), options.name(want)), nil
	}
	return right("picked %s", options.name(want)), nil
}

// Pick gives the indices of the options that an answer names, in order; exactly one is an unambiguous choice.
func Pick(choices []string, answer string) []int { return newOptions(choices).pick(answer) }

// options are the choices, normalised once. Without choices the letters A to Z are the options.
type options struct {
	words [][]string // of each text, normalised, without the letter that numbers it
	n     int
}

var leadingLetter = regexp.MustCompile(`^\s*[(\[]?([A-Za-z])[)\].:]+\s*`)

func newOptions(choices []string) options {
	o := options{n: len(choices)}
	if o.n == 0 {
		o.n = 26
	}
	for i, c := range choices {
		// A letter that numbers the option is no part of its text.
		if m := leadingLetter.FindStringSubmatch(c); m != nil && letterIndex(m[1]) == i {
			c = c[len(m[0]):]
		}
		var words []string
		for _, w := range contentWords(c) {
			words = append(words, w.text)
		}
		o.words = append(o.words, words)
	}
	return o
}

func letterIndex(s string) int { return int(strings.ToUpper(s)[0] - 'A') }

func (o options) name(i int) string {
	letter := string(rune('A' + i))
	if i < len(o.words) {
		return letter + " (" + excerpt(strings.Join(o.words[i], " ")) + ")"
	}
	return letter
}

var (
	// alone is an answer that is a letter and nothing else, lettered one that begins with a letter and its mark.
	alone    = regexp.MustCompile(`^[\s"'(\[*$]*(?i:option|choice)?\s*[(\[]?([A-Za-z])[)\]]?[\s"'.:)\]*$]*$`)
	lettered = regexp.MustCompile(`^[\s"'*]*(?:[(\[]([A-Za-z])[)\]][.:]?|([A-Z])[.:)]|([a-z])[)])\**\s*(\S.*)$`)
	// named are letters in prose: marked by brackets or by a word before them, or capitals that are no English word.
	named = regexp.MustCompile(`\b([A-Z])\)?\s*(?:\bor\b|\band\b|\bnor\b|,|/|&)\s*\(?([A-Z])\b|[(\[]([A-Za-z])[)\]]|\b(?i:options?|choices?|answers?|answer is|pick|choose|select)\s*:?\s*\**([A-Z])\b|\b([B-HJ-Z])\b`)
)

// leads is an answer that begins with its letter and goes on about it. Of unmarked text only what no article begins: "A is", "A, since".
var (
	leads      = regexp.MustCompile(`^[\s"'(\[*$]*([A-Z])\b[\])"'*$]*\s*(?:[,;:\n]|\s-|(?:because|since|as|is|for)\b)`)
	leadsProse = regexp.MustCompile(`^[\s"'(\[*$]*([A-HJ-Z])\b[\])"'*$]*(?:\s*[,;]?\s*(?:because|since)\b|\s+is\s+(?:the\s+)?(?:right|correct|best|answer)\b)`)
)

// pickMarked is pick for an answer whose mark is known.
func (o options) pickMarked(text string, origin Origin) []int {
	begins := leads
	if origin == Unmarked {
		begins = leadsProse
	}
	if m := begins.FindStringSubmatchIndex(text); m != nil && len(o.same(contentWords(text))) == 0 {
		if i := letterIndex(text[m[2]:m[3]]); i < o.n && !denied("", text[m[3]:]) {
			picked := o.inProse(text[m[3]:])
			if !slices.Contains(picked, i) {
				picked = append(picked, i)
			}
			slices.Sort(picked)
			return picked
		}
	}
	return o.pick(text)
}

// pick gives the options that the text names, each once, in ascending order.
func (o options) pick(text string) []int {
	text = strings.TrimSpace(latexText.ReplaceAllString(text, "$1"))
	same := o.same(contentWords(text))
	if m := alone.FindStringSubmatch(text); m != nil {
		if i := letterIndex(m[1]); i >= 0 && i < o.n {
			return []int{i}
		}
		return same
	}
	// An option's own text comes before what looks like letters in it ("C. difficile").
	if len(same) > 0 {
		return same
	}
	if m := lettered.FindStringSubmatch(text); m != nil {
		if i := letterIndex(m[1] + m[2] + m[3]); i >= 0 && i < o.n {
			if slices.Equal(o.same(contentWords(m[4])), []int{i}) {
				return []int{i} // "B. Vitamin C"
			}
			rest := o.inProse(m[4])
			if !slices.Contains(rest, i) {
				rest = append(rest, i)
			}
			if denied("", m[4]) {
				rest = slices.DeleteFunc(rest, func(j int) bool { return j == i })
			}
			slices.Sort(rest)
			return rest
		}
	}
	return o.inProse(text)
}

// same gives all options with just these words: with twins, a text alone picks none.
func (o options) same(words []word) []int {
	var out []int
	for i, option := range o.words {
		if slices.EqualFunc(words, option, func(w word, s string) bool { return w.text == s }) {
			out = append(out, i)
		}
	}
	return out
}

// inProse collects the letters and option texts that a sentence names and does not deny.
func (o options) inProse(text string) []int {
	var picked []int
	add := func(i int, from, to int) {
		if i >= 0 && i < o.n && !slices.Contains(picked, i) && !denied(text[max(0, from-window):from], text[to:]) {
			picked = append(picked, i)
		}
	}
	for _, m := range named.FindAllStringSubmatchIndex(text, -1) {
		for g := 2; g < len(m); g += 2 {
			if m[g] >= 0 {
				add(letterIndex(text[m[g]:m[g+1]]), m[0], m[1])
			}
		}
	}
	// A text counts where its words stand in a row and are not part of a longer option's words there.
	words := normalizedWords(text)
	taken := make([]bool, len(words))
	byLength := make([]int, len(o.words))
	for i := range byLength {
		byLength[i] = i
	}
	slices.SortStableFunc(byLength, func(a, b int) int { return len(o.words[b]) - len(o.words[a]) })
	for _, i := range byLength {
		option := o.words[i]
		for at := 0; len(option) > 0 && at+len(option) <= len(words); at++ {
			if !matchesAt(words, taken, at, option) {
				continue
			}
			here := words[at : at+len(option)]
			for k := range here {
				taken[at+k] = true
			}
			for _, twin := range o.same(here) {
				add(twin, here[0].from, here[len(here)-1].to)
			}
		}
	}
	slices.Sort(picked)
	return picked
}

// word is a normalised word and where it stands in the text, without the punctuation behind it.
type word struct {
	text     string
	from, to int
}

// normalizedWords cuts at spaces, slashes and hyphens; a dash before a digit that begins a word is its sign.
func normalizedWords(text string) []word {
	var out []word
	begin := -1
	end := func(at int) {
		if begin >= 0 {
			if n := Normalize(text[begin:at]); n != "" {
				to := begin + len(strings.TrimRightFunc(text[begin:at], unicode.IsPunct))
				out = append(out, word{n, begin, to})
			}
			begin = -1
		}
	}
	for i, r := range text {
		cut := unicode.IsSpace(r) || r == '/' || r == '_'
		if unicode.Is(unicode.Pd, r) {
			next, _ := utf8.DecodeRuneInString(text[i+utf8.RuneLen(r):])
			cut = begin >= 0 || !unicode.IsDigit(next)
		}
		if cut {
			end(i)
		} else if begin < 0 {
			begin = i
		}
	}
	end(len(text))
	return out
}

// contentWords leaves a leading article out; a letter with a mark ("A:") is none.
func contentWords(text string) []word {
	words := normalizedWords(text)
	if len(words) > 1 && strings.TrimSpace(text[words[0].to:words[1].from]) == "" {
		switch strings.ToLower(text[words[0].from:words[0].to]) {
		case "a", "an", "the":
			return words[1:]
		}
	}
	return words
}

func matchesAt(words []word, taken []bool, at int, option []string) bool {
	for k, w := range option {
		if taken[at+k] || words[at+k].text != w {
			return false
		}
	}
	return true
}
