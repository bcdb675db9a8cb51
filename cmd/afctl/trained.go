package main

import (
	"fmt"

	"afctl/ckpt"
	"afctl/engine"
)

// writeTrained writes what a session trained to a folder that appears complete or not at all: a PEFT folder, or with all weights
// trained a model folder, and metrics.jsonl in it. dtype is that of saved weights; empty takes the one that most of the model has.
func writeTrained[T any](s *session, out string, dtype ckpt.DType, metrics []T) error {
	if s.engine.Options().Trainable != engine.Full {
		a, err := s.engine.Adapter()
		if err != nil {
			return err
		}
		return writeOutDir(out, func(d *ckpt.DirWriter) error {
			if err := ckpt.WriteAdapterFiles(d.Create, a); err != nil {
				return err
			}
			return createLines(d, metricsFile, metrics)
		})
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
	if err := makeParent(out); err != nil {
		return err
	}
	return ckpt.SaveModel(out, s.model.Config, tensors, s.model.Files, func(d *ckpt.DirWriter) error { return createLines(d, metricsFile, metrics) })
}

// storedDType is the type of a model's embedding, which is that of its matrices.
func storedDType(m *ckpt.Model) (ckpt.DType, error) {
	t, err := m.Weights.Tensor("model.embed_tokens.weight")
	return t.DType, err
}
