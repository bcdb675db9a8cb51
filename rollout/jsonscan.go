package rollout

import (
	"iter"
	"regexp"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"go.starlark.net/syntax"
)

// maxObjectTries bounds how many starts of an object are tried in a text: each try may read to the end.
const maxObjectTries = 64

// objectStart is a brace before a key or its partner: those of LaTeX and of sets, which prose has many of, are no try.
var objectStart = regexp.MustCompile(`\{\s*["'}]`)

// jsonObjects gives the JSON objects that stand in a text, in order, fenced or not, none inside another. An object in
// Python's notation (single quotes, True, None, a comma at the end) counts as the JSON that it means, and so does one with LaTeX whose
// backslashes are not escaped, or with strings that run over several lines.
func jsonObjects(text string) iter.Seq[jsontext.Value] {
	return func(yield func(jsontext.Value) bool) {
		for range maxObjectTries {
			at := objectStart.FindStringIndex(text)
			if at == nil {
				return
			}
			text = text[at[0]:]
			v, n := objectAt(text)
			if n > 0 && !yield(v) {
				return
			}
			text = text[max(n, 1):]
		}
	}
}

// objectAt reads the object that a text begins with, in either notation, and tells how many bytes it takes: 0 where there is none.
func objectAt(text string) (jsontext.Value, int) {
	if v, n := readObject(text); n > 0 {
		return v, n
	}
	return readDict(text)
}

// readObject reads the JSON object that a text begins with, and tells how many bytes it takes: 0 where there is none.
func readObject(text string) (jsontext.Value, int) {
	n := bracketed(text)
	object := text[:n]
	if latex.MatchString(object) {
		object = backslash.ReplaceAllString(object, "$1$2$2")
		if v := jsontext.Value(object); v.IsValid() {
			return v, n
		}
	}
	d := jsontext.NewDecoder(strings.NewReader(text))
	if v, err := d.ReadValue(); err == nil {
		return v, int(d.InputOffset())
	}
	if v := jsontext.Value(doubleQuoted.ReplaceAllStringFunc(object, lineBreaks.Replace)); v.IsValid() {
		return v, n
	}
	return nil, 0
}

// Strings of JSON, which models write over several lines, and what stands for a break in one line.
var (
	doubleQuoted = regexp.MustCompile(`(?s)"(?:[^"\\]|\\.)*"`)
	lineBreaks   = strings.NewReplacer("\n", `\n`, "\r", `\r`, "\t", `\t`)
)

// latex is a text in which a backslash escapes nothing: nobody means backspaces and form feeds. There, backslash parts those that do from the others.
var (
	latex     = regexp.MustCompile(`^(?:[^\\]|\\["'\\/nrtu])*\\[^"'\\/nrtu]`)
	backslash = regexp.MustCompile(`(\\["'\\/n]|\\u[0-9a-fA-F]{4})|(\\)`)
)

// readDict is readObject for Python's notation, of which only plain data is read (see literal).
func readDict(text string) (jsontext.Value, int) {
	n := bracketed(text)
	var opts syntax.FileOptions
	expr, err := opts.ParseExpr("object", text[:n], 0)
	if err != nil {
		return nil, 0
	}
	dict, err := literal(expr, nil)
	if _, ok := dict.(map[string]any); err != nil || !ok {
		return nil, 0
	}
	v, err := json.Marshal(dict, json.Deterministic(true))
	if err != nil {
		return nil, 0
	}
	return v, n
}

// bracketed is the length of the bracket that a text begins with, up to its partner; brackets within quotes do not
// count. It is 0 where no partner comes within maxArgs bytes.
func bracketed(text string) int {
	text = text[:min(len(text), maxArgs)]
	depth := 0
	for i := 0; i < len(text); {
		switch text[i] {
		case '(', '[', '{':
			depth++
		case ')', ']', '}':
			if depth--; depth == 0 {
				return i + 1
			}
		case '"', '\'':
			i += quoted(text[i:])
			continue
		}
		i++
	}
	return 0
}

// quoted is the length of the string that a text begins with; all of the text where it does not end.
func quoted(text string) int {
	quote := text[:1]
	if triple := strings.Repeat(quote, 3); strings.HasPrefix(text, triple) {
		quote = triple
	}
	for i := len(quote); i < len(text); i++ {
		if text[i] == '\\' {
			i++
		} else if strings.HasPrefix(text[i:], quote) {
			return i + len(quote)
		}
	}
	return len(text)
}
