package ckpt

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/go-json-experiment/json"
)

type goldenTensor struct {
	Shape  []int  `json:"shape"`
	SHA256 string `json:"sha256"`
}

// checkGolden compares every tensor that a model needs with what transformers saved, to the bit.
func checkGolden(t *testing.T, m *Model, want map[string]goldenTensor) {
	t.Helper()
	specs := m.Config.TensorSpecs()
	if len(specs) != len(want) {
		t.Errorf("%s: %d tensors, expected %d", m.Name, len(specs), len(want))
	}
	for _, spec := range specs {
		x, err := m.Weights.Tensor(spec.Name)
		if err != nil {
			t.Error(err)
			continue
		}
		values, err := x.Float32s()
		if err != nil || !slices.Equal(x.Shape, want[spec.Name].Shape) || digest(t, values) != want[spec.Name].SHA256 {
			t.Errorf("%s: %s: %v differs from what was saved (%v)", m.Name, spec.Name, x.Shape, err)
		}
	}
}

func goldenModels(t testing.TB) map[string]map[string]goldenTensor {
	t.Helper()
	var golden map[string]map[string]goldenTensor
	readGolden(t, &golden, "models", "golden.json")
	return golden
}

// Folders that transformers saved open from disk and from an fs.FS, tied and untied, single and sharded, in each dtype;
// and what SaveModel writes of them opens as the same model.
func TestOpenModelGolden(t *testing.T) {
	for name, want := range goldenModels(t) {
		dir := filepath.Join("testdata", "models", name)
		m, err := OpenModel(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		config := tinyConfig()
		if name == "tied" {
			config.TieWordEmbeddings = true
			config.EOSTokenIDs = []int32{37, 38, 39} // generation_config.json adds one
		}
		if !reflect.DeepEqual(m.Config, config) {
			t.Errorf("%s:\n got %+v\nwant %+v", name, m.Config, config)
		}
		checkGolden(t, m, want)

		embedded, err := OpenModelFS(os.DirFS(dir), "embedded")
		if err != nil {
			t.Fatal(err)
		}
		defer embedded.Close()
		checkGolden(t, embedded, want)
		if m.Hash() != embedded.Hash() {
			t.Errorf("%s: the identity depends on where the model lies", name)
		}

		var tensors []Tensor
		for _, tensor := range m.Weights.Names() {
			x, err := m.Weights.Tensor(tensor)
			if err != nil {
				t.Fatal(err)
			}
			tensors = append(tensors, x)
		}
		out := filepath.Join(t.TempDir(), "out")
		if err := SaveModel(out, m.Config, tensors, m.Files); err != nil {
			t.Fatal(err)
		}
		saved, err := OpenModel(out)
		if err != nil {
			t.Fatal(err)
		}
		defer saved.Close()
		if !reflect.DeepEqual(saved.Config, m.Config) {
			t.Errorf("%s: saved as %+v, expected %+v", name, saved.Config, m.Config)
		}
		checkGolden(t, saved, want)
		if err := SaveModel(out, m.Config, tensors, nil); !errors.Is(err, ErrExists) {
			t.Errorf("%s: written over: %v", name, err)
		}
		if err := SaveModel(out+"2", m.Config, tensors[1:], nil); !errors.Is(err, ErrNoTensor) {
			t.Errorf("%s: saved without %s: %v", name, tensors[0].Name, err)
		} else if _, err := os.Stat(out + "2"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: something was written: %v", name, err)
		}
	}
}

// copyModel is a model of testdata in memory, with some of its files changed; nil removes one.
func copyModel(t *testing.T, name string, change map[string][]byte) fstest.MapFS {
	t.Helper()
	dir := filepath.Join("testdata", "models", name)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := fstest.MapFS{}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = &fstest.MapFile{Data: data}
	}
	for file, data := range change {
		if files[file] = (&fstest.MapFile{Data: data}); data == nil {
			delete(files, file)
		}
	}
	return files
}

