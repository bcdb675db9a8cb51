package score

import (
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"afctl/flow"
)

func TestExact(t *testing.T) {
	check(t, Exact, []row{
		{"james madison", "James Madison", 1},
		{"james madison", "<answer>James Madison.</answer>", 1},
		{"james madison", "Madison", 0},
		{"Titan IIIE", "the Titan IIIE", 1},
		{"Gülçiçek Hatun", "Gulcicek Hatun", 1},
		{"Gülçiçek Hatun", "Gu\u0308lc\u0327ic\u0327ek Hatun", 1},
		{"Łódź", "lodz", 1},
		{"Straße", "STRASSE", 1},
		{"Ernest I, Prince of Anhalt-Dessau", "Ernest I Prince of Anhalt Dessau", 1},
		{"Ernest I, Prince of Anhalt-Dessau", "Ernest II, Prince of Anhalt-Dessau", 0},
		{"5 January 1964", "January 5, 1964", 1}, {"5 January 1964", "January 5th, 1964", 1}, {"5 January 1964", "Jan. 5, 1964", 1},
		{"January 5, 1964", "the 5th of January, 1964", 1}, {"January 5, 1964", "05 January 1964", 1}, {"July 4, 1776", "It was on 4 July 1776.", 0},
		{"5 January 1964", "January 6, 1964", 0}, {"5 January 1964", "5 June 1964", 0}, {"5 January 1964", "January 5, 1965", 0}, {"5 January 1964", "January 1964", 0},
		{"January 1964", "January 5, 1964", 0}, {"mayor 5 1900", "5 mayor 1900", 0}, {"5 March 1900", "5 marching 1900", 0},
		{"2k+2", "2k + 2", 1}, {"x^3+3x-6", "x^3 + 3x - 6", 1}, {"C++", "C + +", 0}, {"A+", "A", 0},
		{"Let'S Make Money", "Let’s make money", 1},
		{"3.5", "35", 0},
		{"3.5", "3.5.", 1},
		{"1,234", "1234", 1},
		{"-5", "5", 0},
		{"-5", "−5", 1},
		{"C++", "C", 0},
		{"C#", "C++", 0},
		{"C++", "c++", 1},
		{"U.S.", "US", 1},
		{"The The", "The The", 1},
		{"The The", "The Beatles", 0},
		{"Vitamin A", "Vitamin", 0},
		{"Vitamin A", "vitamin a", 1},
		{"A", "a", 1},
		{"A", "B", 0},
		{"!!!", "!!!", 1},
		{"!!!", "???", 0},
		{"Paris", "The answer is Paris.", 1},
		{"Paris", "The answer is not Paris.", 0},
		{"Paris", "The answer is Paris. I am confident this answer is correct.", 1},
		{"Paris", "Answer: Paris\nThis answer is based on the Wikipedia article.", 1},
		{"Paris", "Paris. This answer is based on Wikipedia.", 1},
		{"Paris", "The answer is Paris. The answer is Rome. This answer is final.", 0},
		{"Paris", "It is not Paris", 0},
		{"Paris", "", 0},
		{"One World, One Dream", "“One World – One Dream”", 1},
		{"Ⅳ", "IV", 1},
		{"東京", "東京", 1},
		{"Paris", `$\text{Paris}$`, 1}, {"Paris", `\(\mathrm{Paris}\).`, 1}, {"Paris", `<answer>\textbf{Paris}</answer>`, 1}, {"Paris", `\text{Rome}`, 0}, {"Cats & Dogs", "Cats and Dogs", 1}, {"Cats and Dogs", "Cats & Dogs", 1}, {"Cats & Dogs", "Cats Dogs", 0}, {"AT&T", "at&t", 1},
		{"東京", "答案：東京。", 1}, {"東京", "**最终答案**：東京", 1}, {"東京", "答案：京都", 0}, {"甲、乙", "甲、乙。", 1}, {"甲、乙", "甲，乙", 1}, {"甲、乙", "甲乙", 0}, {"ABC", "ＡＢＣ", 1},
		{"東京", "京都", 0},
		{"yes", "Yes", 1},
		{"ａｂｃ", "abc", 1},
		{"Rock 'n' Roll", "rock n roll", 1},
		{"5 January 1964", "1964-01-05", 1}, {"1964-01-05", "January 5th, 1964", 1}, {"5 January 1964", "1964-05-01", 0}, {"December 31, 1999", "It was on 1999-12-31.", 0}, {"1964-02-30", "1964-02-30", 1}, {"1964-02-30", "1964-02-31", 0},
		{"AC/DC", "AC DC", 1}, {"US$-5", "US$ -5", 1}, {"-.5", ".5", 0}, // a sign behind one of currency is no hyphen
	})
}

