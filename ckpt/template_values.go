package ckpt

import (
	"fmt"
	"reflect"
	"slices"
	"unicode/utf8"

	controls "github.com/nikolalohinski/gonja/v2/builtins/control_structures"
	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/nodes"
	"github.com/nikolalohinski/gonja/v2/parser"
	"github.com/nikolalohinski/gonja/v2/tokens"
)

// Where the library's values are not Python's, the tree of a template is rewritten to what is here: x[-len(x)] is none for it, text is bytes, a name that
// is not there is none, methods fail for want of arguments that have defaults. A wrong value is a wrong prompt, in silence.

// Names that no template can write of what stands in the rewritten tree.
const (
	itemName    = "an item"
	missingName = "what may be missing"
	defaultName = "default of what may be missing"
)

// replacement is the expression to stand for one that the library would evaluate in its own way, nil if there is none.
func replacement(node any) nodes.Expression {
	switch n := node.(type) {
	case *nodes.Name:
		if n.Name.Val == "none" { // a name to the library
			return &nodes.None{Location: n.Name}
		}
	case *nodes.BinaryExpression:
		if sign := operators[n.Operator.Token.Type]; sign != "" {
			return through(operatorName+sign, n.Left, []nodes.Expression{n.Right}, nil)
		}
	case *nodes.GetItem:
		if n.Arg != nil {
			return through(itemName, n.Node, []nodes.Expression{n.Arg}, nil)
		}
	case *nodes.Call:
		if method, ok := n.Func.(*nodes.GetAttribute); ok && ownMethods["."+method.Attribute] != nil {
			return through("."+method.Attribute, method.Node, n.Args, n.Kwargs)
		}
	}
	return nil
}

// filterItem is in[key]: of a text its character, none where there is no such item.
func filterItem(e *exec.Evaluator, in *exec.Value, params *exec.VarArgs) *exec.Value {
	if in.IsError() {
		return in
	}
	v, _, err := itemOf(e, in, params.First())
	if err != nil {
		return exec.AsValue(err)
	}
	return v
}

func itemOf(e *exec.Evaluator, in, key *exec.Value) (v *exec.Value, found bool, err error) {
	none := exec.AsValue(nil)
	switch {
	case key.IsError():
		return none, false, key
	case in.IsNil():
		return none, false, fmt.Errorf("item %.100q of none", key.String())
	case in.IsDict() && reflect.Indirect(in.Val).Type() == exec.TypeDict:
		for _, p := range reflect.Indirect(in.Val).Interface().(exec.Dict).Pairs {
			if p.Key.EqualValueTo(key) {
				return p.Value, true, nil
			}
		}
		return none, false, nil
	case key.IsString():
		if v, found = in.GetItem(key.String()); !found {
			v, found = in.GetAttribute(key.String())
		}
		if !found {
			v = none
		}
		return v, found, nil
	case key.IsInteger() && in.IsString():
		c := characterAt(meterOf(e.Environment.Context), in.String(), key.Integer())
		return exec.AsValue(c), c != "", nil
	case key.IsInteger() && in.IsList():
		list, i := reflect.Indirect(in.Val), key.Integer()
		if i < 0 {
			i += list.Len()
		}
		if i < 0 || i >= list.Len() {
			return none, false, nil
		}
		return exec.ToValue(list.Index(i)), true, nil
	}
	return none, false, fmt.Errorf("found item %.100q, expected a number of a list or text, or a text of a mapping", key.String())
}

// characterAt is the character at i, counted from the end where i is negative, or nothing. The way to it is charged for, as loops go it many times.
func characterAt(m *meter, s string, i int) string {
	rest := s
	for ; i > 0 && rest != ""; i-- {
		_, size := utf8.DecodeRuneInString(rest)
		rest = rest[size:]
	}
	for ; i < -1 && rest != ""; i++ {
		_, size := utf8.DecodeLastRuneInString(rest)
		rest = rest[:len(rest)-size]
	}
	m.charge(len(s) - len(rest))
	if i < 0 {
		_, size := utf8.DecodeLastRuneInString(rest)
		return rest[len(rest)-size:]
	}
	_, size := utf8.DecodeRuneInString(rest)
	return rest[:size]
}

// missing is the value of a name, an attribute or an item that is not there, seen by the tests and the filter that ask for it only.
type missing struct{}

