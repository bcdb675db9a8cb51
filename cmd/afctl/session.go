package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"afctl/bench/gym"
	"afctl/ckpt"
	"afctl/cuda"
	"afctl/engine"
	"afctl/kernels"
	"afctl/kernels/cpu"

	"github.com/spf13/cobra"
)

// gymModel is the name of the planner that is embedded in the binary.
const gymModel = "gym"

// Names of the back ends.
const backendCPU = "cpu"

var backendNames = []string{backendCPU, cuda.Backend}

// modelFlags are the flags that stand for config keys, and those that bring the config; each command takes those that it uses.
type modelFlags struct {
	config, model, adapter string
	sets                   []string
	extra                  []assignment    // of a command's own flags that stand for keys; those that are given count
	own                    func(c *Config) // what the command has whatever the config says; nil for nothing
}

func (f *modelFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.model, "model", "", `folder of the model (config.json, *.safetensors), or "gym"`)
	cmd.Flags().StringVar(&f.adapter, "adapter", "", "PEFT folder of the adapter")
	cmd.Flags().StringVar(&f.config, "config", "", "YAML `file`, as afctl init writes one")
	cmd.Flags().StringArrayVar(&f.sets, "set", nil, "key=value: a key of the config, such as engine.threads=2 (repeatable; the last of a key counts)")
}

// untrained is for commands that train nothing: with trainable: full in a config they take an adapter all the same, and hold the weights once.
func untrained(c *Config) { c.Trainable = engine.LoRA }

// settings reads the config that the flags describe. scope are the keys that --set may name.
func (f *modelFlags) settings(cmd *cobra.Command, scope ...string) (*settings, error) {
	src := configSource{file: f.config, sets: f.sets, own: f.own, scope: scope}
	if len(scope) > 0 && !inScope("run.tasks_per_step", scope) {
		src.own = func(c *Config) { // no bound on flow.group_size comes from it
			c.Run.TasksPerStep = 1
			if f.own != nil {
				f.own(c)
			}
		}
	}
	for _, a := range append(slices.Clip(f.extra), assignment{"--model", "model", f.model}, assignment{"--adapter", "adapter", f.adapter}) {
		if cmd.Flags().Changed(strings.TrimPrefix(a.origin, "--")) {
			src.flags = append(src.flags, a)
		}
	}
	s, err := readSettings(cmd.Context(), src)
	var file *fs.PathError
	if errors.As(err, &file) {
		from := "--config"
		if !cmd.Flags().Changed(from[2:]) {
			from = "--run" // whose own it is
		}
		return nil, fmt.Errorf("%s: %w", from, err)
	}
	return s, err
}

// modelSettings is settings for commands that work on a given model, which has to be named.
func (f *modelFlags) modelSettings(cmd *cobra.Command, scope ...string) (*settings, error) {
	s, err := f.settings(cmd, scope...)
	if err == nil && !s.given("model") {
		err = required(cmd, "model")
	}
	return s, err
}

// openModel opens the model of a config.
func openModel(c *Config) (*ckpt.Model, error) {
	if c.Model != gymModel {
		if ckpt.IsFullCheckpoint(c.Model) {
			return nil, fullCheckpointError("model", c.Model)
		}
		return ckpt.OpenModel(c.Model)
	}
	files, err := gym.Planner()
	if err != nil {
		return nil, err
	}
	return ckpt.OpenModelFS(files, gymModel)
}

// openBackend starts the back end of a config, to be closed by the caller, and says what a run's bits depend on beside seed and data. Our own
// products have the same bits on any number of threads; a library's need not.
func openBackend(c *EngineConfig) (kernels.Backend, ckpt.EngineIdentity, error) {
	if c.Backend == cuda.Backend {
		return nil, ckpt.EngineIdentity{}, cuda.Available()
	}
	b, err := cpu.New(cpu.Options{Threads: c.Threads})
	if err != nil {
		return nil, ckpt.EngineIdentity{}, err
	}
	id := ckpt.EngineIdentity{DType: c.DType, Backend: fmt.Sprintf("%s %v", b.Name(), b.Level()), Products: b.Products()}
	if id.Products != string(cpu.ProductsOwn) {
		id.Threads = b.Threads()
	}
	return b, id, nil
}

// session is a model on a back end, with what is trained on it.
type session struct {
	model    *ckpt.Model
	backend  kernels.Backend
	identity ckpt.EngineIdentity
	engine   *engine.Engine
}

// openSession loads the model m, which it owns from now on, into a back end; Close releases both.
func openSession(c *Config, m *ckpt.Model) (*session, error) {
	b, id, err := openBackend(&c.Engine)
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	dtype := kernels.F32
	if c.Engine.DType == "bf16" {
		dtype = kernels.BF16
	}
	e, err := engine.New(b, m, engine.Options{DType: dtype, Trainable: c.Trainable, MicroBatchTokens: c.Engine.MicroBatchTokens})
	if err != nil {
		return nil, errors.Join(err, b.Close(), m.Close())
	}
	return &session{model: m, backend: b, identity: id, engine: e}, nil
}

// Close frees everything; the session is done with then.
func (s *session) Close() error {
	s.engine.Close()
	return errors.Join(s.backend.Close(), s.model.Close())
}

// readAdapter reads the config's adapter and checks that it belongs to the model; nil where the config names none.
func readAdapter(c *Config, m *ckpt.Model) (*ckpt.Adapter, error) {
	if c.Adapter == "" {
		return nil, nil
	}
	if ckpt.IsFullCheckpoint(c.Adapter) {
		return nil, fullCheckpointError("adapter", c.Adapter)
	}
	a, err := ckpt.ReadAdapter(c.Adapter)
	if err != nil {
		return nil, err
	}
	if err := a.Check(m.Config); err != nil {
		return nil, fmt.Errorf("%s for the model %s: %w", c.Adapter, m.Name, err)
	}
	return a, nil
}

// startAdapter is readAdapter, or a fresh LoRA where the config names none; nil where all weights are trained.
func startAdapter(c *Config, m *ckpt.Model) (*ckpt.Adapter, error) {
	if c.Trainable == engine.Full {
		return nil, nil
	}
	a, err := readAdapter(c, m)
	if a != nil || err != nil {
		return a, err
	}
	l := &c.LoRA
	a, err = ckpt.NewAdapter(m.Config, l.R, l.Alpha, l.Targets, l.Seed, l.RSLoRA)
	if err != nil {
		return nil, err
	}
	a.Config.BaseModelNameOrPath = m.Name
	if c.Model != gymModel {
		a.Config.BaseModelNameOrPath, err = filepath.Abs(m.Name) // who loads the adapter need not be in this folder
	}
	return a, err
}

// openAdapted is openSession with the adapter that find gives for the model, such as startAdapter; it returns that, too.
func openAdapted(c *Config, m *ckpt.Model, find func(c *Config, m *ckpt.Model) (*ckpt.Adapter, error)) (*session, *ckpt.Adapter, error) {
	a, err := find(c, m)
	if err != nil {
		return nil, nil, errors.Join(err, m.Close())
	}
	s, err := openSession(c, m)
	if err != nil || a == nil {
		return s, nil, err
	}
	if err := s.engine.SetAdapter(a); err != nil {
		return nil, nil, errors.Join(err, s.Close())
	}
	return s, a, nil
}
