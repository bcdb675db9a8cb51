package suite

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"afctl/flow"
)

// Keys of Task.Meta that this package sets.
const (
	MetaSuite = "suite" // the suite's name
	MetaRow   = "row"   // number of the row in its file, from 1
	MetaID    = "id"    // the row's own id, where it has one
)

// Errors that a caller can tell apart; all come wrapped in a *FileError. ErrDuplicateID is an ErrDuplicate that ContentKeys allows.
var (
	ErrDuplicate   = errors.New("duplicate rows")
	ErrDuplicateID = fmt.Errorf("%w under one id", ErrDuplicate)
	ErrFormat      = errors.New("unusable rows")
)

// extensions are those of the files that can be read.
var extensions = []string{".json", ".jsonl", ".ndjson", ".parquet"}

// Suite is a named list of tasks with distinct IDs.
type Suite struct {
	Name  string
	Path  string // empty for the gym
	Tasks []flow.Task
}

// Reader says how files are read. The zero value is right for well-kept files.
type Reader struct {
	// Scorer judges every row that names none itself; empty means the suite's own (Known), or one chosen by each row's
	// answer: choice, game24, yesno, number or exact.
	Scorer string
	// ContentKeys allows rows to share an id of their own (as MedQA's do), which is an error without it: rows are told
	// apart by content alone.
	ContentKeys bool
	// N is how many tasks to take; 0 means all, and GymTasks from the gym.
	N int
	// Seed shuffles a file's rows before N are taken, unless it is 0; for the gym it draws the tasks.
	Seed uint64
}

// Load reads the tasks of one file; its extension (.json, .jsonl, .ndjson, .parquet) tells the format, its base name names
// the suite.
func (r Reader) Load(path string) (*Suite, error) {
	name := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	return r.load(name, path)
}

func (r Reader) load(name, path string) (*Suite, error) {
	if r.N < 0 {
		return nil, fmt.Errorf("suite %s: found n = %d, expected 0 (all) or more", name, r.N)
	}
	rows, err := readFile(path)
	if err != nil {
		return nil, err
	}
	tasks, err := r.tasks(name, rows)
	if err != nil {
		return nil, &FileError{Path: path, Err: err}
	}
	s := &Suite{Name: name, Path: path, Tasks: tasks}
	if r.Seed != 0 {
		s = s.Shuffle(r.Seed)
	}
	if r.N > 0 {
		s = s.Limit(r.N)
	}
	return s, nil
}

// Named finds a suite by name: the gym ("gym" and "gym:heldout" for held-out tasks, "gym:train"), or NAME.json, .jsonl or
// .parquet in dir, or AgentFlow's NAME/data/data.json.
func (r Reader) Named(name, dir string) (*Suite, error) {
	if name == gymName || strings.HasPrefix(name, gymName+":") {
		return r.gym(name)
	}
	if name == "" || name != filepath.Base(name) {
		return nil, fmt.Errorf("suite: found %.200q, expected a plain name such as %s, or a file whose name ends in %s",
			name, strings.Join(Known(), ", "), strings.Join(extensions, ", "))
	}
	var tried []string
	for _, tail := range append(slices.Clone(extensions), "/data/data.json") {
		path := filepath.Join(dir, filepath.FromSlash(name+tail))
		info, err := os.Stat(path)
		switch {
		case err == nil && info.Mode().IsRegular():
			return r.load(name, path)
		case err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR):
			return nil, fmt.Errorf("suite %s: %w", name, err)
		}
		tried = append(tried, name+tail)
	}
	if info, err := os.Stat(filepath.Join(dir, name)); err == nil && !info.IsDir() {
		return nil, fmt.Errorf("suite: found the file %s, whose name tells no format, expected one that ends in %s: rename it",
			filepath.Join(dir, name), strings.Join(extensions, ", "))
	}
	return nil, fmt.Errorf("suite %s: %w in folder %s; looked for %s (the suite gym is built in)", name, fs.ErrNotExist, dir, strings.Join(tried, ", "))
}

// Limit keeps the first n tasks, or all where there are fewer.
func (s *Suite) Limit(n int) *Suite {
	out := *s
	out.Tasks = slices.Clone(s.Tasks[:max(0, min(n, len(s.Tasks)))])
	return &out
}

// Shuffle gives the tasks in an order that depends on the seed and on their contents only, not on the order of the rows.
func (s *Suite) Shuffle(seed uint64) *Suite {
	out := *s
	out.Tasks = slices.Clone(s.Tasks)
	slices.SortFunc(out.Tasks, func(a, b flow.Task) int { return strings.Compare(a.ID, b.ID) })
	rng := flow.NewRand(flow.DeriveSeed(seed, "suite.shuffle"))
	rng.Shuffle(len(out.Tasks), func(i, j int) { out.Tasks[i], out.Tasks[j] = out.Tasks[j], out.Tasks[i] })
	return &out
}

// known maps the suites that AgentFlow is evaluated on to their scorer; empty means by row. Free answers mix names,
// numbers, and yes or no.
var known = map[string]string{
	"bamboogle": "", "2wiki": "", "hotpotqa": "", "musique": "", "gaia": "",
	"aime24": "number", "amc23": "number", "gameof24": "game24", "gpqa": "choice", "medqa": "choice",
}

// Known lists the suites of the paper by name, in alphabetical order.
func Known() []string { return slices.Sorted(maps.Keys(known)) }
