package score

import (
	"testing"

	"pgregory.net/rapid"

	"afctl/flow"
)

// What Normalize would glue together or drop.
func TestExactTellsApart(t *testing.T) {
	check(t, Exact, []row{
		// separators
		{"b, e", "b,e", 1}, {"b, e", "b; e", 1}, {"b, e", "be", 0}, {"Alm, Brek", "Alm,Brek", 1}, {"Alm, Brek", "AlmBrek", 0}, {"Alm, Brek", "Brek, Alm", 0},
		{"12:30", "1230", 0}, {"12:30", "12:30", 1}, {"Mark 4:12", "Mark 412", 0}, {"rooms 1,2", "rooms 1, 2", 1}, {"rooms 1,2", "rooms 12", 0},
		{"1,234 people", "1234 people", 1}, {"1,234,567 people", "1234567 people", 1}, {"1,00,000 people", "100000 people", 1}, {"May 5, 1871", "May 5,1871", 1}, {"May 5, 1871", "May 5 1871", 1},
		{"3.1; 1.11", "3.1;1.11", 1}, {"Ernest I, Prince of Alm", "Ernest I Prince of Alm", 1}, {"word(s)", "words", 1},
		// ranges, results and dates
		{"1871–1903", "1872–1904", 0}, {"1871–1903", "1903–1871", 0}, {"1871–1903", "1871-1903", 1}, {"1871–1903", "1871 — 1903", 1}, {"1871–1903", "1871 to 1903", 1}, {"1871–1903", "1871 until 1903", 1},
		{"2–1", "3–2", 0}, {"2–1", "1–2", 0}, {"2–1", "2 to 1", 1}, {"06/11/72", "06/72/11", 0}, {"06/11/72", "06/11/72", 1}, {"1972-06-11", "1972-11-06", 0}, {"1972-06-11", "1972–06–11", 1},
		{"20% to 45%", "20%–45%", 1}, {"20% to 45%", "20-45%", 1}, {"20% to 45%", "20% to 40%", 0}, {"5,000 to 10,000", "5000-10000", 1}, {"5, -3", "5, 3", 0}, {"-5 to -3 m", "-5 – -3 m", 1}, {"back to 1", "back 1", 0},
		// symbols
		{"x > 5", "x < 5", 0}, {"x > 5", "x>5", 1}, {"x > 5", "x 5", 0}, {"x ≠ 5", "x = 5", 0}, {"x >= 5", "x ≥ 5", 1}, {"a -> b", "a → b", 1},
		{"(¬P → Q) ↔ (P ∨ ¬Q)", "(¬p→q)↔(p∨¬q)", 1}, {"(¬P → Q) ↔ (P ∨ ¬Q)", "((¬P → Q) ↔ (P ∨ ¬Q)).", 1}, {"(¬P → Q) ↔ (P ∨ ¬Q)", "(P → Q) ↔ (P ∨ ¬Q)", 0},
		{"(¬P → Q) ↔ (P ∨ ¬Q)", "(¬P → Q) ↔ (P ∧ ¬Q)", 0}, {"(¬P → Q) ↔ (P ∨ ¬Q)", "¬(P → Q) ↔ (P ∨ ¬Q)", 0}, {"P → (Q → R)", "(P → Q) → R", 0}, {"A ∨ B", "∨ B", 0},
		{"A-", "A", 0}, {"A", "A-", 0}, {"A-", "A+", 0}, {"A-", "A−", 1}, {"A-", "A-.", 1}, {"Cl-", "Cl", 0}, {"C♯ minor", "C minor", 0}, {"½ cup", "12 cup", 0}, {"½ cup", "1/2 cup", 1},
		{"about 50%", "about 50", 1}, {"about 50 %", "about 50", 1}, {"pre- and post-war", "pre and post war", 1},
		// what stands before an answer
		{"Paris", "> Paris", 1}, {"Paris", "→ Paris", 1}, {"Paris", "## Paris", 1}, {"Paris", "| Paris |", 1}, {"5 km", "~5 km", 1}, {"> 5 km", "< 5 km", 0}, {"> 5 km", "> 5 km", 1}, {"5 km", "< 5 km", 0},
		// articles
		{"A, B", "B", 0}, {"B", "A, B", 0}, {"A, B", "A,B", 1}, {"A/B", "B", 0}, {"A. Keeper", "Keeper", 0}, {`the "Alm"`, "Alm", 1}, {"The Alm", "alm", 1}, {"A-Team", "the A Team", 1},
	})
}

// A truth that reads like an announcement is found whole.
func TestTruthThatAnnounces(t *testing.T) {
	for _, rule := range []Func{Exact, F1} {
		for answer, want := range map[string]float64{"The Answer Is Rain": 1, "“The Answer Is Rain”": 1, "The answer is The Answer Is Rain.": 1, "The film is The Answer Is Rain": 0,
			"The Answer Is Snow": 0, "The answer is Snow. The Answer Is Rain": 0, "<answer>The Answer Is Rain</answer>": 1} {
			g, err := rule(flow.Task{Answers: []string{"The Answer Is Rain"}}, answer)
			if err != nil || (g.Reward == 1) != (want == 1) {
				t.Errorf("%q: %+v, %v; expected %g", answer, g, err, want)
			}
		}
	}
	if g, err := Exact(flow.Task{Answers: []string{"Rain"}}, "The Answer Is Rain"); err != nil || g.Reward != 1 {
		t.Errorf("as an announcement: %+v, %v", g, err)
	}
}

// Ordinary prose is compared as Normalize has it.
func TestExactFormOfProse(t *testing.T) {
	words := rapid.SliceOfN(rapid.SampledFrom([]string{"the", "The", "an", "Alm", "Brek's", "post-war", "U.S.", "C++", "3.5", "“Light”", "é", "1,234", "-5", "(old)", "$5"}), 1, 8)
	rapid.Check(t, func(t *rapid.T) {
		text := ""
		for _, w := range words.Draw(t, "words") {
			text += w + " "
		}
		text += "keeper."
		if got, want := exactForm(text), Normalize(text); got != want {
			t.Fatalf("%q: found %q, expected %q", text, got, want)
		}
	})
}

func TestRangesAndDatesAreNoNumbers(t *testing.T) {
	for text, want := range map[string]bool{
		"1871–1903": false, "1871-1903": false, "1871 - 1903": false, "2–1": false, "06/11/72": false, "1972-06-11": false, "5,000-10,000": false, "(2-1)": false, "1871–1903, 1910": false,
		"1914-1918 and 1939-1945": false, "5 − 3": false, "+1-555-0100": false, "Paris": false, "10^{5000}": false,
		"7": true, "-7": true, "10.8": true, "7/2": true, "1, 2": true, "1,234": true, "1e-5": true, "(1, -2)": true, `\frac{1}{2}`: true, "2-1+3": true, "2*3-1": true, "1898 and 1959": true,
	} {
		if got := IsNumber(text); got != want {
			t.Errorf("%q is a number: %v, expected %v", text, got, want)
		}
	}
}
