package rollout

import (
	"context"
	"encoding/json"

	"afctl/ckpt"
	"afctl/flow"
)

// Message is one chat message.
type Message = ckpt.Message

// Request asks a model for one completion.
type Request struct {
	// Slot is the role that asks ("planner", "executor", ...). Only calls of a trainable slot are recorded: by role, at
	// this boundary, never by which server answered.
	Slot string
	// Messages are rendered by the model's own chat template.
	Messages []Message
	// MaxTokens bounds the completion.
	MaxTokens int
	// Temperature is that of plain temperature sampling; 0 is greedy, which no trained call may use.
	Temperature float64
	// Seed is the random stream of this call. The same request and seed give the same completion whatever else is
	// being sampled, where the model can promise it.
	Seed uint64
	// Schema, if not nil, is a JSON schema that the completion should satisfy; models without constrained output ignore it.
	Schema json.RawMessage
}

// Completion is a model's reply.
type Completion struct {
	Text string
	// Turn holds exact token ids and log-probs; nil from a model that gives none, which cannot be trained.
	Turn *flow.Turn
	// PolicyVersion and AdapterHash say which weights answered; zero for a frozen model.
	PolicyVersion int
	AdapterHash   string
}

// Model gives completions. Implementations are safe for many concurrent calls, which they may batch, and return when
// ctx ends. An error that may pass by itself is a *TransientError: only those are retried.
type Model interface {
	Complete(ctx context.Context, r Request) (Completion, error)
}

// Policy is the model behind the trained planner.
type Policy interface {
	Model
	// Publish returns when the completions that begin from then on are made by the trained weights, and stamped with this version and hash.
	// adapter gives those weights, for a model that has to be handed them: the engine's own sampler reads them where they are. It gives nil
	// where all of the model's weights are trained, and for the base itself, whose hash is "".
	Publish(ctx context.Context, version int, hash string, adapter func() (*ckpt.Adapter, error)) error
	// Room is how many completions of at most so many tokens are made at once; more would wait for their turn.
	Room(tokens int) int
}
