package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"afctl/ckpt"
	"afctl/ckpt/tokenizer"
	"afctl/rollout"
)

// codec turns chat messages into a model's token ids and its tokens into text.
type codec struct {
	tok      *tokenizer.Tokenizer
	template *ckpt.ChatTemplate // nil before parseTemplate, or where the model has none: messages are put one after another
	stop     []int32            // end tokens: the model's and the tokenizer's
	specials []string           // texts of special tokens
}

// templateDate is today for chat templates that ask: fixed, so that a run can be repeated. It is the date that Llama 3's own template
// falls back to.
var templateDate = time.Date(2024, time.July, 26, 0, 0, 0, 0, time.UTC)

// newCodec reads the tokenizer of a model's folder.
func newCodec(m *ckpt.Model) (*codec, error) {
	tok, err := tokenizer.Load(m.Files, m.Name)
	if err != nil {
		return nil, fmt.Errorf("text needs the model's tokenizer: %w", err)
	}
	c := &codec{tok: tok, stop: slices.Clone(m.Config.EOSTokenIDs)}
	if id, ok := tok.EOS(); ok && !slices.Contains(c.stop, id) {
		c.stop = append(c.stop, id)
	}
	if len(c.stop) == 0 {
		return nil, fmt.Errorf("%s: found no end token, expected eos_token_id in config.json or eos_token in tokenizer_config.json", m.Name)
	}
	for id := range int32(tok.VocabSize()) {
		if tok.IsSpecial(id) {
			c.specials = append(c.specials, string(tok.TokenBytes(id)))
		}
	}
	return c, nil
}

// parseTemplate reads the model's chat template, if it has one.
func (c *codec) parseTemplate() (err error) {
	if f := &c.tok.Config; f.ChatTemplate != "" && c.template == nil {
		c.template, err = ckpt.ParseChatTemplate(f.ChatTemplateFile, f.ChatTemplate, f.SpecialTokens)
	}
	return err
}

// prompt returns the ids of a chat up to where the assistant answers. What messages say is text, also where it spells a special token.
func (c *codec) prompt(messages []rollout.Message) ([]int32, error) {
	hostile := slices.ContainsFunc(messages, func(m rollout.Message) bool {
		return slices.ContainsFunc(c.specials, func(s string) bool { return strings.Contains(m.Content, s) })
	})
	if !hostile {
		text, err := c.render(messages)
		if err != nil {
			return nil, err
		}
		return c.withBOS(c.tok.Encode(text, true))
	}
	// Contents stand as marks while the template is rendered, and are encoded on their own.
	marked := slices.Clone(messages)
	for i := range marked {
		marked[i].Content = mark(i)
	}
	text, err := c.render(marked)
	if err != nil {
		return nil, err
	}
	var ids []int32
	used, at := make([]bool, len(messages)), 0
	for _, m := range marks.FindAllStringSubmatchIndex(text, -1) { // a template may repeat a content
		i, err := strconv.Atoi(text[m[2]:m[3]])
		if err != nil || i >= len(messages) {
			return nil, errors.New("the chat template holds characters for private use")
		}
		own, err := c.tok.Encode(text[at:m[0]], true)
		if err != nil {
			return nil, err
		}
		content, err := c.tok.Encode(messages[i].Content, false)
		if err != nil {
			return nil, err
		}
		ids, used[i], at = append(append(ids, own...), content...), true, m[1]
	}
	if slices.Contains(used, false) {
		return nil, errors.New("the chat template leaves out a message that spells a special token")
	}
	rest, err := c.tok.Encode(text[at:], true)
	return c.withBOS(append(ids, rest...), err)
}

// withBOS puts BOS before a prompt that no template has written, where the tokenizer wants one: a template writes its own.
func (c *codec) withBOS(ids []int32, err error) ([]int32, error) {
	if bos, ok := c.tok.BOS(); err == nil && ok && c.template == nil && c.tok.Config.AddBOS {
		ids = append([]int32{bos}, ids...)
	}
	return ids, err
}

// mark stands for the content of message i: characters for private use.
func mark(i int) string { return fmt.Sprintf("\ue000%d\ue001", i) }

var marks = regexp.MustCompile("\ue000([0-9]+)\ue001")

func (c *codec) render(messages []rollout.Message) (string, error) {
	if c.template == nil {
		var b strings.Builder
		for _, m := range messages {
			b.WriteString(m.Content)
			b.WriteByte('\n')
		}
		return b.String(), nil
	}
	return c.template.Render(messages, ckpt.RenderOptions{AddGenerationPrompt: true, Now: templateDate})
}

// text is what ids say, special tokens left out.
func (c *codec) text(ids []int32) string { return c.tok.Decode(ids, true) }

// count is the number of tokens of a text, for memory budgets.
func (c *codec) count(text string) int {
	ids, err := c.tok.Encode(text, false)
	if err != nil {
		return len(text) // the most that a byte-level tokenizer makes of it
	}
	return len(ids)
}
