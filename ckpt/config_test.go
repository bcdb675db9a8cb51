package ckpt

import (
	"errors"
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

// hfKeys is a config.json as transformers 4 wrote it, and as Qwen2.5 models are published with it.
func hfKeys() map[string]any {
	return map[string]any{
		"architectures": []any{"Qwen2ForCausalLM"}, "model_type": "qwen2", "attention_dropout": 0.0,
		"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
		"intermediate_size": 24, "vocab_size": 40, "max_position_embeddings": 64, "rms_norm_eps": 1e-6,
		"rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": false, "use_sliding_window": false,
		"sliding_window": 32768, "max_window_layers": 21, "bos_token_id": 36, "eos_token_id": 38, "pad_token_id": 36,
		"torch_dtype": "bfloat16", "use_mrope": false,
	}
}

func parseConfig(t *testing.T, change map[string]any, generation string) (ModelConfig, error) {
	t.Helper()
	keys := hfKeys()
	for key, value := range change {
		if value == "absent" {
			delete(keys, key)
		} else {
			keys[key] = value
		}
	}
	data, err := json.Marshal(keys)
	if err != nil {
		t.Fatal(err)
	}
	var g []byte
	if generation != "" {
		g = []byte(generation)
	}
	return ParseModelConfig("config.json", data, "generation_config.json", g)
}

// The ways in which a file can say the same, or leave it to transformers' defaults.
func TestParseModelConfig(t *testing.T) {
	base := tinyConfig()
	base.EOSTokenIDs = []int32{38}
	with := func(change func(c *ModelConfig)) ModelConfig {
		c := base
		change(&c)
		return c
	}
	for _, test := range []struct {
		name       string
		change     map[string]any
		generation string
		want       ModelConfig
	}{
		{"as it is", nil, "", base},
		{"end tokens of both files, once each, ascending", map[string]any{"eos_token_id": []int{38, 39}}, `{"eos_token_id":[37,38]}`,
			with(func(c *ModelConfig) { c.EOSTokenIDs = []int32{37, 38, 39} })},
		{"one end token in the other file only", map[string]any{"eos_token_id": nil}, `{"eos_token_id":37}`,
			with(func(c *ModelConfig) { c.EOSTokenIDs = []int32{37} })},
		{"no special tokens", map[string]any{"eos_token_id": "absent", "bos_token_id": nil, "pad_token_id": "absent"}, `{"eos_token_id":null}`,
			with(func(c *ModelConfig) { c.EOSTokenIDs, c.BOSTokenID, c.PadTokenID = nil, nil, nil })},
		{"rope_parameters", map[string]any{"rope_theta": "absent", "rope_parameters": map[string]any{"rope_theta": 1e6, "rope_type": "default"}}, "",
			with(func(c *ModelConfig) { c.RopeTheta = 1e6 })},
		{"both, in agreement", map[string]any{"rope_parameters": map[string]any{"rope_theta": 1e4}}, "", base},
		{"no rope keys", map[string]any{"rope_theta": "absent"}, "", base},
		{"a kind in older words", map[string]any{"rope_scaling": map[string]any{"type": "default"}}, "", base},
		{"no key/value heads", map[string]any{"num_key_value_heads": "absent"}, "", with(func(c *ModelConfig) { c.NumKeyValueHeads = 4 })},
		{"a head size of its own", map[string]any{"head_dim": 8}, "", with(func(c *ModelConfig) { c.HeadDim = 8 })},
		{"a window that is off", map[string]any{"sliding_window": nil, "layer_types": []any{"full_attention", "full_attention"}}, "", base},
		{"a window of no layer", map[string]any{"use_sliding_window": true, "max_window_layers": 2}, "", base},
		{"a window of no layer by default", map[string]any{"use_sliding_window": true, "max_window_layers": "absent"}, "", base},
		{"a window of no length", map[string]any{"use_sliding_window": true, "max_window_layers": 1, "sliding_window": nil}, "", base},
		{"a window of layers that have none", map[string]any{"use_sliding_window": true, "max_window_layers": 1, "layer_types": []any{"full_attention", "full_attention"}}, "", base},
		{"ids beyond a vocabulary that was cut", map[string]any{"eos_token_id": 151645, "bos_token_id": 151643}, "", with(func(c *ModelConfig) {
			bos := int32(151643)
			c.EOSTokenIDs, c.BOSTokenID = []int32{151645}, &bos
		})},
		{"no padding in older words", map[string]any{"pad_token_id": -1}, "", with(func(c *ModelConfig) { c.PadTokenID = nil })},
		{"tied", map[string]any{"tie_word_embeddings": true}, "", with(func(c *ModelConfig) { c.TieWordEmbeddings = true })},
	} {
		got, err := parseConfig(t, test.change, test.generation)
		if err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s:\n got %+v\nwant %+v (%v)", test.name, got, test.want, err)
		}
	}
}

