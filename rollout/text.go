package rollout

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// clipBytes is s as valid UTF-8 of at most max bytes; what is cut is marked.
func clipBytes(s string, max int) string {
	if len(s) <= max {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	head := prefix(s, max)
	return strings.ToValidUTF8(head, "\uFFFD") + fmt.Sprintf(" [%d bytes cut]", len(s)-len(head))
}

// lastBytes is s as valid UTF-8 of at most max bytes of its end, where an answer stands; what is cut is marked, without a number that could be taken
// for the answer.
func lastBytes(s string, max int) string {
	if len(s) <= max {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	at := len(s) - max
	for at < len(s) && !utf8.RuneStart(s[at]) {
		at++
	}
	return "[cut] " + strings.ToValidUTF8(s[at:], "\uFFFD")
}

// prefix is the longest prefix of s of at most n bytes that does not split a rune.
func prefix(s string, n int) string {
	if n >= len(s) {
		return s
	}
	n = max(n, 0)
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// estimateTokens stands in for a tokenizer where none is given: a token for every four bytes, rounded up.
func estimateTokens(s string) int { return (len(s) + 3) / 4 }

// Said is the reply without the reasoning that some models put before it, as <think>...</think>; all of it where nothing follows.
func (c Completion) Said() string {
	const end = "</think>"
	if i := strings.LastIndex(c.Text, end); i >= 0 && strings.TrimSpace(c.Text[i+len(end):]) != "" {
		return c.Text[i+len(end):]
	}
	return c.Text
}
