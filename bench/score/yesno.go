package score

import (
	"fmt"
	"regexp"
	"strings"

	"afctl/flow"
)

// YesNo gives 1 where the answer's verdict is that of the truth. The first word decides if it is one (yes, no, true,
// false, correct, incorrect); else the verdict words of the text, each turned by a "not" before it, must agree. "Yes or no" and "I
// cannot say yes" give no verdict. Within a sentence "no" is a verdict only as its last word ("there is no such film" says nothing of the question).
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
	either = regexp.MustCompile(`^(?:yes (?:or |and )?no|no (?:or |and )?yes)\b`)
)

// verdict is "yes", "no", or nothing where the text has none or two.
func verdict(text string) string {
	text = idioms.Replace(Normalize(text))
	words := strings.Fields(text)
	name := func(yes bool) string {
		if yes {
			return "yes"
		}
		return "no"
	}
	if either.MatchString(strings.Join(words, " ")) {
		return ""
	}
	if len(words) > 0 {
		if yes, ok := verdicts[words[0]]; ok {
			return name(yes)
		}
	}
	if undecided.MatchString(text) {
		return ""
	}
	out := ""
	for i, w := range words {
		yes, ok := verdicts[w]
		if !ok || w == "no" && i < len(words)-1 {
			continue
		}
		// "not quite true", "is not at all correct": a negation up to three words before turns the verdict.
		for j := max(0, i-3); j < i; j++ {
			if negations[words[j]] {
				yes = !yes
			}
		}
		if out != "" && out != name(yes) {
			return ""
		}
		out = name(yes)
	}
	if n := len(words); out == "" && n > 1 && n <= 4 && negations[words[n-1]] {
		return name(false) // "it isn't", "they were not"
	}
	return out
}
