package gym

import (
	"context"
	"fmt"

	"afctl/bench/gym/frozen"
	"afctl/rollout"
)

// demonstrate makes a plan and has it written, and its prompt rendered, by the very slot that a trained planner uses. The prompt and
// the text go to the context's recorder, if it has one.
func demonstrate(ctx context.Context, in rollout.Input, plan func(frozen.Question) rollout.Plan) (rollout.Planning, error) {
	q, ok := frozen.Parse(in.Question)
	if !ok {
		return rollout.Planning{}, fmt.Errorf("gym demonstrator: question %q is none of the gym's", in.Question)
	}
	t, err := Template()
	if err != nil {
		return rollout.Planning{}, err
	}
	slot := rollout.ModelPlanner{Model: recite{Answer(plan(q))}, Template: t}
	return slot.Plan(ctx, in)
}

// recite is a model that says one thing.
type recite struct{ text string }

// Complete implements rollout.Model.
func (m recite) Complete(ctx context.Context, r rollout.Request) (rollout.Completion, error) {
	if rec, ok := ctx.Value(recorderKey{}).(*recorder); ok {
		rec.examples = append(rec.examples, Example{Prompt: r.Messages[0].Content, Completion: m.text})
	}
	return rollout.Completion{Text: m.text}, nil
}
