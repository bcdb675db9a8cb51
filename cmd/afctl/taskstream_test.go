package main

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestTaskStream (trap 29): every pass has every task once, also where the tasks of a step do not divide them, and an order of its own.
func TestTaskStream(t *testing.T) {
	text := ""
	for i := range 7 {
		text += `{"question":"` + strconv.Itoa(i) + `+0?","answer":"` + strconv.Itoa(i) + `"}` + "\n"
	}
	c := DefaultConfig()
	c.Run.TasksPerStep, c.Tasks.Train, c.Tasks.Shuffle = 3, writeFile(t, "t.jsonl", text), true
	s, err := newTaskStream(&c)
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for u := range 7 {
		for _, j := range s.jobs(u, 2, 1) {
			if j.Sample == 0 {
				order = append(order, j.Task.ID)
			}
		}
	}
	var passes []string
	for i := 0; i < len(order); i += 7 {
		seen, pass := map[string]bool{}, ""
		for _, id := range order[i:min(i+7, len(order))] {
			seen[id] = true
			pass += id + " "
		}
		if len(seen) != 7 {
			t.Errorf("pass %d has %d of 7 tasks: %s", len(passes), len(seen), pass)
		}
		passes = append(passes, pass)
	}
	if len(passes) != 3 || passes[0] == passes[1] || passes[1] == passes[2] {
		t.Errorf("passes %q, expected 3 orders", passes)
	}
}

// The gym's tasks are drawn as they are needed: a run of any length begins at once, and one that goes on has the tasks that it had.
func TestGymTasksAreDrawn(t *testing.T) {
	c := DefaultConfig()
	c.Run.Steps = 1 << 30
	long, err := newTaskStream(&c)
	if err != nil {
		t.Fatal(err)
	}
	first := long.jobs(0, 1, 1)
	if len(long.tasks) != c.Run.TasksPerStep { // all of them would take hours, and more memory than there is
		t.Errorf("%d tasks drawn, of which %d are needed", len(long.tasks), c.Run.TasksPerStep)
	}
	c.Run.Steps = 4
	short, err := newTaskStream(&c)
	if err != nil {
		t.Fatal(err)
	}
	last := short.jobs(3, 1, 1)
	for u := range 4 {
		jobs := long.jobs(u, 1, 1)
		for i := range jobs {
			if u == 0 && jobs[i].Task.ID != first[i].Task.ID || u == 3 && jobs[i].Task.ID != last[i].Task.ID {
				t.Errorf("update %d, task %d is %s", u, i, jobs[i].Task.ID)
			}
		}
	}
	if n := long.among(short.tasks[:50]); n != 50 {
		t.Errorf("%d of 50 tasks are trained on", n)
	}
}

// Rows under one id, as MedQA's, are an error that names the key which reads them; nothing but the reading follows from it.
func TestContentIDs(t *testing.T) {
	shared := writeFile(t, "medqa.json", `[{"pid":0,"question":"q","options":["x","y"],"answer":"x"},{"pid":0,"question":"r","options":["x","y"],"answer":"y"}]`)
	twice := writeFile(t, "t.json", `[{"pid":0,"question":"q","answer":"a"},{"pid":1,"question":"q","answer":"a"}]`)
	fails(t, []string{"eval", "--suite", shared}, "--suite", "id 0 in rows 1, 2", "--set tasks.content_ids=true")
	fails(t, []string{"rollout", "--tasks", shared}, "--tasks", "--set tasks.content_ids=true")
	fails(t, []string{"eval", "--suite", twice, "--set", "tasks.content_ids=true"}, "content", "rows 1, 2")
	if _, err := loadSuite(twice, 0, &TasksConfig{}); err == nil || strings.Contains(err.Error(), "tasks.content_ids") {
		t.Errorf("one content under two ids: %v", err)
	}
	c := DefaultConfig()
	c.Tasks.Train, c.Tasks.Eval, c.Tasks.ContentIDs = shared, shared, true
	s, err := newTaskStream(&c)
	if err != nil || len(s.tasks) != 2 || s.tasks[0].ID == s.tasks[1].ID {
		t.Fatalf("%+v, %v", s, err)
	}
	with := resultKeys(&c)
	if c.Tasks.ContentIDs = false; resultKeys(&c) != with || strings.Contains(with, "content_ids") {
		t.Error("a run goes on with other keys where tasks.content_ids is said")
	}
}

