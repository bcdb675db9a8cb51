package index

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// words are the terms of a text: runs of letters and digits, lower case, without accents, plural s dropped. Every
// character of a script that is written without spaces is a word.
func words(s string) []string {
	s = fold(s)
	var out []string
	start := -1
	flush := func(end int) {
		if start >= 0 {
			out = append(out, stem(s[start:end]))
			start = -1
		}
	}
	for i, c := range s {
		switch {
		case unspaced(c):
			flush(i)
			out = append(out, string(c))
		case unicode.IsLetter(c) || unicode.IsNumber(c):
			if start < 0 {
				start = i
			}
		case strings.ContainsRune(apostrophes, c):
			// "O'Brien" and "king's" are one word each; the s of a genitive falls with the plural's
		default:
			flush(i)
		}
	}
	flush(len(s))
	return out
}

// undecomposed are lower-case letters that Unicode does not take apart into a base letter and a mark.
var undecomposed = strings.NewReplacer("ß", "ss", "ς", "σ", "ø", "o", "ł", "l", "đ", "d", "ð", "d", "þ", "th", "æ", "ae", "œ", "oe",
	"ı", "i", "ħ", "h", "ŧ", "t", "ŋ", "n")

// fold drops case and accents, and writes compatibility forms and letters of one language plainly.
func fold(s string) string {
	s = strings.ToValidUTF8(s, " ")
	for i := range len(s) {
		if s[i] >= 0x80 {
			return undecomposed.Replace(strings.Map(func(c rune) rune {
				if unicode.Is(unicode.Mn, c) || isLetterApostrophe(c) {
					return -1
				}
				return unicode.ToLower(c)
			}, norm.NFKD.String(s)))
		}
	}
	return strings.ToLower(s)
}

// isLetterApostrophe tells the apostrophes that are letters (ʻokina, hamza, ayn), and as often left out as written.
func isLetterApostrophe(c rune) bool { return c >= 'ʻ' && c <= 'ʿ' }

// apostrophes stand within a word.
const apostrophes = "'’‘"

func unspaced(c rune) bool {
	return c >= 0x2E80 && unicode.In(c, unicode.Han, unicode.Hiragana, unicode.Katakana)
}

var noApostrophes = strings.NewReplacer("'", "", "’", "", "‘", "")

// stem drops the plural s and what an apostrophe parts off, by Harman's S-stemmer (1991, "How effective is suffixing?").
func stem(w string) string {
	if strings.ContainsAny(w, apostrophes) {
		w = noApostrophes.Replace(w)
	}
	n := len(w)
	if n < 4 || w[n-1] != 's' {
		return w
	}
	switch {
	case strings.HasSuffix(w, "ies") && !strings.HasSuffix(w, "eies") && !strings.HasSuffix(w, "aies"):
		return w[:n-3] + "y"
	case strings.HasSuffix(w, "us"), strings.HasSuffix(w, "ss"):
		return w
	}
	return w[:n-1]
}

// key is a title as exact matches compare it.
func key(title string) string { return strings.Join(words(title), " ") }

// stopWords carry no information in a query, unless it has nothing else.
var stopWords = func() map[string]bool {
	set := map[string]bool{}
	for _, w := range strings.Fields(`a about an and are as at be been by did do does for from had has have how in is it
		its of on or that the their these they this to was were what when where which who whom whose why will with would`) {
		set[stem(w)] = true
	}
	return set
}()

// asked is a word of a query. A name is one that is written with a capital, a digit or in a script without capitals.
type asked struct {
	word string
	name bool
}

func named(field string) bool {
	first, _ := utf8.DecodeRuneInString(strings.TrimLeft(field, apostrophes+"ʻʼʽʾʿ"))
	return !unicode.IsLower(first)
}

// query reduces a text to its distinct terms, in order; stop words only where there is nothing else.
func query(text string) []asked {
	text = strings.ToValidUTF8(text[:min(len(text), maxQueryBytes)], " ")
	var all []asked
	fields := strings.FieldsFunc(text, func(c rune) bool { return !inWord(c) })
	for i, field := range fields {
		name := named(field)
		if i == 0 && len(fields) > 2 && !named(fields[1]) && slices.ContainsFunc(fields[2:], named) {
			name = false // "Members of the Beatles": the capital is that of a sentence
		}
		for _, w := range words(field) {
			all = append(all, asked{w, name})
		}
	}
	pick := func(stops bool) []asked {
		var terms []asked
		for _, a := range all {
			twice := slices.ContainsFunc(terms, func(b asked) bool { return a.word == b.word })
			if a.word != "" && stopWords[a.word] == stops && !twice && len(terms) < maxTerms {
				terms = append(terms, a)
			}
		}
		return terms
	}
	if terms := pick(false); len(terms) > 0 {
		return terms
	}
	return pick(true)
}

// inWord tells what can stand within a word, before it is folded.
func inWord(c rune) bool {
	return unicode.In(c, unicode.L, unicode.M, unicode.N) || strings.ContainsRune(apostrophes, c)
}

// Bounds of a query; what is beyond them is left out.
const (
	maxQueryBytes = 4 << 10
	maxTerms      = 32
)
