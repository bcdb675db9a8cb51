package score

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
	"golang.org/x/text/width"

	"afctl/flow"
)

// undecomposed are lower-case letters that Unicode does not take apart into a base letter and a mark.
var undecomposed = strings.NewReplacer("ß", "ss", "ς", "σ", "ø", "o", "ł", "l", "đ", "d", "ð", "d", "þ", "th", "æ", "ae", "œ", "oe", "ı", "i", "ħ", "h")

// halfwidth writes the letters, digits and marks of Chinese and Japanese text as they are typed elsewhere.
func halfwidth(text string) string { return width.Fold.String(stops.Replace(text)) }

// stops have their space within, so that none is a decimal point or parts thousands.
var stops = strings.NewReplacer("。", ". ", "，", ", ", "、", ", ")

// Normalize prepares text for comparison as SQuAD's evaluation does (Rajpurkar et al. 2016, the official script):
// lower case, no punctuation, no articles, single spaces. Beyond that script, where it would call different answers equal or
// equal ones different: compatibility forms and accents are folded; hyphens and slashes separate words; a decimal
// point and a minus sign are kept, as are + and # (C, C++ and C# differ); a last word is no article ("Vitamin A", "The
// The"); punctuation alone is left as it is ("!!!").
func Normalize(text string) string {
	folded := strings.ToLower(strings.ReplaceAll(norm.NFKD.String(text), "−", "-"))
	folded = undecomposed.Replace(folded)
	runes := []rune(folded)
	digit := func(i int) bool { return i >= 0 && i < len(runes) && unicode.IsDigit(runes[i]) }
	var b strings.Builder
	last := ' ' // rune that was kept: what is dropped in between decides nothing, or a second pass would decide otherwise
	keep := func(r rune) {
		b.WriteRune(r)
		last = r
	}
	for i, r := range runes {
		startsWord := last == ' ' || strings.ContainsRune("($€£", runes[i-1])
		switch {
		case unicode.Is(unicode.Mn, r):
		case r == '.' && digit(i+1) && !unicode.IsLetter(last), r == '+', r == '#':
			keep(r)
		case r == '-' && startsWord && (digit(i+1) || i+1 < len(runes) && runes[i+1] == '.' && digit(i+2)):
			if last != ' ' {
				keep(' ')
			}
			keep(r)
		case unicode.Is(unicode.Pd, r), r == '/', r == '_', unicode.IsSpace(r):
			keep(' ')
		case unicode.IsPunct(r), unicode.IsSymbol(r), unicode.IsControl(r), unicode.Is(unicode.Cf, r):
		default:
			keep(r)
		}
	}
	words := strings.Fields(norm.NFKD.String(b.String())) // marks that are neighbours now have an order of their own
	if len(words) == 0 {
		return strings.Join(strings.Fields(folded), " ")
	}
	kept := make([]string, 0, len(words))
	for i, w := range words {
		if i == len(words)-1 || w != "a" && w != "an" && w != "the" {
			kept = append(kept, w)
		}
	}
	return strings.Join(kept, " ")
}

// expected names the accepted answers for a reason.
func expected(accepted []string) string {
	if len(accepted) == 1 {
		return excerpt(accepted[0])
	}
	return "one of " + excerpt(strings.Join(accepted, " | "))
}

// F1 gives the harmonic mean of token precision and recall, over normalised words, the best over the accepted
// answers. As in HotpotQA's evaluation, a yes or no on one side matches only itself.
func F1(task flow.Task, answer string) (Grade, error) {
	accepted, err := truths(task)
	if err != nil {
		return Grade{}, err
	}
	found, _ := Extract(answer)
	best, which := 0.0, accepted[0]
	for _, t := range accepted {
		for _, claim := range claims(answer, t) {
			if f := tokenF1(Normalize(claim), Normalize(t)); f > best {
				best, which, found = f, t, claim
			}
		}
	}
	g := wrong("token F1 %.3f of %s against %s", best, excerpt(found), excerpt(which))
	g.Reward = best
	return g, nil
}

func tokenF1(a, b string) float64 {
	if a == b {
		if a == "" {
			return 0
		}
		return 1
	}
	for _, s := range []string{a, b} {
		if s == "yes" || s == "no" {
			return 0
		}
	}
	words := strings.Fields(b)
	left := make(map[string]int, len(words))
	for _, w := range words {
		left[w]++
	}
	got := strings.Fields(a)
	common := 0
	for _, w := range got {
		if left[w] > 0 {
			left[w]--
			common++
		}
	}
	if common == 0 {
		return 0
	}
	precision, recall := float64(common)/float64(len(got)), float64(common)/float64(len(words))
	return 2 * precision * recall / (precision + recall)
}
