package suite

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/parquet-go/parquet-go"
	"pgregory.net/rapid"

	"afctl/bench/score"
	"afctl/flow"
)

// plainReader is the reader without settings.
var plainReader Reader

func TestQuestionsHaveTheirOptionsOnce(t *testing.T) {
	tooLong := strings.Repeat("x", 4<<20) // for an expression
	for _, c := range []struct {
		question string
		options  []string
		want     string
	}{
		{"Which?", nil, "Which?"},
		{"Which?", []string{"a neutron", "an electron"}, "Which?\nA. a neutron\nB. an electron"},
		{"Which?", []string{"(A) one", "B) two"}, "Which?\n(A) one\nB) two"},
		{"Which? A: one B: two", []string{"one", "two"}, "Which? A: one B: two"},
		{"Is two more than one?", []string{"one", "two"}, "Is two more than one?\nA. one\nB. two"}, // both words stand there, but not as options
		{"How many primes lie between 1200 and 1234?", []string{"1", "2", "3", "4"}, "How many primes lie between 1200 and 1234?\nA. 1\nB. 2\nC. 3\nD. 4"},
		{"A man of 25 has a BP of 130/80.", []string{"2", "5", "13", "80"}, "A man of 25 has a BP of 130/80.\nA. 2\nB. 5\nC. 13\nD. 80"},
		{"Which?\n(A) 1.5\n(B) 2", []string{"1.5", "2"}, "Which?\n(A) 1.5\n(B) 2"},
		{"Which?\nA) x+1\nB) x", []string{"(A) x+1", "(B) x"}, "Which?\nA) x+1\nB) x"},
		{"Which?\n- red\n- dark blue\n", []string{"red", "dark blue"}, "Which?\n- red\n- dark blue\n"},
		{"Which? A. 12 B. 2", []string{"1", "2"}, "Which? A. 12 B. 2\nA. 1\nB. 2"},
		{"Which?", []string{"B. Braun", "Apple"}, "Which?\nA. B. Braun\nB. Apple"},
		{"Which?", []string{"long", tooLong}, "Which?\nA. long\nB. " + tooLong},
	} {
		if got := withChoices(c.question, c.options); got != c.want {
			t.Errorf("%.99q with %.99q: found %.99q, expected %.99q", c.question, c.options, got, c.want)
		}
	}
}

