package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"afctl/bench/suite"
	"afctl/flow"
	"afctl/rollout"
)

// taskStream is the order in which a run takes its training tasks: pass after pass over a finite set, each in an order of its own, or
// one after another from the gym.
type taskStream struct {
	tasks   []flow.Task
	draw    func() flow.Task // of the gym, which has a task for every place: no pass ends, and tasks are those drawn so far
	total   int              // tasks of the run
	shuffle bool
	seed    uint64
	perStep int
	order   []int // of pass `pass`
	pass    int
}

// loadSuite reads n tasks of a name or a file, 0 for all, as t says.
func loadSuite(name string, n int, t *TasksConfig) (*suite.Suite, error) {
	if isGym(name) {
		return suite.Reader{N: n, Seed: t.Seed}.Named(name, "")
	}
	found, err := readSuite(suite.Reader{N: n, ContentKeys: t.ContentIDs, Scorer: t.scorer()}, name)
	if errors.Is(err, suite.ErrDuplicateID) {
		return nil, fmt.Errorf("%w; to read the rows as if they had no ids, --set tasks.content_ids=true", err)
	}
	return found, err
}

// readSuite reads a file, or a suite by its name: in the folder that stands before the name, else in the working folder.
func readSuite(r suite.Reader, name string) (*suite.Suite, error) {
	if filepath.Ext(name) != "" {
		return r.Load(name)
	}
	dir, base := filepath.Split(strings.TrimRight(name, string(filepath.Separator)))
	if dir == "" {
		return r.Named(base, ".")
	}
	if isGym(base) { // which Named would take for the one in this program
		return nil, fmt.Errorf("found %q, but the gym is built in and lies in no folder: expected %s alone, or a file by its whole name, such as gym.json", name, base)
	}
	return r.Named(base, dir)
}

// newTaskStream reads the training tasks of a config.
func newTaskStream(c *Config) (*taskStream, error) {
	t := &c.Tasks
	s := &taskStream{shuffle: t.Shuffle, seed: t.Seed, perStep: c.Run.TasksPerStep, pass: -1}
	s.total = c.Run.Steps * c.Run.TasksPerStep
	name := t.Train
	if name == "gym" {
		name = "gym:train" // the other half is held out
	}
	if isGym(name) && t.Limit == 0 {
		var err error
		if s.draw, err = (suite.Reader{Seed: t.Seed}).Draw(name); err != nil {
			return nil, fmt.Errorf("tasks.train: %w", err)
		}
		return s, nil
	}
	found, err := loadSuite(name, t.Limit, t)
	if err != nil {
		return nil, fmt.Errorf("tasks.train: %w", err)
	}
	s.tasks = found.Tasks
	if len(s.tasks) == 0 {
		return nil, fmt.Errorf("tasks.train: found no task in %s", t.Train)
	}
	return s, nil
}

// task returns the i-th task of the run.
func (s *taskStream) task(i int) flow.Task {
	if s.draw != nil {
		for len(s.tasks) <= i {
			s.tasks = append(s.tasks, s.draw())
		}
		return s.tasks[i]
	}
	if pass := i / len(s.tasks); pass != s.pass {
		s.pass, s.order = pass, make([]int, len(s.tasks))
		for j := range s.order {
			s.order[j] = j
		}
		if s.shuffle {
			rng := flow.NewRand(flow.DeriveSeed(s.seed, "tasks", strconv.Itoa(pass)))
			rng.Shuffle(len(s.order), func(a, b int) { s.order[a], s.order[b] = s.order[b], s.order[a] })
		}
	}
	return s.tasks[s.order[i%len(s.tasks)]]
}

// size is the number of tasks that the stream repeats, 0 where they are drawn without end.
func (s *taskStream) size() int {
	if s.draw != nil {
		return 0
	}
	return len(s.tasks)
}

// among returns how many of some tasks the stream has. Where the gym draws both, they begin alike or have nothing in common.
func (s *taskStream) among(tasks []flow.Task) (n int) {
	if first := min(s.total, len(tasks)); s.draw != nil && first > 0 {
		s.task(first - 1)
	}
	have := make(map[string]bool, len(s.tasks))
	for i := range s.tasks {
		have[s.tasks[i].ID] = true
	}
	for i := range tasks {
		if have[tasks[i].ID] {
			n++
		}
	}
	return n
}

// passes returns how many passes are complete after n tasks.
func (s *taskStream) passes(n int) int {
	if s.draw != nil {
		return 0
	}
	return n / len(s.tasks)
}

// jobs are the rollouts of update u (from 0): groupSize of each of its tasks, each with a random stream of its own. A task that comes twice in
// one update makes two groups.
func (s *taskStream) jobs(u, groupSize int, seed uint64) []rollout.Job {
	var jobs []rollout.Job
	seen := map[string]int{}
	for i := u * s.perStep; i < (u+1)*s.perStep; i++ {
		t := s.task(i)
		group := t.ID
		if seen[t.ID]++; seen[t.ID] > 1 {
			group = fmt.Sprintf("%s (%d)", t.ID, seen[t.ID])
		}
		for k := range groupSize {
			jobs = append(jobs, rollout.Job{Task: t, Group: group, Sample: k,
				Seed: flow.DeriveSeed(seed, "rollout", strconv.Itoa(u), group, strconv.Itoa(k))})
		}
	}
	return jobs
}
