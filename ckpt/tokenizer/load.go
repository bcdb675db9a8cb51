package tokenizer

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"afctl/ckpt"
	"afctl/flow/strictjson"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// unsupported says which field asks for a kind of tokenizer that is not built here.
func unsupported(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ckpt.ErrUnsupported, fmt.Sprintf(format, args...))
}

// Bounds on the files and on what they may make us allocate.
const (
	maxTokenizerBytes = 256 << 20
	maxConfigBytes    = 16 << 20
	maxTokens         = 1 << 22
)

const tokenizerFile = "tokenizer.json"

// Load reads the tokenizer of a Hugging Face folder: tokenizer.json and, where they are there, tokenizer_config.json and
// chat_template.jinja. name is the folder's, for errors.
func Load(fsys fs.FS, name string) (*Tokenizer, error) {
	data, err := ckpt.ReadFile(fsys, name, tokenizerFile, maxTokenizerBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("tokenizer: %s is not in %s: work on text needs it: %w", tokenizerFile, name, fs.ErrNotExist)
	}
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	t, err := Parse(path.Join(name, tokenizerFile), data)
	if err != nil {
		return nil, err
	}
	if t.Config, err = loadConfig(fsys, name); err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	for _, key := range []string{"eos_token", "bos_token"} {
		content, named := t.Config.SpecialTokens[key]
		if _, ok := t.ID(content); named && !ok && (key == "eos_token" || t.Config.AddBOS) {
			return nil, fmt.Errorf("tokenizer: %s: %s: found %.100q, expected a token of %s: a new one would have no place in the model",
				path.Join(name, configFile), key, content, tokenizerFile)
		}
	}
	return t, nil
}

// tokenizerJSON is tokenizer.json. truncation, padding and post_processor shape batches and add tokens around a text;
// nothing here asks for either.
type tokenizerJSON struct {
	AddedTokens  []addedTokenJSON `json:"added_tokens"`
	Normalizer   jsontext.Value   `json:"normalizer"`
	PreTokenizer jsontext.Value   `json:"pre_tokenizer"`
	Decoder      jsontext.Value   `json:"decoder"`
	Model        *modelJSON       `json:"model"`
}

type addedTokenJSON struct {
	ID         int32  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
	Special    bool   `json:"special"`
}

type modelJSON struct {
	Type                    string           `json:"type"`
	Dropout                 *float64         `json:"dropout"`
	ContinuingSubwordPrefix *string          `json:"continuing_subword_prefix"`
	EndOfWordSuffix         *string          `json:"end_of_word_suffix"`
	ByteFallback            bool             `json:"byte_fallback"`
	IgnoreMerges            bool             `json:"ignore_merges"`
	Vocab                   map[string]int32 `json:"vocab"`
	Merges                  []mergeJSON      `json:"merges"`
}

// mergeJSON is "left right", or, as newer files have it, ["left", "right"].
type mergeJSON struct{ left, right string }

func (m *mergeJSON) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() == '[' {
		var parts []string
		if err := json.UnmarshalDecode(dec, &parts); err != nil {
			return err
		}
		if len(parts) != 2 {
			return fmt.Errorf("found a merge of %d tokens, expected one of 2", len(parts))
		}
		m.left, m.right = parts[0], parts[1]
		return nil
	}
	var s string
	if err := json.UnmarshalDecode(dec, &s); err != nil {
		return err
	}
	var ok bool
	if m.left, m.right, ok = strings.Cut(s, " "); !ok || strings.Contains(m.right, " ") {
		return fmt.Errorf("found the merge %.100q, expected two tokens with one space between them", s)
	}
	return nil
}

// Parse reads a tokenizer.json. name is for errors.
func Parse(name string, data []byte) (*Tokenizer, error) {
	var raw tokenizerJSON
	if err := ckpt.DecodeJSON(name, data, &raw, strictjson.IgnoreUnknown); err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	t := &Tokenizer{}
	for _, part := range []func() error{
		func() error { return t.loadModel(raw.Model) },
		func() error { return t.loadNormalizer(raw.Normalizer) },
		func() error { return t.loadPreTokenizer(raw.PreTokenizer) },
		func() error { return checkDecoder(raw.Decoder) },
		func() error { return t.loadAddedTokens(raw.AddedTokens, raw.Model.Vocab) },
	} {
		if err := part(); err != nil {
			return nil, fmt.Errorf("tokenizer: %s: %w", name, err)
		}
	}
	for i := range t.splitters {
		t.splitters[i].where = "tokenizer: " + name + ": " + t.splitters[i].where
	}
	return t, nil
}

