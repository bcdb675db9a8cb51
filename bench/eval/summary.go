package eval

import (
	"cmp"
	"maps"
	"slices"

	"afctl/flow"
	"afctl/rollout"
)

// Labels of steps that chose no tool of the registry.
const (
	UnreadablePlan = "(unreadable plan)"
	UnknownTool    = "(unknown tool)"
)

// Stats are the figures of a set of solves.
type Stats struct {
	Tasks     int `json:"tasks"`
	Repeats   int `json:"repeats"`
	Requested int `json:"requested"` // Tasks * Repeats: the denominator of Accuracy
	Missing   int `json:"missing"`   // requested, no record: counted as wrong
	Failed    int `json:"failed"`    // recorded without a reward: counted as wrong
	// Failures counts failed solves by kind; Reasons has the first reason of each, cut short.
	Failures map[string]int    `json:"failures,omitempty"`
	Reasons  map[string]string `json:"reasons,omitempty"`
	// Accuracy is the mean reward over all requested solves.
	Accuracy Interval `json:"accuracy"`

	Turns     float64 `json:"turns"`     // mean over recorded solves
	Histogram []int   `json:"histogram"` // [turns] solves
	Steps     int     `json:"steps"`     // turns of all solves
	// Tools are the choices of the planner, the most frequent first.
	Tools []ToolStats `json:"tools"`
	// ErrorRate is the share of steps that ended in an error; Errors counts them by kind.
	ErrorRate float64        `json:"error_rate"`
	Errors    map[string]int `json:"errors,omitempty"`
	// RepeatRate is the share of steps that make a call again which has failed before in the same solve; StuckRate the
	// share of solves with such a step.
	RepeatRate float64 `json:"repeat_rate"`
	StuckRate  float64 `json:"stuck_rate"`

	Seconds      float64 `json:"seconds"`       // per recorded solve, mean
	PromptTokens float64 `json:"prompt_tokens"` // of the planner, per recorded solve, mean
	ActionTokens float64 `json:"action_tokens"` // the same
}

// ToolStats is how often one tool was chosen.
type ToolStats struct {
	Name   string  `json:"name"`
	Calls  int     `json:"calls"`
	Share  float64 `json:"share"` // of all steps
	Errors int     `json:"errors"`
}

// Part is the share of a summary that belongs to one family.
type Part struct {
	Name  string `json:"name"`
	Stats Stats  `json:"stats"`
}

// Summary is Stats over all, and by family in alphabetical order; without families where tasks name none.
type Summary struct {
	All      Stats  `json:"all"`
	Families []Part `json:"families,omitempty"`
}

// Family are the figures of one; nil where there are none.
func (s *Summary) Family(name string) *Stats {
	for i := range s.Families {
		if s.Families[i].Name == name {
			return &s.Families[i].Stats
		}
	}
	return nil
}

// Summarize computes the figures of solves of these tasks. Repeats is the largest number of records that a task has; tasks
// with fewer miss some. Records of other tasks are left out.
func Summarize(tasks []flow.Task, ts []flow.Trajectory) Summary {
	byTask := group(tasks, ts)
	repeats := 1
	for _, list := range byTask {
		repeats = max(repeats, len(list))
	}
	return summarize(tasks, byTask, repeats)
}

// group collects the records of each task.
func group(tasks []flow.Task, ts []flow.Trajectory) map[string][]*flow.Trajectory {
	byTask := make(map[string][]*flow.Trajectory, len(tasks))
	for _, t := range tasks {
		byTask[t.ID] = nil
	}
	for i := range ts {
		if list, ok := byTask[ts[i].Task]; ok {
			byTask[ts[i].Task] = append(list, &ts[i])
		}
	}
	return byTask
}

