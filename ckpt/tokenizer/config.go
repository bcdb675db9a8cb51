package tokenizer

import (
	"errors"
	"fmt"
	"io/fs"
	"path"

	"afctl/ckpt"
	"afctl/flow/strictjson"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Config is what tokenizer_config.json and chat_template.jinja say.
type Config struct {
	// ChatTemplate is the Jinja template of chats, empty if the folder has none.
	ChatTemplate string
	// ChatTemplateFile is where it stands.
	ChatTemplateFile string
	// SpecialTokens are contents by the names that templates use: "bos_token", "eos_token", "pad_token", "unk_token".
	SpecialTokens map[string]string
	// AddBOS says that a text begins with bos_token. A text rendered by a chat template has its own.
	AddBOS bool
}

const (
	configFile   = "tokenizer_config.json"
	templateFile = "chat_template.jinja"
)

// configJSON is tokenizer_config.json; Hugging Face's files have many more keys.
type configJSON struct {
	ChatTemplate chatTemplateJSON `json:"chat_template"`
	BOSToken     tokenJSON        `json:"bos_token"`
	EOSToken     tokenJSON        `json:"eos_token"`
	PadToken     tokenJSON        `json:"pad_token"`
	UnkToken     tokenJSON        `json:"unk_token"`
	AddBOSToken  *bool            `json:"add_bos_token"`
}

// tokenJSON is null, a string, or an object with the string as its content.
type tokenJSON struct{ content string }

func (t *tokenJSON) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	*t = tokenJSON{}
	if dec.PeekKind() != '{' {
		return json.UnmarshalDecode(dec, &t.content)
	}
	var object struct {
		Content string `json:"content"`
	}
	if err := json.UnmarshalDecode(dec, &object); err != nil {
		return err
	}
	t.content = object.Content
	return nil
}

// chatTemplateJSON is null, a template, or a list of named ones, of which "default" counts.
type chatTemplateJSON struct{ source string }

func (c *chatTemplateJSON) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	*c = chatTemplateJSON{}
	if dec.PeekKind() != '[' {
		return json.UnmarshalDecode(dec, &c.source)
	}
	var list []struct {
		Name     string `json:"name"`
		Template string `json:"template"`
	}
	if err := json.UnmarshalDecode(dec, &list); err != nil {
		return err
	}
	for _, item := range list {
		if item.Name == "default" {
			c.source = item.Template
			return nil
		}
	}
	if len(list) > 0 {
		return fmt.Errorf("found %d named templates, expected one of them called \"default\"", len(list))
	}
	return nil
}

// loadConfig reads the files that are there. A template in a file of its own holds against one in the configuration.
func loadConfig(fsys fs.FS, folder string) (Config, error) {
	c := Config{SpecialTokens: map[string]string{}}
	data, err := ckpt.ReadFile(fsys, folder, configFile, maxConfigBytes)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return c, err
	default:
		var raw configJSON
		if err := ckpt.DecodeJSON(path.Join(folder, configFile), data, &raw, strictjson.IgnoreUnknown); err != nil {
			return c, err
		}
		c.ChatTemplate, c.ChatTemplateFile = raw.ChatTemplate.source, path.Join(folder, configFile)
		c.AddBOS = raw.AddBOSToken != nil && *raw.AddBOSToken
		for name, token := range map[string]tokenJSON{
			"bos_token": raw.BOSToken, "eos_token": raw.EOSToken, "pad_token": raw.PadToken, "unk_token": raw.UnkToken,
		} {
			if token.content != "" {
				c.SpecialTokens[name] = token.content
			}
		}
	}
	template, err := ckpt.ReadFile(fsys, folder, templateFile, maxConfigBytes)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return c, nil
	case err != nil:
		return c, err
	}
	c.ChatTemplate, c.ChatTemplateFile = string(template), path.Join(folder, templateFile)
	return c, nil
}
