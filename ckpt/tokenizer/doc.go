// Package tokenizer turns text into token ids and back, as Hugging Face's tokenizers does for byte-level BPE
// vocabularies: those of Qwen2, Llama 3, GPT-2 and their kind, read from tokenizer.json and tokenizer_config.json.
//
// The pipeline is: find added tokens, normalize (none or NFC), split by regular expressions, merge bytes. Tokens are
// bytes here; the spelling that files use for them stays at the file's edge (bytelevel.go). What a file asks for beyond
// this is an error that wraps ckpt.ErrUnsupported and names the field: an almost right tokenizer would train on other tokens
// than the model knows.
//
// A Tokenizer is safe for concurrent use. Text may hold any bytes; those that are no UTF-8 come back as they were. Train
// learns a small vocabulary and writes a tokenizer.json that Hugging Face reads.
//
//	tok, err := tokenizer.Load(os.DirFS(dir), dir)
//	prompt, err := tok.Encode(rendered, true)   // a rendered chat template: special tokens are read
//	result, err := tok.Encode(untrusted, false) // "<|im_end|>" is plain text
//	text := tok.Decode(ids, true)
//	template, err := ckpt.ParseChatTemplate(tok.Config.ChatTemplateFile, tok.Config.ChatTemplate, tok.Config.SpecialTokens)
package tokenizer
