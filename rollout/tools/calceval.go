package tools

import (
	"context"
	"fmt"
	"math/big"

	"afctl/rollout"
)

// calculate reads an expression and computes it on the way.
func calculate(ctx context.Context, expression string) (quantity, error) {
	if len(expression) > maxExpression {
		return quantity{}, fail(rollout.KindBadArgs, fmt.Sprintf("an expression of %d bytes, at most %d are read", len(expression), maxExpression))
	}
	tokens, err := lex(expression)
	if err != nil {
		return quantity{}, err
	}
	p := &parser{ctx: ctx, tokens: tokens}
	v, err := p.sum()
	if err != nil {
		return v, err
	}
	if t := p.next(); t.number != nil {
		return v, unreadable(t.at, "a number without an operator before it")
	} else if t.name == "," {
		return v, unreadable(t.at, unexpectedComma)
	} else if t.name != "" {
		return v, unreadable(t.at, "%q is not expected here", t.name)
	}
	return v, nil
}

type parser struct {
	ctx    context.Context
	tokens []token // the last one is the end
	depth  int
}

func (p *parser) next() token { return p.tokens[0] }

func (p *parser) advance() token {
	t := p.tokens[0]
	if len(p.tokens) > 1 {
		p.tokens = p.tokens[1:]
	}
	return t
}

func (p *parser) sum() (quantity, error) {
	v, err := p.product()
	for err == nil && (p.next().name == "+" || p.next().name == "-") {
		minus := p.advance().name == "-"
		var w quantity
		if w, err = p.product(); err != nil {
			break
		}
		if minus {
			w.r = new(big.Rat).Neg(w.r)
		}
		v, err = bounded(add(v, w))
	}
	return v, err
}

// add is v + w. Of inexact values that cancel to less than settledBits nothing but their error would be left: that is 0.
func add(v, w quantity) quantity {
	out := quantity{new(big.Rat).Add(v.r, w.r), v.approx || w.approx}
	if out.approx {
		least := new(big.Rat).SetFrac(v.r.Num(), new(big.Int).Lsh(v.r.Denom(), settledBits))
		if new(big.Rat).Abs(out.r).Cmp(least.Abs(least)) < 0 {
			out.r.SetInt64(0)
		}
	}
	return out
}

func (p *parser) product() (quantity, error) {
	v, err := p.unary()
	for err == nil {
		op := p.next().name
		if op == "%" {
			op = "mod" // postfix has left it: an operand follows
		}
		if op != "*" && op != "/" && op != "mod" {
			break
		}
		p.advance()
		var w quantity
		if w, err = p.unary(); err != nil {
			break
		}
		v, err = combine(op, v, w)
	}
	return v, err
}

func combine(op string, v, w quantity) (quantity, error) {
	out := quantity{approx: v.approx || w.approx}
	if op != "*" && w.r.Sign() == 0 {
		return out, fail(KindDivisionByZero, "division by zero")
	}
	switch op {
	case "*":
		out.r = new(big.Rat).Mul(v.r, w.r)
	case "/":
		out.r = new(big.Rat).Quo(v.r, w.r)
	case "mod":
		whole := floor(quantity{new(big.Rat).Quo(v.r, w.r), out.approx})
		multiple := new(big.Rat).Mul(w.r, new(big.Rat).SetInt(whole))
		out = add(v, quantity{multiple.Neg(multiple), w.approx})
	}
	return bounded(out)
}

func (p *parser) unary() (quantity, error) {
	if p.depth++; p.depth > maxNesting {
		return quantity{}, unreadable(p.next().at, "nested more than %d deep", maxNesting)
	}
	defer func() { p.depth-- }()
	if err := p.ctx.Err(); err != nil {
		return quantity{}, err
	}
	switch p.next().name {
	case "-":
		p.advance()
		v, err := p.unary()
		if err == nil {
			v.r = new(big.Rat).Neg(v.r)
		}
		return v, err
	case "+":
		p.advance()
		return p.unary()
	}
	return p.power()
}

func (p *parser) power() (quantity, error) {
	base, err := p.postfix()
	if err != nil || p.next().name != "^" {
		return base, err
	}
	at := p.advance().at
	exponent, err := p.unary()
	if err != nil {
		return base, err
	}
	if !exponent.r.IsInt() || exponent.approx {
		return base, fail(KindUndefined, fmt.Sprintf("at character %d: the exponent is not an integer (for a root, use sqrt)", at+1))
	}
	return raise(base, exponent.r.Num())
}

