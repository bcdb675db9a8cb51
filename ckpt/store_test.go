package ckpt

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"afctl/flow"
)

// newStore opens a store in a new folder with one task, "q".
func newStore(t testing.TB) *Store {
	t.Helper()
	s, err := OpenStore(t.Context(), filepath.Join(t.TempDir(), StoreFile))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := s.PutTasks(t.Context(), []flow.Task{{ID: "q", Question: "?"}}); err != nil {
		t.Fatal(err)
	}
	return s
}

// collect reads a whole sequence.
func collect[T any](t require, seq func(func(T, error) bool)) []T {
	var all []T
	for v, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	return all
}

// trajectory is one with a turn, whose reward says which it is.
func trajectory(group string, sample, version int, hash string, reward float64) *flow.Trajectory {
	return &flow.Trajectory{
		Task: "q", Group: group, Sample: sample, PolicyVersion: version, AdapterHash: hash, Reward: &reward,
		Turns: []flow.Turn{{Prompt: []int32{1, 2}, Action: []int32{3}, LogProbs: []float32{-0.5}, Stop: flow.StopEOS}},
		Steps: []flow.Step{{Turn: 1, Tool: "Calculator", Args: []byte(`{"expression":"1+1"}`), Result: "2"}},
	}
}

func TestPutTrajectoryReplaces(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	for reward := range 3 {
		if err := s.PutTrajectory(ctx, 1, PhaseTrain, trajectory("g", 0, 0, "h", float64(reward))); err != nil {
			t.Fatal(err)
		}
	}
	got := collect(t, s.Trajectories(ctx, Query{}))
	if len(got) != 1 || *got[0].Reward != 2 {
		t.Fatalf("%d trajectories, expected the last one alone", len(got))
	}
	for _, table := range []string{"turns", "agent_steps"} {
		var n int
		if err := s.read.QueryRow("SELECT count(*) FROM " + table).Scan(&n); err != nil || n != 1 {
			t.Errorf("%d rows in %s, error %v; 1 expected", n, table, err)
		}
	}
}

// The order of a query is that of the keys, and its filters are exact; the order of puts has no part in it.
func TestQueryOrderAndFilters(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	type key struct {
		phase  string
		step   int
		group  string
		sample int
	}
	var want []key
	for _, phase := range []string{"eval-gym", PhaseTrain} {
		for step := range 3 {
			for _, group := range []string{"a", "b"} {
				for sample := range 2 {
					want = append(want, key{phase, step, group, sample})
				}
			}
		}
	}
	names := map[float64]key{}
	for i := range want {
		i = (i*7 + 5) % len(want) // another order: 7 and 24 share no factor
		k := want[i]
		if err := s.PutTrajectory(ctx, k.step, k.phase, trajectory(k.group, k.sample, 0, "h", float64(i))); err != nil {
			t.Fatal(err)
		}
		names[float64(i)] = k
	}
	for _, q := range []Query{{}, {Phase: PhaseTrain}, {From: 1}, {To: 1}, {Phase: "eval-gym", From: 1, To: 2}, {Phase: "none"}} {
		var expected, got []key
		for _, k := range want {
			if (q.Phase == "" || q.Phase == k.phase) && k.step >= q.From && (q.To == 0 || k.step < q.To) {
				expected = append(expected, k)
			}
		}
		for _, r := range collect(t, s.Trajectories(ctx, q)) {
			got = append(got, names[*r.Reward])
		}
		if diff := cmp.Diff(expected, got, cmp.AllowUnexported(key{})); diff != "" {
			t.Errorf("%+v: %s", q, diff)
		}
	}
	counts, err := s.Counts(ctx)
	if err != nil || len(counts) != 6 || counts[3] != (Count{Phase: PhaseTrain, Step: 0, Rollouts: 4}) {
		t.Errorf("counts %v, error %v", counts, err)
	}
	for range s.Trajectories(ctx, Query{}) {
		break // leaves no transaction open: the cleanup's Close would wait
	}
}

