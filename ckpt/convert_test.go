package ckpt

import (
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// smallFloat describes a 16-bit format of IEEE 754's kind, from which the tests compute values by the definition.
type smallFloat struct {
	dtype        DType
	mantissaBits int
	bias         int
}

var smallFloats = []smallFloat{{F16, 10, 15}, {BF16, 7, 127}}

// infinity is the pattern whose exponent is all ones and whose mantissa is zero.
func (s smallFloat) infinity() int { return 0x7fff >> s.mantissaBits << s.mantissaBits }

// value is the number that pattern i >= 0 up to infinity stands for; infinity itself counts as the next power of two,
// which is what rounding takes it for.
func (s smallFloat) value(i int) float64 {
	exponent, mantissa := i>>s.mantissaBits, i&(1<<s.mantissaBits-1)
	if exponent == 0 {
		return math.Ldexp(float64(mantissa), 1-s.bias-s.mantissaBits)
	}
	return math.Ldexp(float64(1<<s.mantissaBits+mantissa), exponent-s.bias-s.mantissaBits)
}

func widen(t testing.TB, d DType, pattern uint16) float32 {
	t.Helper()
	var out [1]float32
	if err := DecodeFloat32(out[:], binary.LittleEndian.AppendUint16(nil, pattern), d); err != nil {
		t.Fatal(err)
	}
	return out[0]
}

func narrow(t testing.TB, d DType, x float32) uint16 {
	t.Helper()
	var out [2]byte
	if err := EncodeFloat32(out[:], []float32{x}, d); err != nil {
		t.Fatal(err)
	}
	return binary.LittleEndian.Uint16(out[:])
}

// Every pattern has the value of its definition, and comes back as it was.
func TestWidenExact(t *testing.T) {
	for _, s := range smallFloats {
		for i := range 1 << 16 {
			pattern, abs := uint16(i), i&0x7fff
			x := widen(t, s.dtype, pattern)
			switch {
			case abs > s.infinity():
				if !math.IsNaN(float64(x)) {
					t.Fatalf("%s %#04x: %v, expected a NaN", s.dtype, pattern, x)
				}
				quiet := pattern | 1<<(s.mantissaBits-1) // only the quiet bit may change
				if back := narrow(t, s.dtype, x); back != pattern && back != quiet {
					t.Fatalf("%s: NaN %#04x comes back as %#04x", s.dtype, pattern, back)
				}
				continue
			case abs == s.infinity():
				if !math.IsInf(float64(x), 1-2*(i>>15)) {
					t.Fatalf("%s %#04x: %v, expected an infinity", s.dtype, pattern, x)
				}
			case math.Abs(float64(x)) != s.value(abs) || math.Signbit(float64(x)) != (i>>15 == 1):
				t.Fatalf("%s %#04x: found %v, expected %v", s.dtype, pattern, x, s.value(abs))
			}
			if back := narrow(t, s.dtype, x); back != pattern {
				t.Fatalf("%s: %#04x comes back as %#04x", s.dtype, pattern, back)
			}
		}
	}
}

// Around every boundary between two neighbours, the halfway point goes to the even one and the float32 numbers beside
// it go to their own side; both signs.
func TestNarrowRoundsToNearestEven(t *testing.T) {
	for _, s := range smallFloats {
		for i := range s.infinity() {
			middle := float32((s.value(i) + s.value(i+1)) / 2)
			if float64(middle) != (s.value(i)+s.value(i+1))/2 {
				continue // below float32's own spacing: bfloat16's subnormals
			}
			even := i + i&1
			for x, want := range map[float32]int{
				math.Nextafter32(middle, 0): i,
				middle:                      even,
				math.Nextafter32(middle, float32(math.Inf(1))): i + 1,
			} {
				if got := narrow(t, s.dtype, x); int(got) != want {
					t.Fatalf("%s: %v becomes %#04x, expected %#04x", s.dtype, x, got, want)
				}
				if got := narrow(t, s.dtype, -x); int(got) != want|0x8000 {
					t.Fatalf("%s: %v becomes %#04x, expected %#04x", s.dtype, -x, got, want|0x8000)
				}
			}
		}
	}
}

// float32 bits pass through unchanged.
func TestFloat32PassesThrough(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		bits := rapid.SliceOf(rapid.Uint32()).Draw(rt, "bits")
		src, dst := make([]float32, len(bits)), make([]float32, len(bits))
		for i, b := range bits {
			src[i] = math.Float32frombits(b)
		}
		data := make([]byte, 4*len(bits))
		if err := errors.Join(EncodeFloat32(data, src, F32), DecodeFloat32(dst, data, F32)); err != nil {
			rt.Fatal(err)
		}
		for i, b := range bits {
			if math.Float32bits(dst[i]) != b {
				rt.Fatalf("%#08x became %#08x", b, math.Float32bits(dst[i]))
			}
		}
	})
}

