package score

import (
	"regexp"
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"afctl/flow"
)

// Exact gives 1 where the answer equals an accepted answer: by Normalize's rules word by word, but where these drop what tells two answers
// apart, or keep what does not.
//
//   - A comma, semicolon or colon parts words ("b,e" is "b, e", and 24:00 is not 2400), unless it parts thousands.
//   - Mathematical symbols are words of their own (x > 5, ¬A → B), and with two of them brackets are; one letter or two keep a minus sign (A-, Cl-).
//   - Between two figures a dash, "to" and "until" are one sign, and so are "&" and "and" between two words.
//   - A date is one whatever the order of its parts, and however the month is shortened; of figures alone only year-month-day is one.
//   - A unit has one name (5mm, 5 millimetres), and the last item of a list may have an "and".
//   - An article stands before a word: "A" in "A, B", "A/B" or "A ∨ B" is none.
func Exact(task flow.Task, answer string) (Grade, error) {
	accepted, err := truths(task)
	if err != nil {
		return Grade{}, err
	}
	for _, t := range accepted {
		for _, claim := range claims(answer, t) {
			if sameWords(claim, t) {
				return right("%s matches %s", excerpt(claim), excerpt(t)), nil
			}
		}
	}
	found, _ := Extract(answer)
	return wrong("found %s, expected %s", excerpt(found), expected(accepted)), nil
}

// sameWords compares an answer with a truth. What Markdown or an arrow puts before an answer is none of it, unless the truth has it too.
func sameWords(answer, truth string) bool {
	want := exactForm(truth)
	got := exactForm(answer)
	return got != "" && (got == want || exactForm(decoration.ReplaceAllString(answer, "")) == want)
}

var (
	// decoration is a heading, a quotation, an arrow or a table's bar around an answer, and a citation behind it.
	decoration = regexp.MustCompile(`^\s*(?:#{1,6}\s|>\s|(?:→|⇒|=>|->|=|\|)\s*)+|\s*\|\s*$|(?:\s*\[\d{1,2}\])+[\s.]*$`)
	roughly    = regexp.MustCompile(`^\s*[~≈]\s*`)
	// apart are a figure and what folding would join to it: 10⁶ is not 106, 1½ not 11/2.
	apart      = regexp.MustCompile(`(\d)(?:([¼-¾⅐-⅞⁻⁰¹²³⁴-⁹])|\^([-−]?\d))`)
	figureUnit = regexp.MustCompile(`(\d)\s*(\pL+)`)
	// groups are thousands, or lakhs and crores, that commas part.
	groups = regexp.MustCompile(`\d{1,3}(?:,\d{2,3})*,\d{3}(?:$|[^\d,]|,\D|,$)`)
	// fromTo is what stands between two figures of a range, a result or a date. A dash behind a space and before a figure is its sign.
	fromTo = regexp.MustCompile(`(\d[%)]?)(?:\s+(?:to|until|till)\s+|\s*\p{Pd}\s+|\p{Pd})([$€£(]?-?\d)`)
	// plusWithin adds, other than that of C++ and A+.
	plusWithin = regexp.MustCompile(`([\pL\pN)\]}])\+([\pL\pN(\[{\\])`)
	oneSign    = strings.NewReplacer("♭", " flat", "−", "-", "⁄", "/", "<->", "↔", "<=>", "⇔", "->", "→", "=>", "⇒", "<=", "≤", ">=", "≥", "!=", "≠", " & ", " and ")
	// keepsMinus is a grade, a blood group or an ion.
	keepsMinus = regexp.MustCompile(`^\W*([\pL]{1,2}-)\W*$`)
)

// exactForm is a text as Exact compares it.
func exactForm(text string) string {
	text = apart.ReplaceAllString(text, "$1 $2$3")
	text = dates(roughly.ReplaceAllString(strings.ToLower(norm.NFKC.String(halfwidth(text))), ""))
	text = groups.ReplaceAllStringFunc(text, func(s string) string {
		last := strings.LastIndexFunc(s, unicode.IsDigit) + 1
		return strings.ReplaceAll(s[:last], ",", "") + s[last:]
	})
	text = listed(quantities(oneSign.Replace(text)))
	for range 2 { // a figure between two signs belongs to both
		text = plusWithin.ReplaceAllString(fromTo.ReplaceAllString(text, "$1 $2"), "$1 + $2")
	}
	w := exactWords{formula: strings.Count(strings.Map(isSymbol, text), "=") > 1}
	for _, r := range text {
		w.add(r)
	}
	w.end()
	w.outer()
	var kept []string
	for i, token := range w.tokens {
		article := token.text == "a" || token.text == "an" || token.text == "the"
		if !article || token.stop || i+1 == len(w.tokens) || w.tokens[i+1].symbol {
			kept = append(kept, token.text)
		}
	}
	if len(kept) == 0 {
		return strings.Join(strings.Fields(text), " ")
	}
	return strings.Join(kept, " ")
}

