package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"afctl/ckpt"
	"afctl/flow"
	"afctl/rollout"

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
			"trains on such a file. What is solved is kept in a folder beside --out until the file is whole, and the same\n" +
			"command goes on where it was stopped.",
		Example: "  afctl rollout --tasks gym:heldout --n 5 --group 2 --out trajectories.jsonl",
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.extra = []assignment{{"--tasks", "tasks.train", o.tasks}, {"--group", "flow.group_size", strconv.Itoa(o.group)},
				{"--n", "tasks.limit", strconv.Itoa(o.n)}, {"--seed", "run.seed", strconv.FormatUint(o.seed, 10)}}
			f.own = func(c *Config) {
				c.Tasks.Eval, c.Tasks.Shuffle = "", false
				untrained(c)
			}
			s, err := f.settings(cmd, append(slices.Clone(solving), "flow.group_size", "tasks.train", "tasks.limit")...)
			if err != nil {
				return err
			}
			if err := checkFileOut("out", o.out, f.inputs(&s.Config)); err != nil {
				return err
			}
			return rollouts(cmd, s, o.out)
		},
	}
	f.add(cmd)
	cmd.Flags().Lookup("adapter").Usage = adapterOrCheckpoint
	cmd.Flags().StringVar(&o.tasks, "tasks", "", "suite or file of tasks (tasks.train)")
	cmd.Flags().IntVar(&o.n, "n", 0, "tasks to take (tasks.limit); 0 takes all, of the gym 500")
	cmd.Flags().IntVar(&o.group, "group", 0, "rollouts of each task (flow.group_size)")
	cmd.Flags().Uint64Var(&o.seed, "seed", 0, "of the random streams (run.seed)")
	cmd.Flags().StringVar(&o.out, "out", "-", "file of JSON Lines; - is stdout")
	return cmd
}

// solving are the keys that matter to all commands that solve tasks and train nothing.
var solving = []string{"model", "adapter", "flow.temperature", "flow.max_action_tokens", "engine", "!engine.micro_batch_tokens", "tasks.seed", "tasks.scorer", "tasks.content_ids", "rollout", "run.seed"}

// loaded is a model with the agentic system around it.
type loaded struct {
	*system
	adapterHash string // of what is trained; "" without an adapter
}

// load opens the model of a config with its adapter, if it names one, or the weights of a checkpoint, and the system around it.
func load(ctx context.Context, c *Config) (l loaded, err error) {
	m, err := openModel(c)
	if err != nil {
		return l, err
	}
	s, version, err := l.openPlanner(c, m)
	if err != nil {
		return l, err
	}
	if l.system, err = newSystem(ctx, c, s); err != nil {
		return l, errors.Join(err, s.Close())
	}
	if err := l.policy.Publish(ctx, version, l.adapterHash, s.engine.Adapter); err != nil {
		return l, errors.Join(err, l.Close())
	}
	return l, nil
}

// openPlanner opens what plans, and sets its hash; version is the one that it has in its run.
func (l *loaded) openPlanner(c *Config, m *ckpt.Model) (s *session, version int, err error) {
	var a *ckpt.Adapter
	if ckpt.IsFullCheckpoint(c.Adapter) {
		if s, err = openFull(c, m); err == nil {
			l.adapterHash, err = s.trainedHash()
		}
	} else if s, a, err = openAdapted(c, m, readAdapter); a != nil {
		l.adapterHash = a.Hash()
	}
	if err == nil && l.adapterHash != "" {
		version, err = policyVersion(c.Adapter, l.adapterHash)
	}
	if err != nil && s != nil {
		err = errors.Join(err, s.Close())
	}
	return s, version, err
}