func TestConvertRefuses(t *testing.T) {
	if err := DecodeFloat32(make([]float32, 1), make([]byte, 8), "F64"); !errors.Is(err, ErrDType) {
		t.Errorf("F64: %v", err)
	}
	if err := DecodeFloat32(make([]float32, 2), make([]byte, 6), F16); err == nil {
		t.Error("6 bytes accepted for 2 elements of F16")
	}
	if _, err := (Tensor{Name: "x", DType: "I64", Shape: []int{1}, Data: make([]byte, 8)}).Float32s(); !errors.Is(err, ErrDType) {
		t.Errorf("I64: %v", err)
	}
}

// A single NaN or infinity is found wherever it stands, and the first of several is the one that is named; no finite
// pattern is taken for one.
func TestCheckFinite(t *testing.T) {
	bad := map[DType][]uint32{F32: {0x7f800000, 0xff800000, 0x7fc00000, 0xff800001}, F16: {0x7c00, 0xfc00, 0x7e00, 0xfc01}, BF16: {0x7f80, 0xff80, 0x7fc0, 0xff81}}
	rapid.Check(t, func(rt *rapid.T) {
		d := rapid.SampledFrom([]DType{F32, F16, BF16}).Draw(rt, "dtype")
		size := d.Size()
		// Lengths around a word, and around a block.
		n := rapid.OneOf(rapid.IntRange(0, 70), rapid.IntRange(finiteBlock/size-20, finiteBlock/size+20)).Draw(rt, "n")
		x := Tensor{Name: "x", DType: d, Shape: []int{n}, Data: make([]byte, n*size)}
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
		put := func(i int, pattern uint32) {
			copy(x.Data[i*size:(i+1)*size], binary.LittleEndian.AppendUint32(nil, pattern))
		}
		for i := range n {
			pattern := rng.Uint32()
			if size == 2 {
				pattern &= 0xffff
			}
			top := bad[d][0]
			if pattern&top == top {
				pattern &^= top & -top // clear the exponent's lowest bit: the largest exponent of a finite number
			}
			put(i, pattern)
		}
		if err := CheckFinite(x); err != nil {
			rt.Fatalf("finite values refused: %v", err)
		}
		if n == 0 {
			return
		}
		indices := rapid.SliceOfN(rapid.IntRange(0, n-1), 1, 3).Draw(rt, "indices")
		for _, i := range indices {
			put(i, rapid.SampledFrom(bad[d]).Draw(rt, "pattern"))
		}
		var found *NonFiniteError
		if err := CheckFinite(x); !errors.As(err, &found) || found.Index != slices.Min(indices) || found.Tensor != "x" {
			rt.Fatalf("found %v, expected element %d", err, slices.Min(indices))
		}
	})
}

// Each lane of each word of a block is looked at, not only those after the last full block.
func TestCheckFiniteEveryLane(t *testing.T) {
	for d, pattern := range map[DType]uint32{F32: 0x7f800000, F16: 0x7c00, BF16: 0x7f80} {
		n := 2 * finiteBlock / d.Size()
		for i := range 64 {
			x := Tensor{Name: "x", DType: d, Shape: []int{n}, Data: make([]byte, 2*finiteBlock)}
			copy(x.Data[i*d.Size():(i+1)*d.Size()], binary.LittleEndian.AppendUint32(nil, pattern))
			var found *NonFiniteError
			if err := CheckFinite(x); !errors.As(err, &found) || found.Index != i {
				t.Errorf("%s: %v, expected element %d", d, err, i)
			}
		}
	}
}

func benchmarkTensors(b *testing.B, run func(x Tensor, values []float32) error) {
	const n = 16 << 20 // beyond the cache
	rng := rand.New(rand.NewPCG(1, 2))
	src := make([]float32, n)
	for i := range src {
		src[i] = float32(rng.NormFloat64())
	}
	for _, d := range []DType{F32, F16, BF16} {
		x, err := Float32Tensor("x", d, []int{n}, src)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(string(d), func(b *testing.B) {
			b.SetBytes(int64(len(x.Data)))
			for b.Loop() {
				if err := run(x, src); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecodeFloat32(b *testing.B) {
	benchmarkTensors(b, func(x Tensor, values []float32) error { return DecodeFloat32(values, x.Data, x.DType) })
}

func BenchmarkEncodeFloat32(b *testing.B) {
	benchmarkTensors(b, func(x Tensor, values []float32) error { return EncodeFloat32(x.Data, values, x.DType) })
}

func BenchmarkCheckFinite(b *testing.B) {
	benchmarkTensors(b, func(x Tensor, _ []float32) error { return CheckFinite(x) })
}