func TestF1(t *testing.T) {
	check(t, F1, []row{
		{"Kurt Julian Weill", "Kurt Weill", 0.8},
		{"Kurt Julian Weill", "kurt julian weill", 1},
		{"Kurt Julian Weill", "Weill", 0.5},
		{"Kurt Julian Weill", "Julian Kurt Weill", 1},
		{"Kurt Julian Weill", "Bach", 0},
		{"Kurt Julian Weill", "", 0},
		{"Kurt Julian Weill", "the composer Kurt Julian Weill", 6.0 / 7},
		{"a b | Kurt Weill", "Kurt Weill", 1},
		{"Kurt | Kurt Weill", "Kurt", 1},
		{"Kurt Weill | Kurt", "Weill", 2.0 / 3},
		{"yes", "yes", 1},
		{"yes", "yes it is", 0},
		{"no", "yes", 0},
		{"yes it is", "yes", 0},
		{"one one two", "one", 0.5},
		{"one one two", "one one", 0.8},
		{"one two", "one one one", 0.4},
		{"the cat", "cat", 1},
		{"the cat", "a cat", 1},
		{"cat", "the", 0},
		{"3.5 km", "3.5 km", 1},
		{"3.5 km", "35 km", 0.5},
		{"Gülçiçek Hatun", "gulcicek", 2.0 / 3},
		{"New York City", "<answer>New York</answer>", 0.8},
		{"New York City", `\boxed{York}`, 0.5},
		{"New York City", "The answer is New York City.", 1},
		{"New York City", "not New York City", 6.0 / 7},
		{"x y z w", "x q", 1.0 / 3},
		{"x y z w", "w z y x", 1},
		{"Anhalt-Dessau", "Anhalt Dessau", 1},
		{"Anhalt-Dessau", "Dessau", 2.0 / 3},
		{"1,234 people", "1234", 2.0 / 3},
	})
}

