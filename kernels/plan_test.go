package kernels_test

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
	var p kernels.Plan // reused, as a trainer does
	rapid.Check(t, func(t *rapid.T) {
		runs, rows := anyForest(t)
		group, kvHeads := rapid.IntRange(1, 14).Draw(t, "group"), rapid.IntRange(1, 9).Draw(t, "kv heads")
		p.Build(runs, rows, group, kvHeads)

		runOf := make([]int32, len(p.Slots))
		taken := make(map[int32]bool)
		for i, r := range runs {
			for k := range r.Len {
				row := r.Start + k
				runOf[row] = int32(i)
				slot := p.Slots[row]
				if taken[slot] || int(slot) >= p.NumSlots || (slot^(r.Depth+k))&1 != 0 || (k > 0 && slot != p.Slots[row-1]+1) {
					t.Fatalf("row %d at position %d: slot %d of %d, the row before at %d", row, r.Depth+k, slot, p.NumSlots, p.Slots[max(row-1, 0)])
				}
				taken[slot] = true
			}
		}
		if p.NumSlots%2 != 0 {
			t.Fatalf("found %d slots, expected an even number", p.NumSlots)
		}
		if rows == nil {
			for row := range p.Slots {
				rows = append(rows, int32(row))
			}
		}
		next := int32(0)
		for i, tile := range p.Tiles {
			if tile.Row != next || tile.Rows < 1 {
				t.Fatalf("tile %d: found queries %d+%d, expected them from %d on", i, tile.Row, tile.Rows, next)
			}
			var path []int32
			for _, s := range p.Segs[tile.Seg0 : tile.Seg0+tile.NSeg] {
				for k := range s.Len {
					path = append(path, s.Row+k)
					if p.Slots[s.Row+k] != s.Slot+k {
						t.Fatalf("tile %d: key row %d at slot %d, expected %d", i, s.Row+k, s.Slot+k, p.Slots[s.Row+k])
					}
				}
			}
			if p.Slots[tile.OwnRow] != tile.OwnSlot {
				t.Fatalf("tile %d: own slot %d, expected %d", i, tile.OwnSlot, p.Slots[tile.OwnRow])
			}
			for q := range tile.Rows {
				keys := slices.Clone(path)
				for k := range tile.Before + q + 1 {
					keys = append(keys, tile.OwnRow+k)
				}
				row := rows[next]
				if want := keysOf(runs, runOf[row], row); !slices.Equal(keys, want) {
					t.Fatalf("query %d (row %d): found keys %v, expected %v", next, row, keys, want)
				}
				if q == tile.Rows-1 && int(tile.Keys) != len(keys) {
					t.Fatalf("tile %d: found %d keys, expected %d", i, tile.Keys, len(keys))
				}
				next++
			}
		}
		if int(next) != len(rows) {
			t.Fatalf("found %d queries in tiles, expected %d", next, len(rows))
		}
		// Chunks cut the tiles in order; with the kv heads they are at most as many as the partial sums of a backward pass.
		if p.Chunks[0] != 0 || p.Chunks[len(p.Chunks)-1] != int32(len(p.Tiles)) || !slices.IsSorted(p.Chunks) {
			t.Fatalf("found chunks %v of %d tiles", p.Chunks, len(p.Tiles))
		}
		if n := len(p.Chunks) - 1; n > max(1, 8/kvHeads) {
			t.Fatalf("found %d chunks for %d kv heads", n, kvHeads)
		}
	})
}

// A plan that has been as large before is built without allocating.
func TestPlanReusesItsMemory(t *testing.T) {
	runs := []kernels.Run{{Start: 0, Len: 100, Parent: -1}, {Start: 100, Len: 7, Parent: 0, Depth: 100}, {Start: 107, Len: 9, Parent: 0, Depth: 100}}
	var p kernels.Plan
	p.Build(runs, nil, 7, 2)
	paths := [][]kernels.Seg{{{Len: 3}}, {{Len: 3}, {Row: 5, Slot: 5, Len: 2}}, {{Len: 3}, {Row: 9, Slot: 9, Len: 1}}}
	p.AddBatch(0, paths, 7, 2)
	if n := testing.AllocsPerRun(10, func() { p.Build(runs, nil, 7, 2); p.AddBatch(0, paths, 7, 2) }); n != 0 {
		t.Errorf("found %v allocations, expected 0", n)
	}
}
