package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"afctl/flow"
)

// Scorer gives the reward of an answer, in [0, 1]. It is the only part of a solve that sees the accepted answers. An
// error means that the answer could not be judged: the solve then has no reward, never a silent 0.
type Scorer func(ctx context.Context, task flow.Task, answer string) (float64, error)

// Job is one solve to do.
type Job struct {
	Task   flow.Task
	Group  string // empty takes the task's ID
	Sample int    // number within the group
	// Seed is the root of all random streams of the solve: each call's is derived from it by slot and turn.
	Seed uint64
}

// Solver solves tasks with one set of modules. It holds no state of a solve and is safe for concurrent use.
type Solver struct {
	Slots   Slots
	Tools   *Registry
	Score   Scorer
	Options Options
}

// Validate names everything that a solver lacks or that is out of range.
func (s *Solver) Validate() error {
	var errs []error
	need := func(ok bool, what string) {
		if !ok {
			errs = append(errs, fmt.Errorf("solver: %s is missing", what))
		}
	}
	need(s.Slots.Planner != nil, "Slots.Planner")
	need(s.Slots.Executor != nil, "Slots.Executor")
	need(s.Slots.Generator != nil, "Slots.Generator")
	need(s.Tools != nil, "Tools")
	need(s.Score != nil, "Score")
	return errors.Join(append(errs, s.Options.Validate())...)
}

// Solve runs one solve with a fresh memory and returns its record. It never fails as a call: a solve that cannot be
// finished has no reward, and says why in Failure (a kind) and FailureDetail. It returns soon after ctx ends, with
// KindCanceled, as long as slots and tools keep their promise to.
func (s *Solver) Solve(ctx context.Context, job Job) flow.Trajectory {
	start := time.Now()
	v := &solve{
		slots: &s.Slots, tools: s.Tools, score: s.Score, options: s.Options.withDefaults(), job: job, memory: NewMemory(),
		t: flow.Trajectory{Task: job.Task.ID, Group: job.Group, Sample: job.Sample, Sampling: flow.Sampling{Seed: job.Seed}},
	}
	if v.t.Group == "" {
		v.t.Group = job.Task.ID
	}
	err := s.Validate()
	if err != nil {
		err = &Error{Kind: KindInvalid, Slot: "solver", Err: err}
	} else {
		err = v.run(ctx)
	}
	v.t.Steps = v.memory.Steps()
	v.t.TotalMS = sinceMS(start)
	v.fail(ctx, err)
	return v.t
}

func sinceMS(t time.Time) float64 { return float64(time.Since(t)) / float64(time.Millisecond) }

// solve is one solve under way.
type solve struct {
	slots   *Slots
	tools   *Registry
	score   Scorer
	options Options
	job     Job
	memory  *Memory
	t       flow.Trajectory
	late    string // see limits; of the slots' calls
}

func (v *solve) run(ctx context.Context) error {
	o := &v.options
	ctx, cancel := context.WithTimeout(ctx, o.MaxTime+2*o.CallTimeout)
	defer cancel()
	if err := v.loop(ctx); err != nil {
		return err
	}
	in := v.input(SlotGenerator, len(v.memory.steps))
	answer, err := call(ctx, o, v.slot(SlotGenerator), func(ctx context.Context) (string, error) {
		return v.slots.Generator.Answer(ctx, in)
	})
	if err != nil {
		return err
	}
	v.t.Answer = lastBytes(answer, o.maxResult)
	return v.grade(ctx)
}

// loop is the analysis and the turns, within MaxTime. Time that runs out after a step ends the loop, not the solve.
func (v *solve) loop(ctx context.Context) error {
	o := &v.options
	bounded, cancel := context.WithTimeout(ctx, o.MaxTime)
	defer cancel()
	// A slot's pause that would outlast the loop ends it as a call in flight at its end does. Not so where the caller's
	// deadline comes first, which is no end of the loop; nor for tools, whose error the planner can still work around.
	limit, _ := bounded.Deadline()
	if outer, _ := ctx.Deadline(); limit.Before(outer) {
		v.late = KindDeadline
		defer func() { v.late = "" }()
	}
	err := v.analyze(bounded)
	for turn := 1; err == nil && turn <= o.MaxTurns; turn++ {
		var stop bool
		stop, err = v.turn(bounded, turn)
		if stop {
			return nil
		}
	}
	if err != nil && kindOf(err, "") == KindDeadline && ctx.Err() == nil && v.completed() {
		note := fmt.Sprintf("the time of the solve (%v) is over", o.MaxTime)
		if bounded.Err() == nil {
			note = fmt.Sprintf("the time of the solve (%v) would be over: %v", o.MaxTime, err)
		}
		v.memory.last().VerdictNote = clipBytes(note, maxNote)
		return nil
	}
	return err
}

