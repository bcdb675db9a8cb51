package main

import (
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

// saveDTypes are the dtypes that weights are written in, by their names in --save-dtype and --dtype; "" is the model's own.
var saveDTypes = map[string]ckpt.DType{"": "", "f32": ckpt.F32, "bf16": ckpt.BF16, "f16": ckpt.F16}

// storedDType is the type of a model's embedding, which is that of its matrices.
func storedDType(m *ckpt.Model) (ckpt.DType, error) {
	t, err := m.Weights.Tensor("model.embed_tokens.weight")
	return t.DType, err
}
