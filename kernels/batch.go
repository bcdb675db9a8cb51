package kernels

// ComparePaths orders paths of keys by the rows that they lead over, a path before those that go on from its end: paths that begin alike then
// stand together, however each is cut into segments.
func ComparePaths(a, b []Seg) int {
	var i, j int
	var x, y int32 // keys of a[i] and b[j] that were compared
	for i < len(a) && j < len(b) {
		if d := a[i].Row + x - b[j].Row - y; d != 0 {
			return int(d)
		}
		n := min(a[i].Len-x, b[j].Len-y)
		if x += n; x == a[i].Len {
			i, x = i+1, 0
		}
		if y += n; y == b[j].Len {
			j, y = j+1, 0
		}
	}
	return (len(a) - i) - (len(b) - j)
}

// AddBatch appends tiles for queries q, q+1, ..., each with the path of keys that it attends to (its own among them), in the order of
// ComparePaths: what neighbours share is a segment of both. group query heads share a kv head of kvHeads.
func (p *Plan) AddBatch(q int32, paths [][]Seg, group, kvHeads int) {
	// Tiles enough for some threads, but not so many that the blocks of a product become small.
	parts := max(1, partialSums/kvHeads)
	most := min(max((len(paths)+parts-1)/parts, (64+group-1)/group), max(1, tileLanes/group))
	for len(paths) > 0 {
		n := (len(paths) + most - 1) / most // tiles to go
		n = (len(paths) + n - 1) / n
		seg0 := len(p.Segs)
		for p.share(paths[:n]); n > 1 && p.scores(seg0, group) > tileScores; p.share(paths[:n]) {
			p.Segs, n = p.Segs[:seg0], n/2
		}
		keys := int32(0)
		for _, path := range paths[:n] {
			k := int32(0)
			for _, s := range path {
				k += s.Len
			}
			keys = max(keys, k)
		}
		p.Tiles = append(p.Tiles, Tile{Row: q, Rows: int32(n), Seg0: int32(seg0), NSeg: int32(len(p.Segs) - seg0), Before: -int32(n), Keys: keys})
		q, paths = q+int32(n), paths[n:]
	}
}

// cursor is a place on a path: segment i, of which at keys are behind.
type cursor struct{ i, at int32 }

// share appends the segments of the tree that paths are.
func (p *Plan) share(paths [][]Seg) {
	p.cursors = append(p.cursors[:0], make([]cursor, len(paths))...)
	p.branch(paths, 0, int32(len(paths)))
}

// branch appends what is left of paths from..to, which have the same keys behind them.
func (p *Plan) branch(paths [][]Seg, from, to int32) {
	for from < to {
		c := p.cursors[from]
		if int(c.i) == len(paths[from]) { // ends here
			from++
			continue
		}
		s := paths[from][c.i]
		s.Row, s.Slot, s.Len = s.Row+c.at, s.Slot+c.at, s.Len-c.at
		end := from + 1
		for ; end < to; end++ {
			d := p.cursors[end]
			if int(d.i) == len(paths[end]) || paths[end][d.i].Row+d.at != s.Row {
				break
			}
			s.Len = min(s.Len, paths[end][d.i].Len-d.at)
		}
		for k := from; k < end; k++ {
			d := &p.cursors[k]
			if d.at += s.Len; d.at == paths[k][d.i].Len {
				d.i, d.at = d.i+1, 0
			}
		}
		s.From, s.To = from, end
		p.Segs = append(p.Segs, s)
		if end == from+1 {
			continue // a path alone: the rest of it
		}
		p.branch(paths, from, end)
		from = end
	}
}

// scores counts what a tile with the segments from seg0 on holds per kv head.
func (p *Plan) scores(seg0, group int) int {
	n := 0
	for _, s := range p.Segs[seg0:] {
		n += int(s.Len) * (int(s.To-s.From)*group + 15)
	}
	return n
}
