package cpu

import (
	"slices"
	"testing"

	"afctl/kernels"
	"pgregory.net/rapid"
)

// The tiles of a batch give every query the keys of its path, in order, wherever its neighbours' paths part from it and however each is cut into
// segments; what sorted paths share is there once per tile.
func TestBatchGivesEveryQueryItsPath(t *testing.T) {
	var p plan
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
					path = append(path, kernels.Seg{Slot: k, Len: 1})
				}
			}
			paths = append(paths, path)
		}
		sorted := rapid.Bool().Draw(t, "sorted")
		if sorted {
			slices.SortStableFunc(paths, kernels.ComparePaths)
		}
		p.heads = kernels.Heads{Query: group * kvHeads, KeyValue: kvHeads}
		p.Reset()
		p.AddBatch(nil)
		next := int32(rapid.IntRange(0, 1).Draw(t, "one before") * min(len(paths), 1))
		if next > 0 {
			p.AddBatch(paths[:1])
			paths = append(paths[:1:1], paths...)
		}
		before := len(p.tiles)
		p.AddBatch(paths[next:])
		for i, tile := range p.tiles[before:] {
			if tile.row != next || tile.rows < 1 || tile.before != -tile.rows {
				t.Fatalf("tile %d: found queries %d+%d (%d before), expected them from %d on and no run of their own", i, tile.row, tile.rows, tile.before, next)
			}
			segs := p.segs[tile.seg0 : tile.seg0+tile.nseg]
			once := make(map[int32]int32) // key and the queries that see it
			for q := range tile.rows {
				var got, want []kernels.Seg
				most := int32(0)
				for _, s := range segs {
					if s.from <= q && q < s.to {
						got = append(got, kernels.Seg{Slot: s.slot, Len: s.len})
						most += s.len
					}
				}
				want = paths[next]
				if kernels.ComparePaths(got, want) != 0 || most > tile.keys {
					t.Fatalf("query %d: found %v, expected %v, and no more than %d keys", next, got, want, tile.keys)
				}
				next++
			}
			for _, s := range segs {
				if s.slot != s.row || int(s.slot+s.len) > p.reach {
					t.Fatalf("tile %d: found row %d at slot %d, in a plan that reaches to %d", i, s.row, s.slot, p.reach)
				}
				for k := range s.len {
					once[s.row+k]++
				}
			}
			for k, n := range once {
				if sorted && n > 1 {
					t.Fatalf("tile %d: key %d is there %d times", i, k, n)
				}
			}
		}
		if int(next) != len(paths) || p.queries != len(paths) {
			t.Fatalf("found %d queries in tiles (%d), expected %d", next, p.queries, len(paths))
		}
	})
}
