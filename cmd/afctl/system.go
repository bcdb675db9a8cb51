package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"text/template"

	"afctl/bench/gym"
	"afctl/bench/gym/frozen"
	"afctl/bench/score"
	"afctl/engine"
	"afctl/flow"
	"afctl/rollout"
	"afctl/rollout/tools"
)

// system is the agentic system of a config around a loaded model: what solves tasks.
type system struct {
	c       *Config
	s       *session
	codec   *codec
	policy  rollout.Policy
	base    *engineModel        // nil until something asks for it
	judge   *rollout.ModelJudge // nil on the gym's tasks
	planner rollout.ModelPlanner
	slots   rollout.Slots
	tools   *rollout.Registry
	close   []func() error
}

// newSystem sets up modules and tools. The samplers' caches are empty and their policy version 0 until Publish.
func newSystem(ctx context.Context, c *Config, s *session) (y *system, err error) {
	y = &system{c: c, s: s}
	defer func() {
		if err != nil {
			y, err = nil, errors.Join(err, y.Close())
		}
	}()
	if y.codec, err = newCodec(s.model); err != nil {
		return y, err
	}
	if err := y.codec.parseTemplate(); err != nil {
		return y, err
	}
	if y.policy, err = y.newModel(false); err != nil {
		return y, err
	}
	y.planner = rollout.ModelPlanner{Model: y.policy, MaxTokens: c.Flow.MaxActionTokens, Temperature: c.Flow.Temperature,
		MemoryBudget: c.Rollout.Planner.MemoryTokens, Count: y.codec.count}
	switch {
	case c.Rollout.Planner.Prompt != "":
		if y.planner.Template, err = rollout.LoadTemplate(c.Rollout.Planner.Prompt); err != nil {
			err = fmt.Errorf("rollout.planner.prompt: %w", err)
		}
	case c.onGym():
		y.planner.Template, err = gym.Template()
	}
	if err != nil {
		return y, err
	}
	y.slots.Planner = y.planner
	if err := y.frozenSlots(); err != nil {
		return y, err
	}
	if c.onGym() {
		w, err := gym.Embedded()
		if err != nil {
			return y, err
		}
		y.tools = w.Tools()
		return y, nil
	}
	return y, y.openTools(ctx)
}

// note is what whoever brings a model of their own should know about it; "" for nothing.
func (y *system) note() string {
	if y.codec.template != nil || y.c.Model == gymModel {
		return ""
	}
	return y.s.model.Name + " has no chat template (chat_template.jinja, or chat_template in tokenizer_config.json): messages are put one after another, a line each"
}

// newModel starts a sampler, of the policy or of the base, as a model; the system's Close ends it.
func (y *system) newModel(base bool) (*engineModel, error) {
	s, err := y.s.engine.NewSampler(engine.SamplerOptions{Base: base, CacheTokens: y.c.Engine.KVTokens, MaxBatch: y.c.Engine.MaxBatch})
	if err != nil {
		return nil, err
	}
	y.close = append(y.close, func() error { s.Close(); return nil })
	return &engineModel{sampler: s, codec: y.codec, cache: s.Options().CacheTokens - 4, positions: y.s.engine.Config().MaxPositionEmbeddings}, nil
}

// baseModel is the model without adapter, for frozen modules.
func (y *system) baseModel() (_ *engineModel, err error) {
	if y.base == nil {
		y.base, err = y.newModel(true)
	}
	return y.base, err
}

