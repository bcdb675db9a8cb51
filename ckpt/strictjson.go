package ckpt

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"afctl/flow"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Unknown says what DecodeJSON does with keys that the target has no field for.
type Unknown bool

// What to do with unknown keys. Formats of our own refuse them; Hugging Face's files carry many that are of no
// interest here.
const (
	RefuseUnknown Unknown = false
	IgnoreUnknown Unknown = true
)

// DecodeJSON reads one JSON value from data, the content of a file from outside, into v, a byte order mark aside. Keys match exactly: a key
// given twice is an error, and so is one that differs from a known key only in case, which would otherwise be taken
// for an unknown one (the standard encoding/json does worse: it lets it overwrite the real one). Invalid UTF-8,
// fractions where an integer stands, numbers out of range and anything after the value are errors. null leaves a
// field at zero. Every error names file, line, column and, where there is one, the JSON pointer of the culprit.
func DecodeJSON(file string, data []byte, v any, unknown Unknown) error {
	return DecodeJSONLine(file, 1, bytes.TrimPrefix(data, []byte(ByteOrderMark)), v, unknown)
}

// DecodeJSONLine is DecodeJSON for one line of a file, counted from 1.
func DecodeJSONLine(file string, line int, data []byte, v any, unknown Unknown) error {
	data = bytes.TrimRight(data, "\r\n") // so that a torn line is not said to end on the next one
	err := json.Unmarshal(data, v, json.RejectUnknownMembers(unknown == RefuseUnknown))
	if err == nil && unknown == IgnoreUnknown {
		err = refuseCaseVariants(jsontext.NewDecoder(bytes.NewReader(data)), reflect.TypeOf(v))
	}
	if err != nil {
		return jsonError(file, line, data, err)
	}
	return nil
}

// caseError is a key that differs from a known one only in case.
type caseError struct {
	pointer     jsontext.Pointer
	offset      int64
	found, want string
}

func (e *caseError) Error() string {
	return fmt.Sprintf("key %.100q found, %q expected: keys are case-exact", e.found, e.want)
}

// jsonError rewrites an error of the JSON library so that it names file, line and column. data begin with the file's line
// of that number.
func jsonError(file string, line int, data []byte, err error) error {
	offset, pointer, cause := int64(-1), jsontext.Pointer(""), err
	var syntax *jsontext.SyntacticError
	var semantic *json.SemanticError
	var variant *caseError
	switch {
	case errors.As(err, &syntax):
		offset, pointer, cause = syntax.ByteOffset, syntax.JSONPointer, syntax.Err
		if errors.Is(err, jsontext.ErrDuplicateName) { // the pointer ends in the name
			cause = jsontext.ErrDuplicateName
		}
	case errors.As(err, &semantic):
		offset, pointer = semantic.ByteOffset, semantic.JSONPointer
		cause = semanticCause(semantic)
	case errors.As(err, &variant):
		offset, pointer = variant.offset, variant.pointer
	}
	where := file
	if offset >= 0 && offset <= int64(len(data)) {
		head := data[:offset]
		column := len(head) - bytes.LastIndexByte(head, '\n')
		where = fmt.Sprintf("%s:%d:%d", file, line+bytes.Count(head, []byte("\n")), column)
	}
	if pointer != "" {
		return fmt.Errorf("%s: %.100s: %w", where, pointer, cause)
	}
	return fmt.Errorf("%s: %w", where, cause)
}

// semanticCause says in words what a value is and what it should have been.
func semanticCause(e *json.SemanticError) error {
	if errors.Is(e.Err, json.ErrUnknownName) && e.GoType != nil {
		if near := flow.Nearest(e.JSONPointer.LastToken(), slices.Sorted(maps.Keys(structFields(e.GoType)))); near != "" {
			return fmt.Errorf("unknown key; did you mean %q?", near)
		}
	}
	if e.Err != nil && (errors.Is(e.Err, json.ErrUnknownName) || e.GoType == nil || e.JSONKind == jsontext.KindInvalid) {
		return e.Err // of a type that reads itself, which says what it found
	}
	found := "a value"
	if e.JSONKind == '0' && len(e.JSONValue) > 0 && len(e.JSONValue) <= 40 {
		found = "the number " + string(e.JSONValue)
	} else if e.JSONKind != jsontext.KindInvalid {
		found = KindName(e.JSONKind)
	}
	if e.GoType == nil {
		return errors.New(found + " does not belong here")
	}
	msg := found + " found, " + typeName(e.GoType) + " expected"
	if e.Err != nil {
		return fmt.Errorf("%s: %w", msg, e.Err)
	}
	return errors.New(msg)
}

