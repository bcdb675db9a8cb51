package ckpt

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
)

// Files of a PEFT folder.
const (
	adapterConfigFile  = "adapter_config.json"
	adapterWeightsFile = "adapter_model.safetensors"
)

// adapterPrefix is what PEFT's wrapping puts before a module's name.
const adapterPrefix = "base_model.model."

// adapterTensor is the name of a tensor that is read here.
var adapterTensor = regexp.MustCompile(
	`^base_model\.model\.model\.layers\.(0|[1-9][0-9]{0,8})\.(self_attn|mlp)\.([a-z]+_proj)\.lora_([AB])\.weight$`)

// ReadAdapter reads a PEFT folder of a LoRA: adapter_config.json and adapter_model.safetensors, in float32, float16 or
// bfloat16, widened to float32. PEFT ignores tensors that it has no place for and starts missing ones afresh, without
// an error; here each tensor of the file lands in a module and each target has its tensors, or the error names it.
// Where the folder is a checkpoint, the two files must have the sums that its SHA256SUMS lists.
// ErrUnsupported for other methods than a plain LoRA on the projections.
func ReadAdapter(dir string) (*Adapter, error) {
	f, err := openFolder(dir, "a PEFT folder with adapter_config.json and adapter_model.safetensors")
	if err != nil {
		return nil, fmt.Errorf("adapter: %w", err)
	}
	a, err := f.adapter()
	if err != nil {
		return nil, fmt.Errorf("adapter: %w", err)
	}
	return a, nil
}

func (f folder) adapter() (a *Adapter, err error) {
	sums, err := f.sums()
	if err != nil {
		return nil, err
	}
	config, err := f.read(adapterConfigFile, maxConfigBytes)
	if err == nil {
		err = checkBytes(f.path(adapterConfigFile), config, sums[adapterConfigFile])
	}
	if err != nil {
		return nil, err
	}
	c, err := parseAdapterConfig(f.path(adapterConfigFile), config)
	if err != nil {
		return nil, err
	}
	if !f.has(adapterWeightsFile) && f.has("adapter_model.bin") {
		return nil, fmt.Errorf("%s: found adapter_model.bin, expected %s: load the adapter in PEFT and save it with safe_serialization=True",
			f.name, adapterWeightsFile)
	}
	tensors, err := f.safetensors(adapterWeightsFile)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, tensors.Close()) }()
	if err := checkBytes(f.path(adapterWeightsFile), tensors.data, sums[adapterWeightsFile]); err != nil {
		return nil, err
	}
	a, err = newAdapterFromTensors(c, tensors)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.path(adapterWeightsFile), err)
	}
	return a, nil
}

// newAdapterFromTensors sorts a file's tensors into modules.
func newAdapterFromTensors(c AdapterConfig, tensors Weights) (*Adapter, error) {
	type key struct {
		layer int
		name  string
	}
	modules := map[key]*AdapterModule{}
	for _, name := range tensors.Names() {
		match := adapterTensor.FindStringSubmatch(name)
		if match == nil || ProjectionPath(match[3]) != match[2]+"."+match[3] || !slices.Contains(Projections, match[3]) {
			return nil, unsupported("tensor %.100q: expected A or B of one of %q in a layer", name, Projections)
		}
		layer, err := strconv.Atoi(match[1])
		if err != nil || layer >= maxLayers {
			return nil, fmt.Errorf("tensor %.100q: found layer %s, expected less than %d", name, match[1], maxLayers)
		}
		k := key{layer, match[3]}
		if modules[k] == nil {
			modules[k] = &AdapterModule{Layer: layer, Name: match[3]}
		}
		if err := modules[k].take(tensors, name, match[4]); err != nil {
			return nil, err
		}
	}
	a := &Adapter{Config: c}
	for _, m := range modules {
		a.Modules = append(a.Modules, *m)
	}
	slices.SortFunc(a.Modules, compareModules)
	rules, err := a.Config.rules()
	if err != nil {
		return nil, err
	}
	for i := range a.Modules {
		if err := rules.complete(&a.Modules[i]); err != nil {
			return nil, err
		}
	}
	if len(a.Modules) == 0 {
		return nil, errors.New("found no tensors, expected those of a LoRA")
	}
	return a, a.check(a.layers())
}

// take reads tensor name, which is A or B of the module.
func (m *AdapterModule) take(tensors Weights, name, which string) error {
	t, err := tensors.Tensor(name)
	if err != nil {
		return err
	}
	if len(t.Shape) != 2 || t.Len() == 0 {
		return fmt.Errorf("tensor %.100q: found shape %v, expected two dimensions > 0", name, t.Shape)
	}
	values, err := t.Float32s()
	if err != nil {
		return err
	}
	if which == "A" {
		m.Rank, m.In, m.A = t.Shape[0], t.Shape[1], values
	} else {
		m.Out, m.B = t.Shape[0], values
	}
	return nil
}

// complete checks that the module has both matrices and gives it the configuration's scale.
func (r *adapterRules) complete(m *AdapterModule) error {
	nameA, nameB := m.tensorNames()
	if m.A == nil {
		return fmt.Errorf("tensor %.100q: missing, though B is there", nameA)
	}
	if m.B == nil {
		return fmt.Errorf("tensor %.100q: missing, though A is there", nameB)
	}
	rank, alpha, scale, err := r.module(m.Path())
	if err != nil {
		return err
	}
	if m.Rank != rank {
		return fmt.Errorf("tensor %.100q: found shape [%d %d], expected [%d %d]: the configuration says rank %d", nameA, m.Rank, m.In, rank, m.In, rank)
	}
	if len(m.B) != m.Out*rank {
		return fmt.Errorf("tensor %.100q: found shape [%d %d], expected [%d %d]: the configuration says rank %d", nameB, m.Out, len(m.B)/m.Out, m.Out, rank, rank)
	}
	m.Alpha, m.Scale = alpha, scale
	return nil
}

// WriteAdapterFiles writes the two files of a PEFT folder, which PEFT and ReadAdapter read back with every bit and every scale, through create, such
// as a DirWriter's, so that they can be part of a larger folder. The bytes depend on the adapter alone.
func WriteAdapterFiles(create func(name string) (io.WriteCloser, error), a *Adapter) error {
	if err := a.check(a.layers()); err != nil {
		return fmt.Errorf("write adapter: %w", err)
	}
	config, err := a.Config.marshal()
	if err != nil {
		return fmt.Errorf("write adapter: %s: %w", adapterConfigFile, err)
	}
	var tensors []Tensor
	for i := range a.Modules {
		m := &a.Modules[i]
		nameA, nameB := m.tensorNames()
		tensorA, errA := Float32Tensor(nameA, F32, []int{m.Rank, m.In}, m.A)
		tensorB, errB := Float32Tensor(nameB, F32, []int{m.Out, m.Rank}, m.B)
		if err := errors.Join(errA, errB); err != nil {
			return fmt.Errorf("write adapter: %w", err)
		}
		tensors = append(tensors, tensorA, tensorB)
	}
	if err := createBytes(create, adapterConfigFile, config); err != nil {
		return fmt.Errorf("write adapter: %w", err)
	}
	if err := createFile(create, adapterWeightsFile, func(w io.Writer) error {
		return WriteSafetensors(w, tensors, map[string]string{"format": "pt"})
	}); err != nil {
		return fmt.Errorf("write adapter: %w", err)
	}
	return nil
}
