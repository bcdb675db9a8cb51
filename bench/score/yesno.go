package score

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"afctl/flow"
)

// YesNo gives 1 where the answer's verdict is that of the truth. The first word decides if it is one (yes, no, true,
// false, correct, incorrect); else the verdict words of the text, each but "no" turned by a "not" before it in its clause, must agree. "Yes or no" and "I
// cannot say yes" give no verdict. Within a clause "no" is a verdict only as its last word ("there is no such film" says nothing of the question).
func YesNo(task flow.Task, answer string) (Grade, error) {
	accepted, err := truths(task)
	if err != nil {
		return Grade{}, err
	}
	want := verdict(accepted[0])
	if want == "" {
		return Grade{}, fmt.Errorf("%w: task %s: answers: found %s, expected yes or no", ErrTruth, task.ID, expected(accepted))
	}
	found, _ := Extract(answer)
	switch got := verdict(found); got {
	case "":
		return wrong("no verdict, or two, in %s, expected %s", excerpt(found), want), nil
	case want:
		return right("%s says %s", excerpt(found), want), nil
	default:
		return wrong("%s says %s, expected %s", excerpt(found), got, want), nil
	}
}

var (
	verdicts  = map[string]bool{"yes": true, "yeah": true, "yep": true, "true": true, "correct": true, "no": false, "nope": false, "false": false, "incorrect": false, "untrue": false}
	negations = map[string]bool{"not": true, "isnt": true, "arent": true, "wasnt": true, "werent": true, "never": true, "neither": true,
		"cannot": true, "cant": true, "couldnt": true, "dont": true, "doesnt": true, "didnt": true, "wont": true, "wouldnt": true}
	// idioms hold a "no" that is no verdict.
	idioms = strings.NewReplacer("no doubt", "", "no question", "", "no wonder", "", "no problem", "", "no longer", "not", "no one", "", "no more", "",
		"dont think so", "dont", "dont think it is", "not", "dont think that", "not", "dont believe it is", "not", "dont believe that", "not")
	// undecided is a text that gives no verdict, whatever words it holds, and either one that names both.
	undecided = regexp.MustCompile(`\b(?:cannot|can not|cant|not|dont|wont|wouldnt|couldnt|didnt|wrong|hard|difficult|unable|impossible)` +
		`(?: be| really| to| possible to| able to| enough to)? (?:say|tell|answer|claim|conclude|confirm|determined?|know|decide|sure|clear|certain|find)\b`)
	either = regexp.MustCompile(`^(?:yes (?:or|and) no|no (?:or|and) yes)\b|^(?:yes no|no yes)$`)
)

// A clause ends at punctuation, or where a conclusion begins. What stands between commas ("it is not, in fact, true") is within one. A question
// that something follows says nothing.
var (
	clauseEnd   = regexp.MustCompile(`[,;:.!?\n]+(?:\s*(?i:so)\b)?|\b(?i:therefore|thus|hence)\b`)
	question    = regexp.MustCompile(`[^.!?\n]*\?+\s*(\w)`)
	parentheses = regexp.MustCompile(`(?i),\s*(?:in fact|indeed|however|actually|really|strictly speaking|of course|as such)\s*,`)
)

// clauses are the words of each clause of a text, normalised.
func clauses(text string) (out [][]string) {
	text = parentheses.ReplaceAllString(question.ReplaceAllString(text, "$1"), " ")
	for _, c := range clauseEnd.Split(text, -1) {
		if words := strings.Fields(idioms.Replace(Normalize(c))); len(words) > 0 {
			out = append(out, words)
		}
	}
	return out
}

// verdict is "yes", "no", or nothing where the text has none or two.
func verdict(text string) string {
	said := clauses(text)
	words := slices.Concat(said...)
	name := func(yes bool) string {
		if yes {
			return "yes"
		}
		return "no"
	}
	whole := strings.Join(words, " ")
	if either.MatchString(whole) {
		return ""
	}
	if len(words) > 0 {
		first, ok := verdicts[words[0]]
		if ok && len(said) == 2 && !isAnswer(said[0]) && isAnswer(said[1]) { // "Correct: no"
			first = verdicts[said[1][0]]
		}
		if ok {
			return name(first)
		}
	}
	if undecided.MatchString(whole) {
		return ""
	}
	out := ""
	for _, words := range said {
		for i, w := range words {
			yes, ok := verdicts[w]
			if !ok || w == "no" && i < len(words)-1 {
				continue
			}
			// "not quite true", "is not at all correct": a negation up to three words before turns the verdict. Nothing turns a "no".
			for j := max(0, i-3); j < i && w != "no" && w != "nope"; j++ {
				if negations[words[j]] {
					yes = !yes
				}
			}
			if out != "" && out != name(yes) {
				return ""
			}
			out = name(yes)
		}
	}
	if n := len(words); out == "" && n > 1 && n <= 4 && negations[words[n-1]] {
		return name(false) // "it isn't", "they were not"
	}
	return out
}

// isAnswer says whether a clause is a yes or a no and nothing else.
func isAnswer(clause []string) bool {
	return len(clause) == 1 && slices.Contains([]string{"yes", "yeah", "yep", "no", "nope"}, clause[0])
}
