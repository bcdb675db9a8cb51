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
	most    int // tokens of prompt and completion together
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
	room := m.most - len(prompt)
	if room < 1 {
		return rollout.Completion{}, fmt.Errorf("a prompt of %d tokens: model and cache have room for %d (rollout.%s.memory_tokens bounds the memory in it)",
			len(prompt), m.most, r.Slot)
	}
	s, err := m.sampler.Sample(ctx, engine.SampleRequest{Prompt: prompt, MaxTokens: min(r.MaxTokens, room), Temperature: r.Temperature, Seed: r.Seed,
		Stop: m.codec.stop})
	if err != nil {
		return rollout.Completion{}, err
	}
	return rollout.Completion{
		Text:          m.codec.text(s.Action),
		Turn:          &flow.Turn{Prompt: prompt, Action: s.Action, LogProbs: s.LogProbs, Stop: s.Stop},
		PolicyVersion: s.PolicyVersion, AdapterHash: s.AdapterHash,
		PromptTokens: len(prompt), OutputTokens: len(s.Action),
	}, nil
}

// Publish implements rollout.Policy. The weights are the engine's own.
func (m *engineModel) Publish(ctx context.Context, version int, hash string, _ func() (*ckpt.Adapter, error)) error {
	return m.sampler.Publish(ctx, version, hash)
}

// Room implements rollout.Policy.
func (m *engineModel) Room(tokens int) int { return m.sampler.Options().CacheTokens / tokens }
