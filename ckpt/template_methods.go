package ckpt

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/nikolalohinski/gonja/v2/builtins"
	"github.com/nikolalohinski/gonja/v2/exec"
	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

// ownMethods are the methods of texts and mappings that templates use, as filters after a dot, with Python's names and defaults of arguments. Places in
// a text are those of characters.
var ownMethods = func() map[string]exec.FilterFunction {
	methods := map[string]exec.FilterFunction{}
	for name, m := range textMethods {
		methods["."+name] = func(_ *exec.Evaluator, in *exec.Value, params *exec.VarArgs) *exec.Value {
			return callMethod(name, "a text", in.IsString(), in, params, m.params, func(a bound) any { return m.call(in.String(), a) })
		}
	}
	for name, m := range mappingMethods {
		methods["."+name] = func(_ *exec.Evaluator, in *exec.Value, params *exec.VarArgs) *exec.Value {
			return callMethod(name, "a mapping", in.IsDict(), in, params, m.params, func(a bound) any { return m.call(in, a) })
		}
	}
	return methods
}()

// isMethod says whether there is a method of a name, here, in the library or of a loop.
func isMethod(name string) bool {
	m := builtins.Methods
	return ownMethods["."+name] != nil || name == "cycle" || name == "changed" || m.Str.Exists(name) || m.List.Exists(name) ||
		m.Dict.Exists(name) || m.Int.Exists(name) || m.Float.Exists(name) || m.Bool.Exists(name)
}

// params names the parameters of a method, in order; one with a "!" must be given.
type textMethod struct {
	params []string
	call   func(s string, a bound) any
}

type mappingMethod struct {
	params []string
	call   func(in *exec.Value, a bound) any
}

var ofSpan = []string{"sub!", "start", "end"}

var textMethods = map[string]textMethod{
	"split":      {[]string{"sep", "maxsplit"}, func(s string, a bound) any { return values(split(s, a, false)) }},
	"rsplit":     {[]string{"sep", "maxsplit"}, func(s string, a bound) any { return values(split(s, a, true)) }},
	"splitlines": {[]string{"keepends"}, func(s string, a bound) any { return values(splitLines(s, a[0].IsTrue())) }},
	"strip":      {[]string{"chars"}, func(s string, a bound) any { return strings.TrimFunc(s, a.strips()) }},
	"lstrip":     {[]string{"chars"}, func(s string, a bound) any { return strings.TrimLeftFunc(s, a.strips()) }},
	"rstrip":     {[]string{"chars"}, func(s string, a bound) any { return strings.TrimRightFunc(s, a.strips()) }},
	"replace": {[]string{"old!", "new!", "count"}, func(s string, a bound) any {
		return strings.Replace(s, a.text(0), a.text(1), a.number(2, -1))
	}},
	"startswith": {ofSpan, func(s string, a bound) any { return a.affix(s, strings.HasPrefix) }},
	"endswith":   {ofSpan, func(s string, a bound) any { return a.affix(s, strings.HasSuffix) }},
	"find":       {ofSpan, func(s string, a bound) any { return a.find(s, strings.Index) }},
	"rfind":      {ofSpan, func(s string, a bound) any { return a.find(s, strings.LastIndex) }},
	"count": {ofSpan, func(s string, a bound) any {
		part, _, ok := a.span(s)
		if !ok {
			return 0
		}
		return strings.Count(part, a.text(0))
	}},
	"join":       {[]string{"iterable!"}, func(s string, a bound) any { return a.join(s) }},
	"ljust":      {[]string{"width!", "fillchar"}, func(s string, a bound) any { return a.pad(s, func(n int) int { return 0 }) }},
	"rjust":      {[]string{"width!", "fillchar"}, func(s string, a bound) any { return a.pad(s, func(n int) int { return n }) }},
	"center":     {[]string{"width!", "fillchar"}, func(s string, a bound) any { return a.pad(s, func(n int) int { return n/2 + n&a.number(0, 0)&1 }) }},
	"upper":      {nil, func(s string, _ bound) any { return cases.Upper(language.Und).String(s) }},
	"lower":      {nil, func(s string, _ bound) any { return cases.Lower(language.Und).String(s) }},
	"title":      {nil, func(s string, _ bound) any { return title(s) }},
	"capitalize": {nil, func(s string, _ bound) any { return capitalize(s) }},
}

