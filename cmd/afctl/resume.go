package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"afctl/bench/eval"
	"afctl/ckpt"
	"afctl/engine"
	"afctl/flow"
	"afctl/rollout"

	"github.com/go-json-experiment/json"
)

// configHash identifies a config by what results follow from.
func configHash(c *Config) string {
	sum := sha256.Sum256([]byte(resultKeys(c)))
	return hex.EncodeToString(sum[:])
}

// inputsHash identifies what the config names and a run's results follow from: the training tasks (those of the gym follow from the config)
// and the templates, and then each path by its key, so that what has changed can be named.
func inputsHash(c *Config, tasks *taskStream, start *ckpt.Adapter) (string, error) {
	h, ids := sha256.New(), sha256.New()
	if !isGym(c.Tasks.Train) {
		for i := range tasks.tasks {
			fmt.Fprintf(io.MultiWriter(h, ids), "task %s\n", tasks.tasks[i].ID)
		}
	}
	if err := hashTemplates(h, c); err != nil {
		return "", err
	}
	text, paths := hex.EncodeToString(h.Sum(nil)), c.paths()
	for _, key := range slices.Sorted(maps.Keys(paths)) {
		of := sha256.New()
		switch key {
		case "model", "tasks.eval", "rollout.tools.record": // has a hash of its own, is not trained on, is written
			continue
		case "tasks.train":
			of = ids
		case "adapter":
			fmt.Fprint(of, start.Hash())
		default:
			if err := hashPath(of, *paths[key]); err != nil {
				return "", fmt.Errorf("%s: %w", key, err)
			}
		}
		text += fmt.Sprintf(" %s=%.16x", key, of.Sum(nil))
	}
	return text, nil
}

// maxHashed is the largest file that is hashed at every start; a larger one, such as an index, goes by its size.
const maxHashed = 64 << 20

// hashPath writes a file, or the files of a folder by their names.
func hashPath(w io.Writer, path string) error {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	return filepath.WalkDir(path, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := os.Stat(file)
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		fmt.Fprintf(w, "%q of %d bytes\n", file[len(path):], info.Size())
		if info.Size() > maxHashed {
			return nil
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		_, err = w.Write(text)
		return err
	})
}

// changedInput says what differs between two hashes of inputs.
func changedInput(then, now string) string {
	before := strings.Fields(then)
	for _, part := range strings.Fields(now)[1:] {
		if !slices.Contains(before, part) {
			key, _, _ := strings.Cut(part, "=")
			return "the contents of " + key
		}
	}
	return "the tasks of tasks.train, or the templates that the config names,"
}

// hashTemplates writes the templates that a config names.
func hashTemplates(w io.Writer, c *Config) error {
	prompts := []string{c.Rollout.Planner.Prompt}
	for _, slot := range frozenSlots {
		prompts = append(prompts, c.Rollout.modules()[slot].Prompt)
	}
	for _, file := range prompts {
		var text []byte
		if file != "" {
			var err error
			if text, err = rollout.ReadTemplate(file); err != nil {
				return err
			}
		}
		fmt.Fprintf(w, "template of %d bytes\n%s", len(text), text)
	}
	return nil
}

var errNoneGood = errors.New("no checkpoint is good")

// restore loads the newest good checkpoint, if there is one. A config with fewer updates than are done is a *valueError.
func (t *trainer) restore() error {
	found, rejected, err := ckpt.Latest(t.c.Run.Dir)
	for _, r := range rejected {
		t.view.Note(fmt.Sprintf("passed over %s: %s", r.Path, r.Reason))
	}
	if errors.Is(err, ckpt.ErrNoCheckpoint) && len(rejected) == 0 {
		return nil
	}
	if errors.Is(err, ckpt.ErrNoCheckpoint) {
		return fmt.Errorf("--resume: %w: %w; to begin again from step 0, remove them", errNoneGood, rejected[0].Reason)
	}
	if err != nil {
		return err
	}
	now, then := t.state, found.State
	switch {
	case then.Base.Hash != now.Base.Hash:
		return fmt.Errorf("--resume: the run trains %s, which is another model than it was; name the run's own by --model, or begin another run", now.Base.Path)
	case then.ConfigHash != now.ConfigHash || then.Seed != now.Seed:
		return fmt.Errorf("--resume: the checkpoint of step %d was made with another config than %s says: put it back as it was, or begin another run, by --adapter with the checkpoint to start from", then.Step, configFile)
	case then.InputsHash != now.InputsHash:
		return fmt.Errorf("--resume: %s are others than when the checkpoint was made", changedInput(then.InputsHash, now.InputsHash))
	case then.Engine != now.Engine:
		return fmt.Errorf("--resume: the run was computed by %s, found %s: its bits would differ", describeEngine(then.Engine), describeEngine(now.Engine))
	}
	if done := then.PolicyVersion; t.c.Run.Steps < done {
		return &valueError{"run.steps", fmt.Sprintf("found %d, expected at least %d, which are done", t.c.Run.Steps, done)}
	}
	if a := found.Adapter; a != nil && a.Config.BaseModelNameOrPath == then.Base.Path { // a fresh adapter's: the model may have moved
		a.Config.BaseModelNameOrPath = now.Base.Path
	}
	if err := t.s.engine.SetState(engine.State{Adapter: found.Adapter, Weights: found.Weights, Moments: found.Moments, Step: then.AdamStep}); err != nil {
		return err
	}
	for _, x := range found.Update {
		v, err := x.Float32s()
		if err != nil {
			return err
		}
		if x.Name == ckpt.UpdateLo {
			t.lo = v
		} else {
			t.lr = v
		}
	}
	t.state, t.kept, t.saved = then, then.Step, then.Step
	t.state.Base.Path = now.Base.Path
	return ckpt.Tidy(t.c.Run.Dir, then.Step, t.c.Checkpoint.Keep)
}

