package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"afctl/ckpt"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// configFile is the effective config in a run folder.
const configFile = "config.yaml"

func newTrainCommand() *cobra.Command {
	var f modelFlags
	var steps int
	var dir string
	var resume bool
	cmd := &cobra.Command{
		Use:   "train",
		Short: "Train the planner: rollouts, Flow-GRPO, again with the new weights",
		Long: "train runs the on-policy loop: the agentic system solves tasks, a group of rollouts per task; groups\n" +
			"become advantages; the planner is updated and the next rollouts use it. Everything is kept in the\n" +
			"run folder, and a run that was stopped at any moment goes on with --resume as if it had not been.",
		Example: "  afctl train --config demo.yaml --run runs/demo   # after afctl init --demo --out demo.yaml\n" +
			"  afctl train --config afctl.yaml --run runs/first\n  afctl train --resume --run runs/first",
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.extra = []assignment{{"--run", "run.dir", dir}, {"--steps", "run.steps", strconv.Itoa(steps)}}
			if resume && f.config == "" {
				if !cmd.Flags().Changed("run") {
					return usagef("--resume needs --run, the folder of the run")
				}
				f.config = filepath.Join(dir, configFile)
			}
			if err := checkFolderOut("run", dir); err != nil {
				return err
			}
			s, err := f.settings(cmd)
			if err != nil {
				return err
			}
			return train(cmd, s, resume)
		},
	}
	f.add(cmd)
	cmd.Flags().IntVar(&steps, "steps", 0, "updates of the whole run")
	cmd.Flags().StringVar(&dir, "run", "", "folder of the run")
	cmd.Flags().BoolVar(&resume, "resume", false, "go on with the run in --run; its config holds")
	return cmd
}

// train runs or resumes the run of a config.
func train(cmd *cobra.Command, s *settings, resume bool) (err error) {
	c, ctx := &s.Config, cmd.Context()
	if err := c.checkTrainTasks(); err != nil {
		return &usageError{err}
	}
	if err := c.makeAbsolute(); err != nil {
		return err
	}
	dir := c.Run.Dir
	if r := c.Rollout.Tools.Record; isRunFile(filepath.Base(r)) && sameFolder(filepath.Dir(r), dir) {
		return usagef("rollout.tools.record: found %s, which the run writes itself; choose another name", r)
	}
	made, err := prepareRun(ctx, c, resume)
	if err != nil {
		return err
	}
	defer func() {
		switch {
		case !errors.Is(err, unix.ENOSPC):
		case isMissing(filepath.Join(dir, configFile)):
			err = fmt.Errorf("the disk is full: %w; nothing is lost: once there is room, start it again", err)
		default:
			err = fmt.Errorf("the disk is full: %w; once there is room, afctl train --resume --run %s goes on", err, shellWord(dir))
		}
	}()
	lock, err := ckpt.LockRun(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	t, err := newTrainer(ctx, c, cmd.ErrOrStderr())
	if resume && errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errNoneGood) {
		err = fmt.Errorf("--resume: %w; where it has moved, say so by --model, --adapter or --set, such as --set tasks.train=FILE", err)
	}
	if value := (*valueError)(nil); resume && errors.As(err, &value) && value.key == "run.steps" {
		err = &usageError{s.located(value)}
	}
	if err != nil && made {
		return errors.Join(err, lock.Discard())
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	t.view.Note(t.y.note())
	if err = t.run(ctx); err != nil && ctx.Err() != nil && errors.Is(err, context.Canceled) {
		if failed := t.stop(); failed != nil {
			return failed
		}
		t.view.Note(fmt.Sprintf("stopped after step %d; afctl train --resume --run %s goes on", t.saved, shellWord(dir)))
	}
	if err != nil || t.before == nil || t.after == nil {
		return err
	}
	t.view.Close() // what follows may go to the same terminal
	if err := writeGain(cmd.OutOrStdout(), t.before, t.after, t.state.Step); err != nil {
		return err
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "the run is in %s; afctl report --run %s shows it\n", dir, shellWord(dir))
	return nil
}

// prepareRun makes the run folder of a new run, if it is not there yet, or checks that the one of a resumed run is of this config.
func prepareRun(ctx context.Context, c *Config, resume bool) (made bool, err error) {
	dir := c.Run.Dir
	if resume {
		return false, checkResumed(ctx, c)
	}
	// What a run that was stopped before it began has left is in nobody's way.
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if e.Name() != configFile && e.Name() != ckpt.LockFile && !ckpt.IsTemp(e.Name(), configFile) {
			return false, fmt.Errorf("--run: %s: %w: it holds %s; go on with it by --resume, or choose another folder", dir, ckpt.ErrExists, e.Name())
		}
	}
	made = errors.Is(err, fs.ErrNotExist)
	if err := ckpt.MkdirAll(dir); err != nil {
		return false, fmt.Errorf("--run: %w", err)
	}
	return made, nil
}

