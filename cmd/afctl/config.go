package main

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"

	"afctl/bench/score"
	"afctl/ckpt"
	"afctl/cuda"
	"afctl/engine"
	"afctl/flow"
	"afctl/flow/nearest"
	"afctl/rollout/tools"
)

// Config is the whole configuration of a run. Its YAML keys are the tags; keyHelp says what each means. DefaultConfig has the
// defaults, configread.go reads it, configwrite.go writes it.
type Config struct {
	Model      string           `yaml:"model"`
	Adapter    string           `yaml:"adapter"`
	Trainable  engine.Trainable `yaml:"trainable"`
	Flow       flow.Objective   `yaml:"flow"`
	Optimizer  OptimizerConfig  `yaml:"optimizer"`
	Engine     EngineConfig     `yaml:"engine"`
	LoRA       LoRAConfig       `yaml:"lora"`
	Tasks      TasksConfig      `yaml:"tasks"`
	Rollout    RolloutConfig    `yaml:"rollout"`
	Checkpoint CheckpointConfig `yaml:"checkpoint"`
	Run        RunConfig        `yaml:"run"`
}

// OptimizerConfig is AdamW with its schedule.
type OptimizerConfig struct {
	LR          float64  `yaml:"lr"`
	Beta1       float64  `yaml:"beta1"`
	Beta2       float64  `yaml:"beta2"`
	Eps         float64  `yaml:"eps"`
	WeightDecay float64  `yaml:"weight_decay"`
	MaxGradNorm float64  `yaml:"max_grad_norm"`
	Schedule    Schedule `yaml:"schedule"`
	WarmupSteps int      `yaml:"warmup_steps"`
}

// EngineConfig says what computes, and in how much memory.
type EngineConfig struct {
	Backend          string `yaml:"backend"`
	DType            string `yaml:"dtype"`
	Threads          int    `yaml:"threads"`
	MicroBatchTokens int    `yaml:"micro_batch_tokens"`
	KVTokens         int    `yaml:"kv_tokens"`
	MaxBatch         int    `yaml:"max_batch"`
}

// LoRAConfig describes a fresh adapter.
type LoRAConfig struct {
	R       int      `yaml:"r"`
	Alpha   float64  `yaml:"alpha"`
	Targets []string `yaml:"targets"`
	Seed    uint64   `yaml:"seed"`
	RSLoRA  bool     `yaml:"rslora"`
}

// TasksConfig names what is trained on and what is held out.
type TasksConfig struct {
	Train      string `yaml:"train"`
	Eval       string `yaml:"eval"`
	Limit      int    `yaml:"limit"`
	EvalLimit  int    `yaml:"eval_limit"`
	Shuffle    bool   `yaml:"shuffle"`
	Seed       uint64 `yaml:"seed"`
	Scorer     string `yaml:"scorer"`
	ContentIDs bool   `yaml:"content_ids"`
}

// scorerAuto is the tasks.scorer of rows that each find their own.
const scorerAuto = "auto"

// scorer is the one of rows that name none; empty where each row's is found.
func (t *TasksConfig) scorer() string {
	if t.Scorer == scorerAuto {
		return ""
	}
	return t.Scorer
}

// CheckpointConfig says how often a run can be resumed from.
type CheckpointConfig struct {
	Every int `yaml:"every"`
	Keep  int `yaml:"keep"`
}

// RunConfig is one run of the on-policy loop.
type RunConfig struct {
	Dir          string `yaml:"dir"`
	Steps        int    `yaml:"steps"`
	TasksPerStep int    `yaml:"tasks_per_step"`
	EvalEvery    int    `yaml:"eval_every"`
	Seed         uint64 `yaml:"seed"`
}

