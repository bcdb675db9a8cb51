package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
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

// fileTools opens the tools of tasks from files: those that config names, or all that have what they need.
func (y *system) fileTools(ctx context.Context) error {
	t := &y.c.Rollout.Tools
	use := t.Use
	if len(use) == 0 {
		use = []string{frozen.BaseGenerator, frozen.Calculator}
		if t.WikipediaIndex != "" {
			use = append(use, frozen.WikipediaSearch)
		}
		if t.Pages != "" {
			use = append(use, frozen.WebSearch)
		}
	}
	var recorder *tools.Recorder
	var replayer *tools.Replayer
	var err error
	if t.Record != "" {
		if recorder, err = tools.NewRecorder(t.Record); err != nil {
			return fmt.Errorf("rollout.tools.record: %w", err)
		}
		y.close = append(y.close, recorder.Close)
	}
	if t.Replay != "" {
		if replayer, err = tools.NewReplayer(t.Replay); err != nil {
			return fmt.Errorf("rollout.tools.replay: %w", err)
		}
	}
	var list []rollout.Tool
	for _, name := range toolNames {
		if !slices.Contains(use, name) {
			continue
		}
		tool, err := y.fileTool(ctx, name)
		if err != nil {
			return err
		}
		switch {
		case replayer != nil:
			tool = replayer.Tool(tool.Spec())
		case recorder != nil:
			tool = recorder.Wrap(tool)
		}
		list = append(list, tool)
	}
	y.tools, err = rollout.NewRegistry(list...)
	return err
}

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

// solver ties the system together for at most maxTurns planner calls a solve. Rewards come from the scorers that tasks name.
func (y *system) solver(maxTurns int) *rollout.Solver {
	r := &y.c.Rollout
	return &rollout.Solver{Slots: y.slots, Tools: y.tools, Score: score.Rule("exact"), Options: rollout.Options{
		MaxTurns: maxTurns, MaxTime: seconds(r.MaxSeconds), CallTimeout: seconds(r.CallSeconds), ToolTimeout: seconds(r.ToolSeconds),
		Retries: r.Retries, Concurrency: r.Concurrency, Record: true, Count: y.codec.count,
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
