package tokenizer

import (
	"slices"
	"strings"
	"testing"
)

// What stands in a vocabulary and spells no bytes encodes nothing, and is decoded as it stands. The ids are those of Hugging Face's tokenizers.
func TestVocabularyBeyondBytes(t *testing.T) {
	for name, test := range map[string]struct {
		both bool
		want []int32
	}{"alone": {false, []int32{160, 116, 244}}, "beside the token of its bytes": {true, []int32{257}}} {
		tok, err := Parse("t.json", bytesJSON(t, func(_, model, vocab map[string]any) {
			model["ignore_merges"] = true
			vocab["世"] = 256
			if test.both {
				vocab["ä¸ĸ"] = 257
			}
		}))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if ids := encode(t, tok, "世", false); !slices.Equal(ids, test.want) {
			t.Errorf("%s: found %v, expected %v", name, ids, test.want)
		}
		if text := tok.Decode([]int32{256}, false); text != "世" {
			t.Errorf("%s: decoded to %q", name, text)
		}
	}
}

// An added token may be what spells a byte in the vocabulary, and is that byte's token. The ids are those of Hugging Face's tokenizers.
func TestAddedTokenOfTheVocabulary(t *testing.T) {
	for content, id := range map[string]int32{"é": 165, "Å": 129} {
		for _, normalized := range []bool{false, true} {
			tok, err := Parse("t.json", bytesJSON(t, func(raw, _, _ map[string]any) {
				raw["added_tokens"] = []any{map[string]any{"id": id, "content": content, "normalized": normalized}}
			}))
			if err != nil {
				t.Errorf("%s: %v", content, err)
				continue
			}
			if ids := encode(t, tok, "a"+content+"b", true); !slices.Equal(ids, []int32{64, id, 65}) {
				t.Errorf("%s: found %v, expected [64 %d 65]", content, ids, id)
			}
			if text := tok.Decode(encode(t, tok, "面\u0161", true), false); text != "面\u0161" { // of bytes that é and Å spell
				t.Errorf("%s: decoded to %q", content, text)
			}
		}
	}
}

// Long runs of marks that decompose into marks, whose own class is 0.
func TestNormalizeRunsOfMarks(t *testing.T) {
	for text, want := range map[string]string{
		strings.Repeat("\u0f73", 40):                       strings.Repeat("\u0f71", 40) + strings.Repeat("\u0f72", 40),
		"\u0f40" + strings.Repeat("\u0f75", 20) + "\u0f71": "\u0f40" + strings.Repeat("\u0f71", 21) + strings.Repeat("\u0f74", 20),
		strings.Repeat("\u0f81", 31) + "a":                 strings.Repeat("\u0f71", 31) + strings.Repeat("\u0f80", 31) + "a",
	} {
		if got := normalizeNFC(text); got != want {
			t.Errorf("%+q: found %+q, expected %+q", text, got, want)
		}
	}
}

// A special token that is a token of the corpus would make a file that nothing reads.
func TestTrainSpecialOfTheCorpus(t *testing.T) {
	corpus := func(yield func(string) bool) { yield(strings.Repeat("END END ", 20)) }
	for _, special := range []string{"END", "a", "Ġ"} {
		if _, err := Train(corpus, 300, []string{"<|x|>", special}); err == nil || !strings.Contains(err.Error(), "special 1 ") {
			t.Errorf("%s: error %v", special, err)
		}
	}
	data, err := Train(corpus, 300, []string{"<|END|>"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Parse("t.json", data); err != nil {
		t.Error(err)
	}
}
