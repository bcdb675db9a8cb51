package ckpt

import (
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/nikolalohinski/gonja/v2/builtins"
	controls "github.com/nikolalohinski/gonja/v2/builtins/control_structures"
	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/nodes"
	"github.com/nikolalohinski/gonja/v2/parser"
	"github.com/nikolalohinski/gonja/v2/tokens"
)

// The library evaluates whatever a template says: 'a' * 100000000000, a doubling 45 times over, a list that holds itself. Memory that runs out and a
// stack that overflows end the process, past any recover. So the tree of a template is rewritten before it runs: whatever makes a value passes through
// a filter that measures it, what can make much of little is asked for its size first, and blocks count their runs and what they write. What goes
// beyond a bound is a panic for guard: the library would go on after an error, and evaluates the start of a chain of methods twice for each of them.

// meter counts what one rendering did: the blocks that ran in loops, and the bytes of the values that it made.
type meter struct{ iterations, bytes int }

const (
	meterName = "what this rendering made" // where a rendering keeps its meter: a name that no template can write
	valueName = "a value"                  // the filter that every made value passes through, named likewise

	itemBytes = 256 // what an item of a loop takes while the loop runs, with the names that it is known by
	charBytes = 64  // what a character takes as an item of a list

	maxValueDepth      = 8 * maxJSONDepth // a level of JSON is up to 8 of Go: a pointer to a struct with a slice of pointers, and so on
	maxExpressionDepth = 500              // an error inside names its expression at every level
)

func meterOf(c *exec.Context) *meter {
	v, _ := c.Get(meterName)
	return v.(*meter)
}

func (m *meter) charge(n int) {
	if m.bytes += n; m.bytes > maxMadeBytes {
		panic(excess(fmt.Sprintf("values of more than %d bytes made on the way", maxMadeBytes)))
	}
}

// excess is a bound that a template went beyond.
type excess string

func (e excess) Error() string { return string(e) }

// meterTree rewrites what the parser made. The library's statements keep their expressions in fields of their own, so the walk goes by reflection.
func meterTree(root *nodes.Template) error {
	return meterNode(reflect.ValueOf(root), 0, map[any]bool{})
}

func meterNode(v reflect.Value, depth int, seen map[any]bool) error {
	each := func(n int, at func(int) reflect.Value) error {
		for i := range n {
			if err := meterNode(at(i), depth, seen); err != nil {
				return err
			}
		}
		return nil
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() || seen[v.Interface()] || v.Type() == reflect.TypeFor[*tokens.Token]() {
			return nil
		}
		seen[v.Interface()] = true
		if depth++; depth > maxExpressionDepth {
			return unsupported("expressions or blocks more than %d deep", maxExpressionDepth)
		}
		if err := meterNode(v.Elem(), depth, seen); err != nil {
			return err
		}
		return meterInside(v.Interface())
	case reflect.Interface:
		if v.IsNil() {
			return nil
		}
		if err := meterNode(v.Elem(), depth, seen); err != nil {
			return err
		}
		if e := replacement(v.Interface()); e != nil {
			v.Set(reflect.ValueOf(e))
		} else if makesValue(v.Interface()) {
			v.Set(reflect.ValueOf(through(valueName, v.Interface().(nodes.Expression), nil, nil)))
		}
	case reflect.Struct:
		return each(v.NumField(), func(i int) reflect.Value {
			field := reflect.NewAt(v.Field(i).Type(), v.Field(i).Addr().UnsafePointer()).Elem()
			if v.Type() == reflect.TypeFor[controls.SetControlStructure]() && v.Type().Field(i).Name == "target" {
				return field.Elem() // an item to be set stays one
			}
			return field
		})
	case reflect.Slice:
		return each(v.Len(), v.Index)
	case reflect.Map:
		for _, key := range v.MapKeys() {
			element := reflect.New(v.Type().Elem()).Elem()
			element.Set(v.MapIndex(key))
			if err := meterNode(element, depth, seen); err != nil {
				return err
			}
			v.SetMapIndex(key, element)
		}
	}
	return nil
}

