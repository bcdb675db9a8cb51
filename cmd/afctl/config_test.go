package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestStarterConfig: what `afctl init` prints is every key with its default, and every key has an explanation.
func TestStarterConfig(t *testing.T) {
	text := must(t, "init").stdout
	st, err := readSettings(t.Context(), configSource{file: writeFile(t, "afctl.yaml", text)})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(DefaultConfig(), st.Config); d != "" {
		t.Errorf("the starter config is not the defaults:\n%s", d)
	}
	var paths []string
	for _, k := range configKeys() {
		paths = append(paths, k.path)
		if off := "# " + k.name() + ":"; !k.section() && !st.given(k.path) && (st.ineffective(k.path) == "" || !strings.Contains(text, off)) {
			t.Errorf("%s is not in the starter config", k.path)
		}
		if keyHelp[k.path] == "" {
			t.Errorf("%s is not explained", k.path)
		}
	}
	for path := range keyHelp {
		if !slices.Contains(paths, path) {
			t.Errorf("%s is explained, but is no key", path)
		}
	}
	for _, c := range conditions {
		if !slices.Contains(paths, c.key) {
			t.Errorf("%s has a condition, but is no key", c.key)
		}
	}
}

func TestInitKeepsFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.yaml")
	must(t, "init", "--out", path)
	before, _ := os.ReadFile(path)
	if r := afctl(t, "init", "--out", path); r.status != exitFailed || !strings.Contains(r.stderr, path) {
		t.Errorf("a second init: status %d, %q", r.status, r.stderr)
	}
	if after, _ := os.ReadFile(path); string(after) != string(before) {
		t.Error("a second init changed the file")
	}
}

// drawConfig draws a valid config: a random value, within what Validate allows, for some of the keys.
func drawConfig(t *rapid.T) Config {
	c := DefaultConfig()
	text := rapid.StringMatching(`[ -~äß日\n\t]{1,12}`)
	for _, k := range configKeys() {
		if k.section() || !rapid.Bool().Draw(t, k.path+"?") {
			continue
		}
		old := reflect.New(k.typ).Elem()
		v := k.value(&c)
		old.Set(v)
		switch v.Kind() {
		case reflect.String:
			v.SetString(text.Draw(t, k.path))
		case reflect.Bool:
			v.SetBool(rapid.Bool().Draw(t, k.path))
		case reflect.Int:
			v.SetInt(rapid.Int64Range(0, 1<<31-1).Draw(t, k.path))
		case reflect.Uint64:
			v.SetUint(rapid.Uint64().Draw(t, k.path))
		case reflect.Float64:
			v.SetFloat(rapid.OneOf(rapid.Float64Range(0, 2), rapid.Float64Range(0, 1e9), rapid.Float64Range(0, 1e-9)).Draw(t, k.path))
		case reflect.Slice:
			v.Set(reflect.ValueOf(rapid.SliceOfNDistinct(rapid.SampledFrom(DefaultConfig().LoRA.Targets), 1, 4, rapid.ID).Draw(t, k.path)))
		default:
			t.Fatalf("%s: no values for a %s", k.path, v.Kind())
		}
		if c.Validate() != nil {
			v.Set(old)
		}
	}
	return c
}

// TestConfigRoundTrip: what is written reads back the same, with and without comments; what has no effect is left out.
func TestConfigRoundTrip(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	rapid.Check(t, func(t *rapid.T) {
		want := drawConfig(t)
		data := marshalConfig(&want, rapid.Bool().Draw(t, "comments"))
		st := &settings{Config: DefaultConfig(), origin: map[string]string{}}
		if err := st.readYAML(file, data); err != nil {
			t.Fatalf("%v\n%s", err, data)
		}
		if err := st.check(nil); err != nil {
			t.Fatalf("%v\n%s", err, data)
		}
		for _, k := range configKeys() {
			switch {
			case k.section():
			case want.ineffective(k.path) != "":
				if st.given(k.path) {
					t.Errorf("%s was written, but has no effect", k.path)
				}
			case !reflect.DeepEqual(k.value(&want).Interface(), k.value(&st.Config).Interface()):
				t.Errorf("%s: %v, want %v\n%s", k.path, k.value(&st.Config), k.value(&want), data)
			}
		}
		if again := marshalConfig(&st.Config, false); string(again) != string(marshalConfig(&want, false)) {
			t.Errorf("written again it differs:\n%s\n%s", again, data)
		}
	})
}

