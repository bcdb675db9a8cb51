package rollout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// limits of one call: its deadline, and what an error means that says nothing about itself.
type limits struct {
	slot    string
	timeout time.Duration
	other   string // kind of an error of no kind
	// final makes a call that its own deadline cut an error at once instead of one to repeat.
	final bool
	// late is the kind of an error whose repetition would come after the deadline of ctx; empty leaves it its own.
	late string
}

// call makes one call of a slot, a tool or the scorer: bounded in time, repeated after transient errors, panics turned
// into errors. The error is an *Error; a *ToolError stands within it where the callee returned one. The value is passed
// on beside an error, for notes.
func call[T any](ctx context.Context, o *Options, l limits, f func(context.Context) (T, error)) (T, error) {
	for attempt := 0; ; attempt++ {
		out, err := bounded(ctx, l.timeout, f)
		if err == nil {
			return out, nil
		}
		if ctx.Err() != nil {
			return out, &Error{Kind: ended(ctx), Slot: l.slot, Err: err}
		}
		cut := errors.Is(err, context.DeadlineExceeded)
		var transient *TransientError
		if attempt >= o.Retries || !errors.As(err, &transient) && (!cut || l.final) {
			return out, &Error{Kind: kindOf(err, l.other), Slot: l.slot, Err: err}
		}
		var retryAfter time.Duration
		if transient != nil {
			retryAfter = transient.RetryAfter
		}
		wait := o.backoff.wait(attempt, retryAfter, rand.Float64())
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < wait {
			return out, &Error{Kind: cmp.Or(l.late, kindOf(err, l.other)), Slot: l.slot, Err: fmt.Errorf("%w (the next try in %v would be too late)", err, wait)}
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return out, &Error{Kind: ended(ctx), Slot: l.slot, Err: err}
		}
	}
}

// bounded runs f under a deadline. Whatever error comes after the deadline is its doing.
func bounded[T any](ctx context.Context, timeout time.Duration, f func(context.Context) (T, error)) (out T, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{v}
		}
	}()
	if err := ctx.Err(); err != nil {
		return out, err
	}
	out, err = f(ctx)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) && !errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("%w after %v (%v)", context.DeadlineExceeded, timeout, err)
	}
	return out, err
}
