package ckpt

import "fmt"

// DType is the type of a tensor's elements, under the name that safetensors gives it.
type DType string

// Element types. Only F32, F16 and BF16 can be read as numbers here; the others may lie in a file beside them.
const (
	F32  DType = "F32"
	F16  DType = "F16"
	BF16 DType = "BF16"
)

// elementSize maps the types that a safetensors file may hold to bytes per element. The sub-byte types of newer files
// (F4, F6) are not in it: nothing here could skip over them by elements.
var elementSize = map[DType]int{
	F32: 4, F16: 2, BF16: 2,
	"F64": 8, "I64": 8, "U64": 8, "C64": 8, "I32": 4, "U32": 4, "I16": 2, "U16": 2, "I8": 1, "U8": 1, "BOOL": 1,
	"F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "F8_E4M3FNUZ": 1, "F8_E5M2FNUZ": 1,
}

// Size returns the bytes per element, 0 for an unknown type.
func (d DType) Size() int { return elementSize[d] }

// Numeric says whether tensors of this type can be read as float32.
func (d DType) Numeric() bool { return d == F32 || d == F16 || d == BF16 }

// Tensor is a named array in row-major order. Data may alias a memory-mapped file: it is read-only then, and valid
// until the reader it came from is closed, and only this package's functions read it safely where another program may cut the file short.
type Tensor struct {
	Name  string
	DType DType
	Shape []int  // nil or empty for a scalar
	Data  []byte // little-endian, DType.Size() bytes per element
}

// Len returns the number of elements that Shape says.
func (t Tensor) Len() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// where names the tensor in errors.
func (t Tensor) where() string { return fmt.Sprintf("tensor %.100q", t.Name) }

// check says whether dtype, shape and data belong together.
func (t Tensor) check() error {
	n, err := byteSize(t.DType, t.Shape)
	if err != nil {
		return fmt.Errorf("tensor %.100q: %w", t.Name, err)
	}
	if n != int64(len(t.Data)) {
		return fmt.Errorf("tensor %.100q: found %d bytes, expected %d for %s %v", t.Name, len(t.Data), n, t.DType, t.Shape)
	}
	return nil
}

// maxTensorBytes bounds one tensor, so that products of lying dimensions cannot overflow.
const maxTensorBytes = int64(1) << 46

// byteSize returns the bytes of a tensor of this type and shape.
func byteSize(d DType, shape []int) (int64, error) {
	n := int64(d.Size())
	if n == 0 {
		return 0, fmt.Errorf("dtype %.100q is not known", d)
	}
	empty := false
	for _, dim := range shape {
		switch {
		case dim < 0:
			return 0, fmt.Errorf("shape %v: dimension %d is negative", shape, dim)
		case dim == 0:
			empty = true
		case int64(dim) > maxTensorBytes/n:
			return 0, fmt.Errorf("shape %v: more than %d bytes", shape, maxTensorBytes)
		default:
			n *= int64(dim)
		}
	}
	if empty {
		return 0, nil
	}
	return n, nil
}
