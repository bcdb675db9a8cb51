package score

import (
	"regexp"
	"strings"
	"unicode"
)

// units maps the spellings of common units to one name each. Other words after a number count as units only where they end the answer.
var units = func() map[string]string {
	out := make(map[string]string)
	for name, spellings := range map[string]string{
		"degree": "degree degrees deg", "radian": "radian radians rad",
		"m": "m metre metres meter meters", "cm": "cm centimetre centimetres centimeter centimeters",
		"mm": "mm millimetre millimetres millimeter millimeters", "km": "km kilometre kilometres kilometer kilometers",
		"mile": "mile miles mi", "inch": "inch inches", "foot": "foot feet ft", "yard": "yard yards yd",
		"kg": "kg kilogram kilograms kilo kilos", "g": "g gram grams", "pound": "pound pounds lb lbs",
		"s": "s sec second seconds", "minute": "min minute minutes", "hour": "h hr hour hours", "day": "day days",
		"week": "week weeks", "month": "month months", "year": "year years", "litre": "l litre litres liter liters",
		"ml":  "ml millilitre millilitres milliliter milliliters",
		"m/s": "m/s", "km/h": "km/h kph", "mph": "mph",
	} {
		for _, s := range strings.Fields(spellings) {
			out[s] = name
		}
	}
	return out
}()

// knownUnits are the names in units.
var knownUnits = func() map[string]bool {
	out := make(map[string]bool)
	for _, name := range units {
		out[name] = true
	}
	return out
}()

var (
	degreeSign = regexp.MustCompile(`^\s*(\^\s*\{?\s*\\circ\s*\}?|\\degree\b)`)
	// unitText is one to three words, LaTeX text or not, each with an exponent; a unit glued to the number is one word.
	unitText  = regexp.MustCompile(`^[\s~$]*((?:\\(?:text|mathrm|mbox|textrm|,)\s*\{?|[A-Za-z/}]|\\[ ,;!]|\^\{?-?[0-9]\}?|[\s~$])+)`)
	unitNoise = regexp.MustCompile(`\\(text|mathrm|mbox|textrm)|[{}$~]|\\[ ,;!]`)
	// notUnits are words that begin a sentence about the number.
	notUnits = regexp.MustCompile(`(?i)\b(is|are|was|were|not|no|but|or|and|wrong|incorrect|because|so|if|then|to|as|times|over|than|more|less)\b`)
)

// unit reads the unit after a number, canonical. In prose (whole = false) only a known one.
func (p *parser) unit(whole bool) string {
	rest := p.ahead()
	if m := degreeSign.FindString(rest); m != "" {
		p.pos += len([]rune(m))
		return "degree"
	}
	m := unitText.FindString(rest)
	if m == "" {
		return ""
	}
	glued := (asciiLetter(rune(m[0])) || m[0] == '/') && p.pos > 0 && !unicode.IsSpace(p.s[p.pos-1])
	if !whole {
		word := strings.TrimFunc(m, func(r rune) bool { return unicode.IsSpace(r) || r == '$' || r == '~' })
		word, _, _ = strings.Cut(word, " ")
		return units[canonicalUnit(word)]
	}
	name := canonicalUnit(m)
	known, ok := units[name]
	words := len(strings.Fields(name))
	if name == "" || words > 3 || notUnits.MatchString(name) || !ok && words == 1 && (glued || len(name) == 1) {
		return "" // a variable, or a sentence: what is left unread tells
	}
	p.pos += len([]rune(m))
	if ok {
		return known
	}
	return name
}

// canonicalUnit strips LaTeX, case and exponents' braces, and a plural's s where a single word is not known.
func canonicalUnit(m string) string {
	name := unitNoise.ReplaceAllString(m, " ")
	name = strings.ToLower(strings.Join(strings.Fields(name), " "))
	name = strings.NewReplacer(" ^", "^", "^ ", "^", " /", "/", "/ ", "/").Replace(name)
	if _, known := units[name]; !known && len(name) > 3 && strings.HasSuffix(name, "s") {
		name = strings.TrimSuffix(name, "s")
	}
	return name
}
