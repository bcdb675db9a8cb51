package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"afctl/bench/eval"
	"afctl/ckpt"
	"afctl/engine"
	"afctl/flow"
	"afctl/rollout"

	"github.com/go-json-experiment/json"
)

// Phases of the run store, and names in a run folder. ckpt/FORMAT.md specifies them.
const (
	phaseTrain = ckpt.PhaseTrain
	phaseEval  = ckpt.PhaseEval
	storeFile  = ckpt.StoreFile
	boardDir   = "tb"
)

// trainer is a run under way: what is loaded, what is open, and where the run stands.
type trainer struct {
	c     *Config
	s     *session
	y     *system
	store *ckpt.Store
	log   *ckpt.MetricsLog
	board *ckpt.TensorBoard
	view  *liveView

	tasks     *taskStream
	evalTasks []flow.Task
	before    *eval.Summary // of the held-out tasks before training
	after     *eval.Summary // of the same now
	state     ckpt.State
	lo, lr    []float32      // of the update in flight, on resume
	flight    *engine.Update // the update in flight, between its steps
	kept      int            // the step whose metrics are kept
	saved     int            // the step of the newest checkpoint
	hash      string         // of the published policy's trained values: it made the rollouts of the update in flight
	// Seconds of publishing and of checkpoints since the last line of metrics. A line is written before those of its own step, and has what came before it.
	publishing, saving float64
}

// newTrainer loads everything and puts the run where its last good checkpoint stands, or at its beginning.
func newTrainer(ctx context.Context, c *Config, stderr io.Writer) (t *trainer, err error) {
	t = &trainer{c: c, view: newLiveView(stderr, c.Run.Steps*c.Flow.Epochs)}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.Close())
		}
	}()
	if t.tasks, err = newTaskStream(c); err != nil {
		return t, err
	}
	if c.Tasks.Eval != "" {
		found, err := loadSuite(c.Tasks.Eval, c.Tasks.EvalLimit, &c.Tasks)
		if err != nil {
			return t, fmt.Errorf("tasks.eval: %w", err)
		}
		t.evalTasks = found.Tasks
		if n := t.tasks.among(t.evalTasks); n > 0 {
			t.view.Note(fmt.Sprintf("%d of the %d tasks of tasks.eval are trained on: their accuracy is not that of new ones", n, len(t.evalTasks)))
		}
	}
	if n := t.tasks.size(); n > 0 && n < c.Run.TasksPerStep {
		t.view.Note(fmt.Sprintf("tasks.train has %s and run.tasks_per_step is %d: every update solves some of them in several groups", counted(n, "task"), c.Run.TasksPerStep))
	}
	if steps := c.Run.Steps * c.Flow.Epochs; c.Optimizer.WarmupSteps >= steps {
		t.view.Note(fmt.Sprintf("optimizer.warmup_steps is %d of the run's %s: the learning rate does not reach %v", c.Optimizer.WarmupSteps, counted(steps, "step"), c.Optimizer.LR))
	}
	m, err := openModel(c)
	if err != nil {
		return t, err
	}
	var start *ckpt.Adapter
	if t.s, start, err = openAdapted(c, m, startAdapter); err != nil {
		return t, err
	}
	if t.y, err = newSystem(ctx, c, t.s); err != nil {
		return t, err
	}
	what := c.withoutPaths()
	t.state = ckpt.State{Seed: c.Run.Seed, Base: ckpt.BaseModel{Path: m.Name, Hash: m.Hash()}, ConfigHash: configHash(&what),
		Engine: t.s.identity}
	if t.state.InputsHash, err = inputsHash(c, t.tasks, start); err != nil {
		return t, err
	}
	if err := t.restore(); err != nil {
		return t, err
	}
	if t.state.AdapterHash, err = t.s.trainedHash(); err != nil {
		return t, err
	}
	begins := isMissing(filepath.Join(c.Run.Dir, configFile))
	if begins {
		err = writeRunConfig(c)
	}
	if err == nil {
		err = t.open(ctx)
	}
	if err == nil && !begins { // of a run that goes on: what refuses it leaves its config as it was
		err = writeRunConfig(c)
	}
	return t, err
}