// policyVersion is the version that an adapter has where its folder is a checkpoint, 0 where it is none, or one within an update.
func policyVersion(dir, hash string) (int, error) {
	if isMissing(filepath.Join(dir, "SHA256SUMS")) {
		return 0, nil
	}
	state, err := ckpt.ReadState(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && (state.AdapterHash != hash || state.Epoch > 0) {
		return 0, nil
	}
	return state.PolicyVersion, err
}

// Close releases system and model.
func (l loaded) Close() error { return errors.Join(l.system.Close(), l.s.Close()) }

// solvesSuffix makes the name of --out that of the folder in which solves are kept until the file is whole.
const solvesSuffix = ".solves"

// rollouts writes the trajectories of a config's training tasks. The file is whole or not there; what was solved before an error is kept
// beside it, for the same command to go on with.
func rollouts(cmd *cobra.Command, s *settings, out string) (err error) {
	ctx, c := cmd.Context(), &s.Config
	found, err := loadSuite(c.Tasks.Train, c.Tasks.Limit, &c.Tasks)
	if err != nil {
		return s.located(&valueError{"tasks.train", err.Error()})
	}
	if err := checkFileOut("out", out, []input{{"tasks.train", found.Path, nil}}); err != nil { // which a suite's name does not say
		return err
	}
	if c.Flow.GroupSize > maxRollouts/len(found.Tasks) {
		return usagef("flow.group_size: found %d, expected at most %d solves of the %d tasks", c.Flow.GroupSize, maxRollouts, len(found.Tasks))
	}
	stream := taskStream{tasks: found.Tasks, perStep: len(found.Tasks), pass: -1}
	l, err := load(ctx, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	view := newLiveView(cmd.ErrOrStderr(), 0)
	defer view.Close()
	view.Note(l.note())
	jobs := stream.jobs(0, c.Flow.GroupSize, c.Run.Seed)
	dir, kept := out+solvesSuffix, true
	if info, err := os.Stat(out); out == "-" || err == nil && !info.Mode().IsRegular() { // with nothing beside it
		if dir, err = os.MkdirTemp("", "afctl-rollout-"); err != nil {
			return err
		}
		kept = false
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	if kept {
		if _, err := os.Stat(filepath.Dir(out)); err != nil {
			return fmt.Errorf("--out: %w", err)
		}
	}
	store, err := openRollouts(ctx, l, dir, &stream)
	if err != nil {
		return err
	}
	if kept {
		err = ckpt.RemoveTemps(out)
	}
	if err == nil {
		err = writeOutput(ctx, "out", out, cmd.OutOrStdout(), func(w io.Writer) error {
			err := solveInto(ctx, l, store.Store, jobs, view)
			view.Close() // what follows may go to the same terminal
			if err != nil && kept && ctx.Err() != nil {
				view.Note("stopped; the same command goes on with what is solved, in " + dir)
			}
			if err == nil {
				err = writeSolves(ctx, store.Store, w, view)
			}
			return err
		})
	}
	if err = errors.Join(err, store.Close()); err != nil || !kept {
		return err
	}
	return os.RemoveAll(dir)
}

// openRollouts opens the folder in which the solves of a file are kept.
func openRollouts(ctx context.Context, l loaded, dir string, s *taskStream) (*solves, error) {
	c, tasks := l.c, sha256.New()
	for i := range s.tasks {
		fmt.Fprintln(tasks, s.tasks[i].ID)
	}
	identity, err := l.identity(func(k *Config) {
		k.Tasks.Train, k.Tasks.Eval, k.Flow.GroupSize = c.Tasks.Train, "", c.Flow.GroupSize
	})
	if err != nil {
		return nil, err
	}
	return openSolves(ctx, dir, "rollout", fmt.Sprintf("%s# tasks: %x\n", identity, tasks.Sum(nil)), s.tasks)
}

// solveInto runs those of the jobs that the store lacks, and keeps them in it, each with the place of its task as its step: so they are read in
// the order of the jobs.
func solveInto(ctx context.Context, l loaded, store *ckpt.Store, jobs []rollout.Job, view *liveView) error {
	place, retries := map[string]int{}, l.c.Rollout.SolveRetries
	for _, j := range jobs {
		if _, ok := place[j.Group]; !ok {
			place[j.Group] = len(place)
		}
	}
	done := map[rolloutKey]bool{}
	var have []flow.Trajectory
	for t, err := range store.Trajectories(ctx, ckpt.Query{}) {
		if err != nil {
			return err
		}
		if !t.Failed() || t.Retries >= retries {
			done[keyOf(t)], have = true, append(have, *t)
		}
	}
	view.BeginRollouts(len(jobs), have)
	missing := slices.DeleteFunc(jobs, func(j rollout.Job) bool { return done[rolloutKey{j.Group, j.Sample}] })
	return solveJobs(ctx, l.solver(l.c.Rollout.MaxTurns, true), missing, retries, func(t flow.Trajectory) error {
		view.Rollout(&t)
		return store.PutTrajectory(ctx, place[t.Group], phaseTrain, &t)
	})
}

// writeSolves writes what a store has as JSON Lines, and notes what failed, and why: who trains on the file should know before.
func writeSolves(ctx context.Context, store *ckpt.Store, w io.Writer, view *liveView) error {
	var failed []flow.Trajectory
	for t, err := range store.Trajectories(ctx, ckpt.Query{}) {
		if err != nil {
			return err
		}
		if err := writeLine(w, t); err != nil {
			return err
		}
		if t.Failed() {
			failed = append(failed, flow.Trajectory{Failure: t.Failure, FailureDetail: t.FailureDetail})
		}
	}
	if len(failed) > 0 {
		view.Note(fmt.Sprintf("%d solves failed, and have no reward: %s", len(failed), flow.Failures(failed)))
	}
	return nil
}
