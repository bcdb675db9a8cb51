package gym

import (
	"context"
	"iter"

	"afctl/rollout"
)

// Corpus gives the text that a tokenizer for the gym is trained on: prompts and answers of n solves by each
// demonstrator, of the train half only.
func Corpus(ctx context.Context, w *World, n int, seed uint64) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, d := range []rollout.Planner{Naive{}, Teacher{}} {
			for e, err := range Demos(ctx, w, d, n, seed) {
				if !yield(e.Prompt+"\n"+e.Completion, err) || err != nil {
					return
				}
			}
		}
	}
}
