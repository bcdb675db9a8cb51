package conformance

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"afctl/kernels"
)

// Head counts: sizes below, at and above a vector, groups of 1, 2 and 7.
var attentionHeads = []kernels.Heads{{Query: 1, KeyValue: 1, Dim: 2}, {Query: 2, KeyValue: 2, Dim: 8}, {Query: 4, KeyValue: 2, Dim: 16}, {Query: 7, KeyValue: 1, Dim: 24},
	{Query: 4, KeyValue: 2, Dim: 64}, {Query: 2, KeyValue: 1, Dim: 128}, {Query: 14, KeyValue: 2, Dim: 8}}

func attentionCases() []Case {
	var cases []Case
	add := func(f Forest) {
		for _, d := range floats {
			f.DType, f.DKV = d, d
			f.Seed++
			cases = append(cases, f.Case())
		}
	}
	r := newRand("attention")
	for i, n := range attentionHeads {
		gap := i % 3 * 4
		add(Forest{Heads: n, Gap: gap, Runs: Chain(1)})
		add(Forest{Heads: n, Gap: gap, Runs: Chain(65)})
		add(Forest{Heads: n, Gap: gap, Runs: Chain(3, 4, 1, 1, 2)})
		few, many := RandomRuns(r, 9, 5), RandomRuns(r, 12, 30)
		add(Forest{Heads: n, Gap: gap, Runs: few})
		add(Forest{Heads: n, Gap: gap, Runs: few, Rows: subset(r, few, 3)})
		add(Forest{Heads: n, Gap: gap, Runs: many, Rows: subset(r, many, 5)})
	}
	n := attentionHeads[2]
	add(Forest{Heads: n, Runs: RandomRuns(r, 14, 40)})
	add(Forest{Heads: n, Runs: nil})                          // no rows
	add(Forest{Heads: n, Runs: Chain(7, 2), Rows: []int32{}}) // keys, and no queries
	for _, n := range attentionHeads[4:6] {                   // whole tiles without a gap
		runs := RandomRuns(r, 8, 48)
		add(Forest{Heads: n, Runs: runs})
		add(Forest{Heads: n, Runs: runs, Rows: subset(r, runs, 3)})
	}
	add(Forest{Heads: n, Runs: Chain(131, 129, 3)})                                                                         // beyond the parts of a backward pass, from even and odd slots
	add(Forest{Heads: attentionHeads[1], Runs: Chain(1101, 3), Rows: []int32{0, 5, 700, 701, 702, 1090, 1100, 1101, 1103}}) // many keys
	cases = append(cases, Forest{Heads: n, Runs: Chain(5, 9, 4), DType: kernels.BF16, DKV: kernels.F32}.Case())
	return cases
}

// subset is about one row in every n, in stretches; at least the last.
func subset(r *rand.Rand, runs []kernels.Run, n int) []int32 {
	var rows []int32
	last := runs[len(runs)-1].Start + runs[len(runs)-1].Len - 1
	for row := int32(0); row < last; row++ {
		if r.IntN(n) == 0 {
			rows = append(rows, row)
			if r.IntN(2) == 0 && row+1 < last {
				row++
				rows = append(rows, row)
			}
		}
	}
	return append(rows, last)
}

// cacheInput is a sequence with its keys and values in a cache: stretches of it, each at slots of its own.
type cacheInput struct {
	forestInput
	forest  Forest
	slots   []int32 // of every position
	starts  []int32 // first position of each stretch, then the length
	order   []int   // of the queries
	garbage []float64
}

const cacheSlots = 500

// longStretch is more keys of one query than a back end may take at a time.
const longStretch = 171

func cacheCases() []Case {
	var cases []Case
	for i, n := range attentionHeads {
		for _, d := range floats {
			for _, long := range []int32{0, longStretch} {
				cases = append(cases, cacheCase(n, d, i%2, long, false), cacheCase(n, d, i%2, long, true))
			}
		}
	}
	return cases
}

