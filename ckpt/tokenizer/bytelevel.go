package tokenizer

import "fmt"

// A byte-level vocabulary spells tokens in printable characters, one per byte: bytes that are printable in Latin-1 stand
// for themselves, the others for U+0100 and up, in order (GPT-2's bytes_to_unicode). Inside this package tokens are
// bytes; only files hold the spelling.

// byteToRune is the spelling of each byte, runeToByte its inverse, -1 for a character that spells none.
var byteToRune, runeToByte = byteLevelAlphabet()

func byteLevelAlphabet() (spell [256]rune, read [256 + 68]int16) {
	for r := range read {
		read[r] = -1
	}
	next := rune(256)
	for b := range 256 {
		r := rune(b)
		if !(b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae) {
			r = next
			next++
		}
		spell[b], read[r] = r, int16(b)
	}
	return spell, read
}

// spell returns the spelling of a token.
func spell(token []byte) string {
	runes := make([]rune, len(token))
	for i, b := range token {
		runes[i] = byteToRune[b]
	}
	return string(runes)
}

// readSpelling is the inverse of spell.
func readSpelling(s string) (string, error) {
	token := make([]byte, 0, len(s))
	for _, r := range s {
		if int(r) >= len(runeToByte) || runeToByte[r] < 0 {
			return "", fmt.Errorf("token %.100q: found character %q, expected one of the 256 of the byte-level alphabet", s, r)
		}
		token = append(token, byte(runeToByte[r]))
	}
	return string(token), nil
}
