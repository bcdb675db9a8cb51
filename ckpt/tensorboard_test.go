package ckpt

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"iter"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// scalar is one value of one step, as read back.
type scalar struct {
	step int64
	name string
	bits uint32
}

// field is one field of a protobuf message: a number for varint and fixed types, bytes otherwise.
type field struct {
	number uint64
	value  uint64
	bytes  []byte
}

// fields splits a message, by protobuf's wire format and without any code of the writer.
func fields(t require, b []byte) []field {
	varint := func() uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			t.Fatalf("varint expected in % x", b)
		}
		b = b[n:]
		return v
	}
	take := func(n uint64) []byte {
		if n > uint64(len(b)) {
			t.Fatalf("%d bytes expected, %d left", n, len(b))
		}
		head := b[:n]
		b = b[n:]
		return head
	}
	var out []field
	for len(b) > 0 {
		key := varint()
		f := field{number: key >> 3}
		switch key & 7 {
		case 0:
			f.value = varint()
		case 1:
			f.value = binary.LittleEndian.Uint64(take(8))
		case 2:
			f.bytes = take(varint())
		case 5:
			f.value = uint64(binary.LittleEndian.Uint32(take(4)))
		default:
			t.Fatalf("wire type %d", key&7)
		}
		out = append(out, f)
	}
	return out
}

// require is what *testing.T and *rapid.T share.
type require interface {
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// records splits a file of TFRecords and checks their checksums, computed bit by bit.
func records(t require, path string) [][]byte {
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	crc := func(b []byte) uint32 {
		c := ^uint32(0)
		for _, x := range b {
			c ^= uint32(x)
			for range 8 {
				c = c>>1 ^ (0x82f63b78 & -(c & 1)) // the Castagnoli polynomial, reflected
			}
		}
		c = ^c
		return (c>>15 | c<<17) + 0xa282ead8
	}
	var out [][]byte
	for len(data) > 0 {
		n := binary.LittleEndian.Uint64(data)
		body := data[12 : 12+n]
		if binary.LittleEndian.Uint32(data[8:]) != crc(data[:8]) || binary.LittleEndian.Uint32(data[12+n:]) != crc(body) {
			t.Fatalf("checksum of record %d", len(out))
		}
		out, data = append(out, body), data[16+n:]
	}
	return out
}

// readEvents returns the scalars of a file, and the step of its session start.
func readEvents(t require, path string) (scalars []scalar, start int64) {
	start = -1
	for i, record := range records(t, path) {
		var step int64
		for _, f := range fields(t, record) {
			switch f.number {
			case 2:
				step = int64(f.value)
			case 3:
				if i != 0 || string(f.bytes) != "brain.Event:2" {
					t.Fatalf("record %d has version %q", i, f.bytes)
				}
			case 5:
				for _, value := range fields(t, f.bytes) {
					v := fields(t, value.bytes)
					scalars = append(scalars, scalar{step, string(v[0].bytes), uint32(v[1].value)})
				}
			case 7:
				start = step
			}
		}
	}
	return scalars, start
}

func TestTensorBoardRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "tb")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		next := rapid.IntRange(0, math.MaxInt32).Draw(t, "next step")
		tb, err := NewTensorBoard(dir, next, time.Unix(1_700_000_000, 0))
		if err != nil {
			t.Fatal(err)
		}
		var want []scalar
		for i := range rapid.IntRange(0, 5).Draw(t, "steps") {
			values := rapid.MapOf(rapid.String(), rapid.Float64()).Draw(t, "values")
			names := slices.Sorted(maps.Keys(values))
			seq := iter.Seq2[string, float64](func(yield func(string, float64) bool) {
				for _, name := range names {
					if !yield(name, values[name]) {
						return
					}
				}
			})
			if err := tb.Scalars(next+i, time.Now(), seq); err != nil {
				t.Fatal(err)
			}
			for _, name := range names {
				want = append(want, scalar{int64(next + i), name, math.Float32bits(float32(values[name]))})
			}
		}
		if err := tb.Close(); err != nil {
			t.Fatal(err)
		}
		if err := tb.Flush(); !errors.Is(err, os.ErrClosed) {
			t.Fatalf("Flush after Close: %v", err)
		}
		files, _ := filepath.Glob(filepath.Join(dir, "*tfevents*"))
		if len(files) != 1 {
			t.Fatalf("files %v", files)
		}
		got, start := readEvents(t, files[0])
		if !slices.Equal(got, want) || start != int64(next) {
			t.Fatalf("got %v from step %d, want %v from step %d", got, start, want, next)
		}
	})
}

// Files sort in the order in which they were started, also within a second and after the clock was put back.
func TestTensorBoardFilesSort(t *testing.T) {
	dir := t.TempDir()
	var names []string
	for i, now := range []int64{1_700_000_005, 1_700_000_005, 1_600_000_000, 1_700_000_006} {
		tb, err := NewTensorBoard(dir, i, time.Unix(now, 0))
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, filepath.Base(tb.file.Name()))
		if err := tb.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.IsSorted(names) || len(slices.Compact(names)) != 4 {
		t.Errorf("names in order of their starts: %v", names)
	}
}

// The checksum that others compute of 32 bytes of zeros, RFC 3720 B.4, and its mask.
func TestMaskedCRC(t *testing.T) {
	zeros := make([]byte, 32)
	if crc := crc32.Checksum(zeros, castagnoli); crc != 0x8a9136aa {
		t.Errorf("CRC-32C %#x, expected 0x8a9136aa", crc)
	}
	const want = 0x0fd7fffa // (0x8a9136aa rotated right by 15) + 0xa282ead8
	if got := maskedCRC(zeros); got != want {
		t.Errorf("masked %#x, expected %#x", got, uint32(want))
	}
}

// A disk that fails is said so once it is known, and for good.
func TestTensorBoardErrorStays(t *testing.T) {
	tb, err := NewTensorBoard(t.TempDir(), 1, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	tb.file.Close()
	one := func(yield func(string, float64) bool) { yield("loss", 1) }
	if err := tb.Scalars(1, time.Now(), one); err != nil {
		t.Fatal(err)
	}
	if err := tb.Flush(); err == nil {
		t.Fatal("Flush into a closed file: no error")
	}
	if err := tb.Scalars(2, time.Now(), one); err == nil {
		t.Fatal("Scalars after a failed Flush: no error")
	}
}
