package main

import (
	"bytes"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// marshalConfig writes c as YAML that readSettings reads back to c: every key that has an effect, in the order of Config. With
// comments, each is explained, and keys without effect stand there as comments. Keys that are left out keep their defaults there.
func marshalConfig(c *Config, comments bool, leftOut ...string) []byte {
	var b bytes.Buffer
	for i, k := range configKeys() {
		without := c.ineffective(k.path)
		if without != "" && !comments || slices.Contains(leftOut, k.path) {
			continue
		}
		indent := strings.Repeat("  ", k.depth())
		if comments {
			if i > 0 && k.section() {
				b.WriteByte('\n')
			}
			fmt.Fprintf(&b, "%s# %s\n", indent, keyHelp[k.path])
			if without != "" {
				indent += "# "
			}
		}
		fmt.Fprintf(&b, "%s%s:", indent, k.name())
		if !k.section() {
			b.WriteString(" " + yamlText(k.value(c)))
		}
		if without != "" && c.ineffective(k.parent()) == "" {
			b.WriteString(" # no effect with " + without)
		}
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// yamlText is a value as YAML on one line.
func yamlText(v reflect.Value) string {
	switch v.Kind() {
	case reflect.String:
		return yamlString(v.String())
	case reflect.Float64:
		return yamlFloat(v.Float())
	case reflect.Slice:
		parts := make([]string, v.Len())
		for i := range parts {
			parts[i] = yamlText(v.Index(i))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return fmt.Sprint(v.Interface())
}

// plainText matches strings that need no quotes in any YAML: nothing that could be a number, a boolean, null or an indicator.
var plainText = regexp.MustCompile(`^[A-Za-z/][A-Za-z0-9._/:-]*[A-Za-z0-9/]$`)

func yamlString(s string) string {
	switch strings.ToLower(s) {
	case "true", "false", "null", "yes", "no", "on", "off":
		return strconv.Quote(s)
	}
	if plainText.MatchString(s) {
		return s
	}
	return strconv.Quote(s)
}

// yamlFloat writes a point before an exponent: some readers of YAML take 1e-05 for a string.
func yamlFloat(f float64) string {
	s := strconv.FormatFloat(f, 'g', -1, 64)
	if i := strings.IndexByte(s, 'e'); i >= 0 && !strings.Contains(s, ".") {
		s = s[:i] + ".0" + s[i:]
	}
	return s
}
