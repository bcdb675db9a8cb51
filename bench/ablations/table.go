package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"afctl/bench/eval"
)

// result is an ablation with what came of it.
type result struct {
	Name  string   `json:"name"`
	Title string   `json:"title"`
	Note  string   `json:"note,omitempty"`
	Arms  []column `json:"arms"`
}

// column is an arm in a table: an outcome for every seed.
type column struct {
	Label    string    `json:"label"`
	Outcomes []outcome `json:"outcomes"`
}

// results joins ablations with the outcomes of their arms.
func results(list []ablation, byArm map[string][]outcome) []result {
	var out []result
	for _, a := range list {
		r := result{Name: a.Name, Title: a.Title, Note: a.Note}
		for _, l := range a.Arms {
			r.Arms = append(r.Arms, column{l.Label, byArm[l.Arm]})
		}
		out = append(out, r)
	}
	return out
}

// writeJSON writes results with every figure of every seed.
func writeJSON(w io.Writer, rs []result) error {
	return json.MarshalWrite(w, rs, json.Deterministic(true), jsontext.Multiline(true))
}

// writeTables writes a Markdown table per ablation, and what its figures are.
func writeTables(w io.Writer, rs []result) error {
	for i := range rs {
		if _, err := io.WriteString(w, rs[i].table()); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w, legend(rs))
	return err
}

// table is an ablation in Markdown: an arm per column, a figure per row.
func (r *result) table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "### %s\n\n", r.Title)
	if r.Note != "" {
		fmt.Fprintf(&b, "%s\n\n", r.Note)
	}
	row := func(name string, cell func([]outcome) string) {
		b.WriteString("| " + name)
		for _, c := range r.Arms {
			b.WriteString(" | " + cell(c.Outcomes))
		}
		b.WriteString(" |\n")
	}
	b.WriteString("| ")
	for _, c := range r.Arms {
		b.WriteString(" | " + c.Label)
	}
	b.WriteString(" |\n|---" + strings.Repeat("|---:", len(r.Arms)) + "|\n")

	row("**accuracy** before", func(os []outcome) string { return interval(os, func(o *outcome) *eval.Summary { return &o.Before }) })
	row("**accuracy** after", func(os []outcome) string { return interval(os, func(o *outcome) *eval.Summary { return &o.After }) })
	for _, step := range r.curveSteps() {
		row(fmt.Sprintf("accuracy after %d steps", step), func(os []outcome) string { return atStep(os, step) })
	}
	for _, f := range r.families() {
		row(f, func(os []outcome) string {
			return change(os, percents, func(s *eval.Summary) float64 { return family(s, f).Accuracy.Mean }) + ", " +
				change(os, plain2, func(s *eval.Summary) float64 { return family(s, f).Turns }) + " turns"
		})
	}
	row("tool errors", func(os []outcome) string {
		return change(os, percents, func(s *eval.Summary) float64 { return s.All.ErrorRate })
	})
	row("stuck loops", func(os []outcome) string {
		return change(os, percents, func(s *eval.Summary) float64 { return s.All.StuckRate })
	})
	row("turns", func(os []outcome) string {
		return change(os, plain2, func(s *eval.Summary) float64 { return s.All.Turns })
	})
	for _, n := range []struct {
		name string
		of   func(*outcome) float64
	}{
		{"training tasks", func(o *outcome) float64 { return float64(o.Tasks) }},
		{"training rollouts", func(o *outcome) float64 { return float64(o.Rollouts) }},
		{"demonstrated turns", func(o *outcome) float64 { return float64(o.Examples) }},
		{"optimizer steps", func(o *outcome) float64 { return float64(o.Steps) }},
		{"seconds of training", func(o *outcome) float64 { return o.Seconds }},
	} {
		if n.name == "demonstrated turns" && !r.demonstrates() {
			continue
		}
		row(n.name, func(os []outcome) string { return fmt.Sprintf("%.0f", over(os, n.of)) })
	}
	b.WriteByte('\n')
	return b.String()
}

