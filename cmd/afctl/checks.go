package main

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"afctl/ckpt"
)

// checkIDs returns an error for the first id that the model's vocabulary does not have.
func checkIDs(field string, ids []int32, c *ckpt.ModelConfig) error {
	if i := slices.IndexFunc(ids, func(id int32) bool { return id < 0 || int(id) >= c.VocabSize }); i >= 0 {
		return fmt.Errorf("%s[%d]: found id %d, expected 0 <= id < %d, the size of the model's vocabulary", field, i, ids[i], c.VocabSize)
	}
	return nil
}

// checkLength returns an error for a sequence that is longer than the model's positions.
func checkLength(field string, n int, c *ckpt.ModelConfig) error {
	if n > c.MaxPositionEmbeddings {
		return fmt.Errorf("%s: found %d tokens, expected at most %d, the model's max_position_embeddings", field, n, c.MaxPositionEmbeddings)
	}
	return nil
}

// errNothingFinite says that training changed nothing.
var errNothingFinite = errors.New("every step was skipped, since its gradient was not finite: nothing was trained; expected weights, an adapter and a scale of ordinary size")

// checkSkipped warns of steps that were skipped; that all were is an error.
func checkSkipped(w io.Writer, skipped, steps int) error {
	if skipped == steps {
		return errNothingFinite
	}
	if skipped > 0 {
		fmt.Fprintf(w, "warning: %d of %d steps skipped: the gradient was not finite\n", skipped, steps)
	}
	return nil
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