// compactValues takes the white space out of values that messages quote: a file may have them on many lines.
func compactValues(object map[string]jsontext.Value) {
	for key, value := range object {
		value.Compact()
		object[key] = value
	}
}

// KindName says in words what a JSON value is; what begins none is no JSON.
func KindName(k jsontext.Kind) string {
	switch k {
	case 'n':
		return "null"
	case 't', 'f':
		return "a boolean"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case '{':
		return "an object"
	case '[':
		return "a list"
	}
	return "no JSON"
}

// typeName is the JSON word for what a Go type is read from.
func typeName(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Bool:
		return "a boolean"
	case reflect.String:
		return "a string"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "an object"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number >= 0"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "a whole number"
	}
	return "another kind of value"
}

// refuseCaseVariants walks one JSON value beside the type it was decoded into. Types with decoders of their own, and
// interfaces, are left alone: they answer for themselves.
func refuseCaseVariants(dec *jsontext.Decoder, t reflect.Type) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	custom := reflect.PointerTo(t).Implements(reflect.TypeFor[json.UnmarshalerFrom]()) ||
		reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]())
	kind := dec.PeekKind()
	switch {
	case !custom && kind == '{' && (t.Kind() == reflect.Struct || t.Kind() == reflect.Map):
		return walkObject(dec, t)
	case !custom && kind == '[' && (t.Kind() == reflect.Slice || t.Kind() == reflect.Array) && holdsStruct(t):
		if _, err := dec.ReadToken(); err != nil {
			return err
		}
		for dec.PeekKind() != ']' {
			if err := refuseCaseVariants(dec, t.Elem()); err != nil {
				return err
			}
		}
		_, err := dec.ReadToken()
		return err
	}
	return dec.SkipValue()
}

func walkObject(dec *jsontext.Decoder, t reflect.Type) error {
	if !holdsStruct(t) {
		return dec.SkipValue()
	}
	fields := structFields(t)
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for dec.PeekKind() != '}' {
		token, err := dec.ReadToken()
		if err != nil {
			return err
		}
		key := token.String()
		field, known := fields[key]
		if t.Kind() == reflect.Map {
			field, known = t.Elem(), true
		}
		if known {
			if err := refuseCaseVariants(dec, field); err != nil {
				return err
			}
			continue
		}
		for name := range fields {
			if strings.EqualFold(name, key) {
				return &caseError{dec.StackPointer(), dec.InputOffset(), key, name}
			}
		}
		if err := dec.SkipValue(); err != nil {
			return err
		}
	}
	_, err := dec.ReadToken()
	return err
}

// holdsStruct says whether a value of type t can have keys that belong to fields; a vocabulary, a map from string to
// number with hundreds of thousands of entries, cannot, and need not be walked.
func holdsStruct(t reflect.Type) bool {
	for {
		switch t.Kind() {
		case reflect.Struct:
			return true
		case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
			t = t.Elem()
		default:
			return false
		}
	}
}

// structFields maps the JSON names of t's fields to their types. A field with the option embed takes the unknown keys;
// no struct read in this project embeds another.
func structFields(t reflect.Type) map[string]reflect.Type {
	if t.Kind() != reflect.Struct {
		return nil
	}
	fields := make(map[string]reflect.Type, t.NumField())
	for field := range t.Fields() {
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "" {
			name = field.Name
		}
		if name != "-" && options != "embed" && field.IsExported() {
			fields[name] = field.Type
		}
	}
	return fields
}
