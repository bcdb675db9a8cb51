package suite

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"afctl/bench/score"
)

const (
	maxChoices = 'Z' - 'A' + 1
	maxSought  = 64 << 10 // bytes of an option that is looked for in its question; of texts beyond all measure there is no expression
)

// choices takes a list of options, or an object of letters as medical exams have it.
func choices(fields map[string]any) ([]string, error) {
	key, v := first(fields, choiceKeys)
	if key == "" {
		return nil, nil
	}
	byLetter, ok := v.(map[string]any)
	if !ok {
		list, err := stringList(key, v)
		if len(list) > maxChoices {
			return nil, tooManyChoices(key, len(list))
		}
		return list, err
	}
	if len(byLetter) > maxChoices {
		return nil, tooManyChoices(key, len(byLetter))
	}
	list := make([]any, len(byLetter))
	for i := range list {
		letter := letterOf(i)
		if list[i], ok = byLetter[letter]; !ok {
			return nil, fmt.Errorf("%s: found keys %.100s, expected A, B, ... without a gap", key, strings.Join(slices.Sorted(maps.Keys(byLetter)), ", "))
		}
	}
	return stringList(key, list)
}

func tooManyChoices(key string, n int) error {
	return fmt.Errorf("%s: found %d options, expected at most %d, a letter each", key, n, maxChoices)
}

// withChoices is a question with its options, in a line each, unless they stand in it already, one after another, each behind its letter or in
// a line of its own: a model sees nothing else of a task.
func withChoices(question string, options []string) string {
	rest, there := question, true
	for i, o := range options {
		end := endOfOption(rest, i, o)
		if there = end >= 0; !there {
			break
		}
		rest = rest[end:]
	}
	if there {
		return question
	}
	for i, o := range options {
		if !bearsLetter(o, i) {
			o = letterOf(i) + ". " + o
		}
		question += "\n" + o
	}
	return question
}

// endOfOption is where option i, which is o, ends in a text, behind its letter or in a line of its own; -1 where it does not stand.
func endOfOption(text string, i int, o string) int {
	if bearsLetter(o, i) {
		o = strings.TrimSpace(lettered.ReplaceAllString(o, ""))
	}
	if len(o) > maxSought {
		return -1
	}
	o = regexp.QuoteMeta(o)
	at := regexp.MustCompile(`(?m)(?:^|[\s(\[,;])` + letterOf(i) + `\s*[)\].:]\s*` + o + `(?:\W|$)|^[ \t]*(?:[-*•][ \t]+)?` + o + `[ \t]*$`).FindStringIndex(text)
	if at == nil {
		return -1
	}
	return at[1]
}

func letterOf(option int) string { return string(rune('A' + option)) }

// lettered is an option that bears a letter.
var lettered = regexp.MustCompile(`^\(?[A-Z][.):]`)

func bearsLetter(option string, i int) bool {
	return lettered.MatchString(option) && strings.HasPrefix(strings.TrimPrefix(option, "("), letterOf(i))
}

// chosen makes sure that answer and answer_idx name one and the same option, and gives its letter. Of two options with one text, answer_idx
// says which.
func chosen(fields map[string]any, key string, named, options []string) ([]string, error) {
	right := -1
	agree := func(from, found string, picked []int) error {
		if len(picked) != 1 || picked[0] < 0 || picked[0] >= len(options) {
			hint := ""
			if n, err := strconv.Atoi(found); from != "answer_idx" && err == nil && n >= 0 && n <= len(options) { // MMLU's files
				hint = ", by its letter or text; its number, from 0, is read from answer_idx"
			}
			return fmt.Errorf("%s: found %q, expected one of the %d options%s", from, clipBytes(found), len(options), hint)
		}
		if right >= 0 && picked[0] != right {
			return fmt.Errorf("%s: found option %c, but another column says %c", from, 'A'+picked[0], 'A'+right)
		}
		right = picked[0]
		return nil
	}
	if v := fields["answer_idx"]; v != nil {
		s, ok := scalar(v)
		if !ok {
			return nil, fmt.Errorf("answer_idx: found %s, expected a letter or a number from 0", kind(v))
		}
		picked := score.Pick(options, s)
		if n, err := strconv.Atoi(s); err == nil {
			picked = []int{n}
		}
		if err := agree("answer_idx", s, picked); err != nil {
			return nil, err
		}
	}
	for _, a := range named {
		picked := score.Pick(options, a)
		if right >= 0 && isOption(options[right], a) {
			picked = []int{right}
		}
		if err := agree(key, a, picked); err != nil {
			return nil, err
		}
	}
	return []string{letterOf(right)}, nil
}

// isOption reports whether an answer is the option's text as it is written, with or without its letter.
func isOption(option, answer string) bool {
	return answer == option || answer == strings.TrimSpace(lettered.ReplaceAllString(option, ""))
}
