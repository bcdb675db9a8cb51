package suite

import (
	"fmt"
	"strings"

	"afctl/bench/gym"
	"afctl/flow"
)

const gymName = "gym"

// GymTasks is how many tasks of the gym make a suite where none is said.
const GymTasks = 500

// gym takes the first tasks that Draw gives.
func (r Reader) gym(name string) (*Suite, error) {
	draw, err := r.Draw(name)
	if err != nil {
		return nil, err
	}
	n := r.N
	if n == 0 {
		n = GymTasks
	}
	tasks := make([]flow.Task, n)
	for i := range tasks {
		tasks[i] = draw()
	}
	return &Suite{Name: name, Tasks: tasks}, nil
}

// Draw returns what draws tasks of the embedded world without end, for the names of the gym.
func (r Reader) Draw(name string) (func() flow.Task, error) {
	split, ok := gym.HeldOut, true
	if _, tail, cut := strings.Cut(name, ":"); cut {
		split, ok = gym.ParseSplit(tail)
	}
	if !ok || r.N < 0 || r.Scorer != "" {
		return nil, fmt.Errorf("suite %s, n %d, scorer %q: expected gym, gym:train or gym:heldout, n of 0 or more and no scorer", name, r.N, r.Scorer)
	}
	world, err := gym.Embedded()
	if err != nil {
		return nil, err
	}
	draw := world.Draw(split, r.Seed)
	return func() flow.Task {
		t := draw()
		t.Meta[MetaSuite] = name
		return t
	}, nil
}
