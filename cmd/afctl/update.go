package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"afctl/ckpt"
	"afctl/engine"
	"afctl/flow"

	"github.com/spf13/cobra"
)

func newUpdateCommand() *cobra.Command {
	var f modelFlags
	var in, out string
	var steps int
	cmd := &cobra.Command{
		Use:   "update",
		Short: "Optimizer steps of Flow-GRPO on given trajectories",
		Long: `update reads trajectories as JSON Lines

  {"group":"q1","sample":0,"reward":1.0,"turns":[{"prompt":[ids],"action":[ids],"logprobs":[...]}]}

and takes --steps optimizer steps over all of them (by default flow.epochs), from the adapter of --adapter or a fresh one (lora.*).
"logprobs" are those that the sampler reported; they may be left out unless flow.tis_cap is set. A line whose reward is null or missing is
a failed rollout: left out, and counted. --out becomes a PEFT folder (with trainable: full a model folder in float32) with metrics.jsonl, a line
per step.`,
		Example: "  afctl update --model Qwen2.5-0.5B --trajectories t.jsonl --out adapter --steps 2 --set optimizer.lr=1e-4 --set flow.kl=0",
	}
	f.add(cmd)
	cmd.Flags().StringVar(&in, "trajectories", "", "file of JSON Lines; - is stdin")
	cmd.Flags().StringVar(&out, "out", "", "folder to make; it has to be absent or empty")
	cmd.Flags().IntVar(&steps, "steps", 0, "optimizer steps over the whole file (default flow.epochs)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		// flow.group_size, too: the objective is given whole, though the groups are those of the file.
		s, err := f.modelSettings(cmd, "model", "adapter", "trainable", "flow", "optimizer", "engine", "lora",
			"!engine.kv_tokens", "!engine.max_batch")
		if err != nil {
			return err
		}
		if err := required(cmd, "trajectories", "out"); err != nil {
			return err
		}
		if at := s.origin["flow.max_action_tokens"]; strings.HasPrefix(at, "--set") && s.Flow.Aggregation != flow.AggregationConstant {
			return usagef("%s has no effect with flow.aggregation: %s, as nothing is sampled", at, s.Flow.Aggregation)
		}
		switch epochs := s.origin["flow.epochs"]; {
		case !cmd.Flags().Changed("steps"):
			steps = s.Flow.Epochs
		case steps < 1:
			return usagef("--steps: found %d, expected at least 1", steps)
		case strings.HasPrefix(epochs, "--set") && steps != s.Flow.Epochs:
			return usagef("--steps %d and %s=%d contradict each other: leave one of the two out", steps, epochs, s.Flow.Epochs)
		}
		if err := checkFolderOut("out", out); err != nil {
			return err
		}
		return writeOutDir(out, func(d *ckpt.DirWriter) error { return update(cmd, s, in, d, steps) })
	}
	return cmd
}

// update reads, trains and writes.
func update(cmd *cobra.Command, s *settings, in string, out *ckpt.DirWriter, steps int) (err error) {
	m, err := openModel(&s.Config)
	if err != nil {
		return err
	}
	u, ts, err := readUpdate(cmd, s, in, &m.Config)
	if err != nil {
		return errors.Join(err, m.Close())
	}
	ses, _, err := openAdapted(&s.Config, m, startAdapter)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ses.Close()) }()
	version, hash := sampledBy(ts)
	if err := warnOffPolicy(cmd.ErrOrStderr(), ses, ts); err != nil {
		return err
	}
	report(cmd.ErrOrStderr(), u, len(ts))
	metrics, err := takeSteps(cmd.Context(), cmd.ErrOrStderr(), ses.engine, u, &s.Optimizer, steps)
	if err != nil {
		return err
	}
	for i := range metrics {
		metrics[i].PolicyVersion, metrics[i].AdapterHash = version, hash
	}
	return notFinite(writeTrained(ses, out, ckpt.F32, metrics), &s.Optimizer) // a step is smaller than what shorter types can tell
}

// readUpdate reads the file's trajectories and makes an update of them that fits the model. Errors name file and line.
func readUpdate(cmd *cobra.Command, s *settings, in string, model *ckpt.ModelConfig) (*flow.Update, []flow.Trajectory, error) {
	r, name, err := openInput(cmd.Context(), in, cmd.InOrStdin())
	if err != nil {
		return nil, nil, fmt.Errorf("--trajectories: %w", err)
	}
	defer r.Close()
	var ts []flow.Trajectory
	places := rolloutPlaces{file: name, lines: map[string][]place{}}
	for l, err := range eachLine(cmd.Context(), r, name) {
		if err != nil {
			return nil, nil, err
		}
		t, err := flow.ParseTrajectory(l.text)
		if err != nil {
			return nil, nil, l.wrap(err)
		}
		t.Steps, t.Analysis = nil, "" // what training does not need takes no memory
		if t.Failed() {
			t.Turns = nil // perhaps it failed for what is in them
		}
		for i, turn := range t.Turns {
			if err := checkLength(fmt.Sprintf("turns[%d]", i), len(turn.Prompt)+len(turn.Action), model); err != nil {
				return nil, nil, l.wrap(err)
			}
		}
		places.add(&t, l.number)
		ts = append(ts, t)
	}
	if len(ts) == 0 {
		return nil, nil, fmt.Errorf("%s: found no line, expected a trajectory per line", name)
	}
	u, err := flow.NewUpdate(ts, s.Flow)
	if err == nil {
		err = u.CheckVocab(model.VocabSize)
	}
	if err != nil {
		return nil, nil, places.wrap(err)
	}
	return u, ts, nil
}