// completed tells whether a step is there that time did not cut.
func (v *solve) completed() bool {
	return slices.ContainsFunc(v.memory.steps, func(s flow.Step) bool { return s.ErrorKind != KindDeadline })
}

func (v *solve) analyze(ctx context.Context) error {
	if v.slots.Analyst == nil {
		return nil
	}
	in := v.input(SlotAnalyst, 0)
	analysis, err := call(ctx, &v.options, v.slot(SlotAnalyst), func(ctx context.Context) (string, error) {
		return v.slots.Analyst.Analyze(ctx, in)
	})
	v.t.Analysis = clipBytes(analysis, v.options.maxResult)
	return err
}

// turn is one cycle: plan, arguments, tool, memory, verdict. Whatever happens once the planner has answered, the step
// is in memory.
func (v *solve) turn(ctx context.Context, turn int) (stop bool, err error) {
	start := time.Now()
	in := v.input(SlotPlanner, turn)
	planning, err := call(ctx, &v.options, v.slot(SlotPlanner), func(ctx context.Context) (Planning, error) {
		return v.slots.Planner.Plan(ctx, in)
	})
	if err == nil {
		err = v.record(&planning)
	}
	if err != nil {
		return false, err
	}
	p := planning.Plan
	step := flow.Step{Turn: turn, Justification: p.Justification, Context: p.Context, SubGoal: p.SubGoal, Tool: p.Tool}
	if planning.ParseError != "" {
		step.ErrorKind, step.Error = KindParse, planning.ParseError
	} else {
		err = v.act(ctx, turn, p, &step)
	}
	if err != nil && step.ErrorKind == "" {
		step.ErrorKind, step.Error = kindOf(err, KindInternal), clipBytes(err.Error(), maxNote)
	}
	step.Tokens = v.options.Count(step.Result + step.Error)
	v.memory.Append(step)
	if err == nil {
		stop, err = v.verify(ctx, turn)
	}
	v.memory.last().TotalMS = sinceMS(start)
	return stop, err
}

// record keeps the planner's turn, by role: nothing else that a model says is trained.
func (v *solve) record(p *Planning) error {
	c := &p.Completion
	fail := func(kind, format string, a ...any) error {
		return &Error{Kind: kind, Slot: SlotPlanner, Err: fmt.Errorf(format, a...)}
	}
	if t := c.Turn; v.options.Record {
		switch {
		case t == nil:
			return fail(KindUnrecorded, "the model gave no token ids, which training needs")
		case len(t.Prompt) == 0 || len(t.Action) == 0:
			return fail(KindUnrecorded, "a turn of %d prompt and %d action tokens, expected some of both", len(t.Prompt), len(t.Action))
		case t.LogProbs != nil && len(t.LogProbs) != len(t.Action):
			return fail(KindUnrecorded, "%d log-probs for %d action tokens", len(t.LogProbs), len(t.Action))
		}
	}
	if v.memory.steps == nil {
		v.t.PolicyVersion, v.t.AdapterHash = c.PolicyVersion, c.AdapterHash
		v.t.Sampling = p.Sampling
		v.t.Sampling.Seed = v.job.Seed
	} else if c.PolicyVersion != v.t.PolicyVersion || c.AdapterHash != v.t.AdapterHash {
		return fail(KindPolicyChanged, "the solve began under policy version %d (adapter %.12q), this turn is of version %d (adapter %.12q)",
			v.t.PolicyVersion, v.t.AdapterHash, c.PolicyVersion, c.AdapterHash)
	}
	if c.Turn != nil {
		v.t.Turns = append(v.t.Turns, *c.Turn)
	}
	return nil
}

