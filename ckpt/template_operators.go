package ckpt

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strings"

	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/nodes"
	"github.com/nikolalohinski/gonja/v2/tokens"
)

// The library computes in its own way: it divides towards zero, takes what is no number for 0, and 1/0 for infinity. So operators are filters of the
// rewritten tree, which compute as Python does. What Python refuses, and what would not fit into 64 bits, is an error.

// operators are the signs of those that are computed here, by their tokens.
var operators = map[tokens.Type]string{
	tokens.Addition: "+", tokens.Subtraction: "-", tokens.Multiply: "*", tokens.Division: "/", tokens.FloorDivision: "//", tokens.Modulo: "%", tokens.Power: "**",
	tokens.LowerThan: "<", tokens.LowerThanOrEqual: "<=", tokens.GreaterThan: ">", tokens.GreaterThanOrEqual: ">=",
}

// operatorName starts the filters' names.
const operatorName = "operator "

// printedName is the filter that makes a text of what is none, but not of what is missing.
const printedName = "what is printed"

// checkOperands refuses, when a template is parsed, what the library's parser does not tell apart from what means something else.
func checkOperands(n *nodes.BinaryExpression) error {
	sign, line := operators[n.Operator.Token.Type], n.Operator.Token.Line
	if _, text := n.Left.(*nodes.String); text && sign == "%" {
		return unsupported("line %d: operator %%: of a text: write it with ~, or with the filter format", line)
	}
	if strings.ContainsAny(sign, "<>") && isComparison(n.Left) {
		return unsupported("line %d: operator %s: behind another comparison, as in a < b < c: write it with and", line, sign)
	}
	return nil
}

// isComparison is asked when the operands have been rewritten.
func isComparison(e nodes.Expression) bool {
	switch n := e.(type) {
	case *nodes.BinaryExpression:
		return n.Operator.Token.Type == tokens.Equals || n.Operator.Token.Type == tokens.Ne
	case *nodes.FilteredExpression:
		return strings.HasPrefix(n.Filters[len(n.Filters)-1].Name, operatorName) && strings.ContainsAny(n.Filters[len(n.Filters)-1].Name, "<>")
	}
	return false
}

// operatorFilter computes with an operator.
func operatorFilter(sign string) exec.FilterFunction {
	return func(_ *exec.Evaluator, in *exec.Value, params *exec.VarArgs) *exec.Value {
		if in.IsError() {
			return in
		}
		v, err := operate(sign, in, params.First())
		if err != nil {
			return exec.AsValue(fmt.Errorf("operator %s: %w", sign, err))
		}
		return exec.AsValue(v)
	}
}

func operate(sign string, a, b *exec.Value) (any, error) {
	if isNumeric(a) && isNumeric(b) {
		if a.IsFloat() || b.IsFloat() {
			return operateFloats(sign, floatOf(a), floatOf(b))
		}
		return operateIntegers(sign, integerOf(a), integerOf(b))
	}
	switch {
	case sign == "%" && a.IsString():
		return nil, unsupported("of a text: write it with ~, or with the filter format")
	case sign == "+" && a.IsString() && b.IsString():
		return a.String() + b.String(), nil
	case sign == "+" && a.IsList() && b.IsList():
		return append(itemsOf(a), itemsOf(b)...), nil
	case sign == "*" && isNumeric(b) && !b.IsFloat():
		return times(a, b)
	case sign == "*" && isNumeric(a) && !a.IsFloat():
		return times(b, a)
	case a.IsString() && b.IsString():
		switch sign {
		case "<":
			return a.String() < b.String(), nil
		case "<=":
			return a.String() <= b.String(), nil
		case ">":
			return a.String() > b.String(), nil
		case ">=":
			return a.String() >= b.String(), nil
		}
	}
	return nil, fmt.Errorf("found %s and %s, expected two that it can take", kindOf(a), kindOf(b))
}

func isNumeric(v *exec.Value) bool { return v.IsNumber() || v.IsBool() }

func integerOf(v *exec.Value) *big.Int {
	switch {
	case !v.IsBool():
		return big.NewInt(int64(v.Integer()))
	case v.Bool():
		return big.NewInt(1)
	}
	return new(big.Int)
}

func floatOf(v *exec.Value) float64 {
	if v.IsFloat() {
		return v.Float()
	}
	f, _ := new(big.Float).SetInt(integerOf(v)).Float64()
	return f
}

// kindOf says in words what a value is.
func kindOf(v *exec.Value) string {
	switch {
	case v.IsNil():
		return "none"
	case v.IsBool():
		return "a boolean"
	case v.IsNumber():
		return "a number"
	case v.IsString():
		return "a text"
	case v.IsList():
		return "a list"
	case v.IsDict():
		return "a mapping"
	}
	return "another value"
}

func itemsOf(list *exec.Value) exec.ValuesList {
	items := exec.ValuesList{}
	list.Iterate(func(_, _ int, item, _ *exec.Value) bool {
		items = append(items, item)
		return true
	}, func() {})
	return items
}

