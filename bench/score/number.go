package score

import (
	"fmt"
	"math"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"afctl/flow"
)

// Number gives 1 where the answer is the accepted number, or list of numbers, whatever its notation: 3.50, 7/2,
// \frac{7}{2}, 3\frac12 and 350\% are one value. Exact values are compared exactly, others to relTolerance.
//
// Units and currency are ignored unless both sides name one and they differ. A percentage equals its value or its
// figure (50% is 0.5, and 50 where the truth bears no sign). Several numbers are compared as a set, in brackets in
// order. In prose the last number counts (after "the answer is" the first), unless it is denied ("not 5"). A truth that is no number is
// compared as LaTeX text.
func Number(task flow.Task, answer string) (Grade, error) {
	accepted, err := truths(task)
	if err != nil {
		return Grade{}, err
	}
	found, origin := Extract(answer)
	found = spelled(found)
	candidates := []string{found}
	if calm := strings.TrimRight(found, "! "); calm != found { // a factorial, or joy
		candidates = append(candidates, calm)
	}
	var why string
	for _, t := range accepted {
		truth, ok := readAll(t)
		if !ok {
			if sameText(found, t) {
				return right("%s is the text %s", excerpt(found), excerpt(t)), nil
			}
			why = fmt.Sprintf("found %s, expected the text %s", excerpt(found), excerpt(t))
			continue
		}
		for _, c := range candidates {
			got, ok := readAll(c)
			if !ok {
				if got, ok = readProse(c, origin == Announced); !ok {
					why = fmt.Sprintf("no number in %s, expected %s", excerpt(c), excerpt(t))
					continue
				}
			}
			if reason := compareLists(got, truth); reason != "" {
				why = fmt.Sprintf("found %s, expected %s: %s", excerpt(got.text), excerpt(t), reason)
				continue
			}
			return right("%s equals %s", excerpt(got.text), excerpt(t)), nil
		}
	}
	return wrong("%s", why), nil
}

var (
	thousands   = regexp.MustCompile(`(^|[^\d.,])(\d{1,3}(?:[ \x{00a0}\x{2009}\x{202f}]\d{3})+)($|[^\d])`)
	signInWords = regexp.MustCompile(`(?i)\b(?:negative|minus)\s+(\d)`)
)

// spelled puts thousands that spaces part together, and a sign in words before its number.
func spelled(text string) string {
	text = thousands.ReplaceAllStringFunc(text, func(s string) string {
		m := thousands.FindStringSubmatch(s)
		return m[1] + strings.Join(strings.FieldsFunc(m[2], func(r rune) bool { return !unicode.IsDigit(r) }), "") + m[3]
	})
	return signInWords.ReplaceAllString(text, "-$1")
}

// IsNumber reports whether text, as a ground truth, is numbers and nothing else: Number judges it by value. A number with a
// unit could be a name ("10 Downing Street") and is none here.
func IsNumber(text string) bool {
	l, ok := readAll(text)
	return ok && !slices.ContainsFunc(l.items, func(q quantity) bool { return q.unit != "" && q.unit != "degree" || math.IsNaN(q.value.f) })
}

// IsYesNo reports whether text is a bare yes or no.
func IsYesNo(text string) bool {
	t := Normalize(text)
	return t == "yes" || t == "no"
}

// quantity is one number as it was written.
type quantity struct {
	value   value
	decimal bool   // written with a decimal point: it may stand for a number that has no finite decimal form
	percent bool   // value is the figure before the sign
	unit    string // canonical; empty for none
}

// list is one or more numbers; open and close are its brackets, empty for none. Braces and no brackets mean a set.
type list struct {
	items       []quantity
	open, close string
	text        string // as found
}

func (l list) ordered() bool { return len(l.items) > 1 && (l.open == "(" || l.open == "[") }

// compareLists returns why two lists differ, or nothing.
func compareLists(got, want list) string {
	if len(got.items) != len(want.items) {
		return fmt.Sprintf("%d numbers instead of %d", len(got.items), len(want.items))
	}
	if len(want.items) == 1 {
		return compareQuantities(got.items[0], want.items[0])
	}
	if want.ordered() {
		if got.open != "" && (got.open != want.open || got.close != want.close) {
			return "other brackets"
		}
		for i := range want.items {
			if reason := compareQuantities(got.items[i], want.items[i]); reason != "" {
				return fmt.Sprintf("number %d: %s", i+1, reason)
			}
		}
		return ""
	}
	left := slices.Clone(got.items)
	for i, w := range want.items {
		at := slices.IndexFunc(left, func(g quantity) bool { return compareQuantities(g, w) == "" })
		if at < 0 {
			return fmt.Sprintf("number %d of the set is missing", i+1)
		}
		left = slices.Delete(left, at, at+1)
	}
	return ""
}

