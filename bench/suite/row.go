package suite

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"afctl/bench/score"
	"afctl/flow"
)

// Columns, in the order in which the first that a row has is taken.
var (
	questionKeys = []string{"query", "question", "problem"}
	answerKeys   = []string{"answer", "answers", "golden_answers", "final_answer", "result", "solution"}
	choiceKeys   = []string{"choices", "options"}
	idKeys       = []string{"pid", "idx", "id"}
	allKeys      = slices.Concat(questionKeys, answerKeys, choiceKeys, idKeys, []string{aliasesKey, "answer_idx", "image", "scorer"})
)

// aliasesKey is the column in which MuSiQue has what is accepted beside its answer.
const aliasesKey = "answer_aliases"

// maxReported is how many faulty rows an error lists.
const maxReported = 10

// tasks turns rows into tasks, or says what is wrong with the first few that cannot be.
func (r Reader) tasks(suite string, rows []row) ([]flow.Task, error) {
	tasks := make([]flow.Task, 0, len(rows))
	var faults []error
	for _, one := range rows {
		t, err := r.task(suite, one)
		if err != nil {
			faults = append(faults, fmt.Errorf("row %d: %w", one.n, err))
			if len(faults) == maxReported {
				break
			}
			continue
		}
		tasks = append(tasks, t)
	}
	if faults != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, errors.Join(faults...))
	}
	if !r.ContentKeys {
		if err := duplicates(tasks, ErrDuplicateID, "id", func(t flow.Task) string { return t.Meta[MetaID] }); err != nil {
			return nil, fmt.Errorf("%w; expected each id once: give every row its own, or leave the ids out, and rows are told apart by their content", err)
		}
	}
	return tasks, duplicates(tasks, ErrDuplicate, "content", func(t flow.Task) string { return t.ID })
}

// duplicates lists the tasks that share a key, as an error of a kind. An empty key is shared by none.
func duplicates(tasks []flow.Task, kind error, what string, key func(flow.Task) string) error {
	rows := make(map[string][]string, len(tasks))
	for _, t := range tasks {
		if k := key(t); k != "" {
			rows[k] = append(rows[k], t.Meta[MetaRow])
		}
	}
	var listed []string
	more := 0
	for _, t := range tasks {
		k := key(t)
		if len(rows[k]) < 2 {
			continue
		}
		if len(listed) < maxReported {
			listed = append(listed, fmt.Sprintf("%s %.100s in rows %s", what, k, strings.Join(rows[k], ", ")))
		} else {
			more++
		}
		delete(rows, k)
	}
	if listed == nil {
		return nil
	}
	if more > 0 {
		listed = append(listed, fmt.Sprintf("and %d more", more))
	}
	return fmt.Errorf("%w: %s", kind, strings.Join(listed, "; "))
}

func (r Reader) task(suite string, one row) (flow.Task, error) {
	if err := checkKeys(one.fields); err != nil {
		return flow.Task{}, err
	}
	t := flow.Task{Meta: map[string]string{MetaSuite: suite, MetaRow: strconv.Itoa(one.n)}}
	var err error
	if t.Question, err = question(one.fields, t.Meta); err != nil {
		return flow.Task{}, err
	}
	if t.Choices, err = choices(one.fields); err != nil {
		return flow.Task{}, err
	}
	t.Question = withChoices(t.Question, t.Choices)
	if t.Answers, err = answers(one.fields, t.Choices); err != nil {
		return flow.Task{}, err
	}
	if k, v := first(one.fields, idKeys); k != "" {
		id, ok := scalar(v)
		if !ok {
			return flow.Task{}, fmt.Errorf("%s: found %s, expected a string or a number", k, kind(v))
		}
		t.Meta[MetaID] = id
	}
	if family, ok := scalar(one.fields[flow.MetaFamily]); ok && family != "" { // what is neither text nor a number is a column for others
		t.Meta[flow.MetaFamily] = family
	}
	if t.Scorer, err = r.scorer(suite, one.fields, t); err != nil {
		return flow.Task{}, err
	}
	t.ID = contentKey(t)
	return t, nil
}

// contentKey is the first 64 bits of a SHA-256 over everything that makes a task what it is, its scorer included: at a million rows the chance of
// two that collide is 3e-8, and a collision would be reported as a duplicate, never mixed up.
func contentKey(t flow.Task) string {
	h := sha256.New()
	for _, list := range [][]string{{t.Question}, t.Choices, t.Answers, {t.Scorer}} {
		h.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(list))))
		for _, s := range list {
			h.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(s))))
			h.Write([]byte(s))
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// checkKeys refuses a column whose name is one of ours but for its case, and a row that needs an image. A copy beside our own is no slip:
// AgentFlow's GAIA has its question, and the original's Question with the same text.
func checkKeys(fields map[string]any) error {
	for _, k := range slices.Sorted(maps.Keys(fields)) {
		for _, want := range allKeys {
			if k == want || !strings.EqualFold(k, want) {
				continue
			}
			if own, there := fields[want]; !there {
				return fmt.Errorf("found key %.100q, expected %q", k, want)
			} else if !reflect.DeepEqual(own, fields[k]) {
				return fmt.Errorf("found key %.100q with another value than %q beside it, expected %q alone or both alike", k, want, want)
			}
		}
	}
	if v, ok := fields["image"]; ok && v != nil && v != "" {
		return fmt.Errorf("image: found %s, expected null: only text can be asked", kind(v))
	}
	return nil
}

