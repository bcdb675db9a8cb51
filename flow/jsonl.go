package flow

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// line is a trajectory as a line of a file has it: its number may be left out.
type line struct {
	Trajectory
	Sample   *int         `json:"sample"`
	Sampling lineSampling `json:"sampling"`
}

// lineSampling tells a temperature of 0 from one that is not recorded.
type lineSampling struct {
	Sampling
	Temperature *float64 `json:"temperature"`
}

// errNull says that a list has null where it needs a number; by itself the JSON package would take it for 0.
var errNull = errors.New("found null")

// exact reads a line: member names must match a field exactly and come once. noNulls adds that lists of numbers have no
// nulls; it asks of every number, which takes three times as long, and so is kept for lines that contain the word.
var (
	exact   = json.RejectUnknownMembers(true)
	noNulls = json.JoinOptions(exact, json.WithUnmarshalers(json.JoinUnmarshalers(
		json.UnmarshalFromFunc(refuseNull[int32]),
		json.UnmarshalFromFunc(refuseNull[float32]),
	)))
)

func refuseNull[T any](d *jsontext.Decoder, _ *T) error {
	if d.PeekKind() == 'n' {
		return errNull
	}
	return errors.ErrUnsupported // go on as usual
}

// ParseTrajectory reads one line of JSON: a trajectory with any of Trajectory's fields, of which an update needs
//
//	{"group":"q1","sample":0,"reward":1.0,"turns":[{"prompt":[ids],"action":[ids],"logprobs":[...]}]}
//
// "group" is required. "reward" null or missing makes a failed rollout. "sample" null or missing gives Sample = -1,
// which NewUpdate numbers. Unknown, misspelt, miscased and repeated names are errors that say which, and for what; the
// content is checked by NewUpdate.
func ParseTrajectory(b []byte) (Trajectory, error) {
	options := exact
	if bytes.Contains(b, []byte("null")) {
		options = noNulls
	}
	var l line
	if err := json.Unmarshal(b, &l, options); err != nil {
		return Trajectory{}, explain(err)
	}
	t := l.Trajectory
	t.Sample = -1
	if l.Sample != nil {
		t.Sample = *l.Sample
		if t.Sample < 0 {
			return Trajectory{}, fmt.Errorf("sample: found %d, expected a number from 0", t.Sample)
		}
	}
	t.Sampling = l.Sampling.Sampling
	if l.Sampling.Temperature != nil {
		t.Sampling.Temperature = *l.Sampling.Temperature
		if t.Sampling.Temperature == 0 {
			return Trajectory{}, errors.New("sampling.temperature: found 0, expected the temperature > 0 that the actions were drawn at: log-probs of a likeliest token have no ratio")
		}
	}
	if t.Group == "" {
		return Trajectory{}, errors.New(`group: found none, expected the name that the rollouts of one task share`)
	}
	return t, nil
}

// explain puts an error of the JSON package in terms of fields.
func explain(err error) error {
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) {
		if errors.Is(err, jsontext.ErrDuplicateName) {
			return fmt.Errorf("%s: found twice in one object, expected once", fieldPath(syntax.JSONPointer))
		}
		return fmt.Errorf("not a JSON object: %w", err)
	}
	var semantic *json.SemanticError
	if !errors.As(err, &semantic) {
		return err
	}
	at := fieldPath(semantic.JSONPointer)
	switch {
	case errors.Is(err, json.ErrUnknownName):
		known := fieldNames(semantic.JSONPointer.Parent())
		return fmt.Errorf("%s: unknown key; did you mean %q?", at, Nearest(semantic.JSONPointer.LastToken(), known))
	case errors.Is(err, errNull):
		return fmt.Errorf("%s: found null, expected a number", at)
	case semantic.GoType != nil:
		found := kindName(semantic.JSONKind)
		if len(semantic.JSONValue) > 0 {
			found = shorten(string(semantic.JSONValue))
		}
		return fmt.Errorf("%s: found %s, expected %s", at, found, expectedKind(semantic.GoType))
	}
	return fmt.Errorf("%s: %w", at, err)
}

// fieldPath turns a JSON pointer into the form that messages use: /turns/1/prompt into turns[1].prompt.
func fieldPath(p jsontext.Pointer) string {
	var b strings.Builder
	for token := range p.Tokens() {
		token = shorten(token)
		switch {
		case token != "" && strings.Trim(token, "0123456789") == "":
			fmt.Fprintf(&b, "[%s]", token)
		case b.Len() > 0:
			b.WriteByte('.')
			fallthrough
		default:
			b.WriteString(token)
		}
	}
	if b.Len() == 0 {
		return "line"
	}
	return b.String()
}

// shorten cuts what a file may have made as long as it likes.
func shorten(s string) string {
	for i := range s {
		if i >= longestName {
			return s[:i] + "..."
		}
	}
	return s
}

// fieldNames returns the JSON names of the struct that a pointer into a trajectory leads to.
func fieldNames(p jsontext.Pointer) []string {
	at := reflect.TypeFor[Trajectory]()
	for token := range p.Tokens() {
		if at.Kind() == reflect.Slice {
			at = at.Elem()
			continue
		}
		i := slices.Index(structNames(at), token)
		if i < 0 {
			return nil
		}
		at = at.Field(i).Type
	}
	return structNames(at)
}

// structNames returns the JSON names of a struct's fields, in order.
func structNames(t reflect.Type) []string {
	if t.Kind() != reflect.Struct {
		return nil
	}
	names := make([]string, t.NumField())
	for i := range names {
		names[i], _, _ = strings.Cut(t.Field(i).Tag.Get("json"), ",")
	}
	return names
}

// kindName is the name of a JSON kind; for a list or an object the package has the bracket only.
func kindName(k jsontext.Kind) string {
	switch k {
	case '{':
		return "an object"
	case '[':
		return "a list"
	}
	return k.String()
}

// expectedKind says in words what JSON a Go type is read from.
func expectedKind(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Int, reflect.Int32:
		return fmt.Sprintf("an integer of %d bits", t.Bits())
	case reflect.Uint64:
		return "an integer from 0 of 64 bits"
	case reflect.Float32, reflect.Float64:
		return fmt.Sprintf("a number of %d bits", t.Bits())
	case reflect.String:
		return "a string"
	case reflect.Slice:
		return "a list"
	case reflect.Pointer:
		return expectedKind(t.Elem())
	default:
		return "an object"
	}
}
