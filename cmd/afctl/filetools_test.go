package main

import (
	"slices"
	"testing"

	"afctl/rollout/tools"
)

// TestFileTools: an entry's parts are of one tool, whether it is opened or replayed, and the config chooses by what it has.
func TestFileTools(t *testing.T) {
	c := DefaultConfig()
	y := &system{c: &c}
	for _, f := range fileTools {
		if got := f.spec.Spec().Name; got != f.name {
			t.Errorf("%s: its spec is of %s", f.name, got)
		}
		if f.name == tools.NameBaseGenerator {
			continue // opening it takes a model
		}
		if f.lacks(&c.Rollout.Tools) == nil {
			if tool, err := f.open(t.Context(), y); err != nil || tool.Spec().Name != f.name {
				t.Errorf("%s: opened as %v, %v", f.name, tool, err)
			}
		}
	}
	for _, k := range []struct {
		config ToolsConfig
		want   []string
	}{
		{ToolsConfig{}, []string{tools.NameBaseGenerator, tools.NameCalculator}},
		{ToolsConfig{Pages: "p"}, []string{tools.NameBaseGenerator, tools.NameCalculator, tools.NameWebSearch}},
		{ToolsConfig{WikipediaIndex: "i", Pages: "p"}, toolNames()},
		{ToolsConfig{Use: []string{tools.NameWebSearch}}, []string{tools.NameWebSearch}},
	} {
		if got := k.config.chosen(); !slices.Equal(got, k.want) {
			t.Errorf("%+v: %v chosen, expected %v", k.config, got, k.want)
		}
	}
	for use, key := range map[string]string{tools.NameWikipediaSearch: "rollout.tools.wikipedia_index", tools.NameWebSearch: "rollout.tools.pages"} {
		c.Rollout.Tools.Use = []string{use}
		if bad, ok := y.openTools(t.Context()).(*valueError); !ok || bad.key != key {
			t.Errorf("%s without what it needs: %v", use, bad)
		}
	}
}
