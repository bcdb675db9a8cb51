package ckpt

import (
	"cmp"
	"errors"
	"fmt"
	"hash"
	"math"
	"slices"
	"strconv"

	"afctl/flow"
)

// Adapter is a LoRA (Hu et al. 2021): to each of some projections W of a model it adds Scale * B * A, so that
// y = W x + Scale * B (A x).
type Adapter struct {
	Config  AdapterConfig
	Modules []AdapterModule // by layer, then in the order of Projections
}

// AdapterModule is the adapter of one projection.
type AdapterModule struct {
	Layer         int
	Name          string // one of Projections
	Rank, In, Out int
	Alpha         float64
	Scale         float64   // Alpha/Rank, with rslora Alpha/sqrt(Rank)
	A             []float32 // [Rank, In], row-major
	B             []float32 // [Out, Rank], row-major
}

// Path returns the module's name in the model, "model.layers.0.self_attn.q_proj".
func (m *AdapterModule) Path() string { return modulePath(m.Layer, m.Name) }

// tensorNames are the names of A and B in adapter_model.safetensors.
func (m *AdapterModule) tensorNames() (a, b string) {
	prefix := adapterPrefix + m.Path()
	return prefix + ".lora_A.weight", prefix + ".lora_B.weight"
}

// compareModules orders modules by layer, then by their place in the layer.
func compareModules(a, b AdapterModule) int {
	return cmp.Or(cmp.Compare(a.Layer, b.Layer),
		cmp.Compare(slices.Index(Projections, a.Name), slices.Index(Projections, b.Name)))
}

// NewAdapter makes a fresh adapter for a model: A uniform in ±1/sqrt(in), PEFT's own start (Kaiming with a = sqrt(5)),
// and B zero, so that it changes nothing yet. Each module draws from a stream of its own, derived from seed, layer and
// name, so that a matrix does not depend on which others are adapted. targets are names out of Projections.
func NewAdapter(cfg ModelConfig, r int, alpha float64, targets []string, seed uint64, rslora bool) (*Adapter, error) {
	for _, target := range targets {
		if !slices.Contains(Projections, target) {
			return nil, fmt.Errorf("lora targets: found %q, expected some of %q", target, Projections)
		}
	}
	names := slices.DeleteFunc(slices.Clone(Projections), func(name string) bool { return !slices.Contains(targets, name) })
	a := &Adapter{Config: AdapterConfig{R: r, LoraAlpha: alpha, UseRSLoRA: rslora, TargetModules: Targets{Names: names}}}
	if err := a.Config.validate(); err != nil {
		return nil, fmt.Errorf("lora: %w", err)
	}
	rules, err := a.Config.rules()
	if err != nil {
		return nil, fmt.Errorf("lora: %w", err)
	}
	if bound := max(cfg.largestSide(names), leastRankBound); r > bound {
		return nil, fmt.Errorf("lora: r: found %d, expected 1 to %d: a rank beyond the sides of the adapted matrices (%d at most) adds nothing", r, bound, cfg.largestSide(names))
	}
	for layer := range cfg.NumHiddenLayers {
		for _, name := range names {
			rank, alpha, scale, err := rules.module(modulePath(layer, name))
			if err != nil {
				return nil, fmt.Errorf("lora: %w", err)
			}
			in, out, _ := cfg.ProjectionSize(name)
			m := AdapterModule{Layer: layer, Name: name, Rank: rank, In: in, Out: out, Alpha: alpha, Scale: scale,
				A: make([]float32, rank*in), B: make([]float32, out*rank)}
			rng := flow.NewRand(flow.DeriveSeed(seed, "lora", strconv.Itoa(layer), name))
			bound := 1 / math.Sqrt(float64(in))
			for i := range m.A {
				m.A[i] = float32((2*rng.Float64() - 1) * bound)
			}
			a.Modules = append(a.Modules, m)
		}
	}
	return a, nil
}

// leastRankBound is a rank that no adapter needs and every machine has room for.
const leastRankBound = 1024

// largestSide is the most rows or columns that one of these projections has.
func (c *ModelConfig) largestSide(names []string) int {
	side := 0
	for _, name := range names {
		in, out, _ := c.ProjectionSize(name)
		side = max(side, in, out)
	}
	return side
}

// Check says whether the adapter belongs to a model of this description: every target has an adapter of the right
// sizes in every layer, and there is no other. The error wraps ErrMismatch.
func (a *Adapter) Check(cfg ModelConfig) error {
	if err := a.check(cfg.NumHiddenLayers); err != nil {
		if errors.Is(err, errLayers) {
			return fmt.Errorf("adapter: %w: %w", ErrMismatch, err)
		}
		return fmt.Errorf("adapter: %w", err)
	}
	for _, entry := range a.Config.TargetModules.Names {
		if layer, _, _ := listedModule(entry); layer >= cfg.NumHiddenLayers {
			return fmt.Errorf("adapter: %w: target_modules: found %.100q, expected modules of %d layers", ErrMismatch, entry, cfg.NumHiddenLayers)
		}
	}
	for _, m := range a.Modules {
		if in, out, _ := cfg.ProjectionSize(m.Name); m.In != in || m.Out != out {
			return fmt.Errorf("adapter: %w: module %s: found %d values that A takes and %d that B gives, expected %d and %d",
				ErrMismatch, m.Path(), m.In, m.Out, in, out)
		}
	}
	return nil
}

