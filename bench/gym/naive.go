package gym

import (
	"context"
	"math/rand/v2"

	"afctl/bench/gym/frozen"
	"afctl/flow"
	"afctl/rollout"
)

// Naive is the demonstrator that the embedded planner learns its manners from: its plans are well formed and it mostly
// copies names right, but it takes tools nearly at random, repeats calls that failed, and seldom goes on from what it
// found. Its solves show every move that is needed, most of them too rarely to succeed.
type Naive struct{}

var _ rollout.Planner = Naive{}

// What Naive does how often. Tuned so that it solves about 40 % of held-out tasks in three turns, with every family below
// two thirds and none at 0.
const (
	rightCopy   = 0.90 // a name is copied as it stands
	repeatError = 0.60 // a call that failed is made again
	goOn        = 0.40 // what memory shows next is followed, in questions of two steps
)

// habits are the weights with which Naive takes Base_Generator, Calculator, Wikipedia_Search and Web_Search. Everywhere
// they are nearly level. The heaviest is the right one for some kinds and a wrong one for others, so that a
// planner which has learned them is poor both when it samples and when it takes the likeliest.
var habits = map[frozen.Kind][4]float64{
	frozen.Capital:          {.34, .16, .28, .22},
	frozen.Currency:         {.34, .16, .28, .22},
	frozen.Arithmetic:       {.26, .32, .22, .20},
	frozen.CityCountry:      {.36, .12, .28, .24},
	frozen.BookAuthor:       {.36, .12, .28, .24},
	frozen.FirmSeat:         {.36, .12, .28, .24},
	frozen.Figure:           {.22, .12, .38, .28},
	frozen.BirthRiver:       {.32, .10, .34, .24},
	frozen.AuthorBirthplace: {.32, .10, .34, .24},
	frozen.SeatCountry:      {.32, .10, .34, .24},
	frozen.PersonAge:        {.28, .18, .34, .20},
	frozen.CityAge:          {.28, .18, .34, .20},
}

var toolNames = [4]string{frozen.BaseGenerator, frozen.Calculator, frozen.WikipediaSearch, frozen.WebSearch}

// Plan implements rollout.Planner. Its random stream is the call's.
func (Naive) Plan(ctx context.Context, in rollout.Input) (rollout.Planning, error) {
	return demonstrate(ctx, in, func(q frozen.Question) rollout.Plan {
		return naive(q, in.Memory.Steps(), flow.NewRand(in.Seed))
	})
}

func naive(q frozen.Question, steps []flow.Step, rng *rand.Rand) rollout.Plan {
	if n := len(steps); n > 0 && steps[n-1].ErrorKind != "" && rng.Float64() < repeatError {
		return rollout.Plan{SubGoal: steps[n-1].SubGoal, Tool: steps[n-1].Tool}
	}
	memory := frozen.Recall(steps)
	about := memory.About(q.Name)
	if next := bridge(q, about); next != "" && rng.Float64() < goOn {
		tool := frozen.WikipediaSearch
		if q.Kind == frozen.PersonAge || q.Kind == frozen.CityAge {
			tool = frozen.Calculator
		}
		return rollout.Plan{SubGoal: copied(next, rng), Tool: tool}
	}
	tool := toolNames[weighted(habits[q.Kind], rng)]
	goal := copied(subject(q), rng)
	if tool == frozen.BaseGenerator {
		switch q.Kind {
		case frozen.Capital:
			goal = "capital of " + goal
		case frozen.Currency:
			goal = "currency of " + goal
		}
	}
	return rollout.Plan{SubGoal: goal, Tool: tool}
}

// subject is what a question is about, as it stands in it.
func subject(q frozen.Question) string { return q.Name + q.URL + q.Expr }

func weighted(weights [4]float64, rng *rand.Rand) int {
	x := rng.Float64()
	for i, w := range weights {
		if x -= w; x < 0 {
			return i
		}
	}
	return len(weights) - 1
}

// copied is text, or text with a slip: a letter or digit in it became another of its kind.
func copied(text string, rng *rand.Rand) string {
	if rng.Float64() < rightCopy {
		return text
	}
	b := []byte(text)
	for {
		i := rng.IntN(len(b))
		from, size := byte('a'), 26
		switch c := b[i]; {
		case c >= '0' && c <= '9':
			from, size = '0', 10
		case c < 'a' || c > 'z':
			continue
		}
		b[i] = from + (b[i]-from+byte(1+rng.IntN(size-1)))%byte(size)
		return string(b)
	}
}
