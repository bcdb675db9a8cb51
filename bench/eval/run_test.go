package eval

import (
	"bytes"
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"afctl/bench/gym"
	"afctl/flow"
	"afctl/rollout"
)

func naiveRun(t *testing.T) Run {
	t.Helper()
	w, err := gym.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	return Run{Solver: w.Solver(gym.Naive{}, rollout.Options{Concurrency: 3}), Suite: "gym", Tasks: w.Tasks(gym.HeldOut, 30, 1), Repeats: 3, Seed: 4}
}

// withoutClock drops readings of the clock, which no two runs share.
func withoutClock(r *Report) *Report {
	r.Summary.All.Seconds = 0
	for i := range r.Summary.Families {
		r.Summary.Families[i].Stats.Seconds = 0
	}
	return r
}

// An evaluation that was cut again and again ends with the report of one that was not, and solves nothing twice.
func TestResume(t *testing.T) {
	run := naiveRun(t)
	whole, err := run.Do(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	stop := errors.New("cut")
	var stored []flow.Trajectory
	var cut *Report
	for rounds := 0; cut == nil; rounds++ {
		if rounds > 20 {
			t.Fatal("never done")
		}
		fresh := 0
		part := run
		part.Stored = append([]flow.Trajectory(nil), stored...)
		part.Store = func(x flow.Trajectory) error {
			if fresh++; fresh > 7 {
				return stop
			}
			stored = append(stored, x)
			return nil
		}
		if cut, err = part.Do(context.Background()); err != nil && !errors.Is(err, stop) {
			t.Fatal(err)
		}
	}
	if len(stored) != 90 {
		t.Errorf("%d solves stored, expected 90", len(stored))
	}
	if d := cmp.Diff(withoutClock(whole), withoutClock(cut)); d != "" {
		t.Errorf("- undisturbed, + cut:\n%s", d)
	}
	if whole.Summary.All.Requested != 90 || len(whole.Summary.Families) != 7 || len(whole.Rows) != 30 || len(whole.Rows[0].Answers) != 3 {
		t.Errorf("%+v", whole.Summary.All)
	}
}

func TestContextEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := naiveRun(t).Do(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("found %v, expected the context's error", err)
	}
}

