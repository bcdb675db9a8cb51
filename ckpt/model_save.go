package ckpt

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// companionFiles are what SaveModel copies from a model's folder: everything that turns text into token ids and back,
// and the settings of generation. LICENSE stays with the weights it covers.
var companionFiles = []string{
	"tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json", "added_tokens.json",
	"vocab.json", "merges.txt", generationConfigFile, "LICENSE",
}

// maxCompanionBytes bounds each of them; the longest tokenizer.json in use has some 30 MB.
const maxCompanionBytes = 256 << 20

// SaveModel writes a Hugging Face folder that transformers and OpenModel load: config.json made from cfg,
// model.safetensors with tensors, and the files of copyFrom (nil: none) that belong to the tokenizer. The folder
// appears complete or not at all; dir must be absent or empty, else ErrExists. tensors must be those of
// cfg.TensorSpecs, in any order and of any readable type.
func SaveModel(dir string, cfg ModelConfig, tensors []Tensor, copyFrom fs.FS) error {
	return WriteDirAtomic(dir, func(d *DirWriter) error { return WriteModelFiles(d, cfg, tensors, copyFrom) })
}

// WriteModelFiles writes the files of SaveModel's folder through d, so that they can be part of a larger folder.
func WriteModelFiles(d *DirWriter, cfg ModelConfig, tensors []Tensor, copyFrom fs.FS) error {
	if err := cfg.Validate(); err != nil {
		return fmt.Errorf("write model: %w", err)
	}
	if err := checkWeights(&cfg, newTensorList(tensors)); err != nil {
		return fmt.Errorf("write model: %w", err)
	}
	embedding, err := newTensorList(tensors).Tensor(embeddingTensor)
	if err != nil {
		return fmt.Errorf("write model: %w", err)
	}
	config, err := marshalModelConfig(cfg, embedding.DType)
	if err != nil {
		return fmt.Errorf("write model: %w", err)
	}
	if err := createBytes(d.Create, configFile, config); err != nil {
		return err
	}
	if copyFrom != nil {
		if err := copyFiles(d, folder{name: "source", fsys: copyFrom}); err != nil {
			return err
		}
	}
	return createFile(d.Create, weightsFile, func(w io.Writer) error {
		return WriteSafetensors(w, tensors, map[string]string{"format": "pt"})
	})
}

func copyFiles(d *DirWriter, from folder) error {
	for _, name := range companionFiles {
		data, err := from.read(name, maxCompanionBytes)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := createBytes(d.Create, name, data); err != nil {
			return err
		}
	}
	return nil
}

// createFile writes one file through create, and closes it whatever happens.
func createFile(create func(name string) (io.WriteCloser, error), name string, write func(w io.Writer) error) error {
	f, err := create(name)
	if err != nil {
		return err
	}
	if err := write(f); err != nil {
		f.Close() // says the same again, where it was the file's
		return fmt.Errorf("%s: %w", name, err)
	}
	return f.Close()
}

// createBytes is createFile for a file whose content is there.
func createBytes(create func(name string) (io.WriteCloser, error), name string, data []byte) error {
	return createFile(create, name, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// embeddingTensor is in every model; its type is the one that config.json gives for all, of which a norm may have another.
const embeddingTensor = "model.embed_tokens.weight"

// architectures are transformers' classes of the model types that are read here.
var architectures = map[string]string{"qwen2": "Qwen2ForCausalLM"}

// marshalModelConfig is the inverse of ParseModelConfig, as transformers 4 and 5 both read it.
func marshalModelConfig(c ModelConfig, d DType) ([]byte, error) {
	no := false
	raw := hfConfig{
		Architectures: []string{architectures[c.ModelType]},
		ModelType:     c.ModelType,
		HiddenSize:    &c.HiddenSize, NumHiddenLayers: &c.NumHiddenLayers,
		NumAttentionHeads: &c.NumAttentionHeads, NumKeyValueHeads: &c.NumKeyValueHeads,
		IntermediateSize: &c.IntermediateSize, VocabSize: &c.VocabSize,
		MaxPositionEmbeddings: &c.MaxPositionEmbeddings,
		RMSNormEps:            &c.RMSNormEps, RopeTheta: &c.RopeTheta,
		TieWordEmbeddings: &c.TieWordEmbeddings, HiddenAct: &c.HiddenAct, UseSlidingWindow: &no,
		BOSTokenID: c.BOSTokenID, EOSTokenID: slices.Clone(c.EOSTokenIDs), PadTokenID: c.PadTokenID,
	}
	if c.HeadDim*c.NumAttentionHeads != c.HiddenSize {
		raw.HeadDim = &c.HeadDim
	}
	switch d {
	case F32:
		raw.TorchDType = "float32"
	case F16:
		raw.TorchDType = "float16"
	case BF16:
		raw.TorchDType = "bfloat16"
	}
	data, err := json.Marshal(raw, jsontext.WithIndent("  "))
	return append(data, '\n'), err
}

// tensorList is Weights over tensors in memory.
type tensorList struct {
	tensors []Tensor
	index   map[string]int
}

func newTensorList(tensors []Tensor) *tensorList {
	l := &tensorList{tensors, make(map[string]int, len(tensors))}
	for i, t := range tensors {
		l.index[t.Name] = i
	}
	return l
}

func (l *tensorList) Names() []string {
	names := make([]string, len(l.tensors))
	for i, t := range l.tensors {
		names[i] = t.Name
	}
	return names
}

func (l *tensorList) Tensor(name string) (Tensor, error) {
	i, ok := l.index[name]
	if !ok {
		return Tensor{}, fmt.Errorf("tensor %.100q: %w", name, ErrNoTensor)
	}
	return l.tensors[i], nil
}

// File is none: the tensors are in memory.
func (l *tensorList) File(string) string { return "" }

// Drop does nothing: the tensors are their maker's.
func (l *tensorList) Drop(string) {}

func (l *tensorList) Close() error { return nil }