// configErrors are configs that cannot be meant, with what the message has to say.
var configErrors = []struct {
	name, yaml string
	want       []string
}{
	{"unknown key", "flow:\n  kl_estimater: k3\n", []string{"c.yaml:2:3", "flow.kl_estimater", "flow.kl_estimator"}},
	{"unknown key, abbreviated", "flow:\n  temp: 1\n", []string{"c.yaml:2:3", "flow.temp", "did you mean flow.temperature"}},
	{"unknown key without section", "temprature: 1\n", []string{"c.yaml:1:1", "temprature", "did you mean flow.temperature"}},
	{"unknown section", "optimiser:\n  lr: 1\n", []string{"c.yaml:1:1", "optimiser", "optimizer"}},
	{"key in the wrong section", "model: m\ngroup_size: 4\n", []string{"c.yaml:2:1", "group_size", "flow.group_size"}},
	{"dotted key", "flow.kl: 0.1\n", []string{"c.yaml:1:1", "flow.kl", "expected a section with a key: flow: {kl: ...}"}},
	{"dotted key in a section", "rollout:\n  tools.use: []\n", []string{"c.yaml:2:3", "rollout.tools.use", "tools: {use: ...}"}},
	{"beyond what a count may be", "engine:\n  micro_batch_tokens: 99999999999\n", []string{"c.yaml:2:3", "found 99999999999, expected a whole number from 0 to 2147483647"}},
	{"turns beyond the same", "rollout:\n  max_turns: 99999999999\n", []string{"c.yaml:2:3", "expected a whole number from 1 to 2147483647"}},
	{"a projection twice", "lora:\n  targets: [q_proj, v_proj, q_proj]\n", []string{"c.yaml:2:3", "lora.targets", "found q_proj twice, expected each once"}},
	{"a tool twice", "tasks: {train: a.json, eval: b.json}\nrollout:\n  tools:\n    use: [Calculator, Calculator]\n", []string{"c.yaml:4:5", "rollout.tools.use", "found Calculator twice, expected each once"}},
	{"no limit for no time", "rollout:\n  call_seconds: 1e-12\n", []string{"c.yaml:2:3", "found 1e-12, expected a number of seconds from 1e-09 to 1e+09"}},
	{"tab", "run:\n\tsteps: 1\n", []string{"c.yaml:2:1", `not YAML: found character '\t'`}},
	{"duplicate", "run:\n  steps: 1\n  seed: 2\n  steps: 3\n", []string{"c.yaml:4:3", "steps", "already"}},
	{"wrong type", "flow:\n  kl: often\n", []string{"c.yaml:2:7", "flow.kl", `"often"`, "finite number"}},
	{"string for a number", "flow:\n  kl: \"0.1\"\n", []string{"c.yaml:2:7", "flow.kl"}},
	{"number for a string", "model: 12\n", []string{"c.yaml:1:8", "model", "12", "quotes"}},
	{"fraction for a count", "flow:\n  group_size: 2.5\n", []string{"c.yaml:2:15", "flow.group_size", "2.5", "whole"}},
	{"list for a value", "model: [a]\n", []string{"c.yaml:1:8", "model", "a list"}},
	{"value for a list", "lora:\n  targets: q_proj\n", []string{"c.yaml:2:12", "lora.targets", "list"}},
	{"value for a section", "flow: 3\n", []string{"c.yaml:1:7", "flow"}},
	{"no value", "model:\n", []string{"c.yaml:1:", "model", "empty"}},
	{"nan", "flow:\n  kl: .nan\n", []string{"c.yaml:2:7", "flow.kl", "nan", "finite"}},
	{"NaN as Go reads it", "flow:\n  kl: NaN\n", []string{"c.yaml:2:7", "flow.kl", "finite"}},
	{"inf", "optimizer:\n  lr: .inf\n", []string{"c.yaml:2:7", "optimizer.lr", "inf", "finite"}},
	{"too large", "optimizer:\n  lr: 1e999\n", []string{"c.yaml:2:7", "optimizer.lr", "1e999", "finite"}},
	{"alias", "model: &x a\nadapter: *x\n", []string{"c.yaml:1:", "model"}},
	{"merge key", "<<: {model: a}\n", []string{"c.yaml:1:1", "plain name"}},
	{"two documents", "model: a\n---\nmodel: b\n", []string{"c.yaml:3:", "second document"}},
	{"not YAML", "model: [a\n", []string{"c.yaml:1:", "not YAML"}},
	{"a list of nothing", "- a\n", []string{"c.yaml:1:", "a list"}},
	{"out of range", "flow:\n  clip_low: 1.5\n", []string{"c.yaml:2:3", "flow.clip_low", "1.5", "clip_low < 1"}},
	{"unknown name", "flow:\n  aggregation: flwo\n", []string{"c.yaml:2:3", "flow.aggregation", `"flow"`}},
	{"temperature 0", "flow:\n  temperature: 0\n", []string{"c.yaml:2:3", "flow.temperature"}},
	{"unknown target", "lora:\n  targets: [q_proj, p_proj]\n", []string{"c.yaml:2:3", "lora.targets", `"p_proj"`}},
	{"two errors", "flow:\n  clip_low: 2\nrun:\n  steps: 0\n", []string{"flow.clip_low", "run.steps"}},
	{"estimator without KL", "flow:\n  kl: 0\n  kl_estimator: k3\n", []string{"c.yaml:3:3", "flow.kl_estimator", "flow.kl: 0"}},
	{"eps without deviation", "flow:\n  advantage_std: none\n  advantage_eps: 1e-6\n", []string{"c.yaml:3:3", "flow.advantage_eps", "none"}},
	{"lora with full", "trainable: full\nlora:\n  r: 16\n", []string{"c.yaml:3:3", "lora.r", "trainable: full"}},
	{"adapter with full", "trainable: full\nadapter: a\n", []string{"c.yaml:2:1", "adapter", "trainable: full"}},
	{"lora with adapter", "adapter: a\nlora:\n  seed: 1\n", []string{"c.yaml:3:3", "lora.seed", "adapter"}},
	{"eval_every without eval", "tasks:\n  eval: \"\"\nrun:\n  eval_every: 5\n", []string{"c.yaml:4:3", "run.eval_every", "tasks.eval"}},
	{"tools of the gym", "rollout:\n  tools:\n    passages: 5\n", []string{"c.yaml:3:5", "rollout.tools.passages", "the gym"}},
	{"a reply of rules", "rollout:\n  executor:\n    max_tokens: 9\n", []string{"c.yaml:3:5", "rollout.executor.max_tokens", "without a model", "provider"}},
	{"a reply of nothing", "tasks:\n  train: t.json\nrollout:\n  verifier:\n    provider: off\n    prompt: p.txt\n", []string{"c.yaml:6:5", "rollout.verifier.prompt"}},
	{"too long", "# " + strings.Repeat("x", maxConfigBytes), []string{"c.yaml", "too long"}},
}

