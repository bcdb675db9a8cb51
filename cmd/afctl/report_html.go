package main

import (
	"bytes"
	"cmp"
	"embed"
	"fmt"
	"html/template"
	"io"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"afctl/bench/eval"
	"afctl/flow"
)

//go:embed templates/report.html templates/report.css
var reportTemplates embed.FS

// tableSteps is how many of the last steps the table of metrics shows.
const tableSteps = 15

// reportPage is what the template renders: the report's figures, put into words and rows.
type reportPage struct {
	*reportData
	Style            template.CSS
	Title            string
	Kind, Status     string
	Head             []labelled
	Tiles            []reportTile
	Figures          []reportFigure
	Columns          []string // of Rows
	Rows             []familyRow
	ToolLegend       []legendEntry
	Kinds            []kindRow
	Metrics          []reportStep
	HasTools, Paired bool
}

// labelled is a value with its name.
type labelled struct{ Label, Value string }

// pair is a figure before and after training. Trend is "better", "worse" or "".
type pair struct{ Before, After, Trend string }

// reportTile is a figure that stands for itself.
type reportTile struct {
	Label string
	pair
	Notes []string
	Lead  bool // the one that counts
}

// familyRow is a line of the tables by family.
type familyRow struct {
	Name                string
	Tasks               int
	Cells               []pair
	Before              []barPart // shares of tools
	After               []barPart
	HasBefore, HasAfter bool
}

// barPart is a part of a bar.
type barPart struct {
	Color int
	Label string
	Width string // percent
}

// kindRow counts one kind of failure or error.
type kindRow struct {
	What, Kind string
	Before     int
	After      int
	Train      int
}

// writeHTML writes the page.
func (d *reportData) writeHTML(w io.Writer) error {
	page, err := newReportPage(d)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	t, err := template.New("report.html").Funcs(template.FuncMap{
		"percent": shareText, "number": valueText, "text": func(s string) string { return clip(s, maxConfigBytes) }, "short": shortHash,
		"deref": func(x *float64) float64 { return *x },
		"inc":   func(i int) int { return i + 1 },
	}).ParseFS(reportTemplates, "templates/report.html")
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	var b bytes.Buffer // so that an error leaves nothing half-written on a pipe
	if err := t.Execute(&b, page); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	_, err = w.Write(b.Bytes())
	return err
}

func newReportPage(d *reportData) (*reportPage, error) {
	css, err := reportTemplates.ReadFile("templates/report.css")
	if err != nil {
		return nil, err
	}
	p := &reportPage{reportData: d, Style: template.CSS(css), Paired: d.After != nil, HasTools: len(d.Tools) > 0}
	p.Title = "planner"
	if d.Run.Model != "" {
		p.Title = clip(filepath.Base(d.Run.Model), 60)
	}
	p.head()
	p.tiles()
	p.families()
	p.kinds()
	p.Metrics = d.Steps[max(0, len(d.Steps)-tableSteps):]
	p.Metrics = slices.DeleteFunc(slices.Clone(p.Metrics), func(s reportStep) bool { return s.Metrics == nil })
	slices.Reverse(p.Metrics)
	if p.Figures, err = drawReport(d); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *reportPage) head() {
	r := &p.Run
	switch e := p.evaluation(p.Before); {
	case r.of == ofUnfinished && e == nil:
		p.Kind, p.Status = "Evaluation", "Not done"
	case r.of != ofTraining && e != nil:
		p.Kind, p.Status = "Evaluation", counted(e.Summary.All.Tasks, "task")+", "+counted(e.Summary.All.Requested, "solve")
	case r.StepsPlanned > 0:
		p.Kind, p.Status = "Training run", fmt.Sprintf("Flow-GRPO, %d of %s", r.StepsDone, counted(r.StepsPlanned, "step"))
	default:
		p.Kind, p.Status = "Training run", "Flow-GRPO, "+counted(r.StepsDone, "step")
	}
	add := func(label, value string) {
		if value != "" {
			p.Head = append(p.Head, labelled{label, clip(value, 200)})
		}
	}
	model := r.Model
	if r.Trainable != "" {
		model += ", trained: " + r.Trainable
	}
	add("Model", model)
	add("Adapter at the start", r.Adapter)
	add("Trained on", r.Train)
	add("Held out", r.Eval)
	if r.ConfigHash != "" {
		add("Seed", strconv.FormatUint(r.Seed, 10))
	}
	add("Config", shortHash(r.ConfigHash))
	if r.AdapterHash != "" {
		add("Policy", fmt.Sprintf("version %d, adapter %s", r.Policy, shortHash(r.AdapterHash)))
	}
	if r.Rollouts > 0 {
		add("Rollouts", fmt.Sprintf("%s, %d failed", groupDigits(r.Rollouts), r.Failed))
	}
	if r.SkippedSteps > 0 {
		add("Skipped steps", fmt.Sprintf("%d, for a gradient that was not finite", r.SkippedSteps))
	}
	if r.InFlight != nil {
		add("Under way", fmt.Sprintf("step %d, %s so far", r.InFlight.Step, counted(r.InFlight.Rollouts, "rollout")))
	}
	if r.Written != nil {
		add("Last step", r.Written.Format("2006-01-02 15:04 UTC"))
	}
}

