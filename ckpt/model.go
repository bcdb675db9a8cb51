package ckpt

import (
	"bytes"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// Files of a Hugging Face folder beside its weights.
const (
	configFile           = "config.json"
	generationConfigFile = "generation_config.json"
)

// Model is an open model: its description and its tensors, which were found to belong together. A tokenizer is not part
// of it: work on token ids needs none, and package tokenizer loads one from Files.
type Model struct {
	Name    string // the path it was opened from, or the caller's name for it
	Config  ModelConfig
	Weights Weights
	Files   fs.FS // the folder, for the tokenizer and the chat template

	config  []byte          // config.json as it is, for Hash
	weights func(hash.Hash) // feeds it what tells the weights from others
}

// OpenModel opens a Hugging Face folder: config.json (and generation_config.json where there is one) and safetensors
// weights, single or sharded. Weights are mapped, not read. It checks that every tensor that the description asks for
// is there with its shape and a type that can be read, and that no other is. Close it after use.
func OpenModel(path string) (*Model, error) {
	f, err := openFolder(path, "a folder with config.json and model.safetensors")
	if err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	return f.model()
}

// OpenModelFS opens the model that lies in fsys, such as one embedded in the binary; name is for errors. Weights are
// read into memory.
func OpenModelFS(fsys fs.FS, name string) (*Model, error) {
	return folder{name: name, fsys: fsys}.model()
}

func (f folder) model() (*Model, error) {
	config, err := f.read(configFile, maxConfigBytes)
	if err != nil {
		return nil, fmt.Errorf("model: expected %s and weights in the folder: %w", configFile, err)
	}
	var generation []byte
	if f.has(generationConfigFile) {
		if generation, err = f.read(generationConfigFile, maxConfigBytes); err != nil {
			return nil, fmt.Errorf("model: %w", err)
		}
	}
	m := &Model{Name: f.name, Files: f.fsys, config: config}
	m.Config, err = ParseModelConfig(f.path(configFile), config, f.path(generationConfigFile), generation)
	if err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	s, err := f.weights()
	if err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	m.Weights, m.weights = s, s.identify
	if err := checkWeights(&m.Config, m.Weights); err != nil {
		return nil, errors.Join(fmt.Errorf("model: %s: %w", f.name, err), m.Close())
	}
	return m, nil
}

// Where names the file of a tensor, for messages.
func (m *Model) Where(tensor string) string { return filepath.Join(m.Name, m.Weights.File(tensor)) }

// Close releases the weights.
func (m *Model) Close() error { return m.Weights.Close() }

// Hash identifies the model at little cost, in hex: SHA-256 over config.json and over names, sizes, headers and samples
// of the data of the weight files (all data of files below 64 KiB, 16 stretches of 4 KiB of larger ones). It tells
// models apart, it does not prove that a file is undamaged. It does not depend on where the model lies. The model has to be one that was opened.
func (m *Model) Hash() string {
	return sumSHA256(func(h hash.Hash) {
		hashString(h, string(m.config))
		m.weights(h)
	})
}

// checkWeights checks that weights holds the tensors of c, each with its shape, and nothing else that matters.
func checkWeights(c *ModelConfig, weights Weights) error {
	used := make(map[string]bool)
	for _, spec := range c.TensorSpecs() {
		t, err := weights.Tensor(spec.Name)
		if err != nil {
			return fmt.Errorf("%w; config.json asks for it with shape %v", err, spec.Shape)
		}
		if !slices.Equal(t.Shape, spec.Shape) {
			return fmt.Errorf("%s: tensor %.100q: found shape %v, expected %v by config.json", weights.File(spec.Name), spec.Name, t.Shape, spec.Shape)
		}
		if !t.DType.Numeric() {
			return fmt.Errorf("%s: tensor %.100q: %w: found %s, expected F32, F16 or BF16", weights.File(spec.Name), spec.Name, ErrDType, t.DType)
		}
		used[spec.Name] = true
	}
	for _, name := range weights.Names() {
		if name == "lm_head.weight" && c.TieWordEmbeddings {
			if err := checkTiedHead(weights); err != nil {
				return err
			}
		}
		if !used[name] && !idleTensor(c, name) {
			return fmt.Errorf("%s: tensor %.100q: config.json has no place for it: the weights are of another architecture, or of another size", weights.File(name), name)
		}
	}
	return nil
}

// checkTiedHead refuses a head beside tie_word_embeddings that is not the embedding: some programs would use the one, some the other.
func checkTiedHead(weights Weights) (err error) {
	const embedding, head = embeddingTensor, "lm_head.weight"
	defer catchFault(fmt.Sprintf("tensor %.100q", head), &err)()
	a, err := weights.Tensor(embedding)
	if err != nil {
		return err
	}
	b, err := weights.Tensor(head)
	if err != nil {
		return err
	}
	if a.DType != b.DType || !bytes.Equal(a.Data, b.Data) {
		return fmt.Errorf("tensor %.100q: found other values than in %s, expected the same, or none, with tie_word_embeddings: true in config.json", head, embedding)
	}
	return nil
}

// idleTensor says whether a tensor may lie in the weights without meaning anything: a copy of a tied head, and the
// buffers that old versions of transformers saved.
func idleTensor(c *ModelConfig, name string) bool {
	return name == "lm_head.weight" && c.TieWordEmbeddings || strings.HasSuffix(name, ".rotary_emb.inv_freq")
}