// open opens store, log and event file, rewound to the state, and publishes the policy.
func (t *trainer) open(ctx context.Context) (err error) {
	dir, st := t.c.Run.Dir, &t.state
	store := filepath.Join(dir, storeFile)
	if info, err := os.Stat(store); st.Step > 0 && (errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0) { // before OpenStore makes one of it
		return fmt.Errorf("--resume: %s is gone, which has the run's rollouts and metrics up to step %d: put it back, or begin another run", store, st.Step)
	}
	if t.store, err = ckpt.OpenStore(ctx, store); err != nil {
		return err
	}
	if t.hash, err = t.publishedHash(ctx); err != nil {
		return err
	}
	if err := t.rewind(ctx); err != nil {
		return err
	}
	metrics := filepath.Join(dir, metricsFile)
	if t.log, err = ckpt.OpenMetricsLog(metrics); err != nil {
		return err
	}
	if t.board, err = ckpt.NewTensorBoard(filepath.Join(dir, boardDir), st.Step+1, time.Now()); err != nil {
		return err
	}
	if err := t.store.PutTasks(ctx, t.evalTasks); err != nil {
		return err
	}
	if st.Epoch > 0 {
		return nil // nothing is sampled before the update in flight is done
	}
	return t.publish(ctx)
}

// since adds the seconds since begin to sum.
func since(begin time.Time, sum *float64) { *sum += time.Since(begin).Seconds() }

// publish makes the engine's weights those that the next rollouts use.
func (t *trainer) publish(ctx context.Context) error {
	defer since(time.Now(), &t.publishing)
	if err := t.y.policy.Publish(ctx, t.state.PolicyVersion, t.hash, t.s.engine.Adapter); err != nil {
		return err
	}
	return t.store.PutPolicy(ctx, t.state.PolicyVersion, t.hash, t.state.Step)
}

// Close closes what is open, the view last.
func (t *trainer) Close() error {
	var errs []error
	if t.board != nil {
		errs = append(errs, t.board.Close())
	}
	if t.log != nil {
		errs = append(errs, t.log.Close())
	}
	if t.store != nil {
		errs = append(errs, t.store.Close())
	}
	if t.y != nil {
		errs = append(errs, t.y.Close())
	}
	if t.s != nil {
		errs = append(errs, t.s.Close())
	}
	t.view.Close()
	return errors.Join(errs...)
}

// run takes updates until run.steps are done.
func (t *trainer) run(ctx context.Context) error {
	if err := t.recall(ctx); err != nil {
		return err
	}
	for t.state.PolicyVersion < t.c.Run.Steps {
		if every := t.c.Run.EvalEvery; t.state.PolicyVersion == 0 || every > 0 && t.state.PolicyVersion%every == 0 {
			if err := t.evaluate(ctx); err != nil {
				return err
			}
		}
		if err := t.update(ctx); err != nil {
			return err
		}
	}
	if err := t.evaluate(ctx); err != nil {
		return err
	}
	if n := t.state.Step; n > 0 && t.state.SkippedSteps == n {
		return errNothingFinite
	}
	return nil
}

// evaluate solves the held-out tasks with the present policy, but for what is stored already. Within an update in flight it does nothing: that
// evaluation was before it.
func (t *trainer) evaluate(ctx context.Context) error {
	if len(t.evalTasks) == 0 || t.state.Epoch > 0 {
		return nil
	}
	step := t.state.Step
	stored, err := t.stored(ctx, phaseEval, step)
	if err != nil {
		return err
	}
	t.view.BeginEval(len(t.evalTasks), stored)
	report, err := eval.Run{
		Solver: t.y.solver(t.c.evalTurns(), false), Suite: t.c.Tasks.Eval, Tasks: t.evalTasks, Seed: flow.DeriveSeed(t.c.Run.Seed, "eval"), Stored: stored,
		Store: func(r flow.Trajectory) error {
			t.view.Rollout(&r)
			return t.store.PutTrajectory(ctx, step, phaseEval, &r)
		},
	}.Do(ctx)
	if err != nil {
		return err
	}
	if t.view.Eval(step, report.Summary); step == 0 {
		t.before = &report.Summary
	} else {
		t.after = &report.Summary
	}
	a := &report.Summary.All
	for _, kind := range slices.Sorted(maps.Keys(a.Reasons)) {
		t.view.Note(fmt.Sprintf("eval at step %d: of %d solves, %d failed (%s) and count as wrong, the first: %s", step, a.Requested, a.Failures[kind], kind, a.Reasons[kind]))
	}
	if err := t.board.Scalars(step, time.Now(), maps.All(map[string]float64{"heldout/accuracy": a.Accuracy.Mean})); err != nil {
		return err
	}
	return t.board.Flush()
}

