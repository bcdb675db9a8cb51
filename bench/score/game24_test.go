package score

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"afctl/flow"
)

func TestGame24(t *testing.T) {
	given := func(numbers string) func(*flow.Task) {
		return func(t *flow.Task) { t.Meta = map[string]string{MetaNumbers: numbers} }
	}
	check(t, Game24, []row{
		{"x", "8/(3-8/3)", 1}, // 3 3 8 8: only fractions make it
		{"x", "8 ÷ (3 − 8 ÷ 3)", 1},
		{"x", `8 \div (3 - \frac{8}{3})`, 1},
		{"x", `\frac{8}{3-\frac{8}{3}}`, 1},
		{"x", `\boxed{\dfrac{8}{3-\frac{8}{3}}}`, 1},
		{"x", "8/(3-8/3) = 24", 1},
		{"x", "<answer>8/(3-8/3)=24</answer>", 1},
		{"x", "The answer is 8/(3-8/3).", 1}, {"x", "答案是8/(3-8/3)。", 1}, {"x", "８÷（３－８÷３）＝24", 1},
		{"x", "We try (8-3)*3+8 first, but 8/(3-8/3) = 24 works.", 1},
		{"x", "8/(3-8/3) = 25", 0}, // the claim is wrong
		{"x", "8/(3-8/3) = 24!", 1}, {"x", "8/(3-8/3) = 24.0", 1}, {"x", "8/(3-8/3) = 8/(1/3) = 24", 1}, {"x", "Expression: 8/(3-8/3)\nanswer: 24", 1}, {"x", "Expression: 3*8\nanswer: 24", 0},
		{"x", "8/3-8/3", 0},
		{"x", "3*8", 0},
		{"x", "3*8*(3-8)/(3-8)", 0},
		{"x", "(3*8)+(3-3)*8", 0},
		{"x", "24", 0}, {"x", "", 0}, {"x", "impossible", 0},
		{"x", "83-38", 0}, {"x", "8*3+0*83", 0},
		{"x", "8/(3-8/3.0)", 0},
		{"x", "8/(3-3)*8", 0},
		{"x", "8^1/(3-8/3)", 0}, {"x", "(3!)*8-8*3", 0}, {"x", `\sqrt{8*8}*3*3/3`, 0},
		{"x", "[8/(3-8/3)]", 1}, {"x", "{8/(3-8/3)}", 1}, {"x", "$8/(3-8/3)$", 1}, {"x", "`8/(3-8/3)`", 1},
		{"x", "-8/(8/3-3)", 1}, // a sign moved
		{"x", "8(1)/(3-8/3)", 0},
		{"x", "8/(3-8/3", 0},
		{"x", "8 / (3 - (8 / 3))", 1},
		{"x", "not 8/(3-8/3)", 0},
		{"x", "**8/(3-8/3)**", 1},
	}, given("3 3 8 8"))
	check(t, Game24, []row{
		{"x", "(1+2+3)*4 = 6*4 = 24", 1}, {"x", "4 * (1 + 2 + 3) = 4 * 6 = 24", 1}, {"x", "(1+2+3)*4 = 24.0", 1}, {"x", "(1+2+3)*4 = 24!", 1},
		{"x", "(1+2+3)*4 = 24 !", 1}, {"x", "(1+2+3)*4=24! Done.", 1},
		{"x", "Expression: (1+2+3)*4\nanswer: 24", 1}, {"x", "24 = (1+2+3)*4", 1}, {"x", "<answer>24 = (1+2+3)*4</answer>", 1},
		{"x", "Answer: (1+2+3)*4 = 24", 1}, {"x", "(1+2+3)*4 = 24 (using each number once)", 1},
		{"x", "**(1+2+3)*4**", 1}, {"x", "**(1+2+3)*4 = 24**", 1}, {"x", "`(1+2+3)*4`", 1}, {"x", "The expression is `(1 + 2 + 3) * 4`.", 1},
		{"x", "```\n(1+2+3)*4\n```", 1}, {"x", "\\boxed{(1+2+3)\\times4}", 1}, {"x", "\\[(1+2+3)\\times 4 = 24\\]", 1}, {"x", "1*2*3*4", 1},
		{"x", "1*2*3*4 = 24", 1}, {"x", "1 * 2 * 3 * 4", 1}, {"x", "1 *2 *3 *4", 1}, {"x", "1 × 2 × 3 × 4 equals 24", 1}, {"x", "4!*1*2/2", 0},
		{"x", "4! = 24", 0}, {"x", "4!", 0}, {"x", "4!*(3-2)*1", 0}, {"x", "4!*(3-2-1)+4!", 0}, {"x", "4!+1+2-3", 0}, {"x", "4!/1^(2+3)", 0},
		{"x", "(1+3)!*2-4!", 0},
		{"x", "24*1", 0}, {"x", "12*34", 0}, {"x", "12+3*4", 0}, {"x", "12+34-22", 0}, {"x", "2*3*4", 0}, {"x", "1*1*2*3*4", 0}, {"x", "(4+2)*(3+1)", 1},
		{"x", "(4+2)*(3+1)*1", 0}, {"x", "1*2*3*4 = 25", 0}, {"x", "(1+2+3)*4 = 6*4 = 25", 0}, {"x", "1+2+3+4 = 24", 0}, {"x", "(1+2+3)*4 = 7*4 = 24", 0},
		{"x", "6*4 = (1+2+3)*4 = 24", 0}, {"x", "(1+2)/(3-3)*4", 0}, {"x", "1*2*3*4/(1-1)", 0}, {"x", "1+2=3, 3+3=6, 6*4=24", 0},
		{"x", "1 + 2 = 3\n3 + 3 = 6\n6 * 4 = 24\nAnswer: (1+2+3)*4", 1}, {"x", "1 + 2 = 3\n3 + 3 = 6\n6 * 4 = 24\nAnswer: (1+2+3)*4 = 24", 1},
		{"x", "The answer is (1+2+3)*4, since 1+2+3=6 and 6*4=24", 1}, {"x", "(1+2+3)*4. Check: 1+2+3 = 6, 6*4 = 24.", 1},
		{"x", "(1+2+3)*4 works because 6*4 = 24", 1}, {"x", "(1+2+3)*4 or 1*2*3*4", 1}, {"x", "1*2*3*4, 1+2+3+4, (1+2)*3*4, (1-2)*3+4", 0},
		{"x", "1+2+3+4; 1*2+3*4; 1*2*3*4", 1},
		{"x", "(1+2+3)×4=24。", 1}, {"x", "(1+2+3)*4 → 24", 1}, {"x", "(1+2+3)*4 == 24", 1}, {"x", "(1+2+3)*4 ≠ 24", 0}, {"x", "(1+2+3)*4 is not 24", 0},
		{"x", "[(1+2)+3]*4", 1}, {"x", "4(1+2+3)", 1}, {"x", "(1+2+3)(4)", 1}, {"x", "4*3*2^1", 0}, {"x", "4*3*2**1", 0}, {"x", "4*3*2 - 1 + 1", 0},
		{"x", "1.0*2*3*4", 0}, {"x", "Solution: 4 × 3 × 2 × 1", 1}, {"x", "Using 1, 2, 3, 4: (1+2+3)*4", 1}, {"x", "Using 1, 2, 3, and 4: 1*2*3*4=24", 1},
		{"x", "x = (1+2+3)*4", 1}, {"x", "- (1+2+3)*4", 1}, {"x", "1. (1+2+3)*4 = 24", 1}, {"x", "1) (1+2+3)*4 = 24", 1},
		{"x", "Step 1: 1+2=3. Final: (1+2+3)*4 = 24", 1}, {"x", "\\frac{4}{1}\\times 2\\times 3", 1}, {"x", "(1+2+3)*4 \\approx 24", 1},
		{"x", "answer: 24\nexpression: (1+2+3)*4", 1}, {"x", "The result of (1+2+3)*4 is 24.", 1}, {"x", "The answer is 24", 0},
		{"x", "<answer>24</answer>", 0}, {"x", "(1+2+3)*4\n<answer>24</answer>", 1}, {"x", "1 2 3 4", 0}, {"x", "(1+2+3)*4 = 24 + 0", 1},
		{"x", "24+0*(1+2+3+4)", 0}, {"x", "(1 + 2 + 3) * 4 = 24\n\nLet me know!", 1},
	}, given("1 2 3 4"))
	check(t, Game24, []row{
		{"x", "(1+1+1)×8", 1}, {"x", "(1+1+1)8", 1}, {"x", "8(1+1+1)", 1}, {"x", "8*(1+1+1)", 1}, {"x", "(1+1+1)*8=24", 1},
		{"x", "(1+1+1)x8", 1}, {"x", "(1 + 1 + 1) X 8", 1}, {"x", `(1+1+1) \times 8`, 1}, {"x", `(1+1+1)\cdot 8`, 1}, {"x", "(1+1+1)·8", 1},
		{"x", "(1+1+1)⨯8", 1}, {"x", "(1+1+1)∙8", 1}, {"x", "(1+1+1) • 8 = 24", 1}, {"x", "• (1+1+1)•8", 1}, {"x", "• 1+1+1 = 3\n• 3 • 8 = 24\n∙ So (1 + 1 + 1) • 8", 1}, {"x", "1•1•1•8", 0}, {"x", "(1+1+1)•\n8", 0},
		{"x", "(1+1+1)∗8", 1}, {"x", "(1+1+1)\\*8", 1}, {"x", "((1)+(1)+(1))*(8)", 1}, {"x", "24 = (1+1+1)*8", 1}, {"x", "1+1+1*8", 0}, {"x", "(1+1)*8+8", 0},
		{"x", "(1+1+1+0)*8", 0}, {"x", "11+1+8+4", 0}, {"x", "1+1+1+21", 0}, {"x", "(1+1+1)*8*1", 0}, {"x", "3*8", 0},
		{"x", "(1+1+1)*8 = 3*8 = 24", 1}, {"x", "(1+1+1)*8 = 3*8 = 25", 0}, {"x", "(1+1+1)*8 = 3*9 = 24", 0}, {"x", "25 = (1+1+1)*8", 0}, {"x", "3*8 = (1+1+1)*8", 0}, {"x", "(1/1+1+1)*8", 0}, {"x", "8+8+8", 0}, {"x", "1 1 1 8", 0}, {"x", "1, 1, 1, 8", 0},
		{"x", "(1+1+1)*8 is the solution", 1}, {"x", "solution: (1+1+1)*8", 1}, {"x", "(١+1+1)*8", 0}, {"x", "(1+1+1)*８", 1}, {"x", "8-(-1-1)*8-0", 0},
	}, func(t *flow.Task) {
		t.Question = "Using the numbers [1, 1, 1, 8], make 24. Example: for [1, 2, 3, 4] …"
	})
}

