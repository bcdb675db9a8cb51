package score

import (
	"math/big"
	"regexp"
	"slices"
	"strings"
)

// smallNumerals are the number words below twenty, in order, tens those of 20 to 90.
var (
	smallNumerals = strings.Fields("zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen")
	tens          = strings.Fields("twenty thirty forty fifty sixty seventy eighty ninety")
	largeNumerals = map[string]int64{"thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12}
)

// numeral reads text that is one number in words: "minus five", "twenty-one", "three hundred and four", "two thirds".
func numeral(text string) (value, bool) {
	words := strings.FieldsFunc(strings.ToLower(strings.Trim(text, " .!\t\r\n")), notInWord)
	sign := int64(1)
	if len(words) > 1 && (words[0] == "minus" || words[0] == "negative") {
		sign, words = -1, words[1:]
	}
	if part, whole, ok := fraction(words); ok {
		n, ok := int64(0), len(whole) == 0
		if !ok {
			n, ok = count(whole)
		}
		return integer(n).add(rational(part)).mul(integer(sign)), ok
	}
	n, ok := count(words)
	return integer(sign * n), ok
}

var (
	singularParts = map[string]int64{"half": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8, "ninth": 9, "tenth": 10}
	pluralParts   = map[string]int64{"halves": 2, "thirds": 3, "quarters": 4, "fourths": 4, "fifths": 5, "sixths": 6, "sevenths": 7, "eighths": 8, "ninths": 9, "tenths": 10}
)

// fraction reads what ends in a fraction: "one half", "two thirds", "three and a half", of which it leaves the whole number. "Twenty third" is none.
func fraction(words []string) (part *big.Rat, whole []string, ok bool) {
	n := len(words)
	if n < 2 {
		return nil, nil, false
	}
	one, many := singularParts[words[n-1]], pluralParts[words[n-1]]
	switch before := words[n-2]; {
	case one > 0 && n > 3 && words[n-3] == "and" && (before == "a" || before == "one"):
		return big.NewRat(1, one), words[:n-3], true
	case one > 0 && n == 2 && (before == "one" || before == "a" && (one == 2 || one == 4)):
		return big.NewRat(1, one), nil, true
	case many > 0:
		if m, ok := count(words[:n-1]); ok && m > 1 {
			return big.NewRat(m, many), nil, true
		}
	}
	return nil, nil, false
}

func notInWord(r rune) bool { return strings.ContainsRune(" -\t\r\n", r) }

// count computes a number from its words. group is what stands below the next thousand; scales fall ("two thousand million" is none).
func count(words []string) (int64, bool) {
	var total, group int64
	below := int64(1e15)
	for i, w := range words {
		small, ten := slices.Index(smallNumerals, w), slices.Index(tens, w)
		large := largeNumerals[w]
		first := i == 0 || largeNumerals[words[i-1]] > 0 || words[i-1] == "and" || words[i-1] == "hundred"
		switch {
		case i == 0 && w == "a" && len(words) > 1 && (words[1] == "hundred" || largeNumerals[words[1]] > 0):
			group = 1
		case small > 0 && (first || small < 10 && slices.Contains(tens, words[i-1])), small == 0 && len(words) == 1:
			group += int64(small)
		case ten >= 0 && first:
			group += int64(20 + 10*ten)
		case w == "hundred" && group > 0 && group < 100 && (group < 10 || group%10 > 0): // "fifteen hundred"
			group *= 100
		case large > 0 && group > 0 && large < below:
			total, group, below = total+group*large, 0, large
		case w == "and" && i > 0 && i+1 < len(words) && (words[i-1] == "hundred" || largeNumerals[words[i-1]] > 0):
		default:
			return 0, false
		}
	}
	return total + group, len(words) > 0
}

var (
	aWord   = regexp.MustCompile(`[A-Za-z]+`)
	joined  = regexp.MustCompile(`(?i)\b(?:or|and|to)\s+$`)
	ordinal = regexp.MustCompile(`(?i)^[\s-]*(?:first|second|thirds?|half|halves|quarters?|[a-z]+ths?|and\s+an?)\b|^-`)
)

// numeralInProse finds the one number that a text without digits gives in words. "One" is a pronoun there.
func numeralInProse(text string) (list, bool) {
	at := aWord.FindAllStringIndex(text, -1)
	var found list
	for i := 0; i < len(at); i++ {
		end, v := i, value{}
		for j := i; j < len(at) && j < i+maxNumeralWords; j++ {
			if n, ok := numeral(text[at[i][0]:at[j][1]]); ok {
				end, v = j+1, n
			}
		}
		if end == i {
			continue
		}
		said := text[at[i][0]:at[end-1][1]]
		before, after := text[max(0, at[i][0]-window):at[i][0]], text[at[end-1][1]:]
		i = end - 1
		if joined.MatchString(before) {
			return list{}, false // "one or two"
		}
		if _, _, part := fraction(strings.FieldsFunc(strings.ToLower(said), notInWord)); part && strings.HasPrefix(strings.TrimSpace(after), "of ") {
			continue // of what, is not said by its figure
		}
		if strings.EqualFold(said, "one") || ordinal.MatchString(after) || denied(before, after[:min(len(after), window)]) {
			continue
		}
		if found.items != nil {
			return list{}, false
		}
		found = list{items: []quantity{{value: v}}, text: said}
	}
	return found, found.items != nil
}

// maxNumeralWords bounds a number in words: "nine hundred and ninety nine thousand nine hundred and ninety nine".
const maxNumeralWords = 12
