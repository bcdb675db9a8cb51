package flow

import (
	"cmp"
	"slices"
	"sort"
)

// compareSequences orders sequences by the tokens of their rows, then by index. In that order the sequences below any
// node of their prefix tree lie side by side, and the rows that a sequence shares with any before it are those that it
// shares with the one just before it: their common prefix.
func compareSequences(a, b Sequence) int {
	return cmp.Or(slices.Compare(a.path(), b.path()), cmp.Compare(a.Index, b.Index))
}

func compareTargets(a, b Target) int {
	return cmp.Or(cmp.Compare(a.Row, b.Row), cmp.Compare(a.Token, b.Token), cmp.Compare(a.Index, b.Index))
}

// CommonPrefix returns how many tokens a and b have in common from their beginnings on.
func CommonPrefix(a, b []int32) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// head is the first row of a run while a forest is built.
type head struct {
	row, parent int32 // parent is the row before it on its path; -1 at a root
	depth       int32
}

// build returns the forest of sequences that are in the order of compareSequences. Each appends the rows that it does
// not share with the one before; where two part, the rows after the parting begin runs.
func build(seqs []Sequence) Forest {
	var rows, targets, longest int
	shared := make([]int, len(seqs)) // rows shared with the sequence before
	for i, s := range seqs {
		if i > 0 {
			shared[i] = CommonPrefix(seqs[i-1].path(), s.path())
		}
		rows += s.Rows() - shared[i]
		targets += len(s.Tokens) - s.Start
		longest = max(longest, s.Rows())
	}
	f := Forest{
		Tokens:    make([]int32, 0, rows),
		Positions: make([]int32, 0, rows),
		Targets:   make([]Target, 0, targets),
	}
	rowAt := make([]int32, longest) // of each position on the current sequence's path
	var heads []head
	before := 0 // rows of the sequence before
	for i, s := range seqs {
		path, from := s.path(), shared[i]
		if from < len(path) && (from < before || from == 0) {
			parent := int32(-1)
			if from > 0 {
				parent = rowAt[from-1]
				heads = append(heads, head{rowAt[from], parent, int32(from)})
			}
			heads = append(heads, head{int32(len(f.Tokens)), parent, int32(from)})
		}
		for p := from; p < len(path); p++ {
			rowAt[p] = int32(len(f.Tokens))
			f.Tokens = append(f.Tokens, path[p])
			f.Positions = append(f.Positions, int32(p))
		}
		for k, token := range s.Tokens[s.Start:] {
			f.Targets = append(f.Targets, Target{Row: rowAt[s.Start+k-1], Token: token, Index: int32(s.Index + k)})
		}
		before = len(path)
	}
	slices.SortFunc(f.Targets, compareTargets)
	f.Runs = runs(heads, int32(rows))
	return f
}

// runs returns the runs that begin at the heads given, in any order, a head more than once if more than two branches
// part there.
func runs(heads []head, rows int32) []Run {
	slices.SortFunc(heads, func(a, b head) int { return cmp.Compare(a.row, b.row) })
	heads = slices.CompactFunc(heads, func(a, b head) bool { return a.row == b.row })
	rs := make([]Run, len(heads))
	for i, h := range heads {
		end := rows
		if i+1 < len(heads) {
			end = heads[i+1].row
		}
		parent := int32(-1)
		if h.parent >= 0 { // the last run that begins at or before the parent row
			parent = int32(sort.Search(i, func(j int) bool { return heads[j].row > h.parent })) - 1
		}
		rs[i] = Run{Start: h.row, Len: end - h.row, Parent: parent, Depth: h.depth}
	}
	return rs
}