// stored are the trajectories of a phase and step that the store has. Where all of them failed, they are made again: there was an outage, or limits
// were too tight.
func (t *trainer) stored(ctx context.Context, phase string, step int) ([]flow.Trajectory, error) {
	var all []flow.Trajectory
	for r, err := range t.store.Trajectories(ctx, ckpt.Query{Phase: phase, From: step, To: step + 1}) {
		if err != nil {
			return nil, err
		}
		all = append(all, *r)
	}
	if !slices.ContainsFunc(all, func(r flow.Trajectory) bool { return !r.Failed() }) {
		return nil, nil
	}
	return all, nil
}

// update is one turn of the loop: the rollouts of its tasks that are not there yet, and the optimizer steps on them.
func (t *trainer) update(ctx context.Context) error {
	begin := time.Now()
	ts, err := t.rollouts(ctx)
	if err != nil {
		return err
	}
	solving := time.Since(begin).Seconds()
	u, err := flow.NewUpdate(ts, t.c.Flow)
	if err != nil {
		return fmt.Errorf("update %d: %w", t.state.PolicyVersion+1, err)
	}
	if failures := flow.Failures(ts); failures != "" {
		t.view.Note(fmt.Sprintf("update %d: of %d rollouts some failed: %s", t.state.PolicyVersion+1, len(ts), failures))
	}
	for _, w := range u.Warnings {
		t.view.Note(w)
	}
	up, err := t.s.engine.Begin(u)
	if err != nil {
		return fmt.Errorf("update %d: %w", t.state.PolicyVersion+1, err)
	}
	if t.state.Epoch > 0 {
		if err := up.Resume(t.state.Epoch, t.lo, t.lr); err != nil {
			return err
		}
	}
	for t.state.Epoch < t.c.Flow.Epochs {
		if err := t.step(ctx, up, solving); err != nil {
			return err
		}
		solving = 0
		if t.state.Epoch == 0 {
			break
		}
	}
	return nil
}

// step is one optimizer step with all that is kept of it, in the order of ckpt/FORMAT.md.
func (t *trainer) step(ctx context.Context, up *engine.Update, solving float64) error {
	st := &t.state
	steps := t.c.Run.Steps * t.c.Flow.Epochs
	m, err := up.Step(ctx, t.c.Optimizer.optimizer(st.ScheduleStep+1, steps))
	if err != nil {
		return fmt.Errorf("optimizer step %d: %w", st.Step+1, err)
	}
	m.PolicyVersion, m.AdapterHash = st.PolicyVersion, t.hash
	st.Step++
	st.ScheduleStep++
	if m.SkippedSteps == 0 {
		st.AdamStep++
	}
	st.SkippedSteps += m.SkippedSteps
	m.Step, m.SkippedSteps = st.Step, st.SkippedSteps
	done := up.Epoch() == t.c.Flow.Epochs
	if st.Epoch = up.Epoch(); done {
		st.Epoch = 0
		st.PolicyVersion++
		st.Data.Tasks += t.c.Run.TasksPerStep
		st.Data.Epoch = t.tasks.passes(st.Data.Tasks)
	}
	begin := time.Now()
	if st.AdapterHash, err = t.s.trainedHash(); err != nil {
		return err
	}
	since(begin, &t.publishing)
	m.SecondsRollout, m.SecondsPublish, m.SecondsCheckpoint = flow.Number(solving), flow.Number(t.publishing), flow.Number(t.saving)
	t.publishing, t.saving = 0, 0
	if err := t.keep(ctx, m); err != nil {
		return err
	}
	if t.kept, t.flight = st.Step, up; done {
		t.flight = nil
	}
	last := done && st.PolicyVersion == t.c.Run.Steps
	if st.Step%t.c.Checkpoint.Every == 0 || last {
		if err := t.save(); err != nil {
			return err
		}
	}
	t.view.Metrics(m)
	if !done {
		return nil
	}
	t.hash = st.AdapterHash
	return t.publish(ctx)
}

