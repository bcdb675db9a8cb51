package kernels_test

import (
	"slices"
	"testing"

	"afctl/kernels"
	"pgregory.net/rapid"
)

// The tiles of a batch give every query the keys of its path, in order, wherever its neighbours' paths part from it and however each is cut into
// segments; what sorted paths share is there once per tile.
func TestBatchGivesEveryQueryItsPath(t *testing.T) {
	var p kernels.Plan
	rapid.Check(t, func(t *rapid.T) {
		runs, _ := anyForest(t)
		group, kvHeads := rapid.IntRange(1, 20).Draw(t, "group"), rapid.IntRange(1, 9).Draw(t, "kv heads")
		var paths [][]kernels.Seg
		for range rapid.IntRange(0, 70).Draw(t, "queries") {
			if len(runs) == 0 {
				break
			}
			r := rapid.IntRange(0, len(runs)-1).Draw(t, "run")
			row := runs[r].Start + rapid.Int32Range(0, runs[r].Len-1).Draw(t, "row")
			var path []kernels.Seg
			keys := keysOf(runs, int32(r), row)
			for i, k := range keys {
				last := len(path) - 1
				if i > 0 && keys[i-1] == k-1 && rapid.IntRange(0, 20).Draw(t, "cut") > 0 {
					path[last].Len++
				} else {
					path = append(path, kernels.Seg{Row: k, Slot: k + 1000, Len: 1})
				}
			}
			paths = append(paths, path)
		}
		sorted := rapid.Bool().Draw(t, "sorted")
		if sorted {
			slices.SortStableFunc(paths, kernels.ComparePaths)
		}
		p.Reset()
		p.AddBatch(5, paths, group, kvHeads)
		next := int32(5)
		for i, tile := range p.Tiles {
			if tile.Row != next || tile.Rows < 1 || tile.Before != -tile.Rows {
				t.Fatalf("tile %d: found queries %d+%d (%d before), expected them from %d on and no run of their own", i, tile.Row, tile.Rows, tile.Before, next)
			}
			segs := p.Segs[tile.Seg0 : tile.Seg0+tile.NSeg]
			once := make(map[int32]int32) // key and the queries that see it
			for q := range tile.Rows {
				var got, want []kernels.Seg
				most := int32(0)
				for _, s := range segs {
					if s.From <= q && q < s.To {
						got = append(got, kernels.Seg{Row: s.Row, Slot: s.Slot, Len: s.Len})
						most += s.Len
					}
				}
				want = paths[next-5]
				if kernels.ComparePaths(got, want) != 0 || most > tile.Keys {
					t.Fatalf("query %d: found %v, expected %v, and no more than %d keys", next, got, want, tile.Keys)
				}
				next++
			}
			for _, s := range segs {
				if s.Slot != s.Row+1000 {
					t.Fatalf("tile %d: found row %d at slot %d, expected %d", i, s.Row, s.Slot, s.Row+1000)
				}
				for k := range s.Len {
					once[s.Row+k]++
				}
			}
			for k, n := range once {
				if sorted && n > 1 {
					t.Fatalf("tile %d: key %d is there %d times", i, k, n)
				}
			}
		}
		if int(next)-5 != len(paths) {
			t.Fatalf("found %d queries in tiles, expected %d", next-5, len(paths))
		}
	})
}
