package score

import (
	"cmp"
	"maps"
	"math"
	"math/big"
	"slices"
)

// value is a number: exactly, as a sum of rational multiples of √n·πᵏ, where that is possible, and always as a
// float64. Sums, products and quotients by one term stay exact; the numbers √n (n square-free) times powers of π are linearly
// independent over the rationals, so two exact values are equal if and only if their terms are.
type value struct {
	terms map[irrational]*big.Rat // no zero coefficients; nil where the value is known only as f
	f     float64
}

// irrational is √root·π^pi; root is square-free, 1 for a rational.
type irrational struct {
	root int64
	pi   int
}

// Bounds that keep work on hostile input small: beyond them a value is known as a float64 only.
const (
	maxBits      = 4096    // of a numerator or denominator
	maxTerms     = 16      // of one value
	maxRoot      = 1 << 32 // largest number whose square part is sought (trial division up to its square root)
	maxPower     = 1024    // largest degree of a root, and digits of a number
	maxFactorial = 500     // has 3,768 bits
)

func rational(r *big.Rat) value {
	return build(map[irrational]*big.Rat{{root: 1}: r})
}

func integer(n int64) value { return rational(new(big.Rat).SetInt64(n)) }

func inexact(f float64) value { return value{f: f} }

// build drops zero terms and gives the float64, or the float64 alone where a bound is passed.
func build(terms map[irrational]*big.Rat) value {
	v := value{terms: terms}
	order := slices.SortedFunc(maps.Keys(terms), func(a, b irrational) int { // the same sum each time
		return cmp.Or(cmp.Compare(a.root, b.root), cmp.Compare(a.pi, b.pi))
	})
	for _, k := range order {
		c := terms[k]
		if c.Sign() == 0 {
			delete(terms, k)
			continue
		}
		f, _ := c.Float64()
		v.f += f * math.Sqrt(float64(k.root)) * math.Pow(math.Pi, float64(k.pi))
		if c.Num().BitLen() > maxBits || c.Denom().BitLen() > maxBits {
			v.terms = nil
		}
	}
	if len(terms) > maxTerms {
		v.terms = nil
	}
	if v.terms == nil && (math.IsInf(v.f, 0) || v.f == 0) {
		v.f = math.NaN() // too large or too small for a float64: neither infinity nor 0
	}
	return v
}

func (v value) exact() bool { return v.terms != nil }

// rat returns the value as a rational, if it is one.
func (v value) rat() (*big.Rat, bool) {
	switch {
	case v.terms == nil:
		return nil, false
	case len(v.terms) == 0:
		return new(big.Rat), true
	case len(v.terms) == 1:
		r, ok := v.terms[irrational{root: 1}]
		return r, ok
	}
	return nil, false
}

func (v value) isZero() bool {
	if v.exact() {
		return len(v.terms) == 0
	}
	return v.f == 0
}

func (v value) neg() value { return v.mul(integer(-1)) }

func (v value) add(w value) value {
	if !v.exact() || !w.exact() {
		return inexact(v.f + w.f)
	}
	sum := make(map[irrational]*big.Rat, len(v.terms)+len(w.terms))
	for k, c := range v.terms {
		sum[k] = c
	}
	for k, c := range w.terms {
		if have, ok := sum[k]; ok {
			c = new(big.Rat).Add(have, c)
		}
		sum[k] = c
	}
	return build(sum)
}

func (v value) mul(w value) value {
	if !v.exact() || !w.exact() || len(v.terms)*len(w.terms) > maxTerms {
		return inexact(v.f * w.f)
	}
	product := make(map[irrational]*big.Rat)
	for k, c := range v.terms {
		for l, d := range w.terms {
			// √a·√b = g·√(ab/g²) with g = gcd(a, b): a and b are square-free, so ab/g² is too.
			g := gcd(k.root, l.root)
			a, b := k.root/g, l.root/g
			if a > maxRoot/b {
				return inexact(v.f * w.f)
			}
			key := irrational{root: a * b, pi: k.pi + l.pi}
			x := new(big.Rat).Mul(c, d)
			x.Mul(x, new(big.Rat).SetInt64(g))
			if have, ok := product[key]; ok {
				x.Add(x, have)
			}
			product[key] = x
		}
	}
	return build(product)
}

// inverse is exact for a single term: 1/(q·√n·πᵏ) = √n/(q·n)·π⁻ᵏ. v is not zero.
func (v value) inverse() value {
	if len(v.terms) != 1 {
		return inexact(1 / v.f)
	}
	for k, c := range v.terms {
		x := new(big.Rat).Inv(c)
		x.Quo(x, new(big.Rat).SetInt64(k.root))
		return build(map[irrational]*big.Rat{{root: k.root, pi: -k.pi}: x})
	}
	return value{}
}

