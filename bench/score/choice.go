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

// Choice gives 1 where the answer picks the right option, by its letter, by its text or by its number in another notation. The options are Task.Choices; the
// truth is a letter, a text, or "B. text". Twins, options with one text, are told apart by the letter. An answer is never
// snapped to the nearest option: none found, or more than one (a letter and another option's text included), is wrong,
// and the reason says which.
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
	if len(picked) == 0 {
		picked = options.equal(found)
	}
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
	words [][]string  // of each text, normalised, without the letter that numbers it
	texts [][2]string // as written, with that letter and without
	n     int
}

var leadingLetter = regexp.MustCompile(`^\s*[(\[]?([A-Za-z])[)\].:]+\s*`)

func newOptions(choices []string) options {
	o := options{n: len(choices)}
	if o.n == 0 {
		o.n = 26
	}
	for i, c := range choices {
		c = halfwidth(c)
		text := [2]string{verbatim(c)}
		// A letter that numbers the option is no part of its text.
		if m := leadingLetter.FindStringSubmatch(c); m != nil && letterIndex(m[1]) == i {
			c = c[len(m[0]):]
		}
		text[1] = verbatim(c)
		o.texts = append(o.texts, text)
		var words []string
		for _, w := range contentWords(c) {
			words = append(words, w.text)
		}
		o.words = append(o.words, words)
	}
	return o
}

// verbatim keeps all of a text but the length of its gaps.
func verbatim(text string) string { return strings.Join(strings.Fields(text), " ") }

// unstopped is verbatim without the stop of a sentence at the end.
func unstopped(text string) string { return strings.TrimRight(verbatim(text), ". ") }

// written gives the options that the text is, letter for letter: what tells "L" from "l", and of many lines one option from what it quotes.
func (o options) written(text string) []int {
	for _, as := range []func(string) string{verbatim, unstopped} {
		want := as(text)
		for form := range 2 {
			var out []int
			for i, t := range o.texts {
				if as(t[form]) == want && want != "" {
					out = append(out, i)
				}
			}
			if out != nil {
				return out
			}
		}
	}
	return nil
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
	alone    = regexp.MustCompile(`^[\s"'(\[*$]*(?i:option|choice)?\s*[(\[]?([A-Za-z])[)\]]?[\s"'.:!)\]*$]*$`)
	lettered = regexp.MustCompile(`(?s)^[\s"'*]*(?:[(\[]([A-Za-z])[)\]][.:]?|([A-Z])[.:)]|([a-z])[)])\**(\s*\S.*)$`)
	// named are letters in prose: marked by brackets or by a word before them, or capitals that are no English word; "A" is none
	// where a clause ends or a verb follows.
	named = regexp.MustCompile(strings.Join([]string{
		`\b([A-Z])\)?\s*(?:\bor\b|\band\b|\bnor\b|,|/|&)\s*\(?([A-Z])\b`,
		`[(\[]([A-Za-z])[)\]]`,
		`\b(?i:options?|choices?|answers?|answer is|pick|choose|select)\s*:?\s*\**([A-Z])\b`,
		`\b([B-HJ-Z])\b`,
		`\b(A)(?:[*"'.,;:!?]|\s*$|\s+(?:is|because|since|and not|rather|instead)\b)`,
	}, "|"))
)

var (
	// leads is an answer that begins with its letter and goes on about it. Of unmarked text only what no article begins: "A is", "A, since".
	leads       = regexp.MustCompile(`^[\s"'(\[*$]*([A-Z])\b[\])"'*$]*\s*(?:[,;:\n]|\s-|(?:because|since|as|is|for)\b)`)
	leadsProse  = regexp.MustCompile(`^[\s"'(\[*$]*([A-HJ-Z])\b[\])"'*$]*(?:[ \t]*\n|\s*[,;]?\s*(?:because|since)\b|\s+is\s+(?:the\s+)?(?:right|correct|best|answer)\b)`)
	afterLetter = regexp.MustCompile(`^(?:[ \t.:,;)\]*"'$]|-[ \t])+`)
	// claimEnd is where an explanation behind a letter begins, reason where one begins in prose; affirmed is another option that the explanation approves of.
	claimEnd = regexp.MustCompile(`[;\n]|\.(?:\s|$)|\b(?i:because|since|as|so|while|whereas|but|explanation|reason)\b`)
	reason   = regexp.MustCompile(`\b(?i:because|since|whereas)\b`)
	// deniedList is "A, C, and D are incorrect".
	deniedList = regexp.MustCompile(`(?:[(\[]?\b[A-Z]\b[)\]]?(?:\s*,\s*(?:and|or)?|\s+(?:and|or))\s*)+[(\[]?[A-Z]\b[)\]]?\s+(?:is|are|were)\s+(?:all\s+|both\s+)?(?:not|wrong|incorrect|false|excluded|ruled out|impossible)\b`)
	affirmed   = regexp.MustCompile(`\b([A-Z])\b[)\]]?\s+(?:is|could|may|might|can|would)\s+(?:also\s+|be\s+|equally\s+)*(?:correct|right|possible|true|valid|plausible|acceptable|the\s+(?:right|correct|best|answer))\b`)
)

