package rollout

import (
	"context"
	"encoding/json"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// ToolSpec describes a tool to the planner and to the executor.
type ToolSpec struct {
	Name        string // e.g. "Wikipedia_Search"; matched leniently, see Registry.find
	Description string // one or two sentences: what it does, when to choose it
	// Schema is the JSON schema of the arguments object; nil takes any object.
	Schema json.RawMessage
	// Limits says what the tool cannot do.
	Limits string
	// Examples are argument objects with what they are for.
	Examples []ToolExample
	// Timeout bounds one call; 0 takes the solver's default.
	Timeout time.Duration

	// compiled is Schema, compiled once when the tool enters a registry.
	compiled *jsonschema.Schema
}

// ToolExample is one documented call.
type ToolExample struct {
	Args json.RawMessage
	What string
}

// Result is what a tool gave back.
type Result struct {
	Text string // what memory shows
	// Data is the structured form, where there is one.
	Data json.RawMessage
}

// Tool is one capability. Execute returns a *ToolError for what the planner can react to (not found, bad arguments,
// ...), and a *TransientError for what the solver should try again; any other error counts as a *ToolError of
// KindFailed. Either way the step is recorded with its kind and the loop goes on. The solver hands over only arguments
// that satisfy the schema, bounds the call by its context and records KindTimeout where that cut it: Execute returns
// when ctx ends. Implementations are safe for many concurrent calls.
type Tool interface {
	Spec() ToolSpec
	Execute(ctx context.Context, args json.RawMessage) (Result, error)
}

// ToolError is an error of a kind, seen by the planner in its memory.
type ToolError struct {
	Kind    string // a short stable word, see the Kind constants
	Message string
}

// Error implements error.
func (e *ToolError) Error() string { return e.Kind + ": " + e.Message }