func TestConfigErrors(t *testing.T) {
	for _, c := range configErrors {
		t.Run(c.name, func(t *testing.T) {
			r := afctl(t, "update", "--model", "m", "--config", writeFile(t, "c.yaml", c.yaml))
			checkRefusal(t, r, exitUsage, c.want...)
		})
	}
}

// checkRefusal checks an error's status and what its one line says.
func checkRefusal(t *testing.T, r result, status int, want ...string) {
	t.Helper()
	if r.status != status {
		t.Errorf("status %d, want %d", r.status, status)
	}
	lines := strings.Split(strings.TrimSuffix(r.stderr, "\n"), "\n")
	if most := status; len(lines) > most || !strings.HasPrefix(lines[0], "afctl") {
		t.Errorf("not one line (and a hint where the usage is wrong): %q", r.stderr)
	}
	for _, w := range want {
		if !strings.Contains(lines[0], w) {
			t.Errorf("%q does not say %q", r.stderr, w)
		}
	}
	if r.stdout != "" {
		t.Errorf("stdout: %q", r.stdout)
	}
}

// TestSet: --set goes through the same checks, and overrules the file.
func TestSet(t *testing.T) {
	file := writeFile(t, "c.yaml", "model: m\nflow:\n  kl: 0.5\n  kl_estimator: k2\nlora:\n  r: 4\n")
	for _, c := range []struct {
		sets []string
		want map[string]any // keys that differ from the file
	}{
		{[]string{"flow.kl=1e-2"}, map[string]any{"flow.kl": 1e-2}},
		{[]string{"flow.kl=0e-400", "flow.kl_estimator=k3", "flow.kl=1e-300"}, map[string]any{"flow.kl": 1e-300}},
		{[]string{"optimizer.weight_decay=-0.0e5"}, map[string]any{"optimizer.weight_decay": 0.0}},
		{[]string{"flow.kl=1", "flow.kl=2"}, map[string]any{"flow.kl": 2.0}},
		{[]string{"lora.targets=[q_proj, v_proj]"}, map[string]any{"lora.targets": []string{"q_proj", "v_proj"}}},
		{[]string{"model=a=b: c"}, map[string]any{"model": "a=b: c"}},
		{[]string{`model="a"`}, map[string]any{"model": "a"}},
		{[]string{"flow.skip_zero_signal=true"}, map[string]any{"flow.skip_zero_signal": true}},
		{[]string{"lora.seed=18446744073709551615"}, map[string]any{"lora.seed": uint64(1<<64 - 1)}},
		// The gym has its own tools and rules, but not all tasks are its.
		{[]string{"tasks.eval=t.json", "rollout.tools.wikipedia_index=i.db", "rollout.tools.passages=5"}, map[string]any{"rollout.tools.passages": 5}},
		{[]string{"tasks.train=t.json", "rollout.executor.max_tokens=9"}, map[string]any{"rollout.executor.max_tokens": 9}},
		{[]string{"rollout.executor.provider=base", "rollout.executor.max_tokens=9"}, map[string]any{"rollout.executor.max_tokens": 9}},
		// What the file says of an adapter and an estimator is void then, which is no error.
		{[]string{"adapter=x", "flow.kl=0"}, map[string]any{"adapter": "x", "flow.kl": 0.0}},
	} {
		st, err := readSettings(t.Context(), configSource{file: file, sets: c.sets})
		if err != nil {
			t.Errorf("%q: %v", c.sets, err)
			continue
		}
		want := map[string]any{"model": "m", "flow.kl": 0.5}
		maps.Copy(want, c.want)
		for path, w := range want {
			k, _ := findKey(path)
			if got := k.value(&st.Config).Interface(); !reflect.DeepEqual(got, w) {
				t.Errorf("%q: %s is %v, want %v", c.sets, path, got, w)
			}
		}
	}
	for _, c := range []struct {
		sets []string
		want []string
	}{
		{[]string{"flow.kl"}, []string{"--set flow.kl", "="}},
		{[]string{"flow.klestimator=k2"}, []string{"--set flow.klestimator", "flow.kl_estimator"}},
		{[]string{"engine=1"}, []string{"--set engine: found a section", "such as engine.backend"}},
		{[]string{"rollout.tools=1"}, []string{"--set rollout.tools: found a section", "such as rollout.tools.use"}},
		{[]string{"=1"}, []string{"--set"}},
		{[]string{"flow.kl=x"}, []string{"--set flow.kl", `"x"`, "finite number"}},
		{[]string{"flow.kl="}, []string{"--set flow.kl"}},
		{[]string{"flow.kl=.inf"}, []string{"--set flow.kl", "finite number"}},
		{[]string{"flow.kl=-1"}, []string{"--set flow.kl: found -1"}},
		{[]string{"lora.seed=-1"}, []string{"--set lora.seed: found -1, expected a whole number from 0 to 18446744073709551615"}},
		{[]string{"flow.kl=0", "flow.kl_estimator=k2"}, []string{"--set flow.kl_estimator", "flow.kl: 0"}},
		{[]string{"trainable=full", "lora.r=4"}, []string{"--set lora.r", "trainable: full"}},
		{[]string{"run.steps=4"}, []string{"--set run.steps", "no effect on this command"}},
	} {
		_, err := readSettings(t.Context(), configSource{file: file, sets: c.sets, scope: []string{"model", "adapter", "trainable", "flow", "lora"}})
		if err == nil {
			t.Errorf("%q: no error", c.sets)
			continue
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%q: %q does not say %q", c.sets, err, w)
			}
		}
	}
}

