package ckpt

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"afctl/flow/strictjson"
)

// Weights are the tensors of a model, wherever they lie: one safetensors file, several, or, behind the same
// interface, another container. Safe for concurrent use until Close.
type Weights interface {
	// Names returns every tensor's name, in a fixed order.
	Names() []string
	// Tensor returns one tensor, whose data may alias a file and is valid until Close. ErrNoTensor if there is none.
	Tensor(name string) (Tensor, error)
	// File is the name of the file that a tensor lies in, for messages; "" where that says nothing.
	File(name string) string
	// Drop gives back the memory that a tensor's data takes until it is read again.
	Drop(name string)
	// Close releases the files.
	Close() error
}

// Files that a Hugging Face folder keeps its weights in.
const (
	weightsFile      = "model.safetensors"
	weightsIndexFile = "model.safetensors.index.json"
)

// weights opens the weights of a Hugging Face folder: model.safetensors, or the shards that model.safetensors.index.json names.
func (f folder) weights() (*shards, error) {
	if f.has(weightsFile) {
		s, err := f.safetensors(weightsFile)
		if err != nil {
			return nil, err
		}
		return &shards{files: []shard{{weightsFile, s}}, names: s.Names(), where: map[string]int{}}, nil
	}
	if f.has(weightsIndexFile) {
		return f.sharded()
	}
	for _, other := range []string{"pytorch_model.bin", "pytorch_model.bin.index.json"} {
		if f.has(other) {
			return nil, fmt.Errorf("%s: found %s, expected %s or %s: load the model in transformers and save it with safe_serialization=True",
				f.name, other, weightsFile, weightsIndexFile)
		}
	}
	return nil, fmt.Errorf("%s: no weights: neither %s nor %s is there: %w", f.name, weightsFile, weightsIndexFile, fs.ErrNotExist)
}

type shard struct {
	name string
	*Safetensors
}

// shards are one or more safetensors files seen as one.
type shards struct {
	files []shard
	names []string
	where map[string]int // file of each tensor; a name that is not in it lies in the first
}

func (s *shards) Names() []string { return slices.Clone(s.names) }

func (s *shards) Tensor(name string) (Tensor, error) { return s.files[s.where[name]].Tensor(name) }

func (s *shards) File(name string) string { return s.files[s.where[name]].name }

func (s *shards) Drop(name string) { s.files[s.where[name]].Drop(name) }

func (s *shards) Close() error {
	var errs []error
	for _, file := range s.files {
		errs = append(errs, file.Close())
	}
	return errors.Join(errs...)
}

// weightsIndex is model.safetensors.index.json. Its metadata (total_size and the like) is informal and differs between
// writers: the shards' own headers are what is checked.
type weightsIndex struct {
	WeightMap map[string]string `json:"weight_map"`
}

func (f folder) sharded() (*shards, error) {
	data, err := f.read(weightsIndexFile, maxIndexBytes)
	if err != nil {
		return nil, err
	}
	index, err := parseWeightsIndex(f.path(weightsIndexFile), data)
	if err != nil {
		return nil, err
	}
	s := &shards{where: make(map[string]int, len(index.WeightMap))}
	if err := s.open(f, index); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func parseWeightsIndex(file string, data []byte) (weightsIndex, error) {
	var index weightsIndex
	if err := DecodeJSON(file, data, &index, strictjson.IgnoreUnknown); err != nil {
		return index, err
	}
	if len(index.WeightMap) == 0 {
		return index, fmt.Errorf("%s: weight_map: empty or missing, expected an object from tensor names to file names", file)
	}
	for name, shardFile := range index.WeightMap {
		if strings.ContainsAny(shardFile, `/\`) || !strings.HasSuffix(shardFile, ".safetensors") {
			return index, fmt.Errorf("%s: weight_map: tensor %.100q: found file %.100q, expected the name of a .safetensors file of the same folder",
				file, name, shardFile)
		}
	}
	return index, nil
}

// open opens every shard and checks that index and shards list the same tensors in the same places.
func (s *shards) open(f folder, index weightsIndex) error {
	files := slices.Compact(slices.Sorted(maps.Values(index.WeightMap)))
	for i, name := range files {
		file, err := f.safetensors(name)
		if err != nil {
			return fmt.Errorf("%s names a shard that cannot be read: %w", f.path(weightsIndexFile), err)
		}
		s.files = append(s.files, shard{name, file})
		for _, tensor := range file.Names() {
			if want := index.WeightMap[tensor]; want != name {
				if want == "" {
					want = "no file"
				}
				return fmt.Errorf("%s: tensor %.100q: found in %s, expected in %.100s by the index", f.name, tensor, name, want)
			}
			s.where[tensor] = i
			s.names = append(s.names, tensor)
		}
	}
	for _, tensor := range slices.Sorted(maps.Keys(index.WeightMap)) {
		if _, ok := s.where[tensor]; !ok {
			return fmt.Errorf("%s: tensor %.100q: not found in %s, where the index puts it", f.name, tensor, index.WeightMap[tensor])
		}
	}
	return nil
}

// What of a large file goes into an identity.
const (
	identitySamples     = 16
	identitySampleBytes = 4096
)

// identify feeds h with the name, size and header of each file, and with samples of the data: all of a small file,
// evenly spaced stretches of a large one. A file that was cut short has another hash; the next to read its tensors says why.
func (s *shards) identify(h hash.Hash) {
	for _, file := range s.files {
		hashString(h, file.name)
		body := file.data[8+len(file.header):]
		hashUint(h, uint64(len(file.data)))
		h.Write(file.header)
		samples, sample := 1, make([]byte, min(len(body), identitySamples*identitySampleBytes))
		if len(body) > len(sample) {
			samples, sample = identitySamples, sample[:identitySampleBytes]
		}
		for i := range samples {
			_ = copyMapped(file.name, sample, body[(len(body)-len(sample))*i/max(samples-1, 1):])
			h.Write(sample)
		}
	}
}

// sumSHA256 is the form in which hashes are shown and compared.
func sumSHA256(feed func(h hash.Hash)) string {
	h := sha256.New()
	feed(h)
	return fmt.Sprintf("%x", h.Sum(nil))
}

// hashString feeds a string and its length, so that two strings never read as one.
func hashString(h hash.Hash, s string) {
	hashUint(h, uint64(len(s)))
	h.Write([]byte(s))
}

func hashUint(h hash.Hash, n uint64) {
	h.Write(binary.LittleEndian.AppendUint64(nil, n))
}
