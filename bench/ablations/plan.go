package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
)

// ablation compares arms that differ in one thing.
type ablation struct {
	Name, Title, Note string
	Arms              []labelled
}

// labelled is an arm under the name that it has in one ablation's table.
type labelled struct{ Label, Arm string }

// Names of arms: demoArm is bench/configs/demo.yaml, the others ablation-NAME.yaml beside it.
const (
	demoArm = "demo"
	sftArm  = "sft" // trained by afctl sft; all others by afctl train
)

// ablations are all that there are, in the order in which they are shown.
var ablations = []ablation{
	{"sft", "Online Flow-GRPO or SFT on a teacher's demonstrations of the same tasks", "SFT sees one demonstration of each task, one pass, a LoRA of the same rank.",
		[]labelled{{"Flow-GRPO", demoArm}, {"SFT", sftArm}}},
	{"advantage", "Advantages over rollouts or over turns", "", []labelled{{"over rollouts", demoArm}, {"over turns", "turn-advantage"}}},
	{"kl", "KL to the reference", "", []labelled{{"on", demoArm}, {"off", "no-kl"}}},
	{"group", "Group size, with the same number of rollouts per update", "Smaller groups see more tasks.",
		[]labelled{{"G = 2", "group-2"}, {"G = 4", "group-4"}, {"G = 8", demoArm}, {"G = 16", "group-16"}}},
	{"turns", "Turns at most in training", "Evaluation has 3 turns in every arm.",
		[]labelled{{"1 turn", "turns-1"}, {"2 turns", "turns-2"}, {"3 turns", demoArm}}},
	{"verifier", "Verifier", "Off is off in evaluation too: every solve takes all its turns.", []labelled{{"on", demoArm}, {"off", "no-verifier"}}},
}

// choose returns the ablations of these names, in their own order; all for none.
func choose(names []string) ([]ablation, error) {
	if len(names) == 0 {
		return ablations, nil
	}
	var known []string
	for _, a := range ablations {
		known = append(known, a.Name)
	}
	for _, n := range names {
		if !slices.Contains(known, n) {
			return nil, fmt.Errorf("--only: found %q, expected some of %s", n, strings.Join(known, ", "))
		}
	}
	return slices.DeleteFunc(slices.Clone(ablations), func(a ablation) bool { return !slices.Contains(names, a.Name) }), nil
}

// arms are those that the ablations need, each once, in the order of first use.
func arms(list []ablation) []string {
	var names []string
	for _, a := range list {
		for _, l := range a.Arms {
			if !slices.Contains(names, l.Arm) {
				names = append(names, l.Arm)
			}
		}
	}
	return names
}

// configName is the file of an arm in the folder of configs.
func configName(arm string) string {
	if arm == demoArm {
		return "demo.yaml"
	}
	return "ablation-" + arm + ".yaml"
}

// armConfig is what the plan needs of a config.
type armConfig struct {
	Tasks struct {
		Train string `yaml:"train"`
		Seed  uint64 `yaml:"seed"`
		Limit int    `yaml:"limit"`
	} `yaml:"tasks"`
	Run struct {
		Steps        int `yaml:"steps"`
		TasksPerStep int `yaml:"tasks_per_step"`
	} `yaml:"run"`
}

func readArmConfig(path string) (c armConfig, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return c, err
	}
	if err := yaml.Unmarshal(data, &c); err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	if c.Run.Steps < 1 || c.Run.TasksPerStep < 1 {
		return c, fmt.Errorf("%s: found run.steps %d and run.tasks_per_step %d, expected both given", path, c.Run.Steps, c.Run.TasksPerStep)
	}
	return c, nil
}

// trainingTasks is how many tasks a run sees: the gym's are distinct.
func (c *armConfig) trainingTasks(s setting) int {
	return cmp.Or(s.Steps, c.Run.Steps) * c.Run.TasksPerStep
}

// setting is what the runs of one call have in common; zero values leave the config's.
type setting struct {
	Model     string `json:"model,omitzero"`
	Steps     int    `json:"steps,omitzero"`
	EvalTasks int    `json:"eval_tasks,omitzero"`
}

// command is one step of an arm: a call of afctl, or the making of demonstrations.
type command struct {
	Args  []string // of afctl; nil: make Demos
	Demos *demos

	// Product is there when the command is done; empty where the command itself sees that nothing is left to do. Where Started is there,
	// Resume goes on with Folder, which is otherwise a torn beginning.
	Product, Started, Folder string
	Resume                   []string
}

// demos describes the demonstrations of an arm.
type demos struct {
	Path  string
	Tasks int    // of the gym's training half
	Seed  uint64 // that they are drawn by: the run's tasks.seed
}

// Files in an arm's folder. Those of run, before and after are afctl's.
const (
	runDir    = "run"
	beforeDir = "before"
	afterDir  = "after"
	adapter   = "adapter"
	demosFile = "demos.jsonl"
	evalFile  = "eval.json"
)

// sftBatch is the completions of an SFT step: with 1.4 turns a task, about as many steps as the demo has updates.
const sftBatch = 32

// plan lists the commands of an arm's run.
func plan(arm, config string, c armConfig, s setting, seed uint64, dir string) ([]command, error) {
	in := func(name ...string) string { return filepath.Join(append([]string{dir}, name...)...) }
	number := strconv.FormatUint(seed, 10)
	common := []string{"--config", config}
	if s.Model != "" {
		common = append(common, "--model", s.Model)
	}
	full := append(slices.Clip(common), "--set", "run.seed="+number)
	if s.EvalTasks > 0 {
		full = append(full, "--set", "tasks.eval_limit="+strconv.Itoa(s.EvalTasks))
	}
	full = slices.Clip(full)
	if arm != sftArm {
		args := append([]string{"train", "--run", in(runDir)}, full...)
		if s.Steps > 0 {
			args = append(args, "--steps", strconv.Itoa(s.Steps))
		}
		return []command{{Args: args, Resume: []string{"train", "--resume", "--run", in(runDir)}, Started: in(runDir, "config.yaml"), Folder: in(runDir)}}, nil
	}
	if c.Tasks.Train != "gym:train" || c.Tasks.Limit != 0 {
		return nil, fmt.Errorf("%s: found tasks.train %q with limit %d, expected gym:train without: the teacher knows only the gym", config, c.Tasks.Train, c.Tasks.Limit)
	}
	evaluate := func(name string, more ...string) command {
		args := append([]string{"eval", "--out", in(name)}, full...)
		return command{Args: append(args, more...), Product: in(name, evalFile)}
	}
	return []command{
		evaluate(beforeDir),
		{Demos: &demos{in(demosFile), c.trainingTasks(s), c.Tasks.Seed}, Product: in(demosFile)},
		{Args: append([]string{"sft", "--data", in(demosFile), "--out", in(adapter), "--epochs", "1", "--batch-size", strconv.Itoa(sftBatch), "--seed", number}, common...),
			Product: in(adapter)},
		evaluate(afterDir, "--adapter", in(adapter)),
	}, nil
}
