package rollout

import (
	"bytes"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"strings"

	"afctl/flow/strictjson"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// maxArgs bounds the arguments of one call, in bytes.
const maxArgs = 64 << 10

// anyObject is the schema of a tool that states none.
const anyObject = `{"type":"object"}`

// compile makes the spec's schema ready for Validate.
func (s *ToolSpec) compile() error {
	if s.compiled != nil {
		return nil
	}
	if len(s.Schema) == 0 {
		s.Schema = stdjson.RawMessage(anyObject)
	}
	var doc any
	if err := json.Unmarshal(s.Schema, &doc); err != nil {
		return fmt.Errorf("tool %q: schema: %w", s.Name, err)
	}
	c := jsonschema.NewCompiler()
	// A schema is self-contained: nothing is loaded from a file or an address that it names.
	c.UseLoader(jsonschema.SchemeURLLoader{})
	const name = "tool:arguments"
	if err := c.AddResource(name, doc); err != nil {
		return fmt.Errorf("tool %q: schema: %w", s.Name, err)
	}
	compiled, err := c.Compile(name)
	if err != nil {
		return fmt.Errorf("tool %q: schema: %w", s.Name, err)
	}
	s.compiled = compiled
	return nil
}

// Validate checks arguments against the tool's schema: a JSON object without duplicate names that has the properties
// the schema asks for. The error is a *ToolError of KindBadArgs that names the property, what was found and what was
// expected.
func (s *ToolSpec) Validate(args stdjson.RawMessage) error {
	bad := func(format string, a ...any) error {
		return &ToolError{Kind: KindBadArgs, Message: s.Name + ": " + fmt.Sprintf(format, a...)}
	}
	if len(args) > maxArgs {
		return bad("arguments of %d bytes, at most %d are taken", len(args), maxArgs)
	}
	if err := s.compile(); err != nil {
		return bad("%v", err)
	}
	if k := jsontext.Value(args).Kind(); k != '{' {
		return bad("the arguments are %s, expected a JSON object", strictjson.KindName(k))
	}
	var value any
	if err := json.Unmarshal(args, &value); err != nil {
		return bad("the arguments are no JSON object: %v", err)
	}
	var invalid *jsonschema.ValidationError
	if err := s.compiled.Validate(value); errors.As(err, &invalid) {
		return bad("%s", explain(invalid))
	} else if err != nil {
		return bad("%v", err)
	}
	return nil
}

// explain flattens a validation error to its leaves: where, and what is wrong there.
func explain(e *jsonschema.ValidationError) string {
	english := message.NewPrinter(language.English)
	var parts []string
	var walk func(e *jsonschema.ValidationError)
	walk = func(e *jsonschema.ValidationError) {
		if len(e.Causes) > 0 {
			for _, c := range e.Causes {
				walk(c)
			}
			return
		}
		if _, group := e.ErrorKind.(*kind.Group); group {
			return
		}
		where := ""
		if len(e.InstanceLocation) > 0 {
			where = strings.Join(e.InstanceLocation, ".") + ": "
		}
		parts = append(parts, where+e.ErrorKind.LocalizedString(english))
	}
	walk(e)
	return clipBytes(strings.Join(parts, "; "), 500)
}

// compactArgs is args without white space between its tokens; values are kept as they were written.
func compactArgs(args stdjson.RawMessage) stdjson.RawMessage {
	v := jsontext.Value(bytes.Clone(args))
	if v.Compact() != nil {
		return nil
	}
	return stdjson.RawMessage(v)
}