// legend says what the figures of all tables are.
func legend(rs []result) string {
	if len(rs) == 0 || len(rs[0].Arms) == 0 || len(rs[0].Arms[0].Outcomes) == 0 {
		return ""
	}
	os := rs[0].Arms[0].Outcomes
	text := fmt.Sprintf("Held-out: %d tasks. ", os[0].After.All.Tasks)
	if len(os) > 1 {
		return text + fmt.Sprintf("Means over %d seeds, of sampling and of the order of examples; in brackets Student's 95 %% intervals over seeds.\n", len(os))
	}
	return text + "One seed; in brackets 95 % intervals over tasks: they know nothing of what another seed would give.\n"
}

// families are the names of those in any outcome, in the order of their first.
func (r *result) families() []string {
	var names []string
	for _, c := range r.Arms {
		for i := range c.Outcomes {
			for _, p := range c.Outcomes[i].After.Families {
				if !slices.Contains(names, p.Name) {
					names = append(names, p.Name)
				}
			}
		}
	}
	return names
}

// curveSteps are the steps between first and last after which any outcome has an evaluation.
func (r *result) curveSteps() []int {
	var steps []int
	for _, c := range r.Arms {
		for i := range c.Outcomes {
			curve := c.Outcomes[i].Curve
			for _, p := range curve[min(1, len(curve)):max(min(1, len(curve)), len(curve)-1)] {
				steps = append(steps, p.Step)
			}
		}
	}
	slices.Sort(steps)
	return slices.Compact(steps)
}

func (r *result) demonstrates() bool {
	return slices.ContainsFunc(r.Arms, func(c column) bool {
		return over(c.Outcomes, func(o *outcome) float64 { return float64(o.Examples) }) > 0
	})
}

// none is the cell of a figure that an arm does not have.
const none = "-"

// atStep is the mean accuracy after a step; none where an outcome has no evaluation there.
func atStep(os []outcome, step int) string {
	sum := 0.0
	for i := range os {
		j := slices.IndexFunc(os[i].Curve, func(p point) bool { return p.Step == step })
		if j < 0 {
			return none
		}
		sum += os[i].Curve[j].Accuracy
	}
	if len(os) == 0 {
		return none
	}
	return percents(sum / float64(len(os)))
}

// family are the figures of one; zero where the summary lacks it.
func family(s *eval.Summary, name string) *eval.Stats { return cmp.Or(s.Family(name), new(eval.Stats)) }

// over is a mean over seeds.
func over(os []outcome, figure func(*outcome) float64) float64 {
	sum := 0.0
	for i := range os {
		sum += figure(&os[i])
	}
	return sum / float64(max(1, len(os)))
}

// change is a figure before and after, means over seeds.
func change(os []outcome, format func(float64) string, figure func(*eval.Summary) float64) string {
	return format(over(os, func(o *outcome) float64 { return figure(&o.Before) })) + " → " + format(over(os, func(o *outcome) float64 { return figure(&o.After) }))
}

// interval is an accuracy with its interval.
func interval(os []outcome, of func(*outcome) *eval.Summary) string {
	var list []eval.Interval
	for i := range os {
		list = append(list, of(&os[i]).All.Accuracy)
	}
	x := overSeeds(list)
	return fmt.Sprintf("%s [%.1f, %.1f]", percents(x.Mean), 100*x.Low, 100*x.High)
}

// overSeeds is the mean of accuracies with Student's 95 % interval, cut to 0..1, which holds all that differs between
// runs of other seeds. A single accuracy keeps its own interval, over tasks.
func overSeeds(list []eval.Interval) eval.Interval {
	switch len(list) {
	case 0:
		return eval.Interval{Low: 0, High: 1}
	case 1:
		return list[0]
	}
	means := make([]float64, len(list))
	for i, x := range list {
		means[i] = x.Mean
	}
	x := eval.Student(means)
	x.Low, x.High = max(0, x.Low), min(1, x.High)
	return x
}

func percents(x float64) string { return fmt.Sprintf("%.1f %%", 100*x) }
func plain2(x float64) string   { return fmt.Sprintf("%.2f", x) }
