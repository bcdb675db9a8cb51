package rollout

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Kinds of what goes wrong within a step. They stand in flow.Step.ErrorKind and in ToolError.Kind; the planner reads
// them in its memory at the next turn, and the solve goes on. Tools may use kinds of their own ("division_by_zero");
// reports count by kind, so a kind is a short stable word.
const (
	KindParse       = "parse"        // the planner's text could not be read as a plan
	KindUnknownTool = "unknown_tool" // the plan names no tool of the registry
	KindBadArgs     = "bad_args"     // the arguments are not those of the tool's schema
	KindNotFound    = "not_found"    // the tool worked and has nothing: no page, no passage
	KindTimeout     = "timeout"      // a call was cut by its own deadline
	KindFailed      = "failed"       // any other error of a tool
	KindUnavailable = "unavailable"  // a transient error outlived the retries
	KindDeadline    = "deadline"     // the time of the whole solve was over
)

// Kinds of what ends a solve without a reward, beside KindTimeout, KindUnavailable and KindDeadline. They stand in
// flow.Trajectory.Failure.
const (
	KindModel         = "model"          // a slot's model gave an error that no retry mends
	KindUnrecorded    = "unrecorded"     // the planner's model gave no token ids, and Options.Record asks for them
	KindPolicyChanged = "policy_changed" // two turns of one solve were sampled under different weights
	KindScore         = "score"          // the scorer failed, or its value is not within [0, 1]
	KindCanceled      = "canceled"       // the caller's context ended: the solve was given up, not judged
	KindInvalid       = "invalid"        // the solver itself is set up wrongly (see Solver.Validate)
	KindInternal      = "internal"       // a slot, tool or scorer panicked
)

// Error is an error of a kind, with the slot in which it arose ("planner", "tool", "scorer", ...).
type Error struct {
	Kind string
	Slot string
	Err  error
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("%s: %s: %v", e.Slot, e.Kind, e.Err) }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// TransientError marks an error that may pass by itself: the call is worth repeating. Models and tools return it for
// overload and outages; a call that was cut by its own deadline counts as one too, except that of a tool.
type TransientError struct {
	Err error
	// RetryAfter is how long the other side asked to wait; 0 where it did not say.
	RetryAfter time.Duration
}

// Error implements error.
func (e *TransientError) Error() string { return "transient: " + e.Err.Error() }

// Unwrap gives the cause.
func (e *TransientError) Unwrap() error { return e.Err }

// panicError is a panic of a slot, tool or scorer, turned into an error at the call.
type panicError struct{ value any }

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

// kindOf classifies the error that a call ended with; other is the kind of an error that says nothing about itself.
func kindOf(err error, other string) string {
	var (
		known     *Error
		tool      *ToolError
		transient *TransientError
		panicked  *panicError
	)
	switch {
	case errors.As(err, &panicked):
		return KindInternal
	case errors.As(err, &known):
		return known.Kind
	case errors.As(err, &tool):
		return tool.Kind
	case errors.Is(err, context.DeadlineExceeded):
		return KindTimeout
	case errors.As(err, &transient):
		return KindUnavailable
	}
	return other
}

// ended is the kind of a context that is over: canceled by the caller, or past its deadline.
func ended(ctx context.Context) string {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return KindDeadline
	}
	return KindCanceled
}
