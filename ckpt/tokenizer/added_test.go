package tokenizer

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The token found is the longest of those that the text begins with, and of equals the first.
func TestAddedTokensByDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := []addedToken{}
		for i, content := range rapid.SliceOfN(rapid.StringMatching(`[ab\x{e9}]{1,6}`), 0, 40).Draw(t, "tokens") {
			list = append(list, addedToken{id: int32(i), content: content})
		}
		text := rapid.StringMatching(`[ab\x{e9}]{1,8}`).Draw(t, "text")
		want := int32(-1)
		longest := 0
		for _, token := range list {
			if strings.HasPrefix(text, token.content) && len(token.content) > longest {
				want, longest = token.id, len(token.content)
			}
		}
		m := newMatcher(list)
		got := int32(-1)
		if token := m.at(text); token != nil {
			got = token.id
		}
		if got != want {
			t.Fatalf("found token %d, expected %d", got, want)
		}
	})
}

// Many added tokens with one beginning are found; one sorted list after another would take minutes.
func TestManyAddedTokens(t *testing.T) {
	const n = 100_000
	var list []addedTokenJSON
	for i := range n {
		list = append(list, addedTokenJSON{ID: int32(i), Content: fmt.Sprintf("<%d>", i)})
	}
	tok := &Tokenizer{}
	if err := tok.loadAddedTokens(list, nil); err != nil {
		t.Fatal(err)
	}
	found := 0
	text := strings.Repeat("<"+strings.Repeat("<99999>", 10), 1000)
	if err := tok.raw.split(text, true, func(string) error { return nil }, func(int32) { found++ }); err != nil || found != 10_000 {
		t.Fatalf("found %d tokens, %v, expected 10000", found, err)
	}
}
