package cpu

import (
	"slices"
	"testing"

	"afctl/kernels"
	"pgregory.net/rapid"
)

// anyForest draws runs, and query rows or nil.
func anyForest(t *rapid.T) (runs []kernels.Run, rows []int32) {
	start := int32(0)
	for i := range rapid.IntRange(0, 10).Draw(t, "runs") {
		r := kernels.Run{Start: start, Len: rapid.Int32Range(1, 300).Draw(t, "len"), Parent: rapid.Int32Range(-1, int32(i)-1).Draw(t, "parent")}
		if r.Parent >= 0 {
			r.Depth = runs[r.Parent].Depth + runs[r.Parent].Len
		}
		runs = append(runs, r)
		start += r.Len
	}
	if rapid.Bool().Draw(t, "some rows") {
		rows = []int32{}
		for row := int32(0); row < start; row++ {
			if rapid.IntRange(0, 3).Draw(t, "wanted") == 0 {
				rows = append(rows, row)
			}
		}
	}
	return runs, rows
}

// keysOf is what row of run r attends to, in order of depth.
func keysOf(runs []kernels.Run, r, row int32) []int32 {
	var keys []int32
	for p := runs[r].Parent; p >= 0; p = runs[p].Parent {
		for i := runs[p].Len - 1; i >= 0; i-- {
			keys = append(keys, runs[p].Start+i)
		}
	}
	slices.Reverse(keys)
	for k := runs[r].Start; k <= row; k++ {
		keys = append(keys, k)
	}
	return keys
}

// The tiles of a plan give every query exactly the keys of its path, in order of depth, and slots keep the parity of positions.
func TestPlanGivesEveryQueryItsPath(t *testing.T) {
	var p plan // reused, as a trainer does
	rapid.Check(t, func(t *rapid.T) {
		runs, rows := anyForest(t)
		group, kvHeads := rapid.IntRange(1, 14).Draw(t, "group"), rapid.IntRange(1, 9).Draw(t, "kv heads")
		p.heads = kernels.Heads{Query: group * kvHeads, KeyValue: kvHeads}
		p.Forest(runs, rows)

		runOf := make([]int32, len(p.slots))
		taken := make(map[int32]bool)
		for i, r := range runs {
			for k := range r.Len {
				row := r.Start + k
				runOf[row] = int32(i)
				slot := p.slots[row]
				if taken[slot] || int(slot) >= p.rowLen || (slot^(r.Depth+k))&1 != 0 || (k > 0 && slot != p.slots[row-1]+1) {
					t.Fatalf("row %d at position %d: slot %d of %d, the row before at %d", row, r.Depth+k, slot, p.rowLen, p.slots[max(row-1, 0)])
				}
				taken[slot] = true
			}
		}
		if p.rowLen%2 != 0 {
			t.Fatalf("found %d slots, expected an even number", p.rowLen)
		}
		if rows == nil {
			for row := range p.slots {
				rows = append(rows, int32(row))
			}
		}
		next := int32(0)
		for i, tile := range p.tiles {
			if tile.row != next || tile.rows < 1 {
				t.Fatalf("tile %d: found queries %d+%d, expected them from %d on", i, tile.row, tile.rows, next)
			}
			var path []int32
			for _, s := range p.segs[tile.seg0 : tile.seg0+tile.nseg] {
				for k := range s.len {
					path = append(path, s.row+k)
					if p.slots[s.row+k] != s.slot+k {
						t.Fatalf("tile %d: key row %d at slot %d, expected %d", i, s.row+k, s.slot+k, p.slots[s.row+k])
					}
				}
			}
			if p.slots[tile.ownRow] != tile.ownSlot {
				t.Fatalf("tile %d: own slot %d, expected %d", i, tile.ownSlot, p.slots[tile.ownRow])
			}
			for q := range tile.rows {
				keys := slices.Clone(path)
				for k := range tile.before + q + 1 {
					keys = append(keys, tile.ownRow+k)
				}
				row := rows[next]
				if want := keysOf(runs, runOf[row], row); !slices.Equal(keys, want) {
					t.Fatalf("query %d (row %d): found keys %v, expected %v", next, row, keys, want)
				}
				if q == tile.rows-1 && int(tile.keys) != len(keys) {
					t.Fatalf("tile %d: found %d keys, expected %d", i, tile.keys, len(keys))
				}
				next++
			}
		}
		if int(next) != len(rows) {
			t.Fatalf("found %d queries in tiles, expected %d", next, len(rows))
		}
		// Chunks cut the tiles in order; with the kv heads they are at most as many as the partial sums of a backward pass.
		if p.chunks[0] != 0 || p.chunks[len(p.chunks)-1] != int32(len(p.tiles)) || !slices.IsSorted(p.chunks) {
			t.Fatalf("found chunks %v of %d tiles", p.chunks, len(p.tiles))
		}
		if n := len(p.chunks) - 1; n > max(1, 8/kvHeads) {
			t.Fatalf("found %d chunks for %d kv heads", n, kvHeads)
		}
	})
}

// A plan that has been as large before is filled without allocating.
func TestPlanReusesItsMemory(t *testing.T) {
	runs := []kernels.Run{{Start: 0, Len: 100, Parent: -1}, {Start: 100, Len: 7, Parent: 0, Depth: 100}, {Start: 107, Len: 9, Parent: 0, Depth: 100}}
	paths := [][]kernels.Seg{{{Len: 3}}, {{Len: 3}, {Slot: 5, Len: 2}}, {{Len: 3}, {Slot: 9, Len: 1}}}
	p := plan{heads: kernels.Heads{Query: 14, KeyValue: 2}}
	fill := func() {
		p.Forest(runs, nil)
		p.Reset()
		p.Add(1, paths[1])
		p.AddBatch(paths)
	}
	fill()
	if n := testing.AllocsPerRun(10, fill); n != 0 {
		t.Errorf("found %v allocations, expected 0", n)
	}
}
