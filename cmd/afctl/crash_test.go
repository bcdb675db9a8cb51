package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"afctl/bench/gym"
	"afctl/ckpt"
	"afctl/ckpt/tokenizer"
	"afctl/flow"
)

// actAsProgram makes the test binary the program itself, so that tests can kill it.
const actAsProgram = "AFCTL_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(actAsProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// defaultKills is how often TestKillAndResume kills; AFCTL_KILLS asks for another number (make crashtest).
const defaultKills = 25

// TestKillAndResume (trap 27): a run that is killed with SIGKILL at random moments and resumed, again and again, ends with the bytes of the
// undisturbed one: checkpoints (adapter, moments, state), trajectories and metrics, clock readings aside.
func TestKillAndResume(t *testing.T) {
	kills := defaultKills
	if s := os.Getenv("AFCTL_KILLS"); s != "" {
		var err error
		if kills, err = strconv.Atoi(s); err != nil {
			t.Fatalf("AFCTL_KILLS: %v", err)
		}
	}
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(uint64(kills), 17))
	// What may change from one start to the next without a trace in the results.
	free := []string{"engine.threads=2", "engine.kv_tokens=9000", "engine.max_batch=2", "rollout.concurrency=1", "rollout.concurrency=4"}
	model := gymLikeModel(t, filepath.Join(dir, "model"))
	train := func(run string, resume bool) *exec.Cmd {
		args := []string{"train", "--run", run}
		if resume {
			args = append(args, "--resume", "--set", free[rng.IntN(len(free))])
		} else {
			args = append(args, "--model", model, "--steps", "4", "--set", "run.tasks_per_step=3", "--set", "flow.group_size=3", "--set", "flow.epochs=2",
				"--set", "flow.max_action_tokens=12", "--set", "flow.temperature=1", "--set", "rollout.eval_max_turns=2", "--set", "tasks.eval_limit=6",
				"--set", "run.eval_every=2", "--set", "optimizer.lr=0.01", "--set", "engine.threads=1", "--set", "engine.kv_tokens=20000", "--set", "lora.r=4",
				"--set", "flow.entropy=0.01") // noise earns no reward: without this bonus there is no gradient, and every moment is 0
		}
		cmd := exec.Command(os.Args[0], args...)
		cmd.Env = append(os.Environ(), actAsProgram+"=1")
		return cmd
	}
	whole := filepath.Join(dir, "whole")
	begin := time.Now()
	if out, err := train(whole, false).CombinedOutput(); err != nil {
		t.Fatalf("undisturbed run: %v\n%s", err, out)
	}
	length := time.Since(begin)
	want := runContents(t, whole)
	for i, m := range readLines[flow.Metrics](t, filepath.Join(whole, metricsFile)) {
		if !(m.GradNorm > 0) || i >= 2 && !(m.KL > 0) {
			t.Errorf("step %d: grad norm %v, kl %v: a run that trains nothing shows nothing", i+1, m.GradNorm, m.KL)
		}
	}

	killed := 0
	for round := 0; killed < kills; round++ {
		broken := filepath.Join(dir, fmt.Sprint("broken", round))
		started := false
		for {
			cmd := train(broken, started)
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() { done <- cmd.Wait() }()
			delay := time.Duration(rng.Int64N(int64(length)))
			if killed >= kills {
				delay = time.Hour
			}
			select {
			case err := <-done:
				if err != nil {
					t.Fatalf("after %d kills: %v\n%s", killed, err, out.String())
				}
			case <-time.After(delay):
				_ = cmd.Process.Signal(syscall.SIGKILL)
				<-done
				killed++
				// Before the config is there, nothing is: the run begins anew.
				_, err := os.Stat(filepath.Join(broken, configFile))
				started = err == nil
				continue
			}
			break
		}
		got := runContents(t, broken)
		for name, w := range want {
			if g, ok := got[name]; !ok {
				t.Errorf("round %d: %s is missing", round, name)
			} else if g != w {
				t.Errorf("round %d, %d kills: %s differs from the undisturbed run's", round, killed, name)
			}
		}
		for name := range got {
			if _, ok := want[name]; !ok {
				t.Errorf("round %d: %s is too much", round, name)
			}
		}
	}
}

// TestStopKeepsTheStep: a run whose end is asked for keeps its last step, also within an update, and goes on from there to the bytes of the
// undisturbed one.
func TestStopKeepsTheStep(t *testing.T) {
	dir := t.TempDir()
	model := gymLikeModel(t, filepath.Join(dir, "model"))
	begin := func(run string) []string {
		return smallTrain(filepath.Join(dir, run), model, "--steps", "2", "--set", "checkpoint.every=10", "--set", "flow.epochs=2", "--set", "flow.entropy=0.01", "--set", "tasks.eval_limit=2")
	}
	must(t, begin("whole")...)
	for step := 1; step <= 3; step++ {
		folder := filepath.Join(dir, fmt.Sprint("stopped", step))
		ctx, cancel := context.WithCancel(t.Context())
		said := &cancelAt{text: fmt.Sprintf("step %d/4", step), cancel: cancel}
		if status := run(ctx, begin(filepath.Base(folder)), nil, io.Discard, said); status != exitFailed || !strings.Contains(said.said.String(), fmt.Sprintf("stopped after step %d; afctl train --resume", step)) {
			t.Errorf("stopped at step %d: status %d\n%s", step, status, said.said.String())
		}
		if r := must(t, "train", "--resume", "--run", folder); strings.Contains(r.stderr, fmt.Sprintf("step %d/4", step)) || !strings.Contains(r.stderr, fmt.Sprintf("step %d/4", step+1)) {
			t.Errorf("resumed after step %d:\n%s", step, r.stderr)
		}
		got := runContents(t, folder)
		for name, w := range runContents(t, filepath.Join(dir, "whole")) {
			if got[name] != w {
				t.Errorf("stopped at step %d: %s differs from the undisturbed run's", step, name)
			}
		}
	}
}

