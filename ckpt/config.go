package ckpt

import (
	"fmt"
	"math"
	"slices"
)

// ModelConfig describes a decoder-only transformer, under Hugging Face's names. A value that OpenModel or
// ParseModelConfig returned is valid: sizes are positive and bounded, heads divide, and nothing unsupported is asked.
type ModelConfig struct {
	ModelType             string // "qwen2"
	HiddenSize            int    // D
	NumHiddenLayers       int
	NumAttentionHeads     int // H
	NumKeyValueHeads      int // K; H is a multiple of it
	HeadDim               int // Dh; HiddenSize/NumAttentionHeads unless the file says otherwise
	IntermediateSize      int // F
	VocabSize             int // V; rows of the embedding, which may be more than the tokenizer has tokens
	MaxPositionEmbeddings int
	RMSNormEps            float64
	RopeTheta             float64
	RopeScaling           *RopeScaling // nil: none
	TieWordEmbeddings     bool         // the head is the embedding, transposed
	AttentionBias         bool         // q, k and v have a bias
	HiddenAct             string       // "silu"
	SlidingWindow         int          // rows a query looks back; 0: all
	EOSTokenIDs           []int32      // ascending; config.json's and generation_config.json's
	BOSTokenID            *int32       // nil: none
	PadTokenID            *int32       // nil: none
}

// RopeScaling is a change of the rotary frequencies, by the name that the file has for it.
type RopeScaling struct {
	Field string // of config.json that has it
	Kind  string // rope_type
}

// Families whose description is built: what else they have in common with Qwen2 is in TensorSpecs.
var modelTypes = []string{"qwen2"}

// Bounds on a description, a few times what any model of today has: beyond them it lies, and must not make anyone
// allocate.
const (
	maxHiddenSize       = 1 << 17
	maxLayers           = 1 << 10
	maxHeads            = 1 << 11
	maxHeadDim          = 1 << 10
	maxIntermediateSize = 1 << 20
	maxVocabSize        = 1 << 22
	maxPositions        = 1 << 28
)

// Validate checks the fields against each other and against what is built. Errors name the field as config.json does.
// ErrUnsupported for what is well-formed but not built.
func (c *ModelConfig) Validate() error {
	if !slices.Contains(modelTypes, c.ModelType) {
		return unsupported("model_type: found %.100q, expected one of %q", c.ModelType, modelTypes)
	}
	for _, size := range []struct {
		field      string
		value, max int
	}{
		{"hidden_size", c.HiddenSize, maxHiddenSize},
		{"num_hidden_layers", c.NumHiddenLayers, maxLayers},
		{"num_attention_heads", c.NumAttentionHeads, maxHeads},
		{"num_key_value_heads", c.NumKeyValueHeads, maxHeads},
		{"head_dim", c.HeadDim, maxHeadDim},
		{"intermediate_size", c.IntermediateSize, maxIntermediateSize},
		{"vocab_size", c.VocabSize, maxVocabSize},
		{"max_position_embeddings", c.MaxPositionEmbeddings, maxPositions},
	} {
		if size.value < 1 || size.value > size.max {
			return fmt.Errorf("%s: found %d, expected 1 to %d", size.field, size.value, size.max)
		}
	}
	if c.NumAttentionHeads%c.NumKeyValueHeads != 0 {
		return fmt.Errorf("num_key_value_heads: found %d, expected a divisor of num_attention_heads %d", c.NumKeyValueHeads, c.NumAttentionHeads)
	}
	if c.HeadDim%2 != 0 {
		return fmt.Errorf("head_dim: found %d, expected an even number, since rotary positions turn pairs", c.HeadDim)
	}
	if !(c.RMSNormEps > 0 && c.RMSNormEps < 1) {
		return fmt.Errorf("rms_norm_eps: found %v, expected a number between 0 and 1", c.RMSNormEps)
	}
	if !(c.RopeTheta > 0) || math.IsInf(c.RopeTheta, 0) {
		return fmt.Errorf("rope_theta: found %v, expected a number > 0", c.RopeTheta)
	}
	if c.HiddenAct != "silu" {
		return unsupported("hidden_act: found %.100q, expected \"silu\"", c.HiddenAct)
	}
	if c.RopeScaling != nil {
		return unsupported("%s/rope_type: found %.100q, expected none or \"default\"", c.RopeScaling.Field, c.RopeScaling.Kind)
	}
	if c.SlidingWindow != 0 {
		return unsupported("use_sliding_window: found a window of %d, expected attention to all earlier tokens", c.SlidingWindow)
	}
	if !c.AttentionBias {
		return unsupported("attention_bias: found false, but %s always has biases on q, k and v", c.ModelType)
	}
	return c.validateTokens()
}