func TestYesNo(t *testing.T) {
	check(t, YesNo, []row{
		{"no", "It isn't", 1}, {"no", "They were not.", 1}, {"yes", "It isn't", 0}, {"yes", "I cannot say yes", 0}, {"yes", "It is", 0},
		{"yes", "yeah", 1}, {"yes", "yep", 1}, {"yes", "correct", 1}, {"no", "incorrect", 1}, {"no", "untrue", 1},
		{"yes", "yes", 1}, {"yes", "Yes.", 1}, {"yes", "YES, both are American", 1}, {"yes", "no", 0},
		{"no", "No, they are not", 1}, {"no", "nope", 1}, {"yes", "True", 1}, {"no", "false", 1},
		{"true", "yes", 1}, {"false", "No", 1},
		{"yes", "not yes", 0}, {"no", "It is not true", 1}, {"yes", "It is not true", 0},
		{"yes", "It is not false", 1}, {"no", "That isn't correct", 1}, {"yes", "That is correct", 1},
		{"no", "That is incorrect", 1}, {"yes", "The answer is yes", 1}, {"no", "The answer is no.", 1},
		{"yes", "<answer>yes</answer>", 1}, {"no", "<answer>yes</answer> or <answer>no</answer>", 1},
		{"yes", "No doubt, yes", 1}, {"no", "No doubt, yes", 0}, {"yes", "yes and no", 0},
		{"yes", "It could be yes or no", 0}, {"no", "It could be yes or no", 0},
		{"yes", "", 0}, {"no", "Paris", 0}, {"no", "There is no such film; yes", 0}, {"yes", "There is no such film; yes", 1},
		{"no", "Neither is true", 1}, {"yes", "Know that yesterday", 0}, {"no", "nobody", 0}, {"yes", `\boxed{\text{Yes}}`, 1},
		{"yes", "It is no longer true", 0}, {"no", "It is no longer true", 1},
		{"no", "It isn't", 1}, {"no", "It isn't.", 1}, {"no", "It isn’t", 1}, {"no", "They were not.", 1}, {"yes", "I cannot say yes", 0},
		{"no", "I cannot say yes", 0}, {"yes", "I can't say yes or no", 0}, {"no", "I cannot say no", 0}, {"no", "I can't say", 0},
		{"yes", "I would not say yes", 0}, {"yes", "They are from the same country.", 0}, {"no", "It is not", 1}, {"no", "It was not.", 1},
		{"no", "They do not", 1}, {"no", "They don't.", 1}, {"no", "He did not.", 1}, {"no", "no.", 1}, {"no", "NO!", 1}, {"no", "No - they differ", 1},
		{"no", "**No**", 1}, {"no", "The answer is **no**.", 1}, {"yes", "The answer is **yes**, since both are true.", 1},
		{"yes", "Yes, that is not false", 1}, {"yes", "It is true", 1}, {"yes", "It is indeed correct", 1}, {"no", "It is not correct to say so", 1},
		{"no", "It is untrue", 1}, {"no", "That's false.", 1}, {"yes", "Not sure", 0}, {"no", "Not sure", 0}, {"no", "I do not know", 0},
		{"no", "I don't know", 0}, {"no", "I am not sure", 0}, {"no", "unknown", 0}, {"no", "It cannot be determined", 0}, {"no", "I could not find it", 0},
		{"no", "not enough information", 0}, {"no", "It is not clear", 0}, {"no", "There is not enough information.", 0}, {"yes", "Yes or no", 0},
		{"no", "Yes or no", 0}, {"yes", "yes/no", 0}, {"no", "yes/no", 0}, {"yes", "yes no", 0}, {"yes", "Yes and no", 0},
		{"yes", "Yes, they both are; no doubt.", 1}, {"yes", "yes. no", 0}, {"yes", "True, both", 1}, {"yes", "They are", 0}, {"no", "Absolutely not", 1},
		{"no", "Of course not", 1}, {"no", "Definitely not.", 1}, {"no", "not", 0}, {"no", "Not at all", 0}, {"yes", "Definitely yes", 1},
		{"yes", "Correct", 1}, {"no", "Incorrect", 1}, {"yes", "\\boxed{\\text{Yes}}", 1}, {"yes", "<answer>Yes</answer>", 1},
		{"no", "The answer to the question is no, they are not from the same country.", 1}, {"yes", "The answer to the question is no, they are not from the same country.", 0},
		{"no", "## Final Answer\n\nNo", 1}, {"no", "Final Answer\nNo, they differ.", 1},
		{"no", "Final answer: No", 1}, {"yes", "I don't think it is true", 0}, {"no", "I don't think it is true", 1}, {"no", "I don't think so", 1},
		{"no", "It isn't true that they are not", 1},
		{"no", "They aren't", 1}, {"no", "No, I cannot say yes", 1}, {"yes", "We cannot answer yes", 0}, {"no", "It would be wrong to say yes", 0},
		{"yes", "It would be wrong to say yes", 0},
		{"no", "I do not think so no", 1}, {"no", "Not really, no.", 1}, {"yes", "Not really, no.", 0}, {"no", "It isn't, no.", 1}, {"no", "I don't think so, no.", 1}, {"no", "They were not, no.", 1},
		{"no", "Never, no.", 1}, {"no", "It doesn't, so no", 1}, {"no", "It is not the case, so no", 1}, {"no", "They are both not American, so: no", 1},
		{"no", "Correct: no", 1}, {"yes", "Correct: yes", 1}, {"no", "It is not, in fact, true", 1}, {"no", "I don't think so, that is incorrect", 1},
		{"yes", "It isn't false; it is true", 1}, {"no", "I do not think so. The answer is no", 1}, {"yes", "True, no evidence speaks against it", 1},
		{"yes", "They differ, therefore yes", 1}, {"no", "Is it true? No", 1}, {"yes", "Yes?", 1},
	})
}

