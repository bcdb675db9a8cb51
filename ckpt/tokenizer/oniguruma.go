package tokenizer

import (
	"fmt"
	"strings"
)

// Published tokenizers split by Oniguruma's expressions; the engine here is .NET's. The two read most alike. fromOniguruma writes the rest as .NET has
// it, or says why it does not: an expression that is read in another way gives other ids, in silence.

// Oniguruma's \w takes more than .NET's: marks that take a place of their own, letters that are numbers, circled letters, and, but within [...], those
// numbers of Latin-1 that are no digits.
const (
	wordMembers = `\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}` + "\u24b6-\u24e9\U0001f130-\U0001f149\U0001f150-\U0001f169\U0001f170-\U0001f189"
	word        = "[²³¹¼-¾" + wordMembers + "]"
	noWord      = "[^²³¹¼-¾" + wordMembers + "]"
)

// ofWords is how an escape about words is written outside a class.
var ofWords = map[byte]string{
	'w': word,
	'W': noWord,
	'b': "(?:(?<=" + word + ")(?!" + word + ")|(?<!" + word + ")(?=" + word + "))",
	'B': "(?:(?<=" + word + ")(?=" + word + ")|(?<!" + word + ")(?!" + word + "))",
}

func fromOniguruma(pattern string) (string, error) {
	var out strings.Builder
	folds := []bool{false} // whether (?i holds, within each group that is open
	for i := 0; i < len(pattern); {
		rest := pattern[i:]
		n, written := 1, ""
		if rest[0] == ')' && len(folds) > 1 {
			folds = folds[:len(folds)-1]
		}
		fold := &folds[len(folds)-1]
		switch {
		case rest[0] == '\\' && len(rest) > 1:
			n, written = 2, ofWords[rest[1]]
		case rest[0] == '[':
			var err error
			if n, written, err = classFromOniguruma(rest); err != nil {
				return "", err
			}
		case strings.HasPrefix(rest, "{,"):
			return "", unsupported("a repetition without its least number, {,n}: write {0,n}")
		case strings.HasPrefix(rest, "(?"):
			flags := rest[2 : len(rest)-len(strings.TrimLeft(rest[2:], "abcdefghijklmnopqrstuvwxyzDSWTP-#"))]
			if flags != "" && flags != "i" && flags != "-i" {
				return "", unsupported("found (?%s, of the options (?i is read", flags)
			}
			within := flags == "i" || flags == "" && *fold
			if strings.HasPrefix(rest[2+len(flags):], ")") { // for the rest of this group
				n, written, *fold = len("(?)")+len(flags), rest[:len("(?)")+len(flags)], within
			} else {
				folds = append(folds, within)
			}
		case rest[0] == '(':
			folds = append(folds, *fold)
		case *fold && (rest[0] == 's' || rest[0] == 'S'):
			written = "[sſ]" // an s to Oniguruma, whose capital it shares
		}
		if written == "" {
			written = rest[:n]
		}
		out.WriteString(written)
		i += n
	}
	return out.String(), nil
}

// classFromOniguruma reads the class that text begins with and returns its length and how it is written.
func classFromOniguruma(text string) (n int, written string, err error) {
	var out strings.Builder
	start := len("[")
	if strings.HasPrefix(text, "[^") {
		start++
	}
	out.WriteString(text[:start])
	negated := 0
	for i := start; i < len(text); i++ {
		switch rest := text[i:]; {
		case rest[0] == '\\' && len(rest) > 1:
			i++
			if rest[1] == 'w' {
				out.WriteString(wordMembers)
				continue
			}
			if strings.IndexByte("DSWP", rest[1]) >= 0 {
				negated++
			}
			if rest[1] == 'W' {
				return 0, "", unsupported(`\W within [...]`)
			}
			out.WriteString(rest[:2])
		case rest[0] == '[':
			return 0, "", unsupported(`"[" within [...], as of [[:alpha:]] or a class in a class: write \[ for the character`)
		case strings.HasPrefix(rest, "&&"):
			return 0, "", unsupported("&& within [...]")
		case rest[0] == ']' && i > start:
			if negated > 1 {
				return 0, "", unsupported(`%.40q: more than one of \D, \S and \P within [...]`, text[:i+1])
			}
			out.WriteByte(']')
			return i + 1, out.String(), nil
		default:
			out.WriteByte(rest[0])
		}
	}
	return 0, "", fmt.Errorf("%.40q: a class without its ]", text)
}
