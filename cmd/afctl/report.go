package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"afctl/bench/eval"
	"afctl/bench/suite"
	"afctl/ckpt"
	"afctl/flow"
	"afctl/flow/nearest"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"
)

// reportOptions are the flags of `afctl report`.
type reportOptions struct {
	dir, out, json, steps string
	tasks                 []string
}

func newReportCommand() *cobra.Command {
	var o reportOptions
	cmd := &cobra.Command{
		Use:   "report",
		Short: "Tables and plots of a run, as one HTML file and as JSON",
		Long: "report reads a run folder, also while its training goes on, and writes one HTML file that needs nothing else (no network,\n" +
			"no scripts), and the same figures as JSON.\n\n" +
			"The JSON is one object. Its keys: format (1); run (what was run, wall time by phase); evaluations (by step: figures of\n" +
			"all tasks and by family, as in eval.json); before and after (the steps of the two that are compared) with comparison\n" +
			"(paired by task); steps (metrics, as in metrics.jsonl, and figures of the rollouts); train_failures and train_errors\n" +
			"(counts by kind); tools, families; examples (solves step by step); notes. What is not known is null.",
		Example: "  afctl report --run runs/first\n  afctl report --run runs/first --steps 0:60 --out first.html --json -\n  afctl report --run runs/first --task lookup-held-out-12",
		RunE:    func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	cmd.Flags().StringVar(&o.dir, "run", "", "folder of the run, or of an evaluation")
	cmd.Flags().StringVar(&o.out, "out", "", "HTML file; - is stdout (default report.html in the folder)")
	cmd.Flags().StringVar(&o.json, "json", "", "JSON file; - is stdout (default report.json in the folder)")
	cmd.Flags().StringVar(&o.steps, "steps", "", "a:b, the steps to report on, both included, such as 0:60, 20: or :20; 0 is before training")
	cmd.Flags().StringArrayVar(&o.tasks, "task", nil, "a task to show step by step, in place of examples: its row's own id, or its key in the run (repeatable)")
	return cmd
}

func (o *reportOptions) run(cmd *cobra.Command) error {
	if err := required(cmd, "run"); err != nil {
		return err
	}
	first, last, err := parseSteps(o.steps)
	if err != nil {
		return err
	}
	o.out, o.json = cmp.Or(o.out, filepath.Join(o.dir, "report.html")), cmp.Or(o.json, filepath.Join(o.dir, "report.json"))
	if err := o.check(cmd.Context()); err != nil {
		return err
	}
	d, err := readReport(cmd.Context(), o.dir, first, last, o.tasks)
	if err != nil {
		return err
	}
	if err := writeOutput(cmd.Context(), "json", o.json, cmd.OutOrStdout(), func(w io.Writer) error {
		err := d.writeJSON(w)
		if f, ok := w.(io.Closer); ok && err == nil {
			err = f.Close() // both files are new, or neither: this one is durable before the other appears
		}
		if err != nil {
			return err
		}
		return writeOutput(cmd.Context(), "out", o.out, cmd.OutOrStdout(), d.writeHTML)
	}); err != nil {
		return err
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "report: %s and %s\n", o.out, o.json)
	return nil
}

// check refuses, before any work, flags that contradict each other, and outputs in the place of what is read.
func (o *reportOptions) check(ctx context.Context) error {
	if o.out == "-" && o.json == "-" {
		return usagef("--out and --json: found - for both, expected at most one of them on stdout")
	}
	for i, id := range o.tasks {
		if slices.Contains(o.tasks[:i], id) {
			return usagef("--task %s: %w", shorten(id), errTwice)
		}
	}
	inputs := runInputs(o.dir)
	if s, err := readSettings(ctx, configSource{file: filepath.Join(o.dir, configFile)}); err == nil {
		inputs = append(inputs, new(modelFlags).inputs(&s.Config)...) // its tokenizer is read
	}
	if err := errors.Join(checkFileOut("out", o.out, inputs), checkFileOut("json", o.json, inputs)); err != nil {
		return err
	}
	if sameFile(o.out, o.json) {
		return usagef("--out and --json: found %s for both, expected two files", o.out)
	}
	return nil
}

// parseSteps reads a:b, where either end may be left out.
func parseSteps(s string) (first, last int, err error) {
	last = math.MaxInt32 - 1
	if s == "" {
		return first, last, nil
	}
	a, b, ok := strings.Cut(s, ":")
	read := func(text string, into *int) {
		if text == "" {
			return
		}
		n, e := strconv.ParseUint(text, 10, 31)
		if e != nil || n >= math.MaxInt32 {
			ok = false
			return
		}
		*into = int(n)
	}
	read(a, &first)
	read(b, &last)
	if !ok || first > last {
		return 0, 0, usagef("--steps: found %q, expected a:b with 0 <= a <= b, such as 0:60, 20: or :20", s)
	}
	return first, last, nil
}

// readReport reads a run folder and computes its report.
func readReport(ctx context.Context, dir string, first, last int, chosen []string) (d *reportData, err error) {
	in := reportInput{first: first, last: last}
	in.readConfig(ctx, dir)
	store, err := ckpt.OpenStoreReadOnly(ctx, filepath.Join(dir, storeFile))
	if err != nil {
		return nil, fmt.Errorf("--run: %w", err)
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	for t, err := range store.Tasks(ctx) {
		if err != nil {
			return nil, err
		}
		in.tasks = append(in.tasks, t)
	}
	asked := in.readEvaluation(dir)
	if in.chosen, err = chosenTasks(chosen, in.tasks); err != nil {
		return nil, err
	}
	for l, err := range store.Metrics(ctx) {
		if err != nil {
			return nil, err
		}
		var m flow.Metrics
		if err := json.Unmarshal(l.JSON, &m); err != nil {
			return nil, fmt.Errorf("%s: metrics of step %d: %w", filepath.Join(dir, storeFile), l.Step, err)
		}
		in.metrics = append(in.metrics, m)
	}
	if in.policies, err = store.Policies(ctx); err != nil {
		return nil, err
	}
	counts, err := store.Counts(ctx)
	if err != nil {
		return nil, err
	}
	if err := checkSteps(first, in.metrics, counts); err != nil {
		return nil, err
	}
	in.batches = readBatches(ctx, store, counts, first, last, asked)
	if info, err := os.Stat(filepath.Join(dir, metricsFile)); err == nil && info.Size() > 0 {
		in.written = info.ModTime().UTC()
	}
	if in.decode, err = openDecoder(in.config); err != nil {
		in.note("Prompts and plans are shown by their lengths only, as the model's tokenizer cannot be read", err)
	}
	return buildReport(in)
}

// note tells a reader of the report what could not be read.
func (in *reportInput) note(what string, err error) {
	in.notes = append(in.notes, what+": "+clip(oneLine(err), mostText))
}

// readConfig reads the config of a run, and from the file of its held-out tasks how many there are, as far as both are there.
func (in *reportInput) readConfig(ctx context.Context, dir string) {
	s, err := readSettings(ctx, configSource{file: filepath.Join(dir, configFile)})
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			in.note(configFile+" cannot be read by this build", err)
		}
		return
	}
	in.config = &s.Config
	if t := &s.Tasks; t.Eval != "" {
		if found, err := loadSuite(t.Eval, t.EvalLimit, t); err == nil { // else its file has moved
			in.heldOut = len(found.Tasks)
		}
	}
}

