package score

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"

	"afctl/flow"
)

func TestNumber(t *testing.T) {
	check(t, Number, []row{
		// notations of one value
		{"7/2", "3.50", 1},
		{`\frac{7}{2}`, "3.5", 1},
		{`\dfrac{7}{2}`, `\tfrac72`, 1},
		{`\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}`, `\begin{pmatrix}1&2\\3&4\end{pmatrix}`, 1},
		{`\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}`, `\begin{pmatrix}1&2&3&4\end{pmatrix}`, 0},
		{`3\frac{1}{2}`, "7/2", 1},
		{"3 1/2", "3.5", 1},
		{"3½", "3.5", 1},
		{`-3\frac12`, "-3.5", 1},
		{"{7 \\over 2}", "3.5", 1},
		{"1234", "1,234", 1},
		{"1234", "1{,}234", 1},
		{"1234", `1\,234`, 1},
		{"1234567", "1,234,567", 1}, {"1234567", "1234,567", 0},
		{"1200", "1.2e3", 1},
		{"1200", `1.2 \times 10^{3}`, 1},
		{"1200", "1.2×10³", 1},
		{"0.0012", `1.2\cdot 10^{-3}`, 1},
		{"0.0012", "1.2E-3", 1},
		{"33", "33.0", 1},
		// parts of a formula are no answer
		{"2", "2*sqrt(2)", 0}, {"2", "2sqrt(2)", 0}, {"2", "x^2", 0}, {"2", `\boxed{x^2}`, 0}, {"2", "x/2", 0}, {"2", `\log 2`, 0}, {"2", `\binom{4}{2}`, 0}, {"36", "36*pi", 0}, {"36", "36 pi", 0},
		{"1", "1/x", 0}, {"3", `0.\overline{3}`, 0}, {"3", "2:3", 0}, {"2", "2:3", 0}, {"2", "the answer is x^2", 0}, {"2", "It is 2*sqrt(2) then", 0},
		{"2*sqrt(2)", "2\\sqrt{2}", 1}, {"2\\sqrt{2}", "2sqrt(2)", 1}, {"36\\pi", "36 pi", 1}, {"36\\pi", "36pi", 1}, {"6", "3 * 2 = 6", 1}, {"6", "the answer is 3*2 = 6", 1},
		// signs and thousands
		{"5", "The answer is negative 5", 0}, {"-5", "The answer is negative 5", 1}, {"5", "minus 5", 0}, {"-5", "minus 5", 1}, {"-5", "It is minus 5 degrees", 1},
		{"0", "10 000", 0}, {"10000", "10 000", 1}, {"10000", "10\u00a0000", 1}, {"10000", "10\u202f000", 1}, {"1234567", "the answer is 1 234 567 people", 1}, {"10", "10 000", 0}, {"10", "10 2000", 0},
		{"10", "10¹²", 0}, {"1e12", "10¹²", 1}, {"1e-12", "10⁻¹²", 1}, {"100", "10²", 1},
		// units
		{"12 apples", "12", 1}, {"4 cm^2", "4", 1}, {"4 cm^2", "4 cm²", 1}, {"5 USD", "5", 1}, {"12 apples", "13", 0}, {"60 km/h", "60 kilometers per hour", 1}, {"5 km", "5 miles", 0}, {"12 apples", "12 oranges", 0},
		// joy, or a factorial
		{"12", "12 o'clock", 1}, {"5", "The answer is 5 (five).", 1}, {"18", "She makes 9 * 2 = $<<9*2=18>>18 every day", 1}, {"6", "The value of f(2) is 6", 1}, {"9", "x = 9 or x = -9", 0},
		{"5", "The answer is 5!", 1}, {"120", "5!", 1}, {"6", "5!", 0},
		{"33", "033", 1},
		{"33", "33.0001", 0},
		{"1000000000001", "1000000000000", 0},
		{"0.1", ".1", 1},
		{"1/3", "0.3333333333", 1},
		{"1/3", "0.33", 0},
		{"1/4", "0.2500000001", 0},
		{"2^10", "1024", 1},
		{"5!", "120", 1},
		{`\left(\frac{1}{2}\right)`, "0.5", 1},
		{"[1+1]*2", "4", 1},
		{`\frac{1}{2}`, "2", 0},
		// roots and π
		{`\sqrt{8}`, `2\sqrt{2}`, 1},
		{`\frac{1}{\sqrt{2}}`, `\frac{\sqrt{2}}{2}`, 1},
		{`3\sqrt{5}`, `\sqrt{45}`, 1},
		{`\sqrt[3]{8}`, "2", 1},
		{`\sqrt{2}+\sqrt{3}`, `\sqrt{3}+\sqrt{2}`, 1},
		{`\sqrt{2}+\sqrt{3}`, `\sqrt{5}`, 0},
		{`\frac{1}{1+\sqrt{2}}`, `\sqrt{2}-1`, 1},
		{`2\pi`, "2π", 1},
		{`\frac{\pi}{2}`, `\frac12\pi`, 1},
		{`2\pi`, "6.28318530718", 1},
		{`2\pi`, "6.28", 0},
		{`\sqrt{2}`, "√2", 1},
		{`\sqrt{2}`, "1.41421356237", 1},
		{`\sqrt{12}`, "√12", 1},
		{`2^{1/2}`, `\sqrt2`, 1},
		{`\infty`, "∞", 1},
		{`\infty`, `-\infty`, 0},
		{`\sqrt{0}`, "0", 1}, {"0", `\sqrt[x]{4}`, 0}, {"4", "3 5/5", 0}, {"5", `\sqrt[1]{5}`, 1}, {"0", `\sqrt{-4}`, 0}, {"2", `\sqrt{-4}`, 0}, {"-2", `\sqrt{-4}`, 0},
		{`\sqrt[3]{8}`, "2.0000000001", 0},                                                                                                                  // a whole root is exact
		{`\sqrt{1000000000039}`, "1000000.0000195", 1}, {`\sqrt[3]{10^{60}}`, "10^{20}", 1}, {"10^{5000}", "10^{6000}", 0}, {"10^{-5000}", "10^{-6000}", 0}, // beyond what is exact
		// signs and denials
		{"-5", "−5", 1},
		{"-5", "5", 0},
		{"5", "-5", 0},
		{"-5", "negative five", 1},
		{"5", "minus five", 0},
		{"7", "seven", 1},
		{"5", "The result is not 5.", 0},
		{"6", "It is not 5 but 6", 1},
		{"6", "It is 6, not 5", 1},
		{"5", `x \neq 5`, 0},
		{"5", "5 is wrong", 0},
		{"5", "it isn't 5", 0},
		// units, currency, percent
		{"5", "5 cm", 1},
		{"5", `5\text{ cm}`, 1},
		{"5", `5\,\mathrm{cm}^2`, 1},
		{"5 cm", "5", 1},
		{"5 cm", "5 centimeters", 1},
		{"5 cm", "5 km", 0},
		{`5 \text{ cm}`, "5 m", 0},
		{"90", `90^\circ`, 1},
		{"90", "90°", 1},
		{`90^{\circ}`, "90 degrees", 1},
		{"12", "12 apples", 1},
		{"5", `\$5`, 1},
		{"5.00", "$5$", 1},
		{"5000000", "5 million", 1},
		{"5", "5 million", 0},
		{`50\%`, "50%", 1},
		{`50\%`, "0.5", 1},
		{`50\%`, "50", 1},
		{"0.5", `50\%`, 1},
		{"1/2", "50 percent", 1},
		{`50\%`, "0.5%", 0},
		{`33\frac{1}{3}\%`, "1/3", 1}, {"1/3", "33.3333333333%", 1}, {"33.3333333333%", "1/3", 1}, {"1/3", "33.3%", 0},
		// said of an answer
		{"42", "The answer is 42. My answer is final.", 1}, {"42", "Answer: 42\n\nThis answer is exact.", 1}, {"42", "42\n\nThis answer is exact.", 1},
		{"41", "The answer is 41. My answer is 42.", 0}, {"41", "The answer is 41. That answer is wrong: the answer is 42", 0},
		{"4", "The answer is 4 or 5. This answer is right.", 0}, {"4", "The answer is 4. If this answer is wrong, 5.", 0},
		{"42", "The answer is 42. The answer is not 42.", 0}, {"42", "The answer is 42. The answer is unknown.", 0}, {"3", "The answer is 3.5 and my answer is final", 0},
		{"1", "The answer is 1, 2 and my answer is final.", 0}, {"41", "The answer is 41.\nFinal answer: 42 (this answer is exact).", 0}, {"41", "The answer is 41. My answer is wrong, 42 is right.", 0},
		// text around
		{"42", `The answer is $\boxed{42}$.`, 1},
		{"42", "So we get 6 * 7 = 42.", 1},
		{"42", "x = 42", 1},
		{"42", "f(6) = 42", 1},
		{"42", "Step 1: 6. Step 2: 7. Therefore the total is 42 units.", 1},
		{"42", "**42**", 1},
		{"42", "The final answer is 42 because 6 times 7 is that.", 1},
		{"42", "41 or 42", 0},
		{"-42", "- 42", 1},
		{"42", "Results:\n- 42", 1},
		{"2", "H2O", 0},
		{"42", "", 0},
		{"42", "forty", 0},
		{"204", "<answer>204</answer>", 1},
		{"204", "<answer>m+n = 204</answer>", 1},
		{"33", `\[ m+n = 25+8 = 33 \]`, 1},
		{"25", "25+8 = 33", 0},
		// lists
		{"1, 2, 3", "3, 2 and 1", 1},
		{`\{1,2\}`, "2, 1", 1},
		{"(1,2)", "(2,1)", 0},
		{"(1,2)", "(1, 2.0)", 1},
		{"(1,2)", "[1,2]", 0},
		{"1, 2, 3", "1, 2", 0},
		{"1, 2", "1, 2, 2", 0}, {"1, 2, 2", "1, 1, 2", 0},
		{`\pm 3`, "3, -3", 1},
		{`1 \pm \sqrt{2}`, `1+\sqrt{2}, 1-\sqrt{2}`, 1},
		{"3, 5", "The solutions are 5 and 3.", 1},
		{"1, 2", "x = 1, y = 2", 1},
		{`\left(\frac{1}{2}, -1\right)`, "(0.5, -1)", 1},
		{"3", "3, 4", 0},
		{"132, 133, 134", "132,133,134", 1}, {"132, 133, 134", "134,133,132", 1}, {"132, 133, 134", "132,133,135", 0}, {"132,133,134", "132, 133, 134", 1}, {"132133134", "132,133,134", 1},
		{"132, 133, 134", "The rooms are 132,133,134.", 1}, {"132, 133, 1345", "132,133,1345", 1}, {"(120,240)", "(120, 240)", 1}, {"(120, 240)", "(120,240)", 1}, {"(120,240)", "(240, 120)", 0}, {"(120, 240)", "(240,120)", 0},
		{"120240", "120,240", 1}, {"12, 345", "12,345", 0}, {"1,234", "1, 234", 0}, {"1234", "1, 234", 0}, {"1,234", "1234", 1}, {"(1, 234)", "1234", 0},
		// a residue, an ordinal, a fraction in words
		{"104", `\boxed{104 \pmod{1000}}`, 1}, {"104", "<answer>104 (mod 1000)</answer>", 1}, {"104", "N ≡ 104 (mod 1000)", 1}, {"104", `$N \equiv 104 \pmod {1000}$.`, 1}, {"104", "The answer is N ≡ 1104 ≡ 104 (mod 1000).", 1},
		{"1000", "N ≡ 104 (mod 1000)", 0}, {"104", "N ≡ 105 (mod 1000)", 0}, {"1104", `\boxed{1104 \pmod{1000}}`, 0}, {"104", `\boxed{7^{104} \pmod{1000}}`, 0}, {"104", "<answer>2^104 (mod 1000)</answer>", 0},
		{"3", "We get 8, as 8 ≡ 3 (mod 5)", 0}, {"8", "We get 8, as 8 ≡ 3 (mod 5)", 1}, {"104", "104 (mod 1000)", 0},
		{"45", "45th", 1}, {"45", "The answer is the 45th.", 1}, {"21", "21st", 1}, {"11", "11th", 1}, {"11", "11st", 0}, {"44", "45th", 0}, {"5", "The 5th step gives 7", 0}, {"7", "The 5th step gives 7", 1},
		{"1/2", "one half", 1}, {"1/2", "The probability is one half.", 1}, {"2/3", "two-thirds", 1}, {"7/2", "three and a half", 1}, {"-1/2", "minus one half", 1}, {"1", "one half", 0}, {"2", "two thirds", 0},
		{"23", "twenty-third", 0}, {"3", "third", 0}, {"2", "One third of them came; two left", 1}, {"1/3", "One third of them came; two left", 0},
		{"6", "2⨯3", 1}, {"5", "• 5", 1}, {"5", "∙ 5 apples", 1},
		// hostile and broken
		{"1", `\frac{1}{0}`, 0},
		{"1", "9^9^9^9", 0},
		{"1", "1e999999", 0},
		{"0", "0^0", 0},
		{"5", "5x", 0},
		// truths that are no numbers
		{`\text{no solution}`, "No solution.", 1},
		{"x+1", "$x + 1$", 1},
		{"x+1", "x+2", 0},
		{`\frac{x}{2}`, `\dfrac{x}{2}`, 1},
		{"3:4", "3:4", 1},
	})
}

