package rollout

import (
	stdjson "encoding/json"
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"go.starlark.net/syntax"
)

// ParseArguments reads an executor's text as the arguments of one call: a JSON object (or a Python dict), fenced or in
// prose or as Qwen's <tool_call>, or the call form execution = tool.execute(query="…", k=3), over as many lines as it takes. The call form is
// Starlark, of which only the syntax tree is looked at: literals, lists, dicts, sums of strings, and names bound to
// those before. Nothing of it is ever run. The first call, or the first object, is taken; calls says how many there
// were. The error says what could not be read, for the model to mend.
func ParseArguments(text string) (args stdjson.RawMessage, calls int, err error) {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) > maxArgs {
		return nil, 0, fmt.Errorf("a call of %d bytes, at most %d are taken", len(text), maxArgs)
	}
	if callStart.MatchString(text) && !strings.HasPrefix(unfence(text), "{") {
		return parseCalls(text)
	}
	for object := range jsonObjects(text) {
		var command struct {
			Command string `json:"command"`
		}
		if json.Unmarshal(object, &command) == nil && callStart.MatchString(command.Command) {
			return parseCalls(command.Command) // AgentFlow's ToolCommand {analysis, explanation, command}
		}
		if calls++; calls == 1 {
			if args = stdjson.RawMessage(object.Clone()); strings.Contains(text, toolCall) {
				args = argumentsOf(args)
			}
		}
	}
	if calls > 0 {
		return args, calls, nil
	}
	return nil, 0, errors.New("no JSON object and no tool.execute(...) in the answer")
}

// toolCall stands around a call in the form that Qwen's chat templates teach: {"name": "...", "arguments": {...}}.
const toolCall = "<tool_call>"

// argumentsOf is the arguments of a call in that form; any other object is its own.
func argumentsOf(object stdjson.RawMessage) stdjson.RawMessage {
	var call struct {
		Name      string         `json:"name"`
		Arguments jsontext.Value `json:"arguments"`
	}
	if err := json.Unmarshal(object, &call, json.RejectUnknownMembers(true)); err != nil || call.Arguments.Kind() != '{' {
		return object
	}
	return stdjson.RawMessage(call.Arguments)
}

// callStart is where the call form begins.
var callStart = regexp.MustCompile(`(?:^|[^\w.])(tool\.execute\s*)\(`)

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

// parseCalls reads the call form. Where the text around the call is no program with it (prose in the same line, an
// import), the call alone is taken, up to its closing bracket; and where that cannot be read either, without the f of
// strings that have nothing to format.
func parseCalls(text string) (stdjson.RawMessage, int, error) {
	code := codeOf(text)
	file, err := parseProgram(code)
	if at := callStart.FindStringSubmatchIndex(text); err != nil && at != nil {
		call := text[at[2]:at[3]] + text[at[3]:at[3]+bracketed(text[at[3]:])]
		for _, alone := range []string{call, plainFString.ReplaceAllString(call, "$1$2")} {
			if f, e := parseProgram(alone); e == nil {
				file, err = f, nil
				break
			}
		}
		if fString.MatchString(call) && err != nil {
			err = fmt.Errorf("%w (f-strings are not computed: give the value itself)", err)
		}
	}
	if err != nil {
		return nil, 0, err
	}
	return firstCall(file)
}

// An f-string, and one that needs no formatting.
var (
	fString      = regexp.MustCompile(`(?:^|[^\w"'])[fF]["']`)
	plainFString = regexp.MustCompile(`(^|[^\w"'])[fF]("[^"{}\\\n]*"|'[^'{}\\\n]*')`)
)

// maxCuts bounds how often parseProgram tries again without what could not be read.
const maxCuts = 8

// parseProgram reads a program of assignments and calls, one at least. Prose may stand behind a call that has no fence:
// where a line cannot be read, the lines before it are taken.
func parseProgram(code string) (*syntax.File, error) {
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
		return nil, fmt.Errorf("the call cannot be read: %w", err)
	}
	for _, stmt := range file.Stmts {
		if _, ok := executed(stmt); ok {
			return file, nil
		}
	}
	return nil, errors.New("no call of the form execution = tool.execute(name=value, ...)")
}

// executed is the call that a statement makes.
func executed(stmt syntax.Stmt) (*syntax.CallExpr, bool) {
	expr, _ := statement(stmt)
	call, ok := unparen(expr).(*syntax.CallExpr)
	return call, ok && isExecute(call.Fn)
}

// firstCall gives the arguments of a program's first call, and how many calls there are.
func firstCall(file *syntax.File) (stdjson.RawMessage, int, error) {
	names := map[string]any{}
	var args map[string]any
	var err error
	calls := 0
	for _, stmt := range file.Stmts {
		if call, ok := executed(stmt); ok {
			if calls++; calls > 1 {
				continue
			}
			if args, err = keywords(call, names); err != nil {
				return nil, 0, err
			}
		} else if expr, bound := statement(stmt); bound != "" {
			// Only scalars get a name: lists that name lists would grow without end. A name that is bound to
			// anything else has no value from there on.
			v, err := literal(expr, names)
			delete(names, bound)
			switch v.(type) {
			case string, int64, float64, bool, jsontext.Value:
				if err == nil {
					names[bound] = v
				}
			}
		}
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

// statement gives the expression of a statement, and the name it is bound to if it assigns one; x += y is x = x + y.
func statement(s syntax.Stmt) (syntax.Expr, string) {
	switch s := s.(type) {
	case *syntax.ExprStmt:
		return s.X, ""
	case *syntax.AssignStmt:
		name, ok := s.LHS.(*syntax.Ident)
		switch {
		case !ok:
			return s.RHS, ""
		case s.Op != syntax.EQ:
			return &syntax.BinaryExpr{X: name, Op: s.Op - syntax.PLUS_EQ + syntax.PLUS, Y: s.RHS}, name.Name
		}
		return s.RHS, name.Name
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
	case *big.Int: // beyond int64
		return jsontext.Value(v.String()), nil
	}
	return nil, fmt.Errorf("literal %s is no argument", clipBytes(l.Raw, 40))
}

func signed(e *syntax.UnaryExpr, names map[string]any) (any, error) {
	v, err := literal(e.X, names)
	if err != nil {
		return nil, err
	}
	if e.Op == syntax.MINUS {
		switch x := v.(type) {
		case jsontext.Value:
			if digits, negative := strings.CutPrefix(string(x), "-"); negative {
				return jsontext.Value(digits), nil
			}
			return jsontext.Value("-" + string(x)), nil
		case int64:
			return -x, nil
		case float64:
			return -x, nil
		}
	} else if e.Op == syntax.PLUS {
		switch v.(type) {
		case jsontext.Value, int64, float64:
			return v, nil
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
		if _, twice := values[name]; twice {
			return nil, fmt.Errorf("dict key %q is given twice", name)
		}
		if values[name], err = literal(entry.Value, names); err != nil {
			return nil, err
		}
	}
	return values, nil
}