// root is the n-th root: exact for square roots of rationals and for perfect powers. False where it is not real.
func (v value) root(n int64) (value, bool) {
	if n < 1 || v.f < 0 && n%2 == 0 {
		return value{}, false
	}
	f := math.Copysign(math.Pow(math.Abs(v.f), 1/float64(n)), v.f)
	r, ok := v.rat()
	if !ok || n > maxPower {
		return inexact(f), true
	}
	if n == 2 {
		// √(p/q) = √(pq)/q
		pq := new(big.Int).Mul(r.Num(), r.Denom())
		outside, inside, ok := squarePart(pq)
		if !ok {
			return inexact(f), true
		}
		coefficient := new(big.Rat).SetFrac(outside, r.Denom())
		return build(map[irrational]*big.Rat{{root: inside}: coefficient}), true
	}
	p, okP := intRoot(r.Num(), n)
	q, okQ := intRoot(r.Denom(), n)
	if !okP || !okQ {
		return inexact(f), true
	}
	return rational(new(big.Rat).SetFrac(p, q)), true
}

// intRoot is the whole n-th root of x, if x is a perfect power of a number that a float64 holds.
func intRoot(x *big.Int, n int64) (*big.Int, bool) {
	f, _ := new(big.Float).SetInt(x).Float64()
	guess := math.Round(math.Copysign(math.Pow(math.Abs(f), 1/float64(n)), f))
	if math.IsInf(guess, 0) || math.Abs(guess) > 1<<53 {
		return nil, false
	}
	root := big.NewInt(int64(guess))
	return root, new(big.Int).Exp(root, big.NewInt(n), nil).Cmp(x) == 0
}

// power raises to a whole exponent. False for 0 to a power below 1.
func (v value) power(n int64) (value, bool) {
	if v.isZero() && n < 1 {
		return value{}, false
	}
	if n < -maxBits || n > maxBits { // exact up to maxBits, which the factors see to
		return inexact(math.Pow(v.f, float64(n))), true
	}
	base := v
	if n < 0 {
		base, n = v.inverse(), -n
	}
	out := integer(1)
	for ; n > 0; n >>= 1 {
		if n&1 == 1 {
			out = out.mul(base)
		}
		if n > 1 {
			base = base.mul(base)
		}
	}
	return out, true
}

// squarePart writes n >= 0 as outside²·inside with inside square-free; false where n is too large to factor.
func squarePart(n *big.Int) (outside *big.Int, inside int64, ok bool) {
	root := new(big.Int).Sqrt(n)
	if new(big.Int).Mul(root, root).Cmp(n) == 0 {
		return root, 1, true
	}
	if !n.IsInt64() || n.Int64() > maxRoot {
		return nil, 0, false
	}
	out, in := int64(1), int64(1)
	rest := n.Int64()
	for p := int64(2); p*p <= rest; p++ {
		for rest%(p*p) == 0 {
			rest /= p * p
			out *= p
		}
		if rest%p == 0 {
			rest /= p
			in *= p
		}
	}
	return big.NewInt(out), in * rest, true
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// relTolerance is how far two numbers may differ where at least one is not known exactly, or is a decimal that stands for
// a number without a finite decimal form: a few float64 roundings (1e-16 each) in an expression of MaxAnswer's length stay
// far below it, and no answer given to ten significant digits falls outside.
const relTolerance = 1e-9

// equalValues compares exactly where both sides are exact, unless one is a decimal standing for what no decimal can hold.
func equalValues(a, b value, aDecimal, bDecimal bool) bool {
	if a.exact() && b.exact() {
		if sameTerms(a.terms, b.terms) {
			return true
		}
		if !(aDecimal && !finiteDecimal(b)) && !(bDecimal && !finiteDecimal(a)) {
			return false
		}
	}
	if math.IsInf(a.f, 0) || math.IsInf(b.f, 0) {
		return a.f == b.f && !a.exact() && !b.exact()
	}
	return math.Abs(a.f-b.f) <= relTolerance*max(math.Abs(a.f), math.Abs(b.f))
}

func sameTerms(a, b map[irrational]*big.Rat) bool {
	if len(a) != len(b) {
		return false
	}
	for k, c := range a {
		if d, ok := b[k]; !ok || c.Cmp(d) != 0 {
			return false
		}
	}
	return true
}

// finiteDecimal reports whether decimal notation can hold the exact value v.
func finiteDecimal(v value) bool {
	r, ok := v.rat()
	if !ok {
		return false
	}
	_, exact := r.FloatPrec()
	return exact
}
