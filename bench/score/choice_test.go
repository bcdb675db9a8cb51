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
		{"（Ａ）", "A", 1}, {"Ｂ．", "B", 1},
		{"A", "答案是A。", 1}, {"B", "答案：（B）", 1}, {"A", "（A）", 1}, {"A", "Ａ", 1}, {"A", "故选：A．", 1}, {"A", "<answer>A。</answer>", 1}, {"B", "答案是A。", 0}, {"A", "A、B", 0}, {"B", "B，不是A。", 1}, {"A", "B不对，选A。", 1}, {"A", "不是A", 0},
	}, with("Benign cyst", "Malignant tumour", "Vitamin C deficiency", "Vitamin A deficiency"))
	check(t, Choice, []row{
		{"A", "5", 1}, {"B", "15", 1}, {"A", "15", 0}, {"B", "5", 0}, {"C", "-5", 1}, {"A", "-5", 0}, {"D", "5.5", 1}, {"A", "5.5", 0},
		{"A", "The value is 5", 1}, {"D", "it is 5.5 m", 1}, {"C", "It equals −5", 1}, {"B", "B) 15", 1}, {"B", "B) 5", 0},
		{"B", "b", 1}, {"D", "D", 1}, {"A", "5 or 15", 0}, {"B", "15, not 5", 1}, {"B", "fifteen", 1}, {"D", "(d)", 1},
		{"C", "option C", 1}, {"C", "Option c", 1}, {"C", "choice: C", 1}, {"C", "C: -5", 1}, {"C", "C -5", 1}, {"C", "A: -5", 0},
		{"A", "A", 1}, {"A", "(A) 5", 1}, {"A", "A 5", 1}, {"A", "A 15", 0}, {"B", "A 15", 1},
	}, with("A. 5", "B. 15", "C. -5", "D. 5.5"))
}