// readEvaluation finds out whether a folder is an evaluation's, and tells which solves are asked for: it may have those of calls with other tasks or
// repeats than its report is of.
func (in *reportInput) readEvaluation(dir string) (asked func(*flow.Trajectory) bool) {
	all := func(*flow.Trajectory) bool { return true }
	evaluation := !isMissing(filepath.Join(dir, solvesIdentity))
	if evaluation {
		in.of = ofEvaluation
	}
	r, err := eval.ReadReport(filepath.Join(dir, evalReport))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if evaluation {
			in.of = ofUnfinished // its report is written when it is done
		}
		return all
	case err != nil:
		in.note(evalReport+" cannot be read by this build, and the figures are of all solves", err)
		return all
	}
	ids := map[string]bool{}
	for i := range r.Rows {
		ids[r.Rows[i].Task] = true
	}
	in.tasks = slices.DeleteFunc(in.tasks, func(t flow.Task) bool { return !ids[t.ID] })
	return func(t *flow.Trajectory) bool { return ids[t.Task] && t.Sample < r.Repeats }
}

// checkSteps returns an error for a first step that is beyond those of the run.
func checkSteps(first int, metrics []flow.Metrics, counts []ckpt.Count) error {
	most := 0
	for _, m := range metrics {
		most = max(most, m.Step)
	}
	for _, c := range counts {
		most = max(most, c.Step)
	}
	if first > most {
		return fmt.Errorf("--steps: found none from step %d on, expected some of the run's steps, 0 to %d", first, most)
	}
	return nil
}