// DefaultConfig returns the defaults: Flow-GRPO as AgentFlow trains it, with a LoRA, on the gym.
func DefaultConfig() Config {
	o := engine.DefaultOptimizer()
	return Config{
		Model:     gymModel,
		Trainable: engine.LoRA,
		Flow:      flow.DefaultObjective(),
		Optimizer: OptimizerConfig{LR: o.LR, Beta1: o.Beta1, Beta2: o.Beta2, Eps: o.Eps, WeightDecay: o.WeightDecay,
			MaxGradNorm: o.MaxGradNorm, Schedule: Constant},
		Engine:     EngineConfig{Backend: backendCPU, DType: "f32", MaxBatch: 256},
		LoRA:       LoRAConfig{R: 16, Alpha: 32, Targets: slices.Clone(ckpt.Projections)},
		Tasks:      TasksConfig{Train: "gym:train", Eval: "gym:heldout", Shuffle: true, Scorer: scorerAuto},
		Rollout:    defaultRolloutConfig(),
		Checkpoint: CheckpointConfig{Every: 1, Keep: 3},
		Run:        RunConfig{Dir: "run", Steps: 100, TasksPerStep: 32, EvalEvery: 10},
	}
}

// optimizer returns AdamW's numbers for step (from 1) of steps.
func (c *OptimizerConfig) optimizer(step, steps int) engine.Optimizer {
	return engine.Optimizer{LR: c.LR * c.Schedule.factor(step, c.WarmupSteps, steps), Beta1: c.Beta1, Beta2: c.Beta2, Eps: c.Eps,
		WeightDecay: c.WeightDecay, MaxGradNorm: c.MaxGradNorm}
}

// valueError says which key has a value that it cannot have.
type valueError struct{ key, problem string }

func (e *valueError) Error() string { return e.key + ": " + e.problem }

// Validate reports every value that is out of its range, as *valueErrors joined.
func (c *Config) Validate() error {
	var errs []error
	check := func(ok bool, key string, found any, expected string) {
		if !ok {
			errs = append(errs, &valueError{key, fmt.Sprintf("found %v, expected %s", found, expected)})
		}
	}
	oneOf := func(key, found string, names ...string) {
		if !slices.Contains(names, found) {
			errs = append(errs, &valueError{key, fmt.Sprintf("found %q, expected %s; did you mean %q?",
				found, strings.Join(names, " or "), nearest.Name(found, names))})
		}
	}
	check(c.Model != "", "model", `""`, "the folder of a model, or "+gymModel)
	oneOf("trainable", string(c.Trainable), string(engine.LoRA), string(engine.Full))
	errs = append(errs, flowErrors(c.Flow.Validate())...)

	o := &c.Optimizer
	check(o.LR >= 0, "optimizer.lr", o.LR, "lr >= 0")
	check(o.Beta1 >= 0 && o.Beta1 < 1, "optimizer.beta1", o.Beta1, "0 <= beta1 < 1")
	check(o.Beta2 >= 0 && o.Beta2 < 1, "optimizer.beta2", o.Beta2, "0 <= beta2 < 1")
	held := func(x float64) bool { return float32(x) > 0 && float32(x) <= math.MaxFloat32 }
	check(held(o.Eps), "optimizer.eps", o.Eps, "eps > 0 that float32 holds")
	check(o.WeightDecay >= 0, "optimizer.weight_decay", o.WeightDecay, "weight_decay >= 0")
	check(o.MaxGradNorm == 0 || held(o.MaxGradNorm), "optimizer.max_grad_norm", o.MaxGradNorm, "max_grad_norm > 0 that float32 holds, or 0 for no clip")
	oneOf("optimizer.schedule", string(o.Schedule), string(Constant), string(Linear), string(Cosine))
	atLeast := func(key string, found, least int) {
		check(found >= least && found <= math.MaxInt32, key, found, fmt.Sprintf("a whole number from %d to %d", least, math.MaxInt32))
	}
	atLeast("optimizer.warmup_steps", o.WarmupSteps, 0)

	oneOf("engine.backend", c.Engine.Backend, backendNames...)
	if err := cuda.Available(); err != nil {
		check(c.Engine.Backend != cuda.Backend, "engine.backend", c.Engine.Backend, fmt.Sprintf("%s: %v", backendCPU, err))
	}
	oneOf("engine.dtype", c.Engine.DType, "f32", "bf16")
	check(c.Engine.Threads >= 0 && c.Engine.Threads <= maxThreads, "engine.threads", c.Engine.Threads,
		fmt.Sprintf("1 to %d, or 0 for all cores", maxThreads))
	atLeast("engine.micro_batch_tokens", c.Engine.MicroBatchTokens, 0)
	atLeast("engine.kv_tokens", c.Engine.KVTokens, 0)
	atLeast("engine.max_batch", c.Engine.MaxBatch, 1)

	atLeast("lora.r", c.LoRA.R, 1)
	check(c.LoRA.Alpha > 0 && c.LoRA.Alpha <= math.MaxFloat32, "lora.alpha", c.LoRA.Alpha, "alpha > 0, within float32")
	check(len(c.LoRA.Targets) > 0, "lora.targets", "none", "some of "+strings.Join(ckpt.Projections, ", "))
	for i, t := range c.LoRA.Targets {
		oneOf("lora.targets", t, ckpt.Projections...)
		check(!slices.Contains(c.LoRA.Targets[:i], t), "lora.targets", t+" twice", "each once")
	}

	atLeast("tasks.limit", c.Tasks.Limit, 0)
	atLeast("tasks.eval_limit", c.Tasks.EvalLimit, 0)
	oneOf("tasks.scorer", c.Tasks.Scorer, append([]string{scorerAuto, score.Judge}, score.Names()...)...)
	drawn := fmt.Sprintf("at most %d of the gym's tasks", maxGymTasks)
	check(!isGym(c.Tasks.Train) || c.Tasks.Limit <= maxGymTasks, "tasks.limit", c.Tasks.Limit, drawn)
	check(!isGym(c.Tasks.Eval) || c.Tasks.EvalLimit <= maxGymTasks, "tasks.eval_limit", c.Tasks.EvalLimit, drawn)
	errs = append(errs, c.Rollout.validate()...)
	atLeast("checkpoint.every", c.Checkpoint.Every, 1)
	atLeast("checkpoint.keep", c.Checkpoint.Keep, ckpt.MinKeep)
	check(c.Run.Dir != "", "run.dir", `""`, "a folder")
	atLeast("run.steps", c.Run.Steps, 1)
	atLeast("run.tasks_per_step", c.Run.TasksPerStep, 1)
	check(c.Flow.GroupSize <= maxRollouts, "flow.group_size", c.Flow.GroupSize, fmt.Sprintf("at most %d rollouts of a task", maxRollouts))
	check(c.Flow.GroupSize > maxRollouts || c.Run.TasksPerStep <= maxRollouts/max(1, c.Flow.GroupSize), "run.tasks_per_step", c.Run.TasksPerStep,
		fmt.Sprintf("at most %d rollouts in an update, with flow.group_size %d", maxRollouts, c.Flow.GroupSize))
	atLeast("run.eval_every", c.Run.EvalEvery, 0)
	return errors.Join(errs...)
}

