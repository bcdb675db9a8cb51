package tools

import (
	stdjson "encoding/json"
	"errors"
	"fmt"
	"math"

	"afctl/rollout"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// decode reads arguments, strictly; the solver has checked them against the schema before.
func decode[T any](args stdjson.RawMessage) (T, error) {
	var v T
	if err := json.Unmarshal(args, &v, json.RejectUnknownMembers(true), json.WithUnmarshalers(wholeNumbers)); err != nil {
		return v, &rollout.ToolError{Kind: rollout.KindBadArgs, Message: err.Error()}
	}
	return v, nil
}

// wholeNumbers reads an integer in every notation that a schema takes for one: 2, 2.0, 2e0.
var wholeNumbers = json.UnmarshalFromFunc(func(d *jsontext.Decoder, v *int) error {
	if d.PeekKind() != '0' {
		return errors.ErrUnsupported
	}
	t, err := d.ReadToken()
	if err != nil {
		return err
	}
	f, err := t.Float()
	if err != nil || f != math.Trunc(f) || math.Abs(f) > math.MaxInt32 {
		return fmt.Errorf("found %s, expected a whole number of 32 bits", t)
	}
	*v = int(f)
	return nil
})

// encode is the structured form of a result.
func encode(v any) stdjson.RawMessage {
	raw, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		return nil
	}
	return raw
}

func fail(kind, message string) error { return &rollout.ToolError{Kind: kind, Message: message} }