var mappingMethods = map[string]mappingMethod{
	"items": {nil, func(in *exec.Value, _ bound) any {
		return inOrder(in, func(k, v *exec.Value) *exec.Value { return exec.AsValue(exec.ValuesList{k, v}) })
	}},
	"keys":   {nil, func(in *exec.Value, _ bound) any { return inOrder(in, func(k, _ *exec.Value) *exec.Value { return k }) }},
	"values": {nil, func(in *exec.Value, _ bound) any { return inOrder(in, func(_, v *exec.Value) *exec.Value { return v }) }},
	"get": {[]string{"key!", "default"}, func(in *exec.Value, a bound) any {
		found := a[1]
		in.Iterate(func(_, _ int, k, v *exec.Value) bool {
			if k.EqualValueTo(a[0]) {
				found = v
				return false
			}
			return true
		}, func() {})
		return found
	}},
}

// inOrder is a list of something of each pair of a mapping, as they were put in; those of the library's own maps by their keys.
func inOrder(in *exec.Value, of func(k, v *exec.Value) *exec.Value) exec.ValuesList {
	list := exec.ValuesList{}
	in.Iterate(func(_, _ int, k, v *exec.Value) bool {
		list = append(list, of(k, v))
		return true
	}, func() {})
	return list
}

// bound are the arguments of a call by place, none for those that are not given.
type bound []*exec.Value

// badArgument is what a method finds wrong with an argument, a panic for callMethod.
type badArgument string

func callMethod(name, of string, ok bool, in *exec.Value, params *exec.VarArgs, names []string, call func(bound) any) (out *exec.Value) {
	if in.IsError() {
		return in
	}
	if !ok {
		return exec.AsValue(fmt.Errorf("%s: a method of %s, not of %.40q", name, of, in.String()))
	}
	a := make(bound, len(names))
	if len(params.Args) > len(names) {
		return exec.AsValue(fmt.Errorf("%s: found %d arguments, expected at most %d", name, len(params.Args), len(names)))
	}
	used := len(params.Args)
	for i, parameter := range names {
		parameter, must := strings.CutSuffix(parameter, "!")
		given := params.KwArgs[parameter]
		switch {
		case i < len(params.Args) && given != nil:
			return exec.AsValue(fmt.Errorf("%s: argument %s is there twice", name, parameter))
		case i < len(params.Args):
			given = params.Args[i]
		case given != nil:
			used++
		case must:
			return exec.AsValue(fmt.Errorf("%s: no argument %s", name, parameter))
		default:
			given = exec.AsValue(nil)
		}
		a[i] = given
	}
	if used < len(params.Args)+len(params.KwArgs) {
		return exec.AsValue(fmt.Errorf("%s: found an argument of another name, expected %s", name, strings.ReplaceAll(strings.Join(names, ", "), "!", "")))
	}
	defer func() {
		if r := recover(); r != nil {
			bad, ok := r.(badArgument)
			if !ok {
				panic(r)
			}
			out = exec.AsValue(fmt.Errorf("%s: %w", name, errors.New(string(bad))))
		}
	}()
	return exec.ToValue(call(a))
}

func (a bound) text(i int) string {
	if !a[i].IsString() {
		panic(badArgument(fmt.Sprintf("argument %d: found %.40q, expected a text", i+1, a[i].String())))
	}
	return a[i].String()
}

func (a bound) number(i, without int) int {
	switch {
	case a[i].IsNil():
		return without
	case a[i].IsBool():
		return map[bool]int{true: 1}[a[i].Bool()]
	case !a[i].IsInteger():
		panic(badArgument(fmt.Sprintf("argument %d: found %.40q, expected a number", i+1, a[i].String())))
	}
	return a[i].Integer()
}

// strips says which characters are stripped: those of the first argument, white space without one.
func (a bound) strips() func(rune) bool {
	if a[0].IsNil() {
		return isPythonSpace
	}
	set := a.text(0)
	return func(r rune) bool { return strings.ContainsRune(set, r) }
}

// span is s[start:end] of the second and third argument and the place of its first character; not ok where start is beyond the text or the end.
func (a bound) span(s string) (part string, start int, ok bool) {
	if a[1].IsNil() && a[2].IsNil() {
		return s, 0, true
	}
	runes := []rune(s)
	clip := func(i int) int {
		if i < 0 {
			i += len(runes)
		}
		return max(i, 0)
	}
	start, end := clip(a.number(1, 0)), min(clip(a.number(2, len(runes))), len(runes))
	if start > end {
		return "", 0, false
	}
	return string(runes[start:end]), start, true
}

// affix says whether s has one of the affixes that the first argument is or holds.
func (a bound) affix(s string, has func(s, affix string) bool) bool {
	part, _, ok := a.span(s)
	if !a[0].IsList() {
		affix := a.text(0)
		return ok && has(part, affix)
	}
	any := false
	a[0].Iterate(func(_, _ int, item, _ *exec.Value) bool {
		any = any || ok && has(part, bound{item}.text(0))
		return true
	}, func() {})
	return any
}