// through is an expression that passes through a filter.
func through(filter string, e nodes.Expression, args []nodes.Expression, kwargs map[string]nodes.Expression) nodes.Expression {
	return &nodes.FilteredExpression{Expression: e, Filters: []*nodes.FilterCall{{Name: filter, Args: args, Kwargs: kwargs}}}
}

func makesValue(node any) bool {
	switch n := node.(type) {
	case *nodes.BinaryExpression:
		return n.Operator.Token.Type == tokens.Tilde
	case *nodes.List, *nodes.Tuple, *nodes.Dict, *nodes.GetSlice, *nodes.Call:
		return true
	}
	return false
}

// meterInside puts before what a node does the filter that asks for the size of it, or into a block the node that counts.
func meterInside(node any) error {
	asksForMissing(node)
	switch n := node.(type) {
	case *nodes.BinaryExpression:
		return checkOperands(n)
	case *nodes.Call:
		if method, ok := n.Func.(*nodes.GetAttribute); ok { // looked up on a value that the library then evaluates again
			switch name := "." + method.Attribute; {
			case !isMethod(method.Attribute):
				return unsupported("method %s", method.Attribute)
			case ownMethods[name] != nil: // see replacement
			case growths[name] != nil:
				method.Node = through(name, method.Node, n.Args, n.Kwargs)
			default:
				method.Node = through(valueName, method.Node, nil, nil)
			}
		}
	case *controls.ForControlStructure:
		n.ObjectEvaluator = through("for", n.ObjectEvaluator, nil, nil)
	case *nodes.Wrapper:
		n.Nodes = slices.Insert(n.Nodes, 0, nodes.Node(&nodes.ControlStructureBlock{Location: n.Location, ControlStructure: tick{n.Location}}))
	}
	return nil
}

// meteredFilters are filters that measure what they give, and those of the rewritten tree, which give what they get.
func meteredFilters(filters map[string]exec.FilterFunction) map[string]exec.FilterFunction {
	metered := map[string]exec.FilterFunction{}
	add := func(name string, f exec.FilterFunction) {
		metered[name] = func(e *exec.Evaluator, in *exec.Value, params *exec.VarArgs) *exec.Value {
			grown := 0.0
			if growth := growths[name]; growth != nil && !in.IsError() {
				if grown = growth(in, arguments{params}); grown > maxRenderedBytes {
					panic(excess(fmt.Sprintf("%s: more than %d bytes", strings.TrimPrefix(name, "."), maxRenderedBytes)))
				}
			}
			out := f(e, in, params)
			meterOf(e.Environment.Context).charge(int(max(grown, 0)) + measure(name, out))
			return out
		}
	}
	for name := range growths {
		add(name, func(_ *exec.Evaluator, in *exec.Value, _ *exec.VarArgs) *exec.Value { return in })
	}
	add("for", func(_ *exec.Evaluator, in *exec.Value, _ *exec.VarArgs) *exec.Value { return characters(in) })
	for name, f := range filters {
		add(name, f)
	}
	metered[itemName], metered[missingName], metered[defaultName], metered[printedName] = filterItem, filterMissing, filterDefault, filterPrinted // these make no values
	return metered
}

type arguments struct{ *exec.VarArgs }

func (a arguments) at(i int, name string) *exec.Value {
	if i < len(a.Args) {
		return a.Args[i]
	}
	if v, ok := a.KwArgs[name]; ok {
		return v
	}
	return exec.AsValue(nil)
}