func TestPutTrajectoryRefuses(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	nan := trajectory("g", 0, 0, "h", math.NaN())
	stranger := trajectory("g", 0, 0, "h", 1)
	stranger.Task = "nobody"
	slow := trajectory("g", 0, 0, "h", 1)
	slow.Steps[0].ToolMS = math.Inf(1)
	negative := trajectory("g", -1, 0, "h", 1)
	for _, c := range []struct {
		t    *flow.Trajectory
		want string
	}{{nan, "reward"}, {stranger, `"nobody"`}, {slow, "steps[0]"}, {negative, "sample"}} {
		if err := s.PutTrajectory(ctx, 1, PhaseTrain, c.t); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, expected one with %q", err, c.want)
		}
	}
	if got := collect(t, s.Trajectories(ctx, Query{})); len(got) != 0 {
		t.Errorf("%d trajectories stored", len(got))
	}
}

// Rewind leaves what an undisturbed run has at the step, and of the step in flight only what this very policy made.
func TestRewind(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	hash := func(version int) string { return fmt.Sprintf("h%d", version) }
	for step := range 5 { // policy v came to be after v steps, and made the rollouts of step v+1
		if err := s.PutPolicy(ctx, step, hash(step), step); err != nil {
			t.Fatal(err)
		}
		for sample := range 2 {
			if err := errors.Join(
				s.PutTrajectory(ctx, step+1, PhaseTrain, trajectory("g", sample, step, hash(step), 1)),
				s.PutTrajectory(ctx, step, "eval", trajectory("g", sample, step, hash(step), 1)),
			); err != nil {
				t.Fatal(err)
			}
		}
		if step > 0 {
			if err := s.PutMetrics(ctx, step, fmt.Appendf(nil, `{"step":%d}`, step)); err != nil {
				t.Fatal(err)
			}
		}
	}
	// One rollout of step 3 by a policy that is not the checkpoint's.
	if err := s.PutTrajectory(ctx, 3, PhaseTrain, trajectory("other", 0, 2, "abandoned", 1)); err != nil {
		t.Fatal(err)
	}
	kept, err := s.Rewind(ctx, Policy{Version: 2, AdapterHash: hash(2), Step: 2})
	if err != nil || kept != 2 {
		t.Fatalf("kept %d, error %v; 2 expected", kept, err)
	}
	counts, err := s.Counts(ctx)
	want := []Count{{"eval", 0, 2, 0}, {"eval", 1, 2, 0}, {"eval", 2, 2, 0}, {PhaseTrain, 1, 2, 0}, {PhaseTrain, 2, 2, 0}, {PhaseTrain, 3, 2, 0}}
	if diff := cmp.Diff(want, counts); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	policies, err := s.Policies(ctx)
	if diff := cmp.Diff([]Policy{{0, "h0", 0}, {1, "h1", 1}, {2, "h2", 2}}, policies); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	lines := collect(t, s.Metrics(ctx))
	if len(lines) != 2 || lines[1].Step != 2 || string(lines[1].JSON) != `{"step":2}` {
		t.Errorf("metrics %v", lines)
	}
	if kept, err := s.Rewind(ctx, Policy{Version: 2, AdapterHash: "another", Step: 2}); err != nil || kept != 0 {
		t.Errorf("another adapter: kept %d, error %v; none expected", kept, err)
	}
	if err := s.PutPolicy(ctx, 2, "another", 2); err == nil {
		t.Error("a policy version with another adapter: no error")
	}
}