// A row may say which family it is of, as the gym's tasks do; its key in a run does not depend on that.
func TestRowsOfFamilies(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.jsonl")
	load := func(line string) (flow.Task, error) {
		if err := os.WriteFile(path, []byte(line), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := plainReader.Load(path)
		if err != nil {
			return flow.Task{}, err
		}
		return s.Tasks[0], nil
	}
	plain, err := load(`{"question":"q","answer":"a"}`)
	if err != nil {
		t.Fatal(err)
	}
	for given, want := range map[string]string{`"bridge"`: "bridge", `3`: "3", `null`: "", `" "`: "", `["bridge"]`: "", `true`: ""} {
		task, err := load(`{"question":"q","answer":"a","Family":"a column for others","family":` + given + `}`)
		if found, has := task.Meta[flow.MetaFamily]; err != nil || found != want || has != (want != "") || task.ID != plain.ID {
			t.Errorf("family %s: %v, task %+v, expected the family %q and the key %s", given, err, task, want, plain.ID)
		}
	}
}

func TestNamedSuites(t *testing.T) {
	meta := func(suite, row, id string) map[string]string {
		return map[string]string{MetaSuite: suite, MetaRow: row, MetaID: id}
	}
	game := meta("gameof24", "2", "1")
	game[score.MetaNumbers] = "1 1 1 8"
	for _, c := range []struct {
		name string
		row  int
		want flow.Task
	}{
		{"hotpotqa", 0, flow.Task{Question: "Which harbour town has the older lighthouse, Alm or Brek?When ready, output the final answer enclosed in <answer> and </answer> tags.",
			Answers: []string{"Brek", "the town of Brek"}, Scorer: "exact", Meta: meta("hotpotqa", "1", "0")}},
		{"hotpotqa", 1, flow.Task{Question: "Were both lighthouses built in one year?", Answers: []string{"yes"}, Scorer: "yesno", Meta: meta("hotpotqa", "2", "1")}},
		{"hotpotqa", 2, flow.Task{Question: "In which year was the lighthouse of Alm built?", Answers: []string{"1871"}, Scorer: "number", Meta: meta("hotpotqa", "3", "2")}},
		{"2wiki", 0, flow.Task{Question: "Who is the father of the keeper of Brek?", Answers: []string{"Gül Aras"}, Scorer: "exact", Meta: meta("2wiki", "1", "0")}},
		{"aime24", 0, flow.Task{Question: `Let $x = \tfrac{m}{n}$. Find $m+n$.`, Answers: []string{"33"}, Scorer: "number", Meta: meta("aime24", "1", "0")}},
		{"gameof24", 1, flow.Task{Question: "Using the numbers [1, 1, 1, 8], write an expression that equals 24. Use + - * / and brackets, and each number exactly once.",
			Answers: []string{"(1+1+1)×8", "8×(1+1+1)"}, Scorer: "game24", Meta: game}},
		{"medqa", 0, flow.Task{Question: "Which vitamin prevents scurvy?\nA. Vitamin A\nB. Vitamin C\nC. Vitamin D", Answers: []string{"B"}, Choices: []string{"Vitamin A", "Vitamin C", "Vitamin D"}, Scorer: "choice", Meta: meta("medqa", "1", "0")}},
		{"medqa", 1, flow.Task{Question: "Which vitamin prevents night blindness?\nA. Vitamin A\nB. Vitamin C", Answers: []string{"A"}, Choices: []string{"Vitamin A", "Vitamin C"}, Scorer: "choice", Meta: meta("medqa", "2", "1")}},
		{"gpqa", 0, flow.Task{Question: "Which is heavier?\nA. a neutron\nB. an electron\nC. both alike\nD. neither", Answers: []string{"A"}, Choices: []string{"A. a neutron", "B. an electron", "C. both alike", "D. neither"}, Scorer: "choice", Meta: meta("gpqa", "1", "0")}},
		{"mixed", 0, flow.Task{Question: "A worked sum.", Answers: []string{`\frac{1}{2}`}, Scorer: "number", Meta: meta("mixed", "1", "a")}},
		{"mixed", 1, flow.Task{Question: "A word problem.", Answers: []string{"3"}, Scorer: "number", Meta: meta("mixed", "3", "b")}},
		{"mixed", 2, flow.Task{Question: "Who?", Answers: []string{"Ann", "Anne"}, Scorer: "f1", Meta: meta("mixed", "4", "c")}},
		{"mixed", 3, flow.Task{Question: "How many?", Answers: []string{"1.50"}, Scorer: "number", Meta: meta("mixed", "5", "d")}},
	} {
		s, err := plainReader.Named(c.name, "testdata")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, s.Tasks[c.row], cmpopts.IgnoreFields(flow.Task{}, "ID")); diff != "" {
			t.Errorf("%s, row %d (- expected, + found):\n%s", c.name, c.row, diff)
		}
		for _, task := range s.Tasks {
			if g, err := score.Score(task, task.Answers[0]); err != nil || g.Reward != 1 {
				t.Errorf("%s: the truth of row %s scores %g: %s %v", c.name, task.Meta[MetaRow], g.Reward, g.Reason, err)
			}
		}
	}
}

