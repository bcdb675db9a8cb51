package ckpt

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strings"
	"time"

	"github.com/nikolalohinski/gonja/v2/builtins"
	"github.com/nikolalohinski/gonja/v2/config"
	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/loaders"
	"github.com/nikolalohinski/gonja/v2/parser"
)

// Message is one message of a chat.
type Message struct {
	Role    string `json:"role"` // "system", "user" or "assistant"
	Content string `json:"content"`
}

// RenderOptions are what a chat template is told beside the messages.
type RenderOptions struct {
	// AddGenerationPrompt ends the text where the model is to go on as the assistant.
	AddGenerationPrompt bool
	// Now is what strftime_now formats; the zero time is the time of the call. A run that is to be repeatable fixes it.
	Now time.Time
}

// ChatTemplate renders messages to the text that a model was trained to see, from the Jinja template that the model
// ships, with the settings and functions that transformers renders it with. Safe for concurrent use.
//
// Statements that reach outside the template (include, import, extends) and those that could run without end (macro,
// call, a recursive for) are refused when it is parsed. What goes beyond the bounds below is an error of the call that renders it.
type ChatTemplate struct {
	template *exec.Template
	tokens   map[string]string
}

// Bounds on a template, which is a program from outside: its length, the brackets that the library's parser may go into (each takes up to 16 KiB of a
// stack, whose end is the process's), what it may render and how large one of its values may be, how far range
// counts, how often all its loops together go round, and the bytes of all values that it makes on the way.
const (
	maxTemplateBytes = 64 << 10
	maxBrackets      = 16 << 10
	maxRenderedBytes = 64 << 20
	maxRange         = 1 << 16
	maxIterations    = 1 << 21
	maxMadeBytes     = maxIterations * itemBytes
)

// TemplateRefusal is the error of a template that called raise_exception: the template works, the messages are not as
// it wants them.
type TemplateRefusal struct{ Message string }

// Error is the template's message, and that it is the template's.
func (e *TemplateRefusal) Error() string {
	return "the chat template refuses these messages: " + e.Message
}

// ParseChatTemplate parses a template and renders a few chats with it, so that what the renderer does not know is an
// error now and not a wrong prompt later. name is for errors; tokens are the special tokens by the names that
// templates use, "bos_token", "eos_token", "pad_token" and so on.
func ParseChatTemplate(name, source string, tokens map[string]string) (*ChatTemplate, error) {
	if len(source) > maxTemplateBytes {
		return nil, fmt.Errorf("%s: found a chat template of %d bytes, expected at most %d", name, len(source), maxTemplateBytes)
	}
	if n := strings.Count(source, "(") + strings.Count(source, "[") + strings.Count(source, "{"); n > maxBrackets {
		return nil, fmt.Errorf("%s: found a chat template with %d opening brackets, expected at most %d", name, n, maxBrackets)
	}
	t := &ChatTemplate{tokens: maps.Clone(tokens)}
	err := guard(func() (err error) {
		t.template, err = newTemplate(source)
		return err
	})
	if err == nil {
		err = t.probe()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: chat template: %w", name, err)
	}
	return t, nil
}

// Render renders messages. A *TemplateRefusal if the template raised an exception.
func (t *ChatTemplate) Render(messages []Message, opts RenderOptions) (string, error) {
	now := opts.Now
	if now.IsZero() {
		now = time.Now()
	}
	var refusal *TemplateRefusal
	data := map[string]any{
		"messages":              messageValues(messages),
		"add_generation_prompt": opts.AddGenerationPrompt,
		"tools":                 nil,
		"documents":             nil,
		meterName:               new(meter),
		"range":                 boundedRange,
		"namespace":             globalFunction("namespace"),
		"dict":                  globalFunction("dict"),
		"strftime_now":          func(format string) (string, error) { return strftime(now, format) },
		"raise_exception": func(message string) (string, error) {
			refusal = &TemplateRefusal{message}
			return "", refusal
		},
	}
	for name, token := range t.tokens {
		data[name] = token
	}
	var out boundedBuilder
	err := guard(func() error { return t.template.Execute(&out, exec.NewContext(data)) })
	switch {
	case refusal != nil:
		return "", refusal
	case err != nil:
		return "", fmt.Errorf("render chat template: %w", innermost(err))
	}
	return out.String(), nil
}

