package ckpt

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"afctl/flow/strictjson"
)

// goldenClock is the time that testdata/make_templates.py fixes.
var goldenClock = time.Date(2024, 7, 26, 12, 34, 56, 0, time.UTC)

var goldenTokens = map[string]string{"bos_token": "<s>", "eos_token": "</s>"}

type goldenChat struct {
	Template string `json:"template"`
	Chat     string `json:"chat"`
	Messages []struct {
		Role    string `json:"role"`
		Content string `json:"content"`
	} `json:"messages"`
	Add     bool   `json:"add_generation_prompt"`
	Text    string `json:"text"`
	Refused string `json:"refused"`
}

func (g goldenChat) messages() []Message {
	var messages []Message
	for _, m := range g.Messages {
		messages = append(messages, Message(m))
	}
	return messages
}

func readGoldenChats(t *testing.T) []goldenChat {
	t.Helper()
	name := filepath.Join("testdata", "templates", "golden.json")
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var cases []goldenChat
	if err := DecodeJSON(name, data, &cases, strictjson.RefuseUnknown); err != nil {
		t.Fatal(err)
	}
	return cases
}

func parseTestTemplate(t *testing.T, file string) *ChatTemplate {
	t.Helper()
	source, err := os.ReadFile(filepath.Join("testdata", "templates", file))
	if err != nil {
		t.Fatal(err)
	}
	template, err := ParseChatTemplate(file, string(source), goldenTokens)
	if err != nil {
		t.Fatal(err)
	}
	return template
}

// Every text is the one that transformers renders, to the byte.
func TestChatTemplateGolden(t *testing.T) {
	templates := map[string]*ChatTemplate{}
	for _, c := range readGoldenChats(t) {
		if templates[c.Template] == nil {
			templates[c.Template] = parseTestTemplate(t, c.Template)
		}
		text, err := templates[c.Template].Render(c.messages(), RenderOptions{AddGenerationPrompt: c.Add, Now: goldenClock})
		var refusal *TemplateRefusal
		switch {
		case c.Refused != "" && (!errors.As(err, &refusal) || refusal.Message != c.Refused):
			t.Errorf("%s %s: error %v, expected refusal %q", c.Template, c.Chat, err, c.Refused)
		case c.Refused == "" && err != nil:
			t.Errorf("%s %s: %v", c.Template, c.Chat, err)
		case c.Refused == "" && text != c.Text:
			t.Errorf("%s %s add=%v:\n got %q\nwant %q", c.Template, c.Chat, c.Add, text, c.Text)
		}
	}
}

// What templates say in passing is rendered as transformers renders it, to the byte.
func TestChatTemplateSnippets(t *testing.T) {
	var snippets struct {
		Messages []struct {
			Role    string `json:"role"`
			Content string `json:"content"`
		} `json:"messages"`
		Rendered []struct {
			Source string `json:"source"`
			Text   string `json:"text"`
		} `json:"rendered"`
	}
	name := filepath.Join("testdata", "templates", "snippets.json")
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := DecodeJSON(name, data, &snippets, strictjson.RefuseUnknown); err != nil {
		t.Fatal(err)
	}
	var messages []Message
	for _, m := range snippets.Messages {
		messages = append(messages, Message(m))
	}
	for _, s := range snippets.Rendered {
		template, err := ParseChatTemplate("t.jinja", s.Source, goldenTokens)
		if err != nil {
			t.Errorf("%q: %v", s.Source, err)
			continue
		}
		if text, err := template.Render(messages, RenderOptions{Now: goldenClock}); err != nil || text != s.Text {
			t.Errorf("%q:\n got %q, %v\nwant %q", s.Source, text, err, s.Text)
		}
	}
}

// One template renders many chats at once; rollouts share it.
func TestChatTemplateConcurrent(t *testing.T) {
	template := parseTestTemplate(t, "qwen3_like.jinja")
	var group sync.WaitGroup
	for _, c := range readGoldenChats(t) {
		if c.Template != "qwen3_like.jinja" {
			continue
		}
		for range 4 {
			group.Go(func() {
				text, err := template.Render(c.messages(), RenderOptions{AddGenerationPrompt: c.Add})
				if err != nil || text != c.Text {
					t.Errorf("%s: %q, %v", c.Chat, text, err)
				}
			})
		}
	}
	group.Wait()
}

