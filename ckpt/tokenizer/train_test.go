package tokenizer

import (
	"slices"
	"strings"
	"testing"

	"afctl/ckpt"
	"afctl/flow/strictjson"

	"pgregory.net/rapid"
)

func train(t testing.TB, corpus []string, size int, specials ...string) []byte {
	t.Helper()
	data, err := Train(slices.Values(corpus), size, specials)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func corpusLines(t testing.TB) []string {
	return strings.SplitAfter(string(readTestdata(t, "corpus.txt")), "\n")
}

// The merges are those that Hugging Face's BpeTrainer learns from the same corpus, in the same order.
func TestTrainGolden(t *testing.T) {
	var want [][2]string
	if err := ckpt.DecodeJSON("merges.json", readTestdata(t, "merges.json"), &want, strictjson.RefuseUnknown); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Model struct {
			Merges [][2]string `json:"merges"`
		} `json:"model"`
	}
	const specials = 3 // the size counts them
	data := train(t, corpusLines(t), 256+len(want)+specials, "<a>", "<b>", "<c>")
	if err := ckpt.DecodeJSON("trained", data, &got, strictjson.IgnoreUnknown); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got.Model.Merges, want) {
		t.Errorf("got %d merges, want %d:\n%q\n%q", len(got.Model.Merges), len(want), got.Model.Merges, want)
	}
}

// What is learnt is a tokenizer: of the size that was asked for, specials last, digits single, every text comes back; and
// the order of the corpus changes no byte of it.
func TestTrain(t *testing.T) {
	lines := corpusLines(t)
	const size = 400
	data := train(t, lines, size, "<|end|>", "<|sep|>")
	tok, err := Parse("trained", data)
	if err != nil {
		t.Fatal(err)
	}
	end, ok := tok.ID("<|end|>")
	sep, ok2 := tok.ID("<|sep|>")
	if tok.VocabSize() != size || !ok || !ok2 || end != size-2 || sep != size-1 || !tok.IsSpecial(end) {
		t.Errorf("%d tokens, <|end|> is %d, <|sep|> is %d", tok.VocabSize(), end, sep)
	}
	for id := range int32(size) {
		if b := tok.TokenBytes(id); len(b) > 1 && strings.ContainsAny(string(b), "0123456789") {
			t.Errorf("token %d is %q: a digit with something else", id, b)
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOf(rapid.SampledFrom(lines)), func(s []string) string { return strings.Join(s, "") })).Draw(rt, "text")
		if got := tok.Decode(encode(rt, tok, text, false), false); got != text {
			rt.Fatalf("%q came back as %q", text, got)
		}
		shuffled := rapid.Permutation(lines).Draw(rt, "order")
		if again, err := Train(slices.Values(shuffled), 300, nil); err != nil || string(again) != string(train(t, lines, 300)) {
			rt.Fatalf("another order gives another tokenizer (%v)", err)
		}
	})
}

// A corpus without pairs that come again gives the bytes alone, and nonsense is refused.
func TestTrainLimits(t *testing.T) {
	tok, err := Parse("trained", train(t, []string{"abc"}, 1000, "<x>"))
	if err != nil || tok.VocabSize() != 257 {
		t.Errorf("%d tokens, %v; 256 bytes and a special expected", tok.VocabSize(), err)
	}
	for name, test := range map[string]struct {
		size     int
		specials []string
	}{"no room": {257, []string{"a", "b"}}, "twice": {300, []string{"a", "a"}}, "empty": {300, []string{""}}, "too many": {maxTokens + 1, nil}} {
		if _, err := Train(slices.Values([]string{"x"}), test.size, test.specials); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func BenchmarkTrain(b *testing.B) {
	lines := corpusLines(b)
	for b.Loop() {
		train(b, lines, 1000)
	}
}
