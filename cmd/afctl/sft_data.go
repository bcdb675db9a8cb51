package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"afctl/ckpt"
	"afctl/flow"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// sftLine is a line of `afctl sft`'s data: prompt and completion, both as ids or both as text, or messages.
type sftLine struct {
	Prompt     *idsOrText     `json:"prompt"`
	Completion *idsOrText     `json:"completion"`
	Messages   []ckpt.Message `json:"messages"`
}

// idsOrText is a list of token ids, or a string.
type idsOrText struct {
	ids  []int32
	text string
}

func (v *idsOrText) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	if d.PeekKind() == '"' {
		return json.UnmarshalDecode(d, &v.text)
	}
	return json.UnmarshalDecode(d, &v.ids)
}

// isText says that the line gave a string.
func (v *idsOrText) isText() bool { return v.ids == nil }

// sftReader turns lines into sequences for one model. The tokenizer and the chat template are read when a line needs them.
type sftReader struct {
	model *ckpt.Model
	*codec
}

// read returns a sequence per completion: one for each line with a prompt, one for each assistant message of a chat. Indices are
// left to the caller.
func (r *sftReader) read(ctx context.Context, in io.Reader, name string) ([]flow.Sequence, error) {
	var out []flow.Sequence
	for l, err := range eachLine(ctx, in, name) {
		if err != nil {
			return nil, err
		}
		seqs, err := r.line(l.text)
		if err != nil {
			return nil, l.wrap(err)
		}
		out = append(out, seqs...)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: found no line, expected an example per line", name)
	}
	return out, nil
}

func (r *sftReader) line(text []byte) ([]flow.Sequence, error) {
	var l sftLine
	if err := decodeLine(text, &l); err != nil {
		return nil, fmt.Errorf(`%w; expected a line {"prompt": ..., "completion": ...} of text or ids, or {"messages": [{"role": "...", "content": "..."}, ...]}`, err)
	}
	if l.Messages != nil {
		if l.Prompt != nil || l.Completion != nil {
			return nil, errors.New("messages: found beside prompt or completion, expected one or the other")
		}
		return r.chat(l.Messages)
	}
	switch {
	case l.Prompt == nil:
		return nil, errors.New("prompt: found none, expected prompt and completion (ids or text), or messages")
	case l.Completion == nil:
		return nil, errors.New("completion: found none, expected one beside prompt")
	case l.Prompt.isText() != l.Completion.isText():
		return nil, errors.New("prompt and completion: found text and ids, expected both of one kind")
	}
	prompt, completion := l.Prompt.ids, l.Completion.ids
	if l.Prompt.isText() {
		var err error
		if prompt, err = r.encodePrompt(l.Prompt.text); err != nil {
			return nil, fmt.Errorf("prompt: %w", err)
		}
		if completion, err = r.encodeCompletion(l.Completion.text); err != nil {
			return nil, fmt.Errorf("completion: %w", err)
		}
	}
	s, err := r.sequence(prompt, completion)
	return []flow.Sequence{s}, err
}

// sequence joins prompt and completion, checked against the model.
func (r *sftReader) sequence(prompt, completion []int32) (flow.Sequence, error) {
	for _, part := range []struct {
		name string
		ids  []int32
	}{{"prompt", prompt}, {"completion", completion}} {
		if len(part.ids) == 0 {
			return flow.Sequence{}, fmt.Errorf("%s: found no token, expected at least one", part.name)
		}
		if err := checkIDs(part.name, part.ids, &r.model.Config); err != nil {
			return flow.Sequence{}, err
		}
	}
	tokens := slices.Concat(prompt, completion)
	return flow.Sequence{Tokens: tokens, Start: len(prompt)}, checkLength("prompt and completion", len(tokens), &r.model.Config)
}

// chat makes a sequence of every assistant message: the prompt is what the template renders of the messages before it, up to where the
// model goes on; the completion is what it renders of the message.
func (r *sftReader) chat(messages []ckpt.Message) ([]flow.Sequence, error) {
	if err := r.loadTemplate(); err != nil {
		return nil, fmt.Errorf("messages: %w", err)
	}
	for i, m := range messages {
		if !slices.Contains([]string{"system", "user", "assistant"}, m.Role) {
			return nil, fmt.Errorf("messages[%d].role: found %q, expected system, user or assistant", i, shorten(m.Role))
		}
	}
	var out []flow.Sequence
	for i, m := range messages {
		if m.Role != "assistant" {
			continue
		}
		before, err := r.template.Render(messages[:i], ckpt.RenderOptions{AddGenerationPrompt: true, Now: templateDate})
		if err != nil {
			return nil, fmt.Errorf("messages[%d]: %w", i, err)
		}
		whole, err := r.template.Render(messages[:i+1], ckpt.RenderOptions{Now: templateDate})
		if err != nil {
			return nil, fmt.Errorf("messages[%d]: %w", i, err)
		}
		answer, ok := strings.CutPrefix(whole, before)
		if !ok {
			return nil, fmt.Errorf("messages[%d]: the chat template renders the messages before it otherwise when it follows: give prompt and completion", i)
		}
		prompt, err := r.tok.Encode(before, true) // the template writes BOS where one belongs
		if err != nil {
			return nil, err
		}
		completion, err := r.encodeCompletion(answer)
		if err != nil {
			return nil, err
		}
		s, err := r.sequence(prompt, completion)
		if err != nil {
			return nil, fmt.Errorf("messages[%d]: %w", i, err)
		}
		out = append(out, s)
	}
	if out == nil {
		return nil, errors.New("messages: found no assistant message, expected at least one to learn from")
	}
	return out, nil
}

// encodePrompt encodes a prompt, special tokens in it included, after BOS where the tokenizer wants one and the text has none.
func (r *sftReader) encodePrompt(text string) ([]int32, error) {
	if err := r.load(); err != nil {
		return nil, err
	}
	ids, err := r.tok.Encode(text, true)
	if err != nil {
		return nil, err
	}
	if bos, ok := r.tok.BOS(); ok && r.tok.Config.AddBOS && (len(ids) == 0 || ids[0] != bos) {
		ids = append([]int32{bos}, ids...)
	}
	return ids, nil
}

// encodeCompletion encodes what the model is to say: up to and with the first end token in it, where generation stops, or with one
// appended.
func (r *sftReader) encodeCompletion(text string) ([]int32, error) {
	if err := r.load(); err != nil {
		return nil, err
	}
	ids, err := r.tok.Encode(text, true)
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(ids, func(id int32) bool { return slices.Contains(r.stop, id) }); i >= 0 {
		return ids[:i+1], nil
	}
	end, ok := r.tok.EOS()
	if !ok {
		end = r.stop[0]
	}
	return append(ids, end), nil
}

func (r *sftReader) load() (err error) {
	if r.codec == nil {
		r.codec, err = newCodec(r.model)
	}
	return err
}

func (r *sftReader) loadTemplate() error {
	if err := r.load(); err != nil {
		return err
	}
	if r.tok.Config.ChatTemplate == "" {
		return fmt.Errorf("%s has no chat template, expected chat_template in tokenizer_config.json or chat_template.jinja", r.model.Name)
	}
	return r.parseTemplate()
}