// What cannot be rendered, must not run, or leaves the messages out is an error when the template is parsed.
func TestChatTemplateRefused(t *testing.T) {
	const all = "{% for m in messages %}{{ m.content }}{% endfor %}"
	for name, source := range map[string]string{
		"syntax":            all + "{% if %}",
		"unknown filter":    all + "{{ messages | frobnicate }}",
		"unknown function":  all + "{{ frobnicate() }}",
		"unknown statement": all + "{% frobnicate %}",
		"unknown method":    all + "{% if false %}{{ 'a'.frobnicate() }}{% endif %}",
		"include":           all + "{% include '/etc/passwd' %}",
		"extends":           "{% extends '/etc/passwd' %}" + all,
		"import":            all + "{% import '/etc/passwd' as p %}",
		"macro":             "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}" + all,
		"recursive for":     all + "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
		"endless range":     all + "{% for i in range(1000000000000) %}{% endfor %}",
		"loops in loops":    all + strings.Repeat("{% for i in range(60000) %}", 4) + strings.Repeat("{% endfor %}", 4),
		"endless blocks":    strings.Repeat("{% if a %}", 6000),
		"messages left out": "hello",
		"refuses all":       "{{ raise_exception('never') }}",
		"too long":          all + strings.Repeat(" ", maxTemplateBytes),
		"strftime":          all + "{{ strftime_now('%Q') }}",
		"endless text":      all + "{% set a = 'aaaaaaaaaaaaaaaa' * 65536 %}{% for i in range(100) %}{{ a }}{% endfor %}",
	} {
		if _, err := ParseChatTemplate("t.jinja", source, nil); err == nil {
			t.Errorf("%s: accepted", name)
		} else if !strings.HasPrefix(err.Error(), "t.jinja: ") || len(err.Error()) > 1200 {
			t.Errorf("%s: the error does not name the file, or is of %d bytes: %.200v", name, len(err.Error()), err)
		}
	}
}

// An error says in which line and what, and nothing of the tree that the template is rewritten to.
func TestChatTemplateErrorText(t *testing.T) {
	for source, want := range map[string]string{
		"{{ ('a'.split(1) ~ 'x')[0] }}":                        `line 2: split: argument 1: found "1", expected a text`,
		"{% if true %}\n{{ nothing['a'].strip() }}{% endif %}": `line 3: item "a" of none`,
		"{{ [1].split() }}":                                    `line 2: split: a method of a text, not of "[1]"`,
		"{% set x = 'a'.replace('b') %}":                       `line 2: replace: no argument new`,
		"{{ 'a'.replace(old='a', new='b', times=1) }}":         `line 2: replace: found an argument of another name, expected old, new, count`,
		"{% if true %}\n{{ 1 / 0 }}{% endif %}":                `line 3: operator /: division by zero`,
		"{{ 1 % (1 - 1) }}":                                    `line 2: operator %: division by zero`,
		"{{ 1.5 // 0 }}":                                       `line 2: operator //: division by zero`,
		"{{ 0 ** -1 }}":                                        `line 2: operator **: division by zero`,
		"{{ 2 ** 64 }}":                                        `line 2: operator **: not supported: an integer of more than 64 bits`,
		"{{ 9223372036854775807 + 1 }}":                        `line 2: operator +: not supported: an integer of more than 64 bits`,
		"{{ (-8) ** 0.5 }}":                                    `line 2: operator **: not supported: a result that is no number, or too large`,
		"{{ nothing + 1 }}":                                    `line 2: operator +: found none and a number, expected two that it can take`,
		"{{ 'a' + 1 }}":                                        `line 2: operator +: found a text and a number, expected two that it can take`,
		"{{ 'a' < 1 }}":                                        `line 2: operator <: found a text and a number, expected two that it can take`,
		"{{ messages[0].content % 3 }}":                        `line 2: operator %: not supported: of a text: write it with ~, or with the filter format`,
	} {
		_, err := ParseChatTemplate("t.jinja", "{% for m in messages %}{{ m.content }}{% endfor %}\n"+source, nil)
		if want = "t.jinja: chat template: render chat template: " + want; err == nil || err.Error() != want {
			t.Errorf("%s: %v, expected %s", source, err, want)
		}
	}
}

// What the library would read in another way is refused when it is parsed, even where no chat comes by.
func TestChatTemplateOperatorsRefused(t *testing.T) {
	for source, want := range map[string]string{
		"{{ '%s' % 3 }}":                   "line 3: operator %: of a text",
		"{{ 'turn %d, %s' % (1, 'a') }}":   "line 3: operator %: of a text",
		"{{ 3 > 2 > 1 }}":                  "line 3: operator >: behind another comparison",
		"{% if 1 == 1 <= 2 %}a{% endif %}": "line 3: operator <=: behind another comparison",
	} {
		_, err := ParseChatTemplate("t.jinja", "{% for m in messages %}{{ m.content }}{% endfor %}\n{% if false %}\n"+source+"{% endif %}", nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, expected %q", source, err, want)
		}
	}
}