func (a bound) find(s string, index func(s, sub string) int) int {
	part, start, ok := a.span(s)
	i := index(part, a.text(0))
	if !ok || i < 0 {
		return -1
	}
	return start + utf8.RuneCountInString(part[:i])
}

// pad fills s to the width that the first argument is with the second, so much before it as is said of the whole.
func (a bound) pad(s string, before func(n int) int) string {
	fill := " "
	if !a[1].IsNil() {
		fill = a.text(1)
	}
	if utf8.RuneCountInString(fill) != 1 {
		panic(badArgument(fmt.Sprintf("argument 2: found %.40q, expected one character", fill)))
	}
	n := max(a.number(0, 0)-utf8.RuneCountInString(s), 0)
	return strings.Repeat(fill, before(n)) + s + strings.Repeat(fill, n-before(n))
}

func (a bound) join(separator string) string {
	if !a[0].IsIterable() {
		panic(badArgument(fmt.Sprintf("argument 1: found %.40q, expected a list of texts", a[0].String())))
	}
	var parts []string
	characters(a[0]).Iterate(func(_, _ int, item, _ *exec.Value) bool {
		parts = append(parts, bound{item}.text(0))
		return true
	}, func() {})
	return strings.Join(parts, separator)
}

func values(parts []string) exec.ValuesList {
	list := make(exec.ValuesList, len(parts))
	for i, part := range parts {
		list[i] = exec.AsValue(part)
	}
	return list
}

// split is str.split, or str.rsplit where fromRight, with at most maxsplit cuts.
func split(s string, a bound, fromRight bool) []string {
	cuts := a.number(1, -1)
	if a[0].IsNil() {
		return splitSpace(s, cuts, fromRight)
	}
	separator := a.text(0)
	switch {
	case separator == "":
		panic(badArgument("argument 1: an empty separator"))
	case cuts < 0:
		return strings.Split(s, separator)
	case !fromRight:
		return strings.SplitN(s, separator, cuts+1)
	}
	var parts []string
	for ; cuts > 0; cuts-- {
		i := strings.LastIndex(s, separator)
		if i < 0 {
			break
		}
		parts, s = append(parts, s[i+len(separator):]), s[:i]
	}
	parts = append(parts, s)
	slices.Reverse(parts)
	return parts
}

// splitSpace cuts at runs of white space; what is left after the last cut keeps that at its far end.
func splitSpace(s string, cuts int, fromRight bool) []string {
	var parts []string
	near, cut := strings.TrimLeftFunc, func(s string) (word, rest string) {
		if i := strings.IndexFunc(s, isPythonSpace); i >= 0 {
			return s[:i], s[i:]
		}
		return s, ""
	}
	if fromRight {
		near, cut = strings.TrimRightFunc, func(s string) (word, rest string) {
			if i := strings.LastIndexFunc(s, isPythonSpace); i >= 0 {
				_, size := utf8.DecodeRuneInString(s[i:])
				return s[i+size:], s[:i+size]
			}
			return s, ""
		}
	}
	for s = near(s, isPythonSpace); s != ""; s = near(s, isPythonSpace) {
		if cuts == 0 {
			parts = append(parts, s)
			break
		}
		var word string
		word, s = cut(s)
		parts, cuts = append(parts, word), cuts-1
	}
	if fromRight {
		slices.Reverse(parts)
	}
	return parts
}

func splitLines(s string, keep bool) []string {
	var lines []string
	for s != "" {
		i := strings.IndexFunc(s, func(r rune) bool { return strings.ContainsRune("\n\v\f\r\x1c\x1d\x1e\u0085\u2028\u2029", r) })
		if i < 0 {
			return append(lines, s)
		}
		_, size := utf8.DecodeRuneInString(s[i:])
		if strings.HasPrefix(s[i:], "\r\n") {
			size = 2
		}
		line := s[:i]
		if keep {
			line = s[:i+size]
		}
		lines, s = append(lines, line), s[i+size:]
	}
	return lines
}

// title begins each run of letters with a capital, as str.title does: after an apostrophe too.
func title(s string) string {
	var out strings.Builder
	within := false
	for _, r := range s {
		if within {
			out.WriteRune(unicode.ToLower(r))
		} else {
			out.WriteRune(unicode.ToTitle(r))
		}
		within = unicode.IsLetter(r) && (unicode.IsUpper(r) || unicode.IsLower(r) || unicode.IsTitle(r))
	}
	return out.String()
}

func capitalize(s string) string {
	_, size := utf8.DecodeRuneInString(s)
	return title(s[:size]) + cases.Lower(language.Und).String(s[size:])
}
