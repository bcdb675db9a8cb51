package tokenizer

import (
	"errors"
	"slices"
	"testing"

	"afctl/ckpt"

	"github.com/go-json-experiment/json"
)

// Every text is cut as pre_tokenizers.Split(Regex(pattern), behavior="isolated") of Hugging Face's tokenizers cuts it.
func TestSplitLikeOniguruma(t *testing.T) {
	for _, test := range []struct {
		pattern, text string
		want          []string
	}{
		{`\s+$| `, "a  \nb", []string{"a", "  ", "\nb"}},
		{`^b`, "b\nb a", []string{"b", "\n", "b", " a"}},
		{`(?=b)`, "abab", []string{"a", "ba", "b"}},
		{`\p{L}*`, "a1\n", []string{"a", "1", "\n"}},
		{`a|(?<=a)`, "aab", []string{"a", "a", "b"}},
		{`\w+`, "a\u093f\u20dd\u00b2\u2167\u24b6!\U0001f130 b", []string{"a\u093f\u20dd\u00b2\u2167\u24b6", "!", "\U0001f130", " ", "b"}},
		{`[\w]+`, "a\u093f\u00b2", []string{"a\u093f", "\u00b2"}},
		{`\W+`, "\u093f\u00b2 -x", []string{"\u093f\u00b2", " -", "x"}},
		{`\b`, "\u093f a", []string{"\u093f", " ", "a"}},
		{`\B`, "abc", []string{"a", "b", "c"}},
		{`\d{1,3}(?=(?:\d{3})*\b)`, "1234567 89", []string{"1", "234", "567", " ", "89"}},
		{`[^\S\n]+`, "a \n b", []string{"a", " ", "\n", " ", "b"}},
		{`(?i:K)`, "kK", []string{"k", "K"}},
		{`(?i:'s|'t|'re)|\p{L}+`, "it'ſa", []string{"it", "'ſ", "a"}},
		{`(?i:'s)|s|\p{L}`, "'ſ ſ s", []string{"'ſ", " ", "ſ", " ", "s"}},
		{`((?i)xs|b)s|.`, "xſs XSs bſ bs", []string{"xſs", " ", "XSs", " ", "b", "ſ", " ", "bs"}},
		{`(?i:a(?-i:s)s)|.`, "asſ aſs AsS", []string{"asſ", " ", "a", "ſ", "s", " ", "AsS"}},
		{`(?i:a(?:s))|.`, "aſ as aS", []string{"aſ", " ", "as", " ", "aS"}},
	} {
		s, err := newSplitter("", test.pattern)
		if err != nil {
			t.Error(err)
			continue
		}
		var pieces []string
		if err := s.split(test.text, func(piece string) error {
			pieces = append(pieces, piece)
			return nil
		}); err != nil || !slices.Equal(pieces, test.want) {
			t.Errorf("%s: %q, %v, expected %q", test.pattern, pieces, err, test.want)
		}
	}
}

// What the engine here would read in another way is refused.
func TestOnigurumaRefused(t *testing.T) {
	for _, pattern := range []string{
		`[[:alpha:]]+`, `[a-z&&[aeiou]]`, `[a-z&&b]`, `[a[bc]]`, `\h`, `[\h]`, `[^\W_]`, `[^\S\D]`, `[\S\P{N}]`, `(?m).+`, `(?s:.)`, `(?im-x:a)`, `x{,2}`, `[a`, `[]`, `\R`, `\X`, `a++`,
	} {
		if _, err := newSplitter("pattern", pattern); err == nil {
			t.Errorf("%s: accepted", pattern)
		}
	}
	if _, err := newSplitter("", `[[:alpha:]]`); !errors.Is(err, ckpt.ErrUnsupported) {
		t.Errorf("a POSIX class: %v", err)
	}
}

// bytesJSON is a tokenizer.json of the 256 bytes, ids in the order of their spelling, as edit leaves it.
func bytesJSON(t *testing.T, edit func(raw, model, vocab map[string]any)) []byte {
	t.Helper()
	alphabet := slices.Clone(byteToRune[:])
	slices.Sort(alphabet)
	vocab := map[string]any{}
	for id, r := range alphabet {
		vocab[string(r)] = id
	}
	model := map[string]any{"type": "BPE", "vocab": vocab, "merges": []any{}}
	raw := map[string]any{
		"model": model, "decoder": map[string]any{"type": "ByteLevel"}, "pre_tokenizer": map[string]any{"type": "ByteLevel", "add_prefix_space": false, "use_regex": false},
	}
	edit(raw, model, vocab)
	data, err := json.Marshal(raw)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// The ids are those of Hugging Face's tokenizers.
func TestLineEndInExpression(t *testing.T) {
	tok, err := Parse("t.json", bytesJSON(t, func(raw, model, vocab map[string]any) {
		vocab["ĠĠ"], model["merges"] = 256, []any{"Ġ Ġ"}
		raw["pre_tokenizer"] = map[string]any{"type": "Sequence", "pretokenizers": []any{
			map[string]any{"type": "Split", "behavior": "Isolated", "invert": false, "pattern": map[string]any{"Regex": `\s+$| `}}, raw["pre_tokenizer"],
		}}
	}))
	if err != nil {
		t.Fatal(err)
	}
	if ids := encode(t, tok, "a  \nb", false); !slices.Equal(ids, []int32{64, 256, 198, 65}) {
		t.Errorf("found %v, expected [64 256 198 65]", ids)
	}
}