func TestParseModelConfigRefused(t *testing.T) {
	for _, test := range []struct {
		change     map[string]any
		generation string
		want       string
		is         error
	}{
		{map[string]any{"model_type": "mamba"}, "", `model_type: found "mamba"`, ErrUnsupported},
		{map[string]any{"model_type": "absent"}, "", "model_type: missing", ErrUnsupported},
		{map[string]any{"hidden_act": "gelu"}, "", `hidden_act: found "gelu"`, ErrUnsupported},
		{map[string]any{"use_sliding_window": true, "max_window_layers": 1}, "", "use_sliding_window: found a window of 32768", ErrUnsupported},
		{map[string]any{"use_sliding_window": true, "max_window_layers": 1, "sliding_window": "absent"}, "", "use_sliding_window: found a window of 4096", ErrUnsupported},
		{map[string]any{"sliding_window": "x"}, "", "sliding_window", nil},
		{map[string]any{"pad_token_id": -2}, "", "pad_token_id: found -2", nil},
		{map[string]any{"layer_types": []any{"full_attention", "sliding_attention"}}, "", "layer_types/1", ErrUnsupported},
		{map[string]any{"rope_scaling": map[string]any{"type": "yarn", "factor": 4.0}}, "", `rope_scaling/rope_type: found "yarn"`, ErrUnsupported},
		{map[string]any{"rope_parameters": map[string]any{"rope_type": "llama3", "rope_theta": 1e4}}, "", `rope_parameters/rope_type: found "llama3"`, ErrUnsupported},
		{map[string]any{"rope_parameters": map[string]any{"full_attention": map[string]any{}}}, "", "full_attention", ErrUnsupported},
		{map[string]any{"rope_parameters": map[string]any{"rope_theta": 5}}, "", "rope_parameters/rope_theta: found 5, but rope_theta is 10000", nil},
		{map[string]any{"rope_parameters": map[string]any{"rope_theta": "x"}}, "", "rope_parameters/rope_theta", nil},
		{map[string]any{"rope_scaling": map[string]any{"rope_type": 3}}, "", "rope_scaling/rope_type", nil},
		{map[string]any{"rope_theta": 0}, "", "rope_theta: found 0", nil},
		{map[string]any{"attention_bias": false}, "", "attention_bias", ErrUnsupported},
		{map[string]any{"hidden_size": "absent"}, "", "hidden_size: missing", nil},
		{map[string]any{"vocab_size": nil}, "", "vocab_size: missing or null", nil},
		{map[string]any{"hidden_size": 0}, "", "hidden_size: found 0", nil},
		{map[string]any{"eos_token_id": []any{37, nil}}, "", "entry 1 is null", nil},
		{map[string]any{"layer_types": []any{"full_attention"}}, "", "layer_types: found 1 layers, expected num_hidden_layers = 2", nil},
		{map[string]any{"layer_types": []any{}}, "", "layer_types: found 0 layers", nil},
		{map[string]any{"model_type": strings.Repeat("m", 1<<20)}, "", "mmm", ErrUnsupported},
		{map[string]any{"hidden_size": "16"}, "", "/hidden_size: found a string, expected a whole number", nil},
		{map[string]any{"hidden_size": 1 << 40}, "", "hidden_size: found 1099511627776", nil},
		{map[string]any{"hidden_size": -1}, "", "hidden_size: found -1", nil},
		{map[string]any{"quantization_config": map[string]any{"quant_method": "awq", "bits": 4}}, "", `quantization_config: found quant_method "awq", expected none`, ErrUnsupported},
		{map[string]any{"quantization_config": map[string]any{"load_in_4bit": true}}, "", "quantization_config", ErrUnsupported},
		{map[string]any{"hidden_size": 18}, "", "num_attention_heads: found 4, expected a divisor of hidden_size 18", nil},
		{map[string]any{"num_hidden_layers": -1}, "", "num_hidden_layers: found -1", nil},
		{map[string]any{"num_hidden_layers": 1 << 30}, "", "num_hidden_layers", nil},
		{map[string]any{"vocab_size": 1e15}, "", "vocab_size", nil},
		{map[string]any{"num_attention_heads": 0}, "", "num_attention_heads: found 0", nil},
		{map[string]any{"num_key_value_heads": 3}, "", "num_key_value_heads: found 3, expected a divisor of num_attention_heads 4", nil},
		{map[string]any{"head_dim": 3}, "", "head_dim: found 3, expected an even number", nil},
		{map[string]any{"rms_norm_eps": 0}, "", "rms_norm_eps: found 0", nil},
		{map[string]any{"eos_token_id": -40}, "", "eos_token_id: found -40, expected an id from 0 on", nil},
		{map[string]any{"eos_token_id": []any{1, "x"}}, "", "/eos_token_id/1", nil},
		{map[string]any{"bos_token_id": -1}, "", "bos_token_id: found -1", nil},
		{nil, `{"eos_token_id":[-99]}`, "generation_config.json: eos_token_id: found -99", nil},
		{nil, `{"eos_token_id":}`, "generation_config.json:1:", nil},
		{map[string]any{"Hidden_Size": 16}, "", `"Hidden_Size", expected "hidden_size"`, nil},
	} {
		_, err := parseConfig(t, test.change, test.generation)
		if err == nil || len(err.Error()) > 500 || !strings.Contains(err.Error(), test.want) || test.is != nil && !errors.Is(err, test.is) {
			t.Errorf("%v %s: error %v, expected %q", test.change, test.generation, err, test.want)
		}
	}
}

