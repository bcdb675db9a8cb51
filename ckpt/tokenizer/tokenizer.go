package tokenizer

// Tokenizer turns text into token ids and back. Safe for concurrent use.
type Tokenizer struct {
	// Config is what tokenizer_config.json says; empty for a tokenizer without one.
	Config Config

	tokens    []token          // by id; a hole has no bytes
	vocab     map[string]int32 // ids by bytes, added tokens excepted
	added     map[string]int32 // ids of added tokens by content
	raw       matcher          // added tokens found in the text as it comes
	cooked    matcher          // added tokens found in normalized text
	nfc       bool             // text is normalized to NFC
	splitters []splitter       // one after another, each on the pieces of the one before
	model     bpe
}

type token struct {
	bytes   string
	special bool
}

// Encode returns the ids of text. Added tokens in the text become their ids; with special false, the text of special
// tokens, such as "<|im_end|>", is encoded as the plain text that it is: for text that does not come from the program
// itself. No token is put before or after the text. Text may hold any bytes.
//
// The error is that of a pattern of the file that takes seconds to find one word.
func (t *Tokenizer) Encode(text string, special bool) ([]int32, error) {
	ids := make([]int32, 0, len(text)/3+1)
	emit := func(id int32) { ids = append(ids, id) }
	err := t.raw.split(text, special, func(text string) error {
		if t.nfc {
			text = normalizeNFC(text)
		}
		return t.cooked.split(text, special, func(text string) error {
			return t.words(t.splitters, text, func(word string) error {
				ids = t.model.append(ids, word)
				return nil
			})
		}, emit)
	}, emit)
	if err != nil {
		return nil, err
	}
	return ids, nil
}

// words cuts text by the splitters and yields what the last one gives.
func (t *Tokenizer) words(splitters []splitter, text string, yield func(word string) error) error {
	if len(splitters) == 0 {
		if text == "" {
			return nil
		}
		return yield(text)
	}
	return splitters[0].split(text, func(piece string) error { return t.words(splitters[1:], piece, yield) })
}

// Decode returns the text of ids, special tokens left out where skipSpecial is true. Ids without a token, which a model
// whose embedding has more rows than the tokenizer has tokens can produce, give nothing. The text holds the bytes of the
// tokens: a sequence that ends in the middle of a character is not valid UTF-8.
func (t *Tokenizer) Decode(ids []int32, skipSpecial bool) string {
	var text []byte
	for _, id := range ids {
		if id >= 0 && int(id) < len(t.tokens) && !(skipSpecial && t.tokens[id].special) {
			text = append(text, t.tokens[id].bytes...)
		}
	}
	return string(text)
}

// TokenBytes returns the bytes of one token, nil for an id without one.
func (t *Tokenizer) TokenBytes(id int32) []byte {
	if id < 0 || int(id) >= len(t.tokens) || t.tokens[id].bytes == "" {
		return nil
	}
	return []byte(t.tokens[id].bytes)
}

// VocabSize returns the highest id plus one, added tokens included. A model's embedding may have more rows.
func (t *Tokenizer) VocabSize() int { return len(t.tokens) }

// ID returns the id of an added token by its content, or else of the token with these bytes.
func (t *Tokenizer) ID(content string) (int32, bool) {
	id, ok := t.added[content]
	if !ok {
		id, ok = t.vocab[content]
	}
	return id, ok
}

// IsSpecial says whether an id is a special token.
func (t *Tokenizer) IsSpecial(id int32) bool {
	return id >= 0 && int(id) < len(t.tokens) && t.tokens[id].special
}

// EOS returns the id of the token that tokenizer_config.json calls eos_token. A model may end on others too: its own
// configuration lists them.
func (t *Tokenizer) EOS() (int32, bool) { return t.named("eos_token") }

// BOS returns the id of bos_token. Whether one belongs before a text is Config.AddBOS; a chat template writes its own.
func (t *Tokenizer) BOS() (int32, bool) { return t.named("bos_token") }

func (t *Tokenizer) named(name string) (int32, bool) {
	content, ok := t.Config.SpecialTokens[name]
	if !ok {
		return 0, false
	}
	return t.ID(content)
}