func TestParquet(t *testing.T) {
	type row struct {
		ID       int64    `parquet:"id"`
		Question string   `parquet:"question"`
		Golden   []string `parquet:"golden_answers,list"`
		Extra    struct {
			Split string `parquet:"split"`
		} `parquet:"extra"`
	}
	var b bytes.Buffer
	w := parquet.NewGenericWriter[row](&b)
	if _, err := w.Write([]row{{ID: 1, Question: "Who?", Golden: []string{"Ann", "Anne"}}, {ID: 2, Question: "Where?", Golden: []string{"Alm"}}}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "nq.parquet")
	write := func(data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(b.Bytes())
	s, err := plainReader.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Tasks) != 2 || !slices.Equal(s.Tasks[0].Answers, []string{"Ann", "Anne"}) || s.Tasks[1].Meta[MetaID] != "2" {
		t.Errorf("%+v", s.Tasks)
	}
	onlyReadColumns(t, path, "golden_answers", "id", "question")
	lying := bytes.Clone(b.Bytes())
	copy(lying[len(lying)-8:], "\xff\xff\xff\xef") // the length of the footer
	write(lying)
	if _, err := plainReader.Load(path); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "footer of") {
		t.Errorf("a footer longer than the file: %v", err)
	}
	var none bytes.Buffer
	if err := parquet.NewGenericWriter[row](&none).Close(); err != nil {
		t.Fatal(err)
	}
	write(none.Bytes())
	if _, err := plainReader.Load(path); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "found no rows") {
		t.Errorf("without rows: %v", err)
	}
	write(b.Bytes()[:b.Len()-9])
	var file *FileError
	if _, err := plainReader.Load(path); !errors.As(err, &file) || !errors.Is(err, ErrFormat) {
		t.Errorf("a torn file: %v", err)
	}
}

// onlyReadColumns makes sure that the rows of a file hold these columns and no others.
func onlyReadColumns(t *testing.T, path string, want ...string) {
	t.Helper()
	rows, err := readFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range rows {
		if got := slices.Sorted(maps.Keys(one.fields)); !slices.Equal(got, want) {
			t.Errorf("%s, row %d holds %q, expected %q", filepath.Base(path), one.n, got, want)
		}
	}
}

func TestOtherColumnsAreNotHeld(t *testing.T) {
	text := `{"Query":"Q","question":"q","answer":"a","context":[["Title",["A passage."]]],"image":null}`
	for ext, file := range map[string]string{".json": "[" + text + "]", ".jsonl": text + "\n" + text} {
		path := filepath.Join(t.TempDir(), "s"+ext)
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		onlyReadColumns(t, path, "Query", "answer", "image", "question")
	}
}

// MuSiQue accepts more than its answer; most of its rows have no more.
func TestAliases(t *testing.T) {
	for aliases, want := range map[string][]string{`["Annie", "A. Keeper"]`: {"Ann", "Annie", "A. Keeper"}, `[]`: {"Ann"}, `null`: {"Ann"}, `"Annie"`: nil, `[["Annie"]]`: nil} {
		path := filepath.Join(t.TempDir(), "musique.jsonl")
		text := `{"id":"2hop__1_2","paragraphs":[{"idx":0,"title":"Alm"}],"question":"Who kept the light?","answer":"Ann","answer_aliases":` + aliases + `}`
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := plainReader.Load(path)
		if want == nil {
			if err == nil || !strings.Contains(err.Error(), "answer_aliases") {
				t.Errorf("aliases %s: %v, expected an error that names their column", aliases, err)
			}
		} else if err != nil || !slices.Equal(s.Tasks[0].Answers, want) {
			t.Errorf("aliases %s: %+v, %v; expected %q", aliases, s, err, want)
		}
	}
}

// AgentFlow's GAIA keeps the original's columns beside its own.
func TestCopiesInAnotherCaseAreLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gaia.json")
	text := `[{"pid":"0","question":"Who kept the light?","query":"Who kept the light?","answer":"Ann","Question":"Who kept the light?","Final answer":"Ann"}]`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := plainReader.Load(path)
	if err != nil || s.Tasks[0].Question != "Who kept the light?" || !slices.Equal(s.Tasks[0].Answers, []string{"Ann"}) {
		t.Errorf("%+v, %v", s, err)
	}
}

