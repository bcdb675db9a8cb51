package score

import (
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// number reads digits, their thousands separators, decimals and exponent, and a fraction that makes it a mixed number.
func (p *parser) number() (value, bool) {
	digits := p.digits()
	whole := true
	for first := len(digits); first >= 1 && first <= 3; { // 1,234  1{,}234  1\,234
		before := p.pos
		if !p.separator() {
			break
		}
		group := p.digits()
		if len(group) != 3 {
			p.pos = before
			break
		}
		digits += group
	}
	if p.pos+1 < len(p.s) && p.s[p.pos] == '.' && unicode.IsDigit(p.s[p.pos+1]) {
		p.pos++
		digits += "." + p.digits()
		whole = false
	}
	if p.pos < len(p.s) && (p.s[p.pos] == 'e' || p.s[p.pos] == 'E') {
		m := p.pos
		p.pos++
		sign := ""
		if p.has("-") || p.has("+") {
			sign = string(p.s[p.pos])
			p.pos++
		}
		if exponent := p.digits(); exponent != "" && len(exponent) <= 3 {
			digits += "e" + sign + exponent
			whole = false
		} else {
			p.pos = m
		}
	}
	r, ok := new(big.Rat).SetString(digits)
	if !ok || len(digits) > maxPower {
		return value{}, false
	}
	if !whole {
		p.decimal = true
		p.beyond = "a decimal"
		return rational(r), true
	}
	p.literals = append(p.literals, strings.TrimLeft(digits[:len(digits)-1], "0")+digits[len(digits)-1:])
	if f, ok := p.mixedFraction(); ok {
		p.beyond = "a mixed number"
		r.Add(r, f)
	}
	return rational(r), true
}

func (p *parser) digits() string {
	start := p.pos
	for p.pos < len(p.s) && p.s[p.pos] >= '0' && p.s[p.pos] <= '9' {
		p.pos++
	}
	return string(p.s[start:p.pos])
}

func (p *parser) separator() bool {
	for _, sep := range []string{"{,}", `\,`, `,\!`, ","} {
		if p.has(sep) {
			p.pos += len(sep)
			return true
		}
	}
	return false
}

// properFraction is what may follow a whole number to make it a mixed one; \frac{\sqrt{3}}{2} after a number is a product.
var properFraction = regexp.MustCompile(`^(?:\s*\\[dt]?frac\s*(?:\{\s*(\d{1,9})\s*\}|(\d))\s*(?:\{\s*(\d{1,9})\s*\}|(\d))|\s+(\d{1,9})/(\d{1,9}))`)

// mixedFraction reads the fraction of a mixed number, 2\frac{1}{2} or 2 1/2: whole numbers, less than one.
func (p *parser) mixedFraction() (*big.Rat, bool) {
	window := string(p.s[p.pos:min(len(p.s), p.pos+48)])
	m := properFraction.FindStringSubmatch(window)
	if m == nil {
		return nil, false
	}
	a, errA := strconv.ParseInt(m[1]+m[2]+m[5], 10, 64)
	b, errB := strconv.ParseInt(m[3]+m[4]+m[6], 10, 64)
	if errA != nil || errB != nil || a < 1 || a >= b {
		return nil, false
	}
	p.pos += len([]rune(m[0]))
	return big.NewRat(a, b), true
}

// numerals are the number words that a short answer may consist of.
var numerals = strings.Fields("zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty")

// numeral reads an answer that is one number word.
func numeral(text string) (value, bool) {
	words := strings.Fields(strings.ToLower(strings.Trim(text, " .!")))
	sign := int64(1)
	if len(words) == 2 && (words[0] == "minus" || words[0] == "negative") {
		sign, words = -1, words[1:]
	}
	if len(words) == 1 {
		for n, w := range numerals {
			if w == words[0] {
				return integer(sign * int64(n)), true
			}
		}
	}
	return value{}, false
}