// What is held in memory at once is bounded: tasks that are drawn for a fixed set, and solves that are begun together. Both are far above what
// any measurement needs.
const (
	maxGymTasks = 100_000
	maxRollouts = 1 << 20
)

// maxThreads bounds the threads of products, which wait for one another: many more than there are cores only get in each other's way.
var maxThreads = max(64, 4*runtime.NumCPU())

// flowErrors takes flow's joined errors, each of which begins with its key, apart.
func flowErrors(err error) []error {
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) {
		return nil
	}
	var errs []error
	for _, e := range joined.Unwrap() {
		key, problem, _ := strings.Cut(e.Error(), ": ")
		errs = append(errs, &valueError{key, cmp.Or(problem, e.Error())})
	}
	return errs
}

// condition is what a key needs to have an effect.
type condition struct {
	key  string // or section
	need func(c *Config) bool
	with string // the setting under which it has none
}

// conditions list the keys that have no effect beside some values of others. A fresh adapter's numbers and an adapter from a folder
// exclude each other, as do both and full training.
var conditions = append([]condition{
	{"adapter", func(c *Config) bool { return c.Trainable != engine.Full }, "trainable: full"},
	{"lora", func(c *Config) bool { return c.Trainable != engine.Full }, "trainable: full"},
	{"lora", func(c *Config) bool { return c.Adapter == "" }, "an adapter, whose r, alpha and targets hold"},
	{"flow.kl_estimator", func(c *Config) bool { return c.Flow.KL != 0 }, "flow.kl: 0"},
	{"flow.advantage_eps", func(c *Config) bool { return c.Flow.AdvantageStd != flow.StdNone }, "flow.advantage_std: none"},
	{"run.eval_every", func(c *Config) bool { return c.Tasks.Eval != "" }, "no tasks.eval"},
	{"rollout.eval_max_turns", func(c *Config) bool { return c.Tasks.Eval != "" }, "no tasks.eval"},
	{"tasks.eval_limit", func(c *Config) bool { return c.Tasks.Eval != "" }, "no tasks.eval"},
	{"tasks.shuffle", func(c *Config) bool { return !isGym(c.Tasks.Train) }, "tasks.train: gym:train, which draws its tasks at random"},
	{"tasks.seed", func(c *Config) bool { return isGym(c.Tasks.Train) || isGym(c.Tasks.Eval) || c.Tasks.Shuffle }, "tasks from files in their order"},
	{"tasks.scorer", func(c *Config) bool { return !c.onlyGym() }, "tasks of the gym, which name theirs"},
	{"tasks.content_ids", func(c *Config) bool { return !c.onlyGym() }, "tasks of the gym, which have ids of their own"},
	{"rollout.max_turns", func(c *Config) bool { return c.Tasks.Train != "" || c.onGym() && c.Rollout.EvalMaxTurns == 0 },
		"an evaluation that goes by rollout.eval_max_turns, 10 unless given"},
	{"rollout.judge", func(c *Config) bool { return !c.onlyGym() }, "tasks of the gym, which rules mark"},
	{"rollout.executor.memory_tokens", func(c *Config) bool { return c.Rollout.Executor.Prompt != "" }, "the built-in rollout.executor.prompt, which shows no memory"},
	{"rollout.tools", func(c *Config) bool { return !c.onlyGym() }, "tasks of the gym, which has its own tools"},
	{"rollout.tools.record", func(c *Config) bool { return c.Rollout.Tools.Replay == "" }, "rollout.tools.replay: no tool is run"},
	{"rollout.tools.wikipedia_index", func(c *Config) bool { return c.Rollout.Tools.may(tools.NameWikipediaSearch) }, "rollout.tools.use without Wikipedia_Search"},
	{"rollout.tools.passages", func(c *Config) bool { return c.Rollout.Tools.uses(tools.NameWikipediaSearch) }, "no Wikipedia_Search (rollout.tools.wikipedia_index)"},
	{"rollout.tools.pages", func(c *Config) bool { return c.Rollout.Tools.may(tools.NameWebSearch) }, "rollout.tools.use without Web_Search"},
}, moduleConditions()...)

