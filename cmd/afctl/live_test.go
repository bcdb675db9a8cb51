package main

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"

	"afctl/bench/eval"
	"afctl/flow"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// liveSolve is a solve of a task with so many action tokens, and steps with these tools; one with "!" before it failed.
func liveSolve(task string, reward float64, tokens int, tools ...string) *flow.Trajectory {
	t := &flow.Trajectory{Task: task, Group: task, Turns: []flow.Turn{{Action: make([]int32, tokens)}}}
	if !math.IsNaN(reward) {
		t.Reward = &reward
	}
	for _, name := range tools {
		s := flow.Step{Tool: strings.TrimPrefix(name, "!")}
		if s.Tool != name {
			s.ErrorKind = "not_found"
		}
		t.Steps = append(t.Steps, s)
	}
	return t
}

func liveMetrics(step int, reward float64) flow.Metrics {
	return flow.Metrics{Step: step, RewardMean: flow.Number(reward), KL: 0.00312, RatioMean: 1.001, RatioMax: 1.25, TurnsMean: 1.42, Entropy: 0.5, TokensPerSecond: 9123}
}

func liveSummary(accuracy float64) eval.Summary {
	return eval.Summary{All: eval.Stats{Tasks: 100, Accuracy: eval.Interval{Mean: accuracy, Low: accuracy - 0.1, High: accuracy + 0.1}, Turns: 1.5,
		ErrorRate: 0.25, StuckRate: 0.04, Tools: []eval.ToolStats{{Name: "Search", Share: 0.75}, {Name: "Calculator", Share: 0.25}}}}
}

// liveRun plays a run of three steps of two seconds with an evaluation before and after; look is called at its turning points.
func liveRun(v *liveView, look func(at string)) {
	v.BeginEval(2, nil)
	time.Sleep(time.Second)
	v.Rollout(liveSolve("e1", 1, 100, "Search"))
	look("evaluation")
	time.Sleep(time.Second)
	v.Rollout(liveSolve("e2", 0, 100, "Search"))
	v.Eval(0, liveSummary(0.4))
	for step := 1; step <= 3; step++ {
		v.BeginRollouts(4, nil)
		for i := range 4 {
			time.Sleep(250 * time.Millisecond)
			reward := float64(min(i, step) % 2)
			if step == 2 && i == 3 {
				reward = math.NaN()
			}
			v.Rollout(liveSolve(fmt.Sprint("t", i), reward, 50, []string{"Search", "!Search", "Calculator", "Python"}[:i+1]...))
			if step == 2 && i == 1 {
				look("rollouts")
			}
		}
		time.Sleep(time.Second)
		if step == 2 {
			look("update")
			v.Note("update 2:\na \x1b[31mwarning\x1b[0m\u202e\xff")
		}
		m := liveMetrics(step, 0.25*float64(step))
		if step == 2 {
			m.Failed, m.SkippedSteps = 1, 1
		}
		v.Metrics(m)
	}
	v.BeginEval(2, []flow.Trajectory{*liveSolve("e1", 1, 100, "Search")})
	time.Sleep(time.Second)
	v.Rollout(liveSolve("e2", 1, 100, "Search"))
	v.Eval(3, liveSummary(0.8))
	v.Close()
	look("end")
}

func TestLivePanel(t *testing.T) {
	want := map[string]string{
		"evaluation": `run          0% ░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░ (0/3)  1s
evaluate    50% ███████████████░░░░░░░░░░░░░░░ (1/2)  1s  eta 1s
held-out  so far 100.0 %
tools     Search 100%
solves    turns 1.00  errors 0.0 %  sampled 100 tokens/s
`,
		"rollouts": `run         33% █████████░░░░░░░░░░░░░░░░░░░░░ (1/3)  5s  eta 3s
solve       50% ███████████████░░░░░░░░░░░░░░░ (2/4)  1s  eta 0s
reward    0.25  ▃  so far 0.50
held-out  40.0 %  (30.0 - 50.0)  at step 0
tools     Search 100%
solves    turns 1.50  errors 33.3 %  sampled 200 tokens/s
step 1    kl 0.0031  ratio 1.00 (max 1.25)  entropy 0.500  trained 9123 tokens/s
`,
		"update": `run         33% █████████░░░░░░░░░░░░░░░░░░░░░ (1/3)  6s  eta 2s
update    step 2 of 3  1s
reward    0.25  ▃
held-out  40.0 %  (30.0 - 50.0)  at step 0
tools     Search 70%  Calculator 20%  Python 10%
solves    turns 2.50  errors 30.0 %  failed 1  sampled 182 tokens/s
step 1    kl 0.0031  ratio 1.00 (max 1.25)  entropy 0.500  trained 9123 tokens/s
`,
		"end": `update 2: a [31mwarning[0m�
run        100% ██████████████████████████████ (3/3)  9s
reward    0.75  ▃▅▇
held-out  40.0 % ->  80.0 %  (70.0 - 90.0)  at step 3
tools     Search 100%
solves    turns 1.00  errors 0.0 %  sampled 100 tokens/s
step 3    kl 0.0031  ratio 1.00 (max 1.25)  entropy 0.500  trained 9123 tokens/s
`,
	}
	synctest.Test(t, func(t *testing.T) {
		screen := &fakeTerminal{t: t, columns: 80, rows: 24}
		v := startLiveView(screen, 3, screen.size, false)
		liveRun(v, func(at string) {
			time.Sleep(paintEvery)
			synctest.Wait()
			if d := cmp.Diff(want[at], screen.screen()); d != "" {
				t.Errorf("%s: - expected, + found:\n%s\n%s", at, d, screen.screen())
			}
		})
		if screen.colored {
			t.Error("colors, though none were asked for")
		}
	})
}