// probe renders the shapes of chat that are asked for later: a user's message must do, with or without a system
// message; of the longer ones a template may refuse some in its own words.
func (t *ChatTemplate) probe() error {
	const mark = "probe of the template"
	user, system, assistant := Message{"user", mark}, Message{"system", "s"}, Message{"assistant", "a"}
	for i, messages := range [][]Message{{user}, {system, user}, {user, assistant, user}, {system, user, assistant}} {
		for _, add := range []bool{true, false} {
			text, err := t.Render(messages, RenderOptions{AddGenerationPrompt: add})
			var refusal *TemplateRefusal
			switch {
			case i > 0 && errors.As(err, &refusal):
			case err != nil:
				return err
			case !strings.Contains(text, mark):
				return fmt.Errorf("the user's message is not in the text that it renders: %.80q", text)
			}
		}
	}
	return nil
}

func newTemplate(source string) (*exec.Template, error) {
	const name = "/chat_template"
	cfg := config.New()
	cfg.TrimBlocks, cfg.LeftStripBlocks = true, false
	source = bracketOperands(stripIndents(source), cfg)
	loader, err := loaders.NewMemoryLoader(map[string]string{name: source})
	if err != nil {
		return nil, err
	}
	filters := map[string]exec.FilterFunction{}
	exec.NewFilterSet(filters).Update(builtins.Filters)
	filters["tojson"], filters["reverse"], filters["items"] = filterToJSON, filterReverse, ownMethods[".items"]
	for _, name := range overText {
		filters[name] = overCharacters(filters[name])
	}
	for name, method := range methodFilters {
		filters[name] = ofText(ownMethods[method])
	}
	for _, name := range endFilters {
		filters[missingName+" "+name] = orMissingEnd(filters[name])
	}
	maps.Copy(filters, ownMethods)
	for _, sign := range operators {
		filters[operatorName+sign] = operatorFilter(sign)
	}
	tests := exec.NewTestSet(maps.Clone(missingTests)).Update(builtins.Tests)
	if err := tests.Replace("sequence", testSequence); err != nil {
		return nil, err
	}
	statements := map[string]parser.ControlStructureParser{"for": parseFor, "set": parseSet, "generation": parseGeneration}
	for _, name := range []string{"if", "raw", "with", "filter", "do", "break", "continue"} {
		statements[name], _ = builtins.ControlStructures.Get(name)
	}
	template, err := exec.NewTemplate(name, cfg, loader, &exec.Environment{
		Context:           exec.EmptyContext(),
		Filters:           exec.NewFilterSet(meteredFilters(filters)),
		Tests:             tests,
		ControlStructures: exec.NewControlStructureSet(statements),
		Methods:           builtins.Methods,
	})
	if err != nil { // the library's error quotes the whole template, and names every block that it is within
		return nil, unsupported("%.1000s", strings.Replace(err.Error(), source, "...", 1))
	}
	return template, meterTree(template.Root())
}

// innermost is an error of the library without the expressions that it lists from the outside in, which are those of the rewritten tree; of their lines
// the last stays.
func innermost(err error) error {
	line := ""
	if lines := atLine.FindAllStringSubmatch(err.Error(), -1); lines != nil {
		line = "line " + lines[len(lines)-1][1] + ": "
	}
	for {
		var next error
		if v, ok := err.(*exec.Value); ok {
			next, _ = v.Interface().(error)
		} else if wrapped, ok := err.(interface{ Cause() error }); ok {
			next = wrapped.Cause()
		} else if wrapped := errors.Unwrap(err); wrapped != nil && strings.HasPrefix(err.Error(), "unable to execute template: ") {
			next = wrapped
		}
		if next == nil {
			break
		}
		err = next
	}
	if own := ownFilter.FindStringIndex(err.Error()); own != nil {
		return fmt.Errorf("%s%s", line, err.Error()[own[1]:])
	}
	return fmt.Errorf("%s%w", line, err)
}

var (
	atLine    = regexp.MustCompile(`at line ([0-9]+): `)
	ownFilter = regexp.MustCompile(`(?s)^.*invalid call to filter '(?:\.[a-z]+|[^']* [^']*|for)': `)
)

// guard turns a panic of the template library, which templates from outside may find a way to, and an excess into an error.
func guard(f func() error) (err error) {
	defer func() {
		r := recover()
		if e, ok := r.(excess); ok {
			err = e
		} else if r != nil {
			err = fmt.Errorf("the template library failed: %v", r)
		}
	}()
	return f()
}

// boundedBuilder is a strings.Builder that refuses to grow without end.
type boundedBuilder struct{ strings.Builder }

func (b *boundedBuilder) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxRenderedBytes {
		return 0, fmt.Errorf("more than %d bytes rendered", maxRenderedBytes)
	}
	return b.Builder.Write(p)
}

// WriteString shadows the embedded one, which would pass the bound by.
func (b *boundedBuilder) WriteString(s string) (int, error) { return b.Write([]byte(s)) }
