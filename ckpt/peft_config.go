package ckpt

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// AdapterConfig is what adapter_config.json of a PEFT folder says about a LoRA, in PEFT's names.
type AdapterConfig struct {
	BaseModelNameOrPath string
	R                   int     // rank where no rank pattern matches
	LoraAlpha           float64 // alpha where no alpha pattern matches
	LoraDropout         float64 // kept, never applied: log-probs must not depend on chance
	UseRSLoRA           bool    // scale is alpha/sqrt(r), not alpha/r (Kalajdzievski 2023)
	TargetModules       Targets
	ExcludeModules      Targets // of the targets, those that have no adapter
	LayersToTransform   []int   // of the targets that the end of a name gives; nil for all
	RankPattern         Patterns[int]
	AlphaPattern        Patterns[float64]
}

// Targets say which modules have an adapter: names, or one regular expression. A module is a target if its name, such
// as "model.layers.0.self_attn.q_proj", is in the list, ends in "." and an entry, or matches the whole expression.
type Targets struct {
	Names  []string
	Regexp string // used where Names is nil
}

// allLinear is PEFT's word for all matrices but the head.
const allLinear = "all-linear"

// Pattern is a setting for the modules whose name matches ^(.*\.)?(Key)$.
type Pattern[T int | float64] struct {
	Key   string
	Value T
}

// Patterns are in the order of the file, since the first match holds.
type Patterns[T int | float64] []Pattern[T]

// modulePath is a projection's name in the model, as targets and patterns see it.
func modulePath(layer int, name string) string {
	return fmt.Sprintf("model.layers.%d.%s", layer, ProjectionPath(name))
}

// maxRank bounds a rank; no matrix adapted here has more rows or columns.
const maxRank = maxIntermediateSize

// maxModules bounds lists that are looked through for each module.
const maxModules = 8 * maxLayers

// Bounds on an expression and on all of an adapter: the engine can be made to take the square of one's length before it has matched anything.
const (
	maxExpressionBytes  = 16 << 10
	maxExpressionsBytes = 128 << 10
)

func (c *AdapterConfig) validate() error {
	rank := func(field string, r int) error {
		if r < 1 || r > maxRank {
			return fmt.Errorf("%.100s: found %d, expected 1 to %d", field, r, maxRank)
		}
		return nil
	}
	alpha := func(field string, a float64) error {
		switch {
		case a == 0:
			return fmt.Errorf("%.100s: found 0, expected a number > 0: 0 would switch the adapter off in some programs and not in others", field)
		case !(a > 0) || math.IsInf(a, 0):
			return fmt.Errorf("%.100s: found %v, expected a number > 0", field, a)
		}
		return nil
	}
	if err := rank("r", c.R); err != nil {
		return err
	}
	if err := alpha("lora_alpha", c.LoraAlpha); err != nil {
		return err
	}
	if !(c.LoraDropout >= 0 && c.LoraDropout < 1) {
		return fmt.Errorf("lora_dropout: found %v, expected 0 <= dropout < 1", c.LoraDropout)
	}
	bytes := 0
	expression := func(field, e string) error {
		if bytes += len(e); len(e) > maxExpressionBytes || bytes > maxExpressionsBytes {
			return fmt.Errorf("%s: found an expression of %d bytes, and %d bytes of all so far, expected at most %d and %d", field, len(e), bytes, maxExpressionBytes, maxExpressionsBytes)
		}
		return nil
	}
	if err := cmp.Or(expression("target_modules", c.TargetModules.Regexp), expression("exclude_modules", c.ExcludeModules.Regexp)); err != nil {
		return err
	}
	for _, p := range c.RankPattern {
		if err := cmp.Or(expression("rank_pattern", p.Key), rank("rank_pattern/"+p.Key, p.Value)); err != nil {
			return err
		}
	}
	for _, p := range c.AlphaPattern {
		if err := cmp.Or(expression("alpha_pattern", p.Key), alpha("alpha_pattern/"+p.Key, p.Value)); err != nil {
			return err
		}
	}
	for _, list := range []struct {
		field string
		n     int
	}{{"target_modules", len(c.TargetModules.Names)}, {"exclude_modules", len(c.ExcludeModules.Names)}, {"layers_to_transform", len(c.LayersToTransform)},
		{"rank_pattern", len(c.RankPattern)}, {"alpha_pattern", len(c.AlphaPattern)}} {
		if list.n > maxModules {
			return fmt.Errorf("%s: found %d entries, expected at most %d, one for each module of a large model", list.field, list.n, maxModules)
		}
	}
	if c.LayersToTransform != nil && c.TargetModules.Names == nil {
		return fmt.Errorf("layers_to_transform: found beside one expression in target_modules, expected beside a list of names, as in PEFT")
	}
	for _, entry := range c.TargetModules.Names {
		if _, _, ok := listedModule(entry); !ok {
			return unsupported("target_modules: found %.100q, expected modules out of %q", entry, Projections)
		}
	}
	if len(c.TargetModules.Names) == 0 && c.TargetModules.Regexp == "" {
		return fmt.Errorf("target_modules: found nothing, expected a list of names or a regular expression")
	}
	return nil
}

