package ckpt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"afctl/flow/strictjson"

	"pgregory.net/rapid"
)

// container is a safetensors file with any header and data.
func container(header string, data int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, data)...)
}

func write(t interface{ Fatal(...any) }, tensors []Tensor, meta map[string]string) []byte {
	var b bytes.Buffer
	if err := WriteSafetensors(&b, tensors, meta); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func drawTensors(t *rapid.T) []Tensor {
	names := rapid.SliceOfDistinct(rapid.String().Filter(func(s string) bool { return s != metadataKey }), rapid.ID).Draw(t, "names")
	var tensors []Tensor
	for _, name := range names {
		x := Tensor{Name: name, DType: rapid.SampledFrom([]DType{F32, F16, BF16, "I64", "U8"}).Draw(t, "dtype"),
			Shape: rapid.SliceOfN(rapid.IntRange(0, 4), 0, 3).Draw(t, "shape")}
		n := x.Len() * x.DType.Size()
		x.Data = rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, "data")
		tensors = append(tensors, x)
	}
	return tensors
}

// What is written is read back in its order, at every name, dtype and shape; the data starts at a multiple of 8; and a
// file that is cut anywhere, or has a byte too many, is refused.
func TestSafetensorsRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		tensors := drawTensors(rt)
		meta := rapid.MapOfN(rapid.String(), rapid.String(), 1, 3).Draw(rt, "meta")
		data := write(rt, tensors, meta)
		if again := write(rt, tensors, meta); !bytes.Equal(again, data) {
			rt.Fatal("other bytes at the second writing")
		}
		s, err := ParseSafetensors("x", data)
		if err != nil {
			rt.Fatal(err)
		}
		var header struct {
			Metadata map[string]string `json:"__metadata__"`
		}
		if err := DecodeJSON("header", s.header, &header, strictjson.IgnoreUnknown); err != nil || (8+len(s.header))%8 != 0 || !reflect.DeepEqual(header.Metadata, meta) {
			rt.Fatalf("header of %d bytes, metadata %v, %v", len(s.header), header.Metadata, err)
		}
		if len(s.Names()) != len(tensors) {
			rt.Fatalf("tensors %q, expected %d", s.Names(), len(tensors))
		}
		for i, name := range s.Names() {
			got, err := s.Tensor(name)
			want := tensors[i]
			if err != nil || got.Name != want.Name || got.DType != want.DType || !bytes.Equal(got.Data, want.Data) ||
				fmt.Sprint(got.Shape) != fmt.Sprint(want.Shape) {
				rt.Fatalf("tensor %d: found %v, expected %v (%v)", i, got, want, err)
			}
		}
		if n := len(s.Names()); n != len(tensors) {
			rt.Fatalf("found %d tensors, expected %d", n, len(tensors))
		}
		cut := rapid.IntRange(0, len(data)-1).Draw(rt, "cut")
		if _, err := ParseSafetensors("x", data[:cut]); err == nil {
			rt.Fatalf("accepted with %d of %d bytes", cut, len(data))
		}
		if _, err := ParseSafetensors("x", append(bytes.Clone(data), 0)); err == nil {
			rt.Fatal("accepted with a byte too many")
		}
	})
}

