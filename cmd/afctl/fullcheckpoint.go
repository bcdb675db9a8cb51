package main

import (
	"fmt"
	"slices"

	"afctl/ckpt"
)

// fullCheckpointError is what commands that load a model or an adapter say of a checkpoint of all weights.
func fullCheckpointError(flag, dir string) error {
	return fmt.Errorf("--%s: %s is a checkpoint of a run with trainable: full, weights without a description: afctl export --model BASE --adapter %s --to merged --out DIR makes a model of it",
		flag, dir, shellWord(dir))
}

// readFullCheckpoint reads the weights of a checkpoint of m's training with trainable: full, by name. They are those of m by name and shape.
func readFullCheckpoint(dir string, m *ckpt.Model) (map[string]ckpt.Tensor, error) {
	c, err := ckpt.ReadCheckpoint(dir)
	if err != nil {
		return nil, err
	}
	if found, base := m.Hash(), &c.State.Base; found != base.Hash {
		return nil, fmt.Errorf("--model: %s: found a model of hash %.12s, expected %.12s, which %s was trained from (then at %s)", m.Name, found, base.Hash, dir, shorten(base.Path))
	}
	weights := map[string]ckpt.Tensor{}
	for _, t := range c.Weights {
		weights[t.Name] = t
	}
	specs := m.Config.TensorSpecs()
	for _, spec := range specs {
		if t, ok := weights[spec.Name]; !ok || !slices.Equal(t.Shape, spec.Shape) {
			return nil, fmt.Errorf("%s for the model %s: tensor %s: found shape %v, expected %v", dir, m.Name, spec.Name, t.Shape, spec.Shape)
		}
	}
	if n := len(weights); n != len(specs) {
		return nil, fmt.Errorf("%s for the model %s: found %d tensors, expected the model's %d", dir, m.Name, n, len(specs))
	}
	return weights, nil
}