func (p *reportPage) tiles() {
	before, after := p.evaluation(p.Before), p.evaluation(p.After)
	if b := before.stats(""); b != nil {
		a := after.stats("")
		t := reportTile{Label: "Held-out accuracy", pair: comparePair(b, a, accuracyOf), Lead: true}
		now := b
		if a != nil {
			now = a
		}
		t.Notes = append(t.Notes, fmt.Sprintf("95 %% interval %s to %s, %s tasks", shareText(now.Accuracy.Low), shareText(now.Accuracy.High), groupDigits(now.Tasks)))
		if c := p.Comparison; c != nil {
			t.Notes = append(t.Notes, fmt.Sprintf("%+.1f points; better on %d tasks, worse on %d; p\u00a0%s", 100*c.Difference.Mean, c.Better, c.Worse, pText(c.P)))
		}
		p.Tiles = append(p.Tiles, t,
			reportTile{Label: "Tool errors", pair: comparePair(b, a, errorsOf), Notes: []string{"share of the steps"}},
			reportTile{Label: "Stuck loops", pair: comparePair(b, a, stuckOf), Notes: []string{"solves that repeat a failed call"}},
			reportTile{Label: "Turns per solve", pair: comparePair(b, a, turnsOf), Notes: []string{"mean"}},
			reportTile{Label: "Failed solves", pair: comparePair(b, a, failedOf), Notes: []string{"no reward: they count as wrong"}})
	}
	var kl flow.Number = flow.Number(math.NaN())
	for i := range p.Steps {
		if m := p.Steps[i].Metrics; m != nil {
			kl = m.KL
		}
	}
	if p.Run.StepsDone > 0 {
		p.Tiles = append(p.Tiles, reportTile{Label: "KL to the reference", pair: pair{After: valueText(float64(kl))}, Notes: []string{"in nats, last step"}})
		total, parts := 0.0, []string{}
		for _, s := range p.Run.Seconds {
			total += float64(s.Seconds)
		}
		for _, s := range p.Run.Seconds {
			if share := float64(s.Seconds) / total; share >= 0.005 {
				parts = append(parts, fmt.Sprintf("%s %.0f %%", s.Phase, 100*share))
			}
		}
		p.Tiles = append(p.Tiles, reportTile{Label: "Training time", pair: pair{After: durationText(total)}, Notes: []string{strings.Join(parts, ", ")}})
	}
}

// compared is a figure that is shown before and after. better is the sign of a change for the better, 0 where neither is.
type compared struct {
	name   string
	of     func(*eval.Stats) float64
	text   func(float64) string
	better float64
}

var (
	accuracyOf = compared{"accuracy", func(s *eval.Stats) float64 { return s.Accuracy.Mean }, shareText, 1}
	turnsOf    = compared{"turns", func(s *eval.Stats) float64 { return s.Turns }, func(x float64) string { return strconv.FormatFloat(x, 'f', 2, 64) }, 0}
	errorsOf   = compared{"tool errors", func(s *eval.Stats) float64 { return s.ErrorRate }, shareText, -1}
	stuckOf    = compared{"stuck", func(s *eval.Stats) float64 { return s.StuckRate }, shareText, -1}
	failedOf   = compared{"failed", func(s *eval.Stats) float64 { return float64(s.Failed+s.Missing) / float64(max(s.Requested, 1)) }, shareText, -1}
	secondsPer = compared{"seconds", func(s *eval.Stats) float64 { return s.Seconds }, func(x float64) string { return valueText(x) }, 0}
)

// comparePair puts a figure into words; either side may be nil.
func comparePair(before, after *eval.Stats, c compared) pair {
	var p pair
	if before != nil {
		p.Before = c.text(c.of(before))
	}
	if after != nil {
		p.After = c.text(c.of(after))
	}
	if before == nil || after == nil || p.Before == p.After {
		return p
	}
	switch change := (c.of(after) - c.of(before)) * c.better; {
	case change > 0:
		p.Trend = "better"
	case change < 0:
		p.Trend = "worse"
	}
	return p
}

