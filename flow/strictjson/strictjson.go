// Package strictjson reads JSON from outside so that nothing passes unseen: a key that no field has, one that is given twice or in another case, a
// null where a number belongs, a number out of range, anything after the value. Errors say where, what was found and what was expected.
//
//	var line struct{ Tokens []int32 `json:"tokens"` }
//	err := strictjson.Decode(data, &line, strictjson.RefuseUnknown, strictjson.NoNull[int32]()) // tokens[3]: found null, expected a whole number
package strictjson

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Unknown says what to do with keys that the target has no field for.
type Unknown bool

// What to do with unknown keys. Formats of our own refuse them; files of others carry many that are of no interest here.
const (
	RefuseUnknown Unknown = false
	IgnoreUnknown Unknown = true
)

// Error says what is wrong with a value, and where.
type Error struct {
	// Pointer leads to the culprit; it is empty for the whole value, and where there is no JSON.
	Pointer jsontext.Pointer
	// Offset of the byte where reading stopped, from 0; -1 where that is not known.
	Offset int64
	// Err is what was found and what was expected.
	Err error
}

// Error implements error: the path as messages write it, and what is wrong there.
func (e *Error) Error() string { return path(e.Pointer) + ": " + e.Err.Error() }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Decode reads one JSON value into v, a pointer. Keys match exactly: one that is given twice is an error, and so is one that differs from a known key
// only in case, which would otherwise be taken for an unknown one (the standard encoding/json does worse: it lets it overwrite the real one). Invalid
// UTF-8, fractions where an integer stands, numbers out of range and anything after the value are errors, each an *Error. null leaves a field at zero,
// but for the types of noNulls.
func Decode(data []byte, v any, unknown Unknown, noNulls ...*json.Unmarshalers) error {
	options := json.RejectUnknownMembers(unknown == RefuseUnknown)
	if len(noNulls) > 0 && bytes.Contains(data, []byte("null")) { // asking of every number takes three times as long
		options = json.JoinOptions(options, json.WithUnmarshalers(json.JoinUnmarshalers(noNulls...)))
	}
	err := json.Unmarshal(data, v, options)
	if err == nil && unknown == IgnoreUnknown {
		err = refuseCaseVariants(jsontext.NewDecoder(bytes.NewReader(data)), reflect.TypeOf(v))
	}
	return Explain(err)
}

var errNull = errors.New("found null")

// NoNull refuses null where a T belongs, by itself or in a list.
func NoNull[T any]() *json.Unmarshalers {
	return json.UnmarshalFromFunc(func(d *jsontext.Decoder, _ *T) error {
		if d.PeekKind() == 'n' {
			return errNull
		}
		return errors.ErrUnsupported // go on as usual
	})
}

// path writes a JSON pointer as messages do: /turns/1/prompt is turns[1].prompt.
func path(p jsontext.Pointer) string {
	var b strings.Builder
	for t := range p.Tokens() {
		if _, err := strconv.ParseUint(t, 10, 32); err == nil {
			fmt.Fprintf(&b, "[%s]", t)
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(shorten(t))
	}
	if b.Len() == 0 {
		return "line"
	}
	return b.String()
}

const longest = 64 // bytes that are quoted of what a file may have made as long as it likes

func shorten(s string) string {
	for i := range s {
		if i >= longest {
			return s[:i] + "..."
		}
	}
	return s
}
