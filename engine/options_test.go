package engine

import (
	"math/rand/v2"
	"slices"
	"testing"

	"afctl/flow"
)

// Without a budget, micro-batches are larger than usual only where that computes fewer prefixes twice, and memory allows it.
func TestForestsWithoutBudget(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	family := func(shared, own, n int) (seqs []flow.Sequence) {
		stem := tokens(rng, shared, 1000)
		for i := range n {
			s := slices.Concat(stem, tokens(rng, own, 1000))
			seqs = append(seqs, flow.Sequence{Tokens: s, Start: len(s) - 10, Index: 10 * i})
		}
		return seqs
	}
	for _, c := range []struct {
		name   string
		s      benchShape
		budget int
		seqs   []flow.Sequence
		most   int // rows of the largest micro-batch
		rows   int // of all
	}{
		{"a long prefix", benchToy, 0, family(1500, 900, 8), 8700, 8700},
		{"the same, of a larger model", benchQ05x4, 0, family(1500, 900, 8), 8700, 8700},
		{"of one that leaves no room", benchQ05, 0, family(1500, 900, 8), 3300, 8700 + 3*1500},
		{"a budget given", benchToy, 5200, family(1500, 900, 8), 5100, 8700 + 1500},
		{"a short prefix", benchToy, 0, family(100, 900, 8), 3700, 7300 + 100},
		{"nothing shared", benchToy, 0, family(0, 900, 8), 3600, 7200},
	} {
		e := &Engine{cfg: c.s.cfg, opts: Options{DType: c.s.dtype, MicroBatchTokens: c.budget}}
		most, rows := 0, 0
		for _, f := range e.forests(c.seqs) {
			most, rows = max(most, len(f.Tokens)), rows+len(f.Tokens)
		}
		// The last token of a sequence predicts nothing and has no row.
		if n := len(c.seqs); rows < c.rows-n || rows > c.rows || most < c.most-n || most > c.most {
			t.Errorf("%s: %d rows, at most %d at once; expected %d and %d", c.name, rows, most, c.rows, c.most)
		}
	}
}
