package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"afctl/bench/eval"
	"afctl/ckpt"
	"afctl/flow"

	"github.com/spf13/cobra"
)

// Files of an evaluation's folder beside its store: the report, and what its solves follow from.
const (
	evalReport   = "eval.json"
	evalIdentity = "identity.yaml"
)

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
			for _, s := range []struct{ flag, key, value string }{{"suite", "tasks.eval", o.suite}, {"n", "tasks.eval_limit", strconv.Itoa(o.n)},
				{"seed", "run.seed", strconv.FormatUint(o.seed, 10)}} {
				if cmd.Flags().Changed(s.flag) {
					f.extra = append(f.extra, assignment{"--" + s.flag, s.key, s.value})
				}
			}
			s, err := f.settings(cmd, solving...)
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
			if o.repeats < 1 {
				return usagef("--repeats: found %d, expected at least 1", o.repeats)
			}
			// The modules go by the tasks that are solved.
			c.Tasks.Train = c.Tasks.Eval
			return evaluate(cmd, c, o.repeats, o.out, o.compare, o.retry)
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&o.suite, "suite", "", "suite or file of tasks (tasks.eval)")
	cmd.Flags().IntVar(&o.n, "n", 0, "tasks to take (tasks.eval_limit); 0 takes all")
	cmd.Flags().IntVar(&o.repeats, "repeats", o.repeats, "solves of each task")
	cmd.Flags().Uint64Var(&o.seed, "seed", 0, "of the random streams (run.seed)")
	cmd.Flags().StringVar(&o.out, "out", "", "folder to keep solves and report in, and to go on from")
	cmd.Flags().StringVar(&o.compare, "compare", "", "the folder of another evaluation of the same tasks, for a paired test")
	cmd.Flags().BoolVar(&o.retry, "retry-failed", false, "solve again what is stored without an answer")
	return cmd
}

// evaluate runs the evaluation of a config's tasks.eval and prints its table.
func evaluate(cmd *cobra.Command, c *Config, repeats int, out, compare string, retry bool) (err error) {
	ctx := cmd.Context()
	found, err := loadSuite(c.Tasks.Eval, c.Tasks.EvalLimit, c.Tasks.Seed)
	if err != nil {
		return fmt.Errorf("--suite: %w", err)
	}
	r := eval.Run{Suite: found.Name, Tasks: found.Tasks, Repeats: repeats, Seed: flow.DeriveSeed(c.Run.Seed, "eval"), RetryFailed: retry}
	var other *eval.Report
	if compare != "" {
		if other, err = readEval(compare); err != nil {
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
	r.Solver = l.solver(c.evalTurns())
	r.Store = func(t flow.Trajectory) error {
		view.Rollout(&t)
		return nil
	}
	if out != "" {
		identity, err := l.evalIdentity()
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
	if err != nil {
		return err
	}
	view.Close()
	if out != "" {
		if err := ckpt.WriteFileAtomic(filepath.Join(out, evalReport), 0o666, report.WriteJSON); err != nil {
			return err
		}
	}
	if err := report.WriteTable(cmd.OutOrStdout()); err != nil {
		return err
	}
	if other == nil {
		return nil
	}
	c2, err := eval.Compare(other, report)
	if err != nil {
		return fmt.Errorf("--compare: %w", err)
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), c2)
	return err
}

// evalIdentity is what the solves of an evaluation follow from: solves are taken over from a folder only where it is the same.
func (l loaded) evalIdentity() (string, error) {
	templates := sha256.New()
	if err := hashTemplates(templates, l.c); err != nil {
		return "", err
	}
	k, c := DefaultConfig(), l.c
	k.Model, k.Adapter, k.Engine.DType = l.session.model.Hash(), l.adapterHash, c.Engine.DType
	k.Flow.Temperature, k.Flow.MaxActionTokens = c.Flow.Temperature, c.Flow.MaxActionTokens
	k.Tasks.Train, k.Tasks.Eval, k.Tasks.Seed, k.Run.Seed = c.Tasks.Train, c.Tasks.Eval, c.Tasks.Seed, c.Run.Seed
	concurrency, turns := k.Rollout.Concurrency, k.Rollout.MaxTurns
	k.Rollout = c.Rollout
	k.Rollout.Concurrency, k.Rollout.MaxTurns, k.Rollout.EvalMaxTurns = concurrency, turns, c.evalTurns()
	return fmt.Sprintf("# What the solves of this folder follow from. Model and adapter are hashes.\n# templates: %x\n%s", templates.Sum(nil), marshalConfig(&k, false)), nil
}

// openEval opens the folder of an evaluation and takes over what was solved before.
func openEval(ctx context.Context, dir, identity string, r *eval.Run) (*ckpt.Store, error) {
	if err := ckpt.MkdirAll(dir); err != nil {
		return nil, fmt.Errorf("--out: %w", err)
	}
	file := filepath.Join(dir, evalIdentity)
	switch before, err := os.ReadFile(file); {
	case errors.Is(err, os.ErrNotExist):
		if err := checkOutDir(dir); err != nil {
			return nil, err
		}
		if err := ckpt.WriteFileAtomic(file, 0o666, func(w io.Writer) error {
			_, err := io.WriteString(w, identity)
			return err
		}); err != nil {
			return nil, fmt.Errorf("--out: %w", err)
		}
	case err != nil:
		return nil, fmt.Errorf("--out: %w", err)
	case string(before) != identity:
		return nil, fmt.Errorf("--out: %s holds the solves of another evaluation: %s; expected a folder of its own", dir, firstDifference(string(before), identity))
	}
	store, err := ckpt.OpenStore(ctx, filepath.Join(dir, storeFile))
	if err != nil {
		return nil, err
	}
	err = store.PutTasks(ctx, r.Tasks)
	for t, e := range store.Trajectories(ctx, ckpt.Query{Phase: phaseEval}) {
		if e != nil {
			err = errors.Join(err, e)
			break
		}
		r.Stored = append(r.Stored, *t)
	}
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return store, nil
}

// readEval reads the report of an evaluation's folder.
func readEval(dir string) (*eval.Report, error) {
	f, err := os.Open(filepath.Join(dir, evalReport))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return eval.ReadReport(f)
}
