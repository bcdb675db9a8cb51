package ckpt

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/go-json-experiment/json"
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
	b := bytes.NewBuffer(make([]byte, 8))
	enc := jsontext.NewEncoder(b)
	entry := func(name string, value any) error {
		if err := enc.WriteToken(jsontext.String(name)); err != nil {
			return fmt.Errorf("name %.100q: %w", name, err)
		}
		return json.MarshalEncode(enc, value, json.Deterministic(true))
	}
	err := enc.WriteToken(jsontext.BeginObject)
	if meta != nil {
		err = cmp.Or(err, entry(metadataKey, meta))
	}
	seen := map[string]bool{metadataKey: true}
	var at int64
	for _, t := range tensors {
		if err := t.check(); err != nil {
			return nil, err
		}
		if seen[t.Name] {
			return nil, fmt.Errorf("tensor %.100q: the name is taken", t.Name)
		}
		seen[t.Name] = true
		end := at + int64(len(t.Data))
		if err = cmp.Or(err, entry(t.Name, struct {
			DType   DType    `json:"dtype"`
			Shape   []int    `json:"shape"`
			Offsets [2]int64 `json:"data_offsets"`
		}{t.DType, t.Shape, [2]int64{at, end}})); err != nil {
			return nil, err
		}
		at = end
	}
	if err = cmp.Or(err, enc.WriteToken(jsontext.EndObject)); err != nil {
		return nil, err
	}
	b.Truncate(b.Len() - len("\n")) // of the encoder
	for b.Len()%8 != 0 {
		b.WriteByte(' ')
	}
	header := b.Bytes()
	n := len(header) - 8
	if n > maxHeaderBytes {
		return nil, fmt.Errorf("a header of %d bytes, at most %d can be read back", n, maxHeaderBytes)
	}
	binary.LittleEndian.PutUint64(header, uint64(n))
	return header, nil
}