// unread reports whether a column is none of ours, in any case.
func unread(key string, _ any) bool {
	return key != flow.MetaFamily && !slices.ContainsFunc(allKeys, func(want string) bool { return strings.EqualFold(key, want) })
}

// first gives the first of the keys that the row has with a value.
func first(fields map[string]any, keys []string) (string, any) {
	for _, k := range keys {
		if v, ok := fields[k]; ok && v != nil {
			return k, v
		}
	}
	return "", nil
}

func kind(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case string:
		return strconv.Quote(clipBytes(v))
	case number:
		return string(v)
	case bool:
		return strconv.FormatBool(v)
	case []any:
		return fmt.Sprintf("a list of %d", len(v))
	}
	return "an object"
}

// clipBytes shortens what a message repeats of a row.
func clipBytes(s string) string {
	if len(s) > 40 {
		return strings.ToValidUTF8(s[:40], "") + "…"
	}
	return s
}

// scalar gives a string or number as text.
func scalar(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return strings.TrimSpace(v), true
	case number:
		return string(v), true
	}
	return "", false
}

func stringList(key string, v any) ([]string, error) {
	list, ok := v.([]any)
	if !ok {
		return nil, fmt.Errorf("%s: found %s, expected a list of strings", key, kind(v))
	}
	out := make([]string, len(list))
	for i, e := range list {
		s, ok := scalar(e)
		if !ok || s == "" {
			return nil, fmt.Errorf("%s[%d]: found %s, expected a string or a number", key, i, kind(e))
		}
		out[i] = s
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: found an empty list, expected at least one entry", key)
	}
	return out, nil
}

// question takes the text; a list of numbers is a 24-game, which gets its rules where no query states them.
func question(fields map[string]any, meta map[string]string) (string, error) {
	key, v := first(fields, questionKeys)
	if key == "" {
		return "", fmt.Errorf("found no question, expected one in %s", strings.Join(questionKeys, ", "))
	}
	if list, ok := fields["question"].([]any); ok {
		numbers, err := stringList("question", list)
		if err != nil {
			return "", err
		}
		for i, n := range numbers {
			if _, err := strconv.ParseUint(n, 10, 32); err != nil {
				return "", fmt.Errorf("question[%d]: found %q, expected a whole number of a 24-game", i, clipBytes(n))
			}
		}
		meta[score.MetaNumbers] = strings.Join(numbers, " ")
		if key == "question" {
			return fmt.Sprintf("Using the numbers [%s], write an expression that equals 24. Use + - * / and brackets, and each number exactly once.",
				strings.Join(numbers, ", ")), nil
		}
	}
	text, ok := v.(string)
	if text = strings.TrimSpace(text); !ok || text == "" {
		return "", fmt.Errorf("%s: found %s, expected a text", key, kind(v))
	}
	return text, nil
}

// finalMark stands before the answer in worked solutions of GSM8K.
var finalMark = regexp.MustCompile(`(?:^|\n)####\s*`)

func answers(fields map[string]any, options []string) ([]string, error) {
	key, v := first(fields, answerKeys)
	var out []string
	switch {
	case key == "" && fields["answer_idx"] == nil:
		return nil, fmt.Errorf("found no answer, expected one in %s", strings.Join(answerKeys, ", "))
	case key != "":
		if s, ok := scalar(v); ok && s != "" {
			out = []string{s}
			break
		}
		var err error
		if out, err = stringList(key, v); err != nil {
			if _, isList := v.([]any); !isList {
				err = fmt.Errorf("%s: found %s, expected a string, a number or a list of them", key, kind(v))
			}
			return nil, err
		}
	}
	for i, a := range out {
		if at := finalMark.FindAllStringIndex(a, -1); at != nil {
			out[i] = strings.TrimSpace(a[at[len(at)-1][1]:])
		} else if key == "solution" {
			out[i], _ = score.Extract(a)
		}
	}
	if options == nil {
		return withAliases(out, fields[aliasesKey])
	}
	return chosen(fields, key, out, options)
}

// withAliases adds what is accepted beside the answers, which may be nothing.
func withAliases(answers []string, v any) ([]string, error) {
	if list, ok := v.([]any); v == nil || ok && len(list) == 0 {
		return answers, nil
	}
	aliases, err := stringList(aliasesKey, v)
	return append(answers, aliases...), err
}

// scorer is the row's own, the reader's, the suite's, or the one that fits the answers.
func (r Reader) scorer(suite string, fields map[string]any, t flow.Task) (string, error) {
	name := r.Scorer
	if name == "" {
		name = known[suite]
	}
	if v := fields["scorer"]; v != nil {
		var ok bool
		if name, ok = v.(string); !ok {
			return "", fmt.Errorf("scorer: found %s, expected a name", kind(v))
		}
	}
	all := func(is func(string) bool) bool {
		return !slices.ContainsFunc(t.Answers, func(a string) bool { return !is(a) })
	}
	switch {
	case name != "":
	case t.Choices != nil:
		name = "choice"
	case t.Meta[score.MetaNumbers] != "":
		name = "game24"
	case all(score.IsYesNo):
		name = "yesno"
	case all(score.IsNumber), all(score.IsFormula):
		name = "number"
	default:
		name = "exact"
	}
	// The scorer has to be able to use the truth: found out now, not after the solves.
	t.Scorer, t.ID = name, cmp.Or(t.Meta[MetaID], "in row "+t.Meta[MetaRow]) // for the error: its own is not known yet
	if name == score.Judge {
		return name, nil // a model, which takes any
	}
	if _, err := score.Score(t, ""); err != nil {
		return "", err
	}
	return name, nil
}
