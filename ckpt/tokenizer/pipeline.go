package tokenizer

import (
	"errors"
	"fmt"
	"slices"

	"afctl/ckpt"
	"afctl/flow/strictjson"

	"github.com/go-json-experiment/json/jsontext"
)

// component is a step of the pipeline before or after the model, of any kind. An option that is not listed is an error,
// since it would change the ids.
type component struct {
	Type           string           `json:"type"`
	Normalizers    []jsontext.Value `json:"normalizers"`
	PreTokenizers  []jsontext.Value `json:"pretokenizers"`
	Pattern        *patternJSON     `json:"pattern"`
	Behavior       string           `json:"behavior"`
	Invert         bool             `json:"invert"`
	Decoders       []jsontext.Value `json:"decoders"`
	AddPrefixSpace *bool            `json:"add_prefix_space"`
	TrimOffsets    bool             `json:"trim_offsets"` // about offsets only
	UseRegex       *bool            `json:"use_regex"`
}

type patternJSON struct {
	Regex  *string `json:"Regex"`
	String *string `json:"String"`
}

// maxNesting bounds sequences within sequences.
const maxNesting = 8

// components are the types whose options a component has. Another one's are not read: what it is says enough.
var components = []string{"NFC", "Sequence", "Split", "ByteLevel"}

func readComponent(field string, value jsontext.Value) (component, error) {
	var c component
	var kind struct {
		Type string `json:"type"`
	}
	if err := ckpt.DecodeJSON(field, value, &kind, strictjson.IgnoreUnknown); err == nil && !slices.Contains(components, kind.Type) {
		return component{Type: kind.Type}, nil
	}
	return c, ckpt.DecodeJSON(field, value, &c, strictjson.RefuseUnknown)
}

func isNull(value jsontext.Value) bool { return len(value) == 0 || value.Kind() == 'n' }

func (t *Tokenizer) loadNormalizer(value jsontext.Value) error {
	return t.addNormalizer("normalizer", value, 0)
}

func (t *Tokenizer) addNormalizer(field string, value jsontext.Value, depth int) error {
	if isNull(value) {
		return nil
	}
	c, err := readComponent(field, value)
	switch {
	case err != nil:
		return err
	case c.Type == "NFC":
		t.nfc = true
		return nil
	case c.Type == "Sequence" && depth < maxNesting:
		for i, part := range c.Normalizers {
			if err := t.addNormalizer(fmt.Sprintf("%s/normalizers/%d", field, i), part, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	return unsupported("%s/type: found %.100q, expected null or \"NFC\"", field, c.Type)
}

// loadPreTokenizer reads Split, ByteLevel, or a Sequence of Splits that a ByteLevel ends.
func (t *Tokenizer) loadPreTokenizer(value jsontext.Value) error {
	done, err := t.addPreTokenizer("pre_tokenizer", value, 0)
	if err == nil && !done {
		return unsupported("pre_tokenizer: no ByteLevel at its end")
	}
	return err
}

// addPreTokenizer adds one step and says whether it is the last one that can be, ByteLevel.
func (t *Tokenizer) addPreTokenizer(field string, value jsontext.Value, depth int) (done bool, err error) {
	if isNull(value) {
		return false, nil
	}
	c, err := readComponent(field, value)
	if err != nil {
		return false, err
	}
	switch {
	case c.Type == "Split":
		return false, t.addSplit(field, c)
	case c.Type == "ByteLevel":
		if c.AddPrefixSpace == nil || *c.AddPrefixSpace { // the default is true
			return false, unsupported("%s/add_prefix_space: found true, expected false: it changes the text", field)
		}
		if c.UseRegex == nil || *c.UseRegex {
			pattern := gpt2Pattern
			return true, t.addSplit(field, component{Behavior: "Isolated", Pattern: &patternJSON{Regex: &pattern}})
		}
		return true, nil
	case c.Type == "Sequence" && depth < maxNesting:
		for i, part := range c.PreTokenizers {
			where := fmt.Sprintf("%s/pretokenizers/%d", field, i)
			if done {
				return false, unsupported("%s: a step after ByteLevel", where)
			}
			if done, err = t.addPreTokenizer(where, part, depth+1); err != nil {
				return false, err
			}
		}
		return done, nil
	}
	return false, unsupported("%s/type: found %.100q, expected \"Split\", \"ByteLevel\" or a \"Sequence\" of them", field, c.Type)
}

// Bounds on the steps that split, and on their expressions together: each step has its turn on every piece of a text, and the engine can be made to
// take the square of an expression's length before it has matched anything.
const (
	maxSplits          = 64
	maxExpressionBytes = 16 << 10
)

func (t *Tokenizer) addSplit(field string, c component) error {
	if c.Behavior != "Isolated" || c.Invert {
		return unsupported("%s: found behavior %.100q and invert %v, expected \"Isolated\" and false", field, c.Behavior, c.Invert)
	}
	if c.Pattern != nil && c.Pattern.String != nil {
		return unsupported("%s/pattern: found {\"String\": %.100q}, expected {\"Regex\": ...}", field, *c.Pattern.String)
	}
	if c.Pattern == nil || c.Pattern.Regex == nil {
		return errors.New(field + "/pattern: expected {\"Regex\": ...}")
	}
	size := len(*c.Pattern.Regex)
	for _, earlier := range t.splitters {
		size += len(earlier.re.String())
	}
	if len(t.splitters) == maxSplits || size > maxExpressionBytes {
		return unsupported("%s: found step %d that splits, with expressions of %d bytes so far, expected at most %d steps and %d bytes",
			field, len(t.splitters)+1, size, maxSplits, maxExpressionBytes)
	}
	s, err := newSplitter(field+"/pattern/Regex", *c.Pattern.Regex)
	if err != nil {
		return err
	}
	t.splitters = append(t.splitters, s)
	return nil
}

func checkDecoder(value jsontext.Value) error {
	if isNull(value) {
		return unsupported("decoder: found none, expected \"ByteLevel\"")
	}
	c, err := readComponent("decoder", value)
	if err == nil && c.Type != "ByteLevel" {
		err = unsupported("decoder/type: found %.100q, expected \"ByteLevel\"", c.Type)
	}
	return err
}