// times repeats a text or a list. growsByTimes has bounded what comes of it.
func times(v, n *exec.Value) (any, error) {
	count := int(integerOf(n).Int64())
	switch {
	case v.IsString():
		var s []byte
		for range count {
			s = append(s, v.String()...)
		}
		return string(s), nil
	case v.IsList():
		items, all := itemsOf(v), exec.ValuesList{}
		for range count {
			all = append(all, items...)
		}
		return all, nil
	}
	return nil, fmt.Errorf("found %s and a number, expected two numbers, or a text or list to repeat", kindOf(v))
}

// growsByTimes is the bytes of a text or list that is repeated, on either side.
func growsByTimes(in *exec.Value, args arguments) float64 {
	of := func(v, n *exec.Value) float64 {
		switch {
		case v.IsString():
			return float64(len(v.String())) * float64(n.Integer())
		case v.IsList():
			return charBytes * float64(v.Len()) * float64(n.Integer())
		}
		return 0
	}
	other := args.at(0, "")
	return max(of(in, other), of(other, in))
}

var errByZero = errors.New("division by zero")

func operateIntegers(sign string, a, b *big.Int) (any, error) {
	out := new(big.Int)
	switch sign {
	case "+":
		out.Add(a, b)
	case "-":
		out.Sub(a, b)
	case "*":
		out.Mul(a, b)
	case "/":
		return operateFloats(sign, floatOfInteger(a), floatOfInteger(b))
	case "//", "%":
		if b.Sign() == 0 {
			return nil, errByZero
		}
		quotient, rest := new(big.Int).QuoRem(a, b, out)
		if rest.Sign() != 0 && rest.Sign() != b.Sign() { // it rounds down
			quotient.Sub(quotient, big.NewInt(1))
			rest.Add(rest, b)
		}
		if sign == "//" {
			out = quotient
		}
	case "**":
		if b.Sign() < 0 {
			return operateFloats(sign, floatOfInteger(a), floatOfInteger(b))
		}
		if a.CmpAbs(big.NewInt(1)) > 0 && b.Cmp(big.NewInt(64)) > 0 {
			return nil, errTooLarge
		}
		out.Exp(a, b, nil)
	default:
		return compared(sign, a.Cmp(b)), nil
	}
	if !out.IsInt64() {
		return nil, errTooLarge
	}
	return int(out.Int64()), nil
}

var errTooLarge = unsupported("an integer of more than 64 bits")

func floatOfInteger(n *big.Int) float64 {
	f, _ := new(big.Float).SetInt(n).Float64()
	return f
}

func operateFloats(sign string, a, b float64) (any, error) {
	switch sign {
	case "+":
		return a + b, nil
	case "-":
		return a - b, nil
	case "*":
		return a * b, nil
	case "/", "//", "%":
		if b == 0 {
			return nil, errByZero
		}
		if sign == "/" {
			return a / b, nil
		}
		quotient, rest := floatDivision(a, b)
		if sign == "%" {
			return rest, nil
		}
		return quotient, nil
	case "**":
		if a == 0 && b < 0 {
			return nil, errByZero
		}
		v := math.Pow(a, b)
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, unsupported("a result that is no number, or too large")
		}
		return v, nil
	case "<":
		return a < b, nil
	case "<=":
		return a <= b, nil
	case ">":
		return a > b, nil
	}
	return a >= b, nil
}

// floatDivision is Python's divmod of floats: the rest has the sign of the divisor, and a = quotient b + rest.
func floatDivision(a, b float64) (quotient, rest float64) {
	rest = math.Mod(a, b)
	quotient = (a - rest) / b
	switch {
	case rest == 0:
		rest = math.Copysign(0, b)
	case (b < 0) != (rest < 0):
		rest += b
		quotient--
	}
	if quotient == 0 {
		return math.Copysign(0, a/b), rest
	}
	down := math.Floor(quotient)
	if quotient-down > 0.5 {
		down++
	}
	return down, rest
}

func compared(sign string, order int) bool {
	switch sign {
	case "<":
		return order < 0
	case "<=":
		return order <= 0
	case ">":
		return order > 0
	}
	return order >= 0
}

// printed is an expression whose text is Python's: that of none is None, that of what is missing is empty.
func printed(e nodes.Expression) nodes.Expression {
	if none, ok := e.(*nodes.None); ok {
		return &nodes.String{Location: none.Location, Val: "None"}
	}
	if filtered, ok := e.(*nodes.FilteredExpression); ok {
		if last := filtered.Filters[len(filtered.Filters)-1].Name; last == ".get" || last == defaultName {
			return through(printedName, e, nil, nil)
		}
	}
	if e := orMissing(e); e != nil {
		return through(printedName, e, nil, nil)
	}
	return e
}

func filterPrinted(_ *exec.Evaluator, in *exec.Value, _ *exec.VarArgs) *exec.Value {
	switch {
	case in.IsError():
		return in
	case isMissing(in):
		return exec.AsValue("")
	case in.IsNil():
		return exec.AsValue("None")
	}
	return in
}