// Calls that share a transaction each get their own result.
func TestConcurrentPutsShareCommitsNotErrors(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	var wg sync.WaitGroup
	s.write.mu.Lock() // all callers of the second batch wait together
	for i := range 40 {
		wg.Go(func() {
			r := trajectory("g", i, 0, "h", 1)
			if i%5 == 0 {
				r.Task = "nobody"
			}
			if err := s.PutTrajectory(ctx, 1, PhaseTrain, r); (err != nil) != (i%5 == 0) {
				t.Errorf("sample %d: error %v", i, err)
			}
		})
	}
	time.Sleep(20 * time.Millisecond) // only makes a shared batch likely; the result does not depend on it
	s.write.mu.Unlock()
	wg.Wait()
	if got := collect(t, s.Trajectories(ctx, Query{})); len(got) != 32 {
		t.Errorf("%d trajectories, expected 32", len(got))
	}
}

func TestStoreHonoursContext(t *testing.T) {
	s := newStore(t)
	s.write.mu.Lock() // the writer is busy
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err := s.PutTrajectory(ctx, 1, PhaseTrain, trajectory("g", 0, 0, "h", 1))
	s.write.mu.Unlock()
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, expected the context's", err)
	}
	if err := s.PutTrajectory(t.Context(), 2, PhaseTrain, trajectory("g", 0, 0, "h", 1)); err != nil {
		t.Errorf("after a caller that left: %v", err)
	}
	done, cancel := context.WithCancel(t.Context())
	cancel()
	var errs []error
	for _, err := range s.Trajectories(done, Query{}) {
		errs = append(errs, err)
	}
	if len(errs) != 1 || !errors.Is(errs[0], context.Canceled) {
		t.Errorf("errors %v, expected one, the context's", errs)
	}
}