// growths bounds from above the bytes that an operator, a filter or, after a dot, a method makes, where they may be many times those of what it is given.
var growths = map[string]func(in *exec.Value, args arguments) float64{
	valueName:          func(*exec.Value, arguments) float64 { return 0 },
	"for":              func(in *exec.Value, _ arguments) float64 { return itemBytes * float64(in.Len()) },
	operatorName + "*": growsByTimes,
	"center":           growsToWidth, ".center": growsToWidth, ".ljust": growsToWidth, ".rjust": growsToWidth, ".zfill": growsToWidth,
	"batch": func(in *exec.Value, args arguments) float64 {
		return charBytes * max(float64(args.at(0, "linecount").Integer()), float64(in.Len()))
	},
	"slice": func(_ *exec.Value, args arguments) float64 {
		return charBytes * float64(args.at(0, "slices").Integer())
	},
	"indent": func(in *exec.Value, args arguments) float64 {
		width := args.at(0, "width")
		return float64(1+strings.Count(in.String(), "\n")) * max(4, float64(width.Integer()), float64(len(width.String())))
	},
	".expandtabs": func(in *exec.Value, args arguments) float64 {
		return float64(strings.Count(in.String(), "\t")) * float64(args.at(1, "tabsize").Integer())
	},
	"join": func(in *exec.Value, args arguments) float64 {
		return float64(in.Len()) * float64(len(args.at(0, "d").String()))
	},
	".join": func(in *exec.Value, args arguments) float64 {
		return float64(args.at(0, "iterable").Len()) * float64(len(in.String()))
	},
	"wordwrap": func(in *exec.Value, args arguments) float64 { // a line is made anew with each word
		text := in.String()
		return float64(1+strings.Count(text, " ")) * min(float64(args.at(0, "width").Integer()), float64(len(text)))
	},
	"int":     func(in *exec.Value, _ arguments) float64 { return 1024 * float64(len(in.String())) }, // in time the square of a number's digits
	"replace": growsByReplacing, ".replace": growsByReplacing,
	"format": growsByFormat, ".format": growsByFormat, ".format_map": growsByFormat,
	".split": growsByParts, ".rsplit": growsByParts, ".splitlines": growsByParts,
	"list": growsByItems, "map": growsByItems, "select": growsByItems, "reject": growsByItems, "selectattr": growsByItems,
	"rejectattr": growsByItems, "sort": growsByItems, "unique": growsByItems, "groupby": growsByItems, "reverse": growsByItems, "items": growsByItems,
	".items": growsByItems, ".keys": growsByItems, ".values": growsByItems,
}

func growsToWidth(_ *exec.Value, args arguments) float64 {
	return 4 * float64(args.at(0, "width").Integer()) // a character to fill with takes up to 4 bytes
}

func growsByReplacing(in *exec.Value, args arguments) float64 {
	return float64(strings.Count(in.String(), args.at(0, "old").String())) * float64(len(args.at(1, "new").String()))
}

func growsByItems(in *exec.Value, _ arguments) float64 {
	return charBytes * float64(in.Len())
}

func growsByParts(in *exec.Value, args arguments) float64 {
	separators := strings.Count(in.String(), "\n")
	if sep := args.at(0, "sep"); sep.IsString() {
		separators = strings.Count(in.String(), sep.String())
	} else {
		separators += strings.Count(in.String(), " ")
	}
	return charBytes * float64(separators)
}

var (
	formatNumber = regexp.MustCompile(`[0-9]+`)
	formatNested = regexp.MustCompile(`:[^}]*\{`)
)

// growsByFormat is the number of fields by the widest number or the longest argument. A width that is an argument itself is not looked for: fmt stops
// at a million, and a field within a field is taken as too wide.
func growsByFormat(in *exec.Value, args arguments) float64 {
	format, widest := in.String(), 100.0
	for _, digits := range formatNumber.FindAllString(format, -1) {
		width, _ := strconv.ParseFloat(digits, 64)
		widest = max(widest, width)
	}
	if strings.Contains(format, "*") {
		widest = max(widest, 1e6)
	}
	for _, arg := range args.Args {
		widest = max(widest, float64(len(arg.String())))
	}
	for _, arg := range args.KwArgs {
		widest = max(widest, float64(len(arg.String())))
	}
	if formatNested.MatchString(format) {
		widest = 2 * maxRenderedBytes
	}
	return float64(strings.Count(format, "%")+strings.Count(format, "{")) * widest
}