// asksForMissing rewrites "x is defined", "x is none", "x == none", "x | default" and what is printed so that they tell what is not there from what
// is none.
func asksForMissing(node any) {
	switch n := node.(type) {
	case *nodes.Output:
		n.Expression = printed(n.Expression)
		if n.Alternative != nil {
			n.Alternative = printed(n.Alternative)
		}
	case *nodes.BinaryExpression:
		asksOperands(n)
	case *nodes.TestExpression:
		if test := missingName + " " + n.Test.Name; missingTests[test] != nil {
			if e := orMissing(n.Expression); e != nil {
				n.Expression, n.Test.Name = e, test
			}
		}
	case *nodes.FilteredExpression:
		if first := n.Filters[0].Name; methodFilters[first] != "" || first == "string" {
			n.Expression = printed(n.Expression)
		}
		for i, filter := range n.Filters {
			if filter.Name != "default" && filter.Name != "d" {
				continue
			}
			if i > 0 && slices.Contains(endFilters, n.Filters[i-1].Name) {
				n.Filters[i-1].Name, filter.Name = missingName+" "+n.Filters[i-1].Name, defaultName
			} else if e := orMissing(n.Expression); i == 0 && e != nil {
				n.Expression, filter.Name = e, defaultName
			}
		}
	}
}

func asksOperands(n *nodes.BinaryExpression) {
	switch n.Operator.Token.Type {
	case tokens.Tilde:
		n.Left, n.Right = printed(n.Left), printed(n.Right)
	case tokens.Equals, tokens.Ne:
		_, noneLeft := n.Left.(*nodes.None)
		_, noneRight := n.Right.(*nodes.None)
		if e := orMissing(n.Left); noneRight && e != nil {
			n.Left = e
		}
		if e := orMissing(n.Right); noneLeft && e != nil {
			n.Right = e
		}
	}
}

// orMissing is a name, an attribute, an item or an end of a list, missing if it is not there, and none itself; nil for other expressions.
func orMissing(e nodes.Expression) nodes.Expression {
	literal := func(at *tokens.Token, s string) []nodes.Expression {
		return []nodes.Expression{&nodes.String{Location: at, Val: s}}
	}
	switch n := e.(type) {
	case *nodes.None:
		return n
	case *nodes.Name:
		return through(missingName, &nodes.None{Location: n.Name}, literal(n.Name, n.Name.Val), nil)
	case *nodes.GetAttribute:
		if n.Attribute != "" {
			return through(missingName, n.Node, append(literal(n.Location, n.Attribute), &nodes.Bool{Location: n.Location, Val: true}), nil)
		}
	case *nodes.FilteredExpression:
		if last := n.Filters[len(n.Filters)-1]; slices.Contains(endFilters, last.Name) {
			last.Name = missingName + " " + last.Name
			return n
		}
		if len(n.Filters) == 1 && n.Filters[0].Name == itemName {
			return through(missingName, n.Expression, append(slices.Clone(n.Filters[0].Args), &nodes.Bool{Location: n.Position(), Val: false}), nil)
		}
	}
	return nil
}

// filterMissing is called with a name alone, or with an attribute or item of in and which of the two it is.
func filterMissing(e *exec.Evaluator, in *exec.Value, params *exec.VarArgs) *exec.Value {
	if in.IsError() {
		return in
	}
	key := params.Args[0]
	if len(params.Args) == 1 {
		v, found := e.Environment.Context.Get(key.String())
		if !found {
			return exec.AsValue(missing{})
		}
		return exec.ToValue(v)
	}
	v, found, err := itemOf(e, in, key)
	if err != nil {
		return exec.AsValue(err)
	}
	_, loop := in.Interface().(*controls.LoopInfos)
	if !found || loop && v.IsNil() { // loop.previtem of the first item, say
		return exec.AsValue(missing{})
	}
	return v
}

// endFilters are filters that give an item of a list, which an empty one does not have.
var endFilters = []string{"first", "last"}

func orMissingEnd(f exec.FilterFunction) exec.FilterFunction {
	return func(e *exec.Evaluator, in *exec.Value, params *exec.VarArgs) *exec.Value {
		if !in.IsError() && in.Len() == 0 {
			return exec.AsValue(missing{})
		}
		return f(e, in, params)
	}
}

func isMissing(v *exec.Value) bool {
	_, ok := v.Interface().(missing)
	return ok
}

