package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"

	"afctl/bench/eval"
	"afctl/bench/suite"
	"afctl/ckpt"
	"afctl/flow"

	"github.com/spf13/cobra"
)

// evalReport is the report in an evaluation's folder, beside its solves.
const evalReport = "eval.json"

func newEvalCommand() *cobra.Command {
	var f modelFlags
	o := struct {
		suite, out, compare string
		n, repeats          int
		seed                uint64
		retry               bool
	}{repeats: 1}
	cmd := &cobra.Command{
		Use:   "eval",
		Short: "Evaluate on a suite: accuracy with its interval, turns, tools, errors",
		Long: "eval solves every task of a suite, --repeats times, and prints accuracy with a 95 % interval, turns, tool shares,\n" +
			"tool errors and stuck loops, by family where tasks have one. Every task counts: one that fails is wrong and\n" +
			"listed. With --out the solves are kept, and the same command goes on where it was stopped.",
		Example: "  afctl eval --suite gym:heldout\n  afctl eval --config afctl.yaml --adapter runs/first/checkpoints/step-000060 --suite bamboogle.json --repeats 3 --out evals/bamboogle",
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.extra = []assignment{{"--suite", "tasks.eval", o.suite}, {"--n", "tasks.eval_limit", strconv.Itoa(o.n)},
				{"--seed", "run.seed", strconv.FormatUint(o.seed, 10)}}
			f.own = func(c *Config) {
				c.Tasks.Train, c.Tasks.Shuffle = "", false
				untrained(c)
			}
			s, err := f.settings(cmd, append(slices.Clone(solving), "tasks.eval", "tasks.eval_limit", "!rollout.solve_retries")...)
			if err != nil {
				return err
			}
			c := &s.Config
			if c.Tasks.Eval == "" {
				return required(cmd, "suite")
			}
			if o.retry && o.out == "" {
				return usagef("--retry-failed has no effect without --out, the folder of what was solved")
			}
			if err := checkFolderOut("out", o.out); err != nil {
				return err
			}
			if o.repeats < 1 {
				return usagef("--repeats: found %d, expected at least 1", o.repeats)
			}
			return evaluate(cmd, s, o.repeats, o.out, o.compare, o.retry)
		},
	}
	f.add(cmd)
	cmd.Flags().Lookup("adapter").Usage = adapterOrCheckpoint
	cmd.Flags().StringVar(&o.suite, "suite", "", "suite or file of tasks (tasks.eval)")
	cmd.Flags().IntVar(&o.n, "n", 0, "tasks to take (tasks.eval_limit); 0 takes all, of the gym 500")
	cmd.Flags().IntVar(&o.repeats, "repeats", o.repeats, "solves of each task")
	cmd.Flags().Uint64Var(&o.seed, "seed", 0, "of the random streams (run.seed)")
	cmd.Flags().StringVar(&o.out, "out", "", "folder to keep solves and report in, and to go on from")
	cmd.Flags().StringVar(&o.compare, "compare", "", "the folder of another evaluation of the same tasks, for a paired test")
	cmd.Flags().BoolVar(&o.retry, "retry-failed", false, "solve again what is stored without an answer")
	return cmd
}

// evaluate runs the evaluation of a config's tasks.eval and prints its table.
func evaluate(cmd *cobra.Command, s *settings, repeats int, out, compare string, retry bool) (err error) {
	ctx, c := cmd.Context(), &s.Config
	found, err := loadSuite(c.Tasks.Eval, c.Tasks.EvalLimit, &c.Tasks)
	if err != nil {
		return s.located(&valueError{"tasks.eval", err.Error()})
	}
	if repeats > maxRollouts/len(found.Tasks) {
		return usagef("--repeats: found %d, expected at most %d solves of the %d tasks", repeats, maxRollouts, len(found.Tasks))
	}
	r := eval.Run{Suite: found.Name, Tasks: found.Tasks, Repeats: repeats, Seed: flow.DeriveSeed(c.Run.Seed, "eval"), RetryFailed: retry}
	var other *eval.Report
	if compare != "" {
		if other, err = readCompared(compare, found); err != nil {
			return fmt.Errorf("--compare: %w", err)
		}
	}
	l, err := load(ctx, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	view := newLiveView(cmd.ErrOrStderr(), 0)
	defer view.Close()
	view.Note(l.note())
	r.Solver = l.solver(c.evalTurns(), false)
	r.Store = func(t flow.Trajectory) error {
		view.Rollout(&t)
		return nil
	}
	if out != "" {
		identity, err := l.identity(func(k *Config) {
			k.Tasks.Train, k.Tasks.Eval = c.Tasks.Eval, c.Tasks.Eval
			k.Rollout.MaxTurns, k.Rollout.EvalMaxTurns = DefaultConfig().Rollout.MaxTurns, c.evalTurns()
		})
		if err != nil {
			return err
		}
		store, err := openEval(ctx, out, identity, &r)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, store.Close()) }()
		show := r.Store
		r.Store = func(t flow.Trajectory) error { return errors.Join(show(t), store.PutTrajectory(ctx, 0, phaseEval, &t)) }
	}
	view.BeginEval(len(r.Tasks)*repeats, r.Stored)
	report, err := r.Do(ctx)
	view.Close() // what follows may go to the same terminal
	if err != nil && out != "" && ctx.Err() != nil {
		view.Note("stopped; the same command goes on with what is solved, in " + out)
	}
	if err != nil {
		return err
	}
	report.Seed = c.Run.Seed // the one that is given; the streams' follow from it
	if out != "" {
		file := filepath.Join(out, evalReport)
		if err := errors.Join(ckpt.RemoveTemps(file), ckpt.WriteFileAtomic(file, 0o666, report.WriteJSON)); err != nil {
			return err
		}
	}
	return writeEval(cmd.OutOrStdout(), report, other)
}

// writeEval writes the table of an evaluation, and how it compares with another unless that is nil.
func writeEval(w io.Writer, report, other *eval.Report) error {
	err := report.WriteTable(w)
	if err != nil || other == nil {
		return err
	}
	c, err := eval.Compare(other, report)
	if err != nil {
		return fmt.Errorf("--compare: %w", err)
	}
	_, err = fmt.Fprintln(w, c)
	return err
}

// readCompared reads the report of the evaluation in dir, with which one of a suite is to be compared: whether it can be is known before anything is solved.
func readCompared(dir string, s *suite.Suite) (*eval.Report, error) {
	other, err := eval.ReadReport(filepath.Join(dir, evalReport))
	if err != nil {
		return nil, err
	}
	asked := eval.Report{Suite: s.Name}
	for i := range s.Tasks {
		asked.Rows = append(asked.Rows, eval.Row{Task: s.Tasks[i].ID})
	}
	_, err = eval.Compare(other, &asked)
	return other, err
}

// openEval opens the folder of an evaluation and takes over what was solved before.
func openEval(ctx context.Context, dir, identity string, r *eval.Run) (*solves, error) {
	store, err := openSolves(ctx, dir, "evaluation", identity, r.Tasks)
	if err != nil {
		return nil, err
	}
	ids := map[string]bool{}
	for i := range r.Tasks {
		ids[r.Tasks[i].ID] = true
	}
	for t, e := range store.Trajectories(ctx, ckpt.Query{Phase: phaseEval}) {
		if e != nil {
			return nil, errors.Join(e, store.Close())
		}
		if ids[t.Task] && t.Sample < r.Repeats { // others are of a call with more tasks or repeats
			r.Stored = append(r.Stored, *t)
		}
	}
	return store, nil
}