func FuzzModelConfig(f *testing.F) {
	names, err := filepath.Glob(filepath.Join("testdata", "models", "*", "config.json"))
	if err != nil || len(names) == 0 {
		f.Fatal("no models in testdata", err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	keys := hfKeys()
	maps.Copy(keys, map[string]any{"rope_scaling": map[string]any{"type": "yarn"}, "head_dim": 8})
	data, err := json.Marshal(keys)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := ParseModelConfig("config.json", data, "generation_config.json", data)
		if err != nil {
			return
		}
		// What is accepted is small enough to be listed, and is written so that it is read the same.
		specs := c.TensorSpecs()
		written, err := marshalModelConfig(c, F32)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseModelConfig("config.json", written, "", nil)
		if err != nil || !reflect.DeepEqual(again.TensorSpecs(), specs) || !slices.Equal(again.EOSTokenIDs, c.EOSTokenIDs) || again.RopeTheta != c.RopeTheta {
			t.Fatalf("%+v read as %+v, %v", c, again, err)
		}
	})
}

// config.json of a saved model has the class of every model type, and the type of most weights whatever stands first among the tensors.
func TestSavedConfig(t *testing.T) {
	for _, modelType := range modelTypes {
		c := tinyConfig()
		c.ModelType = modelType
		var tensors []Tensor
		for _, s := range c.TensorSpecs() {
			d := F32 // as norms of a model in half precision may be
			if len(s.Shape) == 2 {
				d = BF16
			}
			n := 1
			for _, k := range s.Shape {
				n *= k
			}
			x, err := Float32Tensor(s.Name, d, s.Shape, make([]float32, n))
			if err != nil {
				t.Fatal(err)
			}
			tensors = append(tensors, x)
		}
		slices.SortFunc(tensors, func(a, b Tensor) int { return len(a.Shape) - len(b.Shape) }) // a norm or bias first
		dir := filepath.Join(t.TempDir(), "model")
		if err := SaveModel(dir, c, tensors, nil); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(dir, configFile))
		if err != nil {
			t.Fatal(err)
		}
		var raw hfConfig
		if err := DecodeJSON(configFile, data, &raw, strictjson.IgnoreUnknown); err != nil {
			t.Fatal(err)
		}
		if raw.TorchDType != "bfloat16" || len(raw.Architectures) != 1 || raw.Architectures[0] == "" {
			t.Errorf("%s: found torch_dtype %q and architectures %q, expected \"bfloat16\" and one", modelType, raw.TorchDType, raw.Architectures)
		}
	}
}
