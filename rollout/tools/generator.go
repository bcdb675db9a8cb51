package tools

import (
	"context"
	"encoding/json"
	"strings"

	"afctl/rollout"
)

// BaseGenerator is the tool Base_Generator: a frozen model answers from what it knows.
type BaseGenerator struct{ model rollout.Model }

// NewBaseGenerator makes the tool on a model, which is asked greedily and knows nothing of the solve but the query.
func NewBaseGenerator(m rollout.Model) *BaseGenerator { return &BaseGenerator{m} }

// maxAnswerTokens bounds an answer.
const maxAnswerTokens = 512

// NameBaseGenerator is the tool's name.
const NameBaseGenerator = "Base_Generator"

// Spec implements rollout.Tool. The argument is {"query"}.
func (g *BaseGenerator) Spec() rollout.ToolSpec {
	return rollout.ToolSpec{
		Name:        NameBaseGenerator,
		Description: "A language model answers from general knowledge, or writes, explains and reasons about text that the query contains.",
		Schema:      json.RawMessage(`{"type":"object","properties":{"query":{"type":"string","minLength":1}},"required":["query"],"additionalProperties":false}`),
		Limits:      "Cannot look anything up; unreliable for rare facts, recent events and exact arithmetic.",
		Examples:    []rollout.ToolExample{{Args: json.RawMessage(`{"query":"Which language is spoken in Brazil?"}`), What: "common knowledge"}},
	}
}

// Execute asks the model. Errors are those of the model; an empty answer is not_found.
func (g *BaseGenerator) Execute(ctx context.Context, args json.RawMessage) (rollout.Result, error) {
	a, err := decode[struct {
		Query string `json:"query"`
	}](args)
	if err != nil {
		return rollout.Result{}, err
	}
	c, err := g.model.Complete(ctx, rollout.Request{
		Slot:      "tool:" + NameBaseGenerator,
		Messages:  []rollout.Message{{Role: "user", Content: a.Query}},
		MaxTokens: maxAnswerTokens,
	})
	if err != nil {
		return rollout.Result{}, err
	}
	text := strings.TrimSpace(c.Said())
	if text == "" {
		return rollout.Result{}, fail(rollout.KindNotFound, "the model gave no answer")
	}
	return rollout.Result{Text: text}, nil
}
