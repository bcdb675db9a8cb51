package gym

import (
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A drill is one list in several orders, of nothing that is held out.
func TestDrills(t *testing.T) {
	w := embedded(t)
	mentions := w.mentions()
	texts := slices.Collect(Drills(w, 200, 4))
	if len(texts) != 200 {
		t.Fatalf("%d drills, expected 200", len(texts))
	}
	reordered := 0
	for _, text := range texts {
		lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
		if len(lines) != drillLines {
			t.Fatalf("%d lines in %q, expected %d", len(lines), text, drillLines)
		}
		first := slices.Sorted(strings.FieldsSeq(lines[0]))
		for _, line := range lines[1:] {
			if !slices.Equal(first, slices.Sorted(strings.FieldsSeq(line))) {
				t.Errorf("%q: the lines differ in more than their order", text)
			}
			if line != lines[0] {
				reordered++
			}
		}
		if mentions(text) {
			t.Errorf("%q has a held-out name", text)
		}
		for _, item := range first {
			if item[0] <= '9' && !Train.owns(number(t, item)) {
				t.Errorf("%s is a held-out number", item)
			}
		}
	}
	if reordered < 300 {
		t.Errorf("%d of 400 lines are in another order", reordered)
	}
	if !slices.Equal(texts, slices.Collect(Drills(w, 200, 4))) {
		t.Error("a second time they differ")
	}
	for range Drills(w, 10, 4) {
		break // ends where its reader does
	}
}

func number(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
