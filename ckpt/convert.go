package ckpt

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
)

// Float32s returns the tensor's elements as new float32 values. Widening is exact: subnormals, infinities and the
// payloads of NaNs survive. ErrDType for a type that is no float of 16 or 32 bits.
func (t Tensor) Float32s() (dst []float32, err error) {
	defer catchFault(t.where(), &err)()
	if err := t.check(); err != nil {
		return nil, err
	}
	dst = make([]float32, t.Len())
	if err := DecodeFloat32(dst, t.Data, t.DType); err != nil {
		return nil, fmt.Errorf("tensor %.100q: %w", t.Name, err)
	}
	return dst, nil
}

// DecodeFloat32 widens little-endian elements of type d into dst. len(src) is len(dst)*d.Size().
func DecodeFloat32(dst []float32, src []byte, d DType) error {
	if err := checkConversion(len(dst), len(src), d); err != nil {
		return err
	}
	switch d {
	case F32:
		for i := range dst {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
		}
	case BF16:
		for i := range dst {
			dst[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(src[2*i:])) << 16)
		}
	case F16:
		for i := range dst {
			h := uint32(binary.LittleEndian.Uint16(src[2*i:]))
			if (h+0x0400)&0x7800 != 0 { // normal, nearly all there are: the exponent is neither 0 nor 31
				dst[i] = math.Float32frombits(h&0x8000<<16 | (h&0x7fff<<13 + (127-15)<<23))
			} else {
				dst[i] = math.Float32frombits(widenHalf(h))
			}
		}
	}
	return nil
}

// EncodeFloat32 writes src as little-endian elements of type d into dst, rounded to the nearest, ties to even; what is
// too large becomes an infinity, a NaN stays a NaN. len(dst) is len(src)*d.Size().
func EncodeFloat32(dst []byte, src []float32, d DType) error {
	if err := checkConversion(len(src), len(dst), d); err != nil {
		return err
	}
	switch d {
	case F32:
		for i, x := range src {
			binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(x))
		}
	case BF16:
		for i, x := range src {
			binary.LittleEndian.PutUint16(dst[2*i:], narrowBrain(math.Float32bits(x)))
		}
	case F16:
		for i, x := range src {
			f := math.Float32bits(x)
			if abs := f & 0x7fffffff; abs-0x38800000 < 0x47000000-0x38800000 { // 2^-14 to 2^15: normal before and after
				abs -= (127 - 15) << 23
				binary.LittleEndian.PutUint16(dst[2*i:], uint16(f>>16&0x8000|(abs+0xfff+abs>>13&1)>>13))
			} else {
				binary.LittleEndian.PutUint16(dst[2*i:], narrowHalf(f))
			}
		}
	}
	return nil
}

// Float32Tensor returns a tensor of type d with src's elements, rounded to the nearest even.
func Float32Tensor(name string, d DType, shape []int, src []float32) (Tensor, error) {
	t := Tensor{Name: name, DType: d, Shape: shape, Data: make([]byte, len(src)*d.Size())}
	if err := EncodeFloat32(t.Data, src, d); err != nil {
		return Tensor{}, fmt.Errorf("tensor %.100q: %w", name, err)
	}
	return t, t.check()
}

func checkConversion(elements, nBytes int, d DType) error {
	if !d.Numeric() {
		return fmt.Errorf("%w: found %s, expected F32, F16 or BF16", ErrDType, d)
	}
	if elements*d.Size() != nBytes {
		return fmt.Errorf("found %d bytes, expected %d for %d elements of %s", nBytes, elements*d.Size(), elements, d)
	}
	return nil
}

// widenHalf returns the float32 bits of the binary16 number h, which is not normal.
func widenHalf(h uint32) uint32 {
	sign, exponent, mantissa := h&0x8000<<16, h>>10&31, h&0x3ff
	switch {
	case exponent == 31: // infinity or NaN
		return sign | 0x7f800000 | mantissa<<13
	case mantissa == 0:
		return sign
	}
	// A subnormal m*2^-24 is a normal float32: its highest bit, at position k, becomes the implicit one. Integer
	// work only, so that a thread set to flush subnormals to zero gives the same bits.
	k := uint32(bits.Len32(mantissa)) - 1
	return sign | (k+127-24)<<23 | mantissa<<(23-k)&0x7fffff
}

// narrowHalf returns the binary16 number nearest to the float32 with bits f, ties to even.
func narrowHalf(f uint32) uint16 {
	sign, abs := uint16(f>>16&0x8000), f&0x7fffffff
	switch {
	case abs > 0x7f800000: // NaN: keep the upper payload, made quiet so that it cannot become an infinity
		return sign | 0x7e00 | uint16(abs>>13&0x3ff)
	case abs >= 0x47800000: // >= 2^16
		return sign | 0x7c00
	case abs >= 0x38800000: // >= 2^-14: normal; a carry out of the mantissa is the next exponent, or infinity
		abs -= (127 - 15) << 23
		return sign | uint16((abs+0xfff+abs>>13&1)>>13)
	case abs < 0x33000000: // < 2^-25, half the smallest subnormal
		return sign
	}
	shift := 126 - abs>>23 // the mantissa in units of 2^-24; 14..24
	m := abs&0x7fffff | 0x800000
	return sign | uint16((m+(1<<(shift-1)-1)+m>>shift&1)>>shift)
}

// narrowBrain returns the bfloat16 number nearest to the float32 with bits f, ties to even.
func narrowBrain(f uint32) uint16 {
	if f&0x7fffffff > 0x7f800000 { // NaN: rounding could carry it into an infinity
		return uint16(f>>16) | 0x40
	}
	return uint16((f + 0x7fff + f>>16&1) >> 16)
}
