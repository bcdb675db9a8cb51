package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
)

const configs = "../configs"

// flat decodes a config into its values by dotted key.
func flat(t *testing.T, name string) map[string]string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(configs, name))
	if err != nil {
		t.Fatal(err)
	}
	var tree map[string]any
	if err := yaml.Unmarshal(data, &tree); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	out := map[string]string{}
	var walk func(prefix string, m map[string]any)
	walk = func(prefix string, m map[string]any) {
		for k, v := range m {
			if sub, ok := v.(map[string]any); ok {
				walk(prefix+k+".", sub)
			} else {
				out[prefix+k] = fmt.Sprint(v)
			}
		}
	}
	walk("", tree)
	return out
}

// varies is all that the config of an arm has other than demo.yaml.
var varies = map[string]map[string]string{
	"sft":            {},
	"turn-advantage": {"flow.advantage_over": "turns"},
	"no-kl":          {"flow.kl": "0"},
	"group-2":        {"flow.group_size": "2", "run.tasks_per_step": "128"},
	"group-4":        {"flow.group_size": "4", "run.tasks_per_step": "64"},
	"group-16":       {"flow.group_size": "16", "run.tasks_per_step": "16"},
	"turns-1":        {"rollout.max_turns": "1"},
	"turns-2":        {"rollout.max_turns": "2"},
	"no-verifier":    {"rollout.verifier.provider": "off"},
}

// An ablation changes the one thing that it is named for: whatever demo.yaml becomes, its arms follow.
func TestConfigsDifferFromTheDemoInOneThing(t *testing.T) {
	demo := flat(t, "demo.yaml")
	for arm, change := range varies {
		want := maps.Clone(demo)
		maps.Copy(want, change)
		if d := cmp.Diff(want, flat(t, configName(arm))); d != "" {
			t.Errorf("%s (-demo.yaml with its change, +found):\n%s", configName(arm), d)
		}
	}
	if demo["rollout.eval_max_turns"] != "3" || demo["rollout.max_turns"] != "3" {
		t.Errorf("demo.yaml has %s turns in training and %s in evaluation: labels of the ablations say 3", demo["rollout.max_turns"], demo["rollout.eval_max_turns"])
	}
	if demo["flow.group_size"] != "8" {
		t.Errorf("demo.yaml has groups of %s: a label of the ablations says 8", demo["flow.group_size"])
	}
}

// Arms of the group sizes are compared at the same number of rollouts per update.
func TestGroupSizesTakeTheSameRollouts(t *testing.T) {
	list, err := choose([]string{"group"})
	if err != nil {
		t.Fatal(err)
	}
	products := map[int]bool{}
	for _, arm := range arms(list) {
		var g, n int
		c := flat(t, configName(arm))
		if _, err := fmt.Sscan(c["flow.group_size"]+" "+c["run.tasks_per_step"], &g, &n); err != nil {
			t.Fatal(err)
		}
		products[g*n] = true
	}
	if len(products) != 1 {
		t.Errorf("rollouts per update: %v, expected one number", slices.Collect(maps.Keys(products)))
	}
}

// Every config is an arm of some ablation, every arm has a config and a change that a test knows, and each is run once.
func TestArmsAndConfigsAgree(t *testing.T) {
	all := arms(ablations)
	if n := len(slices.Compact(slices.Sorted(slices.Values(all)))); n != len(all) {
		t.Errorf("arms %v: one is run twice", all)
	}
	files, err := filepath.Glob(filepath.Join(configs, "ablation-*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var found, want []string
	for _, f := range files {
		found = append(found, filepath.Base(f))
	}
	for _, arm := range all {
		if arm != demoArm {
			want = append(want, configName(arm))
			if _, ok := varies[arm]; !ok {
				t.Errorf("arm %s: nothing is known of its change", arm)
			}
		}
	}
	slices.Sort(want)
	if d := cmp.Diff(want, found); d != "" {
		t.Errorf("configs (-arms, +files):\n%s", d)
	}
}

func TestChoose(t *testing.T) {
	list, err := choose([]string{"verifier", "kl"})
	if err != nil || len(list) != 2 || list[0].Name != "kl" || !slices.Equal(arms(list), []string{demoArm, "no-kl", "no-verifier"}) {
		t.Errorf("choose: %v, %v", list, err)
	}
	if _, err := choose([]string{"kll"}); err == nil || !strings.Contains(err.Error(), `"kll"`) || !strings.Contains(err.Error(), "verifier") {
		t.Errorf("an unknown name: %v, expected it and the known ones", err)
	}
}

func TestPlan(t *testing.T) {
	c, err := readArmConfig(filepath.Join(configs, "ablation-sft.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := plan("no-kl", "no-kl.yaml", c, setting{Model: "m", Steps: 3, EvalTasks: 20}, 7, "d")
	if err != nil {
		t.Fatal(err)
	}
	want := []command{{Args: strings.Fields("train --run d/run --config no-kl.yaml --model m --set run.seed=7 --set tasks.eval_limit=20 --steps 3"),
		Resume: strings.Fields("train --resume --run d/run"), Started: "d/run/config.yaml", Folder: "d/run"}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	// As many tasks as an online run of the same steps sees, drawn by the same seed; the options of SFT are those it has.
	c.Tasks.Seed = 11
	if got, err = plan(sftArm, "sft.yaml", c, setting{Steps: 3}, 7, "d"); err != nil {
		t.Fatal(err)
	}
	want = []command{
		{Args: strings.Fields("eval --out d/before --config sft.yaml --set run.seed=7"), Product: "d/before/eval.json"},
		{Demos: &demos{"d/demos.jsonl", 3 * c.Run.TasksPerStep, 11}, Product: "d/demos.jsonl"},
		{Args: strings.Fields("sft --data d/demos.jsonl --out d/adapter --epochs 1 --batch-size 32 --seed 7 --config sft.yaml"), Product: "d/adapter"},
		{Args: strings.Fields("eval --out d/after --config sft.yaml --set run.seed=7 --adapter d/adapter"), Product: "d/after/eval.json"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	c.Tasks.Train = "aime24.json"
	if _, err := plan(sftArm, "sft.yaml", c, setting{}, 7, "d"); err == nil || !strings.Contains(err.Error(), "aime24.json") {
		t.Errorf("demonstrations for tasks of a file: %v, expected an error that names it", err)
	}
}

func TestParseSeeds(t *testing.T) {
	if got, err := parseSeeds("3, 1,18446744073709551615"); err != nil || !slices.Equal(got, []uint64{3, 1, 1<<64 - 1}) {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "1,1", "-1", "x", "1.5"} {
		if got, err := parseSeeds(bad); err == nil {
			t.Errorf("--seeds %q: %v, expected an error", bad, got)
		}
	}
}
