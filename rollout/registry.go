package rollout

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Registry holds the tools of a solver. It does not change once made and is safe for concurrent use.
type Registry struct {
	tools  []Tool
	specs  []ToolSpec
	byName map[string]int // folded name to place
}

// NewRegistry takes tools in the order in which the planner is shown them. It refuses an empty set, a name that is
// empty or that another tool has (as find reads names), and a schema that does not compile.
func NewRegistry(tools ...Tool) (*Registry, error) {
	if len(tools) == 0 {
		return nil, errors.New("registry: no tools, expected at least one")
	}
	r := &Registry{byName: make(map[string]int, len(tools))}
	for i, t := range tools {
		if t == nil {
			return nil, fmt.Errorf("registry: tool %d is nil", i)
		}
		spec := t.Spec()
		name := foldName(spec.Name)
		if name == "" {
			return nil, fmt.Errorf("registry: tool %d: name %q has no letters or digits", i, spec.Name)
		}
		if j, ok := r.byName[name]; ok {
			return nil, fmt.Errorf("registry: tools %q and %q have the same name, case and separators aside", r.specs[j].Name, spec.Name)
		}
		if err := spec.compile(); err != nil {
			return nil, fmt.Errorf("registry: %w", err)
		}
		r.byName[name] = i
		r.tools = append(r.tools, t)
		r.specs = append(r.specs, spec)
	}
	return r, nil
}

// Specs are the tools' specs in the given order. The caller must not change them.
func (r *Registry) Specs() []ToolSpec { return r.specs[:len(r.specs):len(r.specs)] }

// find gives the place of the tool that a planner named. Case does not count, nor do markdown, quotes and brackets around the
// name, nor whether spaces, underscores or hyphens part its words; words may follow the name ("Calculator, for the
// sum"), as long as none of them names another tool; and a list's number or words that name nothing ("Use the
// Calculator") may stand before it.
func (r *Registry) find(name string) (place int, ok bool) {
	folded := foldName(name)
	found, length := r.begins(folded)
	for found < 0 {
		word, rest, ok := strings.Cut(folded, "_")
		if !ok || !fillers[word] && !listNumber.MatchString(word) {
			return 0, false
		}
		folded = rest
		found, length = r.begins(folded)
	}
	rest := folded[length:] + "_"
	for n, i := range r.byName {
		if i != found && strings.Contains(rest, "_"+n+"_") {
			return 0, false // it names two tools: no choice was made
		}
	}
	return found, true
}

// fillers are words that planners put before a tool's name.
var fillers = map[string]bool{"use": true, "using": true, "the": true, "tool": true, "tools": true, "name": true, "selected": true, "chosen": true}

var listNumber = regexp.MustCompile(`^\d{1,2}$`)

// begins finds the longest tool name that a folded text begins with, at a word's end; found is -1 where there is none.
func (r *Registry) begins(folded string) (found, length int) {
	found = -1
	for n, i := range r.byName {
		if len(n) > length && strings.HasPrefix(folded+"_", n+"_") {
			found, length = i, len(n)
		}
	}
	return found, length
}

// foldName reduces a name to lower-case words of letters and digits, joined by single underscores.
func foldName(s string) string {
	var b strings.Builder
	gap := false
	for _, c := range strings.ToLower(s) {
		if !isWord(c) {
			gap = b.Len() > 0
			continue
		}
		if gap {
			b.WriteByte('_')
			gap = false
		}
		b.WriteRune(c)
	}
	return b.String()
}

// names lists the tools for a message.
func (r *Registry) names() string {
	var b strings.Builder
	for i, s := range r.specs {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(s.Name)
	}
	return b.String()
}
