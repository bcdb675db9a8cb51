package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"afctl/ckpt"
)

// TestOutputsAreNoInputs: a file that is read, by whatever name, or that belongs to a folder that is read, is never replaced by an output.
func TestOutputsAreNoInputs(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	model, seqs, tasks := tinyModel(t, true, ckpt.F32), "s.jsonl", "t.jsonl"
	for name, text := range map[string]string{seqs: `{"tokens":[1,2,3],"start":1}`, tasks: `{"question":"a","answer":"b"}`, "c.yaml": "run: {seed: 3}\n"} {
		if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(seqs, "link.jsonl"); err != nil {
		t.Fatal(err)
	}
	run := runFolder(t, inputOf())
	checkpoint := filepath.Join(run, "checkpoints", "step-000001")
	if err := os.MkdirAll(checkpoint, 0o777); err != nil {
		t.Fatal(err)
	}
	weights, adapter := filepath.Join(model, "model.safetensors"), tinyAdapter(t, tinyConfig(true), 1)
	score := []string{"score", "--model", model, "--in", seqs, "--out"}
	rollout := []string{"rollout", "--model", model, "--tasks", tasks, "--config", "c.yaml", "--out"}
	for _, c := range []struct {
		args []string
		want string
	}{
		{append(score, seqs), "--in"}, {append(score, "./"+seqs), "--in"}, {append(score, "link.jsonl"), "--in"}, {append(score, weights), "--model"},
		{append(score, filepath.Join(model, "config.json")), "--model"}, {append(score, filepath.Join(model, "generation_config.json")), "--model"},
		{append(score, filepath.Join(adapter, "adapter_config.json"), "--adapter", adapter), "--adapter"},
		{append(rollout, tasks), "tasks.train"}, {[]string{"rollout", "--model", model, "--tasks", "t", "--out", tasks}, "tasks.train"}, {append(rollout, "c.yaml"), "--config"}, {append(rollout, weights), "--model"},
		{[]string{"report", "--run", run, "--out", filepath.Join(run, storeFile)}, "--run"},
		{[]string{"report", "--run", run, "--json", filepath.Join(run, metricsFile)}, "--run"},
		{[]string{"report", "--run", run, "--json", filepath.Join(run, configFile)}, "--run"},
		{[]string{"report", "--run", run, "--json", filepath.Join(checkpoint, "adapter_model.safetensors")}, "--run"},
		{[]string{"report", "--run", run, "--out", "same", "--json", "./same"}, "two files"},
	} {
		before := contents(t, dir, model, run)
		checkRefusal(t, afctl(t, c.args...), exitUsage, "--", "found", c.want)
		if after := contents(t, dir, model, run); after != before {
			t.Errorf("afctl %s changed something", strings.Join(c.args, " "))
		}
	}
	must(t, append(score, filepath.Join(model, "scores.jsonl"))...) // beside the model's files
	must(t, append(score, filepath.Join(model, "scores.jsonl"))...)
	if isDevice(os.DevNull) {
		must(t, "report", "--run", run, "--out", os.DevNull, "--json", os.DevNull)
	}
}

// TestNoOutputInACheckpoint: a checkpoint with a file that it was not written with is no good one any more, and so none is put there.
func TestNoOutputInACheckpoint(t *testing.T) {
	dir := t.TempDir()
	model, run := gymLikeModel(t, filepath.Join(dir, "model")), filepath.Join(dir, "run")
	must(t, smallTrain(run, model, "--steps", "1", "--set", "tasks.eval=")...)
	checkpoint := filepath.Join(run, "checkpoints", "step-000001")
	in := writeFile(t, "in.jsonl", `{"tokens":[1,2,3],"start":1}`+"\n")
	before := contents(t, run)
	for _, args := range [][]string{
		{"score", "--model", model, "--adapter", checkpoint, "--in", in, "--out"}, {"rollout", "--model", model, "--adapter", checkpoint, "--tasks", "gym", "--n", "1", "--out"},
		{"eval", "--model", model, "--adapter", checkpoint, "--suite", "gym", "--n", "1", "--out"}, {"report", "--run", run, "--out"}, {"report", "--run", run, "--json"},
		{"export", "--model", model, "--adapter", checkpoint, "--to", "merged", "--out"}, {"update", "--model", model, "--trajectories", in, "--out"},
		{"sft", "--model", model, "--data", in, "--out"}, {"train", "--run"}, {"init", "--out"}, {"index", "--in", in, "--out"},
	} {
		for _, out := range []string{"new", filepath.Join("new", "deep")} {
			checkRefusal(t, afctl(t, append(args, filepath.Join(checkpoint, out))...), exitUsage, args[len(args)-1], "a checkpoint")
		}
	}
	t.Chdir(checkpoint)
	checkRefusal(t, afctl(t, "score", "--model", model, "--in", in, "--out", "here"), exitUsage, "--out: found here in "+checkpoint)
	if contents(t, run) != before {
		t.Error("the run has changed")
	}
}

// contents are the names and texts of all files below some folders.
func contents(t *testing.T, dirs ...string) string {
	t.Helper()
	var all strings.Builder
	for _, dir := range dirs {
		if err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			text, err := os.ReadFile(path)
			all.WriteString(path + string(text))
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	return all.String()
}

// TestFolderOrFile: a name that says folder is no file's, and - no folder's: both are known before any work.
func TestFolderOrFile(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	// Two outputs that would be one file, though none of them is there yet, and a folder too deep for the system.
	own := writeFile(t, "t.jsonl", `{"question":"a","answer":"b"}`)
	checkRefusal(t, afctl(t, "rollout", "--tasks", own, "--set", "rollout.tools.record=o.jsonl", "--out", "o.jsonl"), exitUsage, "--out: found o.jsonl, which belongs to rollout.tools.record")
	fails(t, []string{"train", "--run", "r", "--set", "tasks.train=" + own, "--set", "tasks.eval=", "--set", "rollout.tools.record=r/metrics.jsonl"},
		"rollout.tools.record", "which the run writes itself")
	deep := strings.Repeat("x/", 3000)
	fails(t, []string{"update", "--model", tinyModel(t, true, ckpt.F32), "--trajectories", writeFile(t, "t.jsonl", strings.Join(tinyTrajectories(1, 2, 2), "")), "--out", deep}, "--out", "file name too long")
	checkOnly(t, dir)
	for _, args := range [][]string{{"rollout", "--model", "nowhere"}, {"score", "--model", "nowhere"}, {"report", "--run", "nowhere"}, {"init"}, {"index", "--in", "nowhere"}} {
		for _, out := range []string{"y6/", "y6/.", ".."} {
			checkRefusal(t, afctl(t, append(args, "--out", out)...), exitUsage, "--out", out, "expected a file")
		}
	}
	for _, args := range [][]string{
		{"update", "--model", "nowhere", "--trajectories", "nowhere", "--out", "-"}, {"sft", "--model", "nowhere", "--data", "nowhere", "--out", "-"},
		{"export", "--model", "nowhere", "--adapter", "nowhere", "--to", "peft", "--out", "-"}, {"eval", "--model", "nowhere", "--out", "-"},
		{"train", "--model", "nowhere", "--run", "-"},
	} {
		checkRefusal(t, afctl(t, args...), exitUsage, "found -, expected a folder")
	}
	checkOnly(t, dir)
}

// What a kill leaves beside a folder that was being written goes with the next one; of others it stays.
func TestLeftoversOfAFolder(t *testing.T) {
	dir := t.TempDir()
	left, other := filepath.Join(dir, ".tmp-out-3guh"), filepath.Join(dir, ".tmp-out-2-3guh")
	for _, d := range []string{left, other} {
		if err := os.MkdirAll(filepath.Join(d, "deep"), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	work := func(fail error) error {
		return writeOutDir(filepath.Join(dir, "out"), func(*ckpt.DirWriter) error { return fail })
	}
	if err := work(io.ErrUnexpectedEOF); err == nil || isMissing(left) {
		t.Errorf("after a failure: %v, gone %v", err, isMissing(left))
	}
	if err := work(nil); err != nil || !isMissing(left) || isMissing(other) {
		t.Errorf("%v; of this folder: gone %v, of another: gone %v", err, isMissing(left), isMissing(other))
	}
}