// FuzzConfig: no file makes the reader panic, and what it accepts is valid and reads back the same.
func FuzzConfig(f *testing.F) {
	c := DefaultConfig()
	f.Add(string(marshalConfig(&c, false)))
	for _, c := range configErrors[:len(configErrors)-1] {
		f.Add(c.yaml)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1<<12 { // the library takes quadratic time for deep nesting
			t.Skip("longer than a config is")
		}
		st := &settings{Config: DefaultConfig(), origin: map[string]string{}}
		if st.readYAML("c.yaml", []byte(text)) != nil || st.check(nil) != nil {
			return
		}
		if err := st.Validate(); err != nil {
			t.Fatalf("accepted, but %v", err)
		}
		again := &settings{Config: DefaultConfig(), origin: map[string]string{}}
		if err := again.readYAML("c.yaml", marshalConfig(&st.Config, false)); err != nil {
			t.Fatal(err)
		}
	})
}

// TestSchedule: the first step after the warm-up has the whole rate, a decay ends one step short of 0, and none rises.
func TestSchedule(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		steps := rapid.IntRange(1, 50).Draw(t, "steps")
		warmup := rapid.IntRange(0, 60).Draw(t, "warmup")
		for _, s := range []Schedule{Constant, Linear, Cosine} {
			last := 2.0
			for step := 1; step <= steps; step++ {
				f := s.factor(step, warmup, steps)
				switch {
				case !(f > 0 && f <= 1):
					t.Fatalf("%s: step %d: factor %v", s, step, f)
				case step <= warmup && f != float64(step)/float64(warmup):
					t.Fatalf("%s: step %d of the warm-up: factor %v", s, step, f)
				case step == warmup+1 && f != 1:
					t.Fatalf("%s: first step after the warm-up: factor %v", s, f)
				case step > warmup && f > last, s == Constant && step > warmup && f != 1:
					t.Fatalf("%s: step %d: factor %v after %v", s, step, f, last)
				}
				if step > warmup {
					last = f
				}
			}
		}
	})
	for _, c := range []struct {
		s    Schedule
		step int
		want string
	}{{Linear, 5, "0.5000"}, {Linear, 8, "0.1250"}, {Cosine, 5, "0.5000"}, {Cosine, 8, "0.0381"}} {
		if got := fmt.Sprintf("%.4f", c.s.factor(c.step, 0, 8)); got != c.want {
			t.Errorf("%s, step %d of 8: %s, want %s", c.s, c.step, got, c.want)
		}
	}
}

// The configs that come with afctl are accepted as they stand.
func TestConfigsOfBench(t *testing.T) {
	files, err := filepath.Glob("../../bench/configs/*.yaml")
	if err != nil || len(files) < 2 {
		t.Fatalf("found %v, %v", files, err)
	}
	for _, f := range files {
		if _, err := readSettings(t.Context(), configSource{file: f}); err != nil {
			t.Error(err)
		}
	}
}

// afctl init --demo writes the demo's config.
func TestInitDemo(t *testing.T) {
	want, err := os.ReadFile("../../bench/configs/demo.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if got := must(t, "init", "--demo"); got.stdout != string(want) {
		t.Errorf("found %q, expected bench/configs/demo.yaml", got.stdout)
	}
}