// equal gives the options that are the same number as the text, which is one in another notation: \frac12 for 1/2.
func (o options) equal(text string) []int {
	var out []int
	for i, t := range o.texts {
		if !IsNumber(text) || !IsNumber(t[1]) {
			continue
		}
		if g, err := Number(flow.Task{Answers: []string{t[1]}}, text); err == nil && g.Reward == 1 {
			out = append(out, i)
		}
	}
	return out
}

// pickMarked is pick for an answer whose mark is known.
func (o options) pickMarked(text string, origin Origin) []int {
	begins := leads
	if origin == Unmarked {
		begins = leadsProse
	}
	if written := o.written(text); written != nil && alone.FindString(text) == "" {
		return written
	}
	if len(o.same(contentWords(text))) > 0 {
		return o.pick(text)
	}
	text = deniedList.ReplaceAllString(text, " ")
	if m := begins.FindStringSubmatchIndex(text); m != nil {
		if i := letterIndex(text[m[2]:m[3]]); i < o.n && !denied("", text[m[3]:]) {
			return o.led(i, text[m[3]:])
		}
	}
	return o.pick(text)
}

// led gives what is picked by letter i with the text behind it: the letter and all that its claim names. An explanation may name
// other options, unless it approves of them or lists them.
func (o options) led(i int, rest string) []int {
	picked := []int{i}
	add := func(more ...int) {
		for _, j := range more {
			if j < o.n && !slices.Contains(picked, j) {
				picked = append(picked, j)
			}
		}
	}
	rest = afterLetter.ReplaceAllString(rest, "")
	ownLine := strings.TrimLeft(rest, "\r\n")
	if whole := o.texted(ownLine); slices.Contains(whole, i) {
		return picked // its own text, which may have many lines, or a twin
	}
	claim, explanation := cutBefore(ownLine, claimEnd)
	if same := o.texted(claim); len(same) > 0 {
		if !slices.Contains(same, i) { // the letter tells twins apart
			add(same...)
		}
	} else if ownLine == rest || alone.MatchString(claim) {
		add(o.inProse(claim)...)
	}
	for _, line := range strings.Split(explanation, "\n") {
		if m := lettered.FindStringSubmatch(line); m != nil {
			if j := letterIndex(m[1] + m[2] + m[3]); slices.Contains(o.same(contentWords(m[4])), j) {
				add(j)
			}
		}
	}
	return o.with(picked, explanation)
}

// cutBefore cuts text where the mark begins, if it is there.
func cutBefore(text string, mark *regexp.Regexp) (before, after string) {
	if at := mark.FindStringIndex(text); at != nil {
		return text[:at[0]], text[at[0]:]
	}
	return text, ""
}

// with gives picked and the options that the explanation approves of, in ascending order.
func (o options) with(picked []int, explanation string) []int {
	for _, m := range affirmed.FindAllStringSubmatch(explanation, -1) {
		if j := letterIndex(m[1]); j < o.n && !slices.Contains(picked, j) {
			picked = append(picked, j)
		}
	}
	slices.Sort(picked)
	return picked
}

// pick gives the options that the text names, each once, in ascending order.
func (o options) pick(text string) []int {
	text = halfwidth(text)
	if written := o.written(text); written != nil && alone.FindString(text) == "" {
		return written
	}
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
	text = strings.TrimSpace(deniedList.ReplaceAllString(text, " "))
	if m := lettered.FindStringSubmatch(text); m != nil && !denied("", m[4]) {
		if i := letterIndex(m[1] + m[2] + m[3]); i >= 0 && i < o.n {
			return o.led(i, m[4])
		}
	}
	if claim, explanation := cutBefore(text, reason); explanation != "" {
		if picked := o.inProse(claim); len(picked) > 0 {
			return o.with(picked, explanation)
		}
	}
	return o.inProse(text)
}

// texted gives the options whose text this is: letter for letter, or else word for word.
func (o options) texted(text string) []int {
	if written := o.written(text); written != nil {
		return written
	}
	return o.same(contentWords(text))
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
	// A text counts where its words stand in a row and are not part of a longer option's words there.
	words := normalizedWords(text)
	taken := make([]bool, len(words))
	var spans [][2]int
	var twins []func()
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
			spans = append(spans, [2]int{here[0].from, here[len(here)-1].to})
			twins = append(twins, func() {
				same := o.same(here)
				if len(same) > 1 && slices.ContainsFunc(same, func(j int) bool { return slices.Contains(picked, j) }) {
					return // a letter said which
				}
				for _, twin := range same {
					add(twin, here[0].from, here[len(here)-1].to)
				}
			})
		}
	}
	for _, m := range named.FindAllStringSubmatchIndex(text, -1) {
		for g := 2; g < len(m); g += 2 {
			// A letter within an option's text is no letter ("Vitamin C").
			if from, to := m[g], m[g+1]; from >= 0 && !slices.ContainsFunc(spans, func(s [2]int) bool { return s[0] <= from && to <= s[1] }) {
				add(letterIndex(text[from:to]), m[0], slices.Max(m[2:]))
			}
		}
	}
	for _, pick := range twins {
		pick()
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
