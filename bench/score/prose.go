package score

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

var (
	thousands = regexp.MustCompile(`(^|[^\d.,])(\d{1,3}(?:[ \x{00a0}\x{2009}\x{202f}]\d{3})+)($|[^\d])`)
	andPart   = regexp.MustCompile(`(?i)(\d)\s+and\s+(?:an?|one)\s+(half|third|quarter|fourth|fifth|sixth|seventh|eighth|ninth|tenth)\b`)
	// A sign in words, and one before a currency.
	signInWords  = regexp.MustCompile(`(?i)\b(?:negative|minus)\s+([\\$€£¥(]*\d)`)
	signOutside  = regexp.MustCompile(`[-−–](?:\\?\$|[€£¥])\s*(\d)`)
	joy          = regexp.MustCompile(`!+(["'”’)*\s]*$|\s+[A-Z]|\s+\p{So})`)
	environments = regexp.MustCompile(`\\(?:begin|end)\s*\{[^{}]*\}`)
)

// spelled puts thousands that spaces part together, and a sign in words before its number.
func spelled(text string) string {
	text = thousands.ReplaceAllStringFunc(text, func(s string) string {
		m := thousands.FindStringSubmatch(s)
		return m[1] + strings.Join(strings.FieldsFunc(m[2], func(r rune) bool { return !unicode.IsDigit(r) }), "") + m[3]
	})
	text = andPart.ReplaceAllStringFunc(text, func(s string) string {
		m := andPart.FindStringSubmatch(s)
		return fmt.Sprintf("%s 1/%d", m[1], singularParts[strings.ToLower(m[2])])
	})
	return signOutside.ReplaceAllString(signInWords.ReplaceAllString(text, "-$1"), "-$1")
}

// mention is a number, or a list of numbers, in prose, with the text around it.
type mention struct {
	list
	before, after string
	// "1/3 ≈ 0.33": the first is rounded, the second its rounding.
	rounded, rounding bool
}

// readProse finds the number that prose gives: the first after an announcement, the last of unmarked text. A marked answer is
// meant as the whole answer, so it may give one number only. An alternative in words ("4 or maybe 5") is no answer. Where a number
// is followed by its rounding (1/3 ≈ 0.33; 1/3, or about 0.33), the rounding counts only against a decimal.
func readProse(text string, origin Origin, decimal bool) (list, bool) {
	all := slices.DeleteFunc(mentions(text), func(m mention) bool { return decimal && m.rounded || !decimal && m.rounding })
	if len(all) == 0 {
		return numeralInProse(text)
	}
	at := len(all) - 1
	if origin == Announced {
		at = 0
	}
	for i := range all {
		near := i+1 == at || i == at+1
		hedged := near && alternative.MatchString(all[min(i, at)].after)
		if i != at && (hedged || origin < Announced) && compareLists(all[i].list, all[at].list) != "" {
			return list{}, false
		}
	}
	return all[at].list, true
}

var (
	// roundedTo is what stands between a number and its rounding.
	roundedTo   = regexp.MustCompile(`^(?:[\s$~,;()\[\]{}\\]|text|or|which|that|is)*\b(?:approx(?:imately|\.)?|about|roughly|around)(?:[\s$~()\[\]{}\\]|equal|to)*$`)
	alternative = regexp.MustCompile(`(?i)^[\s,;($]*(?:or|maybe|perhaps|possibly|alternatively)\b`)
)

// mentions finds the numbers of a text that stand by themselves and are not denied.
func mentions(text string) []mention {
	text = environments.ReplaceAllString(text, " ")
	text = latexText.ReplaceAllStringFunc(text, func(s string) string {
		inner := latexText.FindStringSubmatch(s)[1]
		if inner != "" && asciiLetter(rune(inner[0])) {
			inner = " " + inner // 5\text{cm}
		}
		return inner
	})
	p := newParser(text)
	var out []mention
	end := 0 // of the last
	for i := 0; i < len(p.s); {
		p.pos, p.literals = i, nil
		if !startsNumber(p.s, i) {
			i++
			continue
		}
		l, ok := p.list(false)
		if !ok || p.pos <= i {
			i++
			continue
		}
		m := mention{list: l, before: string(p.s[max(0, i-window):i]), after: p.ahead()}
		m.text = strings.TrimSpace(string(p.s[i:p.pos]))
		if !partOfFormula(m.before, m.after) && !denied(m.before, m.after) {
			if n := len(out); n > 0 && roundedTo.MatchString(string(p.s[end:i])) && alike(out[n-1].list, l) {
				out[n-1].rounded, m.rounding = true, true
			}
			out, end = append(out, m), p.pos
		}
		i = p.pos
	}
	return out
}

// alike reports whether two single numbers may be one and its rounding.
func alike(a, b list) bool {
	if len(a.items) != 1 || len(b.items) != 1 {
		return false
	}
	const tolerance = 0.05
	x, y := a.items[0].value.f, b.items[0].value.f
	return math.Abs(x-y) <= tolerance*math.Abs(x)
}

// functions are operators that are written as words.
const functions = `(?:arc)?(?:sin|cos|tan|log|ln|exp|sqrt|mod|gcd|lcm)`