// cancelAt is what is said, and asks for the end once a text is.
type cancelAt struct {
	said   strings.Builder
	text   string
	cancel func()
}

func (c *cancelAt) Write(b []byte) (int, error) {
	c.said.Write(b)
	if strings.Contains(c.said.String(), c.text) {
		c.cancel()
	}
	return len(b), nil
}

// runContents is all of a run that has to be the same, by name: checkpoints' files, metrics and trajectories without clock readings.
func runContents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	files, err := filepath.Glob(filepath.Join(dir, "checkpoints", "*", "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: checkpoints %v, %v", dir, files, err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		rel, _ := filepath.Rel(dir, f)
		if !strings.Contains(rel, ".tmp-") { // what a kill left behind is never read
			all[rel] = string(b)
		}
	}
	lines, err := os.ReadFile(filepath.Join(dir, metricsFile))
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range bytes.Split(bytes.TrimSpace(lines), []byte("\n")) {
		var m map[string]any
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatal(err)
		}
		for key := range m {
			if len(key) > 8 && key[:8] == "seconds/" || key == "tokens_per_second" {
				delete(m, key)
			}
		}
		b, _ := json.Marshal(m)
		all[fmt.Sprintf("metrics line %d", i+1)] = string(b)
	}
	ctx := context.Background()
	store, err := ckpt.OpenStoreReadOnly(ctx, filepath.Join(dir, storeFile))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	i := 0
	for r, err := range store.Trajectories(ctx, ckpt.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		r.TotalMS = 0
		for j := range r.Steps {
			r.Steps[j].ToolMS, r.Steps[j].TotalMS = 0, 0
		}
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		all[fmt.Sprintf("trajectory %d (%s)", i, r.Group)] = string(b)
		i++
	}
	if i == 0 {
		t.Fatalf("%s: no trajectories", dir)
	}
	policies, err := store.Policies(ctx)
	if err != nil {
		t.Fatal(err)
	}
	all["policies"] = fmt.Sprint(policies)
	return all
}

// gymLikeModel is a random model with a tokenizer for the gym: its plans are noise, which the agentic system takes as it takes all plans.
func gymLikeModel(t *testing.T, dir string) string {
	t.Helper()
	w, err := gym.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	vocab, err := tokenizer.Train(func(yield func(string) bool) {
		for text, err := range gym.Corpus(ctx, w, 100, 1) {
			if err != nil {
				t.Fatal(err)
			}
			if !yield(text) {
				return
			}
		}
	}, 400, []string{"<|endoftext|>", "<|im_end|>"})
	if err != nil {
		t.Fatal(err)
	}
	files := t.TempDir()
	for name, data := range map[string][]byte{"tokenizer.json": vocab, "tokenizer_config.json": []byte(`{"eos_token":"<|im_end|>"}`)} {
		if err := os.WriteFile(filepath.Join(files, name), data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	tok, err := tokenizer.Load(os.DirFS(files), files)
	if err != nil {
		t.Fatal(err)
	}
	cfg := tinyConfig(true)
	cfg.VocabSize, cfg.MaxPositionEmbeddings = tok.VocabSize(), 1024
	eos, _ := tok.EOS()
	cfg.EOSTokenIDs = []int32{eos}
	if err := ckpt.SaveModel(dir, cfg, tinyTensors(t, cfg, ckpt.BF16, 3), os.DirFS(files)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestTrainWhereAKillLeftNothing: what is left of a config that was being written when it came is in nobody's way, and goes; anything else stands in it.
func TestTrainWhereAKillLeftNothing(t *testing.T) {
	run := t.TempDir()
	left := filepath.Join(run, ".tmp-"+configFile+"-3guh")
	if err := os.WriteFile(left, []byte("model: "), 0o666); err != nil {
		t.Fatal(err)
	}
	must(t, smallTrain(run, gymModel, "--steps", "1", "--set", "tasks.eval=")...)
	if !isMissing(left) {
		t.Error("the torn config is still there")
	}
	other := filepath.Dir(writeFile(t, ".tmp-thesis.txt-3guh", "mine"))
	fails(t, smallTrain(other, gymModel, "--steps", "1"), ".tmp-thesis.txt-3guh")
}

// TestSecondTrainerIsRefused: two trainers on one run folder.
func TestSecondTrainerIsRefused(t *testing.T) {
	dir := t.TempDir()
	lock, err := ckpt.LockRun(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	c := DefaultConfig()
	if err := os.WriteFile(filepath.Join(dir, configFile), marshalConfig(&c, false), 0o666); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "train", "--resume", "--run", dir)
	cmd.Env = append(os.Environ(), actAsProgram+"=1")
	out, err := cmd.CombinedOutput()
	if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != exitFailed || !bytes.Contains(out, []byte(strconv.Itoa(os.Getpid()))) {
		t.Errorf("%v, %s: expected a refusal that names the holder", err, out)
	}
}