// validateTokens accepts ids beyond the vocabulary, as a model whose vocabulary was cut may keep them: it never draws such a token.
func (c *ModelConfig) validateTokens() error {
	check := func(field string, id int32) error {
		if id < 0 {
			return fmt.Errorf("%s: found %d, expected an id from 0 on", field, id)
		}
		return nil
	}
	for _, id := range c.EOSTokenIDs {
		if err := check("eos_token_id", id); err != nil {
			return err
		}
	}
	if c.BOSTokenID != nil {
		if err := check("bos_token_id", *c.BOSTokenID); err != nil {
			return err
		}
	}
	if c.PadTokenID != nil {
		return check("pad_token_id", *c.PadTokenID)
	}
	return nil
}

// TensorSpec is a tensor that a model has to have.
type TensorSpec struct {
	Name  string // as transformers has it
	Layer int    // -1 outside of the layers
	Part  string // Name below its layer, "self_attn.q_proj.weight"; Name itself outside of the layers
	Shape []int
}

// Projections are the matrices of a layer that LoRA may adapt, in the order in which they are used: of the attention,
// then of the MLP.
var Projections = []string{"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}

// ProjectionPath returns the module's path below its layer, "self_attn.q_proj".
func ProjectionPath(name string) string {
	switch name {
	case "q_proj", "k_proj", "v_proj", "o_proj":
		return "self_attn." + name
	}
	return "mlp." + name
}

// ProjectionSize returns the columns (in) and rows (out) of a projection's weight. ok is false for another name.
func (c *ModelConfig) ProjectionSize(name string) (in, out int, ok bool) {
	q, kv := c.NumAttentionHeads*c.HeadDim, c.NumKeyValueHeads*c.HeadDim
	switch name {
	case "q_proj":
		return c.HiddenSize, q, true
	case "k_proj", "v_proj":
		return c.HiddenSize, kv, true
	case "o_proj":
		return q, c.HiddenSize, true
	case "gate_proj", "up_proj":
		return c.HiddenSize, c.IntermediateSize, true
	case "down_proj":
		return c.IntermediateSize, c.HiddenSize, true
	}
	return 0, 0, false
}

// TensorSpecs lists the tensors of the model under transformers' names, in the order of the forward pass. Matrices
// are [out, in]. c must be valid.
func (c *ModelConfig) TensorSpecs() []TensorSpec {
	var specs []TensorSpec
	outside := func(name string, shape ...int) {
		specs = append(specs, TensorSpec{Name: name, Layer: -1, Part: name, Shape: shape})
	}
	outside("model.embed_tokens.weight", c.VocabSize, c.HiddenSize)
	for layer := range c.NumHiddenLayers {
		add := func(part string, shape ...int) {
			specs = append(specs, TensorSpec{Name: fmt.Sprintf("model.layers.%d.%s", layer, part), Layer: layer, Part: part, Shape: shape})
		}
		add("input_layernorm.weight", c.HiddenSize)
		for i, projection := range Projections {
			if projection == "gate_proj" {
				add("post_attention_layernorm.weight", c.HiddenSize)
			}
			in, out, _ := c.ProjectionSize(projection)
			add(ProjectionPath(projection)+".weight", out, in)
			if c.AttentionBias && i < 3 {
				add(ProjectionPath(projection)+".bias", out)
			}
		}
	}
	outside("model.norm.weight", c.HiddenSize)
	if !c.TieWordEmbeddings {
		outside("lm_head.weight", c.VocabSize, c.HiddenSize)
	}
	return specs
}