// A rational in any notation equals itself and differs from its neighbour.
func TestNumberNotations(t *testing.T) {
	notations := []func(p, q int64) string{
		func(p, q int64) string { return fmt.Sprintf("%d/%d", p, q) },
		func(p, q int64) string { return fmt.Sprintf(`\frac{%d}{%d}`, p, q) },
		func(p, q int64) string { return fmt.Sprintf(`$\dfrac{%d}{%d}$`, 3*p, 3*q) },
		func(p, q int64) string { return fmt.Sprintf(`\boxed{-\frac{-%d}{%d}}`, p, q) },
		func(p, q int64) string { return fmt.Sprintf("it is %d/%d.", p, q) },
		func(p, q int64) string { return fmt.Sprintf(`\sqrt{%d}/%d-0`, p*p, q) },
		func(p, q int64) string { return new(big.Rat).SetFrac64(p, q).FloatString(24) },
	}
	rapid.Check(t, func(t *rapid.T) {
		p, q := rapid.Int64Range(1, 9999).Draw(t, "p"), rapid.Int64Range(1, 999).Draw(t, "q")
		i := rapid.IntRange(0, len(notations)-1).Draw(t, "i")
		answer := notations[i](p, q)
		grade := func(truth string) Grade {
			g, err := Number(flow.Task{Answers: []string{truth}}, answer)
			if err != nil {
				t.Fatal(err)
			}
			return g
		}
		if g := grade(fmt.Sprintf("%d/%d", p, q)); g.Reward != 1 {
			t.Fatalf("%s as %d/%d: %s", answer, p, q, g.Reason)
		}
		if g := grade(fmt.Sprintf("%d/%d", p+1, q)); g.Reward != 0 {
			t.Fatalf("%s as %d/%d: %s", answer, p+1, q, g.Reason)
		}
	})
}

