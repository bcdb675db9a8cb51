package tools

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"afctl/rollout"

	"github.com/google/go-cmp/cmp"
)

// counting is a tool that says how often it was called; its queries say what it should do.
type counting struct {
	mu    sync.Mutex
	calls int
}

func (c *counting) Spec() rollout.ToolSpec { return NewBaseGenerator(nil).Spec() }

func (c *counting) Execute(ctx context.Context, args json.RawMessage) (rollout.Result, error) {
	c.mu.Lock()
	c.calls++
	n := c.calls
	c.mu.Unlock()
	a, err := decode[struct {
		Query string `json:"query"`
	}](args)
	if err != nil {
		return rollout.Result{}, err
	}
	switch a.Query {
	case "missing":
		return rollout.Result{}, &rollout.ToolError{Kind: rollout.KindNotFound, Message: "nothing"}
	case "overload":
		return rollout.Result{}, &rollout.TransientError{Err: errors.New("later")}
	case "broken":
		return rollout.Result{}, errors.New("broken")
	case "slow":
		<-ctx.Done()
		return rollout.Result{}, ctx.Err()
	}
	return rollout.Result{Text: fmt.Sprintf("%s, call %d", a.Query, n), Data: json.RawMessage(`{"n":1}`)}, nil
}

// A replayed run gives what the recorded run gave, and calls nothing.
func TestRecordReplay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tools.jsonl")
	rec, err := NewRecorder(path)
	if err != nil {
		t.Fatal(err)
	}
	live := &counting{}
	tool := rec.Wrap(live)
	queries := []string{`{"query": "a"}`, `{ "query" :"\u0061"}`, `{"query":"missing"}`, `{"query":"broken"}`, `{"query":"b {x} é"}`, `{"query":"a"}`, `{"query":"missing"}`}
	type outcome struct {
		Result rollout.Result
		Kind   string
	}
	run := func(tool rollout.Tool) []outcome {
		var out []outcome
		for _, q := range queries {
			r, err := tool.Execute(t.Context(), json.RawMessage(q))
			out = append(out, outcome{r, kind(err)})
		}
		return out
	}
	recorded := run(tool)
	if live.calls != 4 {
		t.Errorf("%d calls for 4 different ones", live.calls)
	}
	if recorded[0].Result.Text != "a, call 1" || recorded[1].Result.Text != "a, call 1" || recorded[3].Kind != rollout.KindFailed {
		t.Errorf("%+v", recorded)
	}
	// What may pass is not recorded.
	if _, err := tool.Execute(t.Context(), json.RawMessage(`{"query":"overload"}`)); err == nil {
		t.Error("no error")
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := tool.Execute(canceled, json.RawMessage(`{"query":"slow"}`)); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}

	rep, err := NewReplayer(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(recorded, run(rep.Tool(live.Spec()))); d != "" {
		t.Errorf("replayed (-recorded +replayed):\n%s", d)
	}
	if live.calls != 6 {
		t.Errorf("the replay called the tool: %d calls", live.calls)
	}
	for _, q := range []string{`{"query":"overload"}`, `{"query":"slow"}`, `{"query":"new"}`} {
		if _, err := rep.Tool(live.Spec()).Execute(t.Context(), json.RawMessage(q)); kind(err) != KindNotRecorded {
			t.Errorf("%s: %v", q, err)
		}
	}

	// A record goes on where it ended.
	if rec, err = NewRecorder(path); err != nil {
		t.Fatal(err)
	}
	queries = append(queries, `{"query":"c"}`)
	second := run(rec.Wrap(live))
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(recorded, second[:7]); d != "" || live.calls != 7 {
		t.Errorf("%d calls, %s", live.calls, d)
	}
}

// Numbers beyond float64 are different arguments.
func TestRecordKeysKeepNumbers(t *testing.T) {
	a, _, errA := callKey("T", json.RawMessage(`{"n": 9007199254740992, "m": 1}`))
	b, _, errB := callKey("T", json.RawMessage(`{"m": 1, "n": 9007199254740993}`))
	c, _, errC := callKey("T", json.RawMessage(`{"m":1,"n":9007199254740993}`))
	if errA != nil || errB != nil || errC != nil || a == b || b != c {
		t.Errorf("%q %q %q", a, b, c)
	}
	if _, _, err := callKey("T", json.RawMessage(`{"m":1,"m":2}`)); kind(err) != rollout.KindBadArgs {
		t.Errorf("%v", err)
	}
}

