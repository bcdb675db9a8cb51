package engine

import "slices"

// span is a stretch of free slots.
type span struct{ from, to int32 }

// slotPool hands out stretches of a cache's slots, first fit; free neighbours merge.
type slotPool struct {
	free []span // ascending, never touching
	size int32
}

func newSlotPool(n int) *slotPool {
	return &slotPool{free: []span{{0, int32(n)}}, size: int32(n)}
}

// take returns the start of n slots, with the parity of `parity`; the slot before an odd start goes with it (from). ok is false where no
// stretch is long enough.
func (p *slotPool) take(n, parity int32) (from, start int32, ok bool) {
	for i, s := range p.free {
		start := s.from + (s.from^parity)&1
		if start+n > s.to {
			continue
		}
		if p.free[i].from = start + n; start+n == s.to {
			p.free = slices.Delete(p.free, i, i+1)
		}
		return s.from, start, true
	}
	return 0, 0, false
}

// give returns slots from..to.
func (p *slotPool) give(from, to int32) {
	if from >= to {
		return
	}
	i, _ := slices.BinarySearchFunc(p.free, from, func(s span, f int32) int { return int(s.from - f) })
	if i > 0 && p.free[i-1].to == from {
		i--
		p.free[i].to = to
	} else {
		p.free = slices.Insert(p.free, i, span{from, to})
	}
	if i+1 < len(p.free) && p.free[i].to == p.free[i+1].from {
		p.free[i].to = p.free[i+1].to
		p.free = slices.Delete(p.free, i+1, i+2)
	}
}

// total counts the free slots.
func (p *slotPool) total() (n int32) {
	for _, s := range p.free {
		n += s.to - s.from
	}
	return n
}
