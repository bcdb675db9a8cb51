package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"afctl/flow"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"
)

func newRolloutCommand() *cobra.Command {
	var f modelFlags
	o := struct {
		tasks, out string
		n, group   int
		seed       uint64
	}{}
	cmd := &cobra.Command{
		Use:   "rollout",
		Short: "Solve tasks with the four modules and write the trajectories",
		Long: "rollout runs the agentic system on tasks, a group of rollouts per task, and writes each trajectory as a line of\n" +
			"JSON: what was planned, called and found, and every planner call as token ids with log-probs. `afctl update`\n" +
			"trains on such a file.",
		Example: "  afctl rollout --tasks gym:heldout --n 5 --group 2 --out trajectories.jsonl",
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, s := range []struct{ flag, key, value string }{{"tasks", "tasks.train", o.tasks}, {"group", "flow.group_size", strconv.Itoa(o.group)},
				{"n", "tasks.limit", strconv.Itoa(o.n)}, {"seed", "run.seed", strconv.FormatUint(o.seed, 10)}} {
				if cmd.Flags().Changed(s.flag) {
					f.extra = append(f.extra, assignment{"--" + s.flag, s.key, s.value})
				}
			}
			s, err := f.settings(cmd, append(slices.Clone(solving), "flow.group_size")...)
			if err != nil {
				return err
			}
			return rollouts(cmd, &s.Config, o.out)
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&o.tasks, "tasks", "", "suite or file of tasks (tasks.train)")
	cmd.Flags().IntVar(&o.n, "n", 0, "tasks to take (tasks.limit); 0 takes all")
	cmd.Flags().IntVar(&o.group, "group", 0, "rollouts of each task (flow.group_size)")
	cmd.Flags().Uint64Var(&o.seed, "seed", 0, "of the random streams (run.seed)")
	cmd.Flags().StringVar(&o.out, "out", "-", "file of JSON Lines; - is stdout")
	return cmd
}

// solving are the keys that matter to commands that solve tasks and train nothing.
var solving = []string{"model", "adapter", "flow.temperature", "flow.max_action_tokens", "engine", "!engine.micro_batch_tokens", "tasks", "rollout", "run.seed"}

// loaded is a model with the agentic system around it.
type loaded struct {
	*session
	*system
	adapterHash string // "" without one
}

// load opens the model of a config with its adapter, if it names one, and the system around it.
func load(ctx context.Context, c *Config) (l loaded, err error) {
	m, err := openModel(c)
	if err != nil {
		return l, err
	}
	adapter, err := readAdapter(c, m)
	if err != nil {
		return l, errors.Join(err, m.Close())
	}
	if l.session, err = openSession(c, m); err != nil {
		return l, err
	}
	if adapter != nil {
		l.adapterHash = adapter.Hash()
		err = l.session.engine.SetAdapter(adapter)
	}
	if err == nil {
		l.system, err = newSystem(ctx, c, l.session)
	}
	if err == nil {
		err = l.system.policy.Publish(ctx, 0, l.adapterHash, l.session.engine.Adapter)
	}
	if err != nil {
		return l, errors.Join(err, l.Close())
	}
	return l, nil
}

// Close releases both.
func (l loaded) Close() error {
	var err error
	if l.system != nil {
		err = l.system.Close()
	}
	return errors.Join(err, l.session.Close())
}

// rollouts writes the trajectories of a config's training tasks. What was solved before an error is not written: the file is whole or
// not there.
func rollouts(cmd *cobra.Command, c *Config, out string) (err error) {
	ctx := cmd.Context()
	found, err := loadSuite(c.Tasks.Train, c.Tasks.Limit, c.Tasks.Seed)
	if err != nil {
		return fmt.Errorf("--tasks: %w", err)
	}
	stream := taskStream{tasks: found.Tasks, perStep: len(found.Tasks), pass: -1}
	l, err := load(ctx, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	view := newLiveView(cmd.ErrOrStderr(), 0)
	defer view.Close()
	jobs := stream.jobs(0, c.Flow.GroupSize, c.Run.Seed)
	view.BeginRollouts(len(jobs), nil)
	return writeOutput(out, cmd.OutOrStdout(), func(w io.Writer) error {
		done, err := solveJobs(ctx, l.solver(c.Rollout.MaxTurns), jobs, c.Rollout.SolveRetries, func(t flow.Trajectory) error {
			view.Rollout(&t)
			return nil
		})
		if err != nil {
			return err
		}
		view.Close() // what follows may go to the same terminal
		for _, j := range jobs {
			t := done[rolloutKey{j.Group, j.Sample}]
			if err := json.MarshalWrite(w, &t); err != nil {
				return err
			}
			if _, err := io.WriteString(w, "\n"); err != nil {
				return err
			}
		}
		return nil
	})
}
