package score

import (
	"strings"
	"testing"

	"afctl/flow"
)

// Forms in which a reply gives one answer: each counts under every rule that the answer is of.
func TestReplyForms(t *testing.T) {
	for _, form := range []string{
		"> **%s**", "- **%s**", "• **%s**", "→ **%s**", "✅ **%s**", "**Final Answer:**\n- **%s**", "### Final Answer\n\n- **%s**", "**Final Answer:**\n- %s",
		"<answer>The answer is %s.</answer>", "<answer>Final Answer: %s</answer>", "<final_answer>%s</final_answer>",
		`{"answer": "%s"}`, `{"answer":"%s\u002e"}`, `{"final_answer": "%s", "confidence": 0.9}`, "Final Answer - %s", "Final answer — %s", "Answer: %s [1]",
		"%s\n\nExplanation: It took 7 steps, no more.", "%s\nSource: page 12", "The final answer is %s! 🎉",
	} {
		for answer, rule := range map[string]Func{"33": Number, "Paris": Exact, "yes": YesNo} {
			grade(t, rule, []row{{answer, strings.ReplaceAll(form, "%s", answer), 1}})
		}
	}
	grade(t, Number, []row{{"-33", "**Final Answer:** -33", 1}, {"-33", "**Final Answer:**\n-33", 1}, {"33", "The answer is\n- 33", 1}, {"42", "We add 2.\nNote: 5 are left.\nSo it is 42", 1}, {"42", "We add 2 and 3.\nThat is 5.\nReasoning: 7 are left.\nSo it is 42", 1},
		{"5", "answer - 5", 1}, {"6", "The answer is 3!", 1}, {"6", "The answer is 3! = 6", 1}})
	grade(t, YesNo, []row{{"yes", "Yes. No other country was involved.", 1}, {"yes", "Yes, no Americans were involved.", 1}, {"no", "No. Yes-men did it.", 1}, {"yes", "yes or no", 0}, {"no", "yes/no", 0}, {"yes", "Yes and no.", 0}})
}

// Answers that differ in a sign only, and those that differ in their notation only.
func TestNotations(t *testing.T) {
	grade(t, Exact, []row{
		{"B♭ major", "B major", 0}, {"B♭ major", "B flat major", 1}, {"10⁶ m/s", "106 m/s", 0}, {"10⁶ m/s", "10^6 m/s", 1}, {"1½ miles", "11/2 miles", 0}, {"1½ miles", "1 1/2 miles", 1},
		{"5 mm", "5mm", 1}, {"5 mm", "5 millimetres", 1}, {"1,800 metres", "1800m", 1}, {"5 mm", "5 cm", 0}, {"the 1990s", "1990's", 1}, {"1990s", "1990 seconds", 0},
		{"a, b, c", "a, b, and c", 1}, {"Tom, Dick and Harry", "Tom, Dick, Harry", 1}, {"Simon and Garfunkel", "Simon, Garfunkel", 0},
		{"May 12", "12 May", 1}, {"March 3", "March 3rd", 1}, {"15 March 44 BC", "March 15, 44 BC", 1}, {"Aug 1990", "August 1990", 1}, {"Aug 1990", "August 1991", 0}, {"May 12", "May 13", 0}, {"12 May", "12 May 1990", 0},
	})
	grade(t, Number, []row{
		{`x\sqrt{3}`, `x\sqrt3`, 1}, {`\frac{1}{2}x`, `\frac12x`, 1}, {`\frac12+\frac{\sqrt3}{2}i`, `\frac{1}{2}+\frac{\sqrt{3}}{2}i`, 1}, {`x \ne 3`, `x \neq 3`, 1}, {`\emptyset`, `\varnothing`, 1}, {`\emptyset`, `∅`, 1},
		{`(1,2) \cup (3,4)`, `(1,2) ∪ (3,4)`, 1}, {`2x+3`, `y = 2x+3`, 1}, {`y=2x+3`, `y = 2x + 4`, 0}, {`x=2y`, `z=2y`, 0}, {`\frac{1}{3}x`, `\frac12x`, 0}, {`x\sqrt{3}`, `x\sqrt{5}`, 0},
	})
	with := func(choices ...string) func(*flow.Task) { return func(t *flow.Task) { t.Choices = choices } }
	grade(t, Choice, []row{{"A", "The answer is 50%.", 1}, {"D", "The answer is 50.", 1}, {"C", "The answer is 5%.", 1}, {"B", "0.5%", 1}}, with("50%", "0.5%", "5%", "50"))
	grade(t, Choice, []row{{"A", "No", 1}, {"B", "No.", 1}}, with("No", "No."))
	grade(t, Choice, []row{{"A", `\boxed{\frac12}`, 1}, {"A", "0.5", 1}, {"B", "five", 1}, {"C", `$1.5\times10^{-3}$`, 1}, {"A", "0.25", 0}}, with("1/2", "5", "1.5 x 10^-3"))
}
