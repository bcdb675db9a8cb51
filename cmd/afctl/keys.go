package main

import (
	"reflect"
	"slices"
	"strings"
	"sync"

	"afctl/flow/nearest"
)

// key is one place of Config: a value, or a section of them.
type key struct {
	path  string // dotted, "flow.kl"
	index []int  // of the field, for reflect
	typ   reflect.Type
}

func (k key) section() bool { return k.typ.Kind() == reflect.Struct }

func (k key) value(c *Config) reflect.Value { return reflect.ValueOf(c).Elem().FieldByIndex(k.index) }

// name is the last part of the path.
func (k key) name() string { return k.path[strings.LastIndexByte(k.path, '.')+1:] }

// parent is the path of the section that the key is in; empty at the top level.
func (k key) parent() string { return strings.TrimSuffix(strings.TrimSuffix(k.path, k.name()), ".") }

// depth is 0 for a key of the top level.
func (k key) depth() int { return strings.Count(k.path, ".") }

// configKeys are all keys in the order of the struct, each section before what is in it.
var configKeys = sync.OnceValue(func() []key {
	var keys []key
	var add func(prefix string, index []int, t reflect.Type)
	add = func(prefix string, index []int, t reflect.Type) {
		for f := range t.Fields() {
			k := key{prefix + f.Tag.Get("yaml"), append(index[:len(index):len(index)], f.Index...), f.Type}
			if f.Anonymous { // its keys are the section's own
				add(prefix, k.index, f.Type)
				continue
			}
			keys = append(keys, k)
			if k.section() {
				add(k.path+".", k.index, f.Type)
			}
		}
	}
	add("", nil, reflect.TypeFor[Config]())
	return keys
})

// findKey returns the key of a path.
func findKey(path string) (key, bool) {
	for _, k := range configKeys() {
		if k.path == path {
			return k, true
		}
	}
	return key{}, false
}

// isKey reports whether a path is that of a key.
func isKey(path string) bool {
	_, ok := findKey(path)
	return ok
}

// nearestKey is the key that a reader of an unknown path most likely meant: one that ends in the same name, or the nearest spelling,
// of the name alone where path has no section.
func nearestKey(path string) string {
	last := path[strings.LastIndexByte(path, '.')+1:]
	var paths, names []string
	for _, k := range configKeys() {
		if k.name() == last {
			return k.path
		}
		paths, names = append(paths, k.path), append(names, k.name())
	}
	if last == path {
		return paths[slices.Index(names, nearest.Name(path, names))]
	}
	return nearest.Name(path, paths)
}

