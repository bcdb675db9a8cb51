package tools

import (
	stdjson "encoding/json"

	"afctl/rollout"

	"github.com/go-json-experiment/json"
)

// decode reads arguments, strictly; the solver has checked them against the schema before.
func decode[T any](args stdjson.RawMessage) (T, error) {
	var v T
	if err := json.Unmarshal(args, &v, json.RejectUnknownMembers(true)); err != nil {
		return v, &rollout.ToolError{Kind: rollout.KindBadArgs, Message: err.Error()}
	}
	return v, nil
}

// encode is the structured form of a result.
func encode(v any) stdjson.RawMessage {
	raw, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		return nil
	}
	return raw
}

func fail(kind, message string) error { return &rollout.ToolError{Kind: kind, Message: message} }