// A torn last line is dropped, any other fault is an error that names the line.
func TestRecordFaults(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tools.jsonl")
	const head = recordHead + "\n"
	good := `{"tool":"T","args":{"query":"a"},"text":"x"}` + "\n"
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("\ufeff" + head + good + `{"tool":"T","args":{"query":"b"},"text":"` + strings.Repeat("long ", 100))
	rep, err := NewReplayer(path)
	if err != nil || len(rep.known) != 1 {
		t.Fatalf("%v", err)
	}
	rec, err := NewRecorder(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rec.Wrap(&counting{}).Execute(t.Context(), json.RawMessage(`{"query":"c"}`)); err != nil {
		t.Error(err)
	}
	if err := rec.Close(); err != nil {
		t.Error(err)
	}
	if rep, err = NewReplayer(path); err != nil || len(rep.known) != 2 {
		t.Errorf("%v after going on from a torn line", err)
	}
	for name, line := range map[string]string{
		"no json": "x\n", "unknown key": `{"tool":"T","args":{},"foo":1}` + "\n", "no tool": `{"args":{}}` + "\n", "no args": `{"tool":"T"}` + "\n", "twice": strings.Replace(good, "x", "y", 1), "case": `{"Tool":"T","args":{}}` + "\n", "type": `{"tool":7,"args":{}}` + "\n",
	} {
		write(head + good + line + good)
		for _, err := range []error{second(NewReplayer(path)), second(NewRecorder(path))} {
			if err == nil || !strings.Contains(err.Error(), path+":3:") {
				t.Errorf("%s: %v", name, err)
			}
			if wants := map[string]string{"type": "/tool: found a number, expected a string", "no args": "/args: missing", "case": `did you mean "tool"`}; err != nil && !strings.Contains(err.Error(), wants[name]) {
				t.Errorf("%s: %v, expected %q", name, err, wants[name])
			}
		}
	}
	for other, want := range map[string]string{ // a torn line is one of a record, or nothing is cut off
		"model: x": "", head + good + `[{"question":"of tasks, without a line break"}]`: "", good: "", `{"format":2}` + "\n" + good: "", recordHead + " of somebody else": "", "\n": "",
		"": head, "{": head, "\ufeff" + head[:8]: head, head: head, head + good + "{": head + good,
	} {
		write(other)
		read := second(NewReplayer(path))
		unread := want == "" || !strings.Contains(other, "\n") // what has no whole line can be gone on with, but not replayed
		rec, err := NewRecorder(path)
		content, _ := os.ReadFile(path)
		if want == "" && (err == nil || string(content) != other) || want != "" && (err != nil || string(content) != want) || unread != (read != nil) {
			t.Errorf("%q: %v, %v, and %q is left", other, read, err, content)
		}
		if err == nil {
			if err := rec.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if err := second(NewReplayer(path + ".absent")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func second[T any](_ T, err error) error { return err }

// A record has one writer; the next goes on behind all that it wrote.
func TestRecordHasOneWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tools.jsonl")
	for _, query := range []string{"a", "b"} {
		rec, err := NewRecorder(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := second(NewRecorder(path)); err == nil || !strings.Contains(err.Error(), path+": another run records in it") {
			t.Errorf("a second recorder: %v", err)
		}
		if _, err := rec.Wrap(&counting{}).Execute(t.Context(), json.RawMessage(`{"query":"`+query+`"}`)); err != nil {
			t.Error(err)
		}
		if err := rec.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if rep, err := NewReplayer(path); err != nil || len(rep.known) != 2 {
		t.Errorf("%v", err)
	}
}

// After a write failed, nothing more is recorded, and closing says so.
func TestRecordWriteFails(t *testing.T) {
	rec, err := NewRecorder(filepath.Join(t.TempDir(), "tools.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	rec.f.Close()
	if rec.f, err = os.Open(rec.f.Name()); err != nil { // for reading only: writes fail, closing does not
		t.Fatal(err)
	}
	tool := rec.Wrap(&counting{})
	for range 2 {
		if _, err := tool.Execute(t.Context(), json.RawMessage(`{"query":"a"}`)); err == nil || !strings.Contains(err.Error(), "tool record") {
			t.Errorf("%v", err)
		}
	}
	if err := rec.Close(); err == nil || !strings.Contains(err.Error(), "tool record") {
		t.Errorf("%v", err)
	}
}

// meeting lets its first callers in only together, and answers each differently.
type meeting struct {
	counting
	callers int
	all     sync.WaitGroup
	once    sync.Once
}

func (m *meeting) Execute(ctx context.Context, args json.RawMessage) (rollout.Result, error) {
	m.once.Do(func() { m.all.Add(m.callers) })
	if strings.Contains(string(args), `"q0"`) {
		m.all.Done()
		m.all.Wait()
	}
	return m.counting.Execute(ctx, args)
}

// Many solves that make the same call at once get one result.
func TestRecordConcurrently(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tools.jsonl")
	rec, err := NewRecorder(path)
	if err != nil {
		t.Fatal(err)
	}
	const callers = 16
	tool := rec.Wrap(&meeting{callers: callers})
	var mu sync.Mutex
	results := map[string]map[string]bool{}
	var wg sync.WaitGroup
	for g := range callers {
		wg.Go(func() {
			for i := range 20 {
				q := fmt.Sprintf(`{"query":"q%d"}`, (i*g)%20) // all begin with q0
				r, err := tool.Execute(context.Background(), json.RawMessage(q))
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				if results[q] == nil {
					results[q] = map[string]bool{}
				}
				results[q][r.Text] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	rep, err := NewReplayer(path)
	if err != nil {
		t.Fatal(err)
	}
	for q, texts := range results {
		r, err := rep.Tool(tool.Spec()).Execute(context.Background(), json.RawMessage(q))
		if err != nil || len(texts) != 1 || !texts[r.Text] {
			t.Errorf("%s gave %v, replayed %q (%v)", q, texts, r.Text, err)
		}
	}
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte(recordHead + "\n" + `{"tool":"T","args":{"query":"a"},"text":"x","data":[1]}` + "\n"))
	f.Add([]byte(recordHead + "\n" + `{"tool":"T","args":{},"error_kind":"k","error":"e"}` + "\n{"))
	f.Fuzz(func(t *testing.T, data []byte) {
		known, whole, err := readRecord("fuzz", strings.NewReader(string(data)))
		if err == nil && (whole > int64(len(data)) || len(known) > strings.Count(string(data), "\n")) {
			t.Errorf("%d calls in %d of %d bytes", len(known), whole, len(data))
		}
	})
}