// moduleConditions are those of the frozen modules: what shapes a model's reply is for modules that ask a model.
func moduleConditions() (list []condition) {
	for _, slot := range frozenSlots {
		for _, name := range []string{"prompt", "max_tokens", "temperature", "memory_tokens"} {
			path := "rollout." + slot + "." + name
			if isKey(path) { // not all modules read memory
				list = append(list, condition{path, func(c *Config) bool { return c.mayAskModel(slot) }, "a module without a model (see provider)"})
			}
		}
	}
	return list
}

// onlyGym reports whether no task can come from elsewhere than the gym. Which tasks are solved is for the command to say: of a config for
// train and eval, both may be.
func (c *Config) onlyGym() bool {
	return (c.Tasks.Train == "" || isGym(c.Tasks.Train)) && (c.Tasks.Eval == "" || isGym(c.Tasks.Eval))
}

// mayAskModel reports whether there are tasks for which a frozen module is a model.
func (c *Config) mayAskModel(slot string) bool {
	p := c.Rollout.modules()[slot].Provider
	return p == Base || p == Auto && !c.onlyGym()
}

// effective returns the config with defaults in place of what has no effect: as it is read again from the file that it is written to.
func (c *Config) effective() Config {
	k, d := *c, DefaultConfig()
	for _, key := range configKeys() {
		if !key.section() && c.ineffective(key.path) != "" {
			key.value(&k).Set(key.value(&d))
		}
	}
	return k
}

// ineffective returns the setting under which a key has no effect in c; "" where it has one.
func (c *Config) ineffective(key string) string {
	for _, k := range conditions {
		if (key == k.key || strings.HasPrefix(key, k.key+".")) && !k.need(c) {
			return k.with
		}
	}
	return ""
}