// The exact ring agrees with float64 arithmetic: sums, products and quotients of rational multiples of roots and π.
func TestValueAgreesWithFloats(t *testing.T) {
	term := rapid.Custom(func(t *rapid.T) value {
		v := rational(big.NewRat(rapid.Int64Range(1, 20).Draw(t, "p"), rapid.Int64Range(1, 9).Draw(t, "q")))
		r, _ := integer(rapid.Int64Range(1, 50).Draw(t, "root")).root(2)
		if rapid.Bool().Draw(t, "pi") {
			r = r.mul(build(map[irrational]*big.Rat{{root: 1, pi: 1}: big.NewRat(1, 1)}))
		}
		return v.mul(r)
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := term.Draw(t, "a"), term.Draw(t, "b"), term.Draw(t, "c")
		x := a.add(b).mul(c).mul(b.inverse())
		y := a.mul(c).mul(b.inverse()).add(c)
		if !x.exact() || !equalValues(x, y, false, false) {
			t.Fatalf("(a+b)c/b = %v, ac/b+c = %v", x, y)
		}
		want := (a.f + b.f) * c.f / b.f
		if !equalValues(inexact(x.f), inexact(want), false, false) {
			t.Fatalf("exact %g, float64 %g", x.f, want)
		}
	})
}

