package tokenizer

import (
	"os"
	"strings"
	"testing"
)

func benchmarkEncode(b *testing.B, tok *Tokenizer) {
	text := strings.Repeat(string(readTestdata(b, "corpus.txt")), 50)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		encode(b, tok, text, true)
	}
}

func BenchmarkEncodeSmall(b *testing.B) { benchmarkEncode(b, parseTestdata(b, "qwen2.json")) }

func BenchmarkEncodeQwen2(b *testing.B) { benchmarkEncode(b, parseQwen(b)) }

// BenchmarkEncodeUncached shows the cost without words that come again.
func BenchmarkEncodeUncached(b *testing.B) {
	tok := parseTestdata(b, "qwen2.json")
	text := string(readTestdata(b, "corpus.txt"))
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		tok.model.cache = wordCache{}
		encode(b, tok, text, true)
	}
}

func BenchmarkParseQwen2(b *testing.B) {
	parseQwen(b)
	data, err := os.ReadFile(os.Getenv(qwenVariable))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := Parse("tokenizer.json", data); err != nil {
			b.Fatal(err)
		}
	}
}
