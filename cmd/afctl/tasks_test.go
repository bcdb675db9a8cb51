package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"afctl/ckpt"
	"afctl/flow"
)

// smallTrain are the flags of a run of a few short rollouts of a random model.
func smallTrain(run, model string, more ...string) []string {
	return append([]string{"train", "--run", run, "--model", model, "--set", "run.tasks_per_step=2", "--set", "flow.group_size=2", "--set", "flow.max_action_tokens=8",
		"--set", "flow.temperature=1", "--set", "rollout.max_turns=1", "--set", "lora.r=4", "--set", "engine.kv_tokens=20000"}, more...)
}

// fails runs a command line that has to fail with a message that has all of want.
func fails(t *testing.T, args []string, want ...string) {
	t.Helper()
	r := afctl(t, args...)
	if r.status != exitFailed && r.status != exitUsage {
		t.Errorf("afctl %s: status %d\n%s", strings.Join(args, " "), r.status, r.stderr)
	}
	for _, w := range want {
		if !strings.Contains(r.stderr, w) {
			t.Errorf("afctl %s: found\n%s\nexpected it to say %q", strings.Join(args, " "), r.stderr, w)
		}
	}
}

// Tasks of the gym and of files have systems of their own, and the held-out half stays held out.
func TestTrainRefusesTasks(t *testing.T) {
	dir := t.TempDir()
	tasks := writeFile(t, "tasks.jsonl", `{"question":"1+1?","answer":"2"}`+"\n")
	for _, c := range []struct {
		sets []string
		want string
	}{
		{[]string{"tasks.train=" + tasks}, `tasks.eval: found "gym:heldout" beside tasks.train`},
		{[]string{"tasks.eval=" + tasks}, `beside tasks.train "gym:train"`},
		{[]string{"tasks.train=gym:heldout"}, "tasks.train: found \"gym:heldout\", which evaluations ask"},
		{[]string{"tasks.train="}, "tasks.train: found none"},
	} {
		args := []string{"train", "--run", filepath.Join(dir, "run")}
		for _, s := range c.sets {
			args = append(args, "--set", s)
		}
		fails(t, args, c.want)
	}
	if entries, _ := os.ReadDir(dir); len(entries) > 0 {
		t.Errorf("%s is left behind", entries[0].Name())
	}
}

