package main

import (
	"path/filepath"
	"strconv"
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
