package index

import (
	"context"
	"math"
	"slices"
)

// BM25's constants, those of SQLite's FTS5 (Robertson & Zaragoza 2009, "The Probabilistic Relevance Framework").
const (
	bm25K = 1.2
	bm25B = 0.75
)

// idf is the information in nats that a term carries which stands in df of n passages; never negative.
func idf(n, df int) float64 {
	return math.Log1p((float64(n-df) + 0.5) / (float64(df) + 0.5))
}

// Rank orders the passages of one text by BM25 against a query and gives the best k that match at all. Ties keep the
// order of the text; the error is that of ctx. It is for texts that were not indexed beforehand, such as one web page.
func Rank(ctx context.Context, text string, passages []Passage, k int) ([]Passage, error) {
	terms := query(text)
	if len(terms) == 0 || len(passages) == 0 {
		return nil, nil
	}
	place := map[string]int{}
	for i, t := range terms {
		place[t.word] = i
	}
	counts := make([][]int, len(passages)) // [passage][term]
	lengths := make([]int, len(passages))
	df := make([]int, len(terms))
	total := 0
	for i, p := range passages {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		counts[i] = make([]int, len(terms))
		for _, w := range words(p.Section + "\n" + p.Text) {
			lengths[i]++
			if t, ok := place[w]; ok {
				counts[i][t]++
			}
		}
		total += lengths[i]
		for t, c := range counts[i] {
			if c > 0 {
				df[t]++
			}
		}
	}
	mean := max(float64(total)/float64(len(passages)), 1)
	var found []Passage
	for i, p := range passages {
		p.Score = 0
		for t, c := range counts[i] {
			tf := float64(c)
			p.Score += idf(len(passages), df[t]) * tf * (bm25K + 1) / (tf + bm25K*(1-bm25B+bm25B*float64(lengths[i])/mean))
		}
		if p.Score > 0 {
			found = append(found, p)
		}
	}
	slices.SortStableFunc(found, func(a, b Passage) int {
		switch {
		case a.Score > b.Score:
			return -1
		case a.Score < b.Score:
			return 1
		}
		return 0
	})
	return found[:min(k, len(found))], nil
}
