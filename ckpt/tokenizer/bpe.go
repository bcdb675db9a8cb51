package tokenizer

import (
	"container/heap"
	"sync"
)

// pair is two neighbouring tokens.
type pair struct{ left, right int32 }

// merge is what becomes of a pair: merges of lower rank come first.
type merge struct{ rank, id int32 }

// bpe is byte-pair encoding (Sennrich et al. 2016) on the bytes of a word: as long as there is a pair of neighbours that
// may be merged, the one of lowest rank is, the leftmost of equals.
type bpe struct {
	bytes  [256]int32 // the token of each single byte
	merges map[pair]merge
	whole  map[string]int32 // tokens by their bytes, if a word that is a token is not to be built from its parts; else nil
	cache  wordCache
}

// append appends the tokens of a word.
func (b *bpe) append(ids []int32, word string) []int32 {
	if b.whole != nil {
		if id, ok := b.whole[word]; ok {
			return append(ids, id)
		}
	}
	if len(word) == 1 {
		return append(ids, b.bytes[word[0]])
	}
	if cached, ok := b.cache.get(word); ok {
		return append(ids, cached...)
	}
	start := len(ids)
	ids = b.merge(ids, word)
	b.cache.put(word, ids[start:])
	return ids
}

// symbol is a token of a word under way, linked to its neighbours; a merged pair lives on in its left symbol.
type symbol struct {
	id         int32 // -1 once it is merged into its left neighbour
	prev, next int32 // -1 at the ends
}

// candidate is a pair that could be merged when it was pushed. It is stale if the symbols have changed since.
type candidate struct {
	rank, position int32
	pair           pair
	id             int32
}

// candidates is a heap by rank, then by position.
type candidates []candidate

func (c candidates) Len() int      { return len(c) }
func (c candidates) Swap(i, j int) { c[i], c[j] = c[j], c[i] }
func (c candidates) Less(i, j int) bool {
	return c[i].rank < c[j].rank || c[i].rank == c[j].rank && c[i].position < c[j].position
}
func (c *candidates) Push(x any) { *c = append(*c, x.(candidate)) }
func (c *candidates) Pop() any {
	last := (*c)[len(*c)-1]
	*c = (*c)[:len(*c)-1]
	return last
}

// merge runs in O(n log n) of the word's bytes, so that a word of megabytes, which any text may hold, stays harmless.
func (b *bpe) merge(ids []int32, word string) []int32 {
	symbols := make([]symbol, len(word))
	for i := range symbols {
		symbols[i] = symbol{id: b.bytes[word[i]], prev: int32(i) - 1, next: int32(i) + 1}
	}
	symbols[len(symbols)-1].next = -1
	var queue candidates
	candidateAt := func(i int32) (candidate, bool) {
		if i < 0 || symbols[i].next < 0 {
			return candidate{}, false
		}
		p := pair{symbols[i].id, symbols[symbols[i].next].id}
		m, ok := b.merges[p]
		return candidate{m.rank, i, p, m.id}, ok
	}
	for i := range symbols {
		if c, ok := candidateAt(int32(i)); ok {
			queue = append(queue, c)
		}
	}
	heap.Init(&queue)
	for len(queue) > 0 {
		c := heap.Pop(&queue).(candidate)
		left := &symbols[c.position]
		if left.id != c.pair.left || left.next < 0 || symbols[left.next].id != c.pair.right {
			continue
		}
		right := &symbols[left.next]
		left.id, right.id = c.id, -1
		left.next = right.next
		if left.next >= 0 {
			symbols[left.next].prev = c.position
		}
		for _, i := range []int32{left.prev, c.position} {
			if next, ok := candidateAt(i); ok {
				heap.Push(&queue, next)
			}
		}
	}
	for i := int32(0); i >= 0; i = symbols[i].next {
		ids = append(ids, symbols[i].id)
	}
	return ids
}

// Bounds on what is remembered: words of a text repeat, hostile ones do not.
const (
	maxCachedWords     = 1 << 16
	maxCachedWordBytes = 64
)

// wordCache remembers the tokens of words.
type wordCache struct {
	mu    sync.RWMutex
	words map[string][]int32
}

func (c *wordCache) get(word string) ([]int32, bool) {
	if len(word) > maxCachedWordBytes {
		return nil, false
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	ids, ok := c.words[word]
	return ids, ok
}

func (c *wordCache) put(word string, ids []int32) {
	if len(word) > maxCachedWordBytes {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.words == nil || len(c.words) >= maxCachedWords {
		c.words = make(map[string][]int32)
	}
	// The word is a part of a text that may be large: a copy lets go of it.
	c.words[string([]byte(word))] = append([]int32(nil), ids...)
}
