package flow

import (
	"cmp"
	"math"
	"slices"
)

// Forests returns the sequences' prefix forest, in micro-batches of at most budget rows; budget <= 0 is no limit, and
// gives one forest. Every target is in exactly one micro-batch. A sequence is never parted, so one whose rows alone
// exceed the budget (and with it those that share all their rows with it) makes a micro-batch larger than that: the
// bound is max(budget, longest sequence).
//
// The forest is cut between trees, and within a tree that is too large along subtrees, where a cut repeats no more than
// the path to the root: at the places that repeat the fewest rows in all. The pieces are then packed into as few
// micro-batches as best fit finds. Sequences without targets leave no rows. The result depends on the set of sequences
// and the budget only, not on the order, provided that indices differ. Every sequence needs 1 <= Start <= len(Tokens):
// a target at position 0 is left out.
func Forests(seqs []Sequence, budget int) []Forest {
	if budget <= 0 || budget > math.MaxInt32 {
		budget = math.MaxInt32 // rows are int32
	}
	sorted := make([]Sequence, 0, len(seqs))
	for _, s := range seqs {
		if s.Start < 1 {
			s.Index, s.Start = s.Index+1-s.Start, 1
		}
		if s.Rows() > 0 {
			sorted = append(sorted, s)
		}
	}
	slices.SortFunc(sorted, compareSequences)
	batches := pack(cut(sorted, budget), budget)
	forests := make([]Forest, len(batches))
	var members []Sequence
	for i, batch := range batches {
		members = members[:0]
		for _, p := range batch {
			members = append(members, sorted[p.from:p.to]...)
		}
		forests[i] = build(members)
	}
	return forests
}

// piece is a stretch of the sorted sequences, from..to, with the number of rows of its prefix forest.
type piece struct{ from, to, rows int }

// cut parts the sorted sequences into pieces of at most budget rows, each within one tree, that repeat the fewest rows
// possible.
//
// Write l[i] for the rows that sequence i shares with the one before it, and s[i] for the rows of the forest of the
// first i sequences. A piece [a,b) has l[a] + s[b] - s[a] rows, so that cutting before a repeats l[a] rows and nothing
// else. The cheapest cuts of the first b sequences thus follow from those of fewer by a minimum over the pieces
// [a,b) that fit; as b grows, the least a that fits does not fall, so the minimum is over a sliding window and is kept
// in a monotone queue: linear in the number of sequences.
func cut(seqs []Sequence, budget int) []piece {
	n := len(seqs)
	shared, total := make([]int, n+1), make([]int, n+1)
	for i, s := range seqs {
		if i > 0 {
			shared[i] = CommonPrefix(seqs[i-1].path(), s.path())
		}
		total[i+1] = total[i] + s.Rows() - shared[i]
	}
	rows := func(a, b int) int { return shared[a] + total[b] - total[a] }

	cost := make([]int, n+1) // rows repeated by the first a sequences, and by beginning a piece at a
	from := make([]int, n+1) // where the last piece of the first b sequences begins
	window := []int{0}       // candidates for a, costs not falling
	for b := 1; b <= n; b++ {
		// One sequence always makes a piece, and so does one with all those that share every row with it.
		limit := max(budget, seqs[b-1].Rows())
		for rows(window[0], b) > limit {
			window = window[1:]
		}
		from[b] = window[0]
		cost[b] = cost[window[0]] + shared[b]
		if shared[b] == 0 { // another tree: cutting is free, and small pieces pack best
			window = window[:0]
		}
		for len(window) > 0 && cost[window[len(window)-1]] > cost[b] {
			window = window[:len(window)-1]
		}
		window = append(window, b)
	}
	var pieces []piece
	for b := n; b > 0; b = from[b] {
		pieces = append(pieces, piece{from[b], b, rows(from[b], b)})
	}
	slices.Reverse(pieces)
	return pieces
}

// pack puts pieces together into micro-batches of at most budget rows by best fit, the largest first: 11/9 of the
// fewest possible, but for a constant (Johnson 1974). Pieces keep their order within a micro-batch, and micro-batches
// that of their first pieces.
func pack(pieces []piece, budget int) [][]piece {
	largestFirst := slices.Clone(pieces)
	slices.SortStableFunc(largestFirst, func(a, b piece) int { return cmp.Compare(b.rows, a.rows) })
	type bin struct{ room, batch int }
	var batches [][]piece
	var open []bin // by room
	for _, p := range largestFirst {
		i, _ := slices.BinarySearchFunc(open, p.rows, func(b bin, rows int) int { return cmp.Compare(b.room, rows) })
		b := bin{budget, len(batches)}
		if i < len(open) {
			b = open[i]
			open = slices.Delete(open, i, i+1)
		} else {
			batches = append(batches, nil)
		}
		batches[b.batch] = append(batches[b.batch], p)
		if b.room -= p.rows; b.room > 0 {
			i, _ = slices.BinarySearchFunc(open, b.room, func(b bin, room int) int { return cmp.Compare(b.room, room) })
			open = slices.Insert(open, i, b)
		}
	}
	first := func(a, b piece) int { return cmp.Compare(a.from, b.from) }
	for _, b := range batches {
		slices.SortFunc(b, first)
	}
	slices.SortFunc(batches, func(a, b []piece) int { return first(a[0], b[0]) })
	return batches
}
