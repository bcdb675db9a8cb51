package index

import (
	"strconv"
	"strings"
	"time"
)

// maxTemplate bounds a template that may have words of its own.
const maxTemplate = 300

// templateText is the text of the few templates that carry words of the sentence around them.
func templateText(inner string) string {
	if len(inner) > maxTemplate {
		return ""
	}
	parts := templateParts(inner)
	render := rendered(strings.ReplaceAll(strings.ToLower(strings.TrimSpace(parts[0])), "_", " "))
	var args []string
	for _, a := range parts[1:] {
		if render != nil && !strings.Contains(a, "=") {
			args = append(args, strings.TrimSpace(unmarked(a)))
		}
	}
	if len(args) == 0 {
		return ""
	}
	return render(args)
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
	case "nowrap", "nobr", "small", "abbr", "formatnum", "val":
		return first
	case "frac", "fraction":
		return func(args []string) string { return strings.Join(args, "/") }
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

// rangeWords stand between two numbers of one measure.
var rangeWords = map[string]bool{"-": true, "–": true, "to": true, "and": true, "or": true, "by": true, "x": true, "×": true}

// measure reads {{convert|5|km|mi}}, or {{convert|5|to|10|km}}: numbers and the first unit.
func measure(args []string) string {
	n := 2
	for n+1 < len(args) && rangeWords[args[n-1]] {
		n += 2
	}
	return strings.Join(args[:min(n, len(args))], " ")
}

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