// Nested and repeated forms end at once: this would not return if reading backtracked exponentially.
func TestNumberIsBounded(t *testing.T) {
	for _, part := range []string{"(", `1\frac{`, `\sqrt{`, "1,", "-", "2^", "(1+2)^", `\sqrt{4294967291}+`, "1 ", `{1 \over `, "((1,", `10^\sqrt{.5^`, `\boxed{`} {
		answer := strings.Repeat(part, MaxAnswer/4/len(part))
		if _, err := Number(flow.Task{Answers: []string{"1, 2"}}, answer); err != nil {
			t.Errorf("%s…: %v", part, err)
		}
	}
}

// Gaps are found once from the text's end; they are what reading on from each place finds.
func TestGaps(t *testing.T) {
	tokens := rapid.SliceOf(rapid.SampledFrom(append([]string{" ", "\\", "\\\\", "x", "1", "\\pi", "\\lefty"}, spacing...)))
	rapid.Check(t, func(t *rapid.T) {
		p := &parser{s: []rune(strings.Join(tokens.Draw(t, "tokens"), ""))}
		for i := 0; i <= len(p.s); i++ {
			p.pos = i
			for at := -1; at != p.pos && p.pos < len(p.s); {
				if at = p.pos; unicode.IsSpace(p.s[at]) {
					p.pos++
				} else {
					_ = slices.ContainsFunc(spacing, p.command)
				}
			}
			want := p.pos
			p.pos = i
			if p.space(); p.pos != want {
				t.Fatalf("%q from %d: to %d, expected %d", string(p.s), i, p.pos, want)
			}
		}
	})
}
