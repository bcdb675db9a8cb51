package tokenizer

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"afctl/ckpt"
	"afctl/flow/strictjson"

	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"
)

func readTestdata(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func parseTestdata(t testing.TB, name string) *Tokenizer {
	t.Helper()
	tok, err := Parse(name, readTestdata(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func encode(t interface{ Fatal(...any) }, tok *Tokenizer, text string, special bool) []int32 {
	ids, err := tok.Encode(text, special)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// smallTokenizers are those that testdata/make_tokenizers.py makes.
var smallTokenizers = []string{"qwen2", "llama3", "gpt2", "gaps"}

// The ids are those that Hugging Face's tokenizers gives, with special tokens read and as plain text, and so is what
// they decode to.
func TestGolden(t *testing.T) {
	var golden []struct {
		Tokenizer string  `json:"tokenizer"`
		Text      string  `json:"text"`
		Special   []int32 `json:"special"`
		Plain     []int32 `json:"plain"`
		Decoded   string  `json:"decoded"`
	}
	if err := ckpt.DecodeJSON("golden.json", readTestdata(t, "golden.json"), &golden, strictjson.RefuseUnknown); err != nil {
		t.Fatal(err)
	}
	tokenizers := map[string]*Tokenizer{}
	for _, name := range smallTokenizers {
		tokenizers[name] = parseTestdata(t, name+".json")
	}
	for _, g := range golden {
		tok := tokenizers[g.Tokenizer]
		if ids := encode(t, tok, g.Text, true); !slices.Equal(ids, g.Special) {
			t.Errorf("%s %q:\n got %v\nwant %v", g.Tokenizer, g.Text, ids, g.Special)
		}
		if ids := encode(t, tok, g.Text, false); !slices.Equal(ids, g.Plain) {
			t.Errorf("%s %q as plain text:\n got %v\nwant %v", g.Tokenizer, g.Text, ids, g.Plain)
		}
		// Hugging Face's decoder replaces what is no UTF-8; here the bytes are kept. It also takes the é of an added
		// token for the spelling of a byte; here an added token is what it says.
		if cafe, ok := tok.ID("café!"); ok && slices.Contains(g.Special, cafe) {
			continue
		}
		if text := strings.ToValidUTF8(tok.Decode(g.Special, true), "\ufffd"); text != g.Decoded {
			t.Errorf("%s %v: decoded to %q, expected %q", g.Tokenizer, g.Special, text, g.Decoded)
		}
	}
}

// A text comes back to the byte, whatever it holds; with a normalizer, as its normal form.
func TestRoundTrip(t *testing.T) {
	specials := []string{"<|im_end|>", "<|endoftext|>", "<tool_call>", "<|im_", "<|eot_id|>"}
	for _, name := range smallTokenizers {
		tok := parseTestdata(t, name+".json")
		rapid.Check(t, func(rt *rapid.T) {
			parts := rapid.SliceOf(rapid.OneOf(rapid.String(), rapid.StringOf(rapid.RuneFrom([]rune("ab '\n\t.1é中"))),
				rapid.SampledFrom(specials), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }))).Draw(rt, "parts")
			text := strings.Join(parts, "")
			want := text
			if name == "qwen2" {
				want = norm.NFC.String(text)
			}
			plain, special := encode(rt, tok, text, false), encode(rt, tok, text, true)
			if got := tok.Decode(plain, false); got != want {
				rt.Fatalf("%s: %q came back as %q", name, text, got)
			}
			if got := tok.Decode(special, false); norm.NFC.String(got) != norm.NFC.String(want) {
				rt.Fatalf("%s: %q came back as %q", name, text, got)
			}
			if slices.ContainsFunc(plain, tok.IsSpecial) {
				rt.Fatalf("%s: a special token came out of plain text %q", name, text)
			}
			if got := tok.Decode(plain, true); got != want {
				rt.Fatalf("%s: plain text %q came back as %q without special tokens", name, text, got)
			}
			for _, id := range special {
				if b := tok.TokenBytes(id); len(b) == 0 {
					rt.Fatalf("%s: token %d has no bytes", name, id)
				} else if back, ok := tok.ID(string(b)); !ok || back != id {
					rt.Fatalf("%s: token %d with bytes %q is found as %d", name, id, b, back)
				}
			}
		})
	}
}

// naiveMerge is byte-pair encoding by its definition: look for the best pair, merge it, start again.
func naiveMerge(b *bpe, word string) []int32 {
	var ids []int32
	for i := range len(word) {
		ids = append(ids, b.bytes[word[i]])
	}
	for {
		best, at := merge{}, -1
		for i := 1; i < len(ids); i++ {
			if m, ok := b.merges[pair{ids[i-1], ids[i]}]; ok && (at < 0 || m.rank < best.rank) {
				best, at = m, i
			}
		}
		if at < 0 {
			return ids
		}
		ids[at-1] = best.id
		ids = slices.Delete(ids, at, at+1)
	}
}

// The heap gives what the definition gives, ties and long repeats included.
func TestMergeByDefinition(t *testing.T) {
	tok := parseTestdata(t, "qwen2.json")
	rapid.Check(t, func(rt *rapid.T) {
		word := rapid.OneOf(
			rapid.StringOfN(rapid.RuneFrom([]rune(" antheplr!")), 1, 200, -1),
			rapid.Map(rapid.IntRange(1, 200), func(n int) string { return strings.Repeat("e", n) }),
			rapid.StringN(1, 50, -1),
		).Draw(rt, "word")
		if got, want := tok.model.merge(nil, word), naiveMerge(&tok.model, word); !slices.Equal(got, want) {
			rt.Fatalf("%q: found %v, expected %v", word, got, want)
		}
	})
}

// NFC by its definition is what package norm gives, where that does not insert anything.
func TestComposeByDefinition(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		text := rapid.OneOf(
			rapid.StringOfN(rapid.RuneFrom([]rune("aeo \u0301\u0323\u0307\u0344\u0345\u0305\u1e9b\u212b\u1100\u1161\u11a8\uac00\u0f71\u0f72\u0f73\u3099\u304b\u0958\u2adc")), 0, 24, -1),
			rapid.StringN(0, 24, -1),
			rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 24), func(b []byte) string { return string(b) }),
		).Draw(rt, "text")
		if got, want := composeByDefinition(text), norm.NFC.String(text); got != want {
			rt.Fatalf("%+q: found %+q, expected %+q", text, got, want)
		}
	})
}

