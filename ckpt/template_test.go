package ckpt

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
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
	if err := DecodeJSON(name, data, &cases, RefuseUnknown); err != nil {
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
			t.Errorf("%s %s: error %v, refusal %q expected", c.Template, c.Chat, err, c.Refused)
		case c.Refused == "" && err != nil:
			t.Errorf("%s %s: %v", c.Template, c.Chat, err)
		case c.Refused == "" && text != c.Text:
			t.Errorf("%s %s add=%v:\n got %q\nwant %q", c.Template, c.Chat, c.Add, text, c.Text)
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
		"include":           all + "{% include '/etc/passwd' %}",
		"extends":           "{% extends '/etc/passwd' %}" + all,
		"import":            all + "{% import '/etc/passwd' as p %}",
		"macro":             "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}" + all,
		"recursive for":     all + "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
		"endless range":     all + "{% for i in range(1000000000000) %}{% endfor %}",
		"loops in loops":    all + strings.Repeat("{% for i in range(60000) %}", 4) + strings.Repeat("{% endfor %}", 4),
		"messages left out": "hello",
		"refuses all":       "{{ raise_exception('never') }}",
		"too long":          all + strings.Repeat(" ", maxTemplateBytes),
		"strftime":          all + "{{ strftime_now('%Q') }}",
		"endless text":      all + "{% set a = 'aaaaaaaaaaaaaaaa' * 65536 %}{% for i in range(100) %}{{ a }}{% endfor %}",
	} {
		if _, err := ParseChatTemplate("t.jinja", source, nil); err == nil {
			t.Errorf("%s: accepted", name)
		} else if !strings.HasPrefix(err.Error(), "t.jinja: ") {
			t.Errorf("%s: the error does not name the file: %v", name, err)
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
	f.Fuzz(func(t *testing.T, source string) {
		template, err := ParseChatTemplate("fuzz", source, goldenTokens)
		if err != nil {
			return
		}
		if _, err := template.Render([]Message{{"user", "hello"}}, RenderOptions{}); err != nil {
			t.Fatalf("a chat of the probe's shape fails after the probe passed: %v", err)
		}
	})
}
