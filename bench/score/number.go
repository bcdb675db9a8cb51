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
// Units are ignored unless both sides name one and they differ, signs of currency always. A percentage equals its value or its
// figure (50% is 0.5, and 50 where the truth bears no sign). Several numbers are compared as a set, in brackets in
// order; without spaces (132,133,134) they may be thousands, too. In prose the last number counts, after "the answer is"
// the first; a marked answer may hold one only. What is denied ("not 5") or part of a formula (x^2) counts nowhere;
// "45th" and "N ≡ 104 (mod 1000)" are 45 and 104. A truth that is no number is compared as LaTeX text.
func Number(task flow.Task, answer string) (Grade, error) {
	accepted, err := truths(task)
	if err != nil {
		return Grade{}, err
	}
	found, origin := Extract(answer)
	found = spelled(found)
	candidates := []string{found}
	if calm := joy.ReplaceAllString(found, "$1"); calm != found { // a factorial, or joy
		candidates = append(candidates, calm)
	}
	if bare, ok := bareFigure(found, origin); ok {
		candidates = append(candidates, bare)
	}
	var why string
	for _, t := range accepted {
		wants := readings(t)
		if wants == nil || wants[0].unknown() {
			if sameText(found, t) {
				return right("%s is the text %s", excerpt(found), excerpt(t)), nil
			}
			why = fmt.Sprintf("found %s, expected the text %s", excerpt(found), excerpt(t))
			continue
		}
		for _, c := range candidates {
			read := readings(c)
			if read == nil {
				got, ok := readProse(c, origin, wants[0].decimal())
				if !ok {
					why = fmt.Sprintf("no single number in %s, expected %s", excerpt(c), excerpt(t))
					continue
				}
				if read = readings(got.text); len(read) > 0 {
					read[0] = got
				} else {
					read = []list{got}
				}
			}
			got, reason := closest(read, wants)
			if reason != "" {
				why = fmt.Sprintf("found %s, expected %s: %s", excerpt(got.text), excerpt(t), reason)
				continue
			}
			return right("%s equals %s", excerpt(got.text), excerpt(t)), nil
		}
	}
	return wrong("%s", why), nil
}

// IsNumber reports whether text, as a ground truth, is numbers and nothing else: Number judges it by value. A number with a
// unit could be a name ("10 Downing Street") and is none here, and figures between dashes or two slashes are a range, a result or a date, no arithmetic.
func IsNumber(text string) bool {
	for _, part := range listSigns.Split(text, -1) {
		if figures.MatchString(part) {
			return false
		}
	}
	l, ok := readAll(text)
	return ok && !l.unknown() && !slices.ContainsFunc(l.items, func(q quantity) bool { return q.unit != "" && q.unit != "degree" })
}

// IsFormula reports whether text, as a ground truth, is written in LaTeX: Number compares it without its spacing and text commands.
func IsFormula(text string) bool { return latexCommand.MatchString(text) }

var (
	latexCommand = regexp.MustCompile(`\\[A-Za-z]+`)
	listSigns    = regexp.MustCompile(`[,;]\s|;|&|\b(?:and|or)\b`)
	figures      = regexp.MustCompile(`^[\s("'\[]*\+?\d[\d.,]*(?:(?:\s*[\p{Pd}−]\s*[\d.,]*\d)+|(?:\s*/\s*\d+){2,})[\s)"'\].]*$`)
)

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

// decimal reports whether the list is one number with a decimal point: then a rounded answer is asked for.
func (l list) decimal() bool { return len(l.items) == 1 && l.items[0].decimal }

// unknown reports whether the list holds a number beyond what is computed, such as 2^{2000}, which is then compared as text.
func (l list) unknown() bool {
	return slices.ContainsFunc(l.items, func(q quantity) bool { return math.IsNaN(q.value.f) })
}

func (l list) ordered() bool { return len(l.items) > 1 && (l.open == "(" || l.open == "[") }