// Options that differ in their case only, or in nothing, or have several lines, as some of GPQA's: the answer is found as it is written, and
// answer_idx tells twins apart.
func TestOptionsThatAreHardToTellApart(t *testing.T) {
	lines := []string{"A. 1: mix x + y -> a\n2. a + z -> b\n", "B. 1: mix x + z -> a\n2. a + y -> b\n3. b -> A, B or C\n"}
	for _, c := range []struct {
		options []string
		answer  string
		idx     int // -1 for none
		want    string
	}{
		{[]string{"A. $E = q/L^2$\n", "B. $E = q/l^2$\n"}, "A. $E = q/L^2$\n", 0, "A"},
		{[]string{"A. $E = q/L^2$\n", "B. $E = q/l^2$\n"}, "$E = q/l^2$", -1, "B"},
		{lines, lines[1], 1, "B"},
		{lines, lines[1], -1, "B"},
		{lines, lines[0], -1, "A"},
		{[]string{"A. 20 mL", "B. 20 mL", "C. 18 mL"}, "B. 20 mL", 1, "B"},
		{[]string{"A. 20 mL", "B. 20 mL", "C. 18 mL"}, "B. 20 mL", -1, "B"},
		{[]string{"A. 20 mL", "B. 20 mL", "C. 18 mL"}, "20 mL", 1, "B"},
		{[]string{"A. 20 mL", "B. 20 mL", "C. 18 mL"}, "20 mL", -1, ""},
		{[]string{"A. 20 mL", "B. 20 mL", "C. 18 mL"}, "B. 20 mL", 0, ""},
		{[]string{"A. 20 mL", "B. 20 mL", "C. 18 mL"}, "20 mL", 2, ""},
		{[]string{"B. Braun", "B. Braun", "Apple"}, "B. Braun", 0, "A"},
		{[]string{"x", "y"}, "x or y", 0, ""},
	} {
		fields := map[string]any{}
		var options []string
		for _, o := range c.options {
			options = append(options, strings.TrimSpace(o))
		}
		if c.idx >= 0 {
			fields["answer_idx"] = number(fmt.Sprint(c.idx))
		}
		got, err := chosen(fields, "answer", []string{strings.TrimSpace(c.answer)}, options)
		if c.want == "" && err == nil || c.want != "" && !slices.Equal(got, []string{c.want}) {
			t.Errorf("%q with index %d among %q: found %q, %v; expected %q", c.answer, c.idx, c.options, got, err, c.want)
		}
	}
}

// No two tasks of other content have one key, wherever the same letters are parted.
func TestContentKey(t *testing.T) {
	seen := map[string]flow.Task{}
	for _, task := range []flow.Task{
		{Question: "q", Answers: []string{"ab", "c"}}, {Question: "q", Answers: []string{"a", "bc"}}, {Question: "q", Answers: []string{"abc"}}, {Question: "qa", Answers: []string{"bc"}},
		{Question: "q", Choices: []string{"ab"}, Answers: []string{"c"}}, {Question: "q", Choices: []string{"ab", "c"}}, {Question: "q", Answers: []string{"ab"}, Scorer: "c"},
	} {
		key := contentKey(task)
		if other, twice := seen[key]; twice {
			t.Errorf("%+v and %+v are %s", task, other, key)
		}
		seen[key] = task
	}
}