func compareQuantities(got, want quantity) string {
	// Two spellings of a unit may have one of them in the table.
	if got.unit != "" && want.unit != "" && got.unit != want.unit && knownUnits[got.unit] == knownUnits[want.unit] {
		return fmt.Sprintf("unit %s instead of %s", got.unit, want.unit)
	}
	same := equalValues(got.value, want.value, got.decimal, want.decimal)
	if hundredth := rational(big.NewRat(1, 100)); got.percent && !want.percent {
		same = same || equalValues(got.value.mul(hundredth), want.value, true, want.decimal)
	} else if want.percent && !got.percent {
		same = same || equalValues(got.value, want.value.mul(hundredth), got.decimal, true)
	}
	if !same {
		return "another value"
	}
	return ""
}

// readAll reads the whole text as a number or list of numbers, after the last equals sign if there is one.
func readAll(text string) (list, bool) {
	text = spelled(text)
	if v, ok := numeral(text); ok {
		return list{items: []quantity{{value: v}}, text: text}, true
	}
	p := newParser(text)
	if l, ok := p.list(true); ok && p.ended() {
		l.text = text
		return l, true
	}
	if _, right, ok := cutLast(string(p.s), "=", `\approx`); ok {
		p = newParser(right)
		if l, ok := p.list(true); ok && p.ended() {
			l.text = strings.TrimSpace(right)
			return l, true
		}
	}
	return list{}, false
}

// cutLast cuts text after the last of the separators, unless it is part of <=, >= or !=.
func cutLast(text string, seps ...string) (left, right string, ok bool) {
	at, size := -1, 0
	for _, sep := range seps {
		if i := strings.LastIndex(text, sep); i > at {
			at, size = i, len(sep)
		}
	}
	if at < 1 || strings.ContainsRune("<>!", rune(text[at-1])) {
		return "", "", false
	}
	return text[:at], text[at+size:], true
}

// ended reports whether nothing but closing punctuation is left.
func (p *parser) ended() bool {
	p.space()
	return strings.Trim(string(p.s[p.pos:]), " .;:,!\r\n\t*") == ""
}

var brackets = []struct{ open, close string }{{`\{`, `\}`}, {"{", "}"}, {"(", ")"}, {"(", "]"}, {"[", "]"}, {"[", ")"}}

