package score

import (
	"errors"
	"math"
	"math/big"
	"slices"
	"unicode"
)

// parser reads a number expression from plain text or LaTeX and computes it as it goes. It takes the longest prefix
// that is an expression and leaves pos behind it, so that a number can be found within prose.
//
//	sum     = product { ("+" | "-") product }
//	product = factor { [ "*" | "/" | \times | \cdot | \div ] factor }       adjacent: 2\pi, 3(4), (1)(2), 2\sqrt{3}
//	factor  = ["-" | "+"] factor | primary { "!" | "^" factor }
//	primary = number [ mixed fraction ] | "(" sum ")" | "[" sum "]" | "{" sum [ \over sum ] "}"
//	        | "|" sum "|" | \frac arg arg | \binom arg arg | \sqrt [ "[" n "]" ] arg | "√" primary | \pi | \infty
//	number  = digits with "," "{,}" "\," between thousands, decimals, \overline{period}, "e" exponent
type parser struct {
	s   []rune
	pos int
	// literals are the whole numbers read, in order; beyond says that something other than whole numbers, + - * / and
	// brackets was read; operators counts binary operations. The 24 game is judged by these.
	literals  []string
	beyond    string
	operators int
	apart     bool // a comma parts numbers, not thousands
	decimal   bool // a number with a decimal point or an exponent was read
	depth     int
	// dead holds where no primary begins: nothing is read twice in vain, so reading takes time linear in the text even
	// where one construct after another turns out to be open at its end.
	dead map[int]bool
	gaps []int // behind the white space and the commands of spacing at each position; nil until it is asked for
	err  error // why the arithmetic has no value, such as errZero
}

var (
	errZero  = errors.New("division by zero")
	errReal  = errors.New("a root that is not real")
	errLarge = errors.New("too large a power")
)

// maxDepth bounds nesting; no answer comes near it.
const maxDepth = 64

// newParser prepares text, of which it takes MaxAnswer bytes at most.
func newParser(text string) *parser {
	return &parser{s: []rune(readable(text[:min(len(text), MaxAnswer)]))}
}

func (p *parser) has(prefix string) bool {
	if len(p.s)-p.pos < len(prefix) {
		return false
	}
	for i := 0; i < len(prefix); i++ { // prefixes are ASCII
		if p.s[p.pos+i] != rune(prefix[i]) {
			return false
		}
	}
	return true
}

// command reads a whole LaTeX command: \pi but not \pitch.
func (p *parser) command(name string) bool {
	end := p.pos + len(name)
	if !p.has(name) || end < len(p.s) && asciiLetter(rune(name[len(name)-1])) && asciiLetter(p.s[end]) {
		return false
	}
	p.pos = end
	return true
}

func asciiLetter(r rune) bool { return r < unicode.MaxASCII && unicode.IsLetter(r) }

func (p *parser) space() {
	if p.gaps == nil {
		p.gaps = p.findGaps()
	}
	p.pos = p.gaps[p.pos]
}

// findGaps goes through the text once, from its end: a long gap is met from each of its places.
func (p *parser) findGaps() []int {
	gaps := make([]int, len(p.s)+1)
	gaps[len(p.s)] = len(p.s)
	at := p.pos
	for i := len(p.s) - 1; i >= 0; i-- {
		gaps[i], p.pos = i, i
		switch r := p.s[i]; {
		case unicode.IsSpace(r):
			gaps[i] = gaps[i+1]
		case (r == '\\' || r == '$' || r == '~') && slices.ContainsFunc(spacing, p.command):
			gaps[i] = gaps[p.pos]
		}
	}
	p.pos = at
	return gaps
}

func (p *parser) accept(token string) bool {
	p.space()
	if p.has(token) {
		p.pos += len(token)
		return true
	}
	return false
}

// mark and reset undo a reading that led nowhere.
type mark struct {
	pos, literals, operators int
	beyond                   string
	decimal                  bool
	err                      error
}

func (p *parser) mark() mark {
	return mark{p.pos, len(p.literals), p.operators, p.beyond, p.decimal, p.err}
}

func (p *parser) reset(m mark) {
	p.pos, p.literals, p.operators, p.beyond, p.decimal, p.err = m.pos, p.literals[:m.literals], m.operators, m.beyond, m.decimal, m.err
}

func (p *parser) sum() (value, bool) {
	p.depth++
	defer func() { p.depth-- }()
	if p.depth > maxDepth {
		return value{}, false
	}
	v, ok := p.product()
	for ok {
		m := p.mark()
		minus := p.accept("-")
		if !minus && !p.accept("+") {
			p.reset(m)
			break
		}
		w, more := p.product()
		if !more {
			p.reset(m)
			break
		}
		if minus {
			w = w.neg()
		}
		p.operators++
		v = v.add(w)
	}
	return v, ok
}

func (p *parser) product() (value, bool) {
	v, ok := p.factor()
	for ok {
		m := p.mark()
		op := p.operator()
		var w value
		more := false
		if op != 0 || p.adjacent() {
			w, more = p.factor()
		}
		if !more {
			p.reset(m)
			break
		}
		p.operators++
		if op != '/' {
			v = v.mul(w)
		} else {
			v = p.quotient(v, w)
		}
	}
	return v, ok
}

func (p *parser) quotient(v, w value) value {
	if w.isZero() {
		p.err = errZero
		return inexact(math.NaN())
	}
	return v.mul(w.inverse())
}