func TestGame24ClaimFirst(t *testing.T) {
	for answer, want := range map[string]float64{"6+6+6+6": 1, "24 = 6+6+6+6": 1, "Expression: 6+6+6+6\nanswer: 24": 1, "6*6-6-6": 1, "6+6+6": 0, "6+6+6+6 = 24!": 1} {
		g, err := Game24(flow.Task{Meta: map[string]string{MetaNumbers: "6 6 6 6"}}, answer)
		if err != nil || g.Reward != want {
			t.Errorf("%q: %+v, %v; expected %g", answer, g, err, want)
		}
	}
}

// The numbers are found where the sample answer alone holds them, and none is an error of the task.
func TestGame24Numbers(t *testing.T) {
	task := flow.Task{ID: "g", Question: "make 24", Answers: []string{"(11+1)×(1+1)"}}
	if g, err := Game24(task, "(1+11)*(1+1)"); err != nil || g.Reward != 1 {
		t.Errorf("%+v, %v", g, err)
	}
	if _, err := Game24(flow.Task{ID: "g", Question: "make 24"}, "1"); !errors.Is(err, ErrTruth) {
		t.Errorf("found %v, expected ErrTruth", err)
	}
}

// An expression built at random from the numbers is right exactly where rational arithmetic says 24.
func TestGame24AgreesWithRationals(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		numbers := rapid.SliceOfN(rapid.SampledFrom([]string{"1", "2", "3", "4", "6", "8", "12"}), 3, 4).Draw(t, "numbers")
		type part struct {
			text string
			v    value
			ok   bool
		}
		var parts []part
		for _, n := range numbers {
			p := newParser(n)
			v, _ := p.sum()
			parts = append(parts, part{n, v, true})
		}
		for len(parts) > 1 {
			i := rapid.IntRange(0, len(parts)-2).Draw(t, "i")
			a, b := parts[i], parts[i+1]
			p := part{ok: a.ok && b.ok}
			switch op := rapid.SampledFrom([]string{"+", "-", "*", "/"}).Draw(t, "op"); op {
			case "+":
				p.text, p.v = "("+a.text+"+"+b.text+")", a.v.add(b.v)
			case "-":
				p.text, p.v = "("+a.text+"−"+b.text+")", a.v.add(b.v.neg())
			case "*":
				p.text, p.v = "("+a.text+"×"+b.text+")", a.v.mul(b.v)
			case "/":
				if p.text = `\frac{` + a.text + "}{" + b.text + "}"; b.v.isZero() {
					p.ok = false
				} else {
					p.v = a.v.mul(b.v.inverse())
				}
			}
			parts = append(parts[:i], append([]part{p}, parts[i+2:]...)...)
		}
		task := flow.Task{Meta: map[string]string{MetaNumbers: strings.Join(numbers, " ")}}
		g, err := Game24(task, parts[0].text)
		want := 0.0
		if r, ok := parts[0].v.rat(); parts[0].ok && ok && r.RatString() == "24" {
			want = 1
		}
		if err != nil || g.Reward != want {
			t.Fatalf("%s: %+v, %v, expected %g", parts[0].text, g, err, want)
		}
	})
}
