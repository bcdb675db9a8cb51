package strictjson

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"afctl/flow/nearest"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Explain makes an *Error of an error of the JSON library, for a caller that reads by itself; other errors stay as they are, and so does an *Error.
func Explain(err error) error {
	var known *Error
	var syntax *jsontext.SyntacticError
	var semantic *json.SemanticError
	var variant *caseError
	switch {
	case errors.As(err, &known):
		return err
	case errors.As(err, &syntax) && errors.Is(err, jsontext.ErrDuplicateName): // the pointer ends in the name
		return &Error{syntax.JSONPointer, syntax.ByteOffset, errTwice}
	case errors.As(err, &syntax):
		return &Error{syntax.JSONPointer, syntax.ByteOffset, fmt.Errorf("not JSON: %w", syntax.Err)}
	case errors.As(err, &semantic):
		return &Error{semantic.JSONPointer, semantic.ByteOffset, cause(semantic)}
	case errors.As(err, &variant):
		return &Error{variant.pointer, variant.offset, variant}
	}
	return err
}

var errTwice = errors.New("found twice, expected once")

// cause says in words what a value is and what it should have been.
func cause(e *json.SemanticError) error {
	if errors.Is(e.Err, json.ErrUnknownName) && e.GoType != nil {
		if near := nearest.Name(e.JSONPointer.LastToken(), slices.Sorted(maps.Keys(fields(e.GoType)))); near != "" {
			return fmt.Errorf("unknown key; did you mean %q?", near)
		}
	}
	null := errors.Is(e.Err, errNull)
	if e.Err != nil && !null && (errors.Is(e.Err, json.ErrUnknownName) || e.GoType == nil || e.JSONKind == jsontext.KindInvalid) {
		return e.Err // of a type that reads itself, which says what it found
	}
	found, number := "a value", false
	switch {
	case null:
		found = "null"
	case e.JSONKind == '0' && len(e.JSONValue) > 0:
		found, number = shorten(string(e.JSONValue)), true
	case e.JSONKind != jsontext.KindInvalid:
		found = KindName(e.JSONKind)
	}
	if e.GoType == nil {
		return fmt.Errorf("found %s, which does not belong here", found)
	}
	msg := "found " + found + ", expected " + typeName(e.GoType, number)
	if e.Err != nil && !null && !number {
		return fmt.Errorf("%s: %w", msg, e.Err)
	}
	return errors.New(msg)
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

// typeName is the JSON word for what a Go type is read from, with its size where another number was found.
func typeName(t reflect.Type, number bool) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	name := ""
	switch t.Kind() {
	case reflect.Bool:
		return "a boolean"
	case reflect.String:
		return "a string"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "an object"
	case reflect.Float32, reflect.Float64:
		name = "a number"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		name = "a whole number from 0"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		name = "a whole number"
	default:
		return "another kind of value"
	}
	if number {
		name += fmt.Sprintf(" of %d bits", t.Bits())
	}
	return name
}