// hungryTemplates make more than memory holds, or what no stack holds, out of a few bytes.
func hungryTemplates() map[string]string {
	const all = "{% for m in messages %}{{ m.content }}{% endfor %}{% set a = 'a' * 4000000 %}{% set l = [1, 2] %}"
	again := func(s string) string { return all + strings.Repeat(s, 45) + "{{ l }}" }
	slices := all + "{% set l = range(60000) %}"
	for i := range 600 {
		slices += fmt.Sprintf("{%% set s%d = l[1:] %%}", i)
	}
	return map[string]string{
		"slices":            slices,
		"tilde":             again("{% set a = a ~ a %}"),
		"plus":              again("{% set a = a + a %}"),
		"many operands":     all + "{{ a" + strings.Repeat(" ~ a", 150) + " }}",
		"times":             all + "{{ 'a' * 100000000000 }}",
		"list times":        all + "{{ l * 100000000000 }}",
		"times text":        all + "{{ 100000000000 * 'a' }}",
		"times times":       all + "{{ 'a' * 10000 * 10000 * 10000 }}",
		"center":            all + "{{ 'x' | center(100000000000) }}",
		"map center":        all + "{{ range(60000) | map('center', 60000) | list }}",
		"batch":             all + "{{ l | batch(100000000000, fill_with=1) }}",
		"slice":             all + "{{ l | slice(100000000000) }}",
		"indent":            all + "{{ 'x\n' | indent(width=100000000000) }}",
		"indent lines":      all + "{% set n = '\n' * 10000 %}{{ n | indent(100000) }}",
		"join":              all + "{{ range(60000) | join(a) }}",
		"replace":           all + "{{ a | replace('a', a) }}",
		"wordwrap":          all + "{{ ('a ' * 1000000) | wordwrap(100000000) }}",
		"int":               all + "{{ ('9' * 4000000) | int }}",
		"list":              all + "{{ a | list }}",
		"format":            all + "{{ ('%999999d' * 30000) | format(1) }}",
		"format *":          all + "{{ ('%[1]*d' * 30000) | format(999999) }}",
		"escape":            all + "{% set e = '&' * 60000000 %}{{ e | e | e | e }}",
		"filter block":      all + "{% filter upper %}{% for i in range(60000) %}{{ a }}{% endfor %}{% endfilter %}",
		"set block":         all + "{% set x %}{% for i in range(60000) %}{{ a }}{% endfor %}{% endset %}",
		"method center":     all + "{{ 'x'.center(100000000000, 'x') }}",
		"method ljust":      all + "{{ 'x'.ljust(100000000000, 'x') }}",
		"method rjust":      all + "{{ 'x'.rjust(100000000000, 'x') }}",
		"method zfill":      all + "{{ 'x'.zfill(100000000000) }}",
		"method expandtabs": all + "{{ '\t\t\t\t'.expandtabs('', 10000000000) }}",
		"method join":       all + "{{ a.join(range(60000) | map('string') | list) }}",
		"method replace":    all + "{{ a.replace('a', a, -1) }}",
		"method split":      all + "{{ a.split('a') }}",
		"method format":     all + "{{ '{0:>999999999999}'.format('a') }}",
		"nested format":     all + "{{ '{0:>{1}}'.format('a', 999999999999) }}",
		"method format_map": all + "{{ '{a:>999999999999}'.format_map(a='a') }}",
		"chain of methods":  all + "{{ a" + strings.Repeat(".strip()", 200) + " }}",
		"for":               all + "{% for c in a %}{% endfor %}",
		"lists":             again("{% set l = l + l %}"),
		"lists of lists":    again("{% set l = [l, l] %}"),
		"tuples":            again("{% set l = (l, l) %}"),
		"dicts":             again("{% set l = {'a': l, 'b': l} %}"),
		"dict":              again("{% set l = dict(a=l, b=l) %}"),
		"namespaces":        again("{% set l = namespace(a=l, b=l) %}"),
		"append":            again("{% do l.append(l) %}"),
		"append strings":    again("{% do l.append(a) %}"),
		"new strings":       all + "{% for i in range(60000) %}{% do l.append(i ~ a) %}{% endfor %}",
		"namespace":         all + "{% set ns = namespace(a=a) %}{% for i in range(60) %}{% set ns.a = ns.a ~ ns.a %}{% endfor %}",
		"holds itself":      all + "{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}",
		"held by its list":  all + "{% set ns = namespace() %}{% set ns['a'] = [ns] %}{{ ns }}",
		"characters":        all + "{% for i in range(60000) %}{{ a[3000000] }}{% endfor %}",
		"its own pairs":     all + "{% set d = {'a': 1} %}{% set d.Pairs = {'a': d}.Pairs %}{{ d }}",
	}
}

