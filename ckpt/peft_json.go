package ckpt

import (
	"errors"
	"fmt"
	"slices"

	"afctl/flow/strictjson"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// peftConfig is adapter_config.json. All keys that give a LoRA its meaning are always written, since those that are
// missing take PEFT's defaults (r 8, alpha 8, targets q_proj and v_proj). Rest holds the keys of PEFT's other methods.
type peftConfig struct {
	PeftType            string                    `json:"peft_type"`
	TaskType            *string                   `json:"task_type"`
	BaseModelNameOrPath *string                   `json:"base_model_name_or_path"`
	R                   *int                      `json:"r"`
	LoraAlpha           *float64                  `json:"lora_alpha"`
	LoraDropout         float64                   `json:"lora_dropout"`
	TargetModules       Targets                   `json:"target_modules"`
	ExcludeModules      Targets                   `json:"exclude_modules,omitzero"`
	Bias                *string                   `json:"bias"`
	FanInFanOut         bool                      `json:"fan_in_fan_out"`
	InferenceMode       bool                      `json:"inference_mode"`
	UseRSLoRA           bool                      `json:"use_rslora"`
	UseDoRA             bool                      `json:"use_dora"`
	RankPattern         Patterns[int]             `json:"rank_pattern"`
	AlphaPattern        Patterns[float64]         `json:"alpha_pattern"`
	ModulesToSave       []string                  `json:"modules_to_save"`
	LayersToTransform   layerList                 `json:"layers_to_transform"`
	LayersPattern       Targets                   `json:"layers_pattern,omitzero"` // one or several names, too
	InitLoraWeights     jsontext.Value            `json:"init_lora_weights"`
	Rest                map[string]jsontext.Value `json:",embed"`
}

// harmless are keys of PEFT that may hold something and still change nothing about what the tensors mean.
var harmless = []string{"auto_mapping", "revision", "peft_version", "loftq_config", "eva_config", "corda_config",
	"runtime_config", "ephemeral_gpu_offload", "ensure_weight_tying"} // the last is about embeddings, which no adapter here has

// harmlessInits are ways to draw the first weights that leave the base model as it is. PiSSA, OLoRA, LoftQ and CorDA
// change the base, so their adapters do not fit the one on disk.
var harmlessInits = []string{"true", "false", "null", `"gaussian"`, `"orthogonal"`, `"eva"`}

// parseAdapterConfig reads adapter_config.json.
func parseAdapterConfig(file string, data []byte) (AdapterConfig, error) {
	var raw peftConfig
	if err := DecodeJSON(file, data, &raw, strictjson.IgnoreUnknown); err != nil {
		return AdapterConfig{}, err
	}
	raw.InitLoraWeights.Compact()
	compactValues(raw.Rest)
	c, err := raw.adapterConfig()
	if err == nil {
		err = c.validate()
	}
	if err == nil { // now, while the file is known that a bad expression stands in
		_, err = c.rules()
	}
	if err != nil {
		return AdapterConfig{}, fmt.Errorf("%s: %w", file, err)
	}
	return c, nil
}

func (raw *peftConfig) adapterConfig() (AdapterConfig, error) {
	var c AdapterConfig
	if raw.PeftType == "" {
		return c, errors.New("peft_type: missing, null or empty, expected \"LORA\"")
	}
	if raw.PeftType != "LORA" {
		return c, unsupported("peft_type: found %.100q, expected \"LORA\"", raw.PeftType)
	}
	if task := or(raw.TaskType, "CAUSAL_LM"); task != "CAUSAL_LM" {
		return c, unsupported("task_type: found %.100q, expected \"CAUSAL_LM\"", task)
	}
	switch {
	case raw.R == nil:
		return c, errors.New("r: missing or null, expected a whole number > 0")
	case raw.LoraAlpha == nil:
		return c, errors.New("lora_alpha: missing or null, expected a number > 0")
	}
	switch {
	case or(raw.Bias, "none") != "none":
		return c, unsupported("bias: found %.100q, expected \"none\"", *raw.Bias)
	case raw.FanInFanOut:
		return c, unsupported("fan_in_fan_out: found true, expected false: the matrices here are [out, in]")
	case raw.UseDoRA:
		return c, unsupported("use_dora: found true, expected a plain LoRA")
	case len(raw.ModulesToSave) > 0:
		return c, unsupported("modules_to_save: found %.100q, expected null: no weights but LoRA's", raw.ModulesToSave)
	}
	for _, pattern := range append(raw.LayersPattern.Names, raw.LayersPattern.Regexp) {
		if pattern != "" && pattern != "layers" {
			return c, unsupported("layers_pattern: found %.100q, expected null or \"layers\"", pattern)
		}
	}
	if init := string(raw.InitLoraWeights); init != "" && !slices.Contains(harmlessInits, init) {
		return c, unsupported("init_lora_weights: found %.100s, which changes the base model; convert the adapter to a plain LoRA in PEFT", init)
	}
	for key, value := range raw.Rest {
		// Numbers and words tune what another key switches on, so they mean nothing alone.
		kind := value.Kind()
		switchesOn := kind == 't' || kind == '{' || kind == '['
		if switchesOn && !neutral(value) && !slices.Contains(harmless, key) {
			return c, unsupported("%.100s: found %.100s, expected nothing: it may change what the tensors mean", key, value)
		}
	}
	return AdapterConfig{
		BaseModelNameOrPath: or(raw.BaseModelNameOrPath, ""),
		R:                   *raw.R, LoraAlpha: *raw.LoraAlpha, LoraDropout: raw.LoraDropout,
		UseRSLoRA: raw.UseRSLoRA, TargetModules: raw.TargetModules, ExcludeModules: raw.ExcludeModules, LayersToTransform: raw.LayersToTransform,
		RankPattern: raw.RankPattern, AlphaPattern: raw.AlphaPattern,
	}, nil
}

// neutral says whether a compact value switches nothing on.
func neutral(v jsontext.Value) bool {
	return slices.Contains([]string{"", "null", "false", "{}", "[]", `""`}, string(v))
}

// marshal is the inverse of parseAdapterConfig.
func (c *AdapterConfig) marshal() ([]byte, error) {
	task, bias := "CAUSAL_LM", "none"
	raw := peftConfig{
		PeftType: "LORA", TaskType: &task,
		R: &c.R, LoraAlpha: &c.LoraAlpha, LoraDropout: c.LoraDropout, TargetModules: c.TargetModules, ExcludeModules: c.ExcludeModules,
		Bias: &bias, InferenceMode: true, UseRSLoRA: c.UseRSLoRA,
		RankPattern: c.RankPattern, AlphaPattern: c.AlphaPattern,
		LayersToTransform: c.LayersToTransform, InitLoraWeights: jsontext.Value("true"),
	}
	if c.BaseModelNameOrPath != "" {
		raw.BaseModelNameOrPath = &c.BaseModelNameOrPath
	}
	data, err := json.Marshal(raw, jsontext.WithIndent("  "), json.FormatNilSliceAsNull(true))
	return append(data, '\n'), err
}
