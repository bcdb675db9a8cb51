package gym

import (
	"context"
	"crypto/sha256"
	"fmt"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"afctl/bench/gym/frozen"
	"afctl/flow"
	"afctl/rollout"
)

func embedded(t testing.TB) *World {
	t.Helper()
	w, err := Embedded()
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// solve runs one solve of every task and fails the test where one has no reward.
func solve(t testing.TB, w *World, p rollout.Planner, tasks []flow.Task) map[string]flow.Trajectory {
	t.Helper()
	jobs := make([]rollout.Job, len(tasks))
	for i, task := range tasks {
		jobs[i] = rollout.Job{Task: task, Seed: flow.DeriveSeed(11, strconv.Itoa(i))}
	}
	out := make(map[string]flow.Trajectory, len(tasks))
	s := w.Solver(p, rollout.Options{Concurrency: runtime.GOMAXPROCS(0)})
	if err := s.SolveAll(context.Background(), jobs, func(x flow.Trajectory) error { out[x.Task] = x; return nil }); err != nil {
		t.Fatal(err)
	}
	for id, x := range out {
		if x.Failed() {
			t.Fatalf("%s: %s: %s", id, x.Failure, x.FailureDetail)
		}
	}
	return out
}

// The best plan solves every task of both halves, in as many turns as its family needs.
func TestTeacherSolvesEverything(t *testing.T) {
	w := embedded(t)
	turns := map[string]int{Common: 1, Arithmetic: 1, Lookup: 1, Page: 1, TwoHop: 2, LookupMath: 2, Recover: 2}
	for s := range nSplits {
		tasks := w.Tasks(s, 350, 3)
		done := solve(t, w, Teacher{}, tasks)
		for _, task := range tasks {
			x := done[task.ID]
			if *x.Reward != 1 || len(x.Steps) != turns[task.Meta[flow.MetaFamily]] {
				t.Errorf("%s: answered %q in %d turns, expected %q in %d\n%+v", task.Question, x.Answer, len(x.Steps), task.Answers, turns[task.Meta[flow.MetaFamily]], x.Steps)
			}
		}
	}
}

// planFunc is a planner given as a rule.
type planFunc func(q frozen.Question, steps []flow.Step) rollout.Plan

func (f planFunc) Plan(ctx context.Context, in rollout.Input) (rollout.Planning, error) {
	return demonstrate(ctx, in, func(q frozen.Question) rollout.Plan { return f(q, in.Memory.Steps()) })
}

// The obvious wrong plans of each family score 0, and why can be read in the trajectory: an error, or an answer that memory shows to come
// from elsewhere.
func TestWrongPlansFail(t *testing.T) {
	w := embedded(t)
	tool := func(name string) planFunc { // the right sub-goal, another tool, whatever happens
		return func(q frozen.Question, steps []flow.Step) rollout.Plan {
			return rollout.Plan{SubGoal: best(q, steps).SubGoal, Tool: name}
		}
	}
	first := planFunc(func(q frozen.Question, _ []flow.Step) rollout.Plan { return best(q, nil) }) // the first step for ever
	stranger := planFunc(func(q frozen.Question, steps []flow.Step) rollout.Plan {                 // another name or number
		p := best(q, steps)
		switch {
		case q.Kind == frozen.Arithmetic:
			p.SubGoal = strings.Replace(p.SubGoal, " ", "1 ", 1)
		case q.URL != "":
			p.SubGoal = w.halves[Train].sites[0].url
		case q.Kind == frozen.Capital:
			p.SubGoal = "capital of " + w.halves[Train].countries[0].name
		case q.Kind == frozen.Currency:
			p.SubGoal = "currency of " + w.halves[Train].countries[0].name
		default:
			p.SubGoal = w.halves[Train].cities[0].name
		}
		return p
	})
	plans := map[string]planFunc{"Base_Generator": tool(frozen.BaseGenerator), "Calculator": tool(frozen.Calculator),
		"Wikipedia_Search": tool(frozen.WikipediaSearch), "Web_Search": tool(frozen.WebSearch), "first step only": first, "another name": stranger}
	wrong := map[string][]string{
		Common:     {"Calculator", "Wikipedia_Search", "Web_Search", "another name"},
		Arithmetic: {"Base_Generator", "Wikipedia_Search", "Web_Search", "another name"},
		Lookup:     {"Base_Generator", "Calculator", "Web_Search", "another name"},
		Page:       {"Base_Generator", "Calculator", "Wikipedia_Search", "another name"},
		TwoHop:     {"Base_Generator", "Calculator", "Web_Search", "first step only", "another name"},
		LookupMath: {"Base_Generator", "Calculator", "Wikipedia_Search", "Web_Search", "first step only", "another name"},
		Recover:    {"Base_Generator", "Calculator", "Wikipedia_Search", "first step only", "another name"},
	}
	tasks := w.Tasks(HeldOut, 140, 5)
	for name, plan := range plans {
		done := solve(t, w, plan, tasks)
		for _, task := range tasks {
			x := done[task.ID]
			for _, bad := range wrong[task.Meta[flow.MetaFamily]] {
				if bad != name {
					continue
				}
				if *x.Reward != 0 {
					t.Errorf("%s by %s: answered %q, which is right\n%+v", task.Question, name, x.Answer, x.Steps)
				}
				if x.Answer == frozen.Unknown {
					continue // memory has no answer, and shows none
				}
				if last := x.Steps[len(x.Steps)-1]; last.ErrorKind != "" || last.Result == "" {
					t.Errorf("%s by %s: answered %q out of nothing\n%+v", task.Question, name, x.Answer, x.Steps)
				}
			}
		}
	}
}

var (
	capitalised = regexp.MustCompile(`[A-Z][a-z]+`)
	integers    = regexp.MustCompile(`\d+`)
	addresses   = regexp.MustCompile(`[a-z]+\.test\S*`)
)

// The halves share no name, address, currency or number, in questions, answers, articles or pages, whatever the seed. Ages and
// results of sums are not given but computed, so that they are left out.
func TestHalvesNeverOverlap(t *testing.T) {
	for i := range uint64(3) {
		seed := flow.DeriveSeed(i, "overlap")
		n := &namer{rng: flow.NewRand(seed), used: map[string]bool{}}
		var found [nSplits]map[string]bool
		for s := range nSplits {
			h, err := newHalf(s, n)
			if err != nil {
				t.Fatal(err)
			}
			found[s] = everything(h, s, seed)
		}
		const shared = "What Name Which Compute Work In On Who Where How By A Long "
		for x := range found[Train] {
			if found[HeldOut][x] && !strings.Contains(shared, x+" ") {
				t.Errorf("seed %d: both halves have %q", seed, x)
			}
		}
		if len(found[Train]) < 1000 || len(found[HeldOut]) < 600 {
			t.Errorf("seed %d: %d and %d names and numbers: the halves are smaller than they say", seed, len(found[Train]), len(found[HeldOut]))
		}
	}
}

// everything is the set of names, numbers and addresses of a half.
func everything(h half, s Split, seed uint64) map[string]bool {
	w := &World{Seed: seed}
	w.halves[s] = h
	var text []string
	for _, d := range w.articles() {
		text = append(text, d.Title+" : "+d.Text)
	}
	for _, p := range w.pages() {
		text = append(text, p.URL+" "+p.Title+" : "+p.Text)
	}
	for _, c := range h.countries {
		text = append(text, c.name, c.capital, c.currency)
	}
	for _, task := range w.Tasks(s, 350, seed) {
		text = append(text, task.Question)
		if f := task.Meta[flow.MetaFamily]; f != Arithmetic && f != LookupMath {
			text = append(text, task.Answers...)
		}
	}
	all := strings.Join(text, "\n")
	found := make(map[string]bool)
	for _, r := range []*regexp.Regexp{capitalised, integers, addresses} {
		for _, x := range r.FindAllString(all, -1) {
			found[x] = true
		}
	}
	return found
}

// No invented name is a word that articles, pages or questions use, whatever its case: a search for one finds nothing else.
func TestNamesAreNoWords(t *testing.T) {
	words := map[string]bool{}
	for _, text := range append([]string{city{}.text(), person{}.text(), person{born: 1}.text(), book{}.text(), firm{}.text(), "Long ago"},
		strings.Join(crafts, " "), strings.Join(things, " "), strings.Join(paths, " ")) {
		for _, x := range regexp.MustCompile(`[A-Za-z]+`).FindAllString(text, -1) {
			words[strings.ToLower(x)] = true
		}
	}
	for _, a := range firstSyllables {
		for _, b := range append([]string{""}, middleSyllables...) {
			for _, c := range lastSyllables {
				if name := a + b + c; words[strings.ToLower(name)] || strings.HasSuffix(name, "s") {
					t.Errorf("name %s is a word of the texts, or ends in s", name)
				}
			}
		}
	}
}

// The tasks of a seed are what they were, as many as the longest run of the configs takes.
func TestTasksStay(t *testing.T) {
	draw, h := embedded(t).Draw(Train, 0), sha256.New()
	for range 7680 {
		task := draw()
		fmt.Fprintln(h, task.ID, task.Answers)
	}
	if sum := fmt.Sprintf("%.8x", h.Sum(nil)); sum != "8b27cac05a4b275f" {
		t.Errorf("the tasks of the train half have changed: %s", sum)
	}
}

// Tasks are balanced, distinct, short, a prefix of a longer list, and the same for the same seed.
func TestTasks(t *testing.T) {
	w := embedded(t)
	const maxWords = 25
	rapid.Check(t, func(t *rapid.T) {
		s := Split(rapid.IntRange(0, 1).Draw(t, "split"))
		n, seed := rapid.IntRange(0, 300).Draw(t, "n"), rapid.Uint64().Draw(t, "seed")
		tasks := w.Tasks(s, n+20, seed)
		count := map[string]int{}
		ids := map[string]bool{}
		for _, task := range tasks[:n] {
			count[task.Meta[flow.MetaFamily]]++
			ids[task.ID] = true
			if words := len(strings.Fields(task.Question)); words > maxWords {
				t.Fatalf("%d words: %s", words, task.Question)
			}
		}
		if len(ids) != n {
			t.Fatalf("%d tasks with %d ids", n, len(ids))
		}
		for _, f := range Families() {
			if c := count[f]; c != n/7 && c != n/7+1 {
				t.Fatalf("%d of %d tasks are %s", c, n, f)
			}
		}
		for i, task := range w.Tasks(s, n, seed) {
			if task.ID != tasks[i].ID || task.Answers[0] != tasks[i].Answers[0] {
				t.Fatalf("task %d is %s, in a longer list %s", i, task.ID, tasks[i].ID)
			}
		}
	})
}

// A question is read back as it was asked.
func TestQuestionsReadBack(t *testing.T) {
	w := embedded(t)
	for _, s := range []Split{Train, HeldOut} {
		for _, task := range w.Tasks(s, 2000, 9) {
			q, ok := frozen.Parse(task.Question)
			if !ok {
				t.Fatalf("not read: %s", task.Question)
			}
			same := false
			for i := range q.Kind.Phrasings() {
				same = same || q.Text(i) == task.Question
			}
			if !same {
				t.Fatalf("%s read as %+v", task.Question, q)
			}
		}
	}
}

// Prompts are short, and that of a turn begins with the prompt and the answer of the turn before, so that successive turns
// share it; the answer is read back by rollout.ParsePlan.
func TestPromptsGrowByAppending(t *testing.T) {
	w := embedded(t)
	// Words of a prompt; a tokenizer made for the gym takes about two tokens for each.
	const firstTurn, lastTurn = 40, 80
	for i, task := range w.Tasks(Train, 210, 4) {
		rec := &recorder{}
		x := w.Solver(Naive{}, rollout.Options{}).Solve(context.WithValue(context.Background(), recorderKey{}, rec), rollout.Job{Task: task, Seed: uint64(i)})
		if len(rec.examples) != len(x.Steps) {
			t.Fatalf("%d examples of %d steps", len(rec.examples), len(x.Steps))
		}
		for k, e := range rec.examples {
			if n := len(strings.Fields(e.Prompt)); n > lastTurn || k == 0 && n > firstTurn {
				t.Fatalf("turn %d: a prompt of %d words:\n%s", k+1, n, e.Prompt)
			}
			plan, err := rollout.ParsePlan(e.Completion)
			if err != nil || Answer(plan) != e.Completion {
				t.Fatalf("%q read as %+v, %v", e.Completion, plan, err)
			}
			if k > 0 {
				before := rec.examples[k-1]
				if !strings.HasPrefix(e.Prompt, before.Prompt+"\n"+before.Completion+"\n") {
					t.Fatalf("turn %d does not continue turn %d:\n%s\n--- after ---\n%s\n%s", k+1, k, e.Prompt, before.Prompt, before.Completion)
				}
			}
		}
	}
}

// Whoever believes an old site, at the first hop, at the second or at both, has no right answer.
func TestOldSitesLeadAstray(t *testing.T) {
	w := embedded(t)
	for s, h := range w.halves {
		read := func(lines map[string]string) frozen.Memory {
			var steps []flow.Step
			for name, text := range lines {
				steps = append(steps, flow.Step{Tool: frozen.WikipediaSearch, Result: name + ": " + text})
			}
			return frozen.Recall(steps)
		}
		articles, sites := map[string]string{}, map[string]string{}
		for _, d := range w.articles() {
			articles[d.Title] = d.Text
		}
		for _, p := range w.pages() {
			if p.URL == frozen.Site(p.Title) && articles[p.Title] != "" {
				sites[p.Title] = p.Text
			}
		}
		now, old := read(articles), read(sites)
		differ := func(question, right string, wrong ...string) {
			for _, x := range wrong {
				if x == right || x == "" || right == "" {
					t.Errorf("half %d, %s: an old site leads to %q, an article to %q", s, question, x, right)
				}
			}
		}
		for _, c := range h.cities {
			differ("country of "+c.name, c.country, old.About(c.name).Country)
			differ("year of "+c.name, now.About(c.name).Founded, old.About(c.name).Founded)
		}
		for _, p := range h.people {
			place, was := p.birthplace, old.About(p.name).Birthplace
			differ("river of "+p.name, now.About(place).River, old.About(place).River, now.About(was).River, old.About(was).River)
			differ("year of "+p.name, now.About(p.name).Born, old.About(p.name).Born)
		}
		for _, b := range h.books {
			was := old.About(b.name).Author
			differ("author of "+b.name, b.author, was)
			differ("birthplace by "+b.name, now.About(b.author).Birthplace, old.About(b.author).Birthplace, now.About(was).Birthplace, old.About(was).Birthplace)
		}
		for _, f := range h.firms {
			was := old.About(f.name).Seat
			differ("seat of "+f.name, f.seat, was)
			differ("country by "+f.name, now.About(f.seat).Country, old.About(f.seat).Country, now.About(was).Country, old.About(was).Country)
		}
	}
}