func TestLivePlain(t *testing.T) {
	want := `eval at step 0/3  accuracy 40.0 % (30.0 - 50.0)  turns 1.5  errors 25 %  stuck 4 %  tools Search 75% Calculator 25%  2.0 s
step 1/3  reward 0.25  kl 0.0031  ratio 1.00  turns 1.4  errors 30 %  tools Search 70% Calculator 20% Python 10%  2.0 s
update 2: a [31mwarning[0m�
step 2/3  reward 0.50  kl 0.0031  ratio 1.00  turns 1.4  errors 30 %  failed 1  skipped 1  tools Search 70% Calculator 20% Python 10%  2.0 s
step 3/3  reward 0.75  kl 0.0031  ratio 1.00  turns 1.4  errors 30 %  tools Search 70% Calculator 20% Python 10%  2.0 s
eval at step 3/3  accuracy 80.0 % (70.0 - 90.0)  before 40.0 %  turns 1.5  errors 25 %  stuck 4 %  tools Search 75% Calculator 25%  1.0 s
`
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		liveRun(startLiveView(&out, 3, nil, false), func(string) {})
		if d := cmp.Diff(want, out.String()); d != "" {
			t.Errorf("- expected, + found:\n%s\n%s", d, out.String())
		}
	})
}

// A command that takes no steps says now and then how far it is, and at the end what came of it; what was there before counts as done.
func TestLivePlainSolves(t *testing.T) {
	want := "solve: 2 of 3 solves, reward 0.50\nsolve 3/3  reward 0.50  turns 1.0  errors 33 %  failed 1  tools Search 100%  21.0 s\n"
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		v := startLiveView(&out, 0, nil, false)
		v.BeginRollouts(3, []flow.Trajectory{*liveSolve("a", 1, 1, "Search")})
		time.Sleep(plainEvery)
		v.Rollout(liveSolve("b", 0, 1, "!Search"))
		time.Sleep(plainEvery / 2)
		v.Rollout(liveSolve("c", math.NaN(), 1, "Search"))
		time.Sleep(6 * time.Second)
		v.Close()
		if d := cmp.Diff(want, out.String()); d != "" {
			t.Errorf("- expected, + found:\n%s", d)
		}
	})
}

// After any events, notes and resizings the screen has the notes in their order and below them the panel, of at most ten lines, and nothing else;
// no line is wider than the terminal.
func TestLiveScreen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		screen := &fakeTerminal{t: t, columns: 80, rows: 1000}
		v := &liveView{w: screen, size: screen.size, color: rapid.Bool().Draw(t, "color"), state: runState{steps: rapid.SampledFrom([]int{0, 5}).Draw(t, "steps")}}
		figure := rapid.OneOf(rapid.Float64(), rapid.Just(math.NaN()), rapid.Just(math.Inf(1)))
		name := rapid.StringMatching(`[a-zA-Z_]{1,30}`)
		var notes []string
		for range rapid.IntRange(1, 20).Draw(t, "events") {
			switch rapid.IntRange(0, 6).Draw(t, "event") {
			case 0:
				v.BeginRollouts(rapid.IntRange(0, 500).Draw(t, "total"), nil)
			case 1:
				v.BeginEval(rapid.IntRange(0, 500).Draw(t, "total"), []flow.Trajectory{*liveSolve("there", 1, 1, "Search")})
			case 2:
				v.Rollout(liveSolve(name.Draw(t, "task"), figure.Draw(t, "reward"), 10, name.Draw(t, "tool"), name.Draw(t, "tool")))
			case 3:
				m := liveMetrics(rapid.IntRange(1, 10).Draw(t, "step"), figure.Draw(t, "reward"))
				m.KL, m.RatioMax = flow.Number(figure.Draw(t, "kl")), flow.Number(figure.Draw(t, "ratio"))
				v.Metrics(m)
			case 4:
				v.Eval(rapid.IntRange(0, 10).Draw(t, "step"), liveSummary(rapid.Float64Range(0, 1).Draw(t, "accuracy")))
			case 5:
				notes = append(notes, fmt.Sprint("note ", len(notes), strings.Repeat(" long", rapid.IntRange(0, 60).Draw(t, "length"))))
				v.Note(notes[len(notes)-1])
			case 6:
				screen.resize(rapid.IntRange(1, 200).Draw(t, "columns"))
			}
			v.paint()
			if len(v.painted) > 10 {
				t.Fatalf("a panel of %d lines", len(v.painted))
			}
			if d := cmp.Diff(append(notes[:len(notes):len(notes)], v.painted...), screen.lines, cmp.Transformer("trim", strings.TrimSpace)); d != "" && len(screen.lines) > 0 {
				t.Fatalf("- expected, + found:\n%s", d)
			}
			for _, l := range v.painted {
				if utf8.RuneCountInString(l) > screen.columns {
					t.Fatalf("%q in %d columns", l, screen.columns)
				}
			}
		}
	})
}

