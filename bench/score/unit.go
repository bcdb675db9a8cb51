package score

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// units maps the spellings of common units to one name each; capitals alone are symbols, all else is in lower case.
var units = func() map[string]string {
	out := make(map[string]string)
	for name, spellings := range map[string]string{
		"degree": "degree degrees deg", "radian": "radian radians rad",
		"m": "m metre metres meter meters", "cm": "cm centimetre centimetres centimeter centimeters",
		"mm": "mm millimetre millimetres millimeter millimeters", "km": "km kilometre kilometres kilometer kilometers",
		"mile": "mile miles mi", "inch": "inch inches", "foot": "foot feet ft", "yard": "yard yards yd",
		"kg": "kg kilogram kilograms kilo kilos", "g": "g gram grams", "pound": "pound pounds lb lbs",
		"s": "s sec second seconds", "minute": "min minute minutes", "hour": "h hr hrs hour hours", "day": "day days",
		"week": "week weeks", "month": "month months", "year": "year years", "litre": "l litre litres liter liters",
		"ml":           "ml millilitre millilitres milliliter milliliters",
		"km hour^-1":   "kph kmh kmph",
		"mile hour^-1": "mph",
		"newton":       "N newton newtons", "volt": "V volt volts", "watt": "W watt watts", "joule": "J joule joules", "kelvin": "K kelvin",
		"ampere": "A amp amps ampere amperes", "hertz": "hz hertz", "celsius": "C celsius", "fahrenheit": "F fahrenheit",
		"dollar": "dollar dollars usd", "cent": "cent cents", "euro": "euro euros eur", "yen": "yen jpy",
	} {
		for _, s := range strings.Fields(spellings) {
			out[s] = name
		}
	}
	return out
}()

var (
	degreeSign = regexp.MustCompile(`^\s*(?:\^\s*\{?\s*\\circ(?:\s*\})?|\\degree\b|(?:degrees?|deg)\b)(?:\s*(?:\\(?:text|mathrm)\s*\{\s*)?(?:(C|[Cc]elsius)|(F|[Ff]ahrenheit))\b(?:\s*\})?)?`)
	// unitToken is one of: LaTeX that opens text, what closes it, a word, "/", an exponent.
	unitToken = regexp.MustCompile(`^(?:[\s~$]|\\[ ,;!:])*(?:(\\(?:text|mathrm|mbox|textrm)\s*\{)|(\})|([A-Za-z]+)|(/)|\^\s*\{?\s*(-?\d)(?:\s*\})?)`)
	// notUnits are words that begin a sentence about the number.
	notUnits = regexp.MustCompile(`(?i)^(?:is|are|was|were|not|no|but|or|and|wrong|incorrect|because|so|if|then|to|as|times|over|than|more|less)$`)
)

// unit reads the unit after a number, canonical. In prose (whole = false) only a known one.
func (p *parser) unit(whole bool) string {
	rest := p.ahead()
	if m := degreeSign.FindStringSubmatch(rest); m != nil {
		p.pos += len([]rune(m[0]))
		switch {
		case m[1] != "":
			return "celsius"
		case m[2] != "":
			return "fahrenheit"
		}
		return "degree"
	}
	name, size := readUnit(rest, whole)
	p.pos += len([]rune(rest[:size]))
	return name
}

// unitReader reads a product of powers of units, such as "km/h", "kilometres per hour", "m^2" or "square metres", token by token.
//
//	product = factor { factor }                                     LaTeX's \text{ } may stand around any part of it
//	factor  = { scale } word { power }
//	scale   = "per" | "/" | "square" | "sq" | "cubic"
//	power   = "^" digit | "squared" | "cubed"
type unitReader struct {
	whole, glued bool // glued: no space parts the unit from its number
	factors      []factor
	exponent     int // of the next factor
	opened       int // braces
	unknown      int // words that are not in the table
}

type factor struct {
	unit     string
	exponent int
}

