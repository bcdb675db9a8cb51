package main

import (
	"errors"
	"fmt"

	"afctl/ckpt"
	"afctl/engine"
)

// writeTrained writes what a session trained: the files of a PEFT folder, or with all weights trained of a model folder, and metrics.jsonl.
// dtype is that of saved weights; empty takes that of the embedding in the model's folder.
func writeTrained[T any](s *session, d *ckpt.DirWriter, dtype ckpt.DType, metrics []T) error {
	if err := createLines(d, metricsFile, metrics); err != nil {
		return err
	}
	if s.engine.Options().Trainable != engine.Full {
		a, err := s.engine.Adapter()
		if err != nil {
			return err
		}
		return ckpt.WriteAdapterFiles(d.Create, a)
	}
	if dtype == "" {
		var err error
		if dtype, err = storedDType(s.model); err != nil {
			return err
		}
	}
	tensors, err := s.engine.Weights(dtype)
	if err != nil {
		return err
	}
	for _, t := range tensors {
		if err := ckpt.CheckFinite(t); err != nil {
			return fmt.Errorf("weights as %s: %w", dtype, err)
		}
	}
	return ckpt.WriteModelFiles(d, s.model.Config, tensors, s.model.Files)
}

// notFinite adds to an error of trained weights that are not finite what mends it.
func notFinite(err error, c *OptimizerConfig) error {
	var bad *ckpt.NonFiniteError
	if !errors.As(err, &bad) {
		return err
	}
	key, found := "lr", c.LR
	if c.LR < 1 && c.LR*c.WeightDecay > 2 { // the decay by itself makes a weight grow from step to step
		key, found = "weight_decay", c.WeightDecay
	}
	return fmt.Errorf("the optimizer's steps left weights that are not finite: %w; lower optimizer.%s (found %v)", err, key, found)
}

// storedDType is the type of a model's embedding, which is that of its matrices.
func storedDType(m *ckpt.Model) (ckpt.DType, error) {
	t, err := m.Weights.Tensor("model.embed_tokens.weight")
	return t.DType, err
}