func TestChatTemplateBounded(t *testing.T) {
	for name, source := range hungryTemplates() {
		var e excess
		if _, err := ParseChatTemplate("t.jinja", source, nil); !errors.As(err, &e) {
			t.Errorf("%s: %v", name, err)
		}
	}
	const all = "{% for m in messages %}{{ m.content }}{% endfor %}"
	for name, source := range map[string]string{
		"operands": all + "{{ frobnicate()" + strings.Repeat(" ~ 1", 16000) + " }}",
		"lists":    all + "{{ " + strings.Repeat("[", 10000) + strings.Repeat("]", 10000) + " }}",
		"blocks":   strings.Repeat("{% if 1 %}", 2000) + all + strings.Repeat("{% endif %}", 2000),
	} {
		if _, err := ParseChatTemplate("t.jinja", source, nil); err == nil || !strings.Contains(err.Error(), "deep") {
			t.Errorf("%s within one another: %.200v", name, err)
		}
	}
}

// What the parser would go into until the stack ends, and the process with it, is not parsed.
func TestChatTemplateBrackets(t *testing.T) {
	for _, source := range []string{"{{ " + strings.Repeat("[", 60000), strings.Repeat("{{", 30000), "{{ " + strings.Repeat("a(", 30000)} {
		if _, err := ParseChatTemplate("t.jinja", source, nil); err == nil || !strings.Contains(err.Error(), "opening brackets") {
			t.Errorf("%.20s: %.200v", source, err)
		}
	}
}

// What measures the values of a template changes none of them.
func TestChatTemplateMeteredValues(t *testing.T) {
	for source, want := range map[string]string{
		"{{ 'ab' * 2 ~ 3 * 4 }}{{ 1.5 * 2 + 1 }}{{ 'c' + 'd' }}":                                                          "abab124.0cd",
		"{% set l = [1] %}{% do l.append(2) %}{{ l + [3] }}":                                                              "[1, 2, 3]",
		"{{ 'a-b'.split('-')[::-1] | join('+') ~ 'abc'[1:] }}":                                                            "b+abc",
		"{{ 'x'.ljust(3, '.') ~ 'x' | center(3) ~ '7'.zfill(2) }}":                                                        "x.. x 07",
		"{{ '%s=%03d' | format('a', 7) ~ '{0:>3}'.format('b') }}":                                                         "a=007  b",
		"{% set x %}{% for i in range(3) %}{{ i }}{% endfor %}{% endset %}{{ x }}{% filter upper %}b{% endfilter %}":      "012B",
		"{% set ns = namespace(n=1) %}{% for i in [1, 2] %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}":               "4",
		"{% with a = 1 + 1 %}{{ a }}{% endwith %}{{ {'a': [1, (2, 3)]}['a'][1][0] }}{{ 'b' if 1 + 1 == 2 else 'c' * 2 }}": "22b",
	} {
		template, err := ParseChatTemplate("t.jinja", "{% for m in messages %}{{ m.content }}{% endfor %}|"+source, nil)
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		if text, err := template.Render([]Message{{"user", ""}}, RenderOptions{}); err != nil || text != "|"+want {
			t.Errorf("%s: %q, %v, expected %q", source, text, err, want)
		}
	}
}

func FuzzChatTemplate(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("testdata", "templates", "*.jinja"))
	if err != nil || len(files) == 0 {
		f.Fatal("no templates in testdata", err)
	}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(source))
	}
	f.Fuzz(func(t *testing.T, source string) { // not from hungryTemplates: on a busy machine one may take what a fuzzer calls a hang
		template, err := ParseChatTemplate("fuzz", source, goldenTokens)
		if err != nil {
			return
		}
		if _, err := template.Render([]Message{{"user", "hello"}}, RenderOptions{}); err != nil {
			t.Fatalf("a chat of the probe's shape fails after the probe passed: %v", err)
		}
	})
}
