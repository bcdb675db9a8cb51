package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"afctl/ckpt"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// maxConfigBytes bounds a config file: many times what all keys with their comments take.
const maxConfigBytes = 1 << 16

// settings are a Config with the places that its values came from.
type settings struct {
	Config
	origin map[string]string // "afctl.yaml:12:3", "--set flow.kl" or "--model", of the keys that were given
}

// assignment is a key's value from the command line.
type assignment struct{ origin, key, value string }

// configSource says where settings come from; later ones replace earlier ones.
type configSource struct {
	file  string          // YAML; empty for none
	sets  []string        // key=value, the value in YAML
	flags []assignment    // flags that stand for a key
	own   func(c *Config) // what the command has in any case; nil for nothing
	scope []string        // keys and sections that sets may name, and !keys that they may not; nil for all
}

// readSettings reads the file, applies what the command line says, and checks the whole. Every error of content is a usageError that
// names its place and the key. The end of ctx ends waiting for a file that is a pipe.
//
// A key without effect is an error where it is given beside what takes its effect away. A key of the file is judged with what the command
// line adds: one that has an effect then is in order, and one that the command line makes void is merely overruled. Only one that has none
// either way is an error.
func readSettings(ctx context.Context, s configSource) (*settings, error) {
	st := &settings{Config: DefaultConfig(), origin: map[string]string{}}
	if s.file != "" {
		data, err := readConfigFile(ctx, s.file)
		if err != nil {
			return nil, err
		}
		if err := st.readYAML(s.file, data); err != nil {
			return nil, &usageError{err}
		}
	}
	fromFile, idle := maps.Clone(st.origin), map[string]string{} // what idle keys of the file have no effect with, by the file alone
	for k := range fromFile {
		if with := st.ineffective(k); with != "" {
			idle[k] = with
		}
	}
	for _, set := range s.sets {
		path, value, ok := strings.Cut(set, "=")
		if !ok {
			return nil, usagef("--set %s: found no =, expected key=value", set)
		}
		if err := st.assign(assignment{"--set " + path, path, value}, s.scope); err != nil {
			return nil, &usageError{err}
		}
		delete(fromFile, path)
	}
	for _, f := range s.flags {
		if before := st.origin[f.key]; strings.HasPrefix(before, "--set") {
			return nil, usagef("%s and %s contradict each other: leave one of the two out", f.origin, before)
		}
		if err := st.assign(f, nil); err != nil {
			return nil, &usageError{err}
		}
		delete(fromFile, f.key)
	}
	if s.own != nil {
		s.own(&st.Config)
	}
	for k := range fromFile {
		if st.ineffective(k) == "" {
			delete(idle, k)
		} else if idle[k] == "" {
			delete(st.origin, k)
		}
	}
	maps.DeleteFunc(idle, func(k, _ string) bool { return fromFile[k] == "" }) // given again by the command line
	if err := st.check(idle); err != nil {
		return nil, &usageError{err}
	}
	return st, nil
}

