package gym

import (
	"context"
	"fmt"
	"iter"
	"runtime"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/sync/errgroup"

	"afctl/flow"
	"afctl/rollout"
)

// Example is one planner call of a real solve: what the planner was shown, and what it answered. The prompt is the
// content of the one user message; a model's chat template goes around it.
type Example struct {
	Prompt     string `json:"prompt"`
	Completion string `json:"completion"`
}

// Line is a line of afctl sft's data: prompt and completion, or messages.
type Line struct {
	Prompt     string            `json:"prompt,omitzero"`
	Completion string            `json:"completion,omitzero"`
	Messages   []rollout.Message `json:"messages,omitzero"`
}

// Chat is the example as sft learns to plan from it.
func (e Example) Chat() Line {
	return Line{Messages: []rollout.Message{{Role: "user", Content: e.Prompt}, {Role: "assistant", Content: e.Completion}}}
}

// recorder gathers the examples of one solve; it travels in the context, since a solve's calls share nothing else.
type recorder struct{ examples []Example }

type recorderKey struct{}

// demoChunk is how many solves are under way or waiting to be handed over.
const demoChunk = 256

// Demos gives the planner calls of n solves of tasks of the train half, one solve per task, in the order of the tasks and their
// turns, whatever number of processors solves them. The same world, demonstrator, n and seed give the same
// examples. It ends early with an error where ctx ends or a solve fails; demonstrators' solves do not fail by themselves.
func Demos(ctx context.Context, w *World, demonstrator rollout.Planner, n int, seed uint64) iter.Seq2[Example, error] {
	return func(yield func(Example, error) bool) {
		solver := w.Solver(demonstrator, rollout.Options{})
		tasks := w.Tasks(Train, n, seed)
		for start := 0; start < len(tasks); start += demoChunk {
			chunk := tasks[start:min(start+demoChunk, len(tasks))]
			records := make([]recorder, len(chunk))
			group, inner := errgroup.WithContext(ctx)
			group.SetLimit(runtime.GOMAXPROCS(0))
			for i, task := range chunk {
				group.Go(func() error {
					job := rollout.Job{Task: task, Seed: flow.DeriveSeed(seed, "gym.demo", strconv.Itoa(start+i))}
					t := solver.Solve(context.WithValue(inner, recorderKey{}, &records[i]), job)
					if t.Failed() {
						return fmt.Errorf("gym: demonstration of %q failed: %s: %s", task.Question, t.Failure, t.FailureDetail)
					}
					return nil
				})
			}
			if err := group.Wait(); err != nil {
				yield(Example{}, err)
				return
			}
			for _, r := range records {
				for _, e := range r.examples {
					if !yield(e, nil) {
						return
					}
				}
			}
		}
	}
}

// ManyDemos gives demonstrations from `worlds` worlds beside w, n solves in each, so that what is learned from them is to copy names, not to know
// them. Examples that mention a name of w's held-out half are left out: nothing that a planner is measured on is in what it was made
// from. Numbers of the held-out half are the same in every world, and in none of its train half.
func ManyDemos(ctx context.Context, w *World, worlds int, demonstrator rollout.Planner, n int, seed uint64) iter.Seq2[Example, error] {
	return func(yield func(Example, error) bool) {
		mentions := w.mentions()
		for i := range worlds {
			other, err := New(flow.DeriveSeed(w.Seed, "gym.other", strconv.Itoa(i)))
			if err != nil {
				yield(Example{}, err)
				return
			}
			more := true
			for e, err := range Demos(ctx, other, demonstrator, n, flow.DeriveSeed(seed, strconv.Itoa(i))) {
				if err == nil && (mentions(e.Prompt) || mentions(e.Completion)) {
					continue
				}
				if more = yield(e, err); !more || err != nil {
					break
				}
			}
			if err := other.Close(); err != nil && more {
				yield(Example{}, err)
				return
			}
			if !more {
				return
			}
		}
	}
}

// mentions returns the test of whether a text has a name of w's held-out half in it, in any case of letters.
func (w *World) mentions() func(text string) bool {
	held := make(map[string]bool)
	for _, name := range w.Names(HeldOut) {
		held[strings.ToLower(name)] = true
	}
	return func(text string) bool {
		for word := range strings.FieldsFuncSeq(text, func(r rune) bool { return !unicode.IsLetter(r) }) {
			if held[strings.ToLower(word)] {
				return true
			}
		}
		return false
	}
}