// list reads numbers between separators, in brackets or not. In prose (whole = false) only units that are known are read.
func (p *parser) list(whole bool) (list, bool) {
	start := p.mark()
	for _, b := range brackets {
		p.reset(start)
		if p.accept(b.open) {
			if items, ok := p.items(whole); ok && p.accept(b.close) && (len(items) > 1 || b.open == `\{`) {
				return list{items: items, open: strings.TrimPrefix(b.open, `\`), close: strings.TrimPrefix(b.close, `\`)}, true
			}
		}
	}
	p.reset(start)
	items, ok := p.items(whole)
	return list{items: items}, ok
}

func (p *parser) items(whole bool) ([]quantity, bool) {
	var out []quantity
	for {
		m := p.mark()
		if len(out) > 0 && !p.between() {
			break
		}
		q, ok := p.quantity(whole)
		if !ok {
			p.reset(m)
			break
		}
		out = append(out, q...)
	}
	return out, len(out) > 0
}

// between reads what stands between two numbers of a list.
func (p *parser) between() bool {
	comma := p.accept(",") || p.accept(";")
	p.space()
	for _, word := range []string{`\text{and}`, `\text{ and }`, `\text{or}`, `\text{ or }`, "and ", "or ", "& "} {
		if p.has(word) {
			p.pos += len(word)
			return true
		}
	}
	return comma
}

var assignment = regexp.MustCompile(`^[A-Za-z](_\{?\w\}?)?\s*=\s*`)

// quantity reads one number with its percent sign, scale and unit; a ± b gives two.
func (p *parser) quantity(whole bool) ([]quantity, bool) {
	p.space()
	if m := assignment.FindString(string(p.s[p.pos:min(len(p.s), p.pos+16)])); m != "" {
		p.pos += len(m)
	}
	p.decimal = false
	v, ok := p.sum()
	values := []value{v}
	if m := p.mark(); p.plusMinus() {
		w, more := p.sum()
		switch {
		case more && ok:
			values = []value{v.add(w), v.add(w.neg())}
		case more:
			values, ok = []value{w, w.neg()}, true
		default:
			p.reset(m)
		}
	}
	if !ok {
		return nil, false
	}
	if p.err != nil {
		values, p.err = []value{inexact(math.NaN())}, nil // a number that equals none
	}
	q := quantity{decimal: p.decimal}
	scale := p.scale()
	p.space()
	q.percent = p.command(`\%`) || p.command("%") || p.word("percent") || p.word("per cent")
	if !q.percent {
		q.unit = p.unit(whole)
	}
	out := make([]quantity, len(values))
	for i, w := range values {
		out[i] = q
		out[i].value = w.mul(integer(scale))
	}
	return out, true
}

func (p *parser) plusMinus() bool {
	p.space()
	return p.command(`\pm`) || p.command(`\mp`)
}

// word reads a whole word, whatever its case.
func (p *parser) word(w string) bool {
	end := p.pos + len(w)
	if end > len(p.s) || !strings.EqualFold(string(p.s[p.pos:end]), w) || end < len(p.s) && unicode.IsLetter(p.s[end]) {
		return false
	}
	p.pos = end
	return true
}

func (p *parser) scale() int64 {
	m := p.pos
	p.space()
	for _, s := range []struct {
		word string
		n    int64
	}{{"hundred", 1e2}, {"thousand", 1e3}, {"million", 1e6}, {"billion", 1e9}, {"trillion", 1e12}} {
		if p.word(s.word) {
			return s.n
		}
	}
	p.pos = m
	return 1
}

// readProse finds the number that prose gives: the first or the last that is not denied.
func readProse(text string, first bool) (list, bool) {
	p := newParser(text)
	var found list
	ok := false
	for i := 0; i < len(p.s); {
		p.pos, p.literals = i, nil
		if !startsNumber(p.s, i) {
			i++
			continue
		}
		l, got := p.list(false)
		if !got || p.pos <= i {
			i++
			continue
		}
		if q := l.items[len(l.items)-1]; q.unit == "" && p.pos < len(p.s) && unicode.IsLetter(p.s[p.pos]) && unicode.IsDigit(p.s[p.pos-1]) {
			i = p.pos // a word such as 5x or 1st
			continue
		}
		if partBefore.MatchString(string(p.s[max(0, i-window):i])) || partAfter.MatchString(p.ahead()) {
			i = p.pos // of a formula that is no number by itself: x^2, x/2, \log 2, 2:3
			continue
		}
		if !denied(string(p.s[max(0, i-window):i]), p.ahead()) {
			found, ok = l, true
			found.text = strings.TrimSpace(string(p.s[i:p.pos]))
			if first {
				return found, true
			}
		}
		i = p.pos
	}
	return found, ok
}

// What makes a number part of a formula: an operator, a brace or a command right before it, an operator or a command right after.
var (
	partBefore = regexp.MustCompile(`(?:[\^*/_{}\d]|[A-Za-z0-9)]:|\\(?:log|ln|exp|sin|cos|tan|binom|overline|sqrt|frac|dfrac)\s*)$`)
	partAfter  = regexp.MustCompile(`^(?:[\^*/_({]|:\d|\\(?:log|ln|exp|sin|cos|tan|binom|overline|sqrt|frac|dfrac|pi|cdot|times)\b)`)
)

// startsNumber tells numbers from digits within a word (H2O) and a minus sign from a hyphen (pages 3-5).
func startsNumber(s []rune, i int) bool {
	r := s[i]
	if i > 0 && (unicode.IsLetter(s[i-1]) || unicode.IsDigit(s[i-1])) && r != '\\' {
		return false
	}
	if r == '-' {
		return i+1 < len(s) && s[i+1] != ' ' // else a bullet or a dash
	}
	return unicode.IsDigit(r) || strings.ContainsRune(`\({[.`, r)
}

var (
	denialBefore = regexp.MustCompile(`(?i)(\bnot|n't|\\neq?|≠|!=|\bnever|\brather than|\binstead of)(\s+(equal to|exactly|simply|just|be|an?|the|option|choice|\())*\s*["'($\s]*$`)
	denialAfter  = regexp.MustCompile(`(?i)^["')$\s]*(is|are|was|would be)?\s*(\bnot\b|n't|\b(is|are|was)\s+(wrong|incorrect|false|ruled out|impossible|excluded)|\b(wrong|incorrect|false|ruled out|excluded)\b|\bcannot\b|\bcan't\b)`)
)

// window is as many characters around a number as are looked at for its unit or its denial.
const window = 48

func (p *parser) ahead() string { return string(p.s[p.pos:min(len(p.s), p.pos+window)]) }

// denied reports whether the words around an answer say that it is not the answer.
func denied(before, after string) bool {
	return denialBefore.MatchString(before) || denialAfter.MatchString(after)
}

var latexNoise = regexp.MustCompile(`\\(left|right|displaystyle|quad|qquad|[,;:!\s(\)\[\]])|[\s$~]`)
var latexText = regexp.MustCompile(`\\(?:text|mathrm|mathbf|textbf)\s*\{([^{}]*)\}`)

// sameText compares what is no number: as LaTeX without spacing, and plain words as Exact does.
func sameText(a, b string) bool {
	clean := func(s string) string {
		s = symbols.Replace(strings.TrimRight(s, ". "))
		s = latexText.ReplaceAllString(s, "$1")
		s = strings.NewReplacer(`\dfrac`, `\frac`, `\tfrac`, `\frac`).Replace(s)
		return latexNoise.ReplaceAllString(s, "")
	}
	if clean(a) == clean(b) {
		return true
	}
	b = latexText.ReplaceAllString(b, "$1")
	words := strings.IndexFunc(b, func(r rune) bool { return !unicode.IsLetter(r) && r != ' ' }) < 0
	return words && Normalize(a) == Normalize(b)
}