// What is said about the options.
func TestChoiceExplained(t *testing.T) {
	check(t, Choice, []row{
		{"A", "The answer is A, since it moves", 1}, {"A", "A is correct.", 1}, {"A", "The answer is A", 1}, {"A", "The answer is A.", 1},
		{"A", "Option A", 1}, {"A", "I choose A", 1}, {"A", "I would pick A.", 1}, {"A", "It's A", 1}, {"A", "It is A.", 1}, {"A", "My answer: A", 1},
		{"A", "A: car", 1}, {"A", "A) car", 1}, {"A", "A - car", 1}, {"A", "**A**. car", 1}, {"A", "**A.** car", 1}, {"A", "A because it is fast", 1},
		{"A", "The correct answer is **A**", 1}, {"A", "The correct option is A", 1}, {"A", "Therefore, A.", 1}, {"A", "So A", 1}, {"A", "A!", 1},
		{"A", "(A) is the correct choice; (B) is too small", 1}, {"A", "<answer>A</answer>", 1}, {"A", "\\boxed{A}", 1}, {"A", "\\boxed{\\text{A}}", 1},
		{"A", "\\boxed{\\textbf{(A)}}", 1}, {"A", "\\boxed{A. car}", 1}, {"A", "\\boxed{(A)\\ \\text{car}}", 1}, {"A", "The answer is A (car).", 1},
		{"A", "The answer is option A, the car.", 1}, {"A", "A and not B", 1}, {"A", "A, not B", 1}, {"A", "A rather than B", 1}, {"A", "A, B", 0},
		{"A", "A and B", 0}, {"A", "A/B", 0}, {"A", "A B C D", 0}, {"A", "A or C", 0}, {"A", "B, A", 0}, {"A", "All of the above", 0},
		{"A", "A car is faster", 1}, {"A", "A plane is faster", 0}, {"B", "A plane is faster", 1}, {"A", "A guess", 0}, {"A", "A thing is right", 0},
		{"A", "A good question", 0}, {"A", "I think a plane is best", 0}, {"B", "I think a plane is best", 1}, {"A", "It is a lie", 0},
		{"A", "The answer is a guess", 0}, {"A", "The answer is a", 1}, {"A", "(a)", 1}, {"A", "a)", 1},
		{"B", "B is correct; A, C, and D are incorrect", 1}, {"B", "(B) is the correct choice; (A) is too small", 1},
		{"B", "B is correct because A is wrong, C is slow.", 1}, {"A", "B is correct; A, C, and D are incorrect", 0},
		{"C", "B is correct; A, C, and D are incorrect", 0}, {"B", "Answer: B\n\nA is wrong because a car is slow. C is a boat.", 1},
		{"B", "B. plane. The car is too slow.", 1}, {"B", "B. plane, since a boat is slow", 1}, {"B", "B, since a car is slower than a plane", 1},
		{"B", "The answer is B because a car is slow", 1}, {"B", "B. car", 0}, {"A", "B. car", 0}, {"B", "B (car)", 0}, {"B", "(B) car", 0},
		{"B", "B is the answer. The plane wins.", 1}, {"B", "B: the plane", 1}, {"B", "A is wrong. B is right.", 1}, {"B", "A is incorrect, so B", 1},
		{"B", "Not A, so B.", 1}, {"B", "Neither A nor C; B", 1}, {"B", "Not A but B", 1}, {"B", "B is wrong", 0}, {"B", "B is not correct; A is", 0},
		{"A", "B is not correct; A is", 1}, {"B", "The answer isn't B", 0}, {"B", "The answer is not B", 0}, {"B", "The answer cannot be B", 0},
		{"B", "B? No, A", 0}, {"B", "The plane", 1}, {"B", "plane.", 1}, {"B", "It is the plane, not the car", 1}, {"B", "car or plane", 0},
		{"B", "Option B and option C", 0}, {"B", "Both B and C", 0}, {"B", "B or maybe C", 0}, {"B", "B is correct. C is also correct", 0},
		{"B", "B is correct; C is correct", 0}, {"B", "B, C", 0}, {"B", "(B) and (C) are correct", 0}, {"B", "B is the best, but C is possible", 0},
		{"C", "It could be B, C or D", 0}, {"B", "I'd say B", 1}, {"B", "Choice B: plane", 1}, {"B", "Answer: (B) plane", 1},
		{"B", "**Answer:** (B) plane", 1}, {"B", "Answer is B) plane", 1}, {"B", "The best answer is B - a plane.", 1}, {"B", "`B`", 1},
		{"B", "The answer is $\\mathbf{B}$.", 1}, {"B", "Among A, B, C and D, the right one is B.", 0},
		{"B", "The options are A, B, C, D. The answer is B.", 1}, {"B", "B)", 1}, {"B", "BB", 0}, {"B", "Bus", 0}, {"B", "AB", 0},
		{"B", "I think B is correct; A, C, and D are incorrect", 1}, {"C", "A and B are wrong, so C", 1}, {"A", "A and B are wrong, so C", 0},
		{"C", "The answer is: A, B are wrong, so C", 1}, {"B", "A and C are wrong.", 0}, {"C", "(A) and (B) are wrong, so (C)", 1}, {"B", "B. C. D.", 0},
		{"B", "B. plane\nC. boat", 0}, {"A", "A. car\nB. plane\nC. boat\nD. train", 0}, {"B", "B. Not C", 1}, {"B", "B\n\nC", 0},
		{"B", "B because C is the answer", 0}, {"B", "B\n\ncar", 0},
	}, func(t *flow.Task) { t.Choices = []string{"car", "plane", "boat", "train"} })
	for _, group := range []struct {
		choices []string
		rows    []row
	}{
		{[]string{"Vitamin A", "Vitamin C", "Vitamin D"}, []row{
			{"B", "B. Vitamin C", 1}, {"B", "(B) Vitamin C", 1}, {"B", "Vitamin C", 1}, {"B", "The answer is B. Vitamin C", 1},
			{"B", "The answer is Vitamin C.", 1}, {"B", "B. Vitamin C is needed for collagen.", 1}, {"B", "B - Vitamin C", 1}, {"B", "B: Vitamin C", 1},
			{"C", "B. Vitamin C", 0}, {"B", "C. Vitamin C", 0}, {"C", "C. Vitamin C", 0}, {"C", "Vitamin C", 0}, {"C", "Vitamin D", 1}, {"C", "C", 1},
			{"A", "Vitamin A", 1}, {"A", "A", 1}, {"A", "A. Vitamin A", 1}, {"B", "Vitamin A", 0}, {"B", "B. Vitamin C, not vitamin A", 1},
			{"B", "A deficiency of vitamin C", 1}, {"B", "**B. Vitamin C**", 1}, {"B", "\\boxed{\\text{B. Vitamin C}}", 1},
		}},
		{[]string{"12", "24", "36"}, []row{
			{"B", "B.\n12 * 2 = 24", 1}, {"B", "B. 24", 1}, {"B", "24", 1}, {"B", "12 * 2 = 24", 0}, {"B", "B because 12 * 2 = 24", 1}, {"B", "B. 12", 0},
			{"A", "B. 12", 0}, {"B", "The answer is B (24).", 1}, {"B", "The answer is B (12).", 0}, {"B", "B, since 12*2 is 24", 1},
			{"B", "B) 24, as 12 + 12 = 24", 1}, {"B", "B\n\nExplanation: 12 times 2 is 24 and not 36.", 1}, {"C", "C. 36", 1}, {"C", "36 is the result, C", 1},
			{"C", "The result is 36.", 1},
		}},
		{nil, []row{
			{"A", "The answer is A because", 1}, {"B", "B. it is so", 1}, {"B", "B is correct; A, C, and D are incorrect", 1},
		}},
	} {
		for _, r := range group.rows {
			g, err := Choice(flow.Task{Answers: []string{r.truth}, Choices: group.choices}, r.answer)
			if err != nil || g.Reward != r.want {
				t.Errorf("truth %s, answer %q: %+v, %v; expected %g", r.truth, r.answer, g, err, r.want)
			}
		}
	}
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

// Two options with one text: the text alone picks neither, the letter does, with the text behind it or without.
func TestChoiceTwins(t *testing.T) {
	for _, group := range []struct {
		choices []string
		answers map[string]float64
	}{
		{[]string{"same", "same", "other"}, map[string]float64{"same": 0, "A": 1, "A. same": 1, "B. same": 0, "A. other": 0, "B": 0, "other": 0}},
		{[]string{"A. 20 mL", "B. 20 mL", "C. 18 mL", "D. 10 mL"}, map[string]float64{
			"A. 20 mL": 1, "(A) 20 mL": 1, "The answer is A. 20 mL": 1, "**A. 20 mL**": 1, `\boxed{\text{A. 20 mL}}`: 1, "The answer is option A (20 mL).": 1, "A. 20 mL, since half is lost": 1,
			"B. 20 mL": 0, "The answer is B. 20 mL": 0, "20 mL": 0, "A. 18 mL": 0, "C. 20 mL": 0, "A or B, 20 mL": 0, "A. 20 mL\nB. 20 mL": 0,
		}},
		{[]string{"A. q/L", "B. q/l", "C. q/s"}, map[string]float64{"q/L": 1, "q/l": 0, "A. q/L": 1, "A. q/l": 0, "B. q/L": 0, "The answer is q/L": 1, "Q/L": 0}},
		{[]string{"A．电荷：L。", "B．电荷：l。"}, map[string]float64{"电荷：L。": 1, "电荷：l。": 0, "电荷:L. ": 1, "A．电荷：L。": 1, "（Ａ）": 1}},
	} {
		for answer, want := range group.answers {
			if g, err := Choice(flow.Task{Answers: []string{"A"}, Choices: group.choices}, answer); err != nil || g.Reward != want {
				t.Errorf("%q: %+v, %v; expected %g", answer, g, err, want)
			}
		}
	}
	// A truth and an answer of many lines, which name other options.
	lines := []string{"A. 1: x -> a\n2. a -> B\n3. B -> C", "B. 1: x -> a\n2. a -> C\n3. C -> B"}
	for answer, want := range map[string]float64{lines[1]: 1, "The route is as follows.\n<answer>" + lines[1] + "</answer>": 1, lines[0]: 0, lines[1][3:]: 1, lines[0] + "\n" + lines[1]: 0} {
		if g, err := Choice(flow.Task{Answers: []string{lines[1]}, Choices: lines}, answer); err != nil || g.Reward != want {
			t.Errorf("%q: %+v, %v; expected %g", answer, g, err, want)
		}
	}
}

// Two truths that name one option are one truth.
func TestChoiceTruths(t *testing.T) {
	task := flow.Task{Answers: []string{"B", "malignant tumour"}, Choices: []string{"Benign cyst", "Malignant tumour"}}
	if g, err := Choice(task, "B"); err != nil || g.Reward != 1 {
		t.Errorf("%+v, %v", g, err)
	}
}
