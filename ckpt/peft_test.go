package ckpt

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"afctl/flow/strictjson"

	"github.com/go-json-experiment/json"
)

// readGolden reads a file that a script in testdata made.
func readGolden(t testing.TB, v any, path ...string) {
	t.Helper()
	name := filepath.Join(append([]string{"testdata"}, path...)...)
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := DecodeJSON(name, data, v, strictjson.RefuseUnknown); err != nil {
		t.Fatal(err)
	}
}

// digest is SHA-256 over little-endian float32 values, as the scripts in testdata compute it.
func digest(t testing.TB, values []float32) string {
	t.Helper()
	data := make([]byte, 4*len(values))
	if err := EncodeFloat32(data, values, F32); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(data))
}

// tinyConfig is the model of testdata/make_models.py.
func tinyConfig() ModelConfig {
	return ModelConfig{
		ModelType: "qwen2", HiddenSize: 16, NumHiddenLayers: 2, NumAttentionHeads: 4, NumKeyValueHeads: 2, HeadDim: 4,
		IntermediateSize: 24, VocabSize: 40, MaxPositionEmbeddings: 64, RMSNormEps: 1e-6, RopeTheta: 10000,
		AttentionBias: true, HiddenAct: "silu", EOSTokenIDs: []int32{37, 38}, BOSTokenID: ptr(36), PadTokenID: ptr(36),
	}
}

func ptr(id int32) *int32 { return &id }

type goldenModule struct {
	Module string  `json:"module"`
	Rank   int     `json:"rank"`
	Alpha  float64 `json:"alpha"`
	Scale  float64 `json:"scale"`
	A      string  `json:"a"`
	B      string  `json:"b"`
}