func (p *reportPage) families() {
	before, after := p.evaluation(p.Before), p.evaluation(p.After)
	if before == nil {
		return
	}
	columns := []compared{accuracyOf, turnsOf, errorsOf, stuckOf, failedOf, secondsPer}
	for _, c := range columns {
		p.Columns = append(p.Columns, c.name)
	}
	for i, name := range p.Tools {
		p.ToolLegend = append(p.ToolLegend, legendEntry{Name: clip(name, 60), Color: toolColor(name, i)})
	}
	for _, name := range append(slices.Clone(p.reportData.Families), "") {
		b, a := before.stats(name), after.stats(name)
		if b == nil && a == nil {
			continue
		}
		row := familyRow{Name: clip(name, 60), HasBefore: b != nil, HasAfter: a != nil, Before: p.bar(b), After: p.bar(a)}
		if name == "" {
			row.Name = "all"
		}
		if a != nil {
			row.Tasks = a.Tasks
		} else {
			row.Tasks = b.Tasks
		}
		for _, c := range columns {
			row.Cells = append(row.Cells, comparePair(b, a, c))
		}
		p.Rows = append(p.Rows, row)
	}
}

// bar is a bar of the shares of the tools.
func (p *reportPage) bar(s *eval.Stats) []barPart {
	var parts []barPart
	if s == nil {
		return nil
	}
	for i, name := range p.Tools {
		if share := s.ToolShare(name); share > 0 {
			parts = append(parts, barPart{toolColor(name, i), clip(name, 60) + " " + shareText(share), fmt.Sprintf("%.2f", 100*share)})
		}
	}
	return parts
}

func (p *reportPage) kinds() {
	none := &eval.Stats{}
	before, after := cmp.Or(p.evaluation(p.Before).stats(""), none), cmp.Or(p.evaluation(p.After).stats(""), none)
	for _, group := range []struct {
		what    string
		b, a, t map[string]int
	}{
		{"failed solve", before.Failures, after.Failures, p.TrainFailures},
		{"tool error", before.Errors, after.Errors, p.TrainErrors},
	} {
		all := maps.Clone(group.t)
		addCounts(all, group.b)
		addCounts(all, group.a)
		for _, kind := range slices.Sorted(maps.Keys(all)) {
			p.Kinds = append(p.Kinds, kindRow{group.what, clip(kind, 60), group.b[kind], group.a[kind], group.t[kind]})
		}
	}
}

// shareText writes a share.
func shareText(x float64) string { return strconv.FormatFloat(100*x, 'f', 1, 64) + " %" }

// valueText writes a number of any size with three digits; a dash for what is not known.
func valueText(v any) string {
	var x float64
	switch v := v.(type) {
	case flow.Number:
		x = float64(v)
	case float64:
		x = v
	case int:
		return groupDigits(v)
	}
	switch a := math.Abs(x); {
	case math.IsNaN(x) || math.IsInf(x, 0):
		return "–"
	case x == 0:
		return "0"
	case a >= 1000 && a < 1e15:
		return groupDigits(int(math.Round(x)))
	case a >= 100:
		return strconv.FormatFloat(x, 'f', 0, 64)
	case a >= 0.001:
		digits := 2 - int(math.Floor(math.Log10(a*1.0005))) // 0.9996 is shown as 1.00
		return strconv.FormatFloat(x, 'f', digits, 64)
	}
	return strconv.FormatFloat(x, 'e', 1, 64)
}

// groupDigits writes 12345 as 12,345.
func groupDigits(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// pText writes a probability that is small, on one line.
func pText(p float64) string {
	if p < 0.001 {
		return "<\u00a00.001"
	}
	return "=\u00a0" + strconv.FormatFloat(p, 'g', 2, 64)
}

// durationText writes a time in two units.
func durationText(s float64) string {
	if math.IsNaN(s) || s < 0 || s > 1e9 {
		return "–"
	}
	if s < 60 {
		return strconv.FormatFloat(s, 'f', 1, 64) + " s"
	}
	d := time.Duration(s * float64(time.Second))
	if d < time.Hour {
		return fmt.Sprintf("%d min %02d s", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%d h %02d min", int(d.Hours()), int(d.Minutes())%60)
}

// shortHash is the begin of a hash.
func shortHash(s string) string { return clip(s[:min(len(s), 12)], 12) }
