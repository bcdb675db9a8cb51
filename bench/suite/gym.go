package suite

import (
	"fmt"
	"strings"

	"afctl/bench/gym"
)

const gymName = "gym"

// GymTasks is how many tasks of the gym make a suite where none is said.
const GymTasks = 500

// gym draws tasks of the embedded world.
func (r Reader) gym(name string) (*Suite, error) {
	split, ok := gym.HeldOut, true
	if _, tail, cut := strings.Cut(name, ":"); cut {
		split, ok = gym.ParseSplit(tail)
	}
	if !ok || r.N < 0 || r.Scorer != "" {
		return nil, fmt.Errorf("suite %s, n %d, scorer %q: expected gym, gym:train or gym:heldout, n of 0 or more and no scorer", name, r.N, r.Scorer)
	}
	n := r.N
	if n == 0 {
		n = GymTasks
	}
	world, err := gym.Embedded()
	if err != nil {
		return nil, err
	}
	tasks := world.Tasks(split, n, r.Seed)
	for i := range tasks {
		tasks[i].Meta[MetaSuite] = name
	}
	return &Suite{Name: name, Tasks: tasks}, nil
}