// maxUnknown is how many words that are not in the table may be units.
const maxUnknown = 3

var (
	scales = map[string]int{"per": -1, "/": -1, "square": 2, "sq": 2, "cubic": 3}
	powers = map[string]int{"squared": 2, "cubed": 3}
)

// readUnit gives the one name of the unit that a text begins with, and its length. It takes no word that could be a variable.
func readUnit(text string, whole bool) (name string, size int) {
	r := unitReader{whole: whole, glued: text != "" && (asciiLetter(rune(text[0])) || text[0] == '/'), exponent: 1}
	for at := 0; ; {
		m := unitToken.FindStringSubmatch(text[at:])
		if m == nil {
			break
		}
		at += len(m[0])
		end, ok := r.token(m)
		if !ok {
			break
		}
		if end {
			size = at
		}
	}
	if !r.isUnit() {
		return "", 0
	}
	return r.name(), size
}

// token takes what unitToken found. It reports whether a unit may end behind it, and whether it is part of one at all.
func (r *unitReader) token(m []string) (end, ok bool) {
	word := strings.ToLower(m[3] + m[4])
	switch {
	case m[1] != "":
		r.opened++
		return false, true
	case m[2] != "":
		r.opened--
		return r.opened == 0 && len(r.factors) > 0, r.opened >= 0
	case scales[word] != 0:
		r.exponent *= scales[word]
		return false, true
	case m[5] != "":
		n, _ := strconv.Atoi(m[5])
		ok = r.power(n)
	case powers[word] != 0:
		ok = r.power(powers[word])
	default:
		ok = !notUnits.MatchString(word) && r.unit(m[3], word)
	}
	return ok, ok
}

// power raises the last factor.
func (r *unitReader) power(n int) bool {
	if len(r.factors) == 0 {
		return false
	}
	r.factors[len(r.factors)-1].exponent *= n
	return true
}

// unit takes a factor as it is spelled, and in lower case. In prose only one that is in the table.
func (r *unitReader) unit(spelling, word string) bool {
	unit, known := units[spelling]
	if known && len(spelling) == 1 && spelling != word && r.glued {
		return false // 2N
	}
	if !known {
		unit, known = units[word]
	}
	if !known {
		if r.unknown++; !r.whole || r.unknown > maxUnknown {
			return false
		}
		unit = word
		if len(word) > 3 {
			unit = strings.TrimSuffix(word, "s")
		}
	}
	r.factors = append(r.factors, factor{unit, r.exponent})
	r.exponent = 1
	return true
}

// isUnit tells a unit from a variable and from a sentence: what is left unread tells.
func (r *unitReader) isUnit() bool {
	if !r.whole {
		return r.opened <= 0
	}
	return r.unknown <= maxUnknown && !(r.unknown == 1 && len(r.factors) == 1 && (r.glued || len(r.factors[0].unit) == 1))
}

func (r *unitReader) name() string {
	var names []string
	for _, f := range r.factors {
		if f.exponent != 1 {
			f.unit = fmt.Sprintf("%s^%d", f.unit, f.exponent)
		}
		names = append(names, f.unit)
	}
	return strings.Join(names, " ")
}

var unitNames = func() map[string]bool {
	out := make(map[string]bool)
	for _, names := range units {
		for _, name := range strings.Fields(names) {
			out[name] = true
		}
	}
	return out
}()

// sameUnit reports whether two units may be one: neither is named, or they are equal, or one is not in the table, or both are words that share
// one (apples, red apples).
func sameUnit(a, b string) bool {
	known := func(unit string) bool {
		return !slices.ContainsFunc(strings.Fields(unit), func(s string) bool {
			base, _, _ := strings.Cut(s, "^")
			return !unitNames[base]
		})
	}
	if a == "" || b == "" || a == b || known(a) != known(b) {
		return true
	}
	return !known(a) && slices.ContainsFunc(strings.Fields(a), func(s string) bool { return slices.Contains(strings.Fields(b), s) })
}