// listed is an entry of a list of targets: a module's name from any of its parts on.
var listed = regexp.MustCompile(`^(?:(?:(?:model\.)?layers\.)?(0|[1-9][0-9]{0,8})\.)?(?:(?:self_attn|mlp)\.)?([a-z]+_proj)$`)

// listedModule takes an entry of a list of targets apart: a projection, and its layer, or -1 where the entry means that of every layer. An entry that
// means no module of any model is a misspelling, or stands for an adapter that is not read here.
func listedModule(entry string) (layer int, name string, ok bool) {
	match := listed.FindStringSubmatch(entry)
	if match == nil || !slices.Contains(Projections, match[2]) {
		return -1, "", false
	}
	layer = -1
	if match[1] != "" {
		layer, _ = strconv.Atoi(match[1]) // nine digits
	}
	return layer, match[2], layer < maxLayers && namesModule(entry, modulePath(max(layer, 0), match[2]))
}

// UnmarshalJSONFrom reads a list or a string.
func (t *Targets) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	*t = Targets{}
	if dec.PeekKind() == '"' {
		return json.UnmarshalDecode(dec, &t.Regexp)
	}
	return json.UnmarshalDecode(dec, &t.Names)
}

// layerList is null, one layer, or a list of them, which says nothing where it is empty.
type layerList []int

func (l *layerList) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	*l = nil
	if kind := dec.PeekKind(); kind == '[' || kind == 'n' {
		var list []int
		err := json.UnmarshalDecode(dec, &list)
		if len(list) > 0 {
			*l = list
		}
		return err
	}
	*l = layerList{0}
	return json.UnmarshalDecode(dec, &(*l)[0])
}

// MarshalJSONTo writes what UnmarshalJSONFrom reads.
func (t Targets) MarshalJSONTo(enc *jsontext.Encoder) error {
	if t.Names == nil {
		return json.MarshalEncode(enc, t.Regexp)
	}
	return json.MarshalEncode(enc, t.Names)
}

// UnmarshalJSONFrom reads an object, whose order it keeps, or null.
func (p *Patterns[T]) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	*p = nil
	if dec.PeekKind() != '{' {
		var null *struct{}
		return json.UnmarshalDecode(dec, &null)
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for dec.PeekKind() != '}' {
		key, err := dec.ReadToken()
		if err != nil {
			return err
		}
		pattern := Pattern[T]{Key: key.String()}
		if err := json.UnmarshalDecode(dec, &pattern.Value); err != nil {
			return err
		}
		*p = append(*p, pattern)
	}
	_, err := dec.ReadToken()
	return err
}

// MarshalJSONTo writes what UnmarshalJSONFrom reads.
func (p Patterns[T]) MarshalJSONTo(enc *jsontext.Encoder) error {
	if err := enc.WriteToken(jsontext.BeginObject); err != nil {
		return err
	}
	for _, pattern := range p {
		if err := enc.WriteToken(jsontext.String(pattern.Key)); err != nil {
			return err
		}
		if err := json.MarshalEncode(enc, pattern.Value); err != nil {
			return err
		}
	}
	return enc.WriteToken(jsontext.EndObject)
}
