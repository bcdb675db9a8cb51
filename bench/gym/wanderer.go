package gym

import (
	"context"
	"fmt"
	"math/rand/v2"
	"regexp"

	"afctl/bench/gym/frozen"
	"afctl/flow"
	"afctl/rollout"
)

// Wanderer is the demonstrator that the embedded planner learns to read and copy from: any tool, with any name, address or sum that the question
// or the memory shows, and differences of numbers in them. It follows no plan at all.
type Wanderer struct{}

var _ rollout.Planner = Wanderer{}

// Plan implements rollout.Planner. Its random stream is the call's.
func (Wanderer) Plan(ctx context.Context, in rollout.Input) (rollout.Planning, error) {
	return demonstrate(ctx, in, func(q frozen.Question) rollout.Plan {
		return wander(q, in.Memory.Steps(), flow.NewRand(in.Seed))
	})
}

// takeDifference is how often Wanderer writes the difference of two numbers, where there are two.
const takeDifference = 0.3

// wanderings are the weights with which Wanderer takes Base_Generator, Calculator, Wikipedia_Search and Web_Search: mostly those that find something to read.
var wanderings = [4]float64{.15, .15, .40, .30}

var (
	shownName   = regexp.MustCompile(`\b[A-Z][a-z]{4,}\b`)
	shownNumber = regexp.MustCompile(`\b[0-9]{2,4}\b`)
)

func wander(q frozen.Question, steps []flow.Step, rng *rand.Rand) rollout.Plan {
	goals, numbers := []string{subject(q)}, []string{}
	if q.Year != "" {
		numbers = append(numbers, q.Year)
	}
	for _, s := range steps {
		goals = append(goals, shownName.FindAllString(s.Result, -1)...)
		numbers = append(numbers, shownNumber.FindAllString(s.Result, -1)...)
	}
	goal := goals[rng.IntN(len(goals))]
	if len(numbers) > 1 && rng.Float64() < takeDifference {
		i := rng.IntN(len(numbers))
		j := (i + 1 + rng.IntN(len(numbers)-1)) % len(numbers)
		goal = fmt.Sprintf("%s - %s", numbers[i], numbers[j])
	}
	return rollout.Plan{SubGoal: goal, Tool: toolNames[weighted(wanderings, rng)]}
}
