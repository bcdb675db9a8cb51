package main

import (
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