// A question in both files is trained on, evaluated and named. A resume on other questions is refused.
func TestTrainOnFiles(t *testing.T) {
	dir := t.TempDir()
	run, train := filepath.Join(dir, "run"), filepath.Join(dir, "train.jsonl")
	write := func(file, text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	const one, two = `{"question":"1+1?","answer":"2"}` + "\n", `{"question":"Which?","choices":["x","y"],"answer":"B"}` + "\n"
	write(train, one+two)
	held := writeFile(t, "held.jsonl", `{"question":"2+2?","answer":"4"}`+"\n"+one)
	r := must(t, smallTrain(run, gymModel, "--steps", "1", "--set", "tasks.train="+train, "--set", "tasks.eval="+held, "--set", "rollout.eval_max_turns=1")...)
	if !strings.Contains(r.stderr, "1 of the 2 tasks of tasks.eval are trained on") {
		t.Errorf("no word about the task in both files:\n%s", r.stderr)
	}
	// Limits may change from one start to the next; tasks may not.
	must(t, "train", "--resume", "--run", run, "--steps", "2", "--set", "rollout.call_seconds=60", "--set", "engine.kv_tokens=30000")
	fails(t, []string{"train", "--resume", "--run", run, "--steps", "3", "--set", "rollout.eval_max_turns=2"}, "eval_max_turns")
	write(train, two+one)
	fails(t, []string{"train", "--resume", "--run", run, "--steps", "3"}, "--resume", "tasks.train")
}

// What a run is made from may move, and be named from another folder: its contents decide, and one that is another is named.
func TestResumeAfterMoving(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	gymLikeModel(t, "model")
	config := func() ckpt.ModelConfig {
		m, err := ckpt.OpenModel("model")
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		return m.Config
	}()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	rename := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	rename(tinyAdapter(t, config, 1), "adapter")
	rename(tinyAdapter(t, config, 2), "adapter2")
	if err := os.Mkdir("pages", 0o777); err != nil {
		t.Fatal(err)
	}
	write("pages/p.jsonl", `{"url":"https://a.example/","title":"a","text":"b"}`+"\n")
	write("train.jsonl", `{"question":"1+1?","answer":"2"}`+"\n"+`{"question":"2+1?","answer":"3"}`+"\n")
	write("plan.tmpl", `{{define "user"}}Plan: {{.Question}}{{end}}`)
	begin := []string{"train", "--model", "model", "--adapter", "adapter", "--set", "run.tasks_per_step=2", "--set", "flow.group_size=2",
		"--set", "flow.max_action_tokens=8", "--set", "flow.temperature=1", "--set", "rollout.max_turns=1", "--set", "engine.kv_tokens=20000",
		"--set", "tasks.train=train", "--set", "tasks.eval=", "--set", "rollout.planner.prompt=plan.tmpl", "--set", "rollout.tools.pages=pages"}
	for _, provider := range []string{"analyst", "verifier"} {
		begin = append(begin, "--set", "rollout."+provider+".provider=off")
	}
	must(t, append(begin, "--run", "run", "--steps", "1")...)
	must(t, append(begin, "--run", "whole", "--steps", "3")...)

	t.Chdir(t.TempDir()) // and from here
	run := filepath.Join(dir, "run")
	resume := func(steps string, more ...string) []string {
		return append([]string{"train", "--resume", "--run", run, "--steps", steps}, more...)
	}
	must(t, resume("2")...)
	moved := []string{"--model", filepath.Join(dir, "model3"), "--adapter", filepath.Join(dir, "adapter3")}
	rename(filepath.Join(dir, "model"), moved[1])
	rename(filepath.Join(dir, "adapter"), moved[3])
	fails(t, resume("3"), "no such folder", "say so by --model")
	for key, name := range map[string]string{"tasks.train": "train.jsonl", "rollout.planner.prompt": "plan.tmpl", "rollout.tools.pages": "pages"} {
		rename(filepath.Join(dir, name), filepath.Join(dir, "moved-"+name))
		moved = append(moved, "--set", key+"="+filepath.Join(dir, "moved-"+name))
	}
	other := gymLikeModel(t, filepath.Join(t.TempDir(), "other"))
	text, err := os.ReadFile(filepath.Join(other, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	write(filepath.Join(other, "config.json"), strings.Replace(string(text), "10000", "20000", 1)) // rope_theta
	fails(t, resume("3", append([]string{"--model", other}, moved[2:]...)...), "another model")
	fails(t, resume("3", append([]string{"--adapter", filepath.Join(dir, "adapter2")}, append(moved[:2:2], moved[4:]...)...)...), "the contents of adapter are others")
	for _, x := range []struct{ name, key, old, new string }{{"train.jsonl", "tasks.train", "1+1", "1 + 1"}, {"plan.tmpl", "rollout.planner.prompt", "Plan:", "Plan"},
		{"pages/p.jsonl", "rollout.tools.pages", `"b"`, `"c"`}} {
		file := filepath.Join(dir, "moved-"+x.name)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		write(file, strings.Replace(string(text), x.old, x.new, 1))
		fails(t, resume("3", moved...), "the contents of "+x.key+" are others")
		write(file, string(text))
	}
	must(t, resume("3", moved...)...)
	got, want := runContents(t, run), runContents(t, filepath.Join(dir, "whole"))
	for name := range want {
		if got[name] != want[name] && !strings.HasSuffix(name, "state.json") && !strings.HasSuffix(name, "SHA256SUMS") { // which have the model's path
			t.Errorf("%s differs from that of a run whose files stay where they are", name)
		}
	}
}

// A run whose solves all failed goes on once they can succeed, with the evaluation before training too.
func TestTrainAfterAnOutage(t *testing.T) {
	dir := t.TempDir()
	run := filepath.Join(dir, "run")
	model := gymLikeModel(t, filepath.Join(dir, "model"))
	fails(t, smallTrain(run, model, "--steps", "1", "--set", "tasks.eval_limit=3", "--set", "rollout.call_seconds=1e-9", "--set", "rollout.retries=0"), "reward")
	failAfterFirstToken(t, filepath.Join(run, storeFile))
	must(t, "train", "--resume", "--run", run, "--set", "rollout.call_seconds=60")
	for _, r := range solvesIn(t, run) {
		if r.Failed() {
			t.Errorf("%s, policy version %d, is a failure still: %s", r.Task, r.PolicyVersion, r.FailureDetail)
		}
	}
}

// failAfterFirstToken makes a run's failed rollouts be by the policy that it has, as where a limit ends them in the middle: such stay in the store on a resume.
func failAfterFirstToken(t *testing.T, path string) {
	t.Helper()
	ctx := t.Context()
	store, err := ckpt.OpenStore(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	policies, err := store.Policies(ctx)
	if err != nil || len(policies) == 0 {
		t.Fatalf("policies of %s: %v, %v", path, policies, err)
	}
	var failed []*flow.Trajectory
	for r, err := range store.Trajectories(ctx, ckpt.Query{Phase: ckpt.PhaseTrain}) {
		if err != nil {
			t.Fatal(err)
		}
		r.PolicyVersion, r.AdapterHash = policies[0].Version, policies[0].AdapterHash
		failed = append(failed, r)
	}
	if len(failed) == 0 {
		t.Fatal("no rollout failed")
	}
	for _, r := range failed {
		if err := store.PutTrajectory(ctx, 1, ckpt.PhaseTrain, r); err != nil {
			t.Fatal(err)
		}
	}
}

// Settings that contradict each other, or are empty where something is meant.
func TestContradictions(t *testing.T) {
	model := tinyModel(t, true, ckpt.F32)
	fails(t, []string{"train", "--steps", "1", "--set", "run.steps=2", "--run", filepath.Join(t.TempDir(), "run")}, "--steps", "run.steps")
	fails(t, []string{"score", "--model", model, "--adapter", ""}, "--adapter")
	fails(t, []string{"score", "--model", model, "--config", ""}, "--config")
	fails(t, []string{"score", "--model", model, "--set", "engine.kv_tokens=99"}, "engine.kv_tokens", "no effect")
	fails(t, []string{"rollout", "--set", "optimizer.lr=1"}, "optimizer.lr", "no effect")
	fails(t, []string{"train", "--set", "checkpoint.keep=1"}, "checkpoint.keep: found 1, expected a whole number from 2")
	fails(t, []string{"train", "--set", "rollout.analyst.provider=scripted"}, "rollout.analyst.provider", "auto or base or off")
	fails(t, []string{"eval", "--suite", "gym:heldout", "--n", "7", "--set", "engine.kv_tokens=3"}, "engine.kv_tokens: found 3, expected at least 16")
}

// A key that a command does not read is refused where the command line gives it; of a config for several commands it is not.
func TestKeysWithoutEffect(t *testing.T) {
	file := writeFile(t, "t.jsonl", `{"question":"1+1?","answer":"2"}`+"\n")
	gym, own := []string{"eval", "--suite", "gym:heldout", "--n", "2"}, []string{"eval", "--suite", file}
	solve, solveOwn := []string{"rollout", "--tasks", "gym:train", "--n", "1", "--group", "1"}, []string{"rollout", "--tasks", file}
	for _, c := range []struct {
		command []string
		sets    []string
	}{
		{gym, []string{"tasks.train=x.json", "tasks.limit=5", "tasks.shuffle=true", "rollout.solve_retries=7", "rollout.tools.passages=2", "flow.group_size=2", "tasks.content_ids=true", "tasks.scorer=f1"}},
		{own, []string{"tasks.seed=3", "rollout.max_turns=3", "tasks.limit=5"}},
		{append(gym[:5:5], "--set", "rollout.eval_max_turns=2"), []string{"rollout.max_turns=1"}},
		{solve, []string{"tasks.eval=x.json", "tasks.eval_limit=7", "tasks.shuffle=true", "rollout.eval_max_turns=2", "rollout.tools.passages=2", "tasks.content_ids=true", "tasks.scorer=f1"}},
		{solveOwn, []string{"tasks.seed=3", "rollout.eval_max_turns=2"}},
		{[]string{"train", "--run", filepath.Join(t.TempDir(), "run"), "--set", "tasks.eval=", "--set", "tasks.train=" + file, "--set", "tasks.shuffle=false"}, []string{"tasks.seed=3"}},
	} {
		for _, set := range c.sets {
			key, _, _ := strings.Cut(set, "=")
			fails(t, append(slices.Clone(c.command), "--set", set), key, "no effect")
		}
	}
	all := writeFile(t, "all.yaml", "tasks:\n  train: gym:train\n  limit: 5\n  eval_limit: 1\n  seed: 3\nrollout:\n  max_turns: 1\n  eval_max_turns: 2\n  solve_retries: 1\n")
	must(t, append(gym, "--config", all)...)
	must(t, append(solve, "--config", all)...)
	must(t, append(gym[:5:5], "--set", "rollout.max_turns=1", "--set", "tasks.seed=3")...)
}

// Training that changes nothing is a failure, and full weights go into a folder that is there and empty.
func TestUpdateEnds(t *testing.T) {
	model := tinyModel(t, true, ckpt.F32)
	lines := writeFile(t, "t.jsonl", `{"group":"a","sample":0,"reward":1,"turns":[{"prompt":[3,4],"action":[5,1]}]}`+"\n"+
		`{"group":"a","sample":1,"reward":0,"turns":[{"prompt":[3,4],"action":[6,1]}]}`+"\n")
	out := filepath.Join(t.TempDir(), "out")
	fails(t, []string{"update", "--model", model, "--trajectories", lines, "--out", out, "--set", "lora.alpha=3e38", "--set", "flow.entropy=3e38"}, "not finite", "nothing was trained")
	if _, err := os.Stat(out); err == nil {
		t.Error("--out is there")
	}
	if err := os.Mkdir(out, 0o777); err != nil {
		t.Fatal(err)
	}
	must(t, "update", "--model", model, "--trajectories", lines, "--out", out, "--set", "trainable=full")
	must(t, "score", "--model", out, "--in", writeFile(t, "s.jsonl", `{"tokens":[1,2,3],"start":1}`))
	if _, err := os.Stat(filepath.Join(out, metricsFile)); err != nil {
		t.Error(err)
	}
}

// What is lost of a run folder is made anew where it can be, and missed where it cannot.
func TestResumeWithLostFiles(t *testing.T) {
	dir := t.TempDir()
	model := gymLikeModel(t, filepath.Join(dir, "model"))
	run := filepath.Join(dir, "run")
	must(t, smallTrain(run, model, "--steps", "2", "--set", "tasks.eval=")...)
	log := filepath.Join(run, metricsFile)
	before, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	remove := func(name string) {
		t.Helper()
		if err := os.RemoveAll(filepath.Join(run, name)); err != nil {
			t.Fatal(err)
		}
	}
	remove(metricsFile)
	must(t, "train", "--resume", "--run", run, "--steps", "3")
	if after, err := os.ReadFile(log); err != nil || !strings.HasPrefix(string(after), string(before)) || strings.Count(string(after), "\n") != 3 {
		t.Errorf("%v: metrics\n%s\nexpected 3 lines that begin with\n%s", err, after, before)
	}
	for _, name := range []string{storeFile, storeFile + "-wal", storeFile + "-shm"} {
		remove(name)
	}
	fails(t, []string{"train", "--resume", "--run", run, "--steps", "4"}, storeFile+" is gone", "up to step 3: put it back")
	other, err := ckpt.OpenStore(t.Context(), filepath.Join(run, storeFile))
	if err != nil {
		t.Fatal("the refused resume left something in its place:", err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	fails(t, []string{"train", "--resume", "--run", run, "--steps", "4"}, storeFile+" lacks step 3", "put the run's own back")
	remove(metricsFile)
	remove("checkpoints")
	must(t, "train", "--resume", "--run", run, "--steps", "1")
	remove("checkpoints")
	if r := must(t, "train", "--resume", "--run", run, "--steps", "1"); !strings.Contains(r.stderr, "begins again") {
		t.Errorf("no word that the run begins again:\n%s", r.stderr)
	}
}

// "gym" is its training half where it is trained on.
func TestGymTrainsOnItsTrainingHalf(t *testing.T) {
	c := DefaultConfig()
	c.Run.Steps, c.Run.TasksPerStep, c.Tasks.Train = 2, 8, "gym"
	short, err := newTaskStream(&c)
	if err != nil {
		t.Fatal(err)
	}
	c.Tasks.Train = "gym:train"
	long, err := newTaskStream(&c)
	if err != nil {
		t.Fatal(err)
	}
	long.task(long.total - 1)
	if n := short.among(long.tasks); n != len(long.tasks) || n == 0 {
		t.Errorf("%d of %d tasks", n, len(long.tasks))
	}
}
