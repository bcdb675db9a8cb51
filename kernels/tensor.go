package kernels

import (
	"errors"
	"fmt"
	"unsafe"
)

// Errors that callers can act on.
var (
	ErrShape  = errors.New("shapes or dtypes do not fit")
	ErrMemory = errors.New("out of memory")
)

// DType is the type of a tensor's elements.
type DType int32

// Element types. The values are those of the C side.
const (
	F32  DType = 0
	BF16 DType = 1
	I32  DType = 2
)

// Size returns the bytes of one element.
func (d DType) Size() int {
	if d == BF16 {
		return 2
	}
	return 4
}

// String names the type as safetensors does.
func (d DType) String() string {
	switch d {
	case F32:
		return "F32"
	case BF16:
		return "BF16"
	case I32:
		return "I32"
	}
	return fmt.Sprintf("dtype %d", int32(d))
}

// Tensor is a view of Rows x Cols elements in a back end's memory, row-major with Stride elements from row to row. The
// zero value is "none".
type Tensor struct {
	Ptr                unsafe.Pointer // in the back end's memory, never Go's
	Rows, Cols, Stride int
	DType              DType
}

// None reports whether t is the zero value.
func (t Tensor) None() bool { return t.Ptr == nil }

// RowRange is rows from..to of t.
func (t Tensor) RowRange(from, to int) Tensor {
	t.Ptr = unsafe.Add(t.Ptr, from*t.Stride*t.DType.Size())
	t.Rows = to - from
	return t
}

// ColRange is columns from..to of t.
func (t Tensor) ColRange(from, to int) Tensor {
	t.Ptr = unsafe.Add(t.Ptr, from*t.DType.Size())
	t.Cols = to - from
	return t
}

// Dense reports whether t's rows follow each other without a gap.
func (t Tensor) Dense() bool { return t.Stride == t.Cols }

// String gives the type and shape.
func (t Tensor) String() string {
	if t.None() {
		return "none"
	}
	return fmt.Sprintf("%v[%d %d]", t.DType, t.Rows, t.Cols)
}
