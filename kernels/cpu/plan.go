package cpu

import (
	"fmt"
	"math"

	"afctl/kernels"
)

// tile is a block of query rows, as attention works through it: row..row+rows attend to segments seg0..seg0+nseg of the plan (the
// ancestors, by depth), and query i to the first before+i+1 keys of a run that the tile belongs to, whose first key is row ownRow (slot
// ownSlot); before is -rows in a tile without such a run, whose segments say which queries they are for. keys counts all that the last query
// sees, without such a run the most that any does. Laid out as af_tile.
type tile struct {
	row, rows       int32
	seg0, nseg      int32
	ownRow, ownSlot int32
	before, keys    int32
}

// seg is a stretch of keys: rows row..row+len, at slots slot..slot+len of the transposed copies. Queries from..to of a tile attend to it, all
// of them where to is 0. Laid out as af_seg.
type seg struct{ row, slot, len, from, to int32 }

// plan implements kernels.Plan.
type plan struct {
	heads kernels.Heads
	tiles []tile
	segs  []seg
	// chunks cut tiles for the backward pass: chunk i is tiles[chunks[i]:chunks[i+1]]. The cut depends on the plan alone, never on
	// the threads.
	chunks []int32
	// Of a forest: where each row stands in transposed copies whose rows are so long. A slot has the parity of its row's position.
	slots   []int32
	rowLen  int
	queries int
	forest  bool
	reach   int   // one past the last slot of a KV that any query attends to
	err     error // what it was filled with cannot be

	cursors []cursor // of AddBatch
}

// NewPlan implements kernels.Backend.
func (b *Backend) NewPlan(h kernels.Heads) (kernels.Plan, error) {
	if err := h.Check("plan"); err != nil {
		return nil, err
	}
	return &plan{heads: h}, nil
}

// FreePlan implements kernels.Backend: a plan is Go's memory.
func (b *Backend) FreePlan(kernels.Plan) {}

// turnedLen is the length of rows of a transposed copy with a column for each of `slots`: even, and not so that the rows, a multiple of
// 1 KiB apart, share a few sets of the caches.
func turnedLen(slots int) int {
	if slots = (slots + 1) &^ 1; slots > 0 && slots%256 == 0 {
		return slots + 48
	}
	return slots
}

const (
	// tileLanes bounds the (row, head) pairs of a tile; tileScores their product with the keys, but for what fills the last vector of 16, so
	// that a tile's scores (f32) take about half of a 1 MiB second-level cache.
	tileLanes  = 192
	tileScores = 1 << 17
	// partialSums is how many chunks times kv heads the backward pass is cut into, enough for that many threads.
	partialSums = 8
)

// group is how many query heads share one of keys and values.
func (p *plan) group() int { return p.heads.Query / p.heads.KeyValue }

// Reset implements kernels.Plan.
func (p *plan) Reset() {
	p.tiles, p.segs, p.chunks, p.slots = p.tiles[:0], p.segs[:0], p.chunks[:0], p.slots[:0]
	p.rowLen, p.queries, p.reach, p.forest, p.err = 0, 0, 0, false, nil
}

// Forest implements kernels.Plan.
func (p *plan) Forest(runs []kernels.Run, rows []int32) {
	p.Reset()
	if p.forest = true; !p.plausible(runs, rows) {
		return
	}
	// Slots: rows in order, with a gap where a run's first position has the other parity.
	slot := int32(0)
	for _, r := range runs {
		slot += (slot ^ r.Depth) & 1
		for range r.Len {
			p.slots = append(p.slots, slot)
			slot++
		}
	}
	p.rowLen = turnedLen(int(slot))
	next := 0
	for _, r := range runs {
		first := int32(len(p.segs))
		p.ancestors(runs, r.Parent)
		nseg := int32(len(p.segs)) - first
		used := false
		// Stretches of consecutive query rows within the run.
		for at := r.Start; at < r.Start+r.Len; {
			n := r.Start + r.Len - at
			if rows != nil {
				for next < len(rows) && rows[next] < at {
					next++
				}
				if next == len(rows) || rows[next] >= r.Start+r.Len {
					break
				}
				at, n = rows[next], 1
				for next+int(n) < len(rows) && rows[next+int(n)] == at+n && at+n < r.Start+r.Len {
					n++
				}
			}
			p.stretch(n, first, nseg, r.Start, p.slots[r.Start], at-r.Start, r.Depth)
			at += n
			used = true
		}
		if !used {
			p.segs = p.segs[:first]
		}
	}
	p.chunk()
}

