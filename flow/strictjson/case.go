package strictjson

import (
	"fmt"
	"maps"
	"reflect"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// caseError is a key that differs from a known one only in case.
type caseError struct {
	pointer     jsontext.Pointer
	offset      int64
	found, want string
}

func (e *caseError) Error() string {
	return fmt.Sprintf("found the key %.100q, expected %q: case counts", e.found, e.want)
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
	known := fields(t)
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for dec.PeekKind() != '}' {
		token, err := dec.ReadToken()
		if err != nil {
			return err
		}
		key := token.String()
		field, ok := known[key]
		if t.Kind() == reflect.Map {
			field, ok = t.Elem(), true
		}
		if ok {
			if err := refuseCaseVariants(dec, field); err != nil {
				return err
			}
			continue
		}
		for name := range known {
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

// fields maps the JSON names of t's fields to their types, those of embedded structs included. A field with the option embed takes the unknown keys.
func fields(t reflect.Type) map[string]reflect.Type {
	if t.Kind() != reflect.Struct {
		return nil
	}
	all := make(map[string]reflect.Type, t.NumField())
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			maps.Copy(all, fields(f.Type))
		case name != "-" && options != "embed" && f.IsExported():
			if name == "" {
				name = f.Name
			}
			all[name] = f.Type
		}
	}
	return all
}
