package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"afctl/flow"
	"afctl/flow/nearest"
	"afctl/rollout"
)

// RolloutConfig is the agentic system: its bounds, its modules and its tools.
type RolloutConfig struct {
	MaxTurns     int     `yaml:"max_turns"`
	EvalMaxTurns int     `yaml:"eval_max_turns"`
	MaxSeconds   float64 `yaml:"max_seconds"`
	CallSeconds  float64 `yaml:"call_seconds"`
	ToolSeconds  float64 `yaml:"tool_seconds"`
	Retries      int     `yaml:"retries"`
	SolveRetries int     `yaml:"solve_retries"`
	Concurrency  int     `yaml:"concurrency"`

	Planner   PlannerConfig      `yaml:"planner"`
	Analyst   ModuleConfig       `yaml:"analyst"`
	Executor  MemoryModuleConfig `yaml:"executor"`
	Verifier  MemoryModuleConfig `yaml:"verifier"`
	Generator MemoryModuleConfig `yaml:"generator"`
	Judge     ModuleConfig       `yaml:"judge"`
	Tools     ToolsConfig        `yaml:"tools"`
}

// clearLimits leaves out what a solve may run into: bounds of time and of repetitions, under which a run may be gone on with that had them too tight.
func (r *RolloutConfig) clearLimits() {
	d := defaultRolloutConfig()
	r.MaxSeconds, r.CallSeconds, r.ToolSeconds, r.Retries, r.SolveRetries, r.Concurrency = d.MaxSeconds, d.CallSeconds, d.ToolSeconds, d.Retries, d.SolveRetries, d.Concurrency
}

// PlannerConfig is the trained module.
type PlannerConfig struct {
	Prompt       string `yaml:"prompt"`
	MemoryTokens int    `yaml:"memory_tokens"`
}

// ModuleConfig is a frozen module.
type ModuleConfig struct {
	Provider    Provider `yaml:"provider"`
	Prompt      string   `yaml:"prompt"`
	MaxTokens   int      `yaml:"max_tokens"`
	Temperature float64  `yaml:"temperature"`
}

// MemoryModuleConfig is a frozen module that reads memory.
type MemoryModuleConfig struct {
	ModuleConfig
	MemoryTokens int `yaml:"memory_tokens"`
}

// ToolsConfig are the tools of tasks from files; the gym brings its own.
type ToolsConfig struct {
	Use            []string `yaml:"use"`
	WikipediaIndex string   `yaml:"wikipedia_index"`
	Passages       int      `yaml:"passages"`
	Pages          string   `yaml:"pages"`
	Record         string   `yaml:"record"`
	Replay         string   `yaml:"replay"`
}

// chosen are the tools of Use, or those that have what they need.
func (t *ToolsConfig) chosen() []string {
	if len(t.Use) > 0 {
		return t.Use
	}
	var list []string
	for _, f := range fileTools {
		if f.lacks(t) == nil {
			list = append(list, f.name)
		}
	}
	return list
}

// uses reports whether a tool is chosen, may whether it is or would be if it had what it needs.
func (t *ToolsConfig) uses(tool string) bool { return slices.Contains(t.chosen(), tool) }
func (t *ToolsConfig) may(tool string) bool  { return len(t.Use) == 0 || slices.Contains(t.Use, tool) }

// Provider names what stands behind a frozen module.
type Provider string

// Providers. Auto is the gym's rules on the gym's tasks, and the base model on others (no analyst in the gym).
const (
	Auto     Provider = "auto"
	Scripted Provider = "scripted" // the gym's rules
	Base     Provider = "base"     // the model without adapter
	Off      Provider = "off"      // analyst and verifier only
)

func defaultRolloutConfig() RolloutConfig {
	module := ModuleConfig{Provider: Auto, MaxTokens: 512}
	withMemory := MemoryModuleConfig{module, 4096}
	return RolloutConfig{MaxTurns: rollout.DefaultMaxTurns, MaxSeconds: rollout.DefaultMaxTime.Seconds(),
		CallSeconds: rollout.DefaultCallTimeout.Seconds(), ToolSeconds: rollout.DefaultToolTimeout.Seconds(), Retries: 2, SolveRetries: 1,
		Concurrency: 256, Planner: PlannerConfig{MemoryTokens: 4096}, Analyst: module, Executor: withMemory, Verifier: withMemory, Generator: withMemory,
		Judge: module, Tools: ToolsConfig{Passages: 3}}
}

// modules are the frozen ones by their config keys.
func (c *RolloutConfig) modules() map[string]*ModuleConfig {
	return map[string]*ModuleConfig{rollout.SlotAnalyst: &c.Analyst, rollout.SlotExecutor: &c.Executor.ModuleConfig,
		rollout.SlotVerifier: &c.Verifier.ModuleConfig, rollout.SlotGenerator: &c.Generator.ModuleConfig, rollout.SlotJudge: &c.Judge}
}