// Normalisation is a projection: a second pass changes nothing.
func TestNormalizeIsIdempotent(t *testing.T) {
	text := rapid.OneOf(rapid.String(), rapid.StringOfN(rapid.RuneFrom([]rune("aAthe ß\u0301.,-−–+#/_($€?!059é")), 0, 12, -1))
	rapid.Check(t, func(t *rapid.T) {
		s := text.Draw(t, "s")
		if once := Normalize(s); Normalize(once) != once {
			t.Fatalf("%q -> %q -> %q", s, once, Normalize(once))
		}
	})
}

// F1 is symmetric, within 0..1, and 1 exactly for the same bag of words.
func TestF1Properties(t *testing.T) {
	words := rapid.SliceOfN(rapid.SampledFrom([]string{"u", "v", "w", "x"}), 1, 6)
	rapid.Check(t, func(t *rapid.T) {
		a, b := words.Draw(t, "a"), words.Draw(t, "b")
		x := tokenF1(strings.Join(a, " "), strings.Join(b, " "))
		y := tokenF1(strings.Join(b, " "), strings.Join(a, " "))
		if x != y || x < 0 || x > 1 {
			t.Fatalf("%v, %v: %g and %g", a, b, x, y)
		}
		perm := rapid.Permutation(a).Draw(t, "perm")
		if f := tokenF1(strings.Join(perm, " "), strings.Join(a, " ")); math.Abs(f-1) > 1e-15 {
			t.Fatalf("%v against its permutation %v: %g", a, perm, f)
		}
	})
}

// Any answer to any task is graded without an error of the answer's making, within 0..1, the same twice.
func FuzzScorers(f *testing.F) {
	for _, a := range []string{"", "5", "(B)", `\frac{1}{0}`, "9^9^9^9", `1\frac{1\frac{1`, "<answer>", "((((((((((", "\xff\xfe", "e999", "1e999999999", `\sqrt[0]{2}`, "0^{-1}", "100!!!!", `\boxed{`, "5 \\pm"} {
		f.Add(a)
	}
	task := flow.Task{ID: "t", Question: "[1, 2, 3, 4]", Answers: []string{"B"}, Choices: []string{"3", "no", "(1+2+3)*4"}}
	f.Fuzz(func(t *testing.T, answer string) {
		for _, name := range Names() {
			task := task
			task.Scorer = name
			if name == "yesno" {
				task.Answers = []string{"no"}
			}
			g, err := Score(task, answer)
			if err != nil || !(g.Reward >= 0 && g.Reward <= 1) || g.Reason == "" {
				t.Fatalf("%s: %+v, %v", name, g, err)
			}
			if again, _ := Score(task, answer); again != g {
				t.Fatalf("%s: %+v, then %+v", name, g, again)
			}
			// As a truth, it may be refused but nothing worse.
			task.Answers, task.Question = []string{answer}, answer
			if _, err := Score(task, answer); err != nil && !strings.Contains(err.Error(), "truth") {
				t.Fatalf("%s: %v", name, err)
			}
		}
	})
}
