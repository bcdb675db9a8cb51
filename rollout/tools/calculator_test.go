package tools

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"afctl/rollout"

	"pgregory.net/rapid"
)

func compute(t testing.TB, expression string) (string, error) {
	t.Helper()
	args, err := json.Marshal(map[string]string{"expression": expression})
	if err != nil {
		t.Fatal(err)
	}
	r, err := NewCalculator().Execute(context.Background(), args)
	return r.Text, err
}

func TestCalculator(t *testing.T) {
	for expression, want := range map[string]string{
		"418 * 37 - 95": "15371", "1/3": "1/3 ≈ 0.333333333333", "1/8": "0.125", "-7/2": "-3.5", "2/3 + 1/3": "1", "0.1 + 0.2": "0.3",
		"2^10": "1024", "2**10": "1024", "2^3^2": "512", "-2^2": "-4", "(-2)^2": "4", "2^-3": "0.125", "0^0": "1", "5²+2³": "33", "(2/3)^2": "4/9 ≈ 0.444444444444",
		"10!": "3628800", "3!!": "bad_args", "(3!)!": "720", "3! !": "bad_args", "50%%": "bad_args", "(50%)%": "0.005", "2^3!": "64", "1000!/998!": "999000", "0!": "1",
		"sqrt(16)": "4", "√(9/4)": "1.5", "√16 + 9": "13", "sqrt(2)": "≈ 1.41421356237", "sqrt(2)^2": "≈ 2", "sqrt 81": "9", "sqrt(0)": "0", "sqrt(2) + 1": "≈ 2.41421356237", "1 - sqrt(2)": "≈ -0.414213562373", "2 * sqrt(2)": "≈ 2.82842712475",
		"50%": "0.5", "15% of 240": "36", "200 * 5%": "10", "50% + 1": "1.5", "17 % 5": "2", "-7 mod 3": "2", "7 mod -3": "-2", "5.5 mod 2": "1.5", "10%(3)": "1",
		"1,234,567 × 2": "2469134", "1_000": "1000", "12,5": "bad_args", "1,23": "bad_args", "1234,567": "bad_args", "1,2345": "bad_args", "1,234567": "bad_args", "1.2.3": "bad_args", "1.2,3": "bad_args", "1,234.5": "1234.5",
		"1,234.": "1234", "1,234. + 12.": "1246", "1,234.5.6": "bad_args", "1,234.,5": "bad_args",
		"10²³": "1" + strings.Repeat("0", 23), "6.022 * 10²³": "6022" + strings.Repeat("0", 20), "2³²": "4294967296", "2¹⁰ - 2⁰": "1023", "10⁻³": "0.001", "10⁺²": "100", "(-2)⁴⁵": "-35184372088832", "-2²": "-4",
		"2³^2": "64", "2^3²": "512", "3²!": "362880", "50²%": "25", "√9²": "9", "5 ²": "25", "10⁻": "bad_args", "²": "bad_args", "10² ³": "bad_args", "0⁻¹": "division_by_zero", "9⁹⁹⁹⁹": "too_large",
		"17 % -5": "-3", "17 %-5": "-3", "-17 % -5": "-2", "17 % +5": "2", "17 % --5": "2", "2 * (17 % −5)": "-6", "17 % - 5": "bad_args", "50% -1": "bad_args", "50%-1": "-0.5", "50%- 1": "-0.5", "100% - 15%": "0.85", "100%-15%": "0.85", "17 % -": "bad_args",
		"7 − 2 ÷ 4": "6.5", "3 x 4": "12", "3x4": "12", "2·3⋅4": "24", "[1 + 2] * 3": "9", "12 * 3 =": "36", "1 + 1 = ?": "2", "\u00a01 +\t2\n": "3",
		"1e6": "1000000", "1.5E-3": "0.0015", ".5 + 5.": "5.5",
		"abs(-3)": "3", "floor(-0.5)": "-1", "ceil(2.1)": "3", "round(2.5)": "3", "round(-2.5)": "-3", "round(-0.4)": "0",
		"floor(sqrt(2)^2)": "≈ 2", "ceil(sqrt(2)^2)": "≈ 2", "floor(-sqrt(2)^2)": "≈ -2", "ceil(sqrt(3)*sqrt(12))": "≈ 6", "round(sqrt(2)^2*1.25)": "≈ 3", "round(-sqrt(2)^2*1.25)": "≈ -3", "floor(sqrt(5)^2-1e-20)": "≈ 4", "floor(sqrt(2))": "≈ 1", "ceil(sqrt(2))": "≈ 2",
		"sqrt(2)*sqrt(2)-2": "≈ 0", "2-sqrt(2)*sqrt(2)": "≈ 0", "1/(sqrt(2)*sqrt(2)-2)": "division_by_zero", "(sqrt(2)^2-2)^-1": "division_by_zero", "sqrt(6)-sqrt(2)*sqrt(3)": "≈ 0", "sqrt(sqrt(2)^2-2)": "≈ 0", "sqrt(2)^2*1e20-2e20": "≈ 0",
		"sqrt(2)^2 mod 2": "≈ 0", "3 mod sqrt(3)^2": "≈ 0", "sqrt(8) mod 2": "≈ 0.828427124746", "5 mod (sqrt(2)^2-2)": "division_by_zero", "sqrt(2)-1.4142135623730950488": "≈ 1.6887242097e-21", "sqrt(2)/1e50": "≈ 1.41421356237e-50", "sqrt(2) + 0": "≈ 1.41421356237", "0 - sqrt(2)": "≈ -1.41421356237",
		"0x10": "bad_args", "0XfF": "bad_args", "5 * 0x1": "bad_args", "0 x 10": "0", "0 x10": "0", "10x10": "100", "2x3x4": "24", "0.5x4": "2", "0b11": "bad_args", "0o17": "bad_args", "10h": "bad_args",
		"1/0": "division_by_zero", "1/(2-2)": "division_by_zero", "5 mod 0": "division_by_zero", "0^-1": "division_by_zero",
		"9^9^9": "too_large", "2^99999999999999999999": "too_large", "1^99999999999999999999": "1", "(-1)^99999999999999999999": "-1", "0^99999999999999999999": "0",
		"1001!": "too_large", "99999999999999999999!": "too_large", "1000!": "too_large", "1e9999": "too_large", "1e-9999": "too_large", "10^1000": "too_large", "(1+0.07/12)^(12*30)": "≈ 8.11649747536", "10^999": "1" + strings.Repeat("0", 999),
		"sqrt(-1)": "undefined", "4^(1/2)": "undefined", "(1/2)!": "undefined", "(-3)!": "undefined", "2^sqrt(2)": "undefined",
		"2(3)": "bad_args", "2 3": "bad_args", "": "bad_args", "()": "bad_args", "(1": "bad_args", "1)": "bad_args", "1 +": "bad_args", "* 2": "bad_args", "1.5.2": "bad_args", ".": "bad_args",
		"3⁄4": "0.75", "３＋４": "7", "（１，２３４．５％）": "12.345", "½": "0.5", "1½": "1.5", "1 ½ * 2": "3", "-1½": "-1.5", "1½²": "2.25", "2^½": "undefined", "½5": "bad_args", "1.5½": "bad_args", "1e2½": "bad_args", "½½": "bad_args", "1½½": "bad_args", "2²½": "bad_args",
		"𝟑+x₂": "bad_args", "5₂": "bad_args", "Sqrt(16)": "4", "SQRT 16": "4", "Round(2.5) MOD 2": "1", "50% OF 8": "4", "3 X 4": "12",
		"round(3.14159, 2)": "3.14", "round(3.14159,2)": "3.14", "round(2.345, 2)": "2.35", "round(-2.345, 2)": "-2.35", "round(1,234.5, -2)": "1200", "round((2/3) , 3)": "0.667", "round(sqrt(2), 3)": "≈ 1.414", "2 * round(1.26, 1)^2": "3.38", "round(50%, 0)": "1",
		"round(12,5)": "bad_args", "round(1.5, 0.5)": "bad_args", "round(1.5, 1001)": "bad_args", "round(1.5, sqrt(2))": "bad_args", "round(1.5, 2, 3)": "bad_args", "round(1.5,)": "bad_args", "round(, 2)": "bad_args", "sqrt(4, 2)": "bad_args", "1, 2": "bad_args",
		"x = 3": "bad_args", "pi": "bad_args", "3 > 2": "bad_args", "1; 2": "bad_args", "__import__('os')": "bad_args", "2e": "bad_args", "{1}": "bad_args",
		strings.Repeat("(", 500) + "1" + strings.Repeat(")", 500): "bad_args", strings.Repeat("-", 1000) + "1": "bad_args", strings.Repeat("1+", 1500) + "1": "bad_args",
	} {
		got, err := compute(t, expression)
		var bad *rollout.ToolError
		if errors.As(err, &bad) {
			got = bad.Kind
			if bad.Message == "" {
				t.Errorf("%.40q: an error without a message", expression)
			}
		} else if err != nil {
			t.Errorf("%.40q: %v", expression, err)
		}
		if got != want {
			t.Errorf("%.40q: %.80s (%v), expected %.80s", expression, got, err, want)
		}
	}
}

