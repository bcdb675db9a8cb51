package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"afctl/bench/eval"
	"afctl/bench/gym"
	"afctl/ckpt"
	"afctl/flow"
)

// outcome is what came of an arm with one seed.
type outcome struct {
	Arm    string       `json:"arm"`
	Seed   uint64       `json:"seed"`
	Before eval.Summary `json:"before"`
	After  eval.Summary `json:"after"`
	// Curve is the held-out accuracy by optimizer steps done, first and last included.
	Curve    []point `json:"curve"`
	Tasks    int     `json:"tasks"`    // distinct training tasks
	Rollouts int     `json:"rollouts"` // sampled for training
	Examples int     `json:"examples"` // demonstrated turns
	Steps    int     `json:"steps"`    // of the optimizer
	// Seconds of training on the clock: rollouts, updates and checkpoints, without evaluations and demonstrations. Of a step that was
	// stopped, those after the last start count.
	Seconds float64 `json:"seconds"`
}

type point struct {
	Step     int     `json:"step"`
	Accuracy float64 `json:"accuracy"`
}

var errUnfinished = errors.New("not finished")

// readOutcome reads the figures of a finished arm. demonstrated is how many tasks were demonstrated, in the arm where they were.
func readOutcome(ctx context.Context, arm string, seed uint64, dir string, demonstrated int) (o outcome, err error) {
	if arm == sftArm {
		o, err = readSFT(dir)
		o.Tasks = demonstrated
	} else {
		o, err = readRun(ctx, filepath.Join(dir, runDir))
	}
	o.Arm, o.Seed = arm, seed
	if err != nil {
		return o, fmt.Errorf("%s: %w", dir, err)
	}
	return o, nil
}

// readRun reads a run folder.
func readRun(ctx context.Context, dir string) (o outcome, err error) {
	if o.Steps, o.Seconds, err = readMetrics(filepath.Join(dir, "metrics.jsonl")); err != nil {
		return o, err
	}
	store, err := ckpt.OpenStoreReadOnly(ctx, filepath.Join(dir, ckpt.StoreFile))
	if err != nil {
		return o, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	counts, err := store.Counts(ctx)
	if err != nil {
		return o, err
	}
	byStep := map[int][]flow.Trajectory{}
	var steps []int
	evaluated := map[string]bool{} // tasks
	for _, c := range counts {
		switch c.Phase {
		case ckpt.PhaseTrain:
			o.Rollouts += c.Rollouts
		case ckpt.PhaseEval:
			steps = append(steps, c.Step)
			for t, err := range store.Trajectories(ctx, ckpt.Query{Phase: ckpt.PhaseEval, From: c.Step, To: c.Step + 1}) {
				if err != nil {
					return o, err
				}
				byStep[c.Step] = append(byStep[c.Step], *t)
				evaluated[t.Task] = true
			}
		}
	}
	var heldOut []flow.Task
	for t, err := range store.Tasks(ctx) {
		if err != nil {
			return o, err
		}
		if evaluated[t.ID] {
			heldOut = append(heldOut, t)
		} else {
			o.Tasks++
		}
	}
	if len(steps) < 2 || steps[0] != 0 || steps[len(steps)-1] != o.Steps {
		return o, fmt.Errorf("%w: found evaluations after steps %v, expected one before the first and one after step %d", errUnfinished, steps, o.Steps)
	}
	for i, step := range steps {
		s := eval.Summarize(heldOut, byStep[step])
		if i == 0 {
			o.Before = s
		}
		o.After = s
		o.Curve = append(o.Curve, point{step, s.All.Accuracy.Mean})
	}
	return o, nil
}

// readSFT reads the folder of demonstrations, adapter and evaluations.
func readSFT(dir string) (o outcome, err error) {
	before, err := eval.ReadReport(filepath.Join(dir, beforeDir, evalFile))
	if err != nil {
		return o, err
	}
	after, err := eval.ReadReport(filepath.Join(dir, afterDir, evalFile))
	if err != nil {
		return o, err
	}
	o.Before, o.After = before.Summary, after.Summary
	if o.Steps, o.Seconds, err = readMetrics(filepath.Join(dir, adapter, "metrics.jsonl")); err != nil {
		return o, err
	}
	o.Curve = []point{{0, o.Before.All.Accuracy.Mean}, {o.Steps, o.After.All.Accuracy.Mean}}
	return o, eachJSON(filepath.Join(dir, demosFile), func(*gym.Line) error {
		o.Examples++
		return nil
	})
}

// metricsLine is what a line of metrics.jsonl says of time: an online step gives its parts, one of SFT the whole.
type metricsLine struct {
	Step       int          `json:"step"`
	Whole      *flow.Number `json:"seconds"`
	Rollout    *flow.Number `json:"seconds/rollout"`
	Reference  *flow.Number `json:"seconds/reference"`
	Update     *flow.Number `json:"seconds/update"`
	Publish    *flow.Number `json:"seconds/publish"`
	Checkpoint *flow.Number `json:"seconds/checkpoint"`
}

// readMetrics returns the last step and the seconds of all.
func readMetrics(path string) (steps int, seconds float64, err error) {
	err = eachJSON(path, func(l *metricsLine) error {
		steps = max(steps, l.Step)
		for _, x := range []*flow.Number{l.Whole, l.Rollout, l.Reference, l.Update, l.Publish, l.Checkpoint} {
			if x != nil && !math.IsNaN(float64(*x)) {
				seconds += float64(*x)
			}
		}
		return nil
	})
	return steps, seconds, err
}

// eachJSON hands over every value of a JSON Lines file.
func eachJSON[T any](path string, yield func(*T) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	d := jsontext.NewDecoder(f)
	for {
		var v T
		if err := json.UnmarshalDecode(d, &v); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if err := yield(&v); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
}
