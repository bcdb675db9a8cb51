package score

import (
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"afctl/flow"
)

// MetaNumbers is the key of Task.Meta that holds a 24-game's numbers, separated by spaces.
const MetaNumbers = "numbers"

// Game24 gives 1 where the answer is an expression that uses each given number exactly once, with + - * / and
// brackets, and equals 24, computed with rationals. The numbers are those of Task.Meta["numbers"], else the first bracketed
// list of the question, else those that the first sample answer uses.
//
// A chain of equals is allowed if it holds, and × ÷ − as well as • ⨯ \times, \div and \frac. In prose the last expression counts that uses
// the numbers (after "the answer is" the first), else the last that has an operator. Negative signs are allowed: any expression that uses one can be written without.
func Game24(task flow.Task, answer string) (Grade, error) {
	given, err := gameNumbers(task)
	if err != nil {
		return Grade{}, err
	}
	found, origin := Extract(answer)
	e, ok := readExpression(found, given, origin == Announced)
	if !ok || e.operators == 0 { // "answer: 24", behind the expression
		if whole, there := readExpression(plain(answer), given, false); there && whole.operators > 0 {
			e, ok = whole, true
		}
	}
	if !ok {
		return wrong("no expression in %s", excerpt(found)), nil
	}
	used := sorted(e.literals)
	switch r, isRational := e.value.rat(); {
	case e.err != nil:
		return wrong("%s: %v", excerpt(e.text), e.err), nil
	case e.beyond != "":
		return wrong("%s has %s; only + - * / and whole numbers are allowed", excerpt(e.text), e.beyond), nil
	case !slices.Equal(used, given):
		return wrong("%s uses %s, expected each of %s once", excerpt(e.text), strings.Join(used, " "), strings.Join(given, " ")), nil
	case !isRational || r.Cmp(big.NewRat(24, 1)) != 0:
		return wrong("%s is %s, not 24", excerpt(e.text), e.value.text()), nil
	case e.claim != "":
		return wrong("%s is said to be %s", excerpt(e.text), excerpt(e.claim)), nil
	}
	return right("%s is 24", excerpt(e.text)), nil
}

// text shows a value in a reason.
func (v value) text() string {
	if r, ok := v.rat(); ok {
		return r.RatString()
	}
	return fmt.Sprintf("%.6g", v.f)
}

var numberList = regexp.MustCompile(`\[\s*\d+(?:\s*,\s*\d+)+\s*\]`)

// gameNumbers gives the numbers in the order in which Game24 sorts those used.
func gameNumbers(task flow.Task) ([]string, error) {
	split := func(s string) []string {
		return strings.FieldsFunc(s, func(r rune) bool { return !unicode.IsDigit(r) })
	}
	numbers := split(task.Meta[MetaNumbers])
	if len(numbers) == 0 {
		numbers = split(numberList.FindString(task.Question))
	}
	if len(numbers) == 0 && len(task.Answers) > 0 {
		if e, ok := readExpression(task.Answers[0], nil, false); ok && e.err == nil {
			numbers = slices.Clone(e.literals)
		}
	}
	if len(numbers) < 2 {
		return nil, fmt.Errorf("%w: task %s: found no numbers, expected a list such as [1, 2, 3, 4] in the question or meta.%s", ErrTruth, task.ID, MetaNumbers)
	}
	slices.Sort(numbers)
	return numbers, nil
}

// expression is a computed expression and what it was made of.
type expression struct {
	value    value
	literals []string
	beyond   string
	err      error
	text     string
	claim    string // what it is said to equal, and does not

	operators int
}

var (
	// bullet begins a line and is no minus sign.
	bullet = regexp.MustCompile(`(?m)^[ \t]*[-•∙][ \t]+`)
	// dotTimes is a bullet that multiplies; in prose it may part the items of a list.
	dotTimes = regexp.MustCompile(`([\d)\]}])[ \t]*[•∙][ \t]*([\d(\[{\\])`)
)

func sorted(numbers []string) []string {
	out := slices.Clone(numbers)
	slices.Sort(out)
	return out
}

// readExpression reads text that is an expression, or else finds one within prose: the last that uses the given numbers, or the first, else
// the last that has an operator. What it is worth is not looked at, so that many guesses are no better than one.
func readExpression(text string, given []string, first bool) (expression, bool) {
	text = joy.ReplaceAllString(strings.ReplaceAll(text, "`", " "), "$1")
	text = bullet.ReplaceAllString(text, "")
	for range 2 { // a number between two signs belongs to both
		text = dotTimes.ReplaceAllString(text, "$1*$2")
	}
	p := newParser(text)
	if e, ok := p.expression(); ok && p.ended() {
		return e, true
	}
	var last expression
	found, complete := false, false
	for i := 0; i < len(p.s); {
		if p.pos = i; !startsNumber(p.s, i) {
			i++
			continue
		}
		e, ok := p.expression()
		if !ok || p.pos <= i {
			i++
			continue
		}
		if e.operators > 0 && !denied(string(p.s[max(0, i-window):i]), p.ahead()) {
			uses := slices.Equal(sorted(e.literals), given)
			if uses || !complete {
				last, found, complete = e, true, uses
			}
			if uses && first {
				break
			}
		}
		i = p.pos
	}
	return last, found
}

// expression reads a chain of equals: the first part that has an operator (the first of all, if none has) is the expression, the others say
// what it is.
func (p *parser) expression() (expression, bool) {
	var parts []expression
	m := p.mark()
	for {
		p.literals, p.beyond, p.operators, p.err = nil, "", 0, nil
		p.space()
		start := p.pos
		v, ok := p.sum()
		if !ok {
			p.reset(m)
			break
		}
		parts = append(parts, expression{value: v, literals: p.literals, beyond: p.beyond, err: p.err, operators: p.operators,
			text: strings.TrimSpace(string(p.s[start:p.pos]))})
		p.literals = nil
		if m = p.mark(); !p.accept("=") && !p.accept(`\approx`) {
			break
		}
	}
	if len(parts) == 0 {
		return expression{}, false
	}
	at := max(0, slices.IndexFunc(parts, func(e expression) bool { return e.operators > 0 }))
	e := parts[at]
	for i, part := range parts {
		if i != at && e.claim == "" && !equalValues(part.value, e.value, false, false) {
			e.claim = part.text
		}
	}
	return e, true
}
