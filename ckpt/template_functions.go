package ckpt

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/nikolalohinski/gonja/v2/builtins"
	"github.com/nikolalohinski/gonja/v2/exec"
)

// messageValues are the messages as dictionaries that keep the order of their keys.
func messageValues(messages []Message) []any {
	values := make([]any, len(messages))
	for i, m := range messages {
		values[i] = &exec.Dict{Pairs: []*exec.Pair{
			{Key: exec.AsValue("role"), Value: exec.AsValue(m.Role)},
			{Key: exec.AsValue("content"), Value: exec.AsValue(m.Content)},
		}}
	}
	return values
}

func globalFunction(name string) any {
	f, _ := builtins.GlobalFunctions.Get(name)
	return f
}

// boundedRange is Python's range as a list. The library's own feeds a channel from a goroutine, which a template that
// stops early would leave behind.
func boundedRange(_ *exec.Evaluator, params *exec.VarArgs) ([]int, error) {
	start, stop, step := 0, 0, 1
	for i, arg := range params.Args {
		if !arg.IsInteger() {
			return nil, fmt.Errorf("range: argument %d is no integer", i+1)
		}
	}
	switch args := params.Args; len(args) {
	case 1:
		stop = args[0].Integer()
	case 2:
		start, stop = args[0].Integer(), args[1].Integer()
	case 3:
		start, stop, step = args[0].Integer(), args[1].Integer(), args[2].Integer()
	default:
		return nil, fmt.Errorf("range: found %d arguments, expected 1 to 3", len(args))
	}
	if step == 0 {
		return nil, errors.New("range: a step of 0")
	}
	list := []int{}
	for i := start; step > 0 && i < stop || step < 0 && i > stop; i += step {
		if len(list) == maxRange {
			return nil, fmt.Errorf("range: more than %d numbers", maxRange)
		}
		list = append(list, i)
	}
	return list, nil
}

// strftime formats like Python's, for the directives that templates use.
func strftime(t time.Time, format string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		layout, ok := map[byte]string{
			'Y': "2006", 'y': "06", 'm': "01", 'd': "02", 'B': "January", 'b': "Jan", 'A': "Monday", 'a': "Mon",
			'H': "15", 'I': "03", 'M': "04", 'S': "05", 'p': "PM", 'j': "002", 'Z': "MST", 'z': "-0700",
		}[format[i]]
		switch {
		case ok:
			b.WriteString(t.Format(layout))
		case format[i] == '%':
			b.WriteByte('%')
		default:
			return "", unsupported("strftime_now: directive %%%c", format[i])
		}
	}
	return b.String(), nil
}

// filterToJSON is transformers' tojson: Python's json.dumps with ensure_ascii off, keys in their own order.
func filterToJSON(_ *exec.Evaluator, in *exec.Value, params *exec.VarArgs) *exec.Value {
	if in.IsError() {
		return in
	}
	indent := -1
	for key, value := range params.KwArgs {
		switch {
		case key == "indent" && value.IsInteger() && value.Integer() >= 0 && value.Integer() <= 16:
			indent = value.Integer()
		case key == "indent" && value.IsNil(), key == "ensure_ascii" && !value.IsTrue(), key == "sort_keys" && !value.IsTrue():
		default:
			return exec.AsValue(unsupported("tojson: argument %s=%s", key, value.String()))
		}
	}
	if len(params.Args) > 0 {
		return exec.AsValue(unsupported("tojson: arguments without names"))
	}
	var b bytes.Buffer
	if err := dumpJSON(&b, in, indent, 0); err != nil {
		return exec.AsValue(fmt.Errorf("tojson: %w", err))
	}
	return exec.AsSafeValue(b.String())
}

// maxJSONDepth ends the walk of a value that holds itself.
const maxJSONDepth = 100

func dumpJSON(b *bytes.Buffer, v *exec.Value, indent, depth int) error {
	if depth > maxJSONDepth || b.Len() > maxRenderedBytes {
		return errors.New("the value is too deep or too long")
	}
	switch {
	case v.IsNil():
		b.WriteString("null")
	case v.IsBool():
		b.WriteString(strconv.FormatBool(v.Bool()))
	case v.IsInteger():
		b.WriteString(strconv.Itoa(v.Integer()))
	case v.IsFloat():
		b.WriteString(pythonFloat(v.Float()))
	case v.IsString():
		quoted, err := jsontext.AppendQuote(nil, v.String())
		if err != nil {
			return err
		}
		b.Write(quoted)
	case v.IsDict():
		return dumpList(b, v, indent, depth, '{', '}', func(key, value *exec.Value) error {
			if err := dumpJSON(b, key, indent, depth+1); err != nil {
				return err
			}
			b.WriteString(": ")
			return dumpJSON(b, value, indent, depth+1)
		})
	case v.IsList():
		return dumpList(b, v, indent, depth, '[', ']', func(item, _ *exec.Value) error {
			return dumpJSON(b, item, indent, depth+1)
		})
	default:
		return unsupported("tojson of %s", v.String())
	}
	return nil
}

// pythonFloat is a number as json.dumps writes it: with an exponent where Python's repr has one, with a point else.
func pythonFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 0):
		return map[bool]string{true: "Infinity", false: "-Infinity"}[f > 0]
	}
	s := strconv.FormatFloat(f, 'e', -1, 64)
	if exponent, err := strconv.Atoi(s[strings.IndexByte(s, 'e')+1:]); err != nil || exponent < -4 || exponent >= 16 {
		return s
	}
	if s = strconv.FormatFloat(f, 'f', -1, 64); !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

func dumpList(b *bytes.Buffer, v *exec.Value, indent, depth int, open, end byte, item func(key, value *exec.Value) error) error {
	newline := func(depth int) {
		if indent >= 0 {
			b.WriteString("\n" + strings.Repeat(" ", indent*depth))
		}
	}
	b.WriteByte(open)
	var err error
	n := 0
	v.Iterate(func(i, _ int, key, value *exec.Value) bool {
		switch {
		case i > 0 && indent < 0:
			b.WriteString(", ")
		case i > 0:
			b.WriteByte(',')
		}
		newline(depth + 1)
		n++
		err = item(key, value)
		return err == nil
	}, func() {})
	if err != nil {
		return err
	}
	if n > 0 {
		newline(depth)
	}
	b.WriteByte(end)
	return nil
}
