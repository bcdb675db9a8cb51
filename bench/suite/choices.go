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

// choices takes a list of options, or an object of letters as medical exams have it.
func choices(fields map[string]any) ([]string, error) {
	key, v := first(fields, choiceKeys)
	if key == "" {
		return nil, nil
	}
	byLetter, ok := v.(map[string]any)
	if !ok {
		return stringList(key, v)
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

// withChoices is a question with its options, in a line each, unless they stand in it already, one after another, each behind its letter or in
// a line of its own: a model sees nothing else of a task.
func withChoices(question string, options []string) string {
	rest, there := question, true
	for i, o := range options {
		letter, text := letterOf(i), o
		if bearsLetter(o, i) {
			text = strings.TrimSpace(lettered.ReplaceAllString(o, ""))
		}
		text = regexp.QuoteMeta(text)
		at := regexp.MustCompile(`(?m)(?:^|[\s(\[,;])` + letter + `\s*[)\].:]\s*` + text + `(?:\W|$)|^[ \t]*(?:[-*•][ \t]+)?` + text + `[ \t]*$`).FindStringIndex(rest)
		if there = at != nil; !there {
			break
		}
		rest = rest[at[1]:]
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
			return fmt.Errorf("%s: found %q, expected one of the %d options", from, clip(found), len(options))
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
