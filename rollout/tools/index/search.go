package index

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// term is a term of a query and what it weighs.
type term struct {
	word string
	df   int // passages that have it
	idf  float64
}

// hit is a passage found, before its text is read.
type hit struct {
	id    int
	score float64
}

// Search gives the best k passages for a query, best first: the lead of every document whose title, or further name, the query is, then
// by BM25, the title counting more; ties go by the order in which documents were added. Passages that carry too little
// of what the query says are not found, so that the result may be empty. Any text is a query, and none is an error.
func (ix *Index) Search(ctx context.Context, text string, k int) ([]Passage, error) {
	words := query(text)
	if k <= 0 || len(words) == 0 {
		return nil, nil
	}
	fail := func(err error) ([]Passage, error) { return nil, fmt.Errorf("search %s: %w", ix.name, err) }
	order, err := ix.leads(ctx, text, k)
	if err != nil {
		return fail(err)
	}
	terms, err := ix.weigh(ctx, words)
	if err != nil {
		return fail(err)
	}
	ranked, err := ix.rank(ctx, terms, max(candidates, k))
	if err != nil {
		return fail(err)
	}
	leads := len(order)
	for _, h := range ranked {
		if i := slices.IndexFunc(order[:leads], func(l hit) bool { return l.id == h.id }); i >= 0 {
			order[i].score = h.score
		} else {
			order = append(order, h)
		}
	}
	var found []Passage
	for i, h := range order {
		if len(found) == k {
			break
		}
		p, err := ix.read(ctx, h)
		if err != nil {
			return fail(err)
		}
		if i < leads || coverage(&p, terms) >= minCoverage {
			found = append(found, p)
		}
	}
	return found, nil
}

// leads are the first passages of the documents whose title or further name the text is; the title that it is to the letter comes first (C, not C++).
func (ix *Index) leads(ctx context.Context, text string, k int) ([]hit, error) {
	text = strings.TrimSpace(text[:min(len(text), maxQueryBytes)])
	rows, err := ix.exact.QueryContext(ctx, key(text), text, k)
	return scan(rows, err, func(h *hit) []any { return []any{&h.id} })
}

// weigh looks up how much information each word carries in this collection; the heaviest come first. Plain
// words that stand nowhere are left out: the collection puts it otherwise. A name that stands nowhere weighs the most.
func (ix *Index) weigh(ctx context.Context, words []asked) ([]term, error) {
	var terms []term
	for _, a := range words {
		df, err := ix.dfs.of(ctx, a.word, ix.df)
		if err != nil {
			return nil, err
		}
		if df > 0 || a.name {
			terms = append(terms, term{word: a.word, df: df, idf: idf(ix.passages, df)})
		}
	}
	slices.SortStableFunc(terms, func(a, b term) int { return cmp.Compare(b.idf, a.idf) })
	return terms, nil
}

// rank gives the n best passages by BM25. A passage that has none of the heaviest terms, whose rest is less than
// minCoverage, would not be found anyway: only passages with one of those are looked at, so that a word which stands in
// every second passage costs nothing. Two queries make up for FTS5's lack of optional terms: what has a light term too
// has its full score from the first, what has none from the second.
func (ix *Index) rank(ctx context.Context, terms []term, n int) ([]hit, error) {
	rest := 0.0
	for _, t := range terms {
		rest += t.idf
	}
	floor := rest * minCoverage
	var heavy, light []string
	for _, t := range terms {
		quoted := `"` + strings.ReplaceAll(t.word, `"`, "") + `"`
		switch {
		case rest < floor && t.df > 0:
			if 2*t.df > ix.passages {
				break // FTS5 gives no weight to what stands in most passages
			}
			light = append(light, quoted)
		case t.df > 0:
			heavy = append(heavy, quoted)
		}
		rest -= t.idf
	}
	if len(heavy) == 0 {
		return nil, nil
	}
	either := "(" + strings.Join(heavy, " OR ") + ")"
	hits, err := ix.bm25(ctx, either, n)
	if err != nil || len(light) == 0 {
		return hits, err
	}
	full, err := ix.bm25(ctx, either+" AND ("+strings.Join(light, " OR ")+")", n)
	if err != nil {
		return nil, err
	}
	for _, h := range hits {
		if !slices.ContainsFunc(full, func(f hit) bool { return f.id == h.id }) {
			full = append(full, h)
		}
	}
	slices.SortFunc(full, func(a, b hit) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.id, b.id))
	})
	return full, nil
}

func (ix *Index) bm25(ctx context.Context, expression string, n int) ([]hit, error) {
	rows, err := ix.match.QueryContext(ctx, expression, n)
	return scan(rows, err, func(h *hit) []any { return []any{&h.id, &h.score} })
}

func scan(rows *sql.Rows, err error, into func(*hit) []any) ([]hit, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var hits []hit
	for rows.Next() {
		var h hit
		if err := rows.Scan(into(&h)...); err != nil {
			return nil, err
		}
		hits = append(hits, h)
	}
	return hits, rows.Err()
}

func (ix *Index) read(ctx context.Context, h hit) (Passage, error) {
	p := Passage{Score: h.score}
	err := ix.passage.QueryRowContext(ctx, h.id).Scan(&p.Title, &p.URL, &p.Section, &p.Text)
	return p, err
}

// coverage is the share of the query's information that a passage carries.
func coverage(p *Passage, terms []term) float64 {
	has := map[string]bool{}
	for _, w := range words(p.Title + "\n" + p.Section + "\n" + p.Text) {
		has[w] = true
	}
	found, all := 0.0, 0.0
	for _, t := range terms {
		all += t.idf
		if has[t.word] {
			found += t.idf
		}
	}
	return found / all
}

// maxKnownDFs bounds the cache of document frequencies.
const (
	maxKnownDFs  = 1 << 16
	maxKnownWord = 64 // bytes; longer words are counted each time
)

// dfCache remembers in how many passages a word stands, which SQLite counts anew each time.
type dfCache struct {
	mu    sync.RWMutex
	known map[string]int
}

func (c *dfCache) of(ctx context.Context, word string, count *sql.Stmt) (int, error) {
	c.mu.RLock()
	df, ok := c.known[word]
	c.mu.RUnlock()
	if ok {
		return df, nil
	}
	if err := count.QueryRowContext(ctx, word).Scan(&df); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		c.known = map[string]int{}
	}
	if len(c.known) < maxKnownDFs && len(word) <= maxKnownWord {
		c.known[word] = df
	}
	return df, nil
}