var missingTests = map[string]exec.TestFunction{
	missingName + " defined":   testDefined,
	missingName + " undefined": func(c *exec.Context, in *exec.Value, p *exec.VarArgs) (bool, error) { return !isThere(in), nil },
	missingName + " none": func(_ *exec.Context, in *exec.Value, _ *exec.VarArgs) (bool, error) {
		return in.IsNil() && !isMissing(in), nil
	},
}

func testDefined(_ *exec.Context, in *exec.Value, _ *exec.VarArgs) (bool, error) {
	return isThere(in), nil
}

func isThere(v *exec.Value) bool { return !v.IsError() && !isMissing(v) }

// testSequence takes what has a length and items, so texts and mappings too.
func testSequence(_ *exec.Context, in *exec.Value, _ *exec.VarArgs) (bool, error) {
	return in.IsString() || in.IsList() || in.IsDict(), nil
}

// filterDefault is Jinja's default after what may be missing.
func filterDefault(_ *exec.Evaluator, in *exec.Value, params *exec.VarArgs) *exec.Value {
	args := arguments{params}
	if in.IsError() {
		return in
	}
	if isMissing(in) || args.at(1, "boolean").IsTrue() && !in.IsTrue() {
		if v := args.at(0, "default_value"); !v.IsNil() || len(params.Args) > 0 {
			return v
		}
		return exec.AsValue("")
	}
	return in
}

// methodFilters are filters that are methods of texts; the library's own go by other tables of characters than Python.
var methodFilters = map[string]string{"trim": ".strip", "upper": ".upper", "lower": ".lower", "capitalize": ".capitalize"}

// ofText makes a text of what is none before f sees it.
func ofText(f exec.FilterFunction) exec.FilterFunction {
	return func(e *exec.Evaluator, in *exec.Value, params *exec.VarArgs) *exec.Value {
		if !in.IsError() && !in.IsString() {
			in = exec.AsValue(in.String())
		}
		return f(e, in, params)
	}
}

// overText are filters that go over the items of what they get, and would go over the bytes of a text.
var overText = []string{"list", "join", "map", "select", "reject", "unique", "sort", "batch", "slice"}

// characters is a text as the list of its characters, and another value itself.
func characters(in *exec.Value) *exec.Value {
	if !in.IsString() {
		return in
	}
	s := in.String()
	list := make([]string, 0, utf8.RuneCountInString(s))
	for _, r := range s {
		list = append(list, string(r))
	}
	return exec.AsValue(list)
}

func overCharacters(f exec.FilterFunction) exec.FilterFunction {
	return func(e *exec.Evaluator, in *exec.Value, params *exec.VarArgs) *exec.Value {
		return f(e, characters(in), params)
	}
}

// filterReverse is Jinja's reverse; the library's sorts.
func filterReverse(_ *exec.Evaluator, in *exec.Value, params *exec.VarArgs) *exec.Value {
	if in.IsError() {
		return in
	}
	if len(params.Args)+len(params.KwArgs) > 0 {
		return exec.AsValue(unsupported("reverse: arguments"))
	}
	if in.IsString() {
		runes := []rune(in.String())
		slices.Reverse(runes)
		return exec.AsValue(string(runes))
	}
	list := exec.ValuesList{}
	in.Iterate(func(_, _ int, item, _ *exec.Value) bool {
		list = append(list, item)
		return true
	}, func() {})
	slices.Reverse(list)
	return exec.AsValue(list)
}

// generation marks the text that an assistant writes. It renders what is in it.
type generation struct {
	location *tokens.Token
	Body     *nodes.Wrapper
}

func (g *generation) Position() *tokens.Token { return g.location }
func (*generation) String() string            { return "generation" }

func (g *generation) Execute(r *exec.Renderer, _ *nodes.ControlStructureBlock) error {
	return r.ExecuteWrapper(g.Body)
}

func parseGeneration(p, args *parser.Parser) (nodes.ControlStructure, error) {
	at := p.Current()
	if !args.End() {
		return nil, args.Error("generation takes no arguments", nil)
	}
	body, end, err := p.WrapUntil("endgeneration")
	if err != nil {
		return nil, err
	}
	if !end.End() {
		return nil, end.Error("endgeneration takes no arguments", nil)
	}
	return &generation{at, body}, nil
}