func readConfigFile(ctx context.Context, path string) ([]byte, error) {
	f, err := ckpt.OpenWaiting(ctx, path, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(&interruptible{ctx: ctx, r: f}, maxConfigBytes+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxConfigBytes {
		return nil, usagef("%s: more than %d bytes, too long for a config", path, maxConfigBytes)
	}
	data = bytes.TrimPrefix(data, []byte(ckpt.ByteOrderMark))
	for n, l := range bytes.Split(data, []byte("\n")) {
		if i := notText(l); i >= 0 {
			return nil, usagef("%s:%d:%d: found the byte 0x%02x, expected text in UTF-8", path, n+1, 1+utf8.RuneCount(l[:i]), l[i])
		}
	}
	return data, nil
}

// notText is the place of the first byte that no text file has: of a NUL, or of what is not UTF-8; -1 where there is none.
func notText(b []byte) int {
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == 0 || r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}

// readYAML sets what a file gives.
func (s *settings) readYAML(file string, data []byte) error {
	node, err := parseYAML(file, data)
	if err != nil || node == nil {
		return err
	}
	return s.section(file, "", node)
}

// parseYAML returns the one document of data; nil where there is none.
func parseYAML(where string, data []byte) (ast.Node, error) {
	parsed, err := parser.ParseBytes(data, 0)
	if err != nil {
		var syntax yaml.Error
		if errors.As(err, &syntax) && syntax.GetToken() != nil {
			p := syntax.GetToken().Position
			return nil, fmt.Errorf("%s:%d:%d: not YAML: %s", where, p.Line, p.Column, strings.ReplaceAll(syntax.GetMessage(), "\t", `\t`)) // a tab looks like a space
		}
		return nil, fmt.Errorf("%s: not YAML: %w", where, err)
	}
	var node ast.Node
	for _, d := range parsed.Docs {
		if _, directive := d.Body.(*ast.DirectiveNode); d.Body == nil || directive { // such as %YAML 1.2, before the document
			continue
		}
		if node != nil {
			return nil, fmt.Errorf("%s: found a second document, expected one", at(where, d.Body))
		}
		node = d.Body
	}
	return node, nil
}

// at is the place of a node: file, line and column.
func at(file string, n ast.Node) string {
	t := n.GetToken()
	if t == nil || t.Position == nil {
		return file
	}
	return fmt.Sprintf("%s:%d:%d", file, t.Position.Line, t.Position.Column)
}

// section sets the keys of a mapping; prefix is its path.
func (s *settings) section(file, prefix string, n ast.Node) error {
	entries, ok := mappingEntries(n)
	if !ok {
		what := "a mapping of keys to values"
		if prefix != "" {
			what = fmt.Sprintf("the keys of %s, one per line", prefix)
		}
		return fmt.Errorf("%s: found %s, expected %s", at(file, n), nodeKind(n), what)
	}
	for _, e := range entries {
		where := at(file, e.Key)
		name, ok := plainKey(e.Key)
		if !ok {
			return fmt.Errorf("%s: found the key %s, expected a plain name", where, shorten(e.Key.String()))
		}
		path := name
		if prefix != "" {
			path = prefix + "." + name
		}
		k, known := findKey(path)
		if dots := strings.Count(name, "."); known && dots > 0 {
			return fmt.Errorf("%s: %s: found a key with a dot, expected a section with a key: %s: ...%s", where, path,
				strings.ReplaceAll(name, ".", ": {"), strings.Repeat("}", dots))
		}
		if !known {
			return fmt.Errorf("%s: %s: unknown key; did you mean %s?", where, shorten(path), nearestKey(path))
		}
		if k.section() {
			if err := s.section(file, path, e.Value); err != nil {
				return err
			}
			continue
		}
		if _, twice := s.origin[path]; twice {
			return fmt.Errorf("%s: %s: found twice, expected once", where, path)
		}
		if err := setValue(k.value(&s.Config), e.Value); err != nil {
			return fmt.Errorf("%s: %s: %w", at(file, e.Value), path, err)
		}
		s.origin[path] = where
	}
	return nil
}

// inScope reports whether a scope, a list of keys and sections and of those of them that are out ("!key"), has a key.
func inScope(key string, scope []string) bool {
	return !slices.Contains(scope, "!"+key) && slices.ContainsFunc(scope, func(in string) bool { return key == in || strings.HasPrefix(key, in+".") })
}

// assign sets one key from the command line.
func (s *settings) assign(a assignment, scope []string) error {
	k, known := findKey(a.key)
	switch {
	case !known:
		return fmt.Errorf("%s: unknown key; did you mean %s?", shorten(a.origin), nearestKey(a.key))
	case k.section():
		in := slices.IndexFunc(configKeys(), func(x key) bool { return !x.section() && strings.HasPrefix(x.path, a.key+".") })
		return fmt.Errorf("%s: found a section, expected one of its keys, such as %s", a.origin, configKeys()[in].path)
	case scope != nil && !inScope(a.key, scope):
		in := slices.DeleteFunc(slices.Clone(scope), func(s string) bool { return s[0] == '!' })
		return fmt.Errorf("%s: has no effect on this command, expected keys of %s", a.origin, strings.Join(in, ", "))
	}
	err := setText(k.value(&s.Config), a.value)
	if err != nil {
		return fmt.Errorf("%s: %w", a.origin, err)
	}
	s.origin[a.key] = a.origin
	return nil
}

// check validates the values and looks for keys without effect; idle is for checkEffects.
func (s *settings) check(idle map[string]string) error {
	if err := s.checkEffects(idle); err != nil {
		return err
	}
	err := s.Validate()
	if err == nil {
		return nil
	}
	var errs []error
	for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
		var value *valueError
		if errors.As(e, &value) {
			e = s.located(value)
		}
		errs = append(errs, e)
	}
	return errors.Join(errs...)
}

// located puts before an error of a value where it was given.
func (s *settings) located(e *valueError) error {
	switch origin := s.origin[e.key]; origin {
	case "":
		return e
	case "--set " + e.key, "--" + e.key, "--" + e.key[strings.LastIndexByte(e.key, '.')+1:]: // which say the key
		return fmt.Errorf("%s: %s", origin, e.problem)
	default:
		return fmt.Errorf("%s: %w", origin, e)
	}
}

// checkEffects returns an error for every key that was given and has no effect. idle says of some what to name as the cause.
func (s *settings) checkEffects(idle map[string]string) error {
	var errs []error
	for _, k := range configKeys() {
		_, given := s.origin[k.path]
		if with := cmp.Or(idle[k.path], s.ineffective(k.path)); given && with != "" {
			errs = append(errs, s.located(&valueError{k.path, fmt.Sprintf("has no effect with %s: leave one of the two out", with)}))
		}
	}
	return errors.Join(errs...)
}

// given says whether a key was set by the file or the command line.
func (s *settings) given(path string) bool { return s.origin[path] != "" }