// The message about a number in base 16 says what is wrong with it.
func TestCalculatorHexadecimal(t *testing.T) {
	_, err := compute(t, "1 + 0x1F")
	if err == nil || !strings.Contains(err.Error(), "0x1F looks hexadecimal") || !strings.Contains(err.Error(), "character 5") {
		t.Errorf("%v", err)
	}
}

// A second argument where none is taken is told from a number that is badly written.
func TestCalculatorArguments(t *testing.T) {
	for expression, want := range map[string]string{
		"sqrt(4, 2)": "at character 7: a comma is not expected here", "3.5, 2": "round alone takes a second argument", "round(12,5)": "12, is no number: expected decimals after one point",
		"round(1.5, 0.5)": "round to 1/2 decimals, expected an integer from -1000 to 1000",
	} {
		if _, err := compute(t, expression); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, expected %q", expression, err, want)
		}
	}
}

// Hostile expressions end at once: each would take hours if its numbers were formed.
func TestCalculatorBoundsWork(t *testing.T) {
	for _, expression := range []string{
		"9^9^9^9", "(9^9)^(9^9)", "((1000!)^1000)^1000", strings.TrimSuffix(strings.Repeat("1000!*", 300), "*"), strings.Repeat("(", 190) + "9" + strings.Repeat(")^9", 190),
		"(1/3)^1e6", "sqrt(2)^(10^9)", "1" + strings.Repeat("!", 1900), "3" + strings.Repeat("!", 1900), strings.TrimSuffix(strings.Repeat("1/7919+1/7907*", 140), "*"), strings.Repeat("√", 600) + "2",
	} {
		if _, err := compute(t, expression); err != nil {
			var bad *rollout.ToolError
			if !errors.As(err, &bad) {
				t.Errorf("%.40q: %v", expression, err)
			}
		}
	}
}

