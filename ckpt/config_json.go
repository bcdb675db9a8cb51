package ckpt

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"afctl/flow/strictjson"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// hfConfig is config.json: the keys of it that mean something here. Pointers tell what is missing, or null, from what
// is zero. Hugging Face's files have many more keys.
type hfConfig struct {
	Architectures         []string                  `json:"architectures,omitempty"`
	ModelType             string                    `json:"model_type"`
	HiddenSize            *int                      `json:"hidden_size"`
	NumHiddenLayers       *int                      `json:"num_hidden_layers"`
	NumAttentionHeads     *int                      `json:"num_attention_heads"`
	NumKeyValueHeads      *int                      `json:"num_key_value_heads"`
	HeadDim               *int                      `json:"head_dim,omitzero"`
	IntermediateSize      *int                      `json:"intermediate_size"`
	VocabSize             *int                      `json:"vocab_size"`
	MaxPositionEmbeddings *int                      `json:"max_position_embeddings"`
	RMSNormEps            *float64                  `json:"rms_norm_eps"`
	RopeTheta             *float64                  `json:"rope_theta"`
	RopeScaling           map[string]jsontext.Value `json:"rope_scaling,omitzero"`
	RopeParameters        map[string]jsontext.Value `json:"rope_parameters,omitzero"`
	TieWordEmbeddings     *bool                     `json:"tie_word_embeddings"`
	AttentionBias         *bool                     `json:"attention_bias,omitzero"`
	HiddenAct             *string                   `json:"hidden_act"`
	UseSlidingWindow      *bool                     `json:"use_sliding_window"`
	SlidingWindow         window                    `json:"sliding_window,omitzero"`
	MaxWindowLayers       *int                      `json:"max_window_layers,omitzero"`
	LayerTypes            []string                  `json:"layer_types,omitzero"`
	BOSTokenID            *int32                    `json:"bos_token_id,omitzero"`
	EOSTokenID            tokenIDs                  `json:"eos_token_id,omitzero"`
	PadTokenID            *int32                    `json:"pad_token_id,omitzero"`
	TorchDType            string                    `json:"torch_dtype,omitempty"`
	Quantization          *hfQuantization           `json:"quantization_config,omitzero"`
}

// hfQuantization says how the weights are packed.
type hfQuantization struct {
	Method string `json:"quant_method"`
}

// window is sliding_window: of a length, none where it is null, and of transformers' default length where it is missing.
type window struct {
	length int
	none   bool
}

func (w *window) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if w.none = dec.PeekKind() == 'n'; w.none {
		return dec.SkipValue()
	}
	return json.UnmarshalDecode(dec, &w.length)
}

// generationConfig is generation_config.json: only what ends a generation.
type generationConfig struct {
	EOSTokenID tokenIDs `json:"eos_token_id"`
}

// tokenIDs is null, one id, or a list of them.
type tokenIDs []int32

func (t *tokenIDs) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	*t = nil
	switch dec.PeekKind() {
	case '[':
		var list []*int32
		if err := json.UnmarshalDecode(dec, &list); err != nil {
			return err
		}
		for i, id := range list {
			if id == nil {
				return fmt.Errorf("entry %d is null, expected a token id", i)
			}
			*t = append(*t, *id)
		}
		return nil
	case 'n':
		return dec.SkipValue()
	}
	var id int32
	if err := json.UnmarshalDecode(dec, &id); err != nil {
		return err
	}
	*t = tokenIDs{id}
	return nil
}

func (t tokenIDs) MarshalJSONTo(enc *jsontext.Encoder) error {
	if len(t) == 1 {
		return json.MarshalEncode(enc, t[0])
	}
	return json.MarshalEncode(enc, []int32(t))
}

// ParseModelConfig reads config.json and, unless it is nil, generation_config.json, whose end tokens are added. file
// and generationFile are for errors. What config.json leaves out takes transformers' default for the family.
func ParseModelConfig(file string, config []byte, generationFile string, generation []byte) (ModelConfig, error) {
	var raw hfConfig
	if err := DecodeJSON(file, config, &raw, strictjson.IgnoreUnknown); err != nil {
		return ModelConfig{}, err
	}
	if err := raw.required(); err != nil {
		return ModelConfig{}, fmt.Errorf("%s: %w", file, err)
	}
	c, err := raw.modelConfig()
	if err != nil {
		return ModelConfig{}, fmt.Errorf("%s: %w", file, err)
	}
	if err := c.Validate(); err != nil {
		return ModelConfig{}, fmt.Errorf("%s: %w", file, err)
	}
	if generation != nil {
		var g generationConfig
		if err := DecodeJSON(generationFile, generation, &g, strictjson.IgnoreUnknown); err != nil {
			return ModelConfig{}, err
		}
		c.EOSTokenIDs = append(c.EOSTokenIDs, g.EOSTokenID...)
		if err := c.validateTokens(); err != nil {
			return ModelConfig{}, fmt.Errorf("%s: %w", generationFile, err)
		}
	}
	slices.Sort(c.EOSTokenIDs)
	c.EOSTokenIDs = slices.Compact(c.EOSTokenIDs)
	return c, nil
}