// raise computes base^n by repeated squaring; 0^0 is 1, as for any other base.
func raise(base quantity, n *big.Int) (quantity, error) {
	if n.Sign() < 0 {
		if base.r.Sign() == 0 {
			return base, fail(KindDivisionByZero, "zero to a negative power")
		}
		base.r = new(big.Rat).Inv(base.r)
	}
	v := quantity{big.NewRat(1, 1), base.approx}
	var err error
	for i := n.BitLen() - 1; i >= 0 && err == nil; i-- {
		v, err = combine("*", v, v)
		if err == nil && new(big.Int).Abs(n).Bit(i) == 1 {
			v, err = combine("*", v, base)
		}
	}
	return v, err
}

func (p *parser) postfix() (quantity, error) {
	v, err := p.primary()
	for err == nil {
		switch t := p.next(); {
		case t.name == "!":
			p.advance()
			if next := p.next(); next.name == "!" {
				return v, unreadable(next.at, "!! may be a double factorial or a factorial twice: expected brackets, as in (5!)!, or the product, as in 5*3*1")
			}
			v, err = factorial(v)
		case t.power != nil:
			p.advance()
			if p.next().power != nil {
				return v, unreadable(p.next().at, "a superscript after a superscript: expected one exponent, or ^ before the second")
			}
			v, err = raise(v, t.power)
		case t.name == "%":
			var percent bool
			if percent, err = p.percent(); err != nil || !percent {
				return v, err
			}
			p.advance()
			if next := p.next(); next.name == "%" {
				return v, unreadable(next.at, "%% after %%: expected brackets, as in (50%%)%%")
			}
			v.r = new(big.Rat).Quo(v.r, big.NewRat(100, 1))
		default:
			return v, nil
		}
	}
	return v, err
}

// percent tells whether the "%" that is next makes a percentage of the number before it; else it is mod, and an operand
// follows. Before a sign the space around it tells: 50% + 1 and 50%-1 go on with a sum, 17 % -5 has an operand with a
// sign. What could be either is refused, as nobody would see which was computed.
func (p *parser) percent() (bool, error) {
	ahead := func(n int) token { return p.tokens[min(n, len(p.tokens)-1)] }
	t, after := p.next(), ahead(1)
	if after.name != "+" && after.name != "-" {
		return after.number == nil && after.name != "(" && functions[after.name] == nil, nil
	}
	signed := !ahead(2).apart // the sign touches what follows
	switch {
	case t.apart && signed:
		return false, nil
	case !t.apart && !(after.apart && signed):
		return true, nil
	}
	return false, unreadable(t.at, "%% before %q may be a percentage or a remainder: expected brackets around the percentage, as in (50%%) - 1, or mod, as in 17 mod -5", after.name)
}

func factorial(v quantity) (quantity, error) {
	if !v.r.IsInt() || v.r.Sign() < 0 || v.approx {
		return v, fail(KindUndefined, "the factorial of "+clipRunes(v.r.RatString())+", expected an integer from 0 on")
	}
	n := v.r.Num()
	if n.Cmp(big.NewInt(maxFactorial)) > 0 {
		return v, fail(KindTooLarge, fmt.Sprintf("the factorial of %s, at most %d! is computed", clipRunes(n.String()), maxFactorial))
	}
	return quantity{r: new(big.Rat).SetInt(new(big.Int).MulRange(1, n.Int64()))}, nil
}

func (p *parser) primary() (quantity, error) {
	t := p.advance()
	f := functions[t.name]
	switch {
	case t.number != nil:
		return bounded(quantity{r: t.number})
	case t.name == "round" && p.next().name == "(":
		return p.round()
	case f != nil:
		v, err := p.primary()
		if err == nil {
			v, err = f(v)
		}
		return v, err
	case t.name == "(":
		v, err := p.sum()
		if err == nil {
			err = p.closing()
		}
		return v, err
	case t.name == "":
		return quantity{}, unreadable(t.at, "the expression ends, expected a number")
	}
	return quantity{}, unreadable(t.at, "%q is not expected here, expected a number", t.name)
}

const unexpectedComma = "a comma is not expected here: thousands are in groups of three, and round alone takes a second argument, as in round(2.345, 2)"

func (p *parser) closing() error {
	switch end := p.next(); end.name {
	case ")":
		p.advance()
		return nil
	case ",":
		return unreadable(end.at, unexpectedComma)
	default:
		return unreadable(end.at, "expected a closing bracket")
	}
}