// frozenSlots fills the modules beside the planner.
func (y *system) frozenSlots() error {
	slot := func(name string) (*rollout.ModelSlot, error) {
		m := y.c.Rollout.modules()[name]
		if y.c.provider(name) != Base {
			return nil, nil
		}
		model, err := y.baseModel()
		if err != nil {
			return nil, err
		}
		var t *template.Template
		if m.Prompt != "" {
			if t, err = rollout.LoadTemplate(m.Prompt); err != nil {
				return nil, fmt.Errorf("rollout.%s.prompt: %w", name, err)
			}
		}
		return &rollout.ModelSlot{Model: model, Template: t, MaxTokens: m.MaxTokens, Temperature: m.Temperature, Count: y.codec.count}, nil
	}
	analyst, err1 := slot(rollout.SlotAnalyst)
	executor, err2 := slot(rollout.SlotExecutor)
	verifier, err3 := slot(rollout.SlotVerifier)
	generator, err4 := slot(rollout.SlotGenerator)
	judge, err5 := slot(rollout.SlotJudge)
	if err := cmp.Or(err1, err2, err3, err4, err5); err != nil {
		return err
	}
	y.slots.Executor, y.slots.Generator = frozen.Executor{}, frozen.Generator{}
	if analyst != nil {
		y.slots.Analyst = rollout.ModelAnalyst(*analyst)
	}
	if executor != nil {
		executor.MemoryBudget = y.c.Rollout.Executor.MemoryTokens
		y.slots.Executor = rollout.ModelExecutor(*executor)
	}
	if verifier != nil {
		verifier.MemoryBudget = y.c.Rollout.Verifier.MemoryTokens
		y.slots.Verifier = rollout.ModelVerifier(*verifier)
	} else if y.c.provider(rollout.SlotVerifier) == Scripted {
		y.slots.Verifier = frozen.Verifier{}
	}
	if generator != nil {
		generator.MemoryBudget = y.c.Rollout.Generator.MemoryTokens
		y.slots.Generator = rollout.ModelGenerator(*generator)
	}
	if judge != nil {
		y.judge = &rollout.ModelJudge{ModelSlot: *judge}
	}
	return nil
}

// openTools opens the tools of tasks from files.
func (y *system) openTools(ctx context.Context) (err error) {
	t := &y.c.Rollout.Tools
	wrap := func(tool rollout.Tool) rollout.Tool { return tool }
	switch {
	case t.Replay != "":
		r, err := tools.NewReplayer(t.Replay)
		if err != nil {
			return fmt.Errorf("rollout.tools.replay: %w", err)
		}
		wrap = func(tool rollout.Tool) rollout.Tool { return r.Tool(tool.Spec()) }
	case t.Record != "":
		r, err := tools.NewRecorder(t.Record)
		if err != nil {
			return fmt.Errorf("rollout.tools.record: %w", err)
		}
		y.close = append(y.close, r.Close)
		wrap = r.Wrap
	}
	var list []rollout.Tool
	for _, f := range fileTools {
		if !t.uses(f.name) {
			continue
		}
		tool := f.spec
		if t.Replay == "" {
			if err := f.lacks(t); err != nil {
				return err
			}
			if tool, err = f.open(ctx, y); err != nil {
				return err
			}
		}
		list = append(list, wrap(tool))
	}
	y.tools, err = rollout.NewRegistry(list...)
	return err
}

// concurrency is how many solves run at once: no more than whose actions the sampler has room for together, or calls would spend the time that
// they have in its queue.
func (y *system) concurrency() int {
	return min(y.c.Rollout.Concurrency, max(1, y.policy.Room(y.c.Flow.MaxActionTokens)))
}

// score marks an answer by the scorer that its task names.
func (y *system) score(ctx context.Context, task flow.Task, answer string) (float64, error) {
	if task.Scorer == score.Judge && y.judge != nil {
		return y.judge.Score(ctx, task, answer)
	}
	return score.Rule(ctx, task, answer)
}

// solver ties the system together for at most maxTurns planner calls a solve. Rewards come from the scorers that tasks name. What is to be trained on
// has to have the planner's token ids (record).
func (y *system) solver(maxTurns int, record bool) *rollout.Solver {
	r := &y.c.Rollout
	return &rollout.Solver{Slots: y.slots, Tools: y.tools, Score: y.score, Options: rollout.Options{
		MaxTurns: maxTurns, MaxTime: seconds(r.MaxSeconds), CallTimeout: seconds(r.CallSeconds), ToolTimeout: seconds(r.ToolSeconds),
		Retries: r.Retries, Concurrency: y.concurrency(), Record: record, Count: y.codec.count,
	}}
}

// Close ends the samplers and closes the tools.
func (y *system) Close() error {
	var errs []error
	for _, f := range y.close {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}
