package main

import (
	"errors"
	"fmt"
	"slices"

	"afctl/ckpt"
	"afctl/engine"
)

// adapterOrCheckpoint is what --adapter takes in commands that solve or export.
const adapterOrCheckpoint = "PEFT folder of the adapter, or a checkpoint of a run with trainable: full"

// fullCheckpointError is what commands say of a checkpoint of all weights that take one neither as model nor as adapter.
func fullCheckpointError(flag, dir string) error {
	return fmt.Errorf("--%s: %s is a checkpoint of a run with trainable: full, weights without a description: afctl export --model BASE --adapter %s --to merged --out DIR makes a model of it",
		flag, dir, shellWord(dir))
}

// openFull is openSession with the weights of a checkpoint of m's training with trainable: full as the policy. The base, which the modules beside
// the planner ask, is m as it was; a model folder made of the checkpoint would replace them, too.
func openFull(c *Config, m *ckpt.Model) (*session, error) {
	saved, _, err := readFullCheckpoint(c.Adapter, m)
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	full := *c
	full.Trainable = engine.Full
	s, err := openSession(&full, m)
	if err != nil {
		return nil, err
	}
	if err := s.engine.SetState(engine.State{Weights: saved.Weights, Moments: saved.Moments, Step: saved.State.AdamStep}); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// readFullCheckpoint reads a checkpoint of m's training with trainable: full, and its weights by name. They are those of m by name and shape.
func readFullCheckpoint(dir string, m *ckpt.Model) (*ckpt.Checkpoint, map[string]ckpt.Tensor, error) {
	c, err := ckpt.ReadCheckpoint(dir)
	if err != nil {
		return nil, nil, err
	}
	if found, base := m.Hash(), &c.State.Base; found != base.Hash {
		return nil, nil, fmt.Errorf("--model: %s: found a model of hash %.12s, expected %.12s, which %s was trained from (then at %s)", m.Name, found, base.Hash, dir, shorten(base.Path))
	}
	weights := map[string]ckpt.Tensor{}
	for _, t := range c.Weights {
		weights[t.Name] = t
	}
	specs := m.Config.TensorSpecs()
	for _, spec := range specs {
		if t, ok := weights[spec.Name]; !ok || !slices.Equal(t.Shape, spec.Shape) {
			return nil, nil, fmt.Errorf("%s for the model %s: tensor %s: found shape %v, expected %v", dir, m.Name, spec.Name, t.Shape, spec.Shape)
		}
	}
	if n := len(weights); n != len(specs) {
		return nil, nil, fmt.Errorf("%s for the model %s: found %d tensors, expected the model's %d", dir, m.Name, n, len(specs))
	}
	return c, weights, nil
}
