package ckpt

import (
	"regexp"
	"strings"
	"unicode"
)

// The library strips white space before every block and comment; Jinja's lstrip_blocks does where the tag is the first thing on its line. So the library
// is told to strip none, and stripIndents takes from the source what Jinja would: it cuts the source into text and tags as Jinja's lexer does.

var (
	rawBegin = regexp.MustCompile(`^\{%[-+]?\s*raw\s*(-?)%\}`)
	rawEnd   = regexp.MustCompile(`\{%[-+]?\s*endraw\s*[-+]?%\}`)
)

// stripIndents returns a template's source without the white space between the start of a line and a block or comment, unless the tag says {%+ or {#+.
func stripIndents(source string) string {
	source = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(source)
	var out strings.Builder
	lineStarts := true // whether the text that follows begins a line
	for source != "" {
		text, tag := source, ""
		if i := tagAt(source); i >= 0 {
			text, tag = source[:i], source[i:]
		}
		out.WriteString(withoutIndent(text, tag, lineStarts))
		end := tagEnd(tag)
		if raw := rawBegin.FindStringSubmatchIndex(tag); raw != nil {
			end = raw[1]
			out.WriteString(spaceLines(tag[:end]))
			if tag = tag[end:]; raw[2] == raw[3] && strings.HasPrefix(tag, "\n") {
				out.WriteByte('\n') // the library eats the end of this line, and Jinja does not
			}
			end = len(tag)
			if found := rawEnd.FindStringIndex(tag); found != nil {
				body := withoutIndent(tag[:found[0]], tag[found[0]:], false)
				tag, end = tag[found[0]:], found[1]-found[0]
				if raw[2] < raw[3] { // nor does the library heed the marks of raw
					body = strings.TrimLeftFunc(body, isPythonSpace)
				}
				if tag[2] == '-' {
					body = strings.TrimRightFunc(body, isPythonSpace)
				}
				out.WriteString(body)
			}
		}
		out.WriteString(spaceLines(tag[:end]))
		lineStarts = end < len(tag) && tag[end] == '\n' && end > 2 && tag[end-2] != '}' && tag[end-3] != '+'
		if lineStarts { // a block's or comment's end takes the end of its line
			out.WriteByte('\n')
			end++
		}
		source = tag[end:]
	}
	return out.String()
}

// spaceLines returns a tag with spaces around the ends of its lines, and for those before its first word. The library takes an end of a line for a part
// of what comes next, so that a name is another one and the - of "-%}" is none.
func spaceLines(tag string) string {
	if strings.HasPrefix(tag, "{#") || !strings.Contains(tag, "\n") {
		return tag
	}
	var out strings.Builder
	quote, begun := byte(0), false // of the string that it is in, and whether a word has come
	for i := 0; i < len(tag); i++ {
		c := tag[i]
		if c == '\n' && quote == 0 {
			if begun {
				out.WriteString(" \n")
			}
			out.WriteByte(' ')
			continue
		}
		out.WriteByte(c)
		switch {
		case quote != 0 && c == '\\' && i+1 < len(tag):
			i++
			out.WriteByte(tag[i])
		case c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		}
		begun = begun || i > 2 && c != ' ' && c != '\t'
	}
	return out.String()
}

// tagAt returns where the first tag of a source begins, -1 if there is none.
func tagAt(source string) int {
	for i := 0; i+1 < len(source); i++ {
		if source[i] == '{' && strings.IndexByte("{%#", source[i+1]) >= 0 {
			return i
		}
	}
	return -1
}

// withoutIndent is the text before a tag without the blank start of the tag's line.
func withoutIndent(text, tag string, lineStarts bool) string {
	if len(tag) < 3 || tag[1] == '{' || tag[2] == '+' {
		return text
	}
	start := strings.LastIndexByte(text, '\n') + 1
	if (start > 0 || lineStarts) && strings.TrimFunc(text[start:], isPythonSpace) == "" {
		return text[:start]
	}
	return text
}

// isPythonSpace is str.isspace of one character.
func isPythonSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }

// tagEnd returns the length of the tag that a source begins with: to the closing mark that is in no string and no bracket, of a comment to the first.
func tagEnd(source string) int {
	if len(source) < 2 {
		return len(source)
	}
	closing := map[byte]string{'{': "}}", '%': "%}", '#': "#}"}[source[1]]
	depth := 0
	for i := 2; i < len(source); i++ {
		switch c := source[i]; {
		case depth == 0 && strings.HasPrefix(source[i:], closing):
			return i + 2
		case closing == "#}":
		case c == '(' || c == '[' || c == '{':
			depth++
		case c == ')' || c == ']' || c == '}':
			depth--
		case c == '"' || c == '\'':
			for i++; i < len(source) && source[i] != c; i++ {
				if source[i] == '\\' {
					i++
				}
			}
		}
	}
	return len(source)
}
