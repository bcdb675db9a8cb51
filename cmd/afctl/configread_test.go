package main

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

// TestFileBesideCommandLine: a key of the file is judged with the command line: it is in order where that brings what it needs, void where that takes
// it away, and an error where it has no effect either way.
func TestFileBesideCommandLine(t *testing.T) {
	const index = "rollout:\n  tools:\n    wikipedia_index: wiki.db\n"
	eval := func(c *Config) { c.Tasks.Train = "" }
	for _, c := range []struct {
		text, key string
		sets      []string
		flags     []assignment
		own       func(c *Config)
		want      []string // nil: the key holds
	}{
		{index, "rollout.tools.wikipedia_index", nil, []assignment{{"--suite", "tasks.eval", "t.jsonl"}}, eval, nil},
		{index, "rollout.tools.wikipedia_index", []string{"tasks.train=t.jsonl", "tasks.eval="}, nil, nil, nil},
		{index, "rollout.tools.wikipedia_index", nil, []assignment{{"--suite", "tasks.eval", "gym"}}, eval, []string{"c.yaml:3:5", "tasks of the gym"}},
		{index, "rollout.tools.wikipedia_index", nil, nil, nil, []string{"c.yaml:3:5", "tasks of the gym"}},
		{"flow:\n  kl: 0\n  kl_estimator: k2\n", "flow.kl_estimator", []string{"flow.kl=1"}, nil, nil, nil},
		{"flow:\n  kl: 0\n  kl_estimator: k2\n", "flow.kl_estimator", []string{"lora.r=2"}, nil, nil, []string{"c.yaml:3:3", "flow.kl: 0"}},
		{"lora:\n  r: 2\ntrainable: full\n", "lora.r", nil, []assignment{{"--adapter", "adapter", "a"}}, nil, []string{"lora.r", "trainable: full"}},
	} {
		st, err := readSettings(t.Context(), configSource{file: writeFile(t, "c.yaml", c.text), sets: c.sets, flags: c.flags, own: c.own})
		if c.want == nil {
			if err != nil || !st.given(c.key) {
				t.Errorf("%q, %q %v: %v; %s is expected to hold", c.text, c.sets, c.flags, err, c.key)
			}
			continue
		}
		var usage *usageError
		if !errors.As(err, &usage) {
			t.Errorf("%q, %q %v: %v", c.text, c.sets, c.flags, err)
			continue
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%q, %q %v: %q does not say %q", c.text, c.sets, c.flags, err, w)
			}
		}
	}
}

// TestDirective: a directive before the document is none itself.
func TestDirective(t *testing.T) {
	if s, err := readSettings(t.Context(), configSource{file: writeFile(t, "c.yaml", "%YAML 1.2\n---\nlora:\n  r: 3\n")}); err != nil || s.LoRA.R != 3 {
		t.Error(err)
	}
	if _, err := readSettings(t.Context(), configSource{file: writeFile(t, "c.yaml", "%YAML 1.2\n---\nmodel: a\n---\nmodel: b\n")}); err == nil || !strings.Contains(err.Error(), "second document") {
		t.Error(err)
	}
}

// TestGroupSizeOfUpdate: an update's groups are those of its file: no number of tasks bounds flow.group_size.
func TestGroupSizeOfUpdate(t *testing.T) {
	must(t, "update", "--model", tinyModel(t, true, "F32"), "--trajectories", writeFile(t, "t.jsonl", strings.Join(tinyTrajectories(1, 1, 2), "")),
		"--out", filepath.Join(t.TempDir(), "o"), "--set", "flow.group_size=1000000")
}

// TestEmptySection: a section whose keys are all comments is one without keys; one that is null in words is none.
func TestEmptySection(t *testing.T) {
	for _, text := range []string{"flow:\n  # kl: 0\nrun:\n  steps: 3\n", "run:\n  steps: 3\nrollout:\n  tools:\n", "flow:\n\nrun: {steps: 3}"} {
		if s, err := readSettings(t.Context(), configSource{file: writeFile(t, "c.yaml", text)}); err != nil || s.Run.Steps != 3 {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{"flow: null\n", "flow: ~\n", "flow: 3\n", "run:\n  steps:\n"} {
		if _, err := readSettings(t.Context(), configSource{file: writeFile(t, "c.yaml", text)}); err == nil || !strings.Contains(err.Error(), "c.yaml:") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