// cacheCase checks that attention over a cache that KVPut filled, wherever the stretches of a sequence stand in it as long as a slot has the parity of its
// position, gives what the same sequence gives as a forest of one run, in value or (sameBits) to the bit: for every query alone, in any order, for all as a
// batch that shares its beginnings, for two of them that share little, and for several of a stretch together. The last stretch has `long` positions more.
func cacheCase(n kernels.Heads, d kernels.DType, seed int, long int32, sameBits bool) Case {
	wk := n.KeyValue * n.Dim
	name := fmt.Sprintf("attention.cache/%v.H%d.K%d.Dh%d.long%d", d, n.Query, n.KeyValue, n.Dim, long)
	if sameBits {
		name = "exact/" + name
	}
	c := newCase(name, func(r *rand.Rand) (in cacheInput) {
		in.forest = Forest{Heads: n, DType: d, DKV: d, Runs: Chain(97 + int32(seed) + long)}
		if sameBits {
			in.forestInput = in.forest.cancelling(r)
		} else {
			in.forestInput = in.forest.prepare(r)
		}
		in.garbage = normals(r, d, cacheSlots*wk, 100)
		t := int32(in.forest.T())
		// Stretches of 1..20 positions, put into the cache from a shuffled order with random gaps between.
		var ends []int32
		for at := int32(0); at < t; at = ends[len(ends)-1] {
			in.starts = append(in.starts, at)
			end := min(t-long, at+1+r.Int32N(20))
			if end == t-long {
				end = t
			}
			ends = append(ends, end)
		}
		in.slots = make([]int32, t)
		free := int32(0)
		for _, s := range r.Perm(len(ends)) {
			free += 2 * r.Int32N(3)
			free += (free ^ in.starts[s]) & 1
			for at := in.starts[s]; at < ends[s]; at++ {
				in.slots[at] = free
				free++
			}
		}
		if free > cacheSlots {
			panic(fmt.Sprintf("the cache of the case is too small: %d slots", free))
		}
		in.starts = append(in.starts, t)
		in.order = r.Perm(int(t))
		return in
	}, func(p *probe, in cacheInput) {
		f, t := in.forest, in.forest.T()
		x := f.lay(p, in.forestInput)
		var o, lse []float32
		if sameBits {
			p.must(x.attend(p))
			o, lse = p.read(x.o), p.read(x.lse)
		}
		kv := p.newKV(d, cacheSlots, n)
		var all []int32
		for s := range int32(cacheSlots) {
			all = append(all, s)
		}
		garbage := p.in("garbage", d, cacheSlots, wk, 0, in.garbage)
		p.must(p.KVPut(kv, garbage.Tensor, garbage.Tensor, p.ints(all)))
		for from := 0; from < t; from += 40 { // in several calls, as a sampler fills it
			to := min(t, from+40)
			p.must(p.KVPut(kv, x.k.RowRange(from, to), x.v.RowRange(from, to), p.ints(in.slots[from:to])))
		}
		// path is the keys of position row, cut as they stand in the cache.
		path := func(row int32) (path []kernels.Seg) {
			for s := 0; in.starts[s] <= row; s++ {
				at := in.starts[s]
				path = append(path, kernels.Seg{Slot: in.slots[at], Len: min(in.starts[s+1], row+1) - at})
			}
			return path
		}
		var order []int32
		var paths [][]kernels.Seg
		for _, row := range in.order {
			order = append(order, int32(row))
			paths = append(paths, path(int32(row)))
		}
		wq := n.Query * n.Dim
		plan := x.plan
		plan.Reset()
		attend := func(what string, rows []int32) {
			q := p.in("q of "+what, d, len(rows), wq, 0, take(in.q, rows, wq))
			got, gotLSE := p.out("o of "+what, d, len(rows), wq, 0), p.out("lse of "+what, kernels.F32, len(rows), n.Query, 0)
			p.must(p.AttentionKV(got.Tensor, gotLSE.Tensor, q.Tensor, kv, plan, f.scale()))
			if sameBits {
				p.same("o of "+what, p.read(got), pick(o, rows, wq))
				p.same("lse of "+what, p.read(gotLSE), pick(lse, rows, n.Query))
			} else {
				p.expect(got, in.o.rows(rows, wq))
				p.expect(gotLSE, in.lse.rows(rows, n.Query))
			}
			plan.Reset()
		}
		for _, path := range paths {
			plan.Add(1, path)
		}
		attend("single queries", order)
		// The same queries as requests that are decoded together: each with a path of its own, which begins like the others'.
		plan.AddBatch(paths)
		attend("queries of a batch in any order", order)
		pair := []int32{3, int32(t) - 1}
		plan.AddBatch([][]kernels.Seg{path(pair[0]), path(pair[1])})
		attend("two queries of a batch", pair)
		slices.SortFunc(paths, kernels.ComparePaths)
		plan.AddBatch(paths)
		attend("queries of a batch", f.queries())
		for i, last := range in.starts[1:] {
			plan.Add(int(last-in.starts[i]), path(last-1))
		}
		attend("whole stretches", f.queries())
		p.must(p.KVZero(kv))
		for _, zero := range []kernels.KV{kv, p.newKV(d, 6, n)} {
			plan.Reset()
			plan.Add(1, []kernels.Seg{{Slot: 1, Len: 5}})
			o := p.out("o of zeros", d, 1, wq, 0)
			p.must(p.AttentionKV(o.Tensor, p.out("lse of zeros", kernels.F32, 1, n.Query, 0).Tensor, x.q.RowRange(0, 1), zero, plan, f.scale()))
			p.same("o of zeros", p.read(o), make([]float32, wq))
		}
	})
	c.RowsExact = sameBits
	return c
}

// pick is the given rows of x.
func pick[E any](x []E, rows []int32, width int) []E {
	var y []E
	for _, r := range rows {
		y = append(y, x[int(r)*width:int(r+1)*width]...)
	}
	return y
}
