package tokenizer

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"afctl/ckpt"

	"github.com/go-json-experiment/json"
)

func editTokenizer(t *testing.T, edit func(raw, model map[string]any)) error {
	t.Helper()
	var raw map[string]any
	if err := json.Unmarshal(readTestdata(t, "qwen2.json"), &raw); err != nil {
		t.Fatal(err)
	}
	edit(raw, raw["model"].(map[string]any))
	data, err := json.Marshal(raw)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Parse("tokenizer.json", data)
	return err
}

// A tokenizer of another kind, or one that is torn, is refused by the name of its field.
func TestParseRefused(t *testing.T) {
	first := func(raw map[string]any, key string) map[string]any {
		return raw[key].([]any)[0].(map[string]any)
	}
	split := func(raw map[string]any) map[string]any {
		return first(raw["pre_tokenizer"].(map[string]any), "pretokenizers")
	}
	for name, test := range map[string]struct {
		edit        func(raw, model map[string]any)
		want        string
		unsupported bool
	}{
		"nothing":       {func(raw, model map[string]any) {}, "", false},
		"no model":      {func(raw, model map[string]any) { delete(raw, "model") }, "model: missing", false},
		"no type":       {func(raw, model map[string]any) { delete(model, "type") }, "", false},
		"WordLevel":     {func(raw, model map[string]any) { model["type"] = "WordLevel" }, "model/type", true},
		"dropout":       {func(raw, model map[string]any) { model["dropout"] = 0.1 }, "model/dropout", true},
		"byte_fallback": {func(raw, model map[string]any) { model["byte_fallback"] = true }, "model/byte_fallback", true},
		"prefix":        {func(raw, model map[string]any) { model["continuing_subword_prefix"] = "##" }, "model/continuing_subword_prefix", true},
		"suffix":        {func(raw, model map[string]any) { model["end_of_word_suffix"] = "</w>" }, "model/end_of_word_suffix", true},
		"byte missing": {func(raw, model map[string]any) {
			delete(model["vocab"].(map[string]any), "Ġ")
			model["merges"] = []any{}
		}, "byte 0x20", true},
		"id twice":         {func(raw, model map[string]any) { model["vocab"].(map[string]any)["new"] = 5 }, "id 5", false},
		"id negative":      {func(raw, model map[string]any) { model["vocab"].(map[string]any)["new"] = -5 }, "id -5", false},
		"id huge":          {func(raw, model map[string]any) { model["vocab"].(map[string]any)["new"] = 2000000000 }, "id 2000000000", false},
		"id a fraction":    {func(raw, model map[string]any) { model["vocab"].(map[string]any)["new"] = 5.5 }, "/model/vocab/new", false},
		"empty token":      {func(raw, model map[string]any) { model["vocab"].(map[string]any)[""] = 4000 }, "empty token", false},
		"merge of one":     {func(raw, model map[string]any) { model["merges"] = []any{"abc"} }, "/model/merges/0", false},
		"merge of three":   {func(raw, model map[string]any) { model["merges"] = []any{[]any{"a", "b", "c"}} }, "/model/merges/0: found a merge of 3 tokens, expected one of 2", false},
		"merge to nothing": {func(raw, model map[string]any) { model["merges"] = []any{"~ ~"} }, `"~~" is not in the vocabulary`, false},
		"no merges":        {func(raw, model map[string]any) { model["merges"] = nil }, "model/merges: missing or null", false},
		"merge twice": {func(raw, model map[string]any) {
			model["merges"] = append(model["merges"].([]any), model["merges"].([]any)[0])
		}, "merged before", false},
		"lowercase":          {func(raw, model map[string]any) { raw["normalizer"] = map[string]any{"type": "Lowercase"} }, "normalizer/type", true},
		"normalizer unknown": {func(raw, model map[string]any) { raw["normalizer"] = map[string]any{"type": "NFC", "mode": 1} }, "/mode", false},
		"no pre-tokenizer":   {func(raw, model map[string]any) { raw["pre_tokenizer"] = nil }, "pre_tokenizer", true},
		"WhitespaceSplit":    {func(raw, model map[string]any) { raw["pre_tokenizer"] = map[string]any{"type": "WhitespaceSplit"} }, "pre_tokenizer/type", true},
		"Metaspace": {func(raw, model map[string]any) {
			raw["pre_tokenizer"] = map[string]any{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"}
		}, `pre_tokenizer/type: found "Metaspace", expected "Split", "ByteLevel" or a "Sequence" of them`, true},
		"Prepend": {func(raw, model map[string]any) {
			raw["normalizer"] = map[string]any{"type": "Sequence", "normalizers": []any{map[string]any{"type": "Prepend", "prepend": "▁"}}}
		}, `normalizer/normalizers/0/type: found "Prepend", expected null or "NFC"`, true},
		"prefix space": {func(raw, model map[string]any) {
			raw["pre_tokenizer"] = map[string]any{"type": "ByteLevel", "add_prefix_space": true}
		}, "add_prefix_space", true},
		"removed":            {func(raw, model map[string]any) { split(raw)["behavior"] = "Removed" }, "pre_tokenizer/pretokenizers/0", true},
		"a string pattern":   {func(raw, model map[string]any) { split(raw)["pattern"] = map[string]any{"String": " "} }, `/pattern: found {"String": " "}`, true},
		"a wrong expression": {func(raw, model map[string]any) { split(raw)["pattern"] = map[string]any{"Regex": "("} }, "pattern/Regex", false},
		"steps after the end": {func(raw, model map[string]any) {
			p := raw["pre_tokenizer"].(map[string]any)
			p["pretokenizers"] = append(p["pretokenizers"].([]any), split(raw))
		}, "pretokenizers/2", true},
		"many steps": {func(raw, model map[string]any) {
			p := raw["pre_tokenizer"].(map[string]any)
			p["pretokenizers"] = slices.Insert(p["pretokenizers"].([]any), 0, slices.Repeat([]any{split(raw)}, maxSplits)...)
		}, "pre_tokenizer/pretokenizers/64: found step 65 that splits", true},
		"a long expression": {func(raw, model map[string]any) {
			split(raw)["pattern"] = map[string]any{"Regex": strings.Repeat("(?:a.)", 3000)}
		}, "found step 1 that splits, with expressions of 18000 bytes so far", true},
		"long expressions": {func(raw, model map[string]any) {
			split(raw)["pattern"] = map[string]any{"Regex": strings.Repeat("a", 6000)}
			p := raw["pre_tokenizer"].(map[string]any)
			p["pretokenizers"] = slices.Insert(p["pretokenizers"].([]any), 0, any(split(raw)), any(split(raw)))
		}, "found step 3 that splits, with expressions of 18000 bytes so far", true},
		"no decoder":         {func(raw, model map[string]any) { raw["decoder"] = nil }, "decoder", true},
		"another decoder":    {func(raw, model map[string]any) { raw["decoder"] = map[string]any{"type": "Metaspace"} }, "decoder", true},
		"lstrip":             {func(raw, model map[string]any) { first(raw, "added_tokens")["lstrip"] = true }, "added_tokens/0", true},
		"single word":        {func(raw, model map[string]any) { first(raw, "added_tokens")["single_word"] = true }, "added_tokens/0", true},
		"added empty":        {func(raw, model map[string]any) { first(raw, "added_tokens")["content"] = "" }, "content: empty", false},
		"added over another": {func(raw, model map[string]any) { first(raw, "added_tokens")["id"] = 7 }, "id: found 7", false},
		"added beyond":       {func(raw, model map[string]any) { first(raw, "added_tokens")["id"] = 501 }, "id: found 501, expected 494", false},
		"added elsewhere":    {func(raw, model map[string]any) { first(raw, "added_tokens")["content"] = "Ġthe" }, "the vocabulary has the token already", false},
		"added twice": {func(raw, model map[string]any) {
			raw["added_tokens"] = append(raw["added_tokens"].([]any), first(raw, "added_tokens"))
		}, "the same as an earlier one", false},
		"a key in other case": {func(raw, model map[string]any) { raw["Decoder"] = nil }, `"Decoder", expected "decoder"`, false},
	} {
		err := editTokenizer(t, test.edit)
		switch {
		case (err == nil) != (test.want == ""):
			t.Errorf("%s: error %v", name, err)
		case err != nil && (!strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "tokenizer.json")):
			t.Errorf("%s: %q or the file is not in the message: %v", name, test.want, err)
		case errors.Is(err, ckpt.ErrUnsupported) != test.unsupported:
			t.Errorf("%s: unsupported %v expected: %v", name, test.unsupported, err)
		}
	}
}