// compareLists returns why two lists differ, or nothing.
func compareLists(got, want list) string {
	// One value may be written twice: "1/2 or 50%".
	if len(want.items) == 1 && got.open == "" {
		for _, g := range got.items {
			if reason := compareQuantities(g, want.items[0]); reason != "" && len(got.items) > 1 {
				return fmt.Sprintf("%d numbers instead of 1", len(got.items))
			} else if reason != "" {
				return reason
			}
		}
		return ""
	}
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
	if !sameUnit(got.unit, want.unit) {
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

// twoWays is what may be thousands or a list: (120,240), or 132,133,134. One comma and no bracket parts thousands.
var twoWays = regexp.MustCompile(`[(\[{][^(\[{]*\d,\d{3}\D|\d,\d{3}(?:.*\d)?,\d`)

// readings are the ways to read the whole text, the likeliest first; nil where it is no number.
func readings(text string) []list {
	l, ok := readAll(text)
	if !ok {
		return nil
	}
	out := []list{l}
	if twoWays.MatchString(text) {
		if l, ok := readWhole(text, true); ok {
			out = append(out, l)
		}
	}
	return out
}

// closest compares all readings: those that are equal, or why the likeliest are not.
func closest(found, truths []list) (got list, reason string) {
	for _, t := range truths {
		for _, f := range found {
			if compareLists(f, t) == "" {
				return f, ""
			}
		}
	}
	return found[0], compareLists(found[0], truths[0])
}

// readAll reads the whole text as a number or list of numbers, after the last equals sign if there is one.
func readAll(text string) (list, bool) {
	if v, ok := numeral(spelled(text)); ok {
		return list{items: []quantity{{value: v}}, text: text}, true
	}
	return readWhole(text, false)
}

// readWhole is readAll without numbers in words; apart is the parser's.
func readWhole(text string, apart bool) (list, bool) {
	text = spelled(text)
	p := newParser(text)
	p.apart = apart
	if l, ok := p.list(true); ok && p.ended() {
		l.text = text
		return l, true
	}
	if right, ok := afterEquals(string(p.s)); ok {
		p = newParser(right)
		p.apart = apart
		if l, ok := p.list(true); ok && p.ended() {
			l.text = strings.TrimSpace(right)
			return l, true
		}
	}
	return list{}, false
}

// afterEquals gives what follows the last equals sign, unless that is part of <=, >= or !=.
func afterEquals(text string) (string, bool) {
	if at := membership.FindStringIndex(text); at != nil {
		return text[at[1]:], true
	}
	at := strings.LastIndexByte(text, '=')
	if at < 1 || strings.IndexByte("<>!", text[at-1]) >= 0 {
		return "", false
	}
	return text[at+1:], true
}

// membership is what says of a variable that it is in a set.
var membership = regexp.MustCompile(`^(?:[\s$]|\\[(\[])*[A-Za-z]\s*\\in\b`)

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
		if len(out) > 0 && !p.between(whole) {
			p.reset(m)
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

// between reads what stands between two numbers of a list. A range in prose is two numbers; as a whole text, "3 to 1" is a ratio.
func (p *parser) between(whole bool) bool {
	comma := p.accept(",") || p.accept(";")
	p.space()
	for _, word := range []string{`\text{and}`, `\text{ and }`, `\text{or}`, `\text{ or }`, "and ", "or ", "& "} {
		if p.has(word) {
			p.pos += len(word)
			return true
		}
	}
	return comma || !whole && p.word("to")
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
	m := p.mark()
	if !p.plusMinus() {
		p.reset(m)
	} else if w, more := p.sum(); !more {
		p.reset(m)
	} else if ok {
		values = []value{v.add(w), v.add(w.neg())}
	} else {
		values, ok = []value{w, w.neg()}, true
	}
	if !ok {
		return nil, false
	}
	if p.err != nil {
		values, p.err = []value{inexact(math.NaN())}, nil // a number that equals none
	}
	q := quantity{decimal: p.decimal}
	scale := p.scale()
	end := p.pos
	p.space()
	q.percent = p.command(`\%`) || p.command("%") || p.word("percent") || p.word("per cent")
	if !q.percent {
		p.pos = end // a unit is told from a variable by the space before it
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

var (
	latexNoise = regexp.MustCompile(`(\\\\)|\\(?:left|right|displaystyle|quad|qquad|[,;:!\s(\)\[\]])|[\s$~]`) // but for the breaks between rows
	oneBrace   = regexp.MustCompile(`([\^_])\{(\w)\}`)                                                        // x^{2} is x^2
	latexText  = regexp.MustCompile(`\\(?:text|mathrm|mathbf|textbf|textrm|mbox)\s*\{([^{}]*)\}`)
	oneName    = strings.NewReplacer(`\neq`, `\ne`, `\varnothing`, `\emptyset`, "∅", `\emptyset`, "∪", `\cup`, "∩", `\cap`, `\surd `, `\sqrt`, `\surd`, `\sqrt`, `\dfrac`, `\frac`, `\tfrac`, `\frac`, `\geq`, `\ge`, `\leq`, `\le`, ">=", `\ge`, "<=", `\le`)
)

// Arguments of TeX commands without braces.
var (
	shortRoot = regexp.MustCompile(`\\sqrt\s*([0-9A-Za-z])`)
	shortFrac = regexp.MustCompile(`\\frac(?:\s*([0-9])|\s+([A-Za-z]))`)
	shortOver = regexp.MustCompile(`\\frac\s*\{([^{}]*)\}\s*([0-9A-Za-z])`)
	assigned  = regexp.MustCompile(`^[\s$]*[A-Za-z]\s*=\s*`)
)

// sameText compares what is no number: as LaTeX without spacing, and plain words as Exact does.
func sameText(a, b string) bool {
	clean := func(s string) string {
		s = readable(strings.TrimRight(s, ". "))
		s = oneName.Replace(latexText.ReplaceAllString(s, "$1"))
		s = shortRoot.ReplaceAllString(s, `\sqrt{$1}`)
		s = shortFrac.ReplaceAllString(s, `\frac{$1$2}`)
		s = shortOver.ReplaceAllString(s, `\frac{$1}{$2}`)
		return oneBrace.ReplaceAllString(latexNoise.ReplaceAllString(s, "$1"), "$1$2")
	}
	if clean(a) == clean(b) {
		return true
	}
	if named, other := assigned.FindString(a), assigned.FindString(b); (named == "") != (other == "") && clean(a[len(named):]) == clean(b[len(other):]) {
		return true // y = 2x + 3 is 2x + 3
	}
	b = strings.Trim(latexText.ReplaceAllString(b, "$1"), "()")
	words := strings.IndexFunc(b, func(r rune) bool { return !unicode.IsLetter(r) && r != ' ' }) < 0
	return words && Normalize(a) == Normalize(b)
}
