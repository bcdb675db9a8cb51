package ckpt

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync/atomic"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// maxHeaderBytes is the reference implementation's limit on the JSON header.
const maxHeaderBytes = 100_000_000

// metadataKey is the one name in a header that is no tensor.
const metadataKey = "__metadata__"

// Safetensors is an open safetensors file. What its header claims was checked when it was opened: tensors cover the
// data exactly, in some order, without a gap or an overlap, and each has the bytes of its dtype and shape. Tensor data
// aliases the file, and may be unaligned where the file's writer did not care.
//
// Format: https://github.com/huggingface/safetensors#format. Safe for concurrent use until Close.
type Safetensors struct {
	name    string
	header  []byte
	data    []byte
	tensors []Tensor
	index   map[string]int
	release func() error
	mapped  bool
	closed  atomic.Bool
}

// OpenSafetensors maps the file at path and checks its header.
func OpenSafetensors(path string) (*Safetensors, error) {
	data, unmap, err := mapFile(path)
	if err != nil {
		return nil, err
	}
	s, err := newSafetensors(path, data, unmap)
	if err == nil {
		s.mapped = true
	}
	return s, err
}

// ParseSafetensors reads a file held in data, which must not change afterwards. name is for errors.
func ParseSafetensors(name string, data []byte) (*Safetensors, error) {
	return newSafetensors(name, data, func() error { return nil })
}

func newSafetensors(name string, data []byte, release func() error) (*Safetensors, error) {
	s := &Safetensors{name: name, data: data, release: release}
	if err := s.parse(); err != nil {
		return nil, errors.Join(err, release())
	}
	return s, nil
}

// Names returns the tensors' names in the header's order.
func (s *Safetensors) Names() []string {
	names := make([]string, len(s.tensors))
	for i, t := range s.tensors {
		names[i] = t.Name
	}
	return names
}

// Tensor returns one tensor; its data aliases the file and is valid until Close. ErrNoTensor if there is none.
func (s *Safetensors) Tensor(name string) (Tensor, error) {
	if s.closed.Load() {
		return Tensor{}, fmt.Errorf("%s: tensor %.100q: the file is closed", s.name, name)
	}
	i, ok := s.index[name]
	if !ok {
		return Tensor{}, fmt.Errorf("%s: tensor %.100q: %w", s.name, name, ErrNoTensor)
	}
	return s.tensors[i], nil
}

// File is the name of the file.
func (s *Safetensors) File(string) string { return filepath.Base(s.name) }

// Drop gives back the memory that a tensor's data takes, once it has been read and copied: it can be read again, from the file. It does nothing
// for a file that is held in memory.
func (s *Safetensors) Drop(name string) {
	if t, err := s.Tensor(name); err == nil && s.mapped {
		dropPages(s.data, t.Data)
	}
}

// Close releases the mapping. Data of tensors that were handed out must not be touched afterwards.
func (s *Safetensors) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	return s.release()
}

// headerEntry is one tensor of the header. Pointers tell what is missing from what is zero.
type headerEntry struct {
	DType   *string   `json:"dtype"`
	Shape   *[]*int64 `json:"shape"`
	Offsets *[]*int64 `json:"data_offsets"`
}

// span is where a tensor lies in the data.
type span struct {
	begin, end int64
	tensor     int
}

func (s *Safetensors) parse() (err error) {
	defer catchFault(s.name, &err)()
	if len(s.data) < 8 {
		return fmt.Errorf("%s: found %d bytes, expected at least 8: a safetensors file starts with those of header length", s.name, len(s.data))
	}
	n := binary.LittleEndian.Uint64(s.data)
	if rest := uint64(len(s.data) - 8); n > maxHeaderBytes || n > rest {
		return fmt.Errorf("%s: found header length %d, expected at most %d in a file of %d bytes: the file is torn, or is not safetensors",
			s.name, n, min(rest, maxHeaderBytes), len(s.data))
	}
	s.header = bytes.Clone(s.data[8 : 8+n]) // its readers need no care
	if n == 0 || s.header[0] != '{' {
		return fmt.Errorf("%s: the header does not start with '{': not a safetensors file", s.name)
	}
	body := s.data[8+n:]
	spans, err := s.parseHeader(int64(len(body)))
	if err != nil {
		return err
	}
	slices.SortFunc(spans, func(a, b span) int { return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end)) })
	at, last := int64(0), "the start of the data"
	for _, sp := range spans {
		t := &s.tensors[sp.tensor]
		if sp.begin != at {
			kind := "gap"
			if sp.begin < at {
				kind = "overlap"
			}
			return fmt.Errorf("%s: tensor %.100q: %s: begins at %d, expected %d, where %s ends", s.name, t.Name, kind, sp.begin, at, last)
		}
		t.Data = body[sp.begin:sp.end:sp.end]
		at, last = sp.end, fmt.Sprintf("%.100q", t.Name)
	}
	if at != int64(len(body)) {
		return fmt.Errorf("%s: found %d bytes of data, expected %d by the header: torn, or something follows", s.name, len(body), at)
	}
	return nil
}

