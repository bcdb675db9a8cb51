package kernels

import (
	"fmt"
	"unsafe"
)

// Arena lays tensors over one allocation, front to back. The same calls after Reset give the same tensors, so a step that
// fits once fits always and allocates nothing. A zero Arena measures: its tensors have no memory, and Size tells what
// they would take.
type Arena struct {
	b     Backend
	whole Tensor
	size  int // bytes there are; 0: measuring
	used  int
	most  int
}

// arenaAlign is the alignment of every tensor of an arena: a cache line, and what 64-byte vectors want.
const arenaAlign = 64

// NewArena allocates an arena of nBytes and writes all of it once: the first step finds its pages there, as every later one does. ErrShape for none:
// an arena without memory measures, and its tensors are none.
func NewArena(b Backend, nBytes int) (*Arena, error) {
	if nBytes < 1 {
		return nil, shapeErr("arena", "%d bytes, expected at least 1", nBytes)
	}
	t, err := b.Alloc(F32, 1, (nBytes+3)/4)
	if err != nil {
		return nil, fmt.Errorf("arena of %d MiB: %w", nBytes>>20, err)
	}
	if err := b.Zero(t); err != nil {
		b.Free(t)
		return nil, fmt.Errorf("arena of %d MiB: %w", nBytes>>20, err)
	}
	return &Arena{b: b, whole: t, size: t.Cols * 4}, nil
}

// Tensor takes the next rows x cols elements, not cleared.
func (a *Arena) Tensor(d DType, rows, cols int) (Tensor, error) {
	n := (rows*cols*d.Size() + arenaAlign - 1) &^ (arenaAlign - 1)
	at := a.used
	a.used += n
	a.most = max(a.most, a.used)
	t := Tensor{Rows: rows, Cols: cols, Stride: cols, DType: d}
	if a.size == 0 {
		return t, nil
	}
	if a.used > a.size {
		a.used = at
		return Tensor{}, fmt.Errorf("arena: %d bytes wanted of %d, %d taken: %w", n, a.size, at, ErrMemory)
	}
	t.Ptr = unsafe.Add(a.whole.Ptr, at)
	return t, nil
}

// Reset gives everything back.
func (a *Arena) Reset() { a.used = 0 }

// Size returns the most bytes that were ever taken at once.
func (a *Arena) Size() int { return a.most }

// Free returns the memory to the back end.
func (a *Arena) Free() {
	if a != nil && a.size > 0 {
		a.b.Free(a.whole)
		*a = Arena{}
	}
}

// Capacity returns the bytes that the arena has; 0 for a measuring one.
func (a *Arena) Capacity() int {
	if a == nil {
		return 0
	}
	return a.size
}
