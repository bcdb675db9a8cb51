package rollout

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

func TestRegistryLookup(t *testing.T) {
	r, err := NewRegistry(echo("Wikipedia_Search"), echo("Web_Search"), echo("Search"), echo("Search_Pro"), echo("Calculator"))
	if err != nil {
		t.Fatal(err)
	}
	for given, want := range map[string]string{
		"Wikipedia_Search": "Wikipedia_Search", "wikipedia_search": "Wikipedia_Search", "WIKIPEDIA SEARCH": "Wikipedia_Search",
		"`Wikipedia_Search`": "Wikipedia_Search", "\"Wikipedia Search\"": "Wikipedia_Search", "**Wikipedia-Search**": "Wikipedia_Search",
		"Wikipedia  _ Search.": "Wikipedia_Search", "WikipediaSearch": "Wikipedia_Search", "websearch (a page)": "Web_Search", "SearchPro": "Search_Pro",
		"Calculator, not WebSearch": "", "Wiki_pedia_Search": "Wikipedia_Search", "WikipediaSearches": "", "[Wikipedia_Search]": "Wikipedia_Search", "Calculator (to add them)": "Calculator",
		"Calculator tool": "Calculator", "Search": "Search", "Search Pro": "Search_Pro", "Search_Pro, since Search failed": "",
		"Search for it": "Search", "Search (Search)": "Search", "Calculator or Web_Search": "", "Web": "", "Searches": "", "Searching": "", "": "", "_": "",
		"None": "", "I would use Calculator": "", "Wikipédia_Search": "",
		"1. Calculator": "Calculator", "2) `Web_Search`": "Web_Search", "1.Calculator": "Calculator", "Use Calculator": "Calculator", "The Calculator": "Calculator",
		"Use the Calculator tool.": "Calculator", "Tool: Calculator": "Calculator", "<tool_name>Calculator</tool_name>": "Calculator", "123 Calculator": "",
		"Use Calculator or Web_Search": "", "The": "", "Use": "", "Not Calculator": "", "None (the Calculator failed)": "",
	} {
		i, ok := r.find(given)
		got := ""
		if ok {
			got = r.specs[i].Name
		}
		if got != want {
			t.Errorf("%q: %q, expected %q", given, got, want)
		}
	}
	// A name that begins with such a word is itself.
	use, err := NewRegistry(echo("Browser"), echo("Use_Browser"), echo("The"), echo("2_Browser"))
	if err != nil {
		t.Fatal(err)
	}
	for given, want := range map[string]string{
		"use browser": "Use_Browser", "Use the browser": "", "The": "The", "2. Browser": "2_Browser", "3. Browser": "Browser", "Use use_browser": "Use_Browser",
	} {
		if i, ok := use.find(given); ok != (want != "") || ok && use.specs[i].Name != want {
			t.Errorf("%q: %v, tool %d, expected %q", given, ok, i, want)
		}
	}
	var order []string
	for _, s := range r.Specs() {
		order = append(order, s.Name)
	}
	if got := len(order); got != 5 || order[0] != "Wikipedia_Search" || order[4] != "Calculator" {
		t.Errorf("order %v", order)
	}
}

type specTool struct{ spec ToolSpec }

func (t specTool) Spec() ToolSpec { return t.spec }

func (specTool) Execute(_ context.Context, _ json.RawMessage) (Result, error) { return Result{}, nil }

func TestRegistryRefuses(t *testing.T) {
	schema := func(s string) Tool { return specTool{ToolSpec{Name: "T", Schema: json.RawMessage(s)}} }
	outside := filepath.Join(t.TempDir(), "schema.json")
	if err := os.WriteFile(outside, []byte(`{"type": "object"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		tools []Tool
		want  string
	}{
		"none":        {nil, "no tools"},
		"nil":         {[]Tool{nil}, "nil"},
		"no name":     {[]Tool{echo("__")}, "no letters"},
		"same name":   {[]Tool{echo("Web_Search"), echo("web search")}, "same name"},
		"joined name": {[]Tool{echo("Web_Search"), echo("WebSearch")}, "same name"},
		"no json":     {[]Tool{schema(`{"type":`)}, `tool "T"`},
		"no schema":   {[]Tool{schema(`{"type": "objekt"}`)}, `tool "T"`},
		"remote ref":  {[]Tool{schema(`{"$ref": "https://example.org/schema.json"}`)}, `tool "T"`},
		"local ref":   {[]Tool{schema(`{"$ref": "file://` + outside + `"}`)}, `tool "T"`},
		"double keys": {[]Tool{schema(`{"type": "object", "type": "array"}`)}, `tool "T"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := NewRegistry(c.tools...)
			if err == nil {
				t.Fatal("taken")
			}
			contains(t, "error", err.Error(), c.want)
		})
	}
	if _, err := NewRegistry(schema(""), echo("Other")); err != nil {
		t.Errorf("a tool without a schema: %v", err)
	}
	if _, err := NewRegistry(schema(`{"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object"}`)); err != nil {
		t.Errorf("a schema that names its draft: %v", err)
	}
}
