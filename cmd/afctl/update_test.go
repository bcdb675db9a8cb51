package main

import (
	"context"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"afctl/ckpt"
	"afctl/flow"
)

// invariance is how far results may lie apart, relative to the value (of a tensor: its length), where only the order of float32 sums
// differs; metrics are differences of terms of size 1, which float32 knows to invarianceFloor.
const (
	invariance      = 1e-5
	invarianceFloor = 2e-7
)

// trainedOutput is what an update left: its metrics without clock readings, its tensors, and the bytes of their file.
type trainedOutput struct {
	metrics []map[string]any
	tensors map[string][]float32
	file    string
}

func updateOutput(t *testing.T, args ...string) trainedOutput {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out")
	must(t, append([]string{"update", "--out", out, "--steps", "3", "--set", "optimizer.lr=0.003", "--set", "flow.kl=0.1", "--set", "flow.entropy=0.01"}, args...)...)
	o := trainedOutput{metrics: readLines[map[string]any](t, filepath.Join(out, metricsFile)), tensors: map[string][]float32{}}
	for _, m := range o.metrics {
		for k := range m {
			if strings.HasPrefix(k, "seconds/") || k == "tokens_per_second" || k == "forest/tokens" {
				delete(m, k)
			}
		}
	}
	w, err := openTensors(out)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for _, name := range w.Names() {
		o.tensors[name] = floats(t, w, name)
	}
	files, err := filepath.Glob(filepath.Join(out, "*.safetensors"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v: expected one file of tensors", files, err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	o.file = string(data)
	return o
}

// check compares with another output: bit for bit, or within invariance.
func (o trainedOutput) check(t *testing.T, what string, want trainedOutput, exact bool) {
	t.Helper()
	tolerance, floor := invariance, invarianceFloor
	if exact {
		tolerance, floor = 0, 0
	}
	if exact && o.file != want.file {
		t.Errorf("%s: the file of tensors has other bytes", what)
	}
	for i, m := range want.metrics {
		for k, w := range m {
			g := o.metrics[i][k]
			x, ok := w.(float64)
			y, also := g.(float64)
			if ok != also || ok && !(math.Abs(x-y) <= tolerance*math.Abs(x)+floor) || !ok && g != w {
				t.Errorf("%s: step %d: %s is %v, was %v", what, i+1, k, g, w)
			}
		}
	}
	for name, w := range want.tensors {
		g := o.tensors[name]
		var apart, length float64
		for i := range w {
			d := float64(g[i]) - float64(w[i])
			apart, length = apart+d*d, length+float64(w[i])*float64(w[i])
		}
		if !(apart <= tolerance*tolerance*length) {
			t.Errorf("%s: %s is off by %.2g of its length", what, name, math.Sqrt(apart/length))
		}
	}
}

// TestUpdateInvariance: the order of lines, the micro-batches and the threads change nothing but rounding; the same call gives the same
// bytes.
func TestUpdateInvariance(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
	}{
		{"lora", []string{"--model", tinyModel(t, true, ckpt.F32), "--set", "lora.seed=3"}},
		{"adapter", []string{"--model", tinyModel(t, false, ckpt.BF16), "--adapter", tinyAdapter(t, tinyConfig(false), 4)}},
		{"full", []string{"--model", tinyModel(t, true, ckpt.F16), "--set", "trainable=full"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			lines := tinyTrajectories(7, 4, 4)
			with := func(lines []string, args ...string) []string {
				return append(append(c.args[:len(c.args):len(c.args)], "--trajectories", writeFile(t, "t.jsonl", strings.Join(lines, ""))), args...)
			}
			want := updateOutput(t, with(lines)...)
			updateOutput(t, with(lines)...).check(t, "the same call", want, true)
			shuffled := append([]string(nil), lines...)
			rand.New(rand.NewPCG(1, 1)).Shuffle(len(lines), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
			updateOutput(t, with(shuffled)...).check(t, "another order", want, false)
			updateOutput(t, with(lines, "--set", "engine.micro_batch_tokens=20")...).check(t, "micro-batches of 20", want, false)
			updateOutput(t, with(lines, "--set", "engine.threads=2")...).check(t, "two threads", updateOutput(t, with(lines, "--set", "engine.threads=1")...), false)
		})
	}
}

// TestUpdateSomeLayers: an adapter of some layers is trained and saved as one; it computes what one of all layers does whose other B are zero.
func TestUpdateSomeLayers(t *testing.T) {
	model, all := tinyModel(t, true, ckpt.F32), tinyAdapter(t, tinyConfig(true), 5)
	write := func(change func(a *ckpt.Adapter)) string {
		a := adapterIn(t, all)
		change(a)
		dir := filepath.Join(t.TempDir(), "adapter")
		if err := ckpt.WriteDirAtomic(dir, func(d *ckpt.DirWriter) error { return ckpt.WriteAdapterFiles(d.Create, a) }); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	second := func(m ckpt.AdapterModule) bool { return m.Layer == 1 }
	some := write(func(a *ckpt.Adapter) {
		a.Modules, a.Config.LayersToTransform = slices.DeleteFunc(a.Modules, func(m ckpt.AdapterModule) bool { return !second(m) }), []int{1}
	})
	same := write(func(a *ckpt.Adapter) {
		for i := range a.Modules {
			if !second(a.Modules[i]) {
				clear(a.Modules[i].B)
			}
		}
	})
	if got, want := scored(t, "--model", model, "--adapter", some), scored(t, "--model", model, "--adapter", same); !slices.Equal(got, want) {
		t.Errorf("log-probs %v, expected %v", got, want)
	}
	out := filepath.Join(t.TempDir(), "out")
	must(t, "update", "--model", model, "--adapter", some, "--trajectories", writeFile(t, "t.jsonl", strings.Join(tinyTrajectories(9, 3, 4), "")), "--out", out)
	before := adapterIn(t, some)
	after := adapterIn(t, out)
	if !slices.Equal(after.Config.LayersToTransform, []int{1}) || len(after.Modules) != len(before.Modules) || after.Hash() == before.Hash() {
		t.Errorf("layers %v, %d modules, changed %v", after.Config.LayersToTransform, len(after.Modules), after.Hash() != before.Hash())
	}
}

// TestUpdateSkipsFailed: failed rollouts are counted, and in no denominator, whatever their turns hold.
func TestUpdateSkipsFailed(t *testing.T) {
	model := tinyModel(t, true, ckpt.F32)
	lines := tinyTrajectories(8, 3, 4)
	failed := append([]string{`{"group":"g1","sample":9,"reward":null,"failure":"timeout","turns":[]}` + "\n",
		`{"group":"g2","sample":9,"turns":[{"prompt":[1` + strings.Repeat(",1", 99) + `],"action":[2]},{"prompt":[999],"action":[-1]}]}` + "\n"}, lines...)
	with := func(lines []string) []string {
		return []string{"--model", model, "--trajectories", writeFile(t, "t.jsonl", strings.Join(lines, ""))}
	}
	want, got := updateOutput(t, with(lines)...), updateOutput(t, with(failed)...)
	for i := range want.metrics {
		for _, k := range []string{"failed", "group/incomplete"} {
			if want.metrics[i][k] == got.metrics[i][k] {
				t.Errorf("%s is %v with and without failed rollouts", k, want.metrics[i][k])
			}
			delete(want.metrics[i], k)
		}
	}
	got.check(t, "with failed rollouts", want, true)
	r := must(t, append(with(failed), "update", "--out", filepath.Join(t.TempDir(), "o"))...)
	if !strings.Contains(r.stderr, "2 of 14 rollouts failed") || !strings.Contains(r.stderr, "timeout 1, unknown 1") {
		t.Errorf("stderr: %q", r.stderr)
	}
}

// TestInterrupted: a command whose context has ended says so and leaves nothing.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	out := filepath.Join(t.TempDir(), "out")
	for _, args := range [][]string{
		{"update", "--model", tinyModel(t, true, ckpt.F32), "--trajectories", writeFile(t, "t.jsonl", tinyTrajectories(1, 1, 2)[0]), "--out", out},
		{"score", "--model", tinyModel(t, true, ckpt.F32), "--in", writeFile(t, "t.jsonl", `{"tokens":[1,2],"start":1}`), "--out", out},
		{"export", "--model", tinyModel(t, true, ckpt.F32), "--adapter", tinyAdapter(t, tinyConfig(true), 1), "--to", "merged", "--out", out},
		{"doctor", "--threads", "1"},
	} {
		var errs strings.Builder
		status := run(ctx, args, strings.NewReader(""), io.Discard, &errs)
		checkRefusal(t, result{status, "", errs.String()}, exitFailed, "interrupted")
		if _, err := os.Stat(out); err == nil {
			t.Errorf("afctl %s wrote %s", args[0], out)
		}
	}
}

// What a file says of its failures is shown without what a terminal would act on.
func TestUpdateTellsOfFailures(t *testing.T) {
	var said strings.Builder
	report(&said, &flow.Update{Counts: flow.Counts{Rollouts: 1, Failed: map[string]int{"\x1b[2Jtimeout": 2}}}, 3)
	if want := "2 of 3 rollouts failed (no reward) and are left out: [2Jtimeout 2\n"; !strings.HasSuffix(said.String(), want) {
		t.Errorf("%q, expected it to end with %q", said.String(), want)
	}
}

// TestUpdateWarnsOffPolicy: rollouts that another policy sampled than the one where training starts are trained on, with a word, whatever
// training starts from.
func TestUpdateWarnsOffPolicy(t *testing.T) {
	model, adapter := tinyModel(t, true, ckpt.F32), tinyAdapter(t, tinyConfig(true), 1)
	fresh, err := ckpt.NewAdapter(tinyConfig(true), 4, 8, ckpt.Projections, 0, false)
	if err != nil {
		t.Fatal(err)
	}
	own, start := adapterIn(t, adapter).Hash(), fresh.Hash()
	lines := func(hashes ...string) string {
		text := tinyTrajectories(1, 1, 4)
		for i, h := range hashes {
			if h != "" {
				text[i] = strings.Replace(text[i], "{", `{"adapter_hash":"`+h+`",`, 1)
			}
		}
		return writeFile(t, "t.jsonl", strings.Join(text, ""))
	}
	const other = "0123456789abcdef"
	freshLoRA := []string{"--set", "lora.r=4", "--set", "lora.alpha=8"}
	for _, c := range []struct {
		args   []string
		hashes []string
		warns  bool
	}{
		{[]string{"--adapter", adapter}, []string{own, own, own, own}, false},
		{[]string{"--adapter", adapter}, []string{other, other, other, other}, true},
		{[]string{"--adapter", adapter}, []string{own, own, own, other}, true},
		{[]string{"--adapter", adapter}, nil, false},
		{freshLoRA, []string{own, own, own, own}, true},
		{freshLoRA, []string{start, start, start, start}, false},
		{freshLoRA, nil, false},
		{[]string{"--set", "trainable=full"}, []string{own, own, own, own}, true},
	} {
		args := append([]string{"update", "--model", model, "--trajectories", lines(c.hashes...), "--out", filepath.Join(t.TempDir(), "o")}, c.args...)
		if r := must(t, args...); strings.Contains(r.stderr, "were sampled with adapter") != c.warns {
			t.Errorf("%v, sampled with %.12s: %q", c.args, c.hashes, r.stderr)
		}
	}
}

// TestSampledBy: metrics name the policy of the rollouts that are trained on, if it is one.
func TestSampledBy(t *testing.T) {
	reward := 1.0
	by := func(version int, hash string) flow.Trajectory {
		return flow.Trajectory{PolicyVersion: version, AdapterHash: hash, Reward: &reward}
	}
	failed := flow.Trajectory{PolicyVersion: 9, AdapterHash: "c"}
	for _, c := range []struct {
		ts      []flow.Trajectory
		version int
		hash    string
	}{
		{[]flow.Trajectory{failed, by(3, "a"), failed, by(3, "a")}, 3, "a"},
		{[]flow.Trajectory{by(3, "a"), by(3, "b")}, 0, ""},
		{[]flow.Trajectory{by(3, "a"), by(4, "a")}, 0, ""},
		{[]flow.Trajectory{failed}, 0, ""},
	} {
		if version, hash := sampledBy(c.ts); version != c.version || hash != c.hash {
			t.Errorf("%+v: found %d %q", c, version, hash)
		}
	}
}