// What marks answers is the row's own scorer, then the one that the config names, then what suite and answer ask for.
func TestScorer(t *testing.T) {
	file := writeFile(t, "own.jsonl", `{"question":"Who?","answer":"the keeper of Brek"}`+"\n"+`{"question":"How many?","answer":"12","scorer":"exact"}`+"\n"+`{"question":"How many now?","answer":"13"}`+"\n")
	for _, c := range []struct {
		config string
		want   []string
	}{{scorerAuto, []string{"exact", "exact", "number"}}, {"f1", []string{"f1", "exact", "f1"}}} {
		s, err := loadSuite(file, 0, &TasksConfig{Scorer: c.config})
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range c.want {
			if s.Tasks[i].Scorer != want {
				t.Errorf("tasks.scorer %s, row %d: found %s, expected %s", c.config, i+1, s.Tasks[i].Scorer, want)
			}
		}
	}
	fails(t, []string{"eval", "--suite", file, "--set", "tasks.scorer=f2"}, "tasks.scorer", `found "f2"`, `did you mean "f1"?`)
	fails(t, []string{"eval", "--suite", file, "--set", "tasks.scorer=game24"}, "--suite", "row 1")
	// Rewards follow from it: neither a run nor a folder of solves goes on with another.
	c := DefaultConfig()
	for _, train := range []string{file, "gym:train"} {
		c.Tasks.Train, c.Tasks.Eval, c.Tasks.Scorer = train, file, scorerAuto
		before := resultKeys(&c)
		if c.Tasks.Scorer = "f1"; resultKeys(&c) == before || strings.Contains(before, "scorer") {
			t.Errorf("a run on %s goes on with another tasks.scorer, or says that it has none", train)
		}
	}
	c.Tasks.Train, c.Tasks.Eval, c.Rollout.Tools.Use = "gym:train", file, []string{"Calculator"}
	few := resultKeys(&c)
	if c.Rollout.Tools.Use = nil; resultKeys(&c) == few {
		t.Error("a run in the gym, evaluated on a file, goes on with other tools")
	}
	out := filepath.Join(t.TempDir(), "solves")
	args := []string{"eval", "--suite", file, "--n", "1", "--out", out, "--set", "rollout.eval_max_turns=1", "--set", "flow.max_action_tokens=8"}
	must(t, args...)
	fails(t, append(args, "--set", "tasks.scorer=f1"), "--out", "scorer: f1")
}

// A name with a folder before it is looked for there, spelled from the root or not, and is never the gym, which lies in none.
func TestSuitesInFolders(t *testing.T) {
	file := writeFile(t, "names.jsonl", `{"question":"1+1?","answer":"2"}`+"\n")
	dir := filepath.Dir(file)
	t.Chdir(filepath.Dir(dir))
	folder := filepath.Base(dir)
	for _, name := range []string{filepath.Join(dir, "names"), filepath.Join(folder, "names"), "./" + folder + "/names", "./" + folder + "/names/", filepath.Join(folder, "names.jsonl")} {
		if s, err := loadSuite(name, 0, &TasksConfig{}); err != nil || s.Name != "names" || len(s.Tasks) != 1 {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
	for _, name := range []string{"gym", "gym:train", "gym:heldout"} {
		for _, of := range []string{"./", "../", folder + "/", dir + "/"} {
			fails(t, []string{"eval", "--suite", of + name, "--n", "1"}, "--suite", "lies in no folder", "expected "+name+" alone")
		}
	}
}

// Numbers that no memory holds are errors.
func TestTooManySolves(t *testing.T) {
	many := "2000000000"
	fails(t, []string{"train", "--run", filepath.Join(t.TempDir(), "run"), "--set", "run.tasks_per_step=" + many}, "run.tasks_per_step: found "+many)
	fails(t, []string{"train", "--run", filepath.Join(t.TempDir(), "run"), "--set", "tasks.limit=" + many}, "tasks.limit: found "+many)
	fails(t, []string{"eval", "--suite", "gym:heldout", "--n", many}, "--n: tasks.eval_limit: found "+many)
	fails(t, []string{"eval", "--suite", "gym:heldout", "--n", "5", "--repeats", many}, "--repeats: found "+many)
	fails(t, []string{"rollout", "--tasks", "gym:train", "--n", many}, "--n: tasks.limit: found "+many)
	fails(t, []string{"rollout", "--tasks", "gym:train", "--n", "5", "--group", many}, "group_size")
}