func summarize(tasks []flow.Task, byTask map[string][]*flow.Trajectory, repeats int) Summary {
	s := Summary{All: stats(tasks, byTask, repeats)}
	families := make(map[string][]flow.Task)
	for _, t := range tasks {
		if f := t.Meta[flow.MetaFamily]; f != "" {
			families[f] = append(families[f], t)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(families)) {
		s.Families = append(s.Families, Part{Name: name, Stats: stats(families[name], byTask, repeats)})
	}
	return s
}

func stats(tasks []flow.Task, byTask map[string][]*flow.Trajectory, repeats int) Stats {
	s := Stats{
		Tasks: len(tasks), Repeats: repeats, Requested: len(tasks) * repeats,
		Failures: map[string]int{}, Reasons: map[string]string{}, Errors: map[string]int{}, Histogram: []int{},
	}
	means := make([]float64, len(tasks))
	tools := make(map[string]*ToolStats)
	recorded, faulty, repeated, stuck := 0, 0, 0, 0
	for i, task := range tasks {
		records := byTask[task.ID]
		s.Missing += repeats - len(records)
		for _, t := range records {
			recorded++
			if t.Failed() {
				s.Failed++
				s.Failures[t.Failure]++
				if s.Reasons[t.Failure] == "" && t.FailureDetail != "" {
					s.Reasons[t.Failure] = t.Reason()
				}
			} else {
				means[i] += *t.Reward / float64(repeats)
			}
			turns := Turns(t)
			if grow := turns + 1 - len(s.Histogram); grow > 0 {
				s.Histogram = append(s.Histogram, make([]int, grow)...)
			}
			s.Histogram[turns]++
			s.Turns += float64(turns)
			s.Seconds += t.TotalMS / 1000
			for _, turn := range t.Turns {
				s.PromptTokens += float64(len(turn.Prompt))
				s.ActionTokens += float64(len(turn.Action))
			}
			again := 0
			for j := range t.Steps {
				step := &t.Steps[j]
				s.Steps++
				tool := tools[ToolLabel(step)]
				if tool == nil {
					tool = &ToolStats{Name: ToolLabel(step)}
					tools[tool.Name] = tool
				}
				tool.Calls++
				if step.ErrorKind != "" {
					faulty++
					tool.Errors++
					s.Errors[step.ErrorKind]++
				}
				if RepeatsFailure(t.Steps, j) {
					again++
				}
			}
			if again > 0 {
				stuck++
			}
			repeated += again
		}
	}
	s.Accuracy = accuracy(means, repeats)
	for _, name := range slices.Sorted(maps.Keys(tools)) {
		tool := tools[name]
		tool.Share = share(tool.Calls, s.Steps)
		s.Tools = append(s.Tools, *tool)
	}
	slices.SortStableFunc(s.Tools, func(a, b ToolStats) int { return cmp.Compare(b.Calls, a.Calls) })
	s.ErrorRate, s.RepeatRate = share(faulty, s.Steps), share(repeated, s.Steps)
	s.StuckRate = share(stuck, recorded)
	for _, mean := range []*float64{&s.Turns, &s.Seconds, &s.PromptTokens, &s.ActionTokens} {
		*mean /= float64(max(recorded, 1))
	}
	return s
}

func share(part, whole int) float64 { return float64(part) / float64(max(whole, 1)) }

// Turns is the number of planner calls of a solve.
func Turns(t *flow.Trajectory) int { return max(len(t.Steps), len(t.Turns)) }

// ToolLabel is the tool that a step chose, or why it chose none.
func ToolLabel(s *flow.Step) string {
	switch {
	case s.ErrorKind == rollout.KindUnknownTool:
		return UnknownTool
	case s.Tool == "" || s.ErrorKind == rollout.KindParse:
		return UnreadablePlan
	}
	return s.Tool
}

// RepeatsFailure reports whether step i makes a call that failed before in the same solve: the same tool with the same
// arguments, or, where no arguments came about, the same sub-goal.
func RepeatsFailure(steps []flow.Step, i int) bool {
	s := &steps[i]
	if ToolLabel(s) == UnreadablePlan {
		return false // no call was made
	}
	for j := range i {
		before := &steps[j]
		if before.ErrorKind == "" || before.Tool != s.Tool || string(before.Args) != string(s.Args) {
			continue
		}
		if len(s.Args) > 0 || before.SubGoal == s.SubGoal {
			return true
		}
	}
	return false
}