// However fast solves come, and from however many goroutines, the panel is painted ten times a second, every solve counts once, and with Close no goroutine
// is left: synctest fails if one is.
func TestLiveConcurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const workers, each = 8, 500
		screen := &fakeTerminal{t: t, columns: 100, rows: 24}
		v := startLiveView(screen, 1, screen.size, true)
		v.BeginRollouts(workers*each, nil)
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				for i := range each {
					time.Sleep(time.Millisecond)
					v.Rollout(liveSolve(fmt.Sprint(w, "-", i), 1, 10, "Search"))
					if i%100 == 99 {
						v.Note("a hundred")
					}
				}
			})
		}
		wg.Wait()
		if done := v.state.phase.done(); done != workers*each {
			t.Errorf("%d solves counted, expected %d", done, workers*each)
		}
		v.Close()
		v.Close()
		last := len(screen.writes) - 1 // of Close
		for i, at := range screen.writes[:last] {
			if i > 0 && at.Sub(screen.writes[i-1]) < paintEvery {
				t.Errorf("painted %v after the painting before", at.Sub(screen.writes[i-1]))
			}
		}
		if n := strings.Count(screen.screen(), "a hundred"); n != workers*each/100 {
			t.Errorf("%d notes on the screen, expected %d", n, workers*each/100)
		}
		if !screen.colored {
			t.Error("no colors, though they were asked for")
		}
		v.Rollout(liveSolve("late", 1, 1))
		v.Note("late")
		if !strings.HasSuffix(screen.screen(), "late\n") || len(screen.writes) != last+2 {
			t.Errorf("a note after Close: %s", screen.screen())
		}
	})
}

// heldTerminal is one whose writes take a second, as over a slow line.
type heldTerminal struct {
	t       *testing.T
	writing sync.Mutex
}

func (h *heldTerminal) Write(b []byte) (int, error) {
	if !h.writing.TryLock() {
		h.t.Error("two writes at a time")
		return 0, nil
	}
	defer h.writing.Unlock()
	time.Sleep(time.Second)
	return len(b), nil
}

// A terminal that takes its time holds no solve, and what Close paints comes after what was being painted.
func TestLiveHeldTerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := startLiveView(&heldTerminal{t: t}, 1, func() (int, int) { return 80, 24 }, false)
		v.BeginRollouts(2, nil)
		time.Sleep(paintEvery + paintEvery/2)
		if !v.mu.TryLock() {
			t.Fatal("the terminal has the lock that telling of a solve needs")
		}
		v.mu.Unlock()
		v.Close()
	})
}

// The time that is left goes by what was solved in this phase, not by what was there before it.
func TestLiveLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPhase(phaseSolve, 5, []flow.Trajectory{*liveSolve("a", 1, 1), *liveSolve("b", 1, 1)})
		if _, known := p.left(time.Now()); known {
			t.Error("the time left is known before a solve")
		}
		time.Sleep(4 * time.Second)
		p.add(liveSolve("c", 1, 8))
		time.Sleep(time.Second)
		if left, _ := p.left(time.Now()); left != 7*time.Second || p.tokensPerSecond() != 2 {
			t.Errorf("%v left at %g tokens/s, expected 2 solves of 4 s less 1 s, at 2", left, p.tokensPerSecond())
		}
	})
}