// The forms in which tokenizer_config.json says things, and the file that holds against it.
func TestLoadConfig(t *testing.T) {
	files := func(config, template string) fstest.MapFS {
		fsys := fstest.MapFS{tokenizerFile: &fstest.MapFile{Data: readTestdata(t, "qwen2.json")}}
		if config != "" {
			fsys[configFile] = &fstest.MapFile{Data: []byte(config)}
		}
		if template != "" {
			fsys[templateFile] = &fstest.MapFile{Data: []byte(template)}
		}
		return fsys
	}
	for name, test := range map[string]struct {
		config, file string
		template     string
		eos          string
		addBOS       bool
		err          string
	}{
		"none":            {},
		"a string":        {config: `{"chat_template":"T","eos_token":"<|im_end|>","bos_token":null,"extra":1}`, template: "T", eos: "<|im_end|>"},
		"objects":         {config: `{"eos_token":{"__type":"AddedToken","content":"<|endoftext|>"},"add_bos_token":true}`, eos: "<|endoftext|>", addBOS: true},
		"a list":          {config: `{"chat_template":[{"name":"tool_use","template":"U"},{"name":"default","template":"T"}]}`, template: "T"},
		"a list without":  {config: `{"chat_template":[{"name":"tool_use","template":"U"}]}`, err: "/chat_template"},
		"a file":          {config: `{"chat_template":"T"}`, file: "F", template: "F"},
		"a number":        {config: `{"eos_token":5}`, err: "tokenizer_config.json:1:"},
		"eos of no token": {config: `{"eos_token":"<nope>"}`, err: `eos_token: found "<nope>", expected a token of tokenizer.json`},
		"bos of no token": {config: `{"bos_token":"<nope>","add_bos_token":true}`, err: `bos_token: found "<nope>", expected a token of tokenizer.json`},
		"in another case": {config: `{"EOS_token":"x"}`, err: `"EOS_token"`},
	} {
		tok, err := Load(files(test.config, test.file), "m")
		if test.err != "" {
			if err == nil || !strings.Contains(err.Error(), test.err) || !strings.Contains(err.Error(), "m/tokenizer_config.json") {
				t.Errorf("%s: error %v, expected %q", name, err, test.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		eos, ok := tok.EOS()
		want, _ := tok.ID(test.eos)
		if tok.Config.ChatTemplate != test.template || tok.Config.AddBOS != test.addBOS || ok != (test.eos != "") || eos != want {
			t.Errorf("%s: %+v, eos %d %v", name, tok.Config, eos, ok)
		}
		if _, ok := tok.BOS(); ok {
			t.Errorf("%s: a bos token", name)
		}
	}
	if _, err := Load(fstest.MapFS{}, "m"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "tokenizer.json is not in m") {
		t.Errorf("a folder without a tokenizer: %v", err)
	}
}

func FuzzTokenizerJSON(f *testing.F) {
	for _, name := range smallTokenizers {
		f.Add(readTestdata(f, name+".json"), "it's <|im_end|> 12\n")
	}
	f.Fuzz(func(t *testing.T, data []byte, text string) {
		tok, err := Parse("fuzz", data)
		if err != nil {
			return
		}
		ids, err := tok.Encode(text, false)
		if err != nil {
			return // an expression without end
		}
		want := text
		if tok.nfc {
			want = normalizeNFC(text)
		}
		if got := tok.Decode(ids, false); got != want && len(tok.added) == 0 {
			t.Fatalf("%q came back as %q", text, got)
		}
	})
}

// An expression without end on some text is an error that names the file's field and quotes no more of the text than its beginning.
func TestSplitWithoutEnd(t *testing.T) {
	var raw map[string]any
	if err := json.Unmarshal(readTestdata(t, "qwen2.json"), &raw); err != nil {
		t.Fatal(err)
	}
	raw["pre_tokenizer"].(map[string]any)["pretokenizers"].([]any)[0].(map[string]any)["pattern"] = map[string]any{"Regex": "(a+)+$"}
	edited, err := json.Marshal(raw)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := Parse("m/tokenizer.json", edited)
	if err != nil {
		t.Fatal(err)
	}
	tok.splitters[0].re.MatchTimeout = 10 * time.Millisecond
	_, err = tok.Encode(strings.Repeat("a", 1000)+"b", false)
	if err == nil || len(err.Error()) > 300 || !strings.Contains(err.Error(), `m/tokenizer.json: pre_tokenizer/pretokenizers/0/pattern/Regex: "(a+)+$" found no word within`) {
		t.Errorf("%v", err)
	}
}
