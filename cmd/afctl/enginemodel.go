package main

import (
	"context"
	"errors"
	"fmt"

	"afctl/ckpt"
	"afctl/engine"
	"afctl/flow"
	"afctl/rollout"
)

// engineModel is the engine's sampler as a model of the agentic system. Completions carry exact token ids and log-probs; those of the
// policy are stamped with its version and hash.
type engineModel struct {
	sampler *engine.Sampler
	codec   *codec
	// Tokens of prompt and completion together: what the cache has room for, and the model.
	cache, positions int
}

var _ rollout.Policy = (*engineModel)(nil)

// Complete implements rollout.Model.
func (m *engineModel) Complete(ctx context.Context, r rollout.Request) (rollout.Completion, error) {
	prompt, err := m.codec.prompt(r.Messages)
	if err != nil {
		return rollout.Completion{}, err
	}
	if len(prompt) == 0 {
		return rollout.Completion{}, errors.New("the prompt is empty")
	}
	room := min(m.cache, m.positions) - len(prompt)
	if room < 1 {
		hint := ""
		if key := "rollout." + r.Slot + ".memory_tokens"; r.Slot != rollout.SlotExecutor && isKey(key) { // the executor's own prompt shows no memory
			hint = "; " + key + " bounds the memory in it"
		}
		return rollout.Completion{}, fmt.Errorf("a prompt of %d tokens: the model has room for %d, its cache for %d (engine.kv_tokens)%s", len(prompt), m.positions, m.cache, hint)
	}
	s, err := m.sampler.Sample(ctx, engine.SampleRequest{Prompt: prompt, MaxTokens: min(r.MaxTokens, room), Temperature: r.Temperature, Seed: r.Seed,
		Stop: m.codec.stop})
	if err != nil {
		return rollout.Completion{}, err
	}
	if n := len(s.Action); s.Stop == flow.StopLimit && n < r.MaxTokens && n < m.positions-len(prompt) { // else the cache's size would show in the results
		return rollout.Completion{}, fmt.Errorf("a prompt of %d tokens, and %d of its completion: the cache has no room for more; expected a larger engine.kv_tokens", len(prompt), n)
	}
	return rollout.Completion{
		Text:          m.codec.text(s.Action),
		Turn:          &flow.Turn{Prompt: prompt, Action: s.Action, LogProbs: s.LogProbs, Stop: s.Stop},
		PolicyVersion: s.PolicyVersion, AdapterHash: s.AdapterHash,
	}, nil
}

// Publish implements rollout.Policy. The weights are the engine's own.
func (m *engineModel) Publish(ctx context.Context, version int, hash string, _ func() (*ckpt.Adapter, error)) error {
	return m.sampler.Publish(ctx, version, hash)
}

// Room implements rollout.Policy.
func (m *engineModel) Room(tokens int) int { return m.sampler.Options().CacheTokens / tokens }
