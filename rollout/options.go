package rollout

import (
	"errors"
	"fmt"
	"time"
)

// Defaults of Options.
const (
	DefaultMaxTurns    = 3
	DefaultMaxTime     = 5 * time.Minute
	DefaultCallTimeout = 2 * time.Minute
	DefaultToolTimeout = 30 * time.Second
	defaultMaxResult   = 32 << 10
)

// Options bound a solver. The zero value of a field takes its default, except Retries and Record, whose zero values
// mean none and no.
type Options struct {
	// MaxTurns is the number of planner calls of a solve at most; default 3, as in training (evaluation takes 10).
	MaxTurns int
	// MaxTime bounds the loop of a solve: analysis and turns. When it is over, or a slot's next try would come after it,
	// no call goes on; the answer is made from the steps that are there, if there is one. A solve ends at the latest two CallTimeouts later, which generator and
	// scorer share. Default 5 minutes.
	MaxTime time.Duration
	// CallTimeout bounds one call of a slot or of the scorer; default 2 minutes.
	CallTimeout time.Duration
	// ToolTimeout bounds one call of a tool whose spec states no other; default 30 seconds.
	ToolTimeout time.Duration
	// Retries is how often a call is repeated after a transient error.
	Retries int
	// backoff is the waiting before each repetition; tests wait less.
	backoff backoff
	// Concurrency is how many solves SolveAll runs at once; default 1.
	Concurrency int
	// Record asks for exact token ids of every planner call: a solve with a turn that has none fails. Training needs it;
	// evaluation through a model that gives only text leaves it off.
	Record bool
	// maxResult bounds the text of one result that memory keeps, and of the answer, in bytes: more is cut, a result's end and an answer's
	// beginning, and marked: 32 KiB. Tests take less.
	maxResult int
	// Count counts the tokens of a result for flow.Step.Tokens; nil takes a token for every four bytes.
	Count func(string) int
}

// backoff is the waiting between repetitions: initial, doubled each time up to max, the half of it at random so that
// callers part; a server's Retry-After is waited out where it is longer. Zero values take 500 ms and 30 s.
type backoff struct {
	initial, max time.Duration
}

// wait is the pause before repetition n (from 0); u in [0, 1) is the random part.
func (b backoff) wait(n int, retryAfter time.Duration, u float64) time.Duration {
	d := b.initial
	for range n {
		if d >= b.max {
			break
		}
		d *= 2
	}
	d = min(d, b.max)
	d = d/2 + time.Duration(u*float64(d/2))
	return max(d, retryAfter)
}

// withDefaults fills in what is zero.
func (o Options) withDefaults() Options {
	set := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	if o.MaxTurns == 0 {
		o.MaxTurns = DefaultMaxTurns
	}
	if o.Concurrency == 0 {
		o.Concurrency = 1
	}
	if o.maxResult == 0 {
		o.maxResult = defaultMaxResult
	}
	if o.Count == nil {
		o.Count = estimateTokens
	}
	set(&o.MaxTime, DefaultMaxTime)
	set(&o.CallTimeout, DefaultCallTimeout)
	set(&o.ToolTimeout, DefaultToolTimeout)
	set(&o.backoff.initial, 500*time.Millisecond)
	set(&o.backoff.max, 30*time.Second)
	return o
}

// Validate names every field that is out of range.
func (o Options) Validate() error {
	var errs []error
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"MaxTurns", int64(o.MaxTurns)}, {"MaxTime", int64(o.MaxTime)}, {"CallTimeout", int64(o.CallTimeout)},
		{"ToolTimeout", int64(o.ToolTimeout)}, {"Retries", int64(o.Retries)}, {"Concurrency", int64(o.Concurrency)},
	} {
		if f.value < 0 {
			errs = append(errs, fmt.Errorf("options: %s is %d, expected 0 (the default) or more", f.name, f.value))
		}
	}
	return errors.Join(errs...)
}
