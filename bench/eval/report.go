package eval

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"afctl/ckpt"
	"afctl/flow"
	"afctl/flow/strictjson"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Report is the outcome of one evaluation: its figures, and a row for every task.
type Report struct {
	Suite   string `json:"suite"`
	Repeats int    `json:"repeats"`
	Seed    uint64 `json:"seed"`
	// PolicyVersion and AdapterHash name the weights that planned; zero where the planner is no trained model.
	PolicyVersion int    `json:"policy_version"`
	AdapterHash   string `json:"adapter_hash"`
	// Sampling is how the planner was sampled; its seed is left out, each solve having its own.
	Sampling flow.Sampling `json:"sampling"`
	Summary  Summary       `json:"summary"`
	Rows     []Row         `json:"rows"`
}

// Row is what came of one task.
type Row struct {
	Task     string `json:"task"`
	Question string `json:"question"`
	Family   string `json:"family,omitempty"`
	// Mean reward over the repeats, a failed solve counting 0.
	Mean float64 `json:"mean"`
	// Answers are those of the repeats, in order; a failed solve has "", and its kind in Failures.
	Answers  []string `json:"answers"`
	Failures []string `json:"failures,omitempty"`
}

func newReport(r Run, all []flow.Trajectory) (*Report, error) {
	out := &Report{Suite: r.Suite, Repeats: r.Repeats, Seed: r.Seed}
	first := true
	for i := range all {
		t := &all[i]
		if len(t.Steps) == 0 && len(t.Turns) == 0 {
			continue // ended before any plan: it says nothing of the policy
		}
		sampling := t.Sampling
		sampling.Seed = 0
		if first {
			out.PolicyVersion, out.AdapterHash, out.Sampling = t.PolicyVersion, t.AdapterHash, sampling
			first = false
		}
		if t.PolicyVersion != out.PolicyVersion || t.AdapterHash != out.AdapterHash || sampling != out.Sampling {
			return nil, fmt.Errorf("evaluation of %s: %w: task %s, repeat %d is by policy %d %.12q at temperature %g, others by policy %d %.12q at %g",
				r.Suite, ErrMixed, t.Task, t.Sample, t.PolicyVersion, t.AdapterHash, t.Sampling.Temperature, out.PolicyVersion, out.AdapterHash, out.Sampling.Temperature)
		}
	}
	byTask := group(r.Tasks, all)
	out.Summary = summarize(r.Tasks, byTask, r.Repeats)
	for _, task := range r.Tasks {
		row := Row{Task: task.ID, Question: task.Question, Family: task.Meta[flow.MetaFamily]}
		for _, t := range byTask[task.ID] {
			if t.Failed() {
				row.Failures = append(row.Failures, t.Failure)
				row.Answers = append(row.Answers, "")
				continue
			}
			row.Mean += *t.Reward / float64(r.Repeats)
			row.Answers = append(row.Answers, t.Answer)
		}
		out.Rows = append(out.Rows, row)
	}
	return out, nil
}

// WriteJSON writes the report, the same bytes for the same report.
func (r *Report) WriteJSON(w io.Writer) error {
	if err := json.MarshalWrite(w, r, json.Deterministic(true), jsontext.Multiline(true)); err != nil {
		return fmt.Errorf("report of %s: %w", r.Suite, err)
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// ReadReport reads the file that WriteJSON wrote, strictly.
func ReadReport(path string) (*Report, error) {
	f, err := ckpt.OpenRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	return parseReport(path, data)
}

func parseReport(name string, data []byte) (*Report, error) {
	var r Report
	if err := ckpt.DecodeJSON(name, data, &r, strictjson.RefuseUnknown); err != nil {
		return nil, err
	}
	if r.Repeats < 1 || len(r.Rows) == 0 {
		return nil, fmt.Errorf("%s: found %d rows and %d repeats, expected at least one of each", name, len(r.Rows), r.Repeats)
	}
	return &r, nil
}

// WriteTable writes the figures as plain text: a line per family and one for all, then tools, errors and failures.
func (r *Report) WriteTable(w io.Writer) error {
	all := &r.Summary.All
	fmt.Fprintf(w, "%s: %d task", r.Suite, all.Tasks)
	if all.Tasks != 1 {
		fmt.Fprint(w, "s")
	}
	if r.Repeats > 1 {
		fmt.Fprintf(w, ", %d repeats", r.Repeats)
	}
	if r.AdapterHash != "" {
		fmt.Fprintf(w, ", policy version %d, adapter %.12s", r.PolicyVersion, r.AdapterHash)
	}
	fmt.Fprintln(w)
	return writeSummary(w, &r.Summary)
}

// writeSummary writes the figures below WriteTable's first line. Its first table is to fit a terminal of 80 columns.
func writeSummary(w io.Writer, s *Summary) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "family\ttasks\taccuracy\t95 % interval\tturns\terrors\trepeated\tstuck\t")
	line := func(name string, s *Stats) {
		fmt.Fprintf(t, "%s\t%d\t%s\t%.1f - %s\t%.2f\t%s\t%s\t%s\t\n", name, s.Tasks, percent(s.Accuracy.Mean), 100*s.Accuracy.Low, percent(s.Accuracy.High),
			s.Turns, percent(s.ErrorRate), percent(s.RepeatRate), percent(s.StuckRate))
	}
	each := func(row func(name string, s *Stats)) {
		for i := range s.Families {
			row(s.Families[i].Name, &s.Families[i].Stats)
		}
		row("all", &s.All)
	}
	each(line)
	if err := t.Flush(); err != nil {
		return err
	}
	t = tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "\na solve's\tseconds\ttokens\t\n")
	each(func(name string, s *Stats) {
		fmt.Fprintf(t, "%s\t%.3f\t%.0f\t\n", name, s.Seconds, s.PromptTokens+s.ActionTokens)
	})
	if err := t.Flush(); err != nil {
		return err
	}
	t = tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "\ntool shares\t")
	for _, tool := range s.All.Tools {
		fmt.Fprint(t, tool.Name+"\t")
	}
	fmt.Fprintln(t)
	each(func(name string, part *Stats) {
		fmt.Fprint(t, name+"\t")
		for _, tool := range s.All.Tools {
			fmt.Fprint(t, percent(part.ToolShare(tool.Name))+"\t")
		}
		fmt.Fprintln(t)
	})
	if err := t.Flush(); err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\nsolves by turns: %s\n", histogram(s.All.Histogram))
	if len(s.All.Errors) > 0 {
		fmt.Fprintf(&b, "steps with errors: %s\n", counts(s.All.Errors))
	}
	if s.All.Failed+s.All.Missing > 0 {
		fmt.Fprintf(&b, "counted as wrong: %d failed (%s), %d missing, of %d\n", s.All.Failed, counts(s.All.Failures), s.All.Missing, s.All.Requested)
	}
	for _, kind := range slices.Sorted(maps.Keys(s.All.Reasons)) {
		fmt.Fprintf(&b, "the first %s: %s\n", kind, s.All.Reasons[kind])
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// ToolShare is the share of steps that chose a tool.
func (s *Stats) ToolShare(name string) float64 {
	for _, t := range s.Tools {
		if t.Name == name {
			return t.Share
		}
	}
	return 0
}

func percent(x float64) string { return fmt.Sprintf("%.1f %%", 100*x) }

func histogram(h []int) string {
	var parts []string
	for turns, n := range h {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d: %d", turns, n))
		}
	}
	return strings.Join(parts, ", ")
}
