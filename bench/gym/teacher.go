package gym

import (
	"context"

	"afctl/bench/gym/frozen"
	"afctl/flow"
	"afctl/rollout"
)

// Teacher is the demonstrator that always makes the best plan, from the question and the memory alone.
type Teacher struct{}

var _ rollout.Planner = Teacher{}

// Plan implements rollout.Planner.
func (Teacher) Plan(ctx context.Context, in rollout.Input) (rollout.Planning, error) {
	return demonstrate(ctx, in, func(q frozen.Question) rollout.Plan { return best(q, in.Memory.Steps()) })
}

// best is the plan that works, for a question with these steps behind it.
func best(q frozen.Question, steps []flow.Step) rollout.Plan {
	switch q.Kind {
	case frozen.Capital:
		return rollout.Plan{SubGoal: "capital of " + q.Name, Tool: frozen.BaseGenerator}
	case frozen.Currency:
		return rollout.Plan{SubGoal: "currency of " + q.Name, Tool: frozen.BaseGenerator}
	case frozen.Arithmetic:
		return rollout.Plan{SubGoal: q.Expr, Tool: frozen.Calculator}
	case frozen.Figure:
		return rollout.Plan{SubGoal: q.URL, Tool: frozen.WebSearch}
	}
	memory := frozen.Recall(steps)
	name := q.Name
	if next := bridge(q, memory.About(q.Name)); next != "" {
		if q.Kind == frozen.PersonAge || q.Kind == frozen.CityAge {
			return rollout.Plan{SubGoal: next, Tool: frozen.Calculator}
		}
		name = next
	}
	plan := rollout.Plan{SubGoal: name, Tool: frozen.WikipediaSearch}
	for _, s := range steps {
		if s.ErrorKind != "" && s.SubGoal == name && s.Tool == frozen.WikipediaSearch {
			plan.Tool = frozen.WebSearch
		}
	}
	return plan
}

// bridge is what a question of two steps needs next, once memory has the facts of its name: another name, or a
// difference of years. Empty before, and for questions of one step.
func bridge(q frozen.Question, about frozen.Facts) string {
	switch q.Kind {
	case frozen.BirthRiver:
		return about.Birthplace
	case frozen.AuthorBirthplace:
		return about.Author
	case frozen.SeatCountry:
		return about.Seat
	case frozen.PersonAge, frozen.CityAge:
		if from := about.Born + about.Founded; from != "" {
			return q.Year + " - " + from
		}
	}
	return ""
}
