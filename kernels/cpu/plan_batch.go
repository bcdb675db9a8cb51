package cpu

import "afctl/kernels"

// AddBatch implements kernels.Plan: what neighbours share is one segment.
func (p *plan) AddBatch(paths [][]kernels.Seg) {
	if p.forest {
		p.refuse("queries on a cache, added to those of a forest")
	}
	for _, path := range paths {
		p.reaches(path)
	}
	if p.err != nil {
		return
	}
	// Tiles enough for some threads, but not so many that the blocks of a product become small.
	group, parts := p.group(), max(1, partialSums/p.heads.KeyValue)
	most := min(max((len(paths)+parts-1)/parts, (64+group-1)/group), max(1, tileLanes/group))
	for len(paths) > 0 {
		n := (len(paths) + most - 1) / most // tiles to go
		n = (len(paths) + n - 1) / n
		seg0 := len(p.segs)
		for p.share(paths[:n]); n > 1 && p.scores(seg0, group) > tileScores; p.share(paths[:n]) {
			p.segs, n = p.segs[:seg0], n/2
		}
		keys := int32(0)
		for _, path := range paths[:n] {
			k := int32(0)
			for _, s := range path {
				k += s.Len
			}
			keys = max(keys, k)
		}
		p.tiles = append(p.tiles, tile{row: int32(p.queries), rows: int32(n), seg0: int32(seg0), nseg: int32(len(p.segs) - seg0), before: -int32(n), keys: keys})
		p.queries += n
		paths = paths[n:]
	}
}

// cursor is a place on a path: segment i, of which at keys are behind.
type cursor struct{ i, at int32 }

// share appends the segments of the tree that paths are.
func (p *plan) share(paths [][]kernels.Seg) {
	p.cursors = append(p.cursors[:0], make([]cursor, len(paths))...)
	p.branch(paths, 0, int32(len(paths)))
}

// branch appends what is left of paths from..to, which have the same keys behind them.
func (p *plan) branch(paths [][]kernels.Seg, from, to int32) {
	for from < to {
		c := p.cursors[from]
		if int(c.i) == len(paths[from]) { // ends here
			from++
			continue
		}
		k := paths[from][c.i]
		s := seg{row: k.Slot + c.at, slot: k.Slot + c.at, len: k.Len - c.at}
		end := from + 1
		for ; end < to; end++ {
			d := p.cursors[end]
			if int(d.i) == len(paths[end]) || paths[end][d.i].Slot+d.at != s.slot {
				break
			}
			s.len = min(s.len, paths[end][d.i].Len-d.at)
		}
		for k := from; k < end; k++ {
			d := &p.cursors[k]
			if d.at += s.len; d.at == paths[k][d.i].Len {
				d.i, d.at = d.i+1, 0
			}
		}
		s.from, s.to = from, end
		p.segs = append(p.segs, s)
		if end == from+1 {
			continue // a path alone: the rest of it
		}
		p.branch(paths, from, end)
		from = end
	}
}

// scores counts what a tile with the segments from seg0 on holds per kv head.
func (p *plan) scores(seg0, group int) int {
	n := 0
	for _, s := range p.segs[seg0:] {
		if s.to-s.from == 1 { // keys along vectors
			n += (int(s.len) + 15) * group
		} else {
			n += int(s.len) * (int(s.to-s.from)*group + 15)
		}
	}
	return n
}
