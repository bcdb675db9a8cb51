package tools

import (
	"context"
	"encoding/json"
	"math/big"

	"afctl/rollout"
)

// Kinds of Calculator errors, beside bad_args for an expression that cannot be read.
const (
	KindDivisionByZero = "division_by_zero"
	KindTooLarge       = "too_large" // a number on the way, or the result, has too many digits
	KindUndefined      = "undefined" // the root of a negative number, the factorial of a fraction
)

// NameCalculator is the tool's name.
const NameCalculator = "Calculator"

// Calculator is the tool Calculator: exact arithmetic on rational numbers.
//
//	sum     = product { ("+" | "-") product }
//	product = unary { ("*" | "/" | "mod" | "of") unary }
//	unary   = ("-" | "+") unary | power
//	power   = postfix [ "^" unary ]                      right-associative: 2^3^2 = 2^9, -2^2 = -4
//	postfix = primary { "!" | "%" | superscript }        50% = 1/2, 10²³ = 10^23, 10⁻³ = 1/1000
//	primary = number | "(" sum ")" | function "(" sum ")" | "√" primary
//
// Functions are sqrt, abs, floor, ceil and round (half away from zero, to as many decimals as a second argument says, as in round(2.345, 2)), in any
// case. Other signs for the same: × · ⋅ x for "*"; ÷ for
// "/"; − – for "-"; ** for "^"; "%" between two operands is mod, whose result has the sign of the divisor (before a sign
// the space around it decides, see parser.percent). Numbers have decimals and exponents (1.5e6), and thousands in groups of three (1,234,567 or 1_234_567); ½ is 1/2, 1½ is 3/2, and
// characters of another width count as the usual ones. An "=" at the end is
// ignored.
//
// Exponents are integers. Results are exact: an integer, a decimal that ends, or else a fraction and its first 12 digits, which stand alone where it is too
// long to be read.
// Only the root of a number that is no square of a rational makes a result approximate, which it says ("≈"). What is
// equal to 30 digits then counts as equal: floor(sqrt(2)^2) is 2, and sqrt(2)^2 - 2 is 0, also as a divisor.
type Calculator struct{}

// NewCalculator makes the tool.
func NewCalculator() Calculator { return Calculator{} }

// Spec implements rollout.Tool. The argument is {"expression"}.
func (Calculator) Spec() rollout.ToolSpec {
	return rollout.ToolSpec{
		Name:        NameCalculator,
		Description: "Computes an arithmetic expression exactly: + - * / ^, brackets, %, factorials, sqrt, abs, floor, ceil, round, mod.",
		Schema:      json.RawMessage(`{"type":"object","properties":{"expression":{"type":"string","minLength":1,"maxLength":2000}},"required":["expression"],"additionalProperties":false}`),
		Limits:      "Numbers only: no variables, units or equations.",
		Examples:    []rollout.ToolExample{{Args: json.RawMessage(`{"expression":"(418 * 37 - 95) / 3"}`), What: "arithmetic"}},
	}
}

// Execute computes the expression.
func (Calculator) Execute(ctx context.Context, args json.RawMessage) (rollout.Result, error) {
	a, err := decode[struct {
		Expression string `json:"expression"`
	}](args)
	if err != nil {
		return rollout.Result{}, err
	}
	v, err := calculate(ctx, a.Expression)
	if err != nil {
		return rollout.Result{}, err
	}
	text, err := v.text()
	if err != nil {
		return rollout.Result{}, err
	}
	return rollout.Result{Text: text, Data: encode(map[string]any{"value": v.r.RatString(), "decimal": v.decimal(), "exact": !v.approx})}, nil
}

// quantity is a value of the calculation.
type quantity struct {
	r *big.Rat
	// approx marks a value that a root made inexact: right to at least 30 significant digits as the root came out.
	approx bool
}

// Bounds on the work, so that any expression ends at once.
const (
	maxExpression = 2000    // bytes
	maxBits       = 1 << 14 // of numerator and denominator together, on the way: about 4,900 digits
	maxDigits     = 1000    // of the result
	maxNesting    = 200
	maxFactorial  = 1000
)

// significant is the number of digits of a decimal that does not end.
const significant = 12

// decimal is the value to 12 significant digits.
func (v quantity) decimal() string {
	const precision = 256 // bits, far beyond 12 digits
	return new(big.Float).SetPrec(precision).SetRat(v.r).Text('g', significant)
}

// text is the value as the planner reads it.
func (v quantity) text() (string, error) {
	if v.approx {
		return "≈ " + v.decimal(), nil
	}
	exact := v.r.RatString()
	const longest = 40 // decimals that end are shown as such up to here
	n, ends := v.r.FloatPrec()
	switch long := len(exact) > maxDigits; {
	case long && v.r.IsInt():
		return "", fail(KindTooLarge, "the result has too many digits; it is about "+v.decimal())
	case long:
		return "≈ " + v.decimal(), nil
	case ends && n <= longest:
		return v.r.FloatString(n), nil // of an integer, n is 0
	}
	return exact + " ≈ " + v.decimal(), nil
}
