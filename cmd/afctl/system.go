package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"text/template"

	"afctl/bench/gym"
	"afctl/bench/gym/frozen"
	"afctl/bench/score"
	"afctl/engine"
	"afctl/rollout"
	"afctl/rollout/tools"
	"afctl/rollout/tools/index"
)

// toolNames are the tools that tasks from files can use, in the order in which the planner is shown them.
var toolNames = []string{frozen.BaseGenerator, frozen.Calculator, frozen.WikipediaSearch, frozen.WebSearch}

// system is the agentic system of a config around a loaded model: what solves tasks.
type system struct {
	c       *Config
	s       *session
	codec   *codec
	policy  *engine.Sampler
	base    *engine.Sampler // nil until something asks for it
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
			err = errors.Join(err, y.Close())
		}
	}()
	if y.codec, err = newCodec(s.model); err != nil {
		return y, err
	}
	if y.policy, err = s.newSampler(&c.Engine, false); err != nil {
		return y, err
	}
	y.planner = rollout.ModelPlanner{Model: y.model(y.policy), MaxTokens: c.Flow.MaxActionTokens, Temperature: c.Flow.Temperature,
		MemoryBudget: c.Rollout.Planner.MemoryTokens, Count: y.codec.count}
	switch {
	case c.Rollout.Planner.Prompt != "":
		y.planner.Template, err = rollout.LoadTemplate(c.Rollout.Planner.Prompt)
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
	return y, y.fileTools(ctx)
}

// model is a sampler as a model.
func (y *system) model(s *engine.Sampler) *engineModel {
	return &engineModel{sampler: s, codec: y.codec, most: min(s.Options().CacheTokens-4, y.s.engine.Config().MaxPositionEmbeddings)}
}

// baseModel is the model without adapter, for frozen modules.
func (y *system) baseModel() (*engineModel, error) {
	if y.base == nil {
		b, err := y.s.newSampler(&y.c.Engine, true)
		if err != nil {
			return nil, err
		}
		y.base = b
	}
	return y.model(y.base), nil
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
				return nil, err
			}
		}
		return &rollout.ModelSlot{Model: model, Template: t, MaxTokens: m.MaxTokens, Temperature: m.Temperature, MemoryBudget: m.MemoryTokens,
			Count: y.codec.count}, nil
	}
	var found [4]*rollout.ModelSlot
	for i, name := range []string{rollout.SlotAnalyst, rollout.SlotExecutor, rollout.SlotVerifier, rollout.SlotGenerator} {
		var err error
		if found[i], err = slot(name); err != nil {
			return err
		}
	}
	y.slots.Executor, y.slots.Generator = frozen.Executor{}, frozen.Generator{}
	if found[0] != nil {
		y.slots.Analyst = rollout.ModelAnalyst(*found[0])
	}
	if found[1] != nil {
		y.slots.Executor = rollout.ModelExecutor(*found[1])
	}
	if found[2] != nil {
		y.slots.Verifier = rollout.ModelVerifier(*found[2])
	} else if y.c.provider(rollout.SlotVerifier) == Scripted {
		y.slots.Verifier = frozen.Verifier{}
	}
	if found[3] != nil {
		y.slots.Generator = rollout.ModelGenerator(*found[3])
	}
	return nil
}

// fileTools opens the tools of tasks from files.
func (y *system) fileTools(ctx context.Context) (err error) {
	t := &y.c.Rollout.Tools
	wrap := func(tool rollout.Tool) rollout.Tool { return tool }
	open := y.fileTool
	switch {
	case t.Replay != "":
		r, err := tools.NewReplayer(t.Replay)
		if err != nil {
			return fmt.Errorf("rollout.tools.replay: %w", err)
		}
		wrap = func(tool rollout.Tool) rollout.Tool { return r.Tool(tool.Spec()) }
		open = y.specOnly
	case t.Record != "":
		r, err := tools.NewRecorder(t.Record)
		if err != nil {
			return fmt.Errorf("rollout.tools.record: %w", err)
		}
		y.close = append(y.close, r.Close)
		wrap = r.Wrap
	}
	var list []rollout.Tool
	for _, name := range toolNames {
		if !t.uses(name) {
			continue
		}
		tool, err := open(ctx, name)
		if err != nil {
			return err
		}
		list = append(list, wrap(tool))
	}
	y.tools, err = rollout.NewRegistry(list...)
	return err
}

// specOnly is a tool that is never run, without what it would need for that.
func (y *system) specOnly(_ context.Context, name string) (rollout.Tool, error) {
	switch name {
	case frozen.BaseGenerator:
		return tools.NewBaseGenerator(nil), nil
	case frozen.Calculator:
		return tools.NewCalculator(), nil
	case frozen.WikipediaSearch:
		return tools.NewWikipediaSearch(nil, y.c.Rollout.Tools.Passages), nil
	}
	return tools.NewWebSearch(nil), nil
}

// fileTool opens a tool.
func (y *system) fileTool(ctx context.Context, name string) (rollout.Tool, error) {
	t := &y.c.Rollout.Tools
	switch name {
	case frozen.BaseGenerator:
		m, err := y.baseModel()
		if err != nil {
			return nil, err
		}
		return tools.NewBaseGenerator(m), nil
	case frozen.Calculator:
		return tools.NewCalculator(), nil
	case frozen.WikipediaSearch:
		if t.WikipediaIndex == "" {
			return nil, &valueError{"rollout.tools.wikipedia_index", "found none, expected an index for Wikipedia_Search (afctl index makes one)"}
		}
		ix, err := index.Open(t.WikipediaIndex)
		if err != nil {
			return nil, fmt.Errorf("rollout.tools.wikipedia_index: %w", err)
		}
		y.close = append(y.close, ix.Close)
		return tools.NewWikipediaSearch(ix, t.Passages), nil
	}
	if t.Pages == "" {
		return nil, &valueError{"rollout.tools.pages", "found none, expected a folder of pages (JSON Lines) for Web_Search"}
	}
	pages, err := tools.OpenFolderPages(ctx, filepath.Clean(t.Pages))
	if err != nil {
		return nil, fmt.Errorf("rollout.tools.pages: %w", err)
	}
	return tools.NewWebSearch(pages), nil
}

// concurrency is how many solves run at once: no more than whose actions the sampler has room for together, or calls would spend the time that
// they have in its queue.
func (y *system) concurrency() int {
	return min(y.c.Rollout.Concurrency, max(1, y.policy.Options().CacheTokens/y.c.Flow.MaxActionTokens))
}

// solver ties the system together for at most maxTurns planner calls a solve. Rewards come from the scorers that tasks name.
func (y *system) solver(maxTurns int) *rollout.Solver {
	r := &y.c.Rollout
	return &rollout.Solver{Slots: y.slots, Tools: y.tools, Score: score.Rule("exact"), Options: rollout.Options{
		MaxTurns: maxTurns, MaxTime: seconds(r.MaxSeconds), CallTimeout: seconds(r.CallSeconds), ToolTimeout: seconds(r.ToolSeconds),
		Retries: r.Retries, Concurrency: y.concurrency(), Record: true, Count: y.codec.count,
	}}
}

// Close ends the samplers and closes the tools.
func (y *system) Close() error {
	for _, s := range []*engine.Sampler{y.policy, y.base} {
		if s != nil {
			s.Close()
		}
	}
	var errs []error
	for _, f := range y.close {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}
