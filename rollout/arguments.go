package rollout

import (
	stdjson "encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"go.starlark.net/syntax"
)

// ParseArguments reads an executor's text as the arguments of one call: a JSON object, fenced or in prose, or the call
// form execution = tool.execute(query="…", k=3), over as many lines as it takes. The call form is Starlark, of which
// only the syntax tree is looked at: literals, lists, dicts, sums of strings, and names bound to those before. Nothing
// of it is ever run. The first call, or the first object, is taken; calls says how many there were. The error says
// what could not be read, for the model to mend.
func ParseArguments(text string) (args stdjson.RawMessage, calls int, err error) {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) > maxArgs {
		return nil, 0, fmt.Errorf("a call of %d bytes, at most %d are taken", len(text), maxArgs)
	}
	if strings.Contains(text, "tool.execute") && !strings.HasPrefix(unfence(text), "{") {
		return parseCalls(codeOf(text))
	}
	for object := range jsonObjects(text) {
		if calls++; calls == 1 {
			args = stdjson.RawMessage(object.Clone())
		}
	}
	if calls > 0 {
		return args, calls, nil
	}
	return nil, 0, errors.New("no JSON object and no tool.execute(...) in the answer")
}

// unfence drops the opening fence of a text that begins with one.
func unfence(text string) string {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, "```") {
		_, text, _ = strings.Cut(text, "\n")
	}
	return strings.TrimSpace(text)
}

// codeOf takes the call out of prose: what stands in the fence that holds it, or all of
// the text if it is a program, or else from the line that names it on.
func codeOf(text string) string {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	const fence = "```"
	for rest := text; ; {
		_, after, ok := strings.Cut(rest, fence)
		if !ok {
			break
		}
		block, next, _ := strings.Cut(after, fence)
		if strings.Contains(block, "tool.execute") {
			if _, code, ok := strings.Cut(block, "\n"); ok {
				block = code // the first line names the language
			}
			return strings.TrimSpace(block)
		}
		rest = next
	}
	if _, err := parseStarlark(text); err == nil {
		return text
	}
	i := strings.Index(text, "tool.execute")
	return strings.TrimSpace(text[strings.LastIndexByte(text[:i], '\n')+1:])
}

// maxCuts bounds how often parseCalls tries again without what could not be read.
const maxCuts = 8

// parseCalls reads a program of assignments and calls. Prose may stand behind a call that has no fence: where a line
// cannot be read, the lines before it are taken.
func parseCalls(code string) (stdjson.RawMessage, int, error) {
	file, err := parseStarlark(code)
	for cut := 0; err != nil && cut < maxCuts; cut++ {
		var at syntax.Error
		if !errors.As(err, &at) || at.Pos.Line <= 1 {
			break
		}
		code = firstLines(code, int(at.Pos.Line)-1)
		file, err = parseStarlark(code)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("the call cannot be read: %w", err)
	}
	names := map[string]any{}
	var args map[string]any
	calls := 0
	for _, stmt := range file.Stmts {
		expr, bound := statement(stmt)
		if call, ok := unparen(expr).(*syntax.CallExpr); ok && isExecute(call.Fn) {
			if calls++; calls > 1 {
				continue
			}
			if args, err = keywords(call, names); err != nil {
				return nil, 0, err
			}
		} else if bound != "" {
			// Only scalars get a name: lists that name lists would grow without end.
			switch v, err := literal(expr, names); v.(type) {
			case string, int64, float64, bool:
				if err == nil {
					names[bound] = v
				}
			}
		}
	}
	if calls == 0 {
		return nil, 0, errors.New("no call of the form execution = tool.execute(name=value, ...)")
	}
	raw, err := json.Marshal(args, json.Deterministic(true))
	if err != nil {
		return nil, 0, fmt.Errorf("the call's arguments: %w", err)
	}
	return raw, calls, nil
}

func firstLines(s string, n int) string {
	end := 0
	for range n {
		i := strings.IndexByte(s[end:], '\n')
		if i < 0 {
			return s
		}
		end += i + 1
	}
	return s[:end]
}

func parseStarlark(code string) (*syntax.File, error) {
	var opts syntax.FileOptions
	return opts.Parse("call", code, 0)
}

// statement gives the expression of a statement, and the name it is bound to if it is a plain assignment.
func statement(s syntax.Stmt) (syntax.Expr, string) {
	switch s := s.(type) {
	case *syntax.ExprStmt:
		return s.X, ""
	case *syntax.AssignStmt:
		if name, ok := s.LHS.(*syntax.Ident); ok && s.Op == syntax.EQ {
			return s.RHS, name.Name
		}
		return s.RHS, ""
	}
	return nil, ""
}