// editWeights changes the tensors of a single-file model of testdata.
func editWeights(t *testing.T, edit func(tensors []Tensor) []Tensor) map[string][]byte {
	t.Helper()
	s, err := OpenSafetensors(filepath.Join("testdata", "models", "half", "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var tensors []Tensor
	for _, name := range s.Names() {
		x, err := s.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		x.Data = bytes.Clone(x.Data)
		tensors = append(tensors, x)
	}
	return map[string][]byte{"model.safetensors": write(t, edit(tensors), nil)}
}

func editIndex(t *testing.T, edit func(weightMap map[string]string)) map[string][]byte {
	t.Helper()
	var index struct {
		Metadata  map[string]any    `json:"metadata"`
		WeightMap map[string]string `json:"weight_map"`
	}
	readGolden(t, &index, "models", "sharded", "model.safetensors.index.json")
	edit(index.WeightMap)
	data, err := json.Marshal(index)
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{"model.safetensors.index.json": data}
}

// Folders in which the parts do not belong together are refused, with what was looked for or found.
func TestOpenModelRefused(t *testing.T) {
	const norm = "model.norm.weight"
	swap := func(name string, x Tensor) func([]Tensor) []Tensor {
		return func(tensors []Tensor) []Tensor {
			i := slices.IndexFunc(tensors, func(t Tensor) bool { return t.Name == name })
			tensors[i] = x
			return tensors
		}
	}
	for _, test := range []struct {
		name, model string
		change      map[string][]byte
		want        []string
		is          error
	}{
		{"no config", "half", map[string][]byte{"config.json": nil}, []string{"config.json"}, fs.ErrNotExist},
		{"no weights", "half", map[string][]byte{"model.safetensors": nil}, []string{"model.safetensors", "index.json"}, fs.ErrNotExist},
		{"pickled weights", "half", map[string][]byte{"model.safetensors": nil, "pytorch_model.bin": {1}}, []string{"pytorch_model.bin", "safe_serialization"}, nil},
		{"torn config", "half", map[string][]byte{"config.json": []byte(`{"model_type":"qw`)}, []string{"config.json:1:"}, nil},
		{"torn weights", "half", map[string][]byte{"model.safetensors": []byte("12345678")}, []string{"model.safetensors"}, nil},
		{"a config of megabytes", "half", map[string][]byte{"config.json": make([]byte, maxConfigBytes+1)}, []string{"config.json"}, nil},
		{"another shape", "half", editWeights(t, swap(norm, Tensor{Name: norm, DType: F16, Shape: []int{8}, Data: make([]byte, 16)})), []string{norm, "[8]", "[16]"}, nil},
		{"another type", "half", editWeights(t, swap(norm, Tensor{Name: norm, DType: "I8", Shape: []int{16}, Data: make([]byte, 16)})), []string{norm, "I8"}, ErrDType},
		{"a tensor missing", "half", editWeights(t, func(x []Tensor) []Tensor { return x[1:] }), []string{"tensor"}, ErrNoTensor},
		{"a tensor too many", "half", editWeights(t, func(x []Tensor) []Tensor {
			return append(x, Tensor{Name: "model.layers.2.mlp.up_proj.weight", DType: F16, Shape: []int{0}})
		}), []string{"model.layers.2.mlp.up_proj.weight"}, nil},
		{"no head", "half", editWeights(t, func(x []Tensor) []Tensor {
			return slices.DeleteFunc(x, func(t Tensor) bool { return t.Name == "lm_head.weight" })
		}), []string{"lm_head.weight"}, ErrNoTensor},
		{"a shard missing", "sharded", map[string][]byte{"model-00002-of-00003.safetensors": nil}, []string{"index.json", "model-00002-of-00003.safetensors"}, fs.ErrNotExist},
		{"index without a tensor", "sharded", editIndex(t, func(m map[string]string) { delete(m, norm) }), []string{norm, "expected in no file"}, nil},
		{"index with another shard", "sharded", editIndex(t, func(m map[string]string) { m[norm] = "model-00001-of-00003.safetensors" }), []string{norm, "expected in model-00001-of-00003.safetensors"}, nil},
		{"index with a tensor too many", "sharded", editIndex(t, func(m map[string]string) { m["x"] = "model-00001-of-00003.safetensors" }), []string{`"x"`, "model-00001"}, nil},
		{"index out of the folder", "sharded", editIndex(t, func(m map[string]string) { m[norm] = "../model.safetensors" }), []string{norm, "../model.safetensors", "of the same folder"}, nil},
		{"index of a folder", "sharded", editIndex(t, func(m map[string]string) { m[norm] = ".." }), []string{norm, `".."`, "of the same folder"}, nil},
		{"an empty index", "sharded", editIndex(t, func(m map[string]string) { clear(m) }), []string{"weight_map"}, nil},
	} {
		m, err := OpenModelFS(copyModel(t, test.model, test.change), "there")
		if err == nil {
			m.Close()
			t.Errorf("%s: accepted", test.name)
			continue
		}
		for _, want := range append(test.want, "there") {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q is not in the message: %v", test.name, want, err)
			}
		}
		if test.is != nil && !errors.Is(err, test.is) {
			t.Errorf("%s: %v expected: %v", test.name, test.is, err)
		}
	}
	for _, path := range []string{filepath.Join(t.TempDir(), "nowhere"), filepath.Join("testdata", "models", "golden.json")} {
		if _, err := OpenModel(path); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "config.json") {
			t.Errorf("%s: %v", path, err)
		}
		if _, err := ReadAdapter(path); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "adapter_config.json") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// A copy of a tied head, and buffers of old versions, mean nothing and are let through; another head beside tie_word_embeddings is refused.
func TestOpenModelIdleTensors(t *testing.T) {
	files := copyModel(t, "tied", nil)
	s, err := ParseSafetensors("x", files["model.safetensors"].Data)
	if err != nil {
		t.Fatal(err)
	}
	var tensors []Tensor
	for _, name := range s.Names() {
		x, err := s.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		tensors = append(tensors, x)
		if name == "model.embed_tokens.weight" {
			x.Name = "lm_head.weight"
			tensors = append(tensors, x)
		}
	}
	tensors = append(tensors, Tensor{Name: "model.layers.0.self_attn.rotary_emb.inv_freq", DType: F32, Shape: []int{0}})
	files["model.safetensors"].Data = write(t, tensors, nil)
	m, err := OpenModelFS(files, "x")
	if err != nil {
		t.Fatal(err)
	}
	m.Close()
	for i := range tensors {
		if tensors[i].Name == "lm_head.weight" {
			tensors[i].Data = bytes.Clone(tensors[i].Data)
			tensors[i].Data[1] ^= 1
		}
	}
	files["model.safetensors"].Data = write(t, tensors, nil)
	if _, err := OpenModelFS(files, "x"); err == nil || !strings.Contains(err.Error(), "lm_head.weight") || !strings.Contains(err.Error(), "tie_word_embeddings") {
		t.Errorf("another head beside tie_word_embeddings: error %v", err)
	}
}

// The identity sees a change of a name, of the configuration, and of the weights.
func TestModelHash(t *testing.T) {
	hash := func(files fs.FS) string {
		m, err := OpenModelFS(files, "x")
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		return m.Hash()
	}
	unchanged := editWeights(t, func(x []Tensor) []Tensor { return x })
	seen := map[string]string{hash(copyModel(t, "half", unchanged)): "unchanged"}
	config, err := os.ReadFile(filepath.Join("testdata", "models", "half", "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]map[string][]byte{
		"config":   {"config.json": bytes.Replace(config, []byte("1e-06"), []byte("1e-05"), 1)},
		"a weight": editWeights(t, func(x []Tensor) []Tensor { x[3].Data[5] ^= 1; return x }),
		"order":    editWeights(t, func(x []Tensor) []Tensor { slices.Reverse(x); return x }),
	} {
		h := hash(copyModel(t, "half", mergeFiles(unchanged, change)))
		if other, ok := seen[h]; ok {
			t.Errorf("%s: the same identity as %s", name, other)
		}
		seen[h] = name
	}
}

// Of a large file the identity sees both ends of the data.
func TestModelHashLargeFile(t *testing.T) {
	n := 3*identitySamples*identitySampleBytes + 5
	hash := func(changed int) string {
		x := Tensor{Name: "x", DType: "U8", Shape: []int{n}, Data: make([]byte, n)}
		if changed >= 0 {
			x.Data[changed] = 1
		}
		s, err := ParseSafetensors("x", write(t, []Tensor{x}, nil))
		if err != nil {
			t.Fatal(err)
		}
		return sumSHA256((&shards{files: []shard{{"x", s}}}).identify)
	}
	if same := hash(-1); same != hash(-1) || same == hash(0) || same == hash(n-1) {
		t.Error("a change at an end of the data is not seen")
	}
}

// mergeFiles returns the files of a with those of b over them.
func mergeFiles(a, b map[string][]byte) map[string][]byte {
	files := maps.Clone(a)
	maps.Copy(files, b)
	return files
}

func FuzzWeightsIndex(f *testing.F) {
	data, err := os.ReadFile(filepath.Join("testdata", "models", "sharded", "model.safetensors.index.json"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"weight_map":{"a":"../../x.safetensors"}}`))
	root := os.DirFS(filepath.Join("testdata", "models", "sharded"))
	f.Fuzz(func(t *testing.T, data []byte) {
		w, err := folder{name: "fuzz", fsys: overlay{root, data}}.weights()
		if err != nil {
			return
		}
		for _, name := range w.Names() {
			if _, err := w.Tensor(name); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// overlay is a folder with another index, which may name plain files only.
type overlay struct {
	fs.FS
	index []byte
}

func (o overlay) Open(name string) (fs.File, error) {
	if strings.Contains(name, "/") {
		panic("a path out of the folder was opened: " + name)
	}
	if name == weightsIndexFile {
		return fstest.MapFS{name: &fstest.MapFile{Data: o.index}}.Open(name)
	}
	return o.FS.Open(name)
}
