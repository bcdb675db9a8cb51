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
	digits := p.thousands()
	whole := true
	if p.pos+1 < len(p.s) && p.s[p.pos] == '.' && unicode.IsDigit(p.s[p.pos+1]) {
		p.pos++
		digits += "." + p.digits()
		whole = false
	}
	period, repeating := p.period(whole)
	exponent := p.exponent()
	digits += exponent
	r, ok := new(big.Rat).SetString(digits)
	if !ok || len(digits) > maxPower {
		return value{}, false
	}
	switch {
	case repeating:
		p.beyond = "a decimal"
		return rational(r.Add(r, endless(digits, period))), true
	case !whole || exponent != "":
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

// thousands reads digits, which separators may part into groups of three: 1,234  1{,}234  1\,234.
func (p *parser) thousands() string {
	digits := p.digits()
	for first := len(digits); first >= 1 && first <= 3; {
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
	return digits
}

// exponent reads "e" and a power of ten; empty where there is none.
func (p *parser) exponent() string {
	if !p.has("e") && !p.has("E") {
		return ""
	}
	start := p.pos
	p.pos++
	sign := ""
	if p.has("-") || p.has("+") {
		sign = string(p.s[p.pos])
		p.pos++
	}
	digits := p.digits()
	if digits == "" || len(digits) > 3 {
		p.pos = start
		return ""
	}
	return "e" + sign + digits
}

// endless is the value of a period that goes on where a number's digits end.
func endless(digits, period string) *big.Rat {
	places := 0
	if at := strings.IndexByte(digits, '.'); at >= 0 {
		places = len(digits) - at - 1
	}
	power := func(n int) *big.Rat {
		return new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil))
	}
	unit := power(places + len(period))
	unit.Sub(unit, power(places))
	tail, _ := new(big.Rat).SetString(period)
	return tail.Quo(tail, unit)
}

func (p *parser) digits() string {
	start := p.pos
	for p.pos < len(p.s) && p.s[p.pos] >= '0' && p.s[p.pos] <= '9' {
		p.pos++
	}
	return string(p.s[start:p.pos])
}

// repeating is the period of a decimal: 0.\overline{3} is exactly a third.
var repeating = regexp.MustCompile(`^\\(?:overline|bar|dot)\s*(?:\{(\d{1,40})\}|(\d))`)

// period reads a period after the point, which it reads too where the digits before it end without one.
func (p *parser) period(whole bool) (string, bool) {
	start := p.pos
	if whole && p.has(".") {
		p.pos++
	} else if whole {
		return "", false
	}
	m := repeating.FindStringSubmatch(p.ahead())
	if m == nil {
		p.pos = start
		return "", false
	}
	p.pos += len(m[0])
	return m[1] + m[2], true
}

func (p *parser) separator() bool {
	for _, sep := range []string{"{,}", `\,`, `,\!`, ","} {
		if p.has(sep) && !(p.apart && sep == ",") {
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
