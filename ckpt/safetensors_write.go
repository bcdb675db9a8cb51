package ckpt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// WriteSafetensors writes tensors in the given order, so that the same call gives the same bytes. meta becomes
// __metadata__ (PEFT and transformers write {"format": "pt"} and want it back), nil leaves it out. The header is
// padded with spaces so that the data starts at a multiple of 8. Nothing is written if a tensor is not as its dtype
// and shape say, or a name comes twice.
func WriteSafetensors(w io.Writer, tensors []Tensor, meta map[string]string) error {
	header, err := safetensorsHeader(tensors, meta)
	if err != nil {
		return fmt.Errorf("write safetensors: %w", err)
	}
	if _, err := w.Write(header); err != nil {
		return fmt.Errorf("write safetensors: header: %w", err)
	}
	for _, t := range tensors {
		if err := t.writeTo(w); err != nil {
			return fmt.Errorf("write safetensors: %w", err)
		}
	}
	return nil
}

func (t Tensor) writeTo(w io.Writer) (err error) {
	defer catchFault(t.where(), &err)()
	if _, err := w.Write(t.Data); err != nil {
		return fmt.Errorf("%s: %w", t.where(), err)
	}
	return nil
}

// safetensorsHeader returns the length, the JSON and its padding.
func safetensorsHeader(tensors []Tensor, meta map[string]string) ([]byte, error) {
	var b bytes.Buffer
	b.Write(make([]byte, 8))
	b.WriteByte('{')
	if meta != nil {
		if err := quoteTo(&b, metadataKey); err != nil {
			return nil, err
		}
		b.WriteString(":{")
		for i, key := range slices.Sorted(maps.Keys(meta)) {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := quoteTo(&b, key); err != nil {
				return nil, err
			}
			b.WriteByte(':')
			if err := quoteTo(&b, meta[key]); err != nil {
				return nil, err
			}
		}
		b.WriteByte('}')
	}
	seen := make(map[string]bool, len(tensors))
	var at int64
	for i, t := range tensors {
		if err := t.check(); err != nil {
			return nil, err
		}
		if seen[t.Name] || t.Name == metadataKey {
			return nil, fmt.Errorf("tensor %.100q: the name is taken", t.Name)
		}
		seen[t.Name] = true
		if i > 0 || meta != nil {
			b.WriteByte(',')
		}
		if err := quoteTo(&b, t.Name); err != nil {
			return nil, err
		}
		b.WriteString(`:{"dtype":"` + string(t.DType) + `","shape":[`)
		for j, d := range t.Shape {
			if j > 0 {
				b.WriteByte(',')
			}
			b.WriteString(strconv.Itoa(d))
		}
		end := at + int64(len(t.Data))
		fmt.Fprintf(&b, `],"data_offsets":[%d,%d]}`, at, end)
		at = end
	}
	b.WriteByte('}')
	for b.Len()%8 != 0 {
		b.WriteByte(' ')
	}
	if n := b.Len() - 8; n > maxHeaderBytes {
		return nil, fmt.Errorf("a header of %d bytes, at most %d can be read back", n, maxHeaderBytes)
	}
	header := b.Bytes()
	binary.LittleEndian.PutUint64(header, uint64(len(header)-8))
	return header, nil
}

func quoteTo(b *bytes.Buffer, s string) error {
	quoted, err := jsontext.AppendQuote(nil, s)
	if err != nil {
		return fmt.Errorf("name %q: %w", s, err)
	}
	b.Write(quoted)
	return nil
}