// frozenSlots are the names of the frozen modules, in the order of their calls.
var frozenSlots = []string{rollout.SlotAnalyst, rollout.SlotExecutor, rollout.SlotVerifier, rollout.SlotGenerator, rollout.SlotJudge}

// isGym tells a suite of the gym by its name.
func isGym(name string) bool { return name == "gym" || strings.HasPrefix(name, "gym:") }

// onGym reports whether the run's tasks are the gym's.
func (c *Config) onGym() bool {
	return isGym(c.Tasks.Train) || (c.Tasks.Train == "" && isGym(c.Tasks.Eval))
}

// evalTurns is how many planner calls a solve has in evaluation at most: unless the config says, as many as in training on the gym, whose
// embedded planner has met no other number, and AgentFlow's 10 elsewhere.
func (c *Config) evalTurns() int {
	switch {
	case c.Rollout.EvalMaxTurns > 0:
		return c.Rollout.EvalMaxTurns
	case c.onGym():
		return c.Rollout.MaxTurns
	}
	return 10
}

// checkTrainTasks reports tasks that cannot be trained on, or not beside the held-out ones.
func (c *Config) checkTrainTasks() error {
	t := &c.Tasks
	switch {
	case t.Train == "":
		return &valueError{"tasks.train", "found none, expected a suite or a file of tasks"}
	case t.Train == "gym:heldout":
		return &valueError{"tasks.train", `found "gym:heldout", which evaluations ask; expected gym:train, its other half`}
	case t.Eval != "" && isGym(t.Train) != isGym(t.Eval):
		return &valueError{"tasks.eval", fmt.Sprintf("found %q beside tasks.train %q, expected both from the gym, which has modules and tools of its own, both from files, or no tasks.eval",
			t.Eval, t.Train)}
	}
	return nil
}

// provider resolves Auto.
func (c *Config) provider(slot string) Provider {
	p := c.Rollout.modules()[slot].Provider
	switch {
	case p != Auto:
		return p
	case !c.onGym():
		return Base
	case slot == rollout.SlotAnalyst:
		return Off
	}
	return Scripted
}

// seconds turns a number of the config into a duration.
func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// Less than minSeconds is 0 as a time.Duration, which would be no limit at all; maxSeconds is what one holds, and more than anyone waits.
const minSeconds, maxSeconds = 1e-9, 1e9

func (c *RolloutConfig) validate() (errs []error) {
	bad := func(key, format string, args ...any) {
		errs = append(errs, &valueError{"rollout." + key, fmt.Sprintf(format, args...)})
	}
	whole := func(key string, found, least int) {
		if found < least || found > math.MaxInt32 {
			bad(key, "found %d, expected a whole number from %d to %d", found, least, math.MaxInt32)
		}
	}
	whole("max_turns", c.MaxTurns, 1)
	whole("eval_max_turns", c.EvalMaxTurns, 0)
	whole("retries", c.Retries, 0)
	whole("solve_retries", c.SolveRetries, 0)
	whole("concurrency", c.Concurrency, 1)
	whole("planner.memory_tokens", c.Planner.MemoryTokens, 0)
	whole("executor.memory_tokens", c.Executor.MemoryTokens, 0)
	whole("verifier.memory_tokens", c.Verifier.MemoryTokens, 0)
	whole("generator.memory_tokens", c.Generator.MemoryTokens, 0)
	whole("tools.passages", c.Tools.Passages, 1)
	for _, k := range []struct {
		key   string
		found float64
	}{{"max_seconds", c.MaxSeconds}, {"call_seconds", c.CallSeconds}, {"tool_seconds", c.ToolSeconds}} {
		if !(k.found >= minSeconds && k.found <= maxSeconds) {
			bad(k.key, "found %v, expected a number of seconds from %v to %v", k.found, minSeconds, maxSeconds)
		}
	}
	for _, slot := range frozenSlots {
		m := c.modules()[slot]
		names := []string{string(Auto), string(Base)}
		if slot != rollout.SlotAnalyst && slot != rollout.SlotJudge {
			names = append(names, string(Scripted))
		}
		if slot == rollout.SlotAnalyst || slot == rollout.SlotVerifier {
			names = append(names, string(Off))
		}
		if !slices.Contains(names, string(m.Provider)) {
			bad(slot+".provider", "found %q, expected %s; did you mean %q?", m.Provider, strings.Join(names, " or "), nearest.Name(string(m.Provider), names))
		}
		whole(slot+".max_tokens", m.MaxTokens, 1)
		if m.Temperature != 0 && !flow.Divides(m.Temperature) {
			bad(slot+".temperature", "found %v, expected 0 (the likeliest token), or more with an inverse that float32 holds", m.Temperature)
		}
	}
	for i, t := range c.Tools.Use {
		if names := toolNames(); !slices.Contains(names, t) {
			bad("tools.use", "found %q, expected some of %s; did you mean %q?", t, strings.Join(names, ", "), nearest.Name(t, names))
		}
		if slices.Contains(c.Tools.Use[:i], t) {
			bad("tools.use", "found %s twice, expected each once", t)
		}
	}
	return errs
}