// What makes a number part of a formula that is no number by itself (x^2, x/2, f(2), 2:3, x > 2, 2n + 3), or part of a word (COVID-19).
// A letter alone is a variable, unless it is an article or "I".
var (
	partBefore = regexp.MustCompile(`(?:` + strings.Join([]string{
		`[\^_*/][ \t]*\{?[ \t]*`,
		`[^\s=\-][ \t]*[<>]=?[ \t]*`,                                // but no arrow, and not the mark of a quotation
		`(?:(?:^|[^A-Za-z'’])[A-Za-zα-ω]|[\d)\]}])[ \t]*[-+][ \t]*`, // an operand and its sign; else the sign is the number's, or a dash
		`[A-Za-z]-`,
		`(?:^|[^A-Za-z'’.\\])[b-zB-HJ-Zα-ω][ \t$]*`,
		`(?:^|[^A-Za-z])` + functions + `[ \t]*\(?[ \t]*`,
		`[A-Za-z\d)\]}][(\[][ \t]*`, // f(2), 3(2
		`[)\]]|\}[ \t]*|_\w[ \t]*`,
		`[(\[{][ \t]*[A-Za-z][ \t]*,[ \t]*`, // (x, 2
		`\d(?:\.|:|[ \t]+:[ \t]*)?`,
		`\bout of[ \t]*`,
		`分之`,
	}, "|") + `)$`)
	partAfter = regexp.MustCompile(`^(?:` + strings.Join([]string{
		`[^\P{L}\p{Han}]|\(|\.\d`,
		`[十百万亿萬億]|千(?:[^克米]|$)|分之`, // 3万 is 30000, 3分之2 two thirds, but 3千克 3 kg
		`[ \t]*[\^_*/+{]`,
		`[ \t]*[<>]=?[ \t]*[\w(\\.\-]`,
		`[ \t]*:[ \t]*\d`,
		`[ \t]*-[ \t]*(?:[A-Za-z](?:$|[^A-Za-z])|[(\\])`,
		`[ \t]*\}[ \t]*[\^_{(A-Za-z\\]`,
		`[ \t]*\([ \t]*[A-Za-z][ \t]*[-+*/^)]`,    // 2 (x + 1
		`[ \t]*,[ \t]*[A-Za-z][ \t]*(?:[)\]}]|$)`, // 2, x)
		`[ \t$]*(?:[b-zB-HJ-Zα-ω](?:$|[^A-Za-z'’])|[aAI][ \t]*(?:$|[^A-Za-z \t]))`,
		`[ \t]*\(?[ \t]*` + functions + `\b`,
	}, "|") + `)`)
	commandBefore = regexp.MustCompile(`\\([A-Za-z]+)[ \t]*[({\[]?[ \t]*$`)
	commandAfter  = regexp.MustCompile(`^[ \t]*\\([A-Za-z]+)`)
)

// plainCommands are those that leave a number beside them a number; every other one makes a formula.
var plainCommands = func() map[string]bool {
	out := make(map[string]bool)
	for _, s := range strings.Fields(`approx in neq ne therefore because implies iff Rightarrow rightarrow Longrightarrow longrightarrow to
		quad qquad left right big Big bigl bigr Bigl Bigr displaystyle textstyle item boxed fbox hline newline dots ldots bullet checkmark
		square blacksquare qed`) {
		out[s] = true
	}
	return out
}()

func partOfFormula(before, after string) bool {
	if partBefore.MatchString(before) || partAfter.MatchString(after) {
		return true
	}
	b, a := commandBefore.FindStringSubmatch(before), commandAfter.FindStringSubmatch(after)
	return b != nil && !plainCommands[b[1]] || a != nil && !plainCommands[a[1]]
}

// startsNumber tells numbers from digits within a word (H2O) and a minus sign from a hyphen (pages 3-5).
func startsNumber(s []rune, i int) bool {
	r := s[i]
	if i > 0 && (wordLetter(s[i-1]) || unicode.IsDigit(s[i-1])) && r != '\\' {
		return false
	}
	if r == '-' {
		return i+1 < len(s) && s[i+1] != ' ' // else a bullet or a dash
	}
	return unicode.IsDigit(r) || strings.ContainsRune(`\({[.`, r)
}

// wordLetter is a letter that makes one word with the digits beside it. Chinese has no spaces: 共42个 is 42.
func wordLetter(r rune) bool { return unicode.IsLetter(r) && !unicode.Is(unicode.Han, r) }

var (
	denialBefore = regexp.MustCompile(`(?i)(\bnot|n't|不是|并非|\\neq?|≠|!=|\bnever|\bneither|\bnor|\bcannot|\brather than|\binstead of|\b(?:less|fewer|smaller|lower|more|greater|larger|higher|bigger|other) than)(\s+(equal to|exactly|simply|just|be|an?|the|option|choice|\())*\s*["'($\s]*$`)
	denialAfter  = regexp.MustCompile(`(?i)^["')$\s]*(is|are|was|would be)?\s*(\\neq?\b|!=|\bnot\b|n't|\b(is|are|was)\s+(wrong|incorrect|false|ruled out|impossible|excluded)|\b(wrong|incorrect|false|ruled out|excluded)\b|\bcannot\b|\bcan't\b|不|是错)`)
)

// window is as many characters around a number as are looked at for its unit or its denial.
const window = 48

func (p *parser) ahead() string { return string(p.s[p.pos:min(len(p.s), p.pos+window)]) }

// denied reports whether the words around an answer say that it is not the answer.
func denied(before, after string) bool {
	return denialBefore.MatchString(before) || denialAfter.MatchString(after)
}