// Each faulty file is refused with a message that names the row, what was found and what was expected.
func TestFaultyFiles(t *testing.T) {
	beyond := "" // keys behind A, to one that is no letter
	for i := 1; i <= 26; i++ {
		beyond += fmt.Sprintf(`,"%c":"%d"`, 'A'+i, i)
	}
	for _, c := range []struct {
		name, ext, text, want string
		kind                  error
	}{
		{"not an array", ".json", `{"question":"q","answer":"a"}`, "expected an array", ErrFormat},
		{"empty array", ".json", `[]`, "no rows", ErrFormat},
		{"cut off", ".json", `[{"question":"q","answer":"a"},{"ques`, "cut off", ErrFormat},
		{"more behind", ".json", `[{"question":"q","answer":"a"}] x`, "after the array", ErrFormat},
		{"not an object", ".json", `[1]`, "row 1: unusable rows: found a number, expected an object", ErrFormat},
		{"late byte order mark", ".jsonl", "{\"question\":\"q\",\"answer\":\"a\"}\n\ufeff{}", "row 2: unusable rows: found no JSON", ErrFormat},
		{"only a byte order mark", ".jsonl", "\ufeff", "found no rows", ErrFormat},
		{"duplicate key", ".json", `[{"question":"q","question":"r","answer":"a"}]`, "row 1: unusable rows: question: found twice, expected once", ErrFormat},
		{"duplicate key in a line", ".jsonl", `{"question":"q","question":"r","answer":"a"}`, "row 1: unusable rows: question: found twice, expected once", ErrFormat},
		{"duplicate key deep", ".json", `[{"question":"q","answer":"a","x":{"y":1,"y":2}}]`, "row 1: unusable rows: x.y: found twice, expected once", ErrFormat},
		{"invalid UTF-8", ".json", "[{\"question\":\"\xff\",\"answer\":\"a\"}]", "UTF-8", ErrFormat},
		{"wrong case", ".json", `[{"Question":"q","answer":"a"}]`, `found key "Question", expected "question"`, ErrFormat},
		{"another case, another value", ".json", `[{"Answer":"b","question":"q","answer":"a"}]`, `found key "Answer" with another value than "answer"`, ErrFormat},
		{"another case, null", ".json", `[{"Question":"q","question":null,"query":"q","answer":"a"}]`, `found key "Question" with another value`, ErrFormat},
		{"no question", ".json", `[{"answer":"a"}]`, "found no question", ErrFormat},
		{"no answer", ".json", `[{"question":"q"}]`, "found no answer", ErrFormat},
		{"null answer", ".json", `[{"question":"q","answer":null}]`, "found no answer", ErrFormat},
		{"blank question", ".json", `[{"question":" ","answer":"a"}]`, "expected a text", ErrFormat},
		{"empty answers", ".json", `[{"question":"q","answer":[]}]`, "empty list", ErrFormat},
		{"nested answers", ".json", `[{"question":"q","answer":[["a"]]}]`, "answer[0]: found a list of 1", ErrFormat},
		{"boolean answer", ".json", `[{"question":"q","answer":true}]`, "answer: found true", ErrFormat},
		{"image", ".json", `[{"question":"q","answer":"a","image":"a.png"}]`, "only text", ErrFormat},
		{"no option", ".json", `[{"question":"q","choices":["x","y"],"answer":"z"}]`, `found "z", expected one of the 2 options`, ErrFormat},
		{"number of an option", ".json", `[{"question":"q","choices":["x","y"],"answer":1}]`, `found "1", expected one of the 2 options, by its letter or text; its number, from 0, is read from answer_idx`, ErrFormat},
		{"two truths", ".json", `[{"question":"q","choices":["x","y"],"answer":"x","answer_idx":1}]`, "another column says B", ErrFormat},
		{"index out of range", ".json", `[{"question":"q","choices":["x","y"],"answer_idx":2}]`, "expected one of the 2 options", ErrFormat},
		{"more than letters", ".json", `[{"question":"q","choices":["x"` + strings.Repeat(`,"y"`, 26) + `],"answer":"x"}]`, "found 27 options, expected at most 26", ErrFormat},
		{"letters and more", ".json", `[{"question":"q","options":{"A":"0"` + beyond + `},"answer":"A"}]`, "found 27 options, expected at most 26", ErrFormat},
		{"options of text", ".json", `[{"question":"q","options":"x or y","answer":"x"}]`, "expected a list of strings", ErrFormat},
		{"option of a list", ".json", `[{"question":"q","options":["x",["y"]],"answer":"x"}]`, "options[1]: found a list", ErrFormat},
		{"scorer of no name", ".json", `[{"question":"q","answer":"a","scorer":1}]`, "scorer: found ", ErrFormat},
		{"two rows", ".json", `[{"question":"q","answer":true},{"question":"r","answer":true}]`, "row 2: answer: found true", ErrFormat},
		{"gap in letters", ".json", `[{"question":"q","options":{"A":"x","C":"y"},"answer":"x"}]`, "without a gap", ErrFormat},
		{"unknown scorer", ".json", `[{"question":"q","answer":"a","scorer":"exakt"}]`, `task in row 1: unknown scorer "exakt": expected one of choice, exact, f1, game24, number, yesno, judge`, ErrFormat},
		{"unfit scorer", ".json", `[{"question":"q","answer":"maybe","scorer":"yesno"}]`, "expected yes or no", ErrFormat},
		{"game of words", ".json", `[{"question":["one"],"answer":"a"}]`, "question[0]", ErrFormat},
		{"row named", ".json", `[{"question":"q","answer":"a"},{"question":"r","answer":""}]`, "row 2: answer", ErrFormat},
		{"line named", ".jsonl", "{\"question\":\"q\",\"answer\":\"a\"}\n\n{\"question\"", "row 3: unusable rows: the line ends within a value: it is cut off", ErrFormat},
		{"no JSON", ".json", `[{"question":"q","answer":a}]`, "row 1: unusable rows: answer: not JSON: invalid character 'a'", ErrFormat},
		{"no JSON in a line", ".jsonl", `{"question":"q","answer":a}`, "row 1: unusable rows: answer: not JSON: invalid character 'a'", ErrFormat},
		{"same content", ".json", `[{"question":"q","answer":"a"},{"question":"r","answer":"a"},{"question":"q","answer":"a"}]`, "in rows 1, 3", ErrDuplicate},
		{"same id", ".json", `[{"pid":7,"question":"q","answer":"a"},{"pid":"7","question":"r","answer":"a"}]`, "id 7 in rows 1, 2", ErrDuplicate},
		{"extension", ".csv", "question,answer\n", `extension ".csv"`, ErrFormat},
		{"no parquet", ".parquet", "PAR1xxxxPAR1", "parquet", ErrFormat},
	} {
		path := filepath.Join(t.TempDir(), "s"+c.ext)
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := plainReader.Load(path)
		var file *FileError
		if !errors.As(err, &file) || file.Path != path || !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; expected a FileError that says %q", c.name, err, c.want)
		}
	}
	if _, err := plainReader.Load(filepath.Join(t.TempDir(), "none.json")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

// AgentFlow's MedQA has 300 rows under 200 ids: results keyed by id were marked against other rows. Here it is an error, and
// with ContentKeys every row keeps a key of its own.
func TestSharedIDsCannotMixRows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.json")
	text := `[{"pid":0,"question":"q","answer":"a"},{"pid":0,"question":"r","answer":"b"}]`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := plainReader.Load(path); !errors.Is(err, ErrDuplicateID) || !errors.Is(err, ErrDuplicate) || !strings.Contains(err.Error(), "id 0 in rows 1, 2; expected each id once") || strings.Contains(err.Error(), "ContentKeys") {
		t.Errorf("%v", err)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(path), "same.json"), []byte(`[{"pid":0,"question":"q","answer":"a"},{"pid":1,"question":"q","answer":"a"}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (Reader{ContentKeys: true}).Load(filepath.Join(filepath.Dir(path), "same.json")); !errors.Is(err, ErrDuplicate) || errors.Is(err, ErrDuplicateID) {
		t.Errorf("one content under two ids: %v", err)
	}
	s, err := Reader{ContentKeys: true}.Load(path)
	if err != nil || s.Tasks[0].ID == s.Tasks[1].ID {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestByteOrderMark(t *testing.T) {
	for ext, text := range map[string]string{".json": "\ufeff[%s]", ".jsonl": "\ufeff%s\n"} {
		path := filepath.Join(t.TempDir(), "s"+ext)
		if err := os.WriteFile(path, fmt.Appendf(nil, text, `{"question":"q","answer":"a"}`), 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := plainReader.Load(path); err != nil || len(s.Tasks) != 1 {
			t.Errorf("%s: %v", ext, err)
		}
	}
}

func TestIrregularFilesAreRefused(t *testing.T) {
	dir := t.TempDir()
	pipe, folder := filepath.Join(dir, "pipe.json"), filepath.Join(dir, "folder.json")
	if err := errors.Join(syscall.Mkfifo(pipe, 0o600), os.Mkdir(folder, 0o700)); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{pipe: "found a named pipe, expected a regular file", folder: "found a folder, expected a regular file"} {
		if _, err := plainReader.Load(path); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, expected %q", err, want)
		}
	}
}

// A file's name tells its format: one that does not is named, with those that would.
func TestFileWithoutExtension(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "t"), []byte("[]"), 0o600); err != nil {
		t.Fatal(err)
	}
	want := "found the file " + filepath.Join(dir, "t") + ", whose name tells no format, expected one that ends in .json, .jsonl, .ndjson, .parquet"
	if _, err := plainReader.Named("t", dir); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, expected %q", err, want)
	}
}

func TestNames(t *testing.T) {
	if _, err := plainReader.Named("/tmp/file", "testdata"); err == nil || !strings.Contains(err.Error(), "ends in .json, .jsonl, .ndjson, .parquet") {
		t.Errorf("a path without an extension: %v", err)
	}
	for _, name := range []string{"", "../testdata/2wiki", "a/b", "nope", "gym:both"} {
		if s, err := plainReader.Named(name, "testdata"); err == nil {
			t.Errorf("%q found %s", name, s.Path)
		}
	}
	if _, err := (Reader{N: -1}).Named("2wiki", "testdata"); err == nil {
		t.Error("a negative number of tasks was taken")
	}
	if len(Known()) != 10 {
		t.Errorf("%d suites of the paper, expected 10", len(Known()))
	}
}

func TestGym(t *testing.T) {
	for name, split := range map[string]string{"gym": "heldout", "gym:heldout": "heldout", "gym:train": "train"} {
		s, err := Reader{N: 21, Seed: 5}.Named(name, "")
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Tasks) != 21 || s.Tasks[0].Meta["split"] != split || s.Tasks[0].Meta[MetaSuite] != name {
			t.Errorf("%s: %d tasks of %s", name, len(s.Tasks), s.Tasks[0].Meta["split"])
		}
	}
	if s, err := plainReader.Named("gym", ""); err != nil || len(s.Tasks) != GymTasks {
		t.Errorf("%v, %v", s, err)
	}
}

// Shuffling keeps the tasks, depends on seed and contents only, and leaves the original alone; Limit chooses in order.
func TestSelection(t *testing.T) {
	ids := func(s *Suite) []string {
		var out []string
		for _, task := range s.Tasks {
			out = append(out, task.ID)
		}
		return out
	}
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfNDistinct(rapid.StringN(1, 4, -1), 1, 20, rapid.ID[string]).Draw(t, "ids")
		s := &Suite{}
		for _, id := range list {
			s.Tasks = append(s.Tasks, flow.Task{ID: id})
		}
		seed, n := rapid.Uint64().Draw(t, "seed"), rapid.IntRange(0, 25).Draw(t, "n")
		reversed := &Suite{Tasks: slices.Clone(s.Tasks)}
		slices.Reverse(reversed.Tasks)
		a, b := s.Shuffle(seed), reversed.Shuffle(seed)
		if !slices.Equal(ids(a), ids(b)) {
			t.Fatalf("order of rows changed the shuffle: %v, %v", ids(a), ids(b))
		}
		if !slices.Equal(ids(s), list) || !slices.Equal(slices.Sorted(slices.Values(ids(a))), slices.Sorted(slices.Values(list))) {
			t.Fatalf("%v shuffled to %v", list, ids(a))
		}
		if got := ids(s.Limit(n)); !slices.Equal(got, list[:min(n, len(list))]) {
			t.Fatalf("limit %d gave %v", n, got)
		}
	})
}