// A solve that failed and was tried again counts once, as what it became.
func TestLiveRetry(t *testing.T) {
	p := newPhase(phaseSolve, 3, []flow.Trajectory{*liveSolve("a", math.NaN(), 1, "Search"), *liveSolve("b", 1, 1, "Search")})
	for _, reward := range []float64{math.NaN(), 0, 1} { // the last is what no one should tell
		p.add(liveSolve("a", reward, 1, "Search", "!Search"))
	}
	if p.done() != 2 || p.failures != 0 || p.reward() != 0.5 || p.meanTurns() != 1.5 {
		t.Errorf("%d solves, %d failed, reward %g, %g turns; expected 2, 0, 0.5, 1.5", p.done(), p.failures, p.reward(), p.meanTurns())
	}
}

// What a terminal would act on does not come through.
func TestPrintable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })).Draw(t, "text")
		got := printable(text)
		if !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool {
			return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029'
		}) {
			t.Fatalf("%q became %q", text, got)
		}
	})
}

// A long label keeps its distance from the figures, and the line its width.
func TestPanelLabel(t *testing.T) {
	for columns := 1; columns < 120; columns++ {
		p := panelLayout{columns: columns}
		p.add("step 100000", plainCell("kl 0.0000"), plainCell("ratio 1.00"))
		for _, line := range p.lines {
			text := ""
			for _, c := range line {
				text += c.content
			}
			if utf8.RuneCountInString(text) > columns || !strings.HasPrefix(text, "step 100000 kl") {
				t.Errorf("%d columns: %q", columns, text)
			}
		}
	}
}

// A run of more steps than time has nanoseconds for ends at no time that is known.
func TestTimeLeft(t *testing.T) {
	begin := time.Unix(0, 0)
	for steps, known := range map[int]bool{3: true, 1 << 20: true, 1 << 31: false, 1 << 40: false} {
		s := runState{steps: steps, done: 1, training: begin, stepped: begin.Add(time.Minute)}
		if left, ok := s.left(s.stepped); ok != known || left < 0 {
			t.Errorf("%d steps: %v, %v", steps, left, ok)
		}
	}
}

func TestFigureText(t *testing.T) {
	for x, want := range map[float64]string{-1e-9: "0.00", 0: "0.00", -0.006: "-0.01", 1e6: "1000000.00", math.Inf(-1): "-"} {
		if got := figureText("%.2f", x); got != want {
			t.Errorf("%v: %q, expected %q", x, got, want)
		}
	}
	for n, want := range map[int]string{0: "0 steps", 1: "1 step", 2: "2 steps"} {
		if got := counted(n, "step"); got != want {
			t.Errorf("%d: %q, expected %q", n, got, want)
		}
	}
}

func TestSparkline(t *testing.T) {
	for _, c := range []struct {
		values  []float64
		columns int
		want    string
	}{
		{nil, 8, ""},
		{[]float64{0, 0.5, 1}, 8, "▁▅█"},
		{[]float64{0.5, math.NaN(), 0.51}, 8, "▅ ▅"},
		{[]float64{0, 0.5, 0.5, 1, 1}, 2, "▃▇"}, // means of two and of three: 0.25 and 0.833
		{[]float64{-1, 1}, 8, "▁█"},             // a scale from -1
		{[]float64{0, 3}, 8, "▁█"},
		{[]float64{-math.MaxFloat64, 0, math.MaxFloat64}, 8, "▁▅█"}, // a range beyond a float64
		{[]float64{math.MaxFloat64, math.MaxFloat64, math.MaxFloat64, math.Inf(1), 0, 0, 0, 0}, 2, "█▁"}, // and a sum
	} {
		if got := sparkline(c.values, c.columns); got != c.want {
			t.Errorf("%v in %d columns: found %q, expected %q", c.values, c.columns, got, c.want)
		}
	}
}

// What a solve costs that the view is told of.
func BenchmarkLiveRollout(b *testing.B) {
	v := startLiveView(&bytes.Buffer{}, 1, func() (int, int) { return 100, 24 }, true)
	defer v.Close()
	solves := make([]*flow.Trajectory, 1000)
	for i := range solves {
		solves[i] = liveSolve(fmt.Sprint("t", i), 1, 40, "Search", "Calculator")
	}
	v.BeginRollouts(len(solves), nil)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%len(solves) == 0 {
			v.BeginRollouts(len(solves), nil)
		}
		v.Rollout(solves[i%len(solves)])
	}
}

// What a painting costs.
func BenchmarkLivePanel(b *testing.B) {
	s := runState{steps: 3}
	s.beginPhase(newPhase(phaseSolve, 3, []flow.Trajectory{*liveSolve("a", 1, 1, "Search", "Calculator")}))
	for step := 1; step < 500; step++ {
		s.metrics(liveMetrics(step, 0.5))
	}
	b.ReportAllocs()
	for b.Loop() {
		s.panel(100, time.Now(), false)
	}
}