// errLayers marks the errors of check that speak of layers that are missing or too many.
var errLayers = errors.New("adapted modules and layers differ")

// check says whether configuration and modules agree in a model of this many layers: each target is there, once, with
// the rank and scale that the configuration gives it, and with finite values of the right number.
func (a *Adapter) check(layers int) error {
	if err := a.Config.validate(); err != nil {
		return err
	}
	rules, err := a.Config.rules()
	if err != nil {
		return err
	}
	rest := a.Modules
	for layer := range layers {
		for _, name := range Projections {
			path := modulePath(layer, name)
			wanted, err := rules.targeted(layer, path)
			if err != nil {
				return err
			}
			found := len(rest) > 0 && rest[0].Layer == layer && rest[0].Name == name
			switch {
			case wanted && !found:
				return fmt.Errorf("%w: module %s: found no A and B, target_modules asks for them", errLayers, path)
			case found && !wanted:
				by := "target_modules does"
				switch e := a.Config.ExcludeModules; {
				case a.Config.LayersToTransform != nil:
					by = "target_modules and layers_to_transform do"
				case len(e.Names) > 0 || e.Regexp != "":
					by = "target_modules and exclude_modules do"
				}
				return fmt.Errorf("%w: module %s: found A and B, but %s not name it", errLayers, path, by)
			case found:
				if err := rules.checkModule(&rest[0]); err != nil {
					return err
				}
				rest = rest[1:]
			}
		}
	}
	if len(rest) > 0 {
		return fmt.Errorf("%w: found module %s, expected %d layers of %q in this order", errLayers, rest[0].Path(), layers, Projections)
	}
	for _, layer := range a.Config.LayersToTransform {
		if !slices.ContainsFunc(a.Modules, func(m AdapterModule) bool { return m.Layer == layer }) {
			return fmt.Errorf("%w: layers_to_transform: found layer %d, of which there is no module", errLayers, layer)
		}
	}
	return rules.beyond(layers)
}

// beyond says whether the targets in layers after the last one that is adapted are all excluded: they may be listed, but have no A and B.
func (r *adapterRules) beyond(layers int) error {
	for _, entry := range r.config.TargetModules.Names {
		layer, name, _ := listedModule(entry)
		if layer < layers {
			continue
		}
		path := modulePath(layer, name)
		switch wanted, err := r.targeted(layer, path); {
		case err != nil:
			return err
		case wanted:
			return fmt.Errorf("%w: module %s: found no A and B, target_modules asks for them", errLayers, path)
		}
	}
	return nil
}

func (r *adapterRules) checkModule(m *AdapterModule) error {
	rank, alpha, scale, err := r.module(m.Path())
	switch {
	case err != nil:
		return err
	case m.Rank != rank:
		return fmt.Errorf("module %s: found rank %d, expected %d by the configuration", m.Path(), m.Rank, rank)
	case m.Alpha != alpha || m.Scale != scale:
		return fmt.Errorf("module %s: found alpha %v and scale %v, expected %v and %v by the configuration", m.Path(), m.Alpha, m.Scale, alpha, scale)
	case m.In < 1 || m.Out < 1 || len(m.A) != m.Rank*m.In || len(m.B) != m.Out*m.Rank:
		return fmt.Errorf("module %s: found %d values in A and %d in B, expected [%d, %d] and [%d, %d]",
			m.Path(), len(m.A), len(m.B), m.Rank, m.In, m.Out, m.Rank)
	}
	nameA, nameB := m.tensorNames()
	return cmp.Or(checkFiniteFloats(nameA, m.A), checkFiniteFloats(nameB, m.B))
}

// layers is how many layers the modules speak of.
func (a *Adapter) layers() int {
	if len(a.Modules) == 0 {
		return 0
	}
	return a.Modules[len(a.Modules)-1].Layer + 1
}

// Hash identifies what the adapter computes, in hex: SHA-256 over each module's tensor names, shapes, scale and the bits
// of A and B. It does not depend on how configuration and files spell it.
func (a *Adapter) Hash() string {
	return sumSHA256(func(h hash.Hash) {
		buffer := make([]byte, 0, 1<<14)
		for i := range a.Modules {
			m := &a.Modules[i]
			nameA, nameB := m.tensorNames()
			hashUint(h, math.Float64bits(m.Scale))
			for _, t := range []struct {
				name       string
				rows, cols int
				values     []float32
			}{{nameA, m.Rank, m.In, m.A}, {nameB, m.Out, m.Rank, m.B}} {
				hashString(h, t.name)
				hashUint(h, uint64(t.rows))
				hashUint(h, uint64(t.cols))
				for chunk := range slices.Chunk(t.values, cap(buffer)/F32.Size()) {
					bytes := buffer[:len(chunk)*F32.Size()]
					_ = EncodeFloat32(bytes, chunk, F32) // sizes agree
					h.Write(bytes)
				}
			}
		}
	})
}