// required refuses a file without a key that has no default.
func (raw *hfConfig) required() error {
	if raw.ModelType == "" {
		return unsupported("model_type: missing, null or empty, expected one of %q", modelTypes)
	}
	if raw.Quantization != nil {
		return unsupported("quantization_config: found quant_method %.100q, expected none: quantised weights cannot be read yet", raw.Quantization.Method)
	}
	for _, size := range []struct {
		field string
		value *int
	}{
		{"hidden_size", raw.HiddenSize}, {"num_hidden_layers", raw.NumHiddenLayers}, {"num_attention_heads", raw.NumAttentionHeads},
		{"intermediate_size", raw.IntermediateSize}, {"vocab_size", raw.VocabSize},
	} {
		if size.value == nil {
			return fmt.Errorf("%s: missing or null, expected a whole number > 0", size.field)
		}
	}
	return nil
}

func (raw *hfConfig) modelConfig() (ModelConfig, error) {
	c := ModelConfig{
		ModelType:             raw.ModelType,
		HiddenSize:            or(raw.HiddenSize, 0),
		NumHiddenLayers:       or(raw.NumHiddenLayers, 0),
		NumAttentionHeads:     or(raw.NumAttentionHeads, 0),
		IntermediateSize:      or(raw.IntermediateSize, 0),
		VocabSize:             or(raw.VocabSize, 0),
		MaxPositionEmbeddings: or(raw.MaxPositionEmbeddings, 32768),
		RMSNormEps:            or(raw.RMSNormEps, 1e-6),
		TieWordEmbeddings:     or(raw.TieWordEmbeddings, false),
		AttentionBias:         or(raw.AttentionBias, raw.ModelType == "qwen2"),
		HiddenAct:             or(raw.HiddenAct, "silu"),
		EOSTokenIDs:           raw.EOSTokenID,
		BOSTokenID:            raw.BOSTokenID,
		PadTokenID:            raw.PadTokenID,
	}
	c.NumKeyValueHeads = or(raw.NumKeyValueHeads, c.NumAttentionHeads)
	if raw.HeadDim != nil {
		c.HeadDim = *raw.HeadDim
	} else if h := c.NumAttentionHeads; h > 0 && c.HiddenSize > 0 {
		if c.HiddenSize%h != 0 {
			return c, fmt.Errorf("num_attention_heads: found %d, expected a divisor of hidden_size %d", h, c.HiddenSize)
		}
		c.HeadDim = c.HiddenSize / h
	}
	// The window is a leftover of the architecture unless it is switched on, and then for the layers after some; layer_types says for which if it is there.
	if or(raw.UseSlidingWindow, false) && !raw.SlidingWindow.none && raw.LayerTypes == nil && or(raw.MaxWindowLayers, 28) < c.NumHiddenLayers {
		c.SlidingWindow = cmp.Or(raw.SlidingWindow.length, 4096)
	}
	if c.PadTokenID != nil && *c.PadTokenID == -1 { // how older files say none
		c.PadTokenID = nil
	}
	if n := len(raw.LayerTypes); raw.LayerTypes != nil && n != c.NumHiddenLayers {
		return c, fmt.Errorf("layer_types: found %d layers, expected num_hidden_layers = %d", n, c.NumHiddenLayers)
	}
	for i, kind := range raw.LayerTypes {
		if kind != "full_attention" {
			return c, unsupported("layer_types/%d: found %.100q, expected \"full_attention\"", i, kind)
		}
	}
	return c, raw.rope(&c)
}

// rope fills RopeTheta and RopeScaling. transformers 4 writes rope_theta and rope_scaling, 5 writes rope_parameters
// with all of it; where a file has both, they must agree.
func (raw *hfConfig) rope(c *ModelConfig) error {
	const defaultTheta = 10000 // what transformers takes where a file is silent
	c.RopeTheta = or(raw.RopeTheta, defaultTheta)
	for _, source := range []struct {
		field  string
		object map[string]jsontext.Value
	}{{"rope_scaling", raw.RopeScaling}, {"rope_parameters", raw.RopeParameters}} {
		if source.object == nil {
			continue
		}
		theta, scaling, err := readRope(source.object)
		if err != nil {
			return fmt.Errorf("%s/%w", source.field, err)
		}
		if theta != nil {
			if raw.RopeTheta != nil && *raw.RopeTheta != *theta {
				return fmt.Errorf("%s/rope_theta: found %v, but rope_theta is %v", source.field, *theta, *raw.RopeTheta)
			}
			c.RopeTheta = *theta
		}
		if scaling != nil {
			scaling.Field = source.field
			c.RopeScaling = scaling
		}
	}
	return nil
}

// readRope reads a rope_scaling or rope_parameters object. The kind is called rope_type, in older files type.
func readRope(object map[string]jsontext.Value) (theta *float64, scaling *RopeScaling, err error) {
	compactValues(object)
	s := RopeScaling{Kind: "default"}
	for _, key := range []string{"type", "rope_type"} {
		if value, ok := object[key]; ok {
			if err := json.Unmarshal(value, &s.Kind); err != nil || value.Kind() != '"' {
				return nil, nil, fmt.Errorf("%.100s: found %.100s, expected a string", key, value)
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(object)) {
		value := object[key]
		switch {
		case key == "rope_theta":
			if err := json.Unmarshal(value, &theta); err != nil || theta == nil {
				return nil, nil, fmt.Errorf("%s: found %.100s, expected a number that float64 holds", key, value)
			}
		case value.Kind() == '{': // transformers 5 writes one object per kind of layer where they differ
			return nil, nil, fmt.Errorf("%.100s: %w", key, unsupported("found parameters per kind of layer, expected one set for all layers"))
		}
	}
	if s.Kind == "default" {
		return theta, nil, nil
	}
	return theta, &s, nil
}

func or[T any](p *T, fallback T) T {
	if p == nil {
		return fallback
	}
	return *p
}
