package main

import (
	"context"
	"fmt"
	"path/filepath"

	"afctl/rollout"
	"afctl/rollout/tools"
	"afctl/rollout/tools/index"
)

// fileTool is a tool that tasks from files can use.
type fileTool struct {
	name  string
	spec  rollout.Tool                     // the tool without what it would run on: replayed, it never runs
	lacks func(t *ToolsConfig) *valueError // what the config lacks for it to run; nil for nothing
	open  func(ctx context.Context, y *system) (rollout.Tool, error)
}

// fileTools are all of them, in the order in which the planner is shown them.
var fileTools = []fileTool{
	{tools.NameBaseGenerator, tools.NewBaseGenerator(nil), lacksNothing, func(_ context.Context, y *system) (rollout.Tool, error) {
		m, err := y.baseModel()
		return tools.NewBaseGenerator(m), err
	}},
	{tools.NameCalculator, tools.NewCalculator(), lacksNothing, func(context.Context, *system) (rollout.Tool, error) {
		return tools.NewCalculator(), nil
	}},
	{tools.NameWikipediaSearch, tools.NewWikipediaSearch(nil, 0), func(t *ToolsConfig) *valueError {
		if t.WikipediaIndex != "" {
			return nil
		}
		return &valueError{"rollout.tools.wikipedia_index", "found none, expected an index for Wikipedia_Search (afctl index makes one)"}
	}, func(_ context.Context, y *system) (rollout.Tool, error) {
		t := &y.c.Rollout.Tools
		ix, err := index.Open(t.WikipediaIndex)
		if err != nil {
			return nil, fmt.Errorf("rollout.tools.wikipedia_index: %w", err)
		}
		y.close = append(y.close, ix.Close)
		return tools.NewWikipediaSearch(ix, t.Passages), nil
	}},
	{tools.NameWebSearch, tools.NewWebSearch(nil), func(t *ToolsConfig) *valueError {
		if t.Pages != "" {
			return nil
		}
		return &valueError{"rollout.tools.pages", "found none, expected a folder of pages (JSON Lines) for Web_Search"}
	}, func(ctx context.Context, y *system) (rollout.Tool, error) {
		pages, err := tools.OpenFolderPages(ctx, filepath.Clean(y.c.Rollout.Tools.Pages))
		if err != nil {
			return nil, fmt.Errorf("rollout.tools.pages: %w", err)
		}
		return tools.NewWebSearch(pages), nil
	}},
}

func lacksNothing(*ToolsConfig) *valueError { return nil }

// toolNames are the names of fileTools.
func toolNames() (names []string) {
	for _, f := range fileTools {
		names = append(names, f.name)
	}
	return names
}
