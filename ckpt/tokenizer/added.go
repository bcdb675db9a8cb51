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
}

// matcher finds added tokens in text, the longest of those that begin first.
type matcher struct {
	byFirst [256][]addedToken // longest first
	any     bool
}

func (m *matcher) add(t addedToken) {
	list := &m.byFirst[t.content[0]]
	*list = append(*list, t)
	slices.SortStableFunc(*list, func(a, b addedToken) int { return len(b.content) - len(a.content) })
	m.any = true
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

// at returns the longest token that text begins with, nil if there is none.
func (m *matcher) at(text string) *addedToken {
	list := m.byFirst[text[0]]
	for i := range list {
		if strings.HasPrefix(text, list[i].content) {
			return &list[i]
		}
	}
	return nil
}