// keyHelp says what each key and section means: the comments of `afctl init`. Sources are in flow/PAPERS.md.
var keyHelp = map[string]string{
	"model":     `The planner's model: a Hugging Face folder, or "gym" for the small one in this program.`,
	"adapter":   "A PEFT folder where training starts; empty for a fresh LoRA (see lora below).",
	"trainable": "lora (low-rank matrices beside frozen weights) or full (every weight).",

	"flow":                   "The objective, Flow-GRPO: symbols as in the paper (AgentFlow, arXiv 2510.05592).",
	"flow.group_size":        "G: rollouts of one task, compared with each other.",
	"flow.clip_low":          "Lower clip of the ratio: 1 - clip_low.",
	"flow.clip_high":         "Upper clip of the ratio: 1 + clip_high.",
	"flow.dual_clip":         "Bound c > 1 of the loss where the advantage is negative; 0 is off.",
	"flow.kl":                "Coefficient of the KL to the reference (the model without adapter); 0 is off.",
	"flow.kl_estimator":      "k3 or k2 (a term of the loss), or k1 (taken off the reward).",
	"flow.aggregation":       "Weight of a token: flow, rollout-mean, turn-mean, token-mean or constant.",
	"flow.advantage_std":     "Divide by the deviation of the group's rewards: sample, population or none.",
	"flow.advantage_eps":     "Added to that deviation, in units of reward.",
	"flow.advantage_over":    "Mean and deviation over rollouts, or over turns (an ablation: long rollouts then count more).",
	"flow.temperature":       "Temperature that the planner is sampled at, in training and in evaluation, and of every log-prob.",
	"flow.tis_cap":           "Cap of the truncated importance weight against the sampler's log-probs; 0 is off.",
	"flow.entropy":           "Coefficient of the entropy bonus; 0 is off.",
	"flow.epochs":            "Optimizer steps on the rollouts of one update, each over all of them.",
	"flow.max_action_tokens": "Longest action, in tokens; also the constant of aggregation: constant.",
	"flow.skip_zero_signal":  "Leave out groups whose rewards are all equal (they carry KL only).",

	"optimizer":               "AdamW, with decoupled weight decay.",
	"optimizer.lr":            "Learning rate, per optimizer step.",
	"optimizer.beta1":         "Decay of the mean of gradients.",
	"optimizer.beta2":         "Decay of the mean of squared gradients.",
	"optimizer.eps":           "Added to the root of the latter.",
	"optimizer.weight_decay":  "Shrinks every trained value by lr * weight_decay per step.",
	"optimizer.max_grad_norm": "Gradients are scaled down to this norm over all trained values; 0 is off.",
	"optimizer.schedule":      "constant, linear or cosine (both reach 0 behind the last step).",
	"optimizer.warmup_steps":  "Optimizer steps in which the learning rate rises to its value.",

	"engine":                    "What computes, and in how much memory.",
	"engine.backend":            "cpu, or cuda in builds that have it.",
	"engine.dtype":              "Type of products and activations: f32 or bf16. Sums and what is trained are float32.",
	"engine.threads":            "Worker threads; 0 takes all cores.",
	"engine.micro_batch_tokens": "Tokens computed at once; 0 chooses by the model and what its sequences share. It bounds memory; results depend on it by rounding only.",
	"engine.kv_tokens":          "Tokens in the sampler's key/value cache; 0 takes what 512 MiB hold, 65536 at most. What has no room in it fails; results do not depend on it.",
	"engine.max_batch":          "Completions sampled at once.",

	"lora":         "A fresh adapter.",
	"lora.r":       "Rank of the matrices B A.",
	"lora.alpha":   "The adapter's scale is alpha/r.",
	"lora.targets": "The matrices that are adapted, in every layer: some of q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj.",
	"lora.seed":    "Seed of the first values of A; B is 0.",
	"lora.rslora":  "Scale alpha/sqrt(r) instead.",

	"tasks":             "What is trained on, and what is held out.",
	"tasks.train":       "A suite's name or a file (JSON, JSONL, parquet): question and answer per row.",
	"tasks.eval":        "The same for evaluation; empty for none.",
	"tasks.limit":       "Take so many training tasks at most; 0 takes all, and of the gym new ones without end.",
	"tasks.eval_limit":  "Take so many evaluation tasks at most; 0 takes all, of the gym 500.",
	"tasks.shuffle":     "Take training tasks in random order, newly drawn in each pass.",
	"tasks.seed":        "Seed of that order, and of tasks that are made up (the gym).",
	"tasks.scorer":      "What marks answers in rows that name no scorer: exact, f1, number, choice, yesno, game24 or judge (a model: rollout.judge); auto: as the suite or the row's answer asks for.",
	"tasks.content_ids": "Let rows of a file share an id, as MedQA's do: their contents tell them apart. Else that is an error.",

	"rollout":                         "The agentic system: bounds of one solve, modules, tools.",
	"rollout.max_turns":               "Planner calls of a solve at most, in training.",
	"rollout.eval_max_turns":          "Planner calls of a solve at most, in evaluation; 0 takes max_turns in the gym, else 10.",
	"rollout.max_seconds":             "Seconds that a solve's turns may take together.",
	"rollout.call_seconds":            "Seconds that one call of a model may take.",
	"rollout.tool_seconds":            "Seconds that one call of a tool may take that states no other limit.",
	"rollout.retries":                 "Repetitions of a call after an error that may pass.",
	"rollout.solve_retries":           "Repetitions of a whole solve that failed, before its group goes on without it.",
	"rollout.concurrency":             "Solves at once.",
	"rollout.planner":                 "The trained module.",
	"rollout.planner.prompt":          "A template file in place of the built-in prompt.",
	"rollout.planner.memory_tokens":   "Tokens of memory in its prompt; 0 is no bound.",
	"rollout.analyst":                 "Reads the question once before the first turn.",
	"rollout.analyst.provider":        "auto, base (the model without adapter), or off; auto: off in the gym, else base.",
	"rollout.analyst.prompt":          "A template file in place of the built-in prompt.",
	"rollout.analyst.max_tokens":      "Longest reply, in tokens.",
	"rollout.analyst.temperature":     "Temperature of its sampling; 0 takes the likeliest token.",
	"rollout.executor":                "Turns a sub-goal into a tool's arguments.",
	"rollout.executor.provider":       "auto, scripted (the gym's rules), base (the model without adapter); auto: by rules in the gym, else base.",
	"rollout.executor.prompt":         "A template file in place of the built-in prompt.",
	"rollout.executor.max_tokens":     "Longest reply, in tokens.",
	"rollout.executor.temperature":    "Temperature of its sampling; 0 takes the likeliest token.",
	"rollout.executor.memory_tokens":  "Tokens of memory in a prompt of yours, as the built-in one shows none; 0 is no bound.",
	"rollout.verifier":                "Says after each turn whether memory suffices.",
	"rollout.verifier.provider":       "auto, scripted (the gym's rules), base (the model without adapter), or off; auto: by rules in the gym, else base.",
	"rollout.verifier.prompt":         "A template file in place of the built-in prompt.",
	"rollout.verifier.max_tokens":     "Longest reply, in tokens.",
	"rollout.verifier.temperature":    "Temperature of its sampling; 0 takes the likeliest token.",
	"rollout.verifier.memory_tokens":  "Tokens of memory in its prompt; 0 is no bound.",
	"rollout.generator":               "Gives the answer from memory.",
	"rollout.generator.provider":      "auto, scripted (the gym's rules), base (the model without adapter); auto: by rules in the gym, else base.",
	"rollout.generator.prompt":        "A template file in place of the built-in prompt.",
	"rollout.generator.max_tokens":    "Longest reply, in tokens.",
	"rollout.generator.temperature":   "Temperature of its sampling; 0 takes the likeliest token.",
	"rollout.generator.memory_tokens": "Tokens of memory in its prompt; 0 is no bound.",
	"rollout.judge":                   "Marks the answers of tasks whose scorer is judge: those that no rule can mark.",
	"rollout.judge.provider":          "auto, base (the model without adapter); auto: base.",
	"rollout.judge.prompt":            "A template file in place of the built-in prompt.",
	"rollout.judge.max_tokens":        "Longest reply, in tokens.",
	"rollout.judge.temperature":       "Temperature of its sampling; 0 takes the likeliest token.",
	"rollout.tools":                   "Tools of tasks from files; the gym has its own.",
	"rollout.tools.use":               "Base_Generator, Calculator, Wikipedia_Search, Web_Search; empty takes all that have what they need.",
	"rollout.tools.wikipedia_index":   "Index of Wikipedia_Search, made by afctl index.",
	"rollout.tools.passages":          "Passages that it returns.",
	"rollout.tools.pages":             "Folder of JSON Lines (url, title, text) for Web_Search.",
	"rollout.tools.record":            "File to record every tool result in.",
	"rollout.tools.replay":            "File of recorded results to answer from: no tool is run.",

	"checkpoint":       "What a run can be resumed from.",
	"checkpoint.every": "Optimizer steps between two checkpoints.",
	"checkpoint.keep":  "Newest checkpoints that stay, 2 at least: should one be damaged where it lies, there is another.",

	"run":                "The on-policy loop.",
	"run.dir":            "Folder of the run: config, store, metrics, checkpoints.",
	"run.steps":          "Updates: rollouts, then flow.epochs optimizer steps.",
	"run.tasks_per_step": "Tasks of one update, of flow.group_size rollouts each.",
	"run.eval_every":     "Updates between two evaluations on tasks.eval; 0 evaluates before the first and after the last only.",
	"run.seed":           "Seed of everything that is drawn at random and has none of its own.",
}
