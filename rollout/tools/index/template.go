package index

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

// maxTemplate bounds a template that may have words of its own.
const maxTemplate = 300

// templateText is the text of the few templates that carry words of the sentence around them, and whether this is one.
func templateText(inner string) (text string, known bool) {
	if len(inner) > maxTemplate {
		return "", false
	}
	parts := templateParts(inner)
	name := strings.ReplaceAll(strings.ToLower(strings.TrimSpace(parts[0])), "_", " ")
	if glyph, ok := glyphs[name]; ok {
		return glyph, true
	}
	if number, ok := strings.CutPrefix(name, "formatnum:"); ok {
		return strings.TrimSpace(unmarked(number, nil)), true
	}
	render := rendered(name)
	if render == nil {
		return "", false
	}
	var args []string
	named := map[string]string{}
	for _, a := range parts[1:] {
		key, value, ok := strings.Cut(a, "=")
		if !ok {
			value = a
		}
		if key = strings.TrimSpace(key); !ok || key == strconv.Itoa(len(args)+1) { // {{nowrap|1=a = b}}
			args = append(args, strings.TrimSpace(unmarked(value, nil)))
		} else if name == "val" || key == "text" {
			named[key] = strings.TrimSpace(unmarked(value, nil))
		}
	}
	switch {
	case named["text"] != "":
		text = named["text"]
	case name == "val":
		text = value(args, named)
	case len(args) > 0:
		text = render(args)
	}
	return text, text != ""
}

// glyphs are the templates that stand for a few characters, whatever their arguments.
var glyphs = map[string]string{
	"snd": " – ", "spnd": " – ", "sndash": " – ", "spndash": " – ", "spaced ndash": " – ", "spaced en dash": " – ",
	"smd": " — ", "spaced mdash": " — ", "spaced em dash": " — ",
	"ndash": "–", "endash": "–", "en dash": "–", "–": "–", "mdash": "—", "emdash": "—", "em dash": "—", "—": "—",
	"nbsp": " ", "space": " ", "spaces": " ", "thinspace": " ", "thinsp": " ", "hair space": " ", "nnbsp": " ",
	"×": "×", "times": "×", "middot": "·", "·": "·", "dot": " · ", "bull": " • ", "bullet": " • ", "•": " • ",
	"minus": "−", "−": "−", "pm": "±", "±": "±", "nbhyph": "-", "nbhyphen": "-", "hyphen": "-", "'": "'", "=": "=", "!": "|",
	"shy": "", "wbr": "", "zwsp": "", "zwj": "", "zwnj": "",
}

// templateParts cuts a template at its bars, those within its links and templates aside.
func templateParts(inner string) []string {
	var parts []string
	start, depth := 0, 0
	for i, c := range inner {
		switch c {
		case '[', '{':
			depth++
		case ']', '}':
			depth--
		case '|':
			if depth == 0 {
				parts = append(parts, inner[start:i])
				start = i + 1
			}
		}
	}
	return append(parts, inner[start:])
}

// rendered tells how a template's arguments, of which there is one at least, read; nil where they are dropped.
func rendered(name string) func(args []string) string {
	first := func(args []string) string { return args[0] }
	switch name {
	case "convert", "cvt":
		return measure
	case "lang", "transl", "transliteration":
		return func(args []string) string { return args[len(args)-1] }
	case "langx":
		return func(args []string) string { return args[min(1, len(args)-1)] }
	case "circa", "c.", "ca":
		return func(args []string) string { return "c. " + strings.Join(args[:min(2, len(args))], " – ") }
	case "as of", "since":
		return func(args []string) string {
			return strings.ToUpper(name[:1]) + name[1:] + " " + strings.Join(args, "-")
		}
	case "us$", "usd":
		return func(args []string) string { return "US$" + args[0] }
	case "nihongo", "ill", "interlanguage link", "blockquote", "quote", "cquote", "quotation", "flag", "visible anchor", "vanchor", "linktext",
		"nowrap", "nobr", "small", "abbr", "formatnum", "val", "sub":
		return first
	case "sup":
		return func(args []string) string { return "^" + args[0] }
	case "e":
		return func(args []string) string { return "×10^" + args[0] }
	case "10^":
		return func(args []string) string { return "10^" + args[0] }
	case "frac", "fraction", "sfrac":
		return fraction
	}
	if strings.HasPrefix(name, "lang-") {
		return first
	}
	for _, event := range []string{"birth", "death", "start", "end", "film"} {
		if rest, ok := strings.CutPrefix(name, event); ok && (strings.HasPrefix(rest, " date") || strings.HasPrefix(rest, "-date") || strings.HasPrefix(rest, " year")) {
			return date
		}
	}
	return nil
}

// fraction reads {{frac|3|1|2}}, three and a half; one number alone is its reciprocal.
func fraction(args []string) string {
	switch len(args) {
	case 1:
		return "1/" + args[0]
	case 2:
		return args[0] + "/" + args[1]
	}
	return args[0] + " " + args[1] + "/" + args[2]
}

// value reads {{val|6.02|0.01|e=23|u=kg}}: a number, its uncertainty, a power of ten and a unit.
func value(args []string, named map[string]string) string {
	text := ""
	switch {
	case len(args) == 1, len(args) > 1 && strings.HasPrefix(args[1], "("): // 1.234(5)
		text = strings.Join(args[:min(2, len(args))], "")
	case len(args) == 2:
		text = args[0] + " ± " + args[1]
	case len(args) > 2:
		text = args[0] + " +" + args[1] + " −" + args[2]
	}
	if e := named["e"]; e != "" {
		switch {
		case text == "":
			text = "10^" + e
		case strings.Contains(text, " "):
			text = "(" + text + ")×10^" + e
		default:
			text += "×10^" + e
		}
	}
	for _, unit := range []string{"u", "ul"} {
		if u := named[unit]; u != "" {
			text += " " + u
		}
	}
	return text
}

// rangeWords stand between two numbers of one measure, each with its text.
var rangeWords = map[string]string{
	"-": "-", "–": "–", "to": "to", "and": "and", "or": "or", "by": "by", "x": "x", "×": "×", "*": "×", "xx": "×",
	"+/-": "±", "+/−": "±", "±": "±", "to(-)": "to", "and(-)": "and", "&": "and", "+": "+",
}

// measure reads {{convert|5|km|mi}}, {{convert|5|to|10|km}} or {{convert|6|ft|2|in|m}}: numbers and the units they are
// given in, not those they are converted to.
func measure(args []string) string {
	n := 2
	for n+1 < len(args) && rangeWords[args[n-1]] != "" {
		args[n-1] = rangeWords[args[n-1]]
		n += 2
	}
	for n+1 < len(args) && amount.MatchString(args[n]) && !amount.MatchString(args[n+1]) {
		n += 2
	}
	return strings.Join(args[:min(n, len(args))], " ")
}

var amount = regexp.MustCompile(`^[\d.,/+⁄]*\d[\d.,/+⁄]*$`)

// date reads {{birth date|1900|1|2}}: of several dates the first, which the template is named for. What is no number
// is a date in words.
func date(args []string) string {
	number := func(i, most int) int {
		if i >= len(args) {
			return 0
		}
		n, err := strconv.Atoi(args[i])
		if err != nil || n > most {
			return 0
		}
		return max(n, 0)
	}
	text := args[0]
	if month := number(1, 12); number(0, 9999) > 0 && month > 0 {
		text = time.Month(month).String() + " " + text
		if day := number(2, 31); day > 0 {
			text = strconv.Itoa(day) + " " + text
		}
	}
	return text
}
