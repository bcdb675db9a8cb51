package ckpt

import (
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"pgregory.net/rapid"
)

// memFiles collects what WriteAdapterFiles writes.
type memFiles map[string][]byte

type memFile struct {
	files memFiles
	name  string
	strings.Builder
}

func (f *memFile) Close() error {
	f.files[f.name] = []byte(f.String())
	return nil
}

func (m memFiles) create(name string) (io.WriteCloser, error) {
	return &memFile{files: m, name: name}, nil
}

// What is written is read back with the same bits and settings, and a second writing gives the same bytes.
func TestWriteAdapterRoundTrip(t *testing.T) {
	names, err := filepath.Glob(filepath.Join("testdata", "adapters", "*", "adapter_config.json"))
	if err != nil || len(names) == 0 {
		t.Fatal("no adapters in testdata", err)
	}
	for _, name := range names {
		a, err := ReadAdapter(filepath.Dir(name))
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(t.TempDir(), "out")
		write := func(d *DirWriter) error { return WriteAdapterFiles(d.Create, a) }
		if err := WriteDirAtomic(dir, write); err != nil {
			t.Fatal(err)
		}
		b, err := ReadAdapter(dir)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(a, b) {
			t.Errorf("%s: written as %+v, read as %+v", name, a.Config, b.Config)
		}
		files := memFiles{}
		if err := WriteAdapterFiles(files.create, b); err != nil {
			t.Fatal(err)
		}
		for file, data := range files {
			onDisk, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil || string(onDisk) != string(data) {
				t.Errorf("%s: %s: other bytes at the second writing (%v)", name, file, err)
			}
		}
	}
}

// A key that is missing takes PEFT's default, so every one that gives the tensors their meaning has to be there.
func TestAdapterConfigKeys(t *testing.T) {
	c := AdapterConfig{R: 3, LoraAlpha: 16, TargetModules: Targets{Names: []string{"q_proj"}}}
	data, err := c.marshal()
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": nil, "r": 3.0, "lora_alpha": 16.0,
		"lora_dropout": 0.0, "target_modules": []any{"q_proj"}, "bias": "none", "fan_in_fan_out": false,
		"inference_mode": true, "use_rslora": false, "use_dora": false, "rank_pattern": map[string]any{},
		"alpha_pattern": map[string]any{}, "modules_to_save": nil, "layers_to_transform": nil, "init_lora_weights": true,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
	if !strings.Contains(string(data), `"lora_alpha": 16,`) {
		t.Errorf("a whole alpha must be written as one, some readers want an integer:\n%s", data)
	}
}