const month = `(jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\b\.?`

var (
	dayOfMonth = regexp.MustCompile(`\b(?:(?:the\s+)?(\d{1,2})(?:st|nd|rd|th)?\s+(?:of\s+)?` + month + `|` + month + `\s*(\d{1,2})(?:st|nd|rd|th)?\b)` +
		`(?:(?:\s*,\s*|\s+)(\d{1,4})\b)?`) // the year, if there is one
	monthYear = regexp.MustCompile(`\b` + month + `(?:\s*,\s*|\s+)(\d{4})\b`)
	yearFirst = regexp.MustCompile(`\b(\d{4})\p{Pd}(\d\d)\p{Pd}(\d\d)\b`)
)

// dates gives days one order: "July 4th, 1776", "the 4th of July, 1776" and 1776-07-04 are "4 jul 1776", and "July 4" is "4 jul".
func dates(text string) string {
	text = yearFirst.ReplaceAllStringFunc(text, func(s string) string {
		m := yearFirst.FindStringSubmatch(s)
		day, err := time.Parse("20060102", m[1]+m[2]+m[3])
		if err != nil { // the 30th of February is a number of its own
			return s
		}
		return strings.ToLower(day.Format("2 Jan 2006"))
	})
	text = dayOfMonth.ReplaceAllStringFunc(text, func(s string) string {
		m := dayOfMonth.FindStringSubmatch(s)
		return strings.TrimPrefix(m[1]+m[4], "0") + " " + (m[2] + m[3])[:3] + " " + m[5]
	})
	return monthYear.ReplaceAllStringFunc(text, func(s string) string {
		m := monthYear.FindStringSubmatch(s)
		return m[1][:3] + " " + m[2]
	})
}

// quantities gives units one name: "5mm" and "5 millimetres" are "5 mm". An s behind a figure may be a decade's.
func quantities(text string) string {
	return figureUnit.ReplaceAllStringFunc(text, func(s string) string {
		m := figureUnit.FindStringSubmatch(s)
		if name := units[m[2]]; name != "" && m[2] != "s" {
			return m[1] + " " + name
		}
		return s
	})
}

// listed is a list without the "and" before its last item.
func listed(text string) string {
	if i := strings.LastIndex(text, " and "); i >= 0 && strings.Contains(text[:i], ",") {
		return text[:i] + ", " + text[i+len(" and "):]
	}
	return text
}

// isSymbol maps symbols that are words of their own to "=", and all else to nothing. C++ and A+ have their plus.
func isSymbol(r rune) rune {
	if unicode.Is(unicode.Sm, r) && r != '+' {
		return '='
	}
	return -1
}

// exactWords takes a text apart.
type exactWords struct {
	formula bool // brackets matter
	tokens  []exactWord
	piece   strings.Builder
	before  rune // the last that was no space
}

type exactWord struct {
	text         string
	symbol, stop bool // stop: punctuation follows
}

func (w *exactWords) add(r rune) {
	switch {
	case isSymbol(r) > 0, w.formula && strings.ContainsRune("()[]{}", r), r == '%' && !unicode.IsDigit(w.before): // 50% is 50, as Number has it
		w.end()
		w.tokens = append(w.tokens, exactWord{text: string(r), symbol: true})
	case unicode.IsSpace(r):
		w.end()
		return
	case strings.ContainsRune(",;:/", r):
		w.end()
		if n := len(w.tokens); n > 0 {
			w.tokens[n-1].stop = true
		}
	default:
		w.piece.WriteRune(r)
	}
	w.before = r
}

// end takes the piece up to here as a word, or as two with a hyphen between them.
func (w *exactWords) end() {
	piece := w.piece.String()
	w.piece.Reset()
	if strings.IndexFunc(piece, func(r rune) bool { return !unicode.IsPunct(r) && !unicode.IsSymbol(r) || r == '+' || r == '#' }) < 0 {
		return // punctuation alone
	}
	text := Normalize(piece)
	if m := keepsMinus.FindStringSubmatch(piece); m != nil {
		text = m[1]
	}
	w.tokens = append(w.tokens, exactWord{text: text, stop: strings.ContainsRune(".!?)]-", rune(piece[len(piece)-1]))})
}

// outer drops brackets around the whole, of which nobody writes more than maxOuter.
func (w *exactWords) outer() {
	const maxOuter = 4
	for range maxOuter {
		n, depth := len(w.tokens), 0
		if !w.formula || n < 2 || w.tokens[0].text != "(" || w.tokens[n-1].text != ")" {
			return
		}
		for i, t := range w.tokens {
			switch t.text {
			case "(":
				depth++
			case ")":
				depth--
			}
			if depth == 0 && i < n-1 {
				return // (a) → (b)
			}
		}
		w.tokens = w.tokens[1 : n-1]
	}
}
