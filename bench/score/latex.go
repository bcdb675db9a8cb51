package score

import (
	"math"
	"math/big"
	"math/bits"
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// symbols maps what people write to what the parser reads. It keeps superscripts and vulgar fractions apart from digits,
// which compatibility folding would not ("10³" is not 103, "2½" is not 21/2).
var symbols = strings.NewReplacer(
	"×", "*", "⋅", "*", "·", "*", "∗", "*", "✕", "*", "⨯", "*", "÷", "/", "∕", "/", "⁄", "/",
	"−", "-", "–", "-", "—", "-",
	"√", `\surd `, "∛", `\cbrt `, "π", `\pi `, "∞", `\infty `, "±", `\pm `, "≈", `\approx `, "≠", `\neq `, "≤", `\le `, "≥", `\ge `, "°", `^\circ `,
	"½", `\frac{1}{2}`, "⅓", `\frac{1}{3}`, "⅔", `\frac{2}{3}`, "¼", `\frac{1}{4}`, "¾", `\frac{3}{4}`,
	"⅕", `\frac{1}{5}`, "⅖", `\frac{2}{5}`, "⅗", `\frac{3}{5}`, "⅘", `\frac{4}{5}`, "⅙", `\frac{1}{6}`, "⅚", `\frac{5}{6}`,
	"⅛", `\frac{1}{8}`, "⅜", `\frac{3}{8}`, "⅝", `\frac{5}{8}`, "⅞", `\frac{7}{8}`,
	"₀", "_{0}", "₁", "_{1}", "₂", "_{2}", "₃", "_{3}", "₄", "_{4}", "₅", "_{5}", "₆", "_{6}", "₇", "_{7}", "₈", "_{8}", "₉", "_{9}", "ⁿ", "^{n}",
	"\u00a0", " ", "\u2009", " ", "\u202f", " ", "**", "^", `\*`, "*", "∈", `\in `, `\$`, " ", "€", " ", "£", " ", "¥", " ",
)

var (
	superscript = regexp.MustCompile(`[⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+`)
	raised      = strings.NewReplacer("⁺", "", "⁻", "-", "⁰", "0", "¹", "1", "²", "2", "³", "3", "⁴", "4", "⁵", "5", "⁶", "6", "⁷", "7", "⁸", "8", "⁹", "9")
	// Functions and constants as they are typed where there is no LaTeX.
	plainRoot = regexp.MustCompile(`(^|[^A-Za-z\\])sqrt\s*([({\d])`)
	plainPi   = regexp.MustCompile(`(^|[^A-Za-z\\])pi\b`)
)

// readable turns what people write into what the parser reads.
func readable(text string) string {
	text = superscript.ReplaceAllStringFunc(text, func(s string) string { return "^{" + raised.Replace(s) + "}" })
	text = symbols.Replace(halfwidth(text))
	if strings.Contains(text, "sqrt") {
		text = plainRoot.ReplaceAllString(text, `${1}\surd ${2}`)
	}
	if strings.Contains(text, "pi") {
		text = plainPi.ReplaceAllString(text, `${1}\pi `)
	}
	return text
}

// spacing is LaTeX that prints nothing or a gap.
var spacing = []string{`\displaystyle`, `\left`, `\right`, `\quad`, `\qquad`, `\big`, `\bigl`, `\bigr`, `\Big`, `\Bigl`, `\Bigr`,
	`\,`, `\;`, `\!`, `\:`, `\ `, `\(`, `\)`, `\[`, `\]`, "$", "~"}

func (p *parser) latex() (value, bool) {
	switch {
	case p.command(`\frac`), p.command(`\dfrac`), p.command(`\tfrac`), p.command(`\cfrac`):
		a, ok := p.argument()
		if !ok {
			return a, false
		}
		b, ok := p.argument()
		if !ok {
			return a, false
		}
		p.operators++
		return p.quotient(a, b), true
	case p.command(`\binom`), p.command(`\dbinom`), p.command(`\tbinom`):
		return p.binomial()
	case p.command(`\sqrt`):
		degree := int64(2)
		if p.accept("[") {
			d, ok := p.sum()
			n, whole := wholeNumber(d)
			if !ok || !whole || !p.accept("]") {
				return value{}, false
			}
			degree = n
		}
		return p.radical(degree, p.argument)
	case p.command(`\surd`):
		return p.radical(2, p.primary)
	case p.command(`\cbrt`):
		return p.radical(3, p.primary)
	case p.command(`\pi`):
		p.beyond = "π"
		return build(map[irrational]*big.Rat{{root: 1, pi: 1}: big.NewRat(1, 1)}), true
	case p.command(`\infty`):
		p.beyond = "∞"
		return inexact(math.Inf(1)), true
	case p.command(`\text`), p.command(`\mathrm`), p.command(`\textbf`), p.command(`\mathbf`):
		return p.argument()
	}
	return value{}, false
}

func (p *parser) binomial() (value, bool) {
	a, ok := p.argument()
	if !ok {
		return a, false
	}
	b, ok := p.argument()
	n, wholeN := wholeNumber(a)
	k, wholeK := wholeNumber(b)
	if k = min(k, n-k); !ok || !wholeN || !wholeK || k < 0 || k > maxBits/int64(bits.Len64(uint64(n))+1) {
		return b, false
	}
	p.beyond = "a binomial coefficient"
	return rational(new(big.Rat).SetInt(new(big.Int).Binomial(n, k))), true
}

func (p *parser) radical(degree int64, argument func() (value, bool)) (value, bool) {
	v, ok := argument()
	if !ok {
		return v, false
	}
	p.beyond = "a root"
	r, ok := v.root(degree)
	if !ok {
		p.err = errReal
	}
	return r, true
}

// argument of a TeX command: a group, a command, or a single digit (\frac12 is a half).
func (p *parser) argument() (value, bool) {
	p.space()
	if p.pos < len(p.s) && unicode.IsDigit(p.s[p.pos]) {
		d := string(p.s[p.pos])
		n, err := strconv.Atoi(d)
		p.pos++
		p.literals = append(p.literals, d)
		return integer(int64(n)), err == nil
	}
	return p.primary()
}