func (t *Tokenizer) loadModel(m *modelJSON) error {
	switch {
	case m == nil:
		return errors.New("model: missing, expected an object")
	case m.Type != "BPE" && m.Type != "": // files of before 2021 do not say it, as GPT-2's
		return unsupported("model/type: found %.100q, expected \"BPE\"", m.Type)
	case m.Dropout != nil && *m.Dropout != 0:
		return unsupported("model/dropout: found %v, expected none: the same text must give the same ids", *m.Dropout)
	case m.ContinuingSubwordPrefix != nil && *m.ContinuingSubwordPrefix != "":
		return unsupported("model/continuing_subword_prefix: found %.100q, expected none", *m.ContinuingSubwordPrefix)
	case m.EndOfWordSuffix != nil && *m.EndOfWordSuffix != "":
		return unsupported("model/end_of_word_suffix: found %.100q, expected none", *m.EndOfWordSuffix)
	case m.ByteFallback:
		return unsupported("model/byte_fallback: found true, expected false: a vocabulary of bytes needs none")
	}
	t.vocab = make(map[string]int32, len(m.Vocab))
	t.tokens = make([]token, 0, len(m.Vocab))
	for spelling, id := range m.Vocab {
		if id < 0 || id >= maxTokens {
			return fmt.Errorf("model/vocab: %.100q: found id %d, expected 0 to %d", spelling, id, maxTokens-1)
		}
		if spelling == "" {
			return fmt.Errorf("model/vocab: id %d: an empty token", id)
		}
		if int(id) < len(t.tokens) && t.tokens[id].bytes != "" {
			return fmt.Errorf("model/vocab: %.100q: id %d is another token's too", spelling, id)
		}
		content, err := readSpelling(spelling)
		if err == nil {
			t.vocab[content] = id
		} else { // it spells no bytes: no text is encoded to it unless it is an added token as well, and it is decoded as it stands
			content = spelling
		}
		t.put(id, token{bytes: content})
	}
	for b := range 256 {
		id, ok := t.vocab[string([]byte{byte(b)})]
		if !ok {
			return unsupported("model/vocab: no token for byte %#02x (%q), expected all 256 bytes: not a byte-level vocabulary", b, byteToRune[b])
		}
		t.model.bytes[b] = id
	}
	if m.IgnoreMerges {
		t.model.whole = t.vocab
	}
	return t.loadMerges(m.Merges)
}

func (t *Tokenizer) loadMerges(merges []mergeJSON) error {
	if merges == nil {
		return errors.New("model/merges: missing or null, expected a list")
	}
	t.model.merges = make(map[pair]merge, len(merges))
	for rank, m := range merges {
		left, errLeft := readSpelling(m.left)
		right, errRight := readSpelling(m.right)
		if err := cmp.Or(errLeft, errRight); err != nil {
			return fmt.Errorf("model/merges/%d: %w", rank, err)
		}
		var ids [3]int32
		for i, part := range []string{left, right, left + right} {
			id, ok := t.vocab[part]
			if !ok {
				return fmt.Errorf("model/merges/%d: %.100q and %.100q: %.100q is not in the vocabulary", rank, m.left, m.right, spell([]byte(part)))
			}
			ids[i] = id
		}
		p := pair{ids[0], ids[1]}
		if _, ok := t.model.merges[p]; ok {
			return fmt.Errorf("model/merges/%d: %.100q and %.100q: merged before", rank, m.left, m.right)
		}
		t.model.merges[p] = merge{rank: int32(rank), id: ids[2]}
	}
	return nil
}

// put enters a token, and holes up to it.
func (t *Tokenizer) put(id int32, tok token) {
	for int(id) >= len(t.tokens) {
		t.tokens = append(t.tokens, token{})
	}
	t.tokens[id] = tok
}

// loadAddedTokens reads the list. vocab is the vocabulary in its own spelling, in which an added token may stand too.
func (t *Tokenizer) loadAddedTokens(list []addedTokenJSON, vocab map[string]int32) error {
	t.added = make(map[string]int32, len(list))
	var raw, cooked []addedToken
	next := int32(len(vocab)) // what Hugging Face's tokenizers gives a token that the vocabulary does not have, whatever the file says
	for i, a := range list {
		where := fmt.Sprintf("added_tokens/%d %.100q", i, a.Content)
		switch {
		case a.Content == "":
			return fmt.Errorf("%s: content: empty, expected text", where)
		case a.ID < 0 || a.ID >= maxTokens:
			return fmt.Errorf("%s: id: found %d, expected 0 to %d", where, a.ID, maxTokens-1)
		case a.SingleWord || a.LStrip || a.RStrip:
			return unsupported("%s: single_word, lstrip or rstrip: found true, expected false: text around a token would be lost", where)
		}
		if _, ok := t.added[a.Content]; ok {
			return fmt.Errorf("%s: content: the same as an earlier one's", where)
		}
		id, spelled := vocab[a.Content]
		if spelled && id != a.ID {
			return fmt.Errorf("%s: id: found %d, expected %d: the vocabulary has the token already", where, a.ID, id)
		}
		bytes := a.Content
		if int(a.ID) < len(t.tokens) && t.tokens[a.ID].bytes != "" {
			if bytes = t.tokens[a.ID].bytes; !spelled && bytes != a.Content {
				return fmt.Errorf("%s: id: found %d, which is %.100q", where, a.ID, bytes)
			}
		}
		if !spelled && a.ID != next {
			return fmt.Errorf("%s: id: found %d, expected %d, the next after the vocabulary and the added tokens before it: Hugging Face's tokenizers gives it no other; load the tokenizer in transformers and save it again",
				where, a.ID, next)
		}
		next = max(next, a.ID+1)
		t.added[a.Content] = a.ID
		t.put(a.ID, token{bytes: bytes, special: a.Special}) // one that spells bytes in the vocabulary stays those bytes, as in Hugging Face's
		found := addedToken{id: a.ID, content: a.Content, special: a.Special}
		if !a.Normalized {
			raw = append(raw, found)
			continue
		}
		if t.nfc {
			found.content = normalizeNFC(a.Content)
		}
		cooked = append(cooked, found)
	}
	t.raw, t.cooked = newMatcher(raw), newMatcher(cooked)
	return nil
}