// measure is the bytes of a value itself, without those of the values in a list. What holds more, or deeper, than could be rendered is an excess: a
// list that holds itself has no end.
func measure(name string, v *exec.Value) int {
	w := walk{items: maxIterations, bytes: maxRenderedBytes}
	w.value(v.Val, maxValueDepth)
	if w.items < 0 || w.bytes < 0 {
		panic(excess(fmt.Sprintf("%s: more than %d bytes, or too deep", strings.TrimPrefix(name, "."), maxRenderedBytes)))
	}
	const header = 16
	size := itemBytes
	switch {
	case v.IsString():
		size += len(v.String())
	case v.IsList():
		size += header * v.Len()
	}
	return size
}

// walk is what may still be found in a value.
type walk struct{ items, bytes int }

func (w *walk) value(v reflect.Value, depth int) {
	if depth == 0 {
		w.items = 0
	}
	if w.items--; w.items < 0 || w.bytes < 0 {
		return
	}
	switch v.Kind() {
	case reflect.String:
		w.bytes -= v.Len()
	case reflect.Pointer, reflect.Interface:
		w.value(v.Elem(), depth-1)
	case reflect.Slice, reflect.Array:
		for i := 0; i < v.Len() && w.items >= 0; i++ {
			w.value(v.Index(i), depth-1)
		}
	case reflect.Map:
		for i := v.MapRange(); w.items >= 0 && i.Next(); {
			w.value(i.Key(), depth-1)
			w.value(i.Value(), depth-1)
		}
	case reflect.Struct:
		if v.CanInterface() {
			if inner, ok := v.Interface().(exec.Value); ok {
				w.value(inner.Val, depth-1)
				return
			}
		}
		for i := range v.NumField() {
			w.value(v.Field(i), depth-1)
		}
	}
}

// parseFor is the library's for without "recursive", which could recurse until the process dies.
func parseFor(p, args *parser.Parser) (nodes.ControlStructure, error) {
	original, _ := builtins.ControlStructures.Get("for")
	node, err := original(p, args)
	if loop, ok := node.(*controls.ForControlStructure); err == nil && ok && loop.Recursive {
		return nil, unsupported("a recursive for")
	}
	return node, err
}

// parseSet is the library's set, which looks at what it changed: of an item or attribute set the whole variable, that it does not hold itself.
func parseSet(p, args *parser.Parser) (nodes.ControlStructure, error) {
	original, _ := builtins.ControlStructures.Get("set")
	name := args.Current()
	node, err := original(p, args)
	if set, ok := node.(exec.ControlStructure); err == nil && ok && name.Type == tokens.Name {
		return &checkedSet{set, name.Val}, nil
	}
	return node, err
}

type checkedSet struct {
	exec.ControlStructure
	variable string
}

func (s *checkedSet) Execute(r *exec.Renderer, block *nodes.ControlStructureBlock) error {
	if err := s.ControlStructure.Execute(r, block); err != nil {
		return err
	}
	v, _ := r.Environment.Context.Get(s.variable)
	measure("set "+s.variable, exec.ToValue(v))
	return nil
}

// tick counts the runs of all blocks of one rendering, or loops within loops could run for years, and bounds what a block writes.
type tick struct{ location *tokens.Token }

func (t tick) Position() *tokens.Token { return t.location }
func (tick) String() string            { return "for" }

func (tick) Execute(r *exec.Renderer, _ *nodes.ControlStructureBlock) error {
	m := meterOf(r.Environment.Context)
	if m.iterations++; m.iterations > maxIterations {
		panic(excess(fmt.Sprintf("for: more than %d iterations", maxIterations)))
	}
	switch r.Output.(type) {
	case *boundedBuilder, *meteredWriter:
	default:
		r.Output = &meteredWriter{Writer: r.Output, meter: m} // a set's or filter's own buffer
	}
	return nil
}

type meteredWriter struct {
	io.Writer
	*meter
	n int
}

func (w *meteredWriter) Write(p []byte) (int, error) {
	if w.n += len(p); w.n > maxRenderedBytes {
		panic(excess(fmt.Sprintf("a block of more than %d bytes", maxRenderedBytes)))
	}
	w.charge(len(p))
	return w.Writer.Write(p)
}
