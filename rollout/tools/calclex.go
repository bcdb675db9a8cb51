package tools

import (
	"fmt"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"afctl/rollout"

	"golang.org/x/text/unicode/norm"
)

// token is a number, an exponent in superscript, or an operator or function by its plain name; at the end of the
// expression its name is "".
type token struct {
	name   string
	number *big.Rat
	power  *big.Int // of a superscript, whose name is as it was written
	at     int      // characters before it
	apart  bool     // white space stands before it
}

var (
	grouped = regexp.MustCompile(`^\d{1,3}(?:,\d{3})+(?:\.\d*)?`)
	plainly = regexp.MustCompile(`^(?:\d[\d_]*(?:\.\d*)?|\.\d+)`)
	scaled  = regexp.MustCompile(`^[eE]([+-]?\d+)`)
	// Zero times something is no product that anyone writes like this.
	hexadecimal = regexp.MustCompile(`^0[xX][0-9a-fA-F]+`)
	superscript = regexp.MustCompile(`^[⁺⁻]?[⁰¹²³⁴-⁹]+`)
	vulgar      = regexp.MustCompile(`^(\d+)⁄(\d+)$`) // what ½ is folded to
)

// raised writes a superscript on the line.
var raised = strings.NewReplacer("⁰", "0", "¹", "1", "²", "2", "³", "3", "⁴", "4", "⁵", "5", "⁶", "6", "⁷", "7", "⁸", "8", "⁹", "9", "⁺", "+", "⁻", "-")

// signs are the characters that stand for an operator.
var signs = map[rune]string{
	'+': "+", '-': "-", '−': "-", '–': "-", '*': "*", '×': "*", '·': "*", '⋅': "*", '∙': "*", '/': "/", '÷': "/", '∕': "/", '⁄': "/",
	'^': "^", '!': "!", '%': "%", '(': "(", ')': ")", '[': "(", ']': ")", '√': "sqrt",
}

// names are the words that mean something, in any case; x between numbers is a times sign.
var names = map[string]string{
	"sqrt": "sqrt", "abs": "abs", "floor": "floor", "ceil": "ceil", "round": "round", "mod": "mod", "of": "*", "x": "*",
}

func unreadable(at int, format string, a ...any) error {
	return fail(rollout.KindBadArgs, fmt.Sprintf("at character %d: ", at+1)+fmt.Sprintf(format, a...))
}

// plainForm is a character of another width or style as it is usually written: ３ is 3. What is raised or lowered keeps its meaning, and its form.
func plainForm(c rune) rune {
	if c < utf8.RuneSelf || superscript.MatchString(string(c)) || c >= '⁰' && c <= '₟' {
		return c
	}
	folded := norm.NFKC.String(string(c))
	if one, size := utf8.DecodeRuneInString(folded); size == len(folded) {
		return one
	}
	return c
}

// vulgarFraction is the value of a character such as ½, nil of others.
func vulgarFraction(c rune) *big.Rat {
	if c < utf8.RuneSelf {
		return nil
	}
	m := vulgar.FindStringSubmatch(norm.NFKC.String(string(c)))
	if m == nil {
		return nil
	}
	r, _ := new(big.Rat).SetString(m[1] + "/" + m[2])
	return r
}

// lex cuts an expression into tokens.
func lex(s string) ([]token, error) {
	s = strings.Map(plainForm, s)
	s = strings.TrimSpace(strings.TrimRight(strings.TrimSpace(s), "=? "))
	var out []token
	at, apart := 0, false
	whole := false // the token before is a number of digits alone
	put := func(t token) {
		t.at, t.apart, apart, whole = at, apart, false, false
		out = append(out, t)
	}
	take := func(n int) {
		at += utf8.RuneCountInString(s[:n])
		s = s[n:]
	}
	for s != "" {
		c, size := utf8.DecodeRuneInString(s)
		part := vulgarFraction(c)
		switch {
		case unicode.IsSpace(c):
			apart = true
			take(size)
		case c == '.' || '0' <= c && c <= '9':
			number, n, err := lexNumber(s, at)
			if err != nil {
				return nil, err
			}
			put(token{number: number})
			whole = !strings.ContainsAny(s[:n], ".eE")
			take(n)
		case part != nil && whole: // 1½
			last := &out[len(out)-1]
			last.number, whole = part.Add(last.number, part), false
			take(size)
		case part != nil:
			put(token{number: part})
			take(size)
		case strings.HasPrefix(s, "**"):
			put(token{name: "^"})
			take(2)
		case superscript.MatchString(s):
			// Its digits are one exponent: 10²³ is 10^23.
			run := superscript.FindString(s)
			power, _ := new(big.Int).SetString(raised.Replace(run), 10)
			put(token{name: run, power: power})
			take(len(run))
		case signs[c] != "":
			put(token{name: signs[c]})
			take(size)
		case c == ',':
			put(token{name: ","})
			take(size)
		case unicode.IsLetter(c):
			n := strings.IndexFunc(s, func(c rune) bool { return !unicode.IsLetter(c) })
			if n < 0 {
				n = len(s)
			}
			name := names[strings.ToLower(s[:n])]
			if name == "" {
				return nil, unreadable(at, "%q means nothing here: expected numbers, + - * / ^, brackets, sqrt, abs, floor, ceil, round or mod", clipRunes(s[:n]))
			}
			put(token{name: name})
			take(n)
		default:
			return nil, unreadable(at, "%q means nothing here", c)
		}
	}
	put(token{})
	return out, nil
}

// lexNumber reads the number that s begins with, and tells how many bytes it takes.
func lexNumber(s string, at int) (*big.Rat, int, error) {
	if hex := hexadecimal.FindString(s); hex != "" {
		return nil, 0, unreadable(at, "%s looks hexadecimal: expected a decimal number (or spaces around a times sign)", clipRunes(hex))
	}
	text := grouped.FindString(s)
	if text == "" {
		text = plainly.FindString(s)
	}
	if text == "" {
		return nil, 0, unreadable(at, "a point without digits")
	}
	rest := s[len(text):]
	// A comma parts two arguments where it cannot be one of a number: before a space, or behind decimals.
	comma := strings.HasPrefix(rest, ",") && !strings.Contains(text, ".") && len(rest) > 1 && '0' <= rest[1] && rest[1] <= '9'
	if comma || strings.HasPrefix(rest, ".") || grouped.MatchString(text) && rest != "" && '0' <= rest[0] && rest[0] <= '9' {
		return nil, 0, unreadable(at, "%s is no number: expected decimals after one point, thousands in groups of three, a space before the digits of round", clipRunes(text+rest[:1]))
	}
	n := len(text)
	plain := strings.NewReplacer(",", "", "_", "").Replace(text)
	number, ok := new(big.Rat).SetString(plain)
	if !ok {
		return nil, 0, unreadable(at, "%s is no number", clipRunes(text))
	}
	if m := scaled.FindStringSubmatch(rest); m != nil {
		n += len(m[0])
		e, err := strconv.Atoi(m[1])
		if err != nil || e < -maxDigits || e > maxDigits {
			return nil, 0, fail(KindTooLarge, fmt.Sprintf("exponent of %s, expected at most %d", clipRunes(text+m[0]), maxDigits))
		}
		scale := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(e, -e))), nil)
		if e < 0 {
			number.Quo(number, new(big.Rat).SetInt(scale))
		} else {
			number.Mul(number, new(big.Rat).SetInt(scale))
		}
	}
	return number, n, nil
}