// node is a random expression with its value as big.Rat computes it; nil where it has none.
type node struct {
	text  string
	value *big.Rat
	atom  bool // needs no brackets anywhere
}

func (n node) bracketed() string {
	if n.atom {
		return n.text
	}
	return "(" + n.text + ")"
}

func drawNode(t *rapid.T, depth int) node {
	if depth == 0 || rapid.IntRange(0, 4).Draw(t, "leaf") == 0 {
		i := rapid.Int64Range(0, 5_000_000).Draw(t, "number")
		switch rapid.IntRange(0, 3).Draw(t, "form") {
		case 0:
			return node{fmt.Sprint(i), big.NewRat(i, 1), true}
		case 1:
			return node{fmt.Sprintf("%d.%03d", i, i%1000), new(big.Rat).Add(big.NewRat(i, 1), big.NewRat(i%1000, 1000)), true}
		case 2:
			return node{fmt.Sprintf("%d,%03d,%03d", 1+i%999, i/7%1000, i%1000), big.NewRat((1+i%999)*1_000_000+i/7%1000*1000+i%1000, 1), true}
		}
		return node{fmt.Sprintf("%d%%", i%1000), big.NewRat(i%1000, 100), true}
	}
	a := drawNode(t, depth-1)
	op := rapid.SampledFrom([]string{"+", "-", "*", "/", "^", "neg"}).Draw(t, "op")
	n := node{}
	if op == "neg" {
		n.text = "-" + a.bracketed()
		if a.value != nil {
			n.value = new(big.Rat).Neg(a.value)
		}
		return n
	}
	if op == "^" {
		e := rapid.Int64Range(-3, 5).Draw(t, "exponent")
		n.text = fmt.Sprintf("%s ^ %d", a.bracketed(), e)
		if a.value == nil || a.value.Sign() == 0 && e < 0 {
			return n
		}
		n.value = big.NewRat(1, 1)
		for range max(e, -e) {
			n.value.Mul(n.value, a.value)
		}
		if e < 0 {
			n.value.Inv(n.value)
		}
		return n
	}
	b := drawNode(t, depth-1)
	sign := map[string][]string{"+": {"+"}, "-": {"-", "−", "–"}, "*": {"*", "×", "·"}, "/": {"/", "÷"}}[op]
	n.text = a.bracketed() + rapid.SampledFrom([]string{"", " "}).Draw(t, "space") + rapid.SampledFrom(sign).Draw(t, "sign") + " " + b.bracketed()
	if a.value == nil || b.value == nil || op == "/" && b.value.Sign() == 0 {
		return n
	}
	n.value = new(big.Rat)
	switch op {
	case "+":
		n.value.Add(a.value, b.value)
	case "-":
		n.value.Sub(a.value, b.value)
	case "*":
		n.value.Mul(a.value, b.value)
	case "/":
		n.value.Quo(a.value, b.value)
	}
	return n
}

