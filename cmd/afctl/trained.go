package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

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
	return writeModelDir(out, s.model, tensors, func(w io.Writer) error { return writeLines(w, metrics) })
}

// writeModelDir writes a model folder with metrics.jsonl: both are made in a folder beside out, which is renamed when it is whole.
func writeModelDir(out string, m *ckpt.Model, tensors []ckpt.Tensor, metrics func(w io.Writer) error) (err error) {
	if err := makeParent(out); err != nil {
		return err
	}
	temp, err := os.MkdirTemp(filepath.Dir(filepath.Clean(out)), ".tmp-"+filepath.Base(out)+"-")
	if err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	defer os.RemoveAll(temp)
	made := filepath.Join(temp, "model")
	if err := ckpt.SaveModel(made, m.Config, tensors, m.Files); err != nil {
		return err
	}
	if err := ckpt.WriteFileAtomic(filepath.Join(made, metricsFile), 0o666, metrics); err != nil {
		return err
	}
	if err := os.Rename(made, out); err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	return nil
}

// storedDType is the type of a model's embedding, which is that of its matrices.
func storedDType(m *ckpt.Model) (ckpt.DType, error) {
	t, err := m.Weights.Tensor("model.embed_tokens.weight")
	return t.DType, err
}