// act turns a plan into a result or an error of a kind within the step. An error that it returns ends the solve.
func (v *solve) act(ctx context.Context, turn int, plan Plan, step *flow.Step) error {
	i, ok := v.tools.find(plan.Tool)
	if !ok {
		step.ErrorKind = KindUnknownTool
		step.Error = fmt.Sprintf("no tool %q; there are: %s", clipBytes(plan.Tool, 80), v.tools.names())
		return nil
	}
	tool, spec := v.tools.tools[i], v.tools.specs[i]
	step.Tool = spec.Name
	in := v.input(SlotExecutor, turn)
	raw, err := call(ctx, &v.options, v.slot(SlotExecutor), func(ctx context.Context) ([]byte, error) {
		return v.slots.Executor.Arguments(ctx, in, plan, spec)
	})
	note := ""
	var noted *Note
	if errors.As(err, &noted) {
		note, err = noted.Text, nil
	}
	if err == nil {
		step.Args = compactArgs(raw)
		if err = spec.Validate(raw); err == nil {
			return v.execute(ctx, tool, &spec, step, note)
		}
	}
	return v.stepError(err, step)
}

func (v *solve) execute(ctx context.Context, tool Tool, spec *ToolSpec, step *flow.Step, note string) error {
	l := limits{slot: "tool", timeout: v.options.ToolTimeout, other: KindFailed, final: true}
	if spec.Timeout > 0 {
		l.timeout = spec.Timeout
	}
	start := time.Now()
	result, err := call(ctx, &v.options, l, func(ctx context.Context) (Result, error) {
		return tool.Execute(ctx, step.Args)
	})
	step.ToolMS = sinceMS(start)
	if err != nil {
		return v.stepError(asToolError(err, l.timeout), step)
	}
	step.Result = clipBytes(result.Text, v.options.maxResult)
	if note != "" {
		step.Result = "(" + note + ") " + step.Result
	}
	return nil
}

// asToolError makes the error of a tool call one that the planner sees, unless it ends the solve.
func asToolError(err error, timeout time.Duration) error {
	var tool *ToolError
	switch kind := kindOf(err, KindInternal); {
	case errors.As(err, &tool), kind == KindCanceled, kind == KindDeadline, kind == KindInternal:
		return err
	case kind == KindTimeout:
		return &ToolError{Kind: kind, Message: fmt.Sprintf("no result within %v", timeout)}
	default:
		return &ToolError{Kind: kind, Message: errors.Unwrap(err).Error()}
	}
}

// stepError puts a *ToolError into the step; any other error goes on to end the solve.
func (v *solve) stepError(err error, step *flow.Step) error {
	var tool *ToolError
	if !errors.As(err, &tool) {
		return err
	}
	step.ErrorKind, step.Error = tool.Kind, clipBytes(tool.Message, v.options.maxResult)
	return nil
}

func (v *solve) verify(ctx context.Context, turn int) (stop bool, err error) {
	step := v.memory.last()
	if v.slots.Verifier == nil {
		return false, nil
	}
	type reply struct {
		verdict flow.Verdict
		note    string
	}
	in := v.input(SlotVerifier, turn)
	r, err := call(ctx, &v.options, v.slot(SlotVerifier), func(ctx context.Context) (r reply, err error) {
		r.verdict, r.note, err = v.slots.Verifier.Verify(ctx, in)
		return r, err
	})
	if err != nil {
		return false, err
	}
	step.Verdict, step.VerdictNote = r.verdict, clipBytes(r.note, maxNote)
	if step.Verdict != flow.VerdictStop {
		step.Verdict = flow.VerdictContinue
	}
	return step.Verdict == flow.VerdictStop, nil
}

func (v *solve) slot(name string) limits {
	return limits{slot: name, timeout: v.options.CallTimeout, other: KindModel, late: v.late}
}

// input is what a slot sees at a turn, with the random stream of that call.
func (v *solve) input(slot string, turn int) Input {
	return Input{
		Question: v.job.Task.Question, Analysis: v.t.Analysis, Tools: v.tools.Specs(), Memory: v.memory,
		Turn: turn, MaxTurns: v.options.MaxTurns, Seed: flow.DeriveSeed(v.job.Seed, slot, strconv.Itoa(turn)),
	}
}