// checkResumed checks that the config of the run folder is c but for what may change.
func checkResumed(ctx context.Context, c *Config) error {
	dir := c.Run.Dir
	before, err := readSettings(ctx, configSource{file: filepath.Join(dir, configFile)})
	if err != nil {
		return fmt.Errorf("--resume: %s is no run folder: %w", dir, err)
	}
	a, b := before.Config, *c
	if err := a.makeAbsolute(); err != nil {
		return err
	}
	x, y := a, *c
	if _, err := os.Stat(filepath.Join(dir, "checkpoints")); err == nil { // its hashes judge what the paths name
		x, y = a.withoutPaths(), b.withoutPaths()
	}
	if x, y := a.Rollout.EvalMaxTurns, b.Rollout.EvalMaxTurns; x != y && a.Tasks.Eval != "" && b.Tasks.Eval != "" {
		return fmt.Errorf("--resume: rollout.eval_max_turns: found %d, expected %d, with which the run has evaluated before", y, x)
	}
	i := differentLine(resultKeys(&x), resultKeys(&y))
	if i < 0 {
		return nil
	}
	why, how := lineDifference(resultKeys(&a), resultKeys(&b), i), "a run of another config is a new one: give it a folder of its own, and by --adapter a checkpoint to start from"
	if strings.Contains(why, "run.steps:") {
		how = fmt.Sprintf("the learning rate goes by it with optimizer.schedule: %s; %s", c.Optimizer.Schedule, how)
	}
	return fmt.Errorf("--resume: the config differs from that of the run: %s; %s", why, how)
}

// writeRunConfig keeps the effective config in the run folder, whose lock the caller holds.
func writeRunConfig(c *Config) error {
	path := filepath.Join(c.Run.Dir, configFile)
	if err := ckpt.RemoveTemps(path); err != nil {
		return err
	}
	return ckpt.WriteFileAtomic(path, 0o666, func(w io.Writer) error {
		_, err := w.Write(marshalConfig(c, false))
		return err
	})
}

// withoutResult are keys that no result follows from: which tasks a file has does not depend on tasks.content_ids, only whether they are read, and
// with tasks.scorer: auto nothing but they say what marks answers.
func (c *Config) withoutResult() []string {
	keys := []string{"tasks.content_ids"}
	if c.Tasks.scorer() == "" {
		keys = append(keys, "tasks.scorer")
	}
	return keys
}

// resultKeys is the part of a config that a run's results follow from, as YAML: folder, lengths, checkpoints and evaluations may change from one
// start to the next. The number of steps is part of it where the learning rate's schedule goes by it.
func resultKeys(c *Config) string {
	d, k := DefaultConfig(), c.effective()
	k.Run.Dir, k.Run.EvalEvery, k.Checkpoint, k.Tasks.Eval, k.Tasks.EvalLimit = d.Run.Dir, d.Run.EvalEvery, d.Checkpoint, d.Tasks.Eval, d.Tasks.EvalLimit
	k.Engine.Threads, k.Engine.KVTokens, k.Engine.MaxBatch = d.Engine.Threads, d.Engine.KVTokens, d.Engine.MaxBatch
	k.Rollout.EvalMaxTurns = d.Rollout.EvalMaxTurns
	k.Rollout.clearLimits()
	if c.Optimizer.Schedule == Constant {
		k.Run.Steps = d.Run.Steps
	}
	if !c.onlyGym() && isGym(c.Tasks.Train) {
		k.Tasks.Eval = "tasks" // of a file, for which keys count that do not in the gym
	}
	return string(marshalConfig(&k, false, c.withoutResult()...))
}

// firstDifference says what the first line is in which two configs differ, with the sections that it stands in.
func firstDifference(before, now string) string {
	return lineDifference(before, now, differentLine(before, now))
}

// differentLine is the index of the first line in which two configs differ, -1 where none does.
func differentLine(before, now string) int {
	a, b := strings.Split(before, "\n"), strings.Split(now, "\n")
	for i := range max(len(a), len(b)) {
		if i >= len(a) || i >= len(b) || a[i] != b[i] {
			return i
		}
	}
	return -1
}

func lineDifference(before, now string, i int) string {
	return fmt.Sprintf("it had %q, found %q", wholeKey(before, i), wholeKey(now, i))
}

// wholeKey is line i of a config without its indentation, its key as --set takes it: optimizer.lr, not lr. Behind the last line it is empty.
func wholeKey(config string, i int) string {
	lines := strings.Split(config, "\n")
	if i >= len(lines) {
		return ""
	}
	depth := func(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }
	key, at := strings.TrimSpace(lines[i]), depth(lines[i])
	for _, line := range slices.Backward(lines[:i]) {
		if section := strings.TrimSpace(line); depth(line) < at && section != "" {
			key, at = strings.TrimSuffix(section, ":")+"."+key, depth(line)
		}
	}
	return key
}
