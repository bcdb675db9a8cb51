package main

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// Values are read from the nodes' text rather than by the YAML library: it takes 1e-5 for a string, 010 for eight, and a number
// where a string belongs.

// mappingEntries returns the entries of a mapping; none for an empty value.
func mappingEntries(n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	case *ast.NullNode:
		return nil, n.GetToken() == nil || n.GetToken().Type == token.ImplicitNullType // all keys are comments; a null that is written is none
	}
	return nil, false
}

// plainKey is the name of a key.
func plainKey(n ast.MapKeyNode) (string, bool) {
	s, ok := n.(*ast.StringNode)
	if !ok {
		return "", false
	}
	return s.Value, true
}

// nodeKind names what a node is, for a reader of an error.
func nodeKind(n ast.Node) string {
	switch n := n.(type) {
	case nil:
		return "nothing"
	case *ast.NullNode:
		return "an empty value"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a section"
	case *ast.SequenceNode:
		return "a list"
	case *ast.AnchorNode, *ast.AliasNode:
		return "an anchor or alias"
	case *ast.TagNode:
		return "a tag"
	case *ast.StringNode:
		return strconv.Quote(shorten(n.Value))
	case *ast.LiteralNode:
		return "a block of text"
	}
	return shorten(n.String())
}

// shorten cuts what a file may have made as long as it likes.
func shorten(s string) string {
	const most = 80
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "..."
	}
	return s
}

// plain is the text of an unquoted scalar.
func plain(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, n.Token.Type != token.SingleQuoteType && n.Token.Type != token.DoubleQuoteType
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NanNode, *ast.InfinityNode:
		return strings.TrimSpace(n.GetToken().Value), true
	}
	return "", false
}

// setValue stores a node's value in v, a field of Config that is no section.
func setValue(v reflect.Value, n ast.Node) error {
	bad := func(expected string) error { return fmt.Errorf("found %s, expected %s", nodeKind(n), expected) }
	text, isPlain := plain(n)
	switch v.Kind() {
	case reflect.String:
		s, ok := n.(*ast.StringNode)
		if !ok {
			return bad("a string (in quotes where it looks like something else)")
		}
		v.SetString(s.Value)
	case reflect.Bool:
		if !isPlain || text != "true" && text != "false" {
			return bad("true or false")
		}
		v.SetBool(text == "true")
	case reflect.Int:
		i, err := strconv.ParseInt(text, 10, 64)
		if !isPlain || err != nil {
			return bad(fmt.Sprintf("a whole number up to %d", math.MaxInt32))
		}
		v.SetInt(i)
	case reflect.Uint64:
		u, err := strconv.ParseUint(text, 10, 64)
		if !isPlain || err != nil {
			return bad(fmt.Sprintf("a whole number from 0 to %d", uint64(math.MaxUint64)))
		}
		v.SetUint(u)
	case reflect.Float64:
		f, err := strconv.ParseFloat(text, 64)
		if !isPlain || err != nil || math.IsNaN(f) || math.IsInf(f, 0) || strings.ContainsAny(text, "xXpP_") {
			return bad("a finite number")
		}
		if digits, _, _ := strings.Cut(strings.ToLower(text), "e"); f == 0 && strings.ContainsAny(digits, "123456789") {
			return bad("0, or a number that is not too small for 64 bits")
		}
		v.SetFloat(f)
	case reflect.Slice:
		list, ok := n.(*ast.SequenceNode)
		if !ok {
			return bad("a list, such as [a, b]")
		}
		out := reflect.Zero(v.Type()) // an empty list is nil, as in the defaults
		if n := len(list.Values); n > 0 {
			out = reflect.MakeSlice(v.Type(), n, n)
		}
		for i, e := range list.Values {
			if err := setValue(out.Index(i), e); err != nil {
				return fmt.Errorf("[%d]: %w", i, err)
			}
		}
		v.Set(out)
	default:
		return errors.New("a value of this type cannot be set")
	}
	return nil
}

// setText stores a value from the command line. Where a string belongs, the text is taken as it is, unless it is in quotes: paths may
// hold anything.
func setText(v reflect.Value, text string) error {
	if v.Kind() == reflect.String && !strings.HasPrefix(text, `"`) && !strings.HasPrefix(text, "'") {
		v.SetString(text)
		return nil
	}
	const where = "value" // of no use in a message: it is one line
	n, err := parseYAML(where, []byte(text))
	if err != nil {
		_, problem, _ := strings.Cut(err.Error(), ": ")
		return fmt.Errorf("found %q: %s", shorten(text), problem)
	}
	if n == nil {
		return errors.New("found no value")
	}
	return setValue(v, n)
}