// A header that lies is refused with the tensor's name and what was found.
func TestSafetensorsRefused(t *testing.T) {
	long := strings.Repeat("n", 1<<20)
	many := strings.Repeat("2,", 1000) + "2"
	const good = `"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}`
	for name, test := range map[string]struct {
		header string
		data   int
		want   []string
	}{
		"beyond the file":       {`{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}`, 8, []string{`"a"`, "[0, 16]", "8"}},
		"too few bytes":         {`{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}`, 8, []string{`"a"`, "8 bytes", "expected 12"}},
		"too many bytes":        {`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}}`, 8, []string{`"a"`, "8 bytes", "expected 4"}},
		"overlap":               {`{` + good + `,"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8, []string{`"b"`, "overlap", "4", "expected 8"}},
		"the same place twice":  {`{` + good + `,"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, 8, []string{"overlap"}},
		"gap":                   {`{` + good + `,"b":{"dtype":"F32","shape":[1],"data_offsets":[12,16]}}`, 16, []string{`"b"`, "gap", "12"}},
		"gap at the start":      {`{"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8, []string{`"b"`, "gap"}},
		"bytes left over":       {`{` + good + `}`, 12, []string{"12 bytes", "expected 8"}},
		"backwards":             {`{"a":{"dtype":"F32","shape":[0],"data_offsets":[8,0]}}`, 8, []string{`"a"`, "[8, 0]"}},
		"negative offset":       {`{"a":{"dtype":"F32","shape":[4],"data_offsets":[-8,8]}}`, 8, []string{`"a"`, "-8"}},
		"huge offset":           {`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,18446744073709551616]}}`, 8, []string{"/a/data_offsets/1"}},
		"three offsets":         {`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,8]}}`, 8, []string{`"a"`, "data_offsets: found 3 numbers"}},
		"product overflows":     {`{"a":{"dtype":"F32","shape":[4294967296,4294967296,2],"data_offsets":[0,8]}}`, 8, []string{`"a"`, "4294967296"}},
		"product wraps to zero": {`{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}`, 0, []string{`"a"`}},
		"many dimensions":       {`{"a":{"dtype":"F32","shape":[` + many + `],"data_offsets":[0,8]}}`, 8, []string{`"a"`, "shape: found 1001 numbers"}},
		"negative dimension":    {`{"a":{"dtype":"F32","shape":[-1,-2],"data_offsets":[0,8]}}`, 8, []string{`"a"`, "-1"}},
		"dimension a fraction":  {`{"a":{"dtype":"F32","shape":[2.5],"data_offsets":[0,8]}}`, 8, []string{"/a/shape/0", "2.5"}},
		"unknown dtype":         {`{"a":{"dtype":"F33","shape":[2],"data_offsets":[0,8]}}`, 8, []string{`"a"`, "F33"}},
		"dtype a number":        {`{"a":{"dtype":32,"shape":[2],"data_offsets":[0,8]}}`, 8, []string{"/a/dtype", "expected a string"}},
		"no dtype":              {`{"a":{"shape":[2],"data_offsets":[0,8]}}`, 8, []string{`"a"`, "dtype: missing or null"}},
		"no shape":              {`{"a":{"dtype":"F32","shape":null,"data_offsets":[0,8]}}`, 8, []string{`"a"`, "shape: missing or null"}},
		"unknown key":           {`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}}`, 8, []string{"/a/x"}},
		"name twice":            {`{` + good + `,` + good + `}`, 8, []string{"/a: found twice"}},
		"key twice":             {`{"a":{"dtype":"F32","dtype":"F16","shape":[2],"data_offsets":[0,8]}}`, 8, []string{"dtype"}},
		"metadata of numbers":   {`{"__metadata__":{"format":1},` + good + `}`, 8, []string{"__metadata__"}},
		"metadata of null":      {`{"__metadata__":{"format":null},` + good + `}`, 8, []string{"/__metadata__/format: found null, expected a string"}},
		"not an object":         {`[1]`, 0, []string{"'{'"}},
		"null in a shape":       {`{"a":{"dtype":"F32","shape":[null,32],"data_offsets":[0,8]}}`, 8, []string{`"a"`, "shape/0: found null"}},
		"null offset":           {`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,null]}}`, 8, []string{`"a"`, "data_offsets/1: found null"}},
		"long name":             {`{"` + long + `":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}`, 8, []string{"nnn", "expected 12"}},
		"long name, unread":     {`{"` + long + `":{"dtype":3}}`, 8, []string{"nnn", "expected a string"}},
		"long name twice":       {`{"` + long + `":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"` + long + `":{}}`, 8, []string{"nnn", "found twice"}},
		"long name, gap":        {`{"` + long + `":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[0],"data_offsets":[5,5]}}`, 8, []string{"nnn", "gap"}},
		"empty":                 {``, 0, []string{"'{'"}},
		"cut JSON":              {`{"a":{"dtype":"F32"`, 8, []string{"header"}},
		"words after the JSON":  {`{` + good + `}  x`, 8, []string{"after"}},
		"invalid UTF-8":         {"{\"a\xff\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, []string{"header"}},
	} {
		_, err := ParseSafetensors("m.safetensors", container(test.header, test.data))
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		if len(err.Error()) > 500 {
			t.Errorf("%s: a message of %d bytes", name, len(err.Error()))
		}
		for _, want := range append(test.want, "m.safetensors") {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q is not in the message: %v", name, want, err)
			}
		}
	}
	for name, data := range map[string][]byte{
		"nothing":              nil,
		"7 bytes":              make([]byte, 7),
		"header of 2^63 bytes": append([]byte{0, 0, 0, 0, 0, 0, 0, 0x80}, "{}"...),
		"a zip file":           []byte("PK\x03\x04\x14\x00\x00\x00\x08\x00"),
	} {
		if _, err := ParseSafetensors("m.safetensors", data); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// Types that cannot be read as numbers may lie in a file; only reading them as numbers is an error.
func TestSafetensorsOtherTypes(t *testing.T) {
	s, err := ParseSafetensors("x", write(t, []Tensor{{Name: "ids", DType: "I64", Shape: []int{1}, Data: make([]byte, 8)}}, nil))
	if err != nil {
		t.Fatal(err)
	}
	x, err := s.Tensor("ids")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.Float32s(); !errors.Is(err, ErrDType) || !strings.Contains(err.Error(), `"ids"`) {
		t.Errorf("read as numbers: %v", err)
	}
	if err := CheckFinite(x); !errors.Is(err, ErrDType) {
		t.Errorf("checked as numbers: %v", err)
	}
}

func TestSafetensorsWriteRefuses(t *testing.T) {
	x := Tensor{Name: "x", DType: F32, Shape: []int{2}, Data: make([]byte, 8)}
	long := x
	long.Data = make([]byte, 12)
	odd := x
	odd.DType = "F33"
	reserved := x
	reserved.Name = metadataKey
	latin := x
	latin.Name = "\xe9"
	for name, tensors := range map[string][]Tensor{"twice": {x, x}, "bytes": {long}, "dtype": {odd}, "reserved": {reserved}, "UTF-8": {latin}} {
		var b bytes.Buffer
		if err := WriteSafetensors(&b, tensors, nil); err == nil || b.Len() > 0 {
			t.Errorf("%s: %d bytes written, error %v", name, b.Len(), err)
		}
	}
}

// mapped is a file with data, opened, and its path.
func mapped(t *testing.T, data []byte) (*Safetensors, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.safetensors")
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
	s, err := OpenSafetensors(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, path
}

// A mapped file gives what a read one gives; after Close there are errors, no faults.
func TestOpenSafetensors(t *testing.T) {
	s, path := mapped(t, write(t, []Tensor{{Name: "x", DType: F16, Shape: []int{2, 1}, Data: []byte{1, 2, 3, 4}}}, nil))
	if x, err := s.Tensor("x"); err != nil || !bytes.Equal(x.Data, []byte{1, 2, 3, 4}) {
		t.Errorf("%v, %v", x, err)
	}
	if _, err := s.Tensor("y"); !errors.Is(err, ErrNoTensor) {
		t.Errorf("a tensor that is not there: %v", err)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Error(err)
	}
	if _, err := s.Tensor("x"); err == nil {
		t.Error("a tensor of a closed file")
	}
	empty := filepath.Join(t.TempDir(), "empty.safetensors")
	if err := os.WriteFile(empty, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{empty, filepath.Dir(path), path + ".missing", os.DevNull} {
		if _, err := OpenSafetensors(bad); err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// Drop gives a tensor's memory back, whole pages of it, and leaves it readable; what is held in memory stays as it is.
func TestDrop(t *testing.T) {
	const size = 32 << 20
	body := bytes.Repeat([]byte{1, 2, 3, 4}, size/4)
	data := write(t, []Tensor{{Name: "a", DType: F32, Shape: []int{1}, Data: body[:4]}, {Name: "x", DType: F32, Shape: []int{size / 4}, Data: body},
		{Name: "z", DType: F32, Shape: []int{0}}}, nil)
	file, _ := mapped(t, data)
	held, err := ParseSafetensors("held", data)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*Safetensors{file, held} {
		for range 2 {
			if x, err := s.Tensor("x"); err != nil || !bytes.Equal(x.Data, body) {
				t.Fatalf("%s: error %v, or other data than was written", s.name, err)
			}
			before := residentFileBytes(t)
			s.Drop("x")
			if given := before - residentFileBytes(t); s == file && given < size/2 {
				t.Errorf("gave back %d bytes of a tensor of %d", given, size)
			}
		}
		for _, other := range []string{"a", "z", "missing"} {
			s.Drop(other)
		}
	}
}

// residentFileBytes is how much of mapped files this process holds in memory.
func residentFileBytes(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip("no /proc to read the resident memory from")
	}
	var kib int
	_, after, _ := strings.Cut(string(status), "RssFile:")
	if _, err := fmt.Sscan(after, &kib); err != nil {
		t.Skipf("/proc/self/status has no RssFile: %v", err)
	}
	return kib << 10
}

func FuzzSafetensors(f *testing.F) {
	f.Add(container(`{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"BF16","shape":[1,2],"data_offsets":[8,12]}}  `, 12))
	f.Add(container(`{"a":{"dtype":"I64","shape":[],"data_offsets":[0,8]},"z":{"dtype":"F16","shape":[0,7],"data_offsets":[8,8]}}`, 8))
	f.Add(container(`{}`, 0))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ParseSafetensors("fuzz", data)
		if err != nil {
			return
		}
		// What is accepted is consistent: it can be written and read again, and its tensors fill the data.
		var tensors []Tensor
		total := 0
		for _, name := range s.Names() {
			x, err := s.Tensor(name)
			if err != nil {
				t.Fatal(err)
			}
			total += len(x.Data)
			tensors = append(tensors, x)
			if x.DType.Numeric() {
				if values, err := x.Float32s(); err != nil || len(values) != x.Len() {
					t.Fatalf("tensor %q: %d values, %v", name, len(values), err)
				}
			}
		}
		if want := len(data) - 8 - len(s.header); total != want {
			t.Fatalf("tensors of %d bytes in data of %d", total, want)
		}
		again, err := ParseSafetensors("again", write(t, tensors, nil))
		if err != nil || !reflect.DeepEqual(again.Names(), s.Names()) {
			t.Fatalf("written and read again: %v", err)
		}
	})
}

// A file that another program cuts short while it is mapped gives errors that name file or tensor, whatever reads it, and no end of the process.
func TestFileCutShort(t *testing.T) {
	const size = 1 << 20
	body := bytes.Repeat([]byte{1, 2, 3, 4}, size/4)
	s, path := mapped(t, write(t, []Tensor{{Name: "x", DType: F32, Shape: []int{size / 4}, Data: body}}, nil))
	x, err := s.Tensor("x")
	if err != nil {
		t.Fatal(err)
	}
	if err := x.ReadFinite(make([]byte, size), 0); err != nil {
		t.Fatal(err)
	}
	of := &shards{files: []shard{{weightsFile, s}}, names: s.Names()}
	model := &Model{Weights: of, weights: of.identify}
	whole := model.Hash()
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	for name, read := range map[string]func() error{
		"ReadFinite":  func() error { return x.ReadFinite(make([]byte, 8), size-8) },
		"CheckFinite": func() error { return CheckFinite(x) },
		"Float32s":    func() error { _, err := x.Float32s(); return err },
		"Write":       func() error { return WriteSafetensors(&bytes.Buffer{}, []Tensor{x}, nil) },
		"parse":       s.parse,
		"tied": func() error {
			embedding, head := x, x
			embedding.Name, head.Name = "model.embed_tokens.weight", "lm_head.weight"
			head.Data = body
			return checkTiedHead(newTensorList([]Tensor{embedding, head}))
		},
	} {
		if err := read(); err == nil || !strings.Contains(err.Error(), "the file was cut short while it was read") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if model.Hash() == whole {
		t.Error("the hash is that of the whole file")
	}
}