// A solve that fails is wrong, counted by its kind and listed in its row; RetryFailed solves it again, and what could only not
// be scored is scored again without a solve.
func TestFailuresAreWrongAndListed(t *testing.T) {
	run := naiveRun(t)
	run.Repeats = 1
	var stored []flow.Trajectory
	run.Store = func(x flow.Trajectory) error { stored = append(stored, x); return nil }
	score := run.Solver.Score
	broken := *run.Solver
	broken.Score = func(context.Context, flow.Task, string) (float64, error) { return 0, errors.New("judge is away") }
	run.Solver = &broken
	r, err := run.Do(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	all := r.Summary.All
	if all.Failed != 30 || all.Accuracy.Mean != 0 || all.Failures[rollout.KindScore] != 30 || len(r.Rows[0].Failures) != 1 {
		t.Errorf("%+v", all)
	}

	broken.Score = score
	broken.Slots.Planner = nil // a solve would fail
	run.Stored, stored = stored, nil
	broken.Slots.Planner = refuses{}
	again, err := run.Do(context.Background())
	if err != nil || again.Summary.All.Failed != 0 || len(stored) != 30 {
		t.Errorf("scored again: %+v, %v, %d stored", again, err, len(stored))
	}

	failed := stored[0]
	failed.Reward, failed.Failure = nil, "timeout"
	run.Stored, run.Tasks = []flow.Trajectory{failed}, run.Tasks[:0:0]
	for _, task := range naiveRun(t).Tasks {
		if task.ID == failed.Task {
			run.Tasks = append(run.Tasks, task)
		}
	}
	run.Solver = naiveRun(t).Solver
	for retry, want := range map[bool]int{false: 1, true: 0} {
		run.RetryFailed = retry
		if r, err := run.Do(context.Background()); err != nil || r.Summary.All.Failed != want {
			t.Errorf("RetryFailed %v: %d failed, %v; expected %d", retry, r.Summary.All.Failed, err, want)
		}
	}
}

// Whatever the scorer failed of, a stored answer is scored again: by the path of the solves, bounded in time and in value.
func TestScorerFailuresAreScoredAgain(t *testing.T) {
	run := naiveRun(t)
	run.Repeats, run.Tasks = 1, run.Tasks[:3]
	works := run.Solver.Score
	fresh := func(score rollout.Scorer) *rollout.Solver {
		s := *run.Solver
		s.Score, s.Options.CallTimeout = score, 300*time.Millisecond
		return &s
	}
	hang := func(ctx context.Context, _ flow.Task, _ string) (float64, error) { <-ctx.Done(); return 0, ctx.Err() }
	value := func(x float64) rollout.Scorer {
		return func(context.Context, flow.Task, string) (float64, error) { return x, nil }
	}
	panics := func(context.Context, flow.Task, string) (float64, error) { panic("scorer") }
	for kind, score := range map[string]rollout.Scorer{
		rollout.KindUnavailable: func(context.Context, flow.Task, string) (float64, error) {
			return 0, &rollout.TransientError{Err: errors.New("judge is away")}
		},
		rollout.KindTimeout: hang, rollout.KindInternal: panics, rollout.KindScore: value(1.5),
	} {
		var stored []flow.Trajectory
		first := run
		first.Solver = fresh(score)
		first.Store = func(x flow.Trajectory) error { stored = append(stored, x); return nil }
		if r, err := first.Do(context.Background()); err != nil || r.Summary.All.Failures[kind] != 3 {
			t.Fatalf("%s: %+v, %v", kind, r, err)
		}
		second := run
		second.Stored = stored
		for name, bad := range map[string]rollout.Scorer{"hang": hang, "panic": panics, "2": value(2), "-1": value(-1), "NaN": value(math.NaN())} {
			second.Solver = fresh(bad)
			second.Solver.Slots.Planner = refuses{}
			second.Store = func(x flow.Trajectory) error { t.Errorf("%s, then %s: stored %v", kind, name, x.Reward); return nil }
			if r, err := second.Do(context.Background()); err != nil || r.Summary.All.Failures[kind] != 3 {
				t.Errorf("%s, then %s: %+v, %v", kind, name, r, err)
			}
		}
		n := 0
		second.Solver = fresh(works)
		second.Solver.Slots.Planner = refuses{}
		second.Store = func(x flow.Trajectory) error { n++; return nil }
		if r, err := second.Do(context.Background()); err != nil || r.Summary.All.Failed != 0 || n != 3 {
			t.Errorf("%s: %+v, %v, %d stored", kind, r, err, n)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := second.Do(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: found %v, expected the context's error", kind, err)
		}
	}
}

type refuses struct{}

func (refuses) Plan(context.Context, rollout.Input) (rollout.Planning, error) {
	return rollout.Planning{}, errors.New("nothing should be solved")
}

// Records of another evaluation are refused, whatever sets them apart.
func TestMixedEvaluations(t *testing.T) {
	run := naiveRun(t)
	run.Tasks, run.Repeats = run.Tasks[:2], 1
	var stored []flow.Trajectory
	run.Store = func(x flow.Trajectory) error { stored = append(stored, x); return nil }
	if _, err := run.Do(context.Background()); err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]func(*Run){
		"another seed":    func(r *Run) { r.Seed++ },
		"stored twice":    func(r *Run) { r.Stored = append(r.Stored, r.Stored[0]) },
		"another policy":  func(r *Run) { r.Stored[0].PolicyVersion = 3 },
		"another adapter": func(r *Run) { r.Stored[0].AdapterHash = "ff" },
		"another sampler": func(r *Run) { r.Stored[0].Sampling.Temperature = 0.3 },
	} {
		mixed := run
		mixed.Stored = append([]flow.Trajectory(nil), stored...)
		edit(&mixed)
		if _, err := mixed.Do(context.Background()); !errors.Is(err, ErrMixed) {
			t.Errorf("%s: found %v, expected ErrMixed", name, err)
		}
	}
}

func TestInvalidRuns(t *testing.T) {
	for name, edit := range map[string]func(*Run){
		"no tasks":         func(r *Run) { r.Tasks = nil },
		"negative repeats": func(r *Run) { r.Repeats = -1 },
		"no solver":        func(r *Run) { r.Solver = nil },
		"same id":          func(r *Run) { r.Tasks = append(r.Tasks, r.Tasks[0]) },
		"no planner":       func(r *Run) { r.Solver = &rollout.Solver{} },
	} {
		run := naiveRun(t)
		edit(&run)
		if _, err := run.Do(context.Background()); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestReportRoundTrip(t *testing.T) {
	run := naiveRun(t)
	r, err := run.Do(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	mean := 0.0 // of the rows: what Compare goes by
	for _, row := range r.Rows {
		mean += row.Mean / float64(len(r.Rows))
	}
	if all := r.Summary.All.Accuracy.Mean; diff(mean, all) > 1e-9 || all == 0 {
		t.Errorf("rows have the mean %v, all %v", mean, all)
	}
	var b, again bytes.Buffer
	if err := r.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	back, err := parseReport("eval.json", b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if err := back.WriteJSON(&again); err != nil || again.String() != text {
		t.Errorf("written again it differs (%v)", err)
	}
	var table strings.Builder
	if err := r.WriteTable(&table); err != nil || !strings.HasPrefix(table.String(), "gym: 30 tasks, 3 repeats\n") {
		t.Errorf("%v: %s", err, table.String())
	}
	for _, bad := range []string{"", "{}", strings.Replace(text, `"suite"`, `"Suite"`, 1), `{"suite":"x",` + text[1:], `{"extra":1,` + text[1:],
		strings.Replace(text, `"repeats"`, `"repeat"`, 1)} {
		if _, err := parseReport("eval.json", []byte(bad)); err == nil {
			t.Errorf("%.40q was read", bad)
		}
	}
}

func FuzzReadReport(f *testing.F) {
	f.Add([]byte(`{"suite":"s","repeats":1,"seed":1,"policy_version":0,"adapter_hash":"","sampling":{"temperature":0},"summary":{"all":{"tasks":1}},"rows":[{"task":"a","mean":1,"answers":["x"]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parseReport("eval.json", data)
		if err != nil {
			return
		}
		var b bytes.Buffer
		if err := r.WriteJSON(&b); err != nil {
			t.Fatal(err)
		}
		if err := r.WriteTable(&b); err != nil {
			t.Fatal(err)
		}
	})
}
