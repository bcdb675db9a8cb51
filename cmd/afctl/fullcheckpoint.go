package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"afctl/ckpt"
)

// Files of a checkpoint of a run with trainable: full. ckpt/FORMAT.md specifies them.
const (
	checkpointWeights = "model.safetensors"
	checkpointState   = "state.json"
	checkpointSums    = "SHA256SUMS"
)

// isFullCheckpoint tells a checkpoint of all weights from a PEFT folder and from a model.
func isFullCheckpoint(dir string) bool {
	return !isMissing(filepath.Join(dir, checkpointWeights)) && !isMissing(filepath.Join(dir, checkpointState)) && isMissing(filepath.Join(dir, "config.json"))
}

// fullCheckpointError is what commands that load a model or an adapter say of a checkpoint of all weights.
func fullCheckpointError(flag, dir string) error {
	return fmt.Errorf("--%s: %s is a checkpoint of a run with trainable: full, weights without a description: afctl export --model BASE --adapter %s --to merged --out DIR makes a model of it",
		flag, dir, dir)
}

// openFullCheckpoint opens the weights of a checkpoint of m's training with trainable: full, float32. Every file is what SHA256SUMS says, and
// the tensors are those of m by name and shape. The caller closes them.
func openFullCheckpoint(dir string, m *ckpt.Model) (_ *ckpt.Safetensors, err error) {
	if err := checkSums(dir); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, checkpointState)
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var state struct {
		Format int            `json:"format"`
		Base   ckpt.BaseModel `json:"base"`
	}
	if err := ckpt.DecodeJSON(file, text, &state, ckpt.IgnoreUnknown); err != nil {
		return nil, err
	}
	if state.Format != ckpt.StateFormat {
		return nil, fmt.Errorf("%s: format: found %d, expected %d", file, state.Format, ckpt.StateFormat)
	}
	if found := m.Hash(); found != state.Base.Hash {
		return nil, fmt.Errorf("--model: %s: found a model of hash %.12s, expected %.12s, which %s was trained from (then at %s)", m.Name, found, state.Base.Hash, dir, shorten(state.Base.Path))
	}
	w, err := ckpt.OpenSafetensors(filepath.Join(dir, checkpointWeights))
	if err != nil {
		return nil, err
	}
	if err := checkFullWeights(w, m); err != nil {
		return nil, errors.Join(fmt.Errorf("%s for the model %s: %w", filepath.Join(dir, checkpointWeights), m.Name, err), w.Close())
	}
	return w, nil
}

// checkFullWeights says whether w has the tensors of m, and no other.
func checkFullWeights(w *ckpt.Safetensors, m *ckpt.Model) error {
	specs := m.Config.TensorSpecs()
	for _, spec := range specs {
		t, err := w.Tensor(spec.Name)
		if err != nil {
			return err
		}
		if !slices.Equal(t.Shape, spec.Shape) {
			return fmt.Errorf("tensor %s: found shape %v, expected %v", spec.Name, t.Shape, spec.Shape)
		}
	}
	if n := len(w.Names()); n != len(specs) {
		return fmt.Errorf("found %d tensors, expected the model's %d", n, len(specs))
	}
	return nil
}

// checkSums says whether the files that a checkpoint's SHA256SUMS lists, the two that are read among them, have their sums.
func checkSums(dir string) error {
	list := filepath.Join(dir, checkpointSums)
	text, err := os.ReadFile(list)
	if err != nil {
		return err
	}
	listed := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		sum, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		if !ok || name != filepath.Base(name) {
			return fmt.Errorf("%s: found %q, expected a sum, two spaces and a plain file name", list, shorten(line))
		}
		found, err := fileSum(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		if found != sum {
			return fmt.Errorf("%s: found SHA-256 %.12s, expected %.12s by %s: the file is torn or changed; another checkpoint of the run may be whole",
				filepath.Join(dir, name), found, sum, checkpointSums)
		}
		listed[name] = true
	}
	for _, name := range []string{checkpointWeights, checkpointState} {
		if !listed[name] {
			return fmt.Errorf("%s: found no sum of %s, expected one", list, name)
		}
	}
	return nil
}

// fileSum is the SHA-256 of a file in hex.
func fileSum(path string) (string, error) {
	f, err := ckpt.OpenRegular(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", h.Sum(nil)), nil
}
