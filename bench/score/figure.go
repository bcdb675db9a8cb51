package score

import (
	"regexp"
	"strconv"
)

var (
	ordinalFigure = regexp.MustCompile(`^\s*(?i:the\s+)?((?:\d*[^1\D])?1st|(?:\d*[^1\D])?2nd|(?:\d*[^1\D])?3rd|\d*(?:1[123]|[04-9])th)[\s.!*$]*$`)
	residue       = regexp.MustCompile(`^([^,;:]{0,120}(?:≡|\\equiv))?[\s$]*(\d{1,18})(?:[\s~$]|\\[ ,;:!]|\\q?quad)*(?:` +
		`\\pmod\s*(?:\{\s*(\d{1,18})\s*\}|(\d))|\\?\(\s*(?:\\(?:text|mathrm|operatorname)\s*\{\s*mod\s*\}|\\?b?mod)\s*[{~]?\s*(\d{1,18})\s*\}?\s*\\?\))[\s.$\])\\]*$`)
)

// bareFigure gives the number that a whole answer names in another form: 45 of "45th", and 104 of "N ≡ 104 (mod 1000)", which is reduced. Without
// the congruence, only a marked answer is meant so.
func bareFigure(text string, origin Origin) (string, bool) {
	if m := ordinalFigure.FindStringSubmatch(text); m != nil {
		return m[1][:len(m[1])-2], true
	}
	m := residue.FindStringSubmatch(text)
	if m == nil || m[1] == "" && origin == Unmarked {
		return "", false
	}
	r, _ := strconv.ParseInt(m[2], 10, 64) // 18 digits always fit
	modulus, _ := strconv.ParseInt(m[3]+m[4]+m[5], 10, 64)
	return m[2], r < modulus
}
