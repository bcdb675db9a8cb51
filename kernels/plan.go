package kernels

// Run is a stretch of rows without a branch, as attention plans are made from: rows Start..Start+Len, Parent the index of the run
// that it continues (-1 at a root, and before its children), Depth the position of its first row.
type Run struct{ Start, Len, Parent, Depth int32 }

const (
	// tileLanes bounds the (row, head) pairs of a tile; tileScores their product with the keys, but for what fills the last vector of 16, so
	// that a tile's scores (f32) take about half of a 1 MiB second-level cache.
	tileLanes  = 192
	tileScores = 1 << 17
	// partialSums is how many chunks times kv heads the backward pass is cut into, enough for that many threads.
	partialSums = 8
)

// Build fills p for a forest of runs over T rows, group query heads sharing a kv head of kvHeads. rows, if not nil, are the query
// rows wanted, ascending: query i is then row rows[i], and the keys are still all T rows. p's slices are reused.
func (p *Plan) Build(runs []Run, rows []int32, group, kvHeads int) {
	p.Reset()
	// Slots: rows in order, with a gap where a run's first position has the other parity.
	slot := int32(0)
	for _, r := range runs {
		slot += (slot ^ r.Depth) & 1
		for range r.Len {
			p.Slots = append(p.Slots, slot)
			slot++
		}
	}
	p.NumSlots = int(slot+1) &^ 1
	next := 0
	for _, r := range runs {
		first := int32(len(p.Segs))
		p.ancestors(runs, r.Parent)
		nseg := int32(len(p.Segs)) - first
		used := false
		// Stretches of consecutive query rows within the run.
		for at := r.Start; at < r.Start+r.Len; {
			q, n := at, r.Start+r.Len-at
			if rows != nil {
				for next < len(rows) && rows[next] < at {
					next++
				}
				if next == len(rows) || rows[next] >= r.Start+r.Len {
					break
				}
				at, q, n = rows[next], int32(next), 1
				for next+int(n) < len(rows) && rows[next+int(n)] == at+n && at+n < r.Start+r.Len {
					n++
				}
			}
			p.Add(q, n, first, nseg, r.Start, p.Slots[r.Start], at-r.Start, r.Depth, group)
			at += n
			used = true
		}
		if !used {
			p.Segs = p.Segs[:first]
		}
	}
	p.chunk(kvHeads)
}

// ancestors appends the segments of the path to run i, from the root.
func (p *Plan) ancestors(runs []Run, i int32) {
	if i < 0 {
		return
	}
	p.ancestors(runs, runs[i].Parent)
	r := runs[i]
	p.Segs = append(p.Segs, Seg{Row: r.Start, Slot: p.Slots[r.Start], Len: r.Len})
}

// Reset empties p, its memory kept.
func (p *Plan) Reset() {
	p.Tiles, p.Segs, p.Chunks, p.Slots, p.NumSlots = p.Tiles[:0], p.Segs[:0], p.Chunks[:0], p.Slots[:0], 0
}

// Add appends tiles for n queries from query q on: they attend to segments seg0..seg0+nseg and, the first of them, to before+1 keys of
// their own run, which begins at key row ownRow (slot ownSlot) and position depth. group query heads share a kv head.
func (p *Plan) Add(q, n, seg0, nseg, ownRow, ownSlot, before, depth int32, group int) {
	for n > 0 {
		keys := int(depth + before + n)
		lanes := min(tileLanes, max(16, (tileScores/keys+15)&^15))
		rows := min(n, int32(max(1, lanes/group)))
		p.Tiles = append(p.Tiles, Tile{Row: q, Rows: rows, Seg0: seg0, NSeg: nseg, OwnRow: ownRow, OwnSlot: ownSlot, Before: before,
			Keys: depth + before + rows})
		q, before, n = q+rows, before+rows, n-rows
	}
}

// chunk cuts the tiles into parts of about equal work.
func (p *Plan) chunk(kvHeads int) {
	parts := max(1, partialSums/kvHeads)
	total := 0
	for _, t := range p.Tiles {
		total += int(t.Rows) * int(t.Keys)
	}
	p.Chunks = append(p.Chunks, 0)
	done := 0
	for i, t := range p.Tiles {
		done += int(t.Rows) * int(t.Keys)
		if done*parts >= total*len(p.Chunks) && len(p.Chunks) < parts {
			p.Chunks = append(p.Chunks, int32(i+1))
		}
	}
	if p.Chunks[len(p.Chunks)-1] != int32(len(p.Tiles)) {
		p.Chunks = append(p.Chunks, int32(len(p.Tiles)))
	}
}