// Each module has the rank, the scale and, to the bit, the matrices that PEFT gives it when it loads the folder.
func TestReadAdapterGolden(t *testing.T) {
	var golden map[string][]goldenModule
	readGolden(t, &golden, "adapters", "golden.json")
	for name, want := range golden {
		a, err := ReadAdapter(filepath.Join("testdata", "adapters", name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got []goldenModule
		for _, m := range a.Modules {
			got = append(got, goldenModule{m.Path(), m.Rank, m.Alpha, m.Scale, digest(t, m.A), digest(t, m.B)})
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", name, got, want)
		}
		if err := a.Check(tinyConfig()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		wide := tinyConfig()
		wide.HiddenSize, wide.HeadDim = 32, 8
		if err := a.Check(wide); !errors.Is(err, ErrMismatch) {
			t.Errorf("%s: accepted for a wider model: %v", name, err)
		}
		if deep := tinyConfig(); name != "regexp" && name != "brain" { // these two name their layers
			deep.NumHiddenLayers = 3
			if err := a.Check(deep); !errors.Is(err, ErrMismatch) {
				t.Errorf("%s: accepted for a deeper model: %v", name, err)
			}
		}
		shallow := tinyConfig()
		shallow.NumHiddenLayers = 1
		if err := a.Check(shallow); name != "regexp" && !errors.Is(err, ErrMismatch) {
			t.Errorf("%s: accepted for a model of one layer: %v", name, err)
		}
	}
}

// editAdapter copies the plain adapter of testdata, changes keys of its configuration and its tensors, and reads it.
func editAdapter(t *testing.T, config map[string]any, edit func(tensors map[string]Tensor)) error {
	t.Helper()
	source := filepath.Join("testdata", "adapters", "plain")
	var raw map[string]any
	readGolden(t, &raw, "adapters", "plain", "adapter_config.json")
	maps.Copy(raw, config)
	data, err := json.Marshal(raw)
	if err != nil {
		t.Fatal(err)
	}
	s, err := OpenSafetensors(filepath.Join(source, "adapter_model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	tensors := map[string]Tensor{}
	for _, name := range s.Names() {
		tensors[name], err = s.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
	}
	if edit != nil {
		edit(tensors)
	}
	var list []Tensor
	for _, name := range slices.Sorted(maps.Keys(tensors)) {
		tensor := tensors[name]
		tensor.Name = name
		list = append(list, tensor)
	}
	var b strings.Builder
	if err := WriteSafetensors(&b, list, nil); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, data := range map[string]string{"adapter_config.json": string(data), "adapter_model.safetensors": b.String()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	_, err = ReadAdapter(dir)
	return err
}

// allModules are the projections of so many layers by their names in full, as PEFT saves the targets of all-linear beside what is excluded.
func allModules(layers int) []string {
	var paths []string
	for layer := range layers {
		for _, name := range Projections {
			paths = append(paths, modulePath(layer, name))
		}
	}
	return paths
}

// An adapter whose last layers are listed and excluded belongs to models that have them, and is written as it was read.
func TestAdapterOfFirstLayers(t *testing.T) {
	first := tinyConfig()
	first.NumHiddenLayers = 1
	a, err := NewAdapter(first, 4, 8, Projections, 1, false)
	if err != nil {
		t.Fatal(err)
	}
	a.Config.TargetModules = Targets{Names: allModules(2)}
	a.Config.ExcludeModules = Targets{Regexp: `.*layers\.1.*`}
	if err := a.Check(tinyConfig()); err != nil {
		t.Errorf("a model of the two layers: %v", err)
	}
	if err := a.Check(first); !errors.Is(err, ErrMismatch) || !strings.Contains(err.Error(), "model.layers.1.") {
		t.Errorf("a model of one layer: %v, expected ErrMismatch with a name", err)
	}
	dir := filepath.Join(t.TempDir(), "adapter")
	if err := WriteDirAtomic(dir, func(d *DirWriter) error { return WriteAdapterFiles(d.Create, a) }); err != nil {
		t.Fatal(err)
	}
	if again, err := ReadAdapter(dir); err != nil || again.Hash() != a.Hash() {
		t.Errorf("read again: %v", err)
	}
}

// What PEFT would load in silence as something else is an error that names the key or the tensor.
func TestReadAdapterRefused(t *testing.T) {
	const q0 = "base_model.model.model.layers.0.self_attn.q_proj.lora_"
	tensor := func(shape ...int) Tensor {
		n := 1
		for _, d := range shape {
			n *= d
		}
		return Tensor{DType: F32, Shape: shape, Data: make([]byte, 4*n)}
	}
	put := func(name string, x Tensor) func(map[string]Tensor) {
		return func(tensors map[string]Tensor) { tensors[name] = x }
	}
	drop := func(names ...string) func(map[string]Tensor) {
		return func(tensors map[string]Tensor) {
			for _, name := range names {
				delete(tensors, name)
			}
		}
	}
	layerOnly := func(layer int) func(map[string]Tensor) {
		return func(tensors map[string]Tensor) {
			maps.DeleteFunc(tensors, func(name string, _ Tensor) bool { return !strings.Contains(name, fmt.Sprintf(".layers.%d.", layer)) })
		}
	}
	notFinite := func(tensors map[string]Tensor) {
		x := tensors[q0+"B.weight"]
		x.Data = slices.Clone(x.Data)
		copy(x.Data[4*7:], []byte{0, 0, 0xc0, 0x7f})
		tensors[q0+"B.weight"] = x
	}
	longPatterns := map[string]any{}
	for i := range 9 {
		longPatterns[fmt.Sprint(i)+strings.Repeat("a", 15000)] = 4
	}
	tests := []struct {
		name   string
		config map[string]any
		edit   func(map[string]Tensor)
		want   string // a part of the message
		is     error
	}{
		{name: "nothing", want: ""},
		{name: "neutral keys of other methods", config: map[string]any{"use_new": false, "new_config": map[string]any{}, "new_size": 3}},
		{name: "a key about embeddings", config: map[string]any{"ensure_weight_tying": true}},
		{name: "named groups", config: map[string]any{"target_modules": `.*\.(?P<part>self_attn|mlp)\.(?P<x>[a-z]+)_proj`}},
		{name: "all projections by one word", config: map[string]any{"target_modules": "all-linear"}},
		{name: "no B", edit: drop(q0 + "B.weight"), want: q0 + "B.weight"},
		{name: "no A", edit: drop(q0 + "A.weight"), want: q0 + "A.weight"},
		{name: "no module", edit: drop(q0+"A.weight", q0+"B.weight"), want: "model.layers.0.self_attn.q_proj"},
		{name: "not a target", config: map[string]any{"target_modules": []string{"k_proj"}}, want: "model.layers.0.self_attn.q_proj"},
		{name: "misspelt target", config: map[string]any{"target_modules": append([]string{"w_proj"}, Projections...)}, want: `adapter_config.json: not supported: target_modules: found "w_proj"`, is: ErrUnsupported},
		{name: "target of the wrong parent", config: map[string]any{"target_modules": append([]string{"mlp.q_proj"}, Projections...)}, want: `found "mlp.q_proj"`, is: ErrUnsupported},
		{name: "target in no layer", config: map[string]any{"target_modules": append([]string{"layers.1024.self_attn.q_proj"}, Projections...)}, want: `found "layers.1024.`, is: ErrUnsupported},
		{name: "targets by the ends of names", config: map[string]any{"target_modules": []string{"self_attn.q_proj", "self_attn.k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "0.mlp.down_proj", "layers.1.mlp.down_proj"}}},
		{name: "all modules of a model, the last excluded", config: map[string]any{"target_modules": allModules(3), "exclude_modules": `.*layers\.2.*`}},
		{name: "all modules of a model, the last missing", config: map[string]any{"target_modules": allModules(3), "exclude_modules": `.*layers\.2\.m.*`}, want: "module model.layers.2.self_attn.q_proj: found no A and B"},
		{name: "head", edit: put("base_model.model.lm_head.lora_A.weight", tensor(4, 16)), want: "lm_head", is: ErrUnsupported},
		{name: "magnitude", edit: put("base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector", tensor(16)), want: "magnitude", is: ErrUnsupported},
		{name: "wrong parent", edit: put("base_model.model.model.layers.0.mlp.q_proj.lora_A.weight", tensor(4, 16)), want: "mlp.q_proj", is: ErrUnsupported},
		{name: "layer far away", edit: put("base_model.model.model.layers.999999999.self_attn.q_proj.lora_A.weight", tensor(4, 16)), want: "999999999"},
		{name: "rank", config: map[string]any{"r": 5}, want: "q_proj.lora_A.weight"},
		{name: "rank of B", edit: put(q0+"B.weight", tensor(16, 5)), want: q0 + "B.weight"},
		{name: "vector", edit: put(q0+"A.weight", tensor(16)), want: q0 + "A.weight"},
		{name: "empty", edit: put(q0+"A.weight", tensor(4, 0)), want: q0 + "A.weight"},
		{name: "not a number", edit: notFinite, want: q0 + `B.weight": element 7`},
		{name: "integers", edit: put(q0+"A.weight", Tensor{DType: "I32", Shape: []int{4, 16}, Data: make([]byte, 256)}), want: q0 + "A.weight", is: ErrDType},
		{name: "alpha 0", config: map[string]any{"lora_alpha": 0}, want: "lora_alpha"},
		{name: "alpha beyond float32", config: map[string]any{"lora_alpha": 1e40}, want: "lora_alpha of model.layers.0"},
		{name: "alpha below float32", config: map[string]any{"lora_alpha": 1e-50}, want: "lora_alpha of model.layers.0"},
		{name: "alpha a word", config: map[string]any{"lora_alpha": "8"}, want: "/lora_alpha"},
		{name: "rank a fraction", config: map[string]any{"r": 4.5}, want: "/r"},
		{name: "too many targets", config: map[string]any{"target_modules": slices.Repeat([]string{"q_proj"}, maxModules+1)}, want: "target_modules: found 8193 entries"},
		{name: "rank 0", config: map[string]any{"r": 0}, want: "r: found 0"},
		{name: "no rank", config: map[string]any{"r": nil}, want: "r: missing or null"},
		{name: "case", config: map[string]any{"R": 5}, want: `"R", expected "r"`},
		{name: "other method", config: map[string]any{"peft_type": "IA3"}, want: "peft_type", is: ErrUnsupported},
		{name: "other task", config: map[string]any{"task_type": "SEQ_CLS"}, want: "task_type", is: ErrUnsupported},
		{name: "dora", config: map[string]any{"use_dora": true}, want: "use_dora", is: ErrUnsupported},
		{name: "bias", config: map[string]any{"bias": "all"}, want: "bias", is: ErrUnsupported},
		{name: "lora bias", config: map[string]any{"lora_bias": true}, want: "lora_bias", is: ErrUnsupported},
		{name: "transposed", config: map[string]any{"fan_in_fan_out": true}, want: "fan_in_fan_out", is: ErrUnsupported},
		{name: "saved modules", config: map[string]any{"modules_to_save": []string{"lm_head"}}, want: "modules_to_save", is: ErrUnsupported},
		{name: "some layers", config: map[string]any{"layers_to_transform": 1}, edit: layerOnly(1)},
		{name: "some layers, a list", config: map[string]any{"layers_to_transform": []int{0}, "layers_pattern": []string{"layers"}}, edit: layerOnly(0)},
		{name: "all layers", config: map[string]any{"layers_to_transform": []int{1, 0}, "layers_pattern": "layers"}},
		{name: "no layers listed", config: map[string]any{"layers_to_transform": []int{}}},
		{name: "another layer", config: map[string]any{"layers_to_transform": 1}, edit: layerOnly(0), want: "model.layers.0.self_attn.q_proj: found A and B, but target_modules and layers_to_transform"},
		{name: "a layer more", config: map[string]any{"layers_to_transform": 1}, want: "model.layers.0.self_attn.q_proj: found A and B"},
		{name: "a layer less", config: map[string]any{"layers_to_transform": []int{0, 1}}, edit: layerOnly(1), want: "model.layers.0.self_attn.q_proj: found no A and B"},
		{name: "a layer that is not there", config: map[string]any{"layers_to_transform": []int{0, 1, 2}}, want: "layers_to_transform: found layer 2"},
		{name: "a layer below 0", config: map[string]any{"layers_to_transform": []int{0, 1, -1}}, want: "layers_to_transform: found layer -1"},
		{name: "layers without end", config: map[string]any{"layers_to_transform": make([]int, 1<<20)}, want: "layers_to_transform: found 1048576 entries"},
		{name: "layers beside an expression", config: map[string]any{"layers_to_transform": 1, "target_modules": "all-linear"}, want: "layers_to_transform"},
		{name: "layers in words", config: map[string]any{"layers_to_transform": "1"}, want: "/layers_to_transform"},
		{name: "layers elsewhere", config: map[string]any{"layers_to_transform": 1, "layers_pattern": "h"}, want: `layers_pattern: found "h"`, is: ErrUnsupported},
		{name: "pissa", config: map[string]any{"init_lora_weights": "pissa"}, want: "init_lora_weights", is: ErrUnsupported},
		{name: "excluded, but not here", config: map[string]any{"exclude_modules": []string{"lm_head"}}},
		{name: "excluded by a name", config: map[string]any{"exclude_modules": []string{"layers.0.self_attn.q_proj"}}, edit: drop(q0+"A.weight", q0+"B.weight")},
		{name: "excluded by an expression", config: map[string]any{"exclude_modules": `.*\.0\.self_attn\.[qx]_proj|lm_head`}, edit: drop(q0+"A.weight", q0+"B.weight")},
		{name: "an expression is of the whole name", config: map[string]any{"exclude_modules": "q_proj"}},
		{name: "excluded, and there", config: map[string]any{"exclude_modules": []string{"q_proj"}}, want: "model.layers.0.self_attn.q_proj: found A and B, but target_modules and exclude_modules"},
		{name: "bad expression of what is excluded", config: map[string]any{"exclude_modules": "(q"}, want: "adapter_config.json: exclude_modules: not a regular expression"},
		{name: "nothing excluded", config: map[string]any{"exclude_modules": ""}},
		{name: "a number excluded", config: map[string]any{"exclude_modules": 3}, want: "/exclude_modules"},
		{name: "too much excluded", config: map[string]any{"exclude_modules": slices.Repeat([]string{"q_proj"}, maxModules+1)}, want: "exclude_modules: found 8193 entries"},
		{name: "unknown switch", config: map[string]any{"use_next_years_lora": true}, want: "use_next_years_lora", is: ErrUnsupported},
		{name: "replicated layers", config: map[string]any{"layer_replication": [][]int{{0, 2}}}, want: "layer_replication", is: ErrUnsupported},
		{name: "bad target expression", config: map[string]any{"target_modules": "(q"}, want: "adapter_config.json: target_modules: not a regular expression"},
		{name: "bad pattern", config: map[string]any{"rank_pattern": map[string]any{"(": 4}}, want: "adapter_config.json: rank_pattern/(: not a regular expression"},
		{name: "bad pattern of alpha", config: map[string]any{"alpha_pattern": map[string]any{"[": 4}}, want: "adapter_config.json: alpha_pattern/[: not a regular expression"},
		{name: "long pattern", config: map[string]any{"alpha_pattern": map[string]any{strings.Repeat("(", 1<<13): 4}}, want: "adapter_config.json: alpha_pattern/((("},
		{name: "a long expression", config: map[string]any{"target_modules": strings.Repeat("(?:a.)", 3000)}, want: "adapter_config.json: target_modules: found an expression of 18000 bytes"},
		{name: "a pattern that is longer", config: map[string]any{"rank_pattern": map[string]any{strings.Repeat("(?:a.)", 3000): 4}}, want: "rank_pattern: found an expression of 18000 bytes"},
		{name: "many long patterns", config: map[string]any{"alpha_pattern": longPatterns}, want: "alpha_pattern: found an expression of 15001 bytes, and 135009 bytes of all so far"},
		{name: "no alpha", config: map[string]any{"lora_alpha": nil}, want: "lora_alpha: missing or null"},
		{name: "no method", config: map[string]any{"peft_type": nil}, want: "peft_type: missing"},
		{name: "pattern of rank 0", config: map[string]any{"rank_pattern": map[string]any{"x": 0}}, want: "rank_pattern/x"},
		{name: "pattern of alpha 0", config: map[string]any{"alpha_pattern": map[string]any{"x": 0}}, want: "alpha_pattern/x"},
		{name: "patterns a list", config: map[string]any{"alpha_pattern": []int{1}}, want: "/alpha_pattern"},
		{name: "no targets", config: map[string]any{"target_modules": nil}, want: "target_modules"},
	}
	for _, test := range tests {
		err := editAdapter(t, test.config, test.edit)
		switch {
		case test.want == "" && err != nil, test.want != "" && err == nil:
			t.Errorf("%s: error %v", test.name, err)
		case err != nil && (!strings.Contains(err.Error(), test.want) || len(err.Error()) > 1000):
			t.Errorf("%s: %q is not in the message: %v", test.name, test.want, err)
		case test.is != nil && !errors.Is(err, test.is):
			t.Errorf("%s: %v expected, found %v", test.name, test.is, err)
		}
	}
}

// Every answer is that of Python's re.fullmatch.
func TestPythonGroups(t *testing.T) {
	for _, test := range []struct {
		expression, text string
		want             bool
	}{
		{`(?P<x>model)\.(?P=x)_proj`, "model.model_proj", true},
		{`(?P<x>a|b)\.(?P=x)_proj`, "a.b_proj", false},
		{`.*\.(?P<n>[qk])_proj`, "a.q_proj", true},
		{`[(?P<]+x`, "P<x", true},
		{`\(?P<x`, "(P<x", true},
		{`layers.\d{,2}.q`, "layers.17.q", true},
		{`layers.\d{,2}.q`, "layers..q", true},
		{`layers.\d{,2}.q`, "layers.123.q", false},
		{`a{,}`, "aaa", true},
		{`a[{,2}]+`, "a{,2}", true},
		{`a\{,2}`, "a{,2}", true},
	} {
		re, err := compile("field", "^(?:"+test.expression+")$")
		if err != nil {
			t.Error(err)
			continue
		}
		if got, err := re.MatchString(test.text); err != nil || got != test.want {
			t.Errorf("%s on %s: %v, %v, expected %v", test.expression, test.text, got, err, test.want)
		}
	}
}

func FuzzAdapterConfig(f *testing.F) {
	names, err := filepath.Glob(filepath.Join("testdata", "adapters", "*", "adapter_config.json"))
	if err != nil || len(names) == 0 {
		f.Fatal("no adapters in testdata", err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, excluded := range []string{`"lm_head"`, `["lm_head"]`, `[]`, `""`, `null`} {
		f.Add([]byte(`{"peft_type":"LORA","r":2,"lora_alpha":4,"target_modules":["q_proj"],"exclude_modules":` + excluded + `}`))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parseAdapterConfig("adapter_config.json", data)
		if err != nil {
			return
		}
		written, err := c.marshal()
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseAdapterConfig("adapter_config.json", written)
		if err != nil || !reflect.DeepEqual(again, c) {
			t.Fatalf("%+v read as %+v, %v", c, again, err)
		}
	})
}

// The matches of an adapter's expressions have one time together: expressions that each stop short of it do not add up to hours.
func TestAdapterRulesTime(t *testing.T) {
	c := AdapterConfig{R: 4, LoraAlpha: 8, TargetModules: Targets{Names: []string{"q_proj"}}, RankPattern: Patterns[int]{{Key: "k_proj", Value: 2}}}
	r, err := c.rules()
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		if _, _, _, err := r.module("self_attn.q_proj"); err != nil {
			t.Fatal(err)
		}
	}
	if r.spent <= 0 {
		t.Error("1000 matches are not counted")
	}
	r.spent = matchTimeout + 1
	if _, _, _, err := r.module("self_attn.q_proj"); err == nil || !strings.Contains(err.Error(), "rank_pattern") {
		t.Errorf("%v, expected an error about the time of rank_pattern", err)
	}
}