// plausible refuses runs that do not follow one another, or do not continue their parents, and rows that do not ascend through them.
func (p *plan) plausible(runs []kernels.Run, rows []int32) bool {
	end := int32(0)
	for i, r := range runs {
		depth := int32(0)
		if r.Parent >= 0 && int(r.Parent) < i {
			depth = runs[r.Parent].Depth + runs[r.Parent].Len
		}
		if r.Start != end || r.Len < 1 || r.Len > math.MaxInt32-max(end, depth) || r.Parent < -1 || int(r.Parent) >= i || r.Depth != depth {
			p.refuse("run %d: %+v after %d rows", i, r, end)
			return false
		}
		end += r.Len
	}
	for i, row := range rows {
		if row < 0 || row >= end || i > 0 && row <= rows[i-1] {
			p.refuse("query %d: row %d of %d", i, row, end)
			return false
		}
	}
	return true
}

// refuse keeps the first reason why the plan cannot be.
func (p *plan) refuse(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf("plan: %s: %w", fmt.Sprintf(format, args...), kernels.ErrShape)
	}
}

// ancestors appends the segments of the path to run i, from the root.
func (p *plan) ancestors(runs []kernels.Run, i int32) {
	if i < 0 {
		return
	}
	p.ancestors(runs, runs[i].Parent)
	r := runs[i]
	p.segs = append(p.segs, seg{row: r.Start, slot: p.slots[r.Start], len: r.Len})
}

// Add implements kernels.Plan.
func (p *plan) Add(n int, path []kernels.Seg) {
	keys, seg0, last := p.reaches(path), int32(len(p.segs)), len(path)-1
	if p.forest {
		p.refuse("queries on a cache, added to those of a forest")
	}
	if p.err == nil && (n < 1 || n > int(path[last].Len)) {
		p.refuse("%d queries at the end of the path %v", n, path)
	}
	if p.err != nil {
		return
	}
	for _, s := range path[:last] {
		p.segs = append(p.segs, seg{row: s.Slot, slot: s.Slot, len: s.Len})
	}
	own := path[last]
	p.stretch(int32(n), seg0, int32(last), own.Slot, own.Slot, own.Len-int32(n), keys-own.Len)
}

// reaches counts in that a query attends to all of path, and returns how many keys that is.
func (p *plan) reaches(path []kernels.Seg) int32 {
	keys := 0
	if len(path) == 0 {
		p.refuse("a query without keys")
	}
	for _, s := range path {
		end := int(s.Slot) + int(s.Len)
		if keys += int(s.Len); s.Slot < 0 || s.Len < 1 || keys > math.MaxInt32 {
			p.refuse("slots %d..%d", s.Slot, end)
		}
		p.reach = max(p.reach, end)
	}
	return int32(keys)
}

// stretch appends tiles for n queries that follow one another: they attend to segments seg0..seg0+nseg and, the first of them, to before+1 keys of
// their own run, which begins at key row ownRow (slot ownSlot) and position depth.
func (p *plan) stretch(n, seg0, nseg, ownRow, ownSlot, before, depth int32) {
	for n > 0 {
		keys := int(depth + before + n)
		lanes := min(tileLanes, max(16, (tileScores/keys+15)&^15))
		rows := min(n, int32(max(1, lanes/p.group())))
		p.tiles = append(p.tiles, tile{row: int32(p.queries), rows: rows, seg0: seg0, nseg: nseg, ownRow: ownRow, ownSlot: ownSlot, before: before,
			keys: depth + before + rows})
		before, n = before+rows, n-rows
		p.queries += int(rows)
	}
}

// chunk cuts the tiles into parts of about equal work.
func (p *plan) chunk() {
	parts := max(1, partialSums/p.heads.KeyValue)
	total := 0
	for _, t := range p.tiles {
		total += int(t.rows) * int(t.keys)
	}
	p.chunks = append(p.chunks, 0)
	done := 0
	for i, t := range p.tiles {
		done += int(t.rows) * int(t.keys)
		if done*parts >= total*len(p.chunks) && len(p.chunks) < parts {
			p.chunks = append(p.chunks, int32(i+1))
		}
	}
	if p.chunks[len(p.chunks)-1] != int32(len(p.tiles)) {
		p.chunks = append(p.chunks, int32(len(p.tiles)))
	}
}