// A reader sees what is committed while the writer goes on, and cannot write.
func TestReadOnlyStore(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	if err := s.PutTrajectory(ctx, 1, PhaseTrain, trajectory("g", 0, 0, "h", 1)); err != nil {
		t.Fatal(err)
	}
	r, err := OpenStoreReadOnly(ctx, s.path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	n := 0
	for _, err := range r.Trajectories(ctx, Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		n++ // the sequence is as of its start
		if err := s.PutTrajectory(ctx, 1+n, PhaseTrain, trajectory("g", 0, 0, "h", 1)); err != nil {
			t.Fatal(err)
		}
	}
	if n != 1 {
		t.Errorf("%d trajectories, expected 1", n)
	}
	if got := collect(t, r.Trajectories(ctx, Query{})); len(got) != 2 {
		t.Errorf("%d trajectories afterwards, expected 2", len(got))
	}
	_, rewind := r.Rewind(ctx, Policy{})
	for _, err := range []error{r.PutTasks(ctx, nil), r.PutTrajectory(ctx, 1, "p", trajectory("g", 0, 0, "h", 1)),
		r.PutMetrics(ctx, 1, []byte("{}")), r.PutPolicy(ctx, 1, "h", 1), rewind} {
		if !errors.Is(err, ErrReadOnly) {
			t.Errorf("error %v, expected ErrReadOnly", err)
		}
	}
	if _, err := OpenStoreReadOnly(ctx, filepath.Join(t.TempDir(), "none.db")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: error %v", err)
	}
}

// What is not ours, or of a newer build, is refused and left as it is.
func TestOpenStoreRefuses(t *testing.T) {
	ctx := t.Context()
	newFile := func(name string, fill func(path string) error) string {
		path := filepath.Join(t.TempDir(), name)
		if err := fill(path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	execute := func(statements string) func(string) error {
		return func(path string) error {
			db, err := sql.Open("sqlite", path)
			if err == nil {
				_, err = db.Exec(statements)
			}
			return errors.Join(err, db.Close())
		}
	}
	foreign := newFile("foreign.db", execute("CREATE TABLE precious (x); INSERT INTO precious VALUES (1)"))
	text := newFile("text.db", func(path string) error {
		return os.WriteFile(path, []byte(strings.Repeat("no database ", 100)), 0o600)
	})
	newer := newFile("newer.db", execute(fmt.Sprintf("CREATE TABLE t (x); PRAGMA application_id = %d; PRAGMA user_version = 99", storeApplicationID)))
	unversioned := newFile("unversioned.db", execute(fmt.Sprintf("CREATE TABLE t (x); PRAGMA application_id = %d; PRAGMA user_version = 0", storeApplicationID)))
	if _, err := OpenStoreReadOnly(ctx, unversioned); err == nil || !strings.Contains(err.Error(), "found user_version 0") || strings.Contains(err.Error(), "application_id") {
		t.Errorf("%v, expected an error that names user_version", err)
	}
	for _, path := range []string{foreign, text, newer, unversioned} {
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for name, open := range map[string]func(context.Context, string) (*Store, error){"write": OpenStore, "read": OpenStoreReadOnly} {
			_, err := open(ctx, path)
			var version *VersionError
			switch {
			case path == newer && (!errors.As(err, &version) || version.Found != 99 || version.Known != len(storeMigrations)):
				t.Errorf("%s, %s: error %v, expected a *VersionError", filepath.Base(path), name, err)
			case path != newer && !errors.Is(err, ErrForeign):
				t.Errorf("%s, %s: error %v, expected ErrForeign", filepath.Base(path), name, err)
			}
		}
		if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
			t.Errorf("%s was changed (%v)", filepath.Base(path), err)
		}
	}
}

// A path is a path, whatever SQLite's URIs mean by its characters.
func TestStorePathWithSpecialCharacters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a b?mode=memory#c%41&d.db")
	s, err := OpenStore(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
	if err := s.PutMetrics(t.Context(), 1, []byte("{}")); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("after Close: error %v, expected fs.ErrClosed", err)
	}
}

// When the disk is full the call says so, nothing of it is stored, what was there stays, and later calls work once
// there is room.
func TestStoreDiskFull(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	big := trajectory("big", 0, 0, "h", 1)
	big.Turns[0].Prompt = make([]int32, 1<<18)
	if err := s.PutTrajectory(ctx, 1, PhaseTrain, trajectory("g", 0, 0, "h", 1)); err != nil {
		t.Fatal(err)
	}
	limit := func(pages int) {
		if _, err := s.write.conn.conn.ExecContext(ctx, fmt.Sprintf("PRAGMA max_page_count = %d", pages)); err != nil {
			t.Fatal(err)
		}
	}
	limit(100) // SQLite's own way to run out of room
	if err := s.PutTrajectory(ctx, 1, PhaseTrain, big); !errors.Is(err, unix.ENOSPC) || strings.Contains(err.Error(), "(13)") {
		t.Errorf("error %v, expected ENOSPC, in the system's words alone", err)
	}
	if got := collect(t, s.Trajectories(ctx, Query{})); len(got) != 1 || got[0].Group != "g" {
		t.Errorf("%d trajectories, expected the first one alone", len(got))
	}
	limit(1 << 20)
	if err := s.PutTrajectory(ctx, 1, PhaseTrain, big); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

// Commits of rollouts leave the fsync to the operating system; those that end a step do not.
func TestStepEndsDurably(t *testing.T) {
	const normal, full = 1, 2 // PRAGMA synchronous
	s, ctx := newStore(t), t.Context()
	puts := []struct {
		put  func() error
		want int
	}{
		{func() error { return s.PutTrajectory(ctx, 1, PhaseTrain, trajectory("g", 0, 0, "h", 1)) }, normal},
		{func() error { return s.PutMetrics(ctx, 1, []byte(`{"step":1}`)) }, full},
		{func() error { return s.PutTrajectory(ctx, 2, PhaseTrain, trajectory("g", 0, 0, "h", 1)) }, normal},
		{func() error { return s.PutPolicy(ctx, 1, "h", 1) }, full},
	}
	for i, p := range puts {
		if err := p.put(); err != nil {
			t.Fatal(err)
		}
		var mode int
		if err := s.write.conn.conn.QueryRowContext(ctx, "PRAGMA synchronous").Scan(&mode); err != nil || mode != p.want {
			t.Errorf("put %d: synchronous %d, error %v; %d expected", i, mode, err, p.want)
		}
	}
}
