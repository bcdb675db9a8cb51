package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// fakeAfctl notes what it is called with, and makes what afctl makes, as far as a runner looks at it.
type fakeAfctl struct {
	calls []string
	fail  string // the command that is killed, once
}

var errKilled = errors.New("killed")

func (f *fakeAfctl) call(_ context.Context, args []string) error {
	f.calls = append(f.calls, strings.Join(args, " "))
	after := func(flag string) string { return args[slices.Index(args, flag)+1] }
	var makes []string
	switch args[0] {
	case "train":
		makes = []string{filepath.Join(after("--run"), "config.yaml")}
	case "sft":
		makes = []string{after("--out") + "/adapter_config.json"}
	case "eval":
		makes = []string{filepath.Join(after("--out"), "run.db"), filepath.Join(after("--out"), evalFile)}
	}
	var err error
	if args[0] == f.fail {
		f.fail, err = "", errKilled
		f.calls = append(f.calls, "killed")
		makes = makes[:1]
		if args[0] == "sft" {
			makes = nil // its folder appears whole or not at all
		}
	}
	for _, path := range makes {
		err = errors.Join(err, makeFile(path))
	}
	return err
}

func makeFile(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	return os.WriteFile(path, []byte("{}\n"), 0o666)
}

func newRunner(t *testing.T, f *fakeAfctl) *runner {
	return &runner{configs: configs, out: t.TempDir(), setting: setting{Steps: 1}, call: f.call, log: io.Discard}
}

// kinds are the commands that were called, train --resume told from train.
func kinds(calls []string) string {
	var out []string
	for _, c := range calls {
		word, _, _ := strings.Cut(c, " ")
		if strings.Contains(c, "--resume") {
			word = "resume"
		}
		out = append(out, word)
	}
	return strings.Join(out, " ")
}

// An arm that was stopped at any command goes on there, a finished one is left alone.
func TestArmGoesOn(t *testing.T) {
	for _, c := range []struct{ arm, fail, want string }{
		{"no-kl", "", "train"},
		{"no-kl", "train", "train killed resume"},
		{sftArm, "", "eval sft eval"},
		{sftArm, "eval", "eval killed eval sft eval"},
		{sftArm, "sft", "eval sft killed sft eval"},
	} {
		f := &fakeAfctl{fail: c.fail}
		r := newRunner(t, f)
		err := r.arm(t.Context(), c.arm, 5)
		if c.fail != "" {
			if !errors.Is(err, errKilled) || !strings.Contains(err.Error(), r.dir(c.arm, 5)) {
				t.Fatalf("%s with %s killed: %v, expected an error that names the folder", c.arm, c.fail, err)
			}
			err = r.arm(t.Context(), c.arm, 5)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := r.arm(t.Context(), c.arm, 5); err != nil {
			t.Fatal(err)
		}
		if got := kinds(f.calls); got != c.want {
			t.Errorf("%s, %q killed: called %s, expected %s", c.arm, c.fail, got, c.want)
		}
	}
}

// A run folder without a config is a torn beginning, which afctl train would not write over.
func TestTornBeginningIsStartedAnew(t *testing.T) {
	f := &fakeAfctl{}
	r := newRunner(t, f)
	torn := filepath.Join(r.dir("no-kl", 5), runDir, ".tmp-config")
	if err := os.MkdirAll(torn, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := r.arm(t.Context(), "no-kl", 5); err != nil {
		t.Fatal(err)
	}
	if found, err := exists(torn); found || err != nil || kinds(f.calls) != "train" {
		t.Errorf("called %s, torn beginning there: %v, %v", kinds(f.calls), found, err)
	}
}

// Results of one setting are not taken for those of another, finished or not.
func TestOtherSettingsAreRefused(t *testing.T) {
	for _, fail := range []string{"", "train"} {
		f := &fakeAfctl{fail: fail}
		r := newRunner(t, f)
		if err := r.arm(t.Context(), "no-kl", 5); (err != nil) != (fail != "") {
			t.Fatal(err)
		}
		r.setting.Steps = 2
		if err := r.arm(t.Context(), "no-kl", 5); !errors.Is(err, errSettings) {
			t.Errorf("other steps: %v, expected errSettings", err)
		}
		r.setting.Steps = 1
		r.configs = t.TempDir()
		text, err := os.ReadFile(filepath.Join(configs, configName("no-kl")))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(r.configs, configName("no-kl")), append(text, "checkpoint: {}\n"...), 0o666); err != nil {
			t.Fatal(err)
		}
		if err := r.arm(t.Context(), "no-kl", 5); !errors.Is(err, errSettings) {
			t.Errorf("a config that was edited: %v, expected errSettings", err)
		}
	}
}