// trainedHash identifies what is trained, as it stands: an adapter, or all weights.
func (s *session) trainedHash() (string, error) {
	if s.engine.Options().Trainable == engine.Full {
		w, err := s.engine.Weights(ckpt.F32)
		return ckpt.HashTensors(w), err
	}
	a, err := s.engine.Adapter()
	if err != nil {
		return "", err
	}
	return a.Hash(), nil
}

// publishedHash is the hash of the policy that the rollouts of the update in flight are made by: within an update, what is trained has moved on.
func (t *trainer) publishedHash(ctx context.Context) (string, error) {
	if t.state.Epoch == 0 {
		return t.state.AdapterHash, nil
	}
	policies, err := t.store.Policies(ctx)
	if err != nil {
		return "", err
	}
	i := slices.IndexFunc(policies, func(p ckpt.Policy) bool { return p.Version == t.state.PolicyVersion })
	if i < 0 {
		return "", fmt.Errorf("--resume: %s does not have policy version %d, whose rollouts the update in flight is on: put the run's own back, or begin another run", storeFile, t.state.PolicyVersion)
	}
	return policies[i].AdapterHash, nil
}

func describeEngine(e ckpt.EngineIdentity) string {
	text := fmt.Sprintf("%s in %s with products %s", e.Backend, e.DType, e.Products)
	if e.Threads > 0 {
		text += fmt.Sprintf(" on %d threads", e.Threads)
	}
	return text
}

// rewind makes store and log what they were at the state's step. A log that has lost lines is made anew from the store.
func (t *trainer) rewind(ctx context.Context) error {
	st := &t.state
	lines, err := t.metricsLines(ctx)
	if err != nil {
		return err
	}
	if of := func(l ckpt.MetricsLine) bool { return l.Step == st.Step }; st.Step > 0 && !slices.ContainsFunc(lines, of) {
		return fmt.Errorf("--resume: %s lacks step %d, which the checkpoint is of: a file of another run, or a lost one; put the run's own back, or begin another run",
			filepath.Join(t.c.Run.Dir, storeFile), st.Step)
	}
	policies, err := t.store.Policies(ctx)
	if err != nil {
		return err
	}
	if other := func(p ckpt.Policy) bool {
		return p.Step <= st.Step && p.Version == st.PolicyVersion && p.AdapterHash != t.hash
	}; slices.ContainsFunc(policies, other) { // before anything is dropped from it
		return fmt.Errorf("--resume: %s has another policy version %d than the checkpoint of step %d: a file of another run; put the run's own back, or begin another run",
			filepath.Join(t.c.Run.Dir, storeFile), st.PolicyVersion, st.Step)
	}
	if n := len(lines); n > 0 && st.Step == 0 {
		t.view.Note(fmt.Sprintf("no checkpoint: the run begins again, and what %s has (%s) is taken again", storeFile, counted(lines[n-1].Step, "step")))
	}
	if _, err := t.store.Rewind(ctx, ckpt.Policy{Version: st.PolicyVersion, AdapterHash: t.hash, Step: st.Step}); err != nil {
		return err
	}
	log := filepath.Join(t.c.Run.Dir, metricsFile)
	last, err := ckpt.TruncateMetrics(log, st.Step)
	if err != nil || last == st.Step {
		return err
	}
	lines = slices.DeleteFunc(lines, func(l ckpt.MetricsLine) bool { return l.Step > st.Step })
	t.view.Note(fmt.Sprintf("%s ended at step %d: made anew from %s", metricsFile, last, storeFile))
	return ckpt.WriteFileAtomic(log, 0o666, func(w io.Writer) error {
		for _, l := range lines {
			if _, err := fmt.Fprintf(w, "%s\n", l.JSON); err != nil {
				return err
			}
		}
		return nil
	})
}

// metricsLines are the lines of metrics that the store has.
func (t *trainer) metricsLines(ctx context.Context) (lines []ckpt.MetricsLine, err error) {
	for line, err := range t.store.Metrics(ctx) {
		if err != nil {
			return nil, err
		}
		lines = append(lines, line)
	}
	return lines, nil
}

// recall takes up what a run that goes on has behind it: its metrics, and the evaluation before training.
func (t *trainer) recall(ctx context.Context) error {
	if t.state.Step == 0 {
		return nil
	}
	lines, err := t.metricsLines(ctx)
	if err != nil {
		return err
	}
	var past []flow.Metrics
	for _, line := range lines {
		var m flow.Metrics
		if err := json.Unmarshal(line.JSON, &m); err != nil {
			return fmt.Errorf("%s: metrics of step %d: %w", storeFile, line.Step, err)
		}
		past = append(past, m)
	}
	solved, err := t.stored(ctx, phaseEval, 0)
	if err != nil {
		return err
	}
	// With more held-out tasks than there were then, it compares with nothing.
	if s := eval.Summarize(t.evalTasks, solved); len(t.evalTasks) > 0 && s.All.Missing == 0 {
		t.before = &s
	}
	t.view.Resume(past, t.before)
	return nil
}