// rolloutPlaces remember the line of every rollout, for errors that speak of group and sample.
type rolloutPlaces struct {
	file  string
	lines map[string][]place // by group
}

type place struct{ sample, line int }

// add remembers a trajectory. One without a number goes by its place in the group, as flow numbers it.
func (p *rolloutPlaces) add(t *flow.Trajectory, line int) {
	sample := t.Sample
	if sample < 0 {
		sample = len(p.lines[t.Group])
	}
	p.lines[t.Group] = append(p.lines[t.Group], place{sample, line})
}

// wrap puts file and line before an error, where it is about one rollout; the last line where it stands on several.
func (p *rolloutPlaces) wrap(err error) error {
	var bad *flow.TrajectoryError
	if errors.As(err, &bad) {
		for _, at := range slices.Backward(p.lines[bad.Group]) {
			if at.sample == bad.Sample || bad.Sample < 0 {
				return fmt.Errorf("%s:%d: %w", p.file, at.line, err)
			}
		}
	}
	return fmt.Errorf("%s: %w", p.file, err)
}

// report says what of the file is trained on.
func report(w io.Writer, u *flow.Update, lines int) {
	c := &u.Counts
	fmt.Fprintf(w, "%s, %s, %s, %s\n", counted(c.Groups, "group"), counted(c.Rollouts, "rollout"), counted(c.Turns, "turn"), counted(c.ActionTokens, "action token"))
	if failed := lines - c.Rollouts; failed > 0 {
		var causes []string
		for _, cause := range slices.Sorted(maps.Keys(c.Failed)) {
			causes = append(causes, fmt.Sprintf("%s %d", printable(shorten(cause)), c.Failed[cause]))
		}
		fmt.Fprintf(w, "%d of %d rollouts failed (no reward) and are left out: %s\n", failed, lines, strings.Join(causes, ", "))
	}
	for _, warning := range u.Warnings {
		fmt.Fprintf(w, "warning: %s\n", warning)
	}
}

// sampledBy returns the policy version and adapter hash of the rollouts with a reward; zero where they differ.
func sampledBy(ts []flow.Trajectory) (version int, hash string) {
	first := true
	for i := range ts {
		switch t := &ts[i]; {
		case t.Failed():
		case first:
			version, hash, first = t.PolicyVersion, t.AdapterHash, false
		case t.PolicyVersion != version || t.AdapterHash != hash:
			return 0, ""
		}
	}
	return version, hash
}

// warnOffPolicy warns of rollouts that another policy than the one where training starts says to have sampled.
func warnOffPolicy(w io.Writer, s *session, ts []flow.Trajectory) error {
	other := func(start string) func(t flow.Trajectory) bool {
		return func(t flow.Trajectory) bool { return !t.Failed() && t.AdapterHash != "" && t.AdapterHash != start }
	}
	if !slices.ContainsFunc(ts, other("")) {
		return nil // nothing is recorded
	}
	start, err := s.trainedHash()
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(ts, other(start)); i >= 0 {
		fmt.Fprintf(w, "warning: the rollouts were sampled with adapter %.12s, training starts from %.12s: --adapter says from which\n", ts[i].AdapterHash, start)
	}
	return nil
}

// takeSteps takes the optimizer steps of an update, lo and lr fixed by the first, and returns a line of metrics for each.
func takeSteps(ctx context.Context, w io.Writer, e *engine.Engine, u *flow.Update, o *OptimizerConfig, steps int) ([]flow.Metrics, error) {
	up, err := e.Begin(u)
	if err != nil {
		return nil, err
	}
	bar := newProgress(w, "update", "steps", steps)
	defer bar.end()
	var metrics []flow.Metrics
	skipped := 0
	for step := 1; step <= steps; step++ {
		m, err := up.Step(ctx, o.optimizer(step, steps))
		if err != nil {
			return nil, fmt.Errorf("step %d of %d: %w", step, steps, err)
		}
		skipped += m.SkippedSteps
		m.Step, m.SkippedSteps = step, skipped
		metrics = append(metrics, m)
		bar.addf(1, "loss %.4g, grad norm %.3g", float64(m.Loss), float64(m.GradNorm))
	}
	return metrics, checkSkipped(w, skipped, steps)
}
