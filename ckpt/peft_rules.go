package ckpt

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/dlclark/regexp2"
)

// adapterRules are a configuration's targets and patterns, compiled.
type adapterRules struct {
	config   *AdapterConfig
	targets  *regexp2.Regexp // nil for a list of names, and for all
	excluded *regexp2.Regexp // nil for a list of names, and for none
	ranks    []*regexp2.Regexp
	alphas   []*regexp2.Regexp
	spent    time.Duration // in matches so far
}

// matchTimeout ends the match of an expression that backtracks without end, and all matches of one adapter's modules together: an expression can be
// made to stop just short of it. Names are short: an honest expression takes microseconds.
const matchTimeout = 2 * time.Second

// pythonOnly is (?P<name>, (?P=name) and {,n}, which .NET reads otherwise, or an escape or class that may look like one of them.
var pythonOnly = regexp.MustCompile(`(?s)\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?P<|\(\?P=\w+\)|\{,[0-9]*\}`)

// compile compiles an expression of Python's re; it may hold constructs that Go's regexp does not know.
func compile(field, expression string) (*regexp2.Regexp, error) {
	written := pythonOnly.ReplaceAllStringFunc(expression, func(s string) string {
		if strings.HasPrefix(s, "{,") {
			return "{0" + s[1:]
		}
		if name, ok := strings.CutPrefix(s, "(?P="); ok {
			return `\k<` + strings.TrimSuffix(name, ")") + ">"
		}
		if s == "(?P<" {
			return "(?<"
		}
		return s
	})
	re, err := regexp2.Compile(written, regexp2.None)
	if err != nil {
		return nil, fmt.Errorf("%.100s: not a regular expression: %.200v", field, err)
	}
	re.MatchTimeout = matchTimeout
	return re, nil
}

// rules compiles the expressions of the configuration.
func (c *AdapterConfig) rules() (*adapterRules, error) {
	r := &adapterRules{config: c}
	var err error
	if t := c.TargetModules; t.Names == nil && t.Regexp != allLinear {
		if r.targets, err = compile("target_modules", `^(?:`+t.Regexp+`)$`); err != nil {
			return nil, err
		}
	}
	if e := c.ExcludeModules; e.Names == nil && e.Regexp != "" {
		if r.excluded, err = compile("exclude_modules", `^(?:`+e.Regexp+`)$`); err != nil {
			return nil, err
		}
	}
	if r.ranks, err = compilePatterns("rank_pattern", c.RankPattern); err != nil {
		return nil, err
	}
	r.alphas, err = compilePatterns("alpha_pattern", c.AlphaPattern)
	return r, err
}

func compilePatterns[T int | float64](field string, patterns Patterns[T]) ([]*regexp2.Regexp, error) {
	var compiled []*regexp2.Regexp
	for _, pattern := range patterns {
		re, err := compile(field+"/"+pattern.Key, `^(.*\.)?(`+pattern.Key+`)$`)
		if err != nil {
			return nil, err
		}
		compiled = append(compiled, re)
	}
	return compiled, nil
}

func (r *adapterRules) match(re *regexp2.Regexp, path string) (bool, error) {
	start := time.Now()
	matched, err := re.MatchString(path)
	if r.spent += time.Since(start); err == nil && r.spent > matchTimeout {
		err = fmt.Errorf("the expressions of this adapter took more than %v to match its modules", matchTimeout)
	}
	return matched, err
}

// lookup returns the value of the first pattern that matches.
func lookup[T int | float64](r *adapterRules, patterns Patterns[T], compiled []*regexp2.Regexp, path string, fallback T) (T, error) {
	for i, re := range compiled {
		matched, err := r.match(re, path)
		if err != nil {
			return fallback, fmt.Errorf("pattern %.100q: %w", patterns[i].Key, err)
		}
		if matched {
			return patterns[i].Value, nil
		}
	}
	return fallback, nil
}

// targeted says whether a module is a target, and not excluded. A name in full holds in a layer that is not to be transformed too, as in PEFT.
func (r *adapterRules) targeted(layer int, path string) (bool, error) {
	if slices.ContainsFunc(r.config.ExcludeModules.Names, func(name string) bool { return namesModule(name, path) }) {
		return false, nil
	}
	if r.excluded != nil {
		if matched, err := r.match(r.excluded, path); err != nil {
			return false, fmt.Errorf("exclude_modules: %w", err)
		} else if matched {
			return false, nil
		}
	}
	if r.targets != nil {
		matched, err := r.match(r.targets, path)
		if err != nil {
			return false, fmt.Errorf("target_modules: %w", err)
		}
		return matched, nil
	}
	names, layers := r.config.TargetModules.Names, r.config.LayersToTransform
	transformed := layers == nil || slices.Contains(layers, layer)
	for _, name := range names {
		if path == name || transformed && namesModule(name, path) {
			return true, nil
		}
	}
	return names == nil, nil
}

// namesModule says whether an entry of a list means a module.
func namesModule(name, path string) bool {
	return path == name || strings.HasSuffix(path, "."+name)
}

// minNormal is the least float32 of full precision.
const minNormal = 0x1p-126

// module returns rank, alpha and scale of one module.
func (r *adapterRules) module(path string) (rank int, alpha, scale float64, err error) {
	if rank, err = lookup(r, r.config.RankPattern, r.ranks, path, r.config.R); err != nil {
		return 0, 0, 0, fmt.Errorf("rank_pattern: %w", err)
	}
	if alpha, err = lookup(r, r.config.AlphaPattern, r.alphas, path, r.config.LoraAlpha); err != nil {
		return 0, 0, 0, fmt.Errorf("alpha_pattern: %w", err)
	}
	scale = alpha / float64(rank)
	if r.config.UseRSLoRA {
		scale = alpha / math.Sqrt(float64(rank))
	}
	if f := float32(scale); !(f >= minNormal && f <= math.MaxFloat32) {
		return 0, 0, 0, fmt.Errorf("lora_alpha of %s: %v found with rank %d: the scale %.3g is none that float32 holds", path, alpha, rank, scale)
	}
	return rank, alpha, scale, nil
}