// A fresh adapter changes nothing, has the scales that were asked for, comes back from its files, and a module's first
// matrix depends on seed, layer and name alone.
func TestNewAdapter(t *testing.T) {
	cfg := tinyConfig()
	rapid.Check(t, func(rt *rapid.T) {
		targets := rapid.SliceOfNDistinct(rapid.SampledFrom(Projections), 1, 7, rapid.ID).Draw(rt, "targets")
		r, alpha, rslora := rapid.IntRange(1, 9).Draw(rt, "r"), rapid.Float64Range(0.1, 64).Draw(rt, "alpha"), rapid.Bool().Draw(rt, "rslora")
		seed := rapid.Uint64().Draw(rt, "seed")
		a, err := NewAdapter(cfg, r, alpha, targets, seed, rslora)
		if err != nil {
			rt.Fatal(err)
		}
		if err := a.Check(cfg); err != nil {
			rt.Fatal(err)
		}
		all, err := NewAdapter(cfg, r, alpha, Projections, seed, rslora)
		if err != nil {
			rt.Fatal(err)
		}
		for _, m := range a.Modules {
			if slices.ContainsFunc(m.B, func(x float32) bool { return x != 0 }) {
				rt.Fatalf("%s: B is not zero", m.Path())
			}
			// The bound 1/sqrt(in), squared and in exact terms; float32 rounding may reach it, not pass it.
			if slices.ContainsFunc(m.A, func(x float32) bool { return float64(x)*float64(x)*float64(m.In) > 1+1e-6 }) {
				rt.Fatalf("%s: A is out of bounds", m.Path())
			}
			i := slices.IndexFunc(all.Modules, func(o AdapterModule) bool { return o.Layer == m.Layer && o.Name == m.Name })
			if !slices.Equal(all.Modules[i].A, m.A) {
				rt.Fatalf("%s: A depends on the other targets", m.Path())
			}
		}
		files := memFiles{}
		if err := WriteAdapterFiles(files.create, a); err != nil {
			rt.Fatal(err)
		}
		c, err := parseAdapterConfig("adapter_config.json", files["adapter_config.json"])
		if err != nil {
			rt.Fatal(err)
		}
		s, err := ParseSafetensors("adapter_model.safetensors", files["adapter_model.safetensors"])
		if err != nil {
			rt.Fatal(err)
		}
		b, err := newAdapterFromTensors(c, s)
		if err != nil {
			rt.Fatal(err)
		}
		if !reflect.DeepEqual(a, b) || a.Hash() != b.Hash() {
			rt.Fatal("read back differently")
		}
	})
	if _, err := NewAdapter(cfg, 4, 8, []string{"q_proj", "lm_head"}, 1, false); err == nil {
		t.Error("a target that is no projection was accepted")
	}
	if _, err := NewAdapter(cfg, 4, -8, []string{"q_proj"}, 1, false); err == nil || !strings.HasSuffix(err.Error(), "lora_alpha: found -8, expected a number > 0") {
		t.Errorf("alpha below 0: %v", err)
	}
	if _, err := NewAdapter(cfg, 1024, 8, []string{"k_proj"}, 1, false); err != nil {
		t.Error(err)
	}
	if _, err := NewAdapter(cfg, 1<<20, 8, []string{"k_proj"}, 1, false); err == nil || !strings.Contains(err.Error(), "lora: r: found 1048576, expected 1 to 1024") {
		t.Errorf("a rank that no machine has room for: %v", err)
	}
}

// A is uniform: over all its values, in units of the bound, the mean is 0 and the variance 1/3, within five standard
// errors, sqrt(1/3/n) and sqrt(4/45/n).
func TestNewAdapterVariance(t *testing.T) {
	a, err := NewAdapter(tinyConfig(), 64, 8, Projections, 1, false)
	if err != nil {
		t.Fatal(err)
	}
	sum, squares, n := 0.0, 0.0, 0
	for _, m := range a.Modules {
		for _, x := range m.A {
			scaled := float64(x) * math.Sqrt(float64(m.In))
			sum, squares, n = sum+scaled, squares+scaled*scaled, n+1
		}
	}
	const standardErrors = 5
	if mean := sum / float64(n); mean*mean > standardErrors*standardErrors*(1.0/3)/float64(n) {
		t.Errorf("mean %v over %d values", mean, n)
	}
	if d := squares/float64(n) - 1.0/3; d*d > standardErrors*standardErrors*(4.0/45)/float64(n) {
		t.Errorf("variance off by %v over %d values", d, n)
	}
}

// Any change of a bit, a shape or a scale changes the hash.
func TestAdapterHash(t *testing.T) {
	fresh := func() *Adapter {
		a, err := NewAdapter(tinyConfig(), 4, 8, []string{"q_proj", "down_proj"}, 1, false)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	want := fresh().Hash()
	if fresh().Hash() != want {
		t.Fatal("two equal adapters differ")
	}
	for name, change := range map[string]func(a *Adapter){
		"A":     func(a *Adapter) { a.Modules[3].A[5] += 1e-6 },
		"sign":  func(a *Adapter) { a.Modules[0].B[0] = float32(math.Copysign(0, -1)) },
		"scale": func(a *Adapter) { a.Modules[1].Scale *= 2 },
		"name":  func(a *Adapter) { a.Modules[0].Name = "o_proj" },
		"shape": func(a *Adapter) { a.Modules[0].Rank, a.Modules[0].In = 8, 8 },
		"order": func(a *Adapter) { slices.Reverse(a.Modules) },
	} {
		a := fresh()
		change(a)
		if a.Hash() == want {
			t.Errorf("%s: the hash did not change", name)
		}
	}
}