// operator reads a sign of multiplication or division: '*', '/' or 0 for none. The letter x multiplies between digits or brackets only.
func (p *parser) operator() rune {
	p.space()
	switch {
	case p.accept("*"), p.command(`\times`), p.command(`\cdot`), p.command(`\ast`):
		return '*'
	case p.accept("/"), p.command(`\div`):
		return '/'
	case p.has("x"), p.has("X"):
		next := p.pos + 1
		for next < len(p.s) && p.s[next] == ' ' {
			next++
		}
		if next < len(p.s) && (p.s[next] == '(' || unicode.IsDigit(p.s[next])) {
			p.pos++
			return '*'
		}
	}
	return 0
}

// adjacent reports whether what follows multiplies without a sign. A digit does only after a bracket: "2 3" in prose are two numbers.
func (p *parser) adjacent() bool {
	closed := p.pos > 0 && (p.s[p.pos-1] == ')' || p.s[p.pos-1] == ']')
	before := p.pos
	p.space()
	if p.pos >= len(p.s) {
		return false
	}
	switch r := p.s[p.pos]; {
	case r == '(':
		return true
	case r == '\\':
		return p.has(`\sqrt`) || p.has(`\surd`) || p.has(`\pi`) || p.has(`\frac`) || p.has(`\dfrac`) || p.has(`\tfrac`)
	case unicode.IsDigit(r):
		return closed && before == p.pos
	}
	return false
}

func (p *parser) factor() (value, bool) {
	if p.depth++; p.depth > maxDepth {
		p.depth--
		return value{}, false
	}
	defer func() { p.depth-- }()
	if p.accept("-") {
		v, ok := p.factor()
		if !ok {
			return value{}, false
		}
		return v.neg(), true
	}
	if p.accept("+") {
		return p.factor()
	}
	v, ok := p.primary()
	if !ok {
		return v, false
	}
	for {
		m := p.mark()
		switch {
		case p.has("!") && !p.has("!="):
			n, whole := wholeNumber(v)
			if !whole || n < 0 {
				return v, true // an exclamation mark
			}
			p.pos++
			p.beyond = "a factorial"
			if n > maxFactorial {
				p.err, v = errLarge, inexact(math.NaN())
				continue
			}
			v = rational(new(big.Rat).SetInt(new(big.Int).MulRange(1, n)))
		case p.accept("^"):
			e, more := p.factor()
			if !more {
				p.reset(m)
				return v, true
			}
			p.beyond = "a power"
			v = p.raise(v, e)
		default:
			p.reset(m) // a space behind a number tells a unit from a variable
			return v, true
		}
	}
}

func (p *parser) raise(v, e value) value {
	if r, ok := e.rat(); ok {
		if r.IsInt() && r.Num().IsInt64() {
			out, ok := v.power(r.Num().Int64())
			if !ok {
				p.err = errZero
			} else if !out.exact() && (math.IsInf(out.f, 0) && !math.IsInf(v.f, 0) || out.f == 0 && !v.isZero()) {
				p.err = errLarge
			}
			return out
		}
		if r.Denom().Cmp(big.NewInt(2)) == 0 && r.Num().IsInt64() {
			if root, ok := v.root(2); ok {
				if out, ok := root.power(r.Num().Int64()); ok {
					return out
				}
			}
		}
	}
	out := inexact(math.Pow(v.f, e.f))
	if math.IsNaN(out.f) {
		p.err = errReal
	}
	return out
}

func wholeNumber(v value) (int64, bool) {
	r, ok := v.rat()
	if !ok || !r.IsInt() || !r.Num().IsInt64() {
		return 0, false
	}
	return r.Num().Int64(), true
}

func (p *parser) primary() (value, bool) {
	p.space()
	start := p.pos
	if start >= len(p.s) || p.dead[start] {
		return value{}, false
	}
	v, ok := p.form()
	if !ok {
		if p.dead == nil {
			p.dead = make(map[int]bool)
		}
		p.dead[start] = true
	}
	return v, ok
}

// form tells the primaries apart by their first character.
func (p *parser) form() (value, bool) {
	switch r := p.s[p.pos]; {
	case r == '(':
		return p.bracket(")")
	case r == '[':
		return p.bracket("]")
	case r == '{':
		return p.group()
	case r == '|' && p.pos+1 < len(p.s) && p.s[p.pos+1] != ' ': // no cell of a table
		v, ok := p.bracket("|")
		if ok && v.f < 0 {
			v = v.neg()
		}
		return v, ok
	case r >= '0' && r <= '9', r == '.' && p.pos+1 < len(p.s) && unicode.IsDigit(p.s[p.pos+1]):
		return p.number()
	case r == '\\':
		return p.latex()
	}
	return value{}, false
}

func (p *parser) bracket(end string) (value, bool) {
	p.pos++
	v, ok := p.sum()
	return v, ok && p.accept(end)
}

// group is a TeX group, with plain TeX's {a \over b}.
func (p *parser) group() (value, bool) {
	p.pos++
	v, ok := p.sum()
	if !ok {
		return v, false
	}
	p.space()
	if p.command(`\over`) {
		w, ok := p.sum()
		if !ok {
			return v, false
		}
		p.operators++
		v = p.quotient(v, w)
	}
	return v, p.accept("}")
}