// A tokenizer is shared by all rollouts.
func TestConcurrentEncode(t *testing.T) {
	tok := parseTestdata(t, "qwen2.json")
	text := string(readTestdata(t, "corpus.txt"))
	want := encode(t, parseTestdata(t, "qwen2.json"), text, true)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if ids, err := tok.Encode(text, true); err != nil || !slices.Equal(ids, want) {
				t.Errorf("other ids, %v", err)
			}
		})
	}
	group.Wait()
}

// qwenVariable names the real tokenizer.json of Qwen2, which is too large to keep here.
const qwenVariable = "AFCTL_QWEN_TOKENIZER"

func parseQwen(t testing.TB) *Tokenizer {
	t.Helper()
	path := os.Getenv(qwenVariable)
	if path == "" {
		t.Skipf("%s is not set: the path of Qwen2's tokenizer.json (testdata/make_qwen2.py makes one)", qwenVariable)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := Parse(path, data)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// The public cases of Qwen2's vocabulary.
func TestQwen2Vocabulary(t *testing.T) {
	tok := parseQwen(t)
	const separator = "\n__ggml_vocab_test__\n"
	texts := strings.Split(strings.TrimSuffix(string(readTestdata(t, "ggml-vocab-qwen2.gguf.inp")), separator), separator)
	lines := strings.Split(strings.TrimSuffix(string(readTestdata(t, "ggml-vocab-qwen2.gguf.ids")), "\n"), "\n")
	if len(texts) != len(lines) {
		t.Fatalf("%d texts and %d lines of ids", len(texts), len(lines))
	}
	for i, text := range texts {
		var want []int32
		for _, field := range strings.Fields(lines[i]) {
			id, err := strconv.ParseInt(field, 10, 32)
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, int32(id))
		}
		if ids := encode(t, tok, text, false); !slices.Equal(ids, want) {
			t.Errorf("%q:\n got %v\nwant %v", text, ids, want)
		}
	}
}

// A word without end takes time in proportion, near enough: letters that all merge, for which the square of their number would be a minute.
func TestLongWord(t *testing.T) {
	tok := parseTestdata(t, "qwen2.json")
	text := strings.Repeat("e", 1<<18)
	if got := tok.Decode(encode(t, tok, text, false), false); got != text {
		t.Error("a long word came back differently")
	}
}
