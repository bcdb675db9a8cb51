package tokenizer

import (
	"cmp"
	"container/heap"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Train learns a byte-level BPE from a corpus and returns a tokenizer.json that Hugging Face's tokenizers and Parse
// read: the 256 bytes, merges until there are vocabSize tokens with the specials, which come last in their order. Text is
// split as Qwen2 does (Qwen2Pattern, so each digit is a token) and not normalized, so that every text comes back as it
// was.
//
// The most frequent pair is merged first, of equals the one with the smaller ids (as in Hugging Face's BpeTrainer), so
// the same corpus gives the same bytes whatever the order of its texts. Pairs that occur once are not merged: a small
// corpus gives fewer tokens than asked for.
func Train(corpus iter.Seq[string], vocabSize int, specials []string) ([]byte, error) {
	if min := 256 + len(specials); vocabSize < min || vocabSize > maxTokens {
		return nil, fmt.Errorf("train tokenizer: found a vocabulary of %d, expected %d (bytes and specials) to %d", vocabSize, min, maxTokens)
	}
	for i, s := range specials {
		if s == "" || slices.Contains(specials[:i], s) {
			return nil, fmt.Errorf("train tokenizer: special %d %q: empty, or there twice", i, s)
		}
	}
	counts, err := countWords(corpus)
	if err != nil {
		return nil, fmt.Errorf("train tokenizer: %w", err)
	}
	tr := newTrainer(counts)
	tr.learn(vocabSize - len(specials))
	for i, s := range specials {
		if bytes, err := readSpelling(s); err == nil {
			if id, ok := tr.ids[bytes]; ok {
				return nil, fmt.Errorf("train tokenizer: special %d %q: found as token %d, the spelling of %q, too; expected a text that is none, <|%s|> for one", i, s, id, bytes, s)
			}
		}
	}
	return tr.marshal(specials)
}

// countWords counts the words of the corpus.
func countWords(corpus iter.Seq[string]) (map[string]int, error) {
	s, err := newSplitter("Qwen2Pattern", Qwen2Pattern)
	if err != nil {
		return nil, err
	}
	counts := map[string]int{}
	for text := range corpus {
		if err := s.split(text, func(word string) error {
			counts[word]++
			return nil
		}); err != nil {
			return nil, err
		}
	}
	return counts, nil
}

// trainer holds the words of the corpus as tokens so far.
type trainer struct {
	tokens []string         // bytes by id
	ids    map[string]int32 // ids by bytes
	merges []pair
	words  [][]int32
	counts []int                 // how often each word occurs
	pairs  map[pair]int          // how often each pair occurs
	where  map[pair]map[int]bool // the words it occurs in, or did
	queue  pairQueue
}

// pairCount is a pair as frequent as it was when it was pushed.
type pairCount struct {
	pair  pair
	count int
}

// pairQueue is a heap: the most frequent first, then the smaller ids.
type pairQueue []pairCount

func (q pairQueue) Len() int      { return len(q) }
func (q pairQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q pairQueue) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(q[j].count, q[i].count), comparePairs(q[i].pair, q[j].pair)) < 0
}
func (q *pairQueue) Push(x any) { *q = append(*q, x.(pairCount)) }
func (q *pairQueue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

func comparePairs(a, b pair) int {
	return cmp.Or(cmp.Compare(a.left, b.left), cmp.Compare(a.right, b.right))
}

func newTrainer(counts map[string]int) *trainer {
	tr := &trainer{ids: map[string]int32{}, pairs: map[pair]int{}, where: map[pair]map[int]bool{}}
	// The bytes come in the order of their spelling, as in the vocabularies of GPT-2 and Qwen2.
	bytes := make([]byte, 256)
	for i := range bytes {
		bytes[i] = byte(i)
	}
	slices.SortFunc(bytes, func(a, b byte) int { return cmp.Compare(byteToRune[a], byteToRune[b]) })
	for _, b := range bytes {
		tr.add(string([]byte{b}))
	}
	for _, word := range slices.Sorted(maps.Keys(counts)) {
		ids := make([]int32, len(word))
		for i := range ids {
			ids[i] = tr.ids[word[i:i+1]]
		}
		tr.words, tr.counts = append(tr.words, ids), append(tr.counts, counts[word])
	}
	for i := range tr.words {
		tr.count(i, 1, nil)
	}
	for p, n := range tr.pairs {
		tr.queue = append(tr.queue, pairCount{p, n})
	}
	heap.Init(&tr.queue)
	return tr
}

// add enters a token, which the vocabulary may have already by another merge.
func (tr *trainer) add(bytes string) int32 {
	id, ok := tr.ids[bytes]
	if !ok {
		id = int32(len(tr.tokens))
		tr.tokens, tr.ids[bytes] = append(tr.tokens, bytes), id
	}
	return id
}

// count adds sign times the pairs of word i, and notes them in changed.
func (tr *trainer) count(i, sign int, changed map[pair]bool) {
	word := tr.words[i]
	for j := 1; j < len(word); j++ {
		p := pair{word[j-1], word[j]}
		tr.pairs[p] += sign * tr.counts[i]
		if sign > 0 {
			if tr.where[p] == nil {
				tr.where[p] = map[int]bool{}
			}
			tr.where[p][i] = true
		}
		if changed != nil {
			changed[p] = true
		}
	}
}

// learn merges pairs until there are size tokens.
func (tr *trainer) learn(size int) {
	for len(tr.tokens) < size && len(tr.queue) > 0 {
		best := heap.Pop(&tr.queue).(pairCount)
		if n := tr.pairs[best.pair]; n != best.count {
			if n > 0 && n < best.count { // it has become rarer since: back in line
				heap.Push(&tr.queue, pairCount{best.pair, n})
			}
			continue
		}
		if best.count < 2 {
			return
		}
		tr.mergeAll(best.pair)
	}
}

// mergeAll merges a pair wherever it occurs.
func (tr *trainer) mergeAll(p pair) {
	id := tr.add(tr.tokens[p.left] + tr.tokens[p.right])
	tr.merges = append(tr.merges, p)
	changed := map[pair]bool{}
	words := tr.where[p]
	delete(tr.where, p)
	for i := range words {
		tr.count(i, -1, nil)
		word, out := tr.words[i], tr.words[i][:0]
		for j := 0; j < len(word); j++ {
			if j+1 < len(word) && word[j] == p.left && word[j+1] == p.right {
				out = append(out, id)
				j++
			} else {
				out = append(out, word[j])
			}
		}
		tr.words[i] = out
		tr.count(i, 1, changed)
	}
	for q := range changed {
		heap.Push(&tr.queue, pairCount{q, tr.pairs[q]})
	}
}

// The files' fixed parts, as published for Qwen2.
type (
	trainedTokenizer struct {
		Version       string           `json:"version"`
		Truncation    any              `json:"truncation"`
		Padding       any              `json:"padding"`
		AddedTokens   []addedTokenJSON `json:"added_tokens"`
		Normalizer    any              `json:"normalizer"`
		PreTokenizer  any              `json:"pre_tokenizer"`
		PostProcessor any              `json:"post_processor"`
		Decoder       any              `json:"decoder"`
		Model         trainedModel     `json:"model"`
	}
	trainedModel struct {
		Type                    string         `json:"type"`
		Dropout                 any            `json:"dropout"`
		UnkToken                any            `json:"unk_token"`
		ContinuingSubwordPrefix any            `json:"continuing_subword_prefix"`
		EndOfWordSuffix         any            `json:"end_of_word_suffix"`
		FuseUnk                 bool           `json:"fuse_unk"`
		ByteFallback            bool           `json:"byte_fallback"`
		IgnoreMerges            bool           `json:"ignore_merges"`
		Vocab                   jsontext.Value `json:"vocab"` // in the order of ids
		Merges                  [][2]string    `json:"merges"`
	}
	trainedSplit struct {
		Type     string            `json:"type"`
		Pattern  map[string]string `json:"pattern"`
		Behavior string            `json:"behavior"`
		Invert   bool              `json:"invert"`
	}
	trainedByteLevel struct {
		Type           string `json:"type"`
		AddPrefixSpace bool   `json:"add_prefix_space"`
		TrimOffsets    bool   `json:"trim_offsets"`
		UseRegex       bool   `json:"use_regex"`
	}
	trainedSequence struct {
		Type          string `json:"type"`
		PreTokenizers []any  `json:"pretokenizers"`
	}
)

func (tr *trainer) marshal(specials []string) ([]byte, error) {
	byteLevel := trainedByteLevel{Type: "ByteLevel"}
	out := trainedTokenizer{
		Version: "1.0",
		PreTokenizer: trainedSequence{"Sequence", []any{
			trainedSplit{"Split", map[string]string{"Regex": Qwen2Pattern}, "Isolated", false}, byteLevel,
		}},
		PostProcessor: byteLevel,
		Decoder:       byteLevel,
		Model:         trainedModel{Type: "BPE", Merges: make([][2]string, len(tr.merges))},
	}
	vocab := []byte{'{'}
	for id, token := range tr.tokens {
		if id > 0 {
			vocab = append(vocab, ',')
		}
		var err error
		if vocab, err = jsontext.AppendQuote(vocab, spell([]byte(token))); err != nil {
			return nil, err
		}
		vocab = fmt.Appendf(vocab, ":%d", id)
	}
	out.Model.Vocab = append(vocab, '}')
	for i, p := range tr.merges {
		out.Model.Merges[i] = [2]string{spell([]byte(tr.tokens[p.left])), spell([]byte(tr.tokens[p.right]))}
	}
	for i, content := range specials {
		out.AddedTokens = append(out.AddedTokens, addedTokenJSON{ID: int32(len(tr.tokens) + i), Content: content, Special: true})
	}
	data, err := json.Marshal(out, jsontext.WithIndent(" "))
	if err != nil {
		return nil, fmt.Errorf("train tokenizer: %w", err)
	}
	return append(data, '\n'), nil
}
