package tokenizer

import (
	"slices"
	"strings"
)

// addedToken is a token that stands outside the vocabulary's merges and is found in text as it is.
type addedToken struct {
	id      int32
	content string // after normalization where it is searched in normalized text
	special bool
	prefix  int32 // in a matcher's list, the longest other token that this one begins with, -1 if there is none
}

// matcher finds added tokens in text, the longest of those that begin first.
type matcher struct {
	byFirst [256][]addedToken // in the order of their bytes
	any     bool
}

func newMatcher(list []addedToken) matcher {
	m := matcher{any: len(list) > 0}
	slices.SortStableFunc(list, func(a, b addedToken) int { return strings.Compare(a.content, b.content) })
	for _, t := range slices.CompactFunc(list, func(a, b addedToken) bool { return a.content == b.content }) {
		same := m.byFirst[t.content[0]]
		for t.prefix = int32(len(same)) - 1; t.prefix >= 0 && !strings.HasPrefix(t.content, same[t.prefix].content); {
			t.prefix = same[t.prefix].prefix
		}
		m.byFirst[t.content[0]] = append(same, t)
	}
	return m
}

// split calls plain for the text between tokens and token for each of them, in order. Where special is false, the text
// of special tokens is plain text; it still hides other tokens inside it, as in Hugging Face's tokenizers.
func (m *matcher) split(text string, special bool, plain func(string) error, token func(id int32)) error {
	start := 0
	for i := 0; m.any && i < len(text); {
		t := m.at(text[i:])
		if t == nil {
			i++
			continue
		}
		if t.special && !special {
			i += len(t.content)
			continue
		}
		if i > start {
			if err := plain(text[start:i]); err != nil {
				return err
			}
		}
		token(t.id)
		i += len(t.content)
		start = i
	}
	if start < len(text) {
		return plain(text[start:])
	}
	return nil
}

// at returns the longest token that text begins with, nil if there is none. Whatever lies between such a token and the text in the order of bytes
// begins with that token: so it is the last token up to the text, or one that this begins with.
func (m *matcher) at(text string) *addedToken {
	list := m.byFirst[text[0]]
	i, found := slices.BinarySearchFunc(list, text, func(t addedToken, text string) int { return strings.Compare(t.content, text) })
	if !found {
		i--
	}
	for i >= 0 && !strings.HasPrefix(text, list[i].content) {
		i = int(list[i].prefix)
	}
	if i < 0 {
		return nil
	}
	return &list[i]
}