// parseHeader fills tensors, without their data, and returns where they lie. size is the bytes of data there are.
func (s *Safetensors) parseHeader(size int64) ([]span, error) {
	fail := func(err error) ([]span, error) {
		return nil, jsonError(s.name+" (header)", 1, s.header, err)
	}
	dec := jsontext.NewDecoder(bytes.NewReader(s.header))
	if _, err := dec.ReadToken(); err != nil {
		return fail(err)
	}
	s.index = make(map[string]int)
	var spans []span
	for dec.PeekKind() != '}' {
		key, err := dec.ReadToken() // a name given twice is an error of the decoder
		if err != nil {
			return fail(err)
		}
		name := key.String()
		if name == metadataKey {
			var meta map[string]*string
			if err := json.UnmarshalDecode(dec, &meta); err != nil {
				return fail(err)
			}
			for key, value := range meta {
				if value == nil {
					return nil, fmt.Errorf("%s (header): /%s/%.100s: found null, expected a string", s.name, metadataKey, key)
				}
			}
			continue
		}
		var entry headerEntry
		if err := json.UnmarshalDecode(dec, &entry, json.RejectUnknownMembers(true)); err != nil {
			return fail(err)
		}
		t, sp, err := entry.tensor(size)
		if err != nil {
			return nil, fmt.Errorf("%s: tensor %.100q: %w", s.name, name, err)
		}
		t.Name, sp.tensor = name, len(s.tensors)
		s.index[name] = len(s.tensors)
		s.tensors, spans = append(s.tensors, t), append(spans, sp)
	}
	if _, err := dec.ReadToken(); err != nil {
		return fail(err)
	}
	if rest := bytes.TrimLeft(s.header[dec.InputOffset():], " "); len(rest) > 0 {
		return nil, fmt.Errorf("%s: %d bytes after the header's JSON, expected only spaces", s.name, len(rest))
	}
	return spans, nil
}

// maxDimensions of a tensor, as in NumPy and PyTorch: what messages quote has an end.
const maxDimensions = 64

// wholeNumbers is a list that must be there, not too long, and hold no null.
func wholeNumbers(field string, list *[]*int64) ([]int64, error) {
	if list == nil {
		return nil, fmt.Errorf("%s: missing or null, expected a list of whole numbers", field)
	}
	if n := len(*list); n > maxDimensions {
		return nil, fmt.Errorf("%s: found %d numbers, expected at most %d", field, n, maxDimensions)
	}
	numbers := make([]int64, len(*list))
	for i, n := range *list {
		if n == nil {
			return nil, fmt.Errorf("%s/%d: found null, expected a whole number", field, i)
		}
		numbers[i] = *n
	}
	return numbers, nil
}

// tensor checks one entry by itself.
func (e headerEntry) tensor(size int64) (Tensor, span, error) {
	var t Tensor
	if e.DType == nil {
		return t, span{}, errors.New("dtype: missing or null, expected a string")
	}
	shape, err := wholeNumbers("shape", e.Shape)
	if err != nil {
		return t, span{}, err
	}
	offsets, err := wholeNumbers("data_offsets", e.Offsets)
	if err != nil {
		return t, span{}, err
	}
	t.DType = DType(*e.DType)
	t.Shape = make([]int, len(shape))
	for i, d := range shape {
		if int64(int(d)) != d {
			return t, span{}, fmt.Errorf("shape/%d: found %d, which is beyond this machine", i, d)
		}
		t.Shape[i] = int(d)
	}
	want, err := byteSize(t.DType, t.Shape)
	if err != nil {
		return t, span{}, err
	}
	if len(offsets) != 2 {
		return t, span{}, fmt.Errorf("data_offsets: found %d numbers, expected [begin, end]", len(offsets))
	}
	sp := span{begin: offsets[0], end: offsets[1]}
	if sp.begin < 0 || sp.end < sp.begin || sp.end > size {
		return t, span{}, fmt.Errorf("found data_offsets [%d, %d], expected 0 <= begin <= end <= %d, the bytes of data in the file",
			sp.begin, sp.end, size)
	}
	if sp.end-sp.begin != want {
		return t, span{}, fmt.Errorf("found %d bytes by data_offsets, expected %d for %s %v", sp.end-sp.begin, want, t.DType, t.Shape)
	}
	return t, sp, nil
}
