package ckpt

import (
	"encoding/binary"
	"fmt"
	"math"
)

// finiteBlock is how many bytes are summed up before the verdict is looked at: long enough to hide the test, short
// enough that finding the culprit costs nothing.
const finiteBlock = 1 << 14

// CheckFinite returns a *NonFiniteError for the first NaN or infinity in t.
//
// An element is one of these where its exponent bits are all ones. Adding one to the exponent of the absolute value
// then, and only then, carries into the sign bit, so a 64-bit word checks two or four elements at once and no branch
// is taken in a block.
func CheckFinite(t Tensor) (err error) {
	defer catchFault(t.where(), &err)()
	if err := t.check(); err != nil {
		return err
	}
	var abs, one uint64
	switch t.DType {
	case F32:
		abs, one = 0x7fffffff7fffffff, 0x0080000000800000
	case F16:
		abs, one = 0x7fff7fff7fff7fff, 0x0400040004000400
	case BF16:
		abs, one = 0x7fff7fff7fff7fff, 0x0080008000800080
	default:
		return fmt.Errorf("tensor %.100q: %w: found %s, expected F32, F16 or BF16", t.Name, ErrDType, t.DType)
	}
	for start := 0; start < len(t.Data); start += finiteBlock {
		block := t.Data[start:min(start+finiteBlock, len(t.Data))]
		var carry uint64
		for ; len(block) >= 32; block = block[32:] {
			carry |= (binary.LittleEndian.Uint64(block)&abs + one) |
				(binary.LittleEndian.Uint64(block[8:])&abs + one) |
				(binary.LittleEndian.Uint64(block[16:])&abs + one) |
				(binary.LittleEndian.Uint64(block[24:])&abs + one)
		}
		if carry&^abs != 0 || len(block) > 0 {
			if err := findNonFinite(t, start/t.DType.Size(), min(finiteBlock, len(t.Data)-start)/t.DType.Size()); err != nil {
				return err
			}
		}
	}
	return nil
}

// ReadFinite copies the data from byte at on, whole elements, into dst and returns a *NonFiniteError for the first NaN or infinity there.
func (t Tensor) ReadFinite(dst []byte, at int) error {
	if err := copyMapped(t.where(), dst, t.Data[at:]); err != nil {
		return err
	}
	size := max(t.DType.Size(), 1)
	err := CheckFinite(Tensor{t.Name, t.DType, []int{len(dst) / size}, dst})
	if bad, ok := err.(*NonFiniteError); ok {
		bad.Index += at / size
	}
	return err
}

// findNonFinite looks at n elements from index start, one by one.
func findNonFinite(t Tensor, start, n int) error {
	size := t.DType.Size()
	values := make([]float32, n)
	if err := DecodeFloat32(values, t.Data[start*size:(start+n)*size], t.DType); err != nil {
		return err
	}
	err := checkFiniteFloats(t.Name, values)
	if bad, ok := err.(*NonFiniteError); ok {
		bad.Index += start
	}
	return err
}

// checkFiniteFloats returns a *NonFiniteError for the first NaN or infinity in values.
func checkFiniteFloats(name string, values []float32) error {
	for i, x := range values {
		if math.Float32bits(x)&0x7f800000 == 0x7f800000 {
			return &NonFiniteError{Tensor: name, Index: i, Value: x}
		}
	}
	return nil
}
