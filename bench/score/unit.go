package score

import (
	"fmt"
	"regexp"
	"slices"
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
		"dollar": "dollar dollars usd", "euro": "euro euros eur", "yen": "yen jpy",
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

// readUnit reads a product of powers of units, such as "km/h", "kilometres per hour", "m^2" or "square metres", and gives its one name and
// its length. Of words that are not in the table it takes up to three, and none that could be a variable.
func readUnit(text string, whole bool) (name string, size int) {
	type factor struct {
		unit     string
		exponent int
	}
	var factors []factor
	exponent, opened, unknown := 1, 0, 0
	glued := text != "" && (asciiLetter(rune(text[0])) || text[0] == '/')
scan:
	for at := 0; ; {
		m := unitToken.FindStringSubmatch(text[at:])
		if m == nil {
			break
		}
		at += len(m[0])
		word := strings.ToLower(m[3])
		switch {
		case m[1] != "":
			opened++
			continue
		case m[2] != "":
			if opened--; opened < 0 {
				break scan
			}
			if opened > 0 || len(factors) == 0 {
				continue
			}
		case m[4] != "", word == "per":
			exponent = -exponent
			continue
		case word == "square", word == "sq":
			exponent *= 2
			continue
		case word == "cubic":
			exponent *= 3
			continue
		case m[5] != "", word == "squared", word == "cubed":
			if len(factors) == 0 {
				break scan
			}
			n := map[string]int{"squared": 2, "cubed": 3}[word]
			if m[5] != "" {
				fmt.Sscan(m[5], &n)
			}
			factors[len(factors)-1].exponent *= n
		case notUnits.MatchString(word):
			break scan
		default:
			unit, known := units[m[3]]
			if known && len(m[3]) == 1 && m[3] != word && glued {
				break scan // 2N
			}
			if !known {
				unit, known = units[word]
			}
			if !known {
				if !whole {
					break scan
				}
				if unknown++; unknown > 3 {
					return "", 0
				}
				unit = word
				if len(word) > 3 {
					unit = strings.TrimSuffix(word, "s")
				}
			}
			factors = append(factors, factor{unit, exponent})
			exponent = 1
		}
		size = at
	}
	if opened > 0 && !whole || unknown == 1 && len(factors) == 1 && (glued || len(factors[0].unit) == 1) {
		return "", 0 // a variable, or a sentence: what is left unread tells
	}
	var names []string
	for _, f := range factors {
		if f.exponent != 1 {
			f.unit = fmt.Sprintf("%s^%d", f.unit, f.exponent)
		}
		names = append(names, f.unit)
	}
	return strings.Join(names, " "), size
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
			return !unitNames[base] && !unitNames[s]
		})
	}
	if a == "" || b == "" || a == b || known(a) != known(b) {
		return true
	}
	return !known(a) && slices.ContainsFunc(strings.Fields(a), func(s string) bool { return slices.Contains(strings.Fields(b), s) })
}