// The calculator agrees with big.Rat on random expressions, written in any of its signs, to the last digit.
func TestCalculatorProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := drawNode(t, 4)
		v, err := calculate(context.Background(), n.text)
		var bad *rollout.ToolError
		switch {
		case n.value == nil:
			if !errors.As(err, &bad) || bad.Kind != KindDivisionByZero {
				t.Fatalf("%s: %v, expected a division by zero", n.text, err)
			}
		case errors.As(err, &bad) && bad.Kind == KindTooLarge:
			if n.value.Num().BitLen()+n.value.Denom().BitLen() < maxBits/8 {
				t.Fatalf("%s: %v for %s", n.text, err, n.value.RatString())
			}
		case err != nil || v.r.Cmp(n.value) != 0 || v.approx:
			t.Fatalf("%s = %v, %v; expected %s", n.text, v.r, err, n.value.RatString())
		}
	})
}

// What precedence says without brackets is what it says with them.
func TestCalculatorPrecedence(t *testing.T) {
	for plain, bracketed := range map[string]string{
		"1 + 2 * 3": "1 + (2 * 3)", "8 - 3 - 2": "(8 - 3) - 2", "8 / 4 / 2": "(8 / 4) / 2", "2 * 3 ^ 2": "2 * (3 ^ 2)", "2 ^ 3 ^ 2": "2 ^ (3 ^ 2)", "-3 ^ 2": "-(3 ^ 2)",
		"2 ^ -1 * 4": "(2 ^ (-1)) * 4", "2 - -3": "2 - (-3)", "6 / 3 * 2": "(6 / 3) * 2", "7 mod 4 * 2": "(7 mod 4) * 2", "3! ^ 2": "(3!) ^ 2", "sqrt 4 ^ 2": "(sqrt 4) ^ 2",
	} {
		a, errA := compute(t, plain)
		b, errB := compute(t, bracketed)
		if errA != nil || errB != nil || a != b {
			t.Errorf("%s = %s (%v), %s = %s (%v)", plain, a, errA, bracketed, b, errB)
		}
	}
}

// An inexact root is right to its twelve digits, and its square to as many.
func TestCalculatorRoots(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, q := rapid.Int64Range(1, 1<<40).Draw(t, "p"), rapid.Int64Range(1, 1<<40).Draw(t, "q")
		v, err := calculate(context.Background(), fmt.Sprintf("sqrt(%d/%d)", p, q))
		if err != nil {
			t.Fatal(err)
		}
		square := new(big.Rat).Mul(v.r, v.r)
		off := square.Sub(square, big.NewRat(p, q))
		off.Quo(off, big.NewRat(p, q))
		// rootDigits digits of the root leave a relative error of 2e-40 in the square; rounding to 192 bits is smaller.
		bound := new(big.Rat).SetFrac(big.NewInt(4), new(big.Int).Exp(big.NewInt(10), big.NewInt(rootDigits), nil))
		if off.Abs(off).Cmp(bound) > 0 {
			t.Fatalf("sqrt(%d/%d)^2 is off by %s", p, q, off.FloatString(50))
		}
		if !v.approx && off.Sign() != 0 {
			t.Fatalf("sqrt(%d/%d) is said to be exact", p, q)
		}
	})
}

func FuzzCalculator(f *testing.F) {
	for _, s := range []string{"1+2*3", "9^9^9", "sqrt(2)%", "1,234.5e3!", "((((", "5 mod 0", "√√√2²", "−1÷×", "\xff", "1e-1000^1000"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := calculate(context.Background(), s)
		var bad *rollout.ToolError
		if err != nil && !errors.As(err, &bad) {
			t.Errorf("%v is no tool error", err)
		}
		if err == nil {
			if text, err := v.text(); err == nil && (text == "" || len(text) > 2*maxDigits) {
				t.Errorf("a result of %d bytes", len(text))
			}
		}
	})
}

func BenchmarkCalculator(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := compute(b, "(418 * 37 - 95) / 3"); err != nil {
			b.Fatal(err)
		}
	}
}