// keep writes the metrics of a step to log, store and event file.
func (t *trainer) keep(ctx context.Context, m flow.Metrics) error {
	line, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := t.log.Append(line); err != nil {
		return err
	}
	if err := t.store.PutMetrics(ctx, m.Step, line); err != nil {
		return err
	}
	if err := t.board.Scalars(m.Step, time.Now(), m.Scalars()); err != nil {
		return err
	}
	return t.board.Flush()
}

// stop keeps what is done of a run whose end was asked for: a checkpoint of the last step, if none is due there.
func (t *trainer) stop() error {
	if t.kept != t.state.Step || t.saved == t.state.Step { // the step was under way, or nothing is new
		return nil
	}
	return t.save()
}

// save writes a checkpoint; within an update it holds lo and lr.
func (t *trainer) save() error {
	defer since(time.Now(), &t.saving)
	s, err := t.s.engine.State()
	if err != nil {
		return err
	}
	c := &ckpt.Checkpoint{State: t.state, Adapter: s.Adapter, Weights: s.Weights, Moments: s.Moments}
	if t.state.Epoch > 0 {
		lo, lr := t.flight.Constants()
		for _, x := range []struct {
			name string
			v    []float32
		}{{ckpt.UpdateLo, lo}, {ckpt.UpdateLr, lr}} {
			tensor, err := ckpt.Float32Tensor(x.name, ckpt.F32, []int{len(x.v)}, x.v)
			if err != nil {
				return err
			}
			c.Update = append(c.Update, tensor)
		}
	}
	if err := ckpt.Save(t.c.Run.Dir, c, t.c.Checkpoint.Keep); err != nil {
		return notFinite(err, &t.c.Optimizer)
	}
	t.saved = t.state.Step
	return nil
}

// rollouts returns the trajectories of the update in flight, each kept in the store before it is used. Those that are there are not solved
// again. All carry the stamp of the present policy.
func (t *trainer) rollouts(ctx context.Context) ([]flow.Trajectory, error) {
	st := &t.state
	first := st.Step - st.Epoch + 1
	have, err := t.stored(ctx, phaseTrain, first)
	if err != nil {
		return nil, err
	}
	all := make(map[rolloutKey]flow.Trajectory, len(have))
	for i := range have {
		all[keyOf(&have[i])] = have[i]
	}
	jobs := t.tasks.jobs(st.PolicyVersion, t.c.Flow.GroupSize, t.c.Run.Seed)
	var tasks []flow.Task
	var missing []rollout.Job
	for _, j := range jobs {
		if j.Sample == 0 && !slices.ContainsFunc(tasks, func(x flow.Task) bool { return x.ID == j.Task.ID }) {
			tasks = append(tasks, j.Task)
		}
		r, ok := all[rolloutKey{j.Group, j.Sample}]
		if st.Epoch > 0 { // the update began with what is there, and its policy is gone
			if !ok {
				return nil, fmt.Errorf("%s lacks rollout %d of group %s, which the update in flight (step %d) began with: put the file back that was beside the checkpoint, or begin another run",
					storeFile, j.Sample, j.Group, first)
			}
			continue
		}
		if !ok || r.Failed() && r.Retries < t.c.Rollout.SolveRetries {
			missing = append(missing, j)
		}
	}
	if err := t.store.PutTasks(ctx, tasks); err != nil {
		return nil, err
	}
	t.view.BeginRollouts(len(jobs), have)
	if err := solveJobs(ctx, t.y.solver(t.c.Rollout.MaxTurns, true), missing, t.c.Rollout.SolveRetries, func(r flow.Trajectory) error {
		if !r.Failed() && (r.PolicyVersion != st.PolicyVersion || r.AdapterHash != t.hash) {
			return fmt.Errorf("the sampler used policy version %d (adapter %.12s), expected %d (%.12s): it does not follow the training",
				r.PolicyVersion, r.AdapterHash, st.PolicyVersion, t.hash)
		}
		t.view.Rollout(&r)
		all[keyOf(&r)] = r
		return t.store.PutTrajectory(ctx, first, phaseTrain, &r)
	}); err != nil {
		return nil, err
	}
	ts := make([]flow.Trajectory, 0, len(jobs))
	for _, j := range jobs {
		ts = append(ts, all[rolloutKey{j.Group, j.Sample}])
	}
	return ts, nil
}