// chosenTasks finds tasks by what a user calls them: by their keys in the run, or by the ids that their rows have of their own. Rows of
// several files may share one, and are all meant then.
func chosenTasks(chosen []string, tasks []flow.Task) (keys []string, err error) {
	var known []string
	byName := map[string][]string{}
	for i := range tasks {
		key := tasks[i].ID
		known, byName[key] = append(known, key), []string{key}
	}
	for i := range tasks {
		own := tasks[i].Meta[suite.MetaID]
		if own == "" || slices.Contains(byName[own], own) { // a key, which comes first
			continue
		}
		known, byName[own] = append(known, own), append(byName[own], tasks[i].ID)
	}
	for _, name := range chosen {
		found := byName[name]
		if found == nil {
			return nil, fmt.Errorf("--task: found %s, which is no task of this run; did you mean %s?", shorten(name), shorten(nearest.Name(name, known)))
		}
		for _, key := range found {
			if !slices.Contains(keys, key) {
				keys = append(keys, key)
			}
		}
	}
	return keys, nil
}

// readBatches yields the solves that counts tell of and that are asked for, those of one phase and step at a time, so that a long run need not fit in memory.
func readBatches(ctx context.Context, store *ckpt.Store, counts []ckpt.Count, first, last int, asked func(t *flow.Trajectory) bool) iter.Seq2[reportBatch, error] {
	return func(yield func(reportBatch, error) bool) {
		for _, c := range counts {
			if c.Step < first || c.Step > last || c.Phase != phaseTrain && c.Phase != phaseEval {
				continue
			}
			batch := reportBatch{phase: c.Phase, step: c.Step}
			for t, err := range store.Trajectories(ctx, ckpt.Query{Phase: c.Phase, From: c.Step, To: c.Step + 1}) {
				if err != nil {
					yield(reportBatch{}, err)
					return
				}
				if r := t.Reward; r != nil && !(*r >= 0 && *r <= 1) {
					yield(reportBatch{}, fmt.Errorf("--run: %s of step %d: rollout %d of group %q: reward: found %v, expected 0 to 1", storeFile, c.Step, t.Sample, shorten(t.Group), *r))
					return
				}
				if asked(t) {
					batch.solves = append(batch.solves, *t)
				}
			}
			if !yield(batch, nil) {
				return
			}
		}
	}
}

// openDecoder returns what turns a config's tokens into text, special tokens included; nil without a config.
func openDecoder(c *Config) (func([]int32) string, error) {
	if c == nil {
		return nil, nil
	}
	m, err := openModel(c)
	if err != nil {
		return nil, err
	}
	code, err := newCodec(m)
	if err := errors.Join(err, m.Close()); err != nil {
		return nil, err
	}
	return func(ids []int32) string { return code.tok.Decode(ids, false) }, nil
}

// writeJSON writes the figures, the same bytes for the same run. Names that are not UTF-8 are mended, by which two may become one.
func (d *reportData) writeJSON(w io.Writer) error {
	err := json.MarshalWrite(w, d, json.Deterministic(true), jsontext.Multiline(true), jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true))
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	_, err = io.WriteString(w, "\n")
	return err
}
