package score

import (
	"testing"

	"afctl/flow"
)

func TestChoice(t *testing.T) {
	with := func(choices ...string) func(*flow.Task) {
		return func(t *flow.Task) { t.Choices = choices }
	}
	check(t, Choice, []row{
		{"B", "B", 1}, {"B", "b", 1}, {"B", "(B)", 1}, {"B", "B.", 1}, {"B", "**B**", 1}, {"B", "[B]", 1},
		{"B", "B. Malignant tumour", 1}, {"B", "(b) malignant tumour", 1}, {"B", "B) Malignant tumour", 1},
		{"B", "malignant tumour", 1}, {"B", "The malignant tumour.", 1},
		{"malignant tumour", "B", 1}, {"B. Malignant tumour", "B", 1}, {"B. Malignant tumour", "A", 0},
		{"B", "A", 0}, {"B", "E", 0}, {"B", "Z", 0},
		{"B", "B. Benign cyst", 0}, // letter and another option's text
		{"A", "B. Benign cyst", 0},
		{"A", "Benign cyst", 1},
		{"A", "not benign cyst", 0},
		{"B", "cyst", 0}, // part of an option: never snapped to the first
		{"A", "cyst", 0},
		{"A", "something else", 0}, {"A", "", 0},
		{"B", "The answer is (B).", 1}, {"B", "I think option B is right", 1}, {"B", "Answer: B", 1},
		{"B", "A or B", 0}, {"B", "Either (A) or (B)", 0},
		{"B", "(A) is wrong, so (B)", 1}, {"B", "not (B)", 0}, {"C", "not B but C", 1},
		{"B", "B is incorrect", 0},
		{"C", "It is vitamin C deficiency", 1}, {"D", "Vitamin A deficiency", 1}, {"C", "Vitamin A deficiency", 0},
		{"A", "A malignant tumour", 0}, {"B", "A malignant tumour", 1}, // an article, not a letter
		{"B", "It is a malignant tumour, not a benign cyst", 1},
		{"B", "malignant tumour or benign cyst", 0},
		{"A", "The answer is A because it is so", 1}, {"A", "The answer is A, since that is so", 1}, {"A", "A is the right choice", 1}, {"A", "Final answer: A - yes", 1},
		{"B", "The answer is A because it is so", 0}, {"B", "A is incorrect", 0}, {"B", "A lump is the right answer", 0}, {"B", "The answer is a lump", 0}, {"A", "The answer is A malignant tumour", 0},
		{"B", `\boxed{B}`, 1}, {"B", `\boxed{\text{(B)}}`, 1}, {"B", "<answer>B</answer> not A", 1},
		{"B", "$B$", 1}, {"B", "I would go with B, since A is a cyst", 1},
	}, with("Benign cyst", "Malignant tumour", "Vitamin C deficiency", "Vitamin A deficiency"))
	check(t, Choice, []row{
		{"A", "5", 1}, {"B", "15", 1}, {"A", "15", 0}, {"B", "5", 0}, {"C", "-5", 1}, {"A", "-5", 0}, {"D", "5.5", 1}, {"A", "5.5", 0},
		{"A", "The value is 5", 1}, {"D", "it is 5.5 m", 1}, {"C", "It equals −5", 1}, {"B", "B) 15", 1}, {"B", "B) 5", 0},
		{"B", "b", 1}, {"D", "D", 1}, {"A", "5 or 15", 0}, {"B", "15, not 5", 1}, {"B", "fifteen", 0}, {"D", "(d)", 1},
		{"C", "option C", 1}, {"C", "Option c", 1}, {"C", "choice: C", 1}, {"C", "C: -5", 1}, {"C", "C -5", 1}, {"C", "A: -5", 0},
		{"A", "A", 1}, {"A", "(A) 5", 1}, {"A", "A 5", 1}, {"A", "A 15", 0}, {"B", "A 15", 1},
	}, with("A. 5", "B. 15", "C. -5", "D. 5.5"))
}

// Options whose texts look like letters.
func TestChoiceOfLetters(t *testing.T) {
	task := flow.Task{Answers: []string{"B"}, Choices: []string{"Vitamin A", "Vitamin C", "Vitamin D"}}
	for answer, want := range map[string]float64{"B. Vitamin C": 1, "(B) Vitamin C": 1, "Vitamin C": 1, "C": 0, "C. Vitamin C": 0, "C. Vitamin D": 0, "A. Vitamin A": 0, "B. Vitamin A": 0} {
		if g, err := Choice(task, answer); err != nil || g.Reward != want {
			t.Errorf("%q: %+v, %v; expected %g", answer, g, err, want)
		}
	}
}

// Two options with one text: the text alone picks neither, the letter does.
func TestChoiceTwins(t *testing.T) {
	task := flow.Task{Answers: []string{"A"}, Choices: []string{"same", "same", "other"}}
	for answer, want := range map[string]float64{"same": 0, "A": 1, "A. same": 0, "B": 0, "other": 0} {
		if g, err := Choice(task, answer); err != nil || g.Reward != want {
			t.Errorf("%q: %+v, %v; expected %g", answer, g, err, want)
		}
	}
}