// round reads the arguments of round, in brackets: a number, and maybe how many decimals are kept.
func (p *parser) round() (quantity, error) {
	p.advance()
	v, err := p.sum()
	if err != nil {
		return v, err
	}
	scale := big.NewRat(1, 1)
	if comma := p.next(); comma.name == "," {
		p.advance()
		digits, err := p.sum()
		if err != nil {
			return v, err
		}
		most := big.NewRat(maxDigits, 1)
		if digits.approx || !digits.r.IsInt() || new(big.Rat).Abs(digits.r).Cmp(most) > 0 {
			return v, unreadable(comma.at, "round to %s decimals, expected an integer from -%d to %d", clipRunes(digits.r.RatString()), maxDigits, maxDigits)
		}
		ten, err := raise(quantity{r: big.NewRat(10, 1)}, digits.r.Num())
		if err != nil {
			return v, err
		}
		scale = ten.r
	}
	if err := p.closing(); err != nil {
		return v, err
	}
	if v, err = functions["round"](quantity{new(big.Rat).Mul(v.r, scale), v.approx}); err != nil {
		return v, err
	}
	return bounded(quantity{v.r.Quo(v.r, scale), v.approx})
}

// functions of one argument, written before it.
var functions = map[string]func(quantity) (quantity, error){
	"sqrt": squareRoot,
	"abs": func(v quantity) (quantity, error) {
		return quantity{new(big.Rat).Abs(v.r), v.approx}, nil
	},
	"floor": func(v quantity) (quantity, error) {
		return quantity{new(big.Rat).SetInt(floor(v)), v.approx}, nil
	},
	"ceil": func(v quantity) (quantity, error) {
		up := floor(quantity{new(big.Rat).Neg(v.r), v.approx})
		return quantity{new(big.Rat).SetInt(up.Neg(up)), v.approx}, nil
	},
	"round": func(v quantity) (quantity, error) {
		half := floor(quantity{new(big.Rat).Add(new(big.Rat).Abs(v.r), big.NewRat(1, 2)), v.approx})
		if v.r.Sign() < 0 {
			half.Neg(half)
		}
		return quantity{new(big.Rat).SetInt(half), v.approx}, nil
	},
}

// settledBits is the precision to which an inexact value is right (quantity.approx promises 30 digits) and to which it is
// rounded before a question that the last of its digits would decide: sqrt(2)^2 is 2, not the integer below.
const settledBits = 100

// floor is the largest integer that is not above v.
func floor(v quantity) *big.Int {
	r := v.r
	if v.approx {
		r, _ = new(big.Float).SetPrec(settledBits).SetRat(r).Rat(nil)
	}
	// Div is Euclidean: with a positive divisor it rounds down.
	return new(big.Int).Div(r.Num(), r.Denom())
}

// rootDigits is how many decimals of sqrt(p q) an inexact root of p/q keeps: with p q >= 1, that many significant digits.
const rootDigits = 40

// squareRoot is exact for squares of rationals, and else right to rootDigits.
func squareRoot(v quantity) (quantity, error) {
	p, q := v.r.Num(), v.r.Denom()
	if p.Sign() < 0 {
		return v, fail(KindUndefined, "the square root of a negative number")
	}
	a, b := new(big.Int).Sqrt(p), new(big.Int).Sqrt(q)
	if new(big.Int).Mul(a, a).Cmp(p) == 0 && new(big.Int).Mul(b, b).Cmp(q) == 0 {
		return quantity{new(big.Rat).SetFrac(a, b), v.approx}, nil
	}
	// sqrt(p/q) = sqrt(p q) / q
	scale := new(big.Int).Exp(big.NewInt(10), big.NewInt(rootDigits), nil)
	s := new(big.Int).Mul(p, q)
	s.Mul(s, scale).Mul(s, scale).Sqrt(s)
	return bounded(quantity{new(big.Rat).SetFrac(s, new(big.Int).Mul(q, scale)), true})
}

// approxBits is the precision to which inexact values are rounded on the way: more than rootDigits.
const approxBits = 192

// bounded refuses what has grown too large to go on with.
func bounded(v quantity) (quantity, error) {
	if v.approx {
		v.r, _ = new(big.Float).SetPrec(approxBits).SetRat(v.r).Rat(nil)
	}
	if v.r.Num().BitLen()+v.r.Denom().BitLen() > maxBits {
		return v, fail(KindTooLarge, "the numbers grow too large")
	}
	return v, nil
}
