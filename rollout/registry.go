package rollout

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Registry holds the tools of a solver. It does not change once made and is safe for concurrent use.
type Registry struct {
	tools   []Tool
	specs   []ToolSpec
	byName  map[string]int // words of a name, joined, to place
	longest int            // of byName, in bytes
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
		name := strings.Join(nameWords(spec.Name), "")
		if name == "" {
			return nil, fmt.Errorf("registry: tool %d: name %q has no letters or digits", i, spec.Name)
		}
		if j, ok := r.byName[name]; ok {
			return nil, fmt.Errorf("registry: tools %q and %q have the same name, case and separators aside", r.specs[j].Name, spec.Name)
		}
		if err := spec.compile(); err != nil {
			return nil, fmt.Errorf("registry: %w", err)
		}
		r.byName[name], r.longest = i, max(r.longest, len(name))
		r.tools = append(r.tools, t)
		r.specs = append(r.specs, spec)
	}
	return r, nil
}

// Specs are the tools' specs in the given order. The caller must not change them.
func (r *Registry) Specs() []ToolSpec { return r.specs[:len(r.specs):len(r.specs)] }

// find gives the place of the tool that a planner named. Case does not count, nor do markdown, quotes and brackets around the
// name, nor whether spaces, underscores, hyphens or nothing parts its words; words may follow the name ("Calculator, for the
// sum"), as long as none of them names another tool; and a list's number or words that name nothing ("Use the
// Calculator") may stand before it.
func (r *Registry) find(name string) (place int, ok bool) {
	words := nameWords(name)
	place, n := r.begins(words)
	for place < 0 {
		if len(words) == 0 || !fillers[words[0]] && !listNumber.MatchString(words[0]) {
			return 0, false
		}
		words = words[1:]
		place, n = r.begins(words)
	}
	for i := n; i < len(words); i++ {
		if other, _ := r.begins(words[i:]); other >= 0 && other != place {
			return 0, false // it names two tools: no choice was made
		}
	}
	return place, true
}

// fillers are words that planners put before a tool's name.
var fillers = map[string]bool{"use": true, "using": true, "the": true, "tool": true, "tools": true, "name": true, "selected": true, "chosen": true}

var listNumber = regexp.MustCompile(`^\d{1,2}$`)

// begins finds the longest tool name that words begin with, and how many of them it takes; place is -1 where there is none.
func (r *Registry) begins(words []string) (place, n int) {
	place = -1
	joined := ""
	for i, w := range words {
		if joined += w; len(joined) > r.longest {
			break
		}
		if p, ok := r.byName[joined]; ok {
			place, n = p, i+1
		}
	}
	return place, n
}

// nameWords are the words of letters and digits in a name, in lower case.
func nameWords(s string) []string {
	return strings.FieldsFunc(strings.ToLower(s), func(c rune) bool { return !isWord(c) })
}

// names lists the tools for a message.
func (r *Registry) names() string {
	names := make([]string, len(r.specs))
	for i, s := range r.specs {
		names[i] = s.Name
	}
	return strings.Join(names, ", ")
}