func unparen(e syntax.Expr) syntax.Expr {
	for {
		p, ok := e.(*syntax.ParenExpr)
		if !ok {
			return e
		}
		e = p.X
	}
}

func isExecute(fn syntax.Expr) bool {
	dot, ok := fn.(*syntax.DotExpr)
	if !ok || dot.Name.Name != "execute" {
		return false
	}
	name, ok := dot.X.(*syntax.Ident)
	return ok && name.Name == "tool"
}

func keywords(call *syntax.CallExpr, names map[string]any) (map[string]any, error) {
	args := map[string]any{}
	for i, a := range call.Args {
		pair, ok := a.(*syntax.BinaryExpr)
		if !ok || pair.Op != syntax.EQ {
			return nil, fmt.Errorf("argument %d of tool.execute has no name, expected name=value", i+1)
		}
		name := pair.X.(*syntax.Ident).Name // the parser takes nothing else before "="
		if _, twice := args[name]; twice {
			return nil, fmt.Errorf("argument %q of tool.execute is given twice", name)
		}
		v, err := literal(pair.Y, names)
		if err != nil {
			return nil, fmt.Errorf("argument %q of tool.execute: %w", name, err)
		}
		args[name] = v
	}
	return args, nil
}

// literal evaluates the few forms that are plain data.
func literal(e syntax.Expr, names map[string]any) (any, error) {
	switch e := unparen(e).(type) {
	case *syntax.Literal:
		return literalValue(e)
	case *syntax.Ident:
		switch e.Name {
		case "True", "true":
			return true, nil
		case "False", "false":
			return false, nil
		case "None", "null":
			return nil, nil
		}
		if v, ok := names[e.Name]; ok {
			return v, nil
		}
		return nil, fmt.Errorf("%s has no value here", e.Name)
	case *syntax.UnaryExpr:
		return signed(e, names)
	case *syntax.BinaryExpr:
		return concatenated(e, names)
	case *syntax.ListExpr:
		return list(e.List, names)
	case *syntax.TupleExpr:
		return list(e.List, names)
	case *syntax.DictExpr:
		return dict(e, names)
	}
	start, _ := e.Span()
	return nil, fmt.Errorf("line %d is not plain data: expected a string, a number, a list or a dict", start.Line)
}

func literalValue(l *syntax.Literal) (any, error) {
	switch v := l.Value.(type) {
	case string:
		if l.Token == syntax.BYTES {
			return nil, errors.New("bytes are no argument, expected a string")
		}
		return strings.ToValidUTF8(v, "\uFFFD"), nil
	case int64, float64:
		return v, nil
	case *big.Int:
		return jsontext.Value(v.String()), nil
	}
	return nil, fmt.Errorf("literal %s is no argument", clip(l.Raw, 40))
}

func signed(e *syntax.UnaryExpr, names map[string]any) (any, error) {
	v, err := literal(e.X, names)
	if err != nil {
		return nil, err
	}
	switch x := v.(type) {
	case int64:
		if e.Op == syntax.MINUS {
			return -x, nil
		}
		if e.Op == syntax.PLUS {
			return x, nil
		}
	case float64:
		if e.Op == syntax.MINUS {
			return -x, nil
		}
		if e.Op == syntax.PLUS {
			return x, nil
		}
	}
	return nil, fmt.Errorf("%s stands before no number", e.Op)
}

func concatenated(e *syntax.BinaryExpr, names map[string]any) (any, error) {
	x, err := literal(e.X, names)
	if err != nil {
		return nil, err
	}
	y, err := literal(e.Y, names)
	if err != nil {
		return nil, err
	}
	a, isA := x.(string)
	b, isB := y.(string)
	if e.Op != syntax.PLUS || !isA || !isB {
		return nil, fmt.Errorf("%s is not computed: give the value itself", e.Op)
	}
	if len(a)+len(b) > maxArgs {
		return nil, fmt.Errorf("a string of more than %d bytes", maxArgs)
	}
	return a + b, nil
}

func list(items []syntax.Expr, names map[string]any) (any, error) {
	values := make([]any, len(items))
	for i, item := range items {
		v, err := literal(item, names)
		if err != nil {
			return nil, err
		}
		values[i] = v
	}
	return values, nil
}

func dict(e *syntax.DictExpr, names map[string]any) (any, error) {
	values := make(map[string]any, len(e.List))
	for _, item := range e.List {
		entry := item.(*syntax.DictEntry)
		key, err := literal(entry.Key, names)
		if err != nil {
			return nil, err
		}
		name, ok := key.(string)
		if !ok {
			return nil, fmt.Errorf("dict key %v is no string", key)
		}
		if values[name], err = literal(entry.Value, names); err != nil {
			return nil, err
		}
	}
	return values, nil
}
