package rollout

import "afctl/flow"

// Tally counts solves and what went wrong in them, by kind. The zero value is ready; it is not safe for concurrent use
// (SolveAll hands its trajectories over one at a time).
type Tally struct {
	Solves     int            // trajectories, failed ones included
	Failed     int            // trajectories without a reward
	Steps      int            // turns taken
	Failures   map[string]int // failed trajectories by kind
	StepErrors map[string]int // steps by kind of error; those that went well are not in it
}

// Add counts one trajectory.
func (c *Tally) Add(t *flow.Trajectory) {
	c.Solves++
	if t.Failed() {
		c.Failed++
		count(&c.Failures, t.Failure)
	}
	c.Steps += len(t.Steps)
	for i := range t.Steps {
		if kind := t.Steps[i].ErrorKind; kind != "" {
			count(&c.StepErrors, kind)
		}
	}
}

func count(m *map[string]int, kind string) {
	if *m == nil {
		*m = map[string]int{}
	}
	(*m)[kind]++
}
