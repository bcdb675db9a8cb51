package main

import (
	"fmt"
	"math"

	"afctl/bench/eval"
	"afctl/flow"
)

// reportFigure is a plot with its legend.
type reportFigure struct {
	chart
	SVG svgText
}

// legendEntry names a colour of the page.
type legendEntry struct {
	Name  string
	Color int
}

// Colours of the page, by their numbers in report.css. Families and tools take the first ones in turn.
const (
	plainColors  = 8
	badPlanColor = 8 // plans that name no tool
	badToolColor = 9
)

func toolColor(name string, i int) int {
	switch name {
	case eval.UnreadablePlan:
		return badPlanColor
	case eval.UnknownTool:
		return badToolColor
	}
	return i % plainColors
}

// drawReport draws what there is to draw.
func drawReport(d *reportData) ([]reportFigure, error) {
	var figures []reportFigure
	for _, c := range d.charts() {
		if c.empty() {
			continue
		}
		svg, err := c.draw()
		if err != nil {
			return nil, err
		}
		figures = append(figures, reportFigure{c, svg})
	}
	return figures, nil
}

// charts lists the plots of a report; some may be empty.
func (d *reportData) charts() []chart {
	return append([]chart{d.rewardChart(), d.accuracyChart(), d.toolChart(), d.errorChart(), d.turnsChart(), d.familyRewardChart()},
		append(d.metricCharts(), d.secondsChart())...)
}

func (d *reportData) rewardChart() chart {
	c := chart{Title: "Reward", Note: "mean over the rollouts of a step, a failed one counting 0; band: 95 % interval, tasks as clusters", floor: 0, format: numberTick}
	s := series{Name: "mean", color: 0, band: true}
	for i := range d.Steps {
		if r := d.Steps[i].Rollouts; r != nil {
			s.addInterval(d.Steps[i].Step, r.Reward)
		}
	}
	c.Series = []series{s}
	return c
}

func (d *reportData) accuracyChart() chart {
	c := chart{Title: "Held-out accuracy", Note: "evaluation by optimizer steps done; bars: 95 % interval", floor: 0, format: percentTick}
	s := series{Name: "all tasks", color: 2, bars: true}
	for i := range d.Evaluations {
		if e := &d.Evaluations[i]; !e.Incomplete {
			s.addInterval(e.Step, e.Summary.All.Accuracy)
		}
	}
	c.Series = []series{s}
	return c
}

// overRollouts is a series of a figure of the rollouts of each step.
func (d *reportData) overRollouts(name string, color int, of func(*reportRollouts) (float64, bool)) series {
	s := series{Name: name, color: color}
	for i := range d.Steps {
		if r := d.Steps[i].Rollouts; r != nil {
			if y, ok := of(r); ok {
				s.add(d.Steps[i].Step, y)
			}
		}
	}
	return s
}

func (d *reportData) toolChart() chart {
	c := chart{Title: "Tools", Note: "share of the planner's choices in training rollouts", floor: 0, ceiling: 1, format: percentTick, stacked: true}
	for i, name := range d.Tools {
		c.Series = append(c.Series, d.overRollouts(clip(name, 60), toolColor(name, i), func(r *reportRollouts) (float64, bool) { return r.Tools[name], true }))
	}
	return c
}

func (d *reportData) errorChart() chart {
	return chart{Title: "Errors", Note: "steps that end in an error, unreadable plans among them, and solves that repeat a failed call, in training rollouts", floor: 0, format: percentTick, Series: []series{
		d.overRollouts("tool errors", 3, func(r *reportRollouts) (float64, bool) { return r.ErrorRate, true }),
		d.overRollouts("stuck loops", 1, func(r *reportRollouts) (float64, bool) { return r.StuckRate, true }),
	}}
}

// byFamily are the series of a figure of the first families, as many as there are colours.
func (d *reportData) byFamily(of func(*reportRollouts) map[string]float64) []series {
	var list []series
	for i, name := range d.Families[:min(len(d.Families), plainColors)] {
		list = append(list, d.overRollouts(clip(name, 60), i, func(r *reportRollouts) (float64, bool) {
			y, ok := of(r)[name]
			return y, ok
		}))
	}
	return list
}

// noteOfFamilies adds to a plot's note which families byFamily leaves out.
func (d *reportData) noteOfFamilies(note string) string {
	if n := len(d.Families); n > plainColors {
		return fmt.Sprintf("%s; the first %d of %d families by name", note, plainColors, n)
	}
	return note
}

func (d *reportData) familyRewardChart() chart {
	return chart{Title: "Reward by family", Note: d.noteOfFamilies("mean over training rollouts"), floor: 0, format: numberTick,
		Series: d.byFamily(func(r *reportRollouts) map[string]float64 { return r.FamilyReward })}
}

func (d *reportData) turnsChart() chart {
	c := chart{Title: "Turns", Note: d.noteOfFamilies("mean per training rollout"), floor: 0, format: numberTick,
		Series: d.byFamily(func(r *reportRollouts) map[string]float64 { return r.FamilyTurns })}
	if len(d.Families) == 0 {
		c.Series = append(c.Series, d.overRollouts("all tasks", 0, func(r *reportRollouts) (float64, bool) { return r.Turns, true }))
	}
	return c
}

// overMetrics is a series of a metric; what is null is a gap.
func (d *reportData) overMetrics(name string, color int, of func(*flow.Metrics) flow.Number) series {
	s := series{Name: name, color: color}
	for i := range d.Steps {
		if m := d.Steps[i].Metrics; m != nil {
			s.add(m.Step, float64(of(m)))
		}
	}
	return s
}

func (d *reportData) metricCharts() []chart {
	lowest := math.Inf(1) // of the mean ratio and the mismatch: no floor
	ratioMax := d.overMetrics("max", 3, func(m *flow.Metrics) flow.Number { return m.RatioMax })
	ratioMax.peak = true
	gapMax := d.overMetrics("max of |lo - ls|", 3, func(m *flow.Metrics) flow.Number { return m.MismatchMax })
	gapMax.peak = true
	return []chart{
		{Title: "KL", Note: "to the reference policy, in nats, averaged as flow.aggregation says", floor: 0, format: numberTick, Series: []series{
			d.overMetrics("KL", 4, func(m *flow.Metrics) flow.Number { return m.KL })}},
		{Title: "Entropy", Note: "of the policy, in nats, averaged as flow.aggregation says", floor: 0, format: numberTick, Series: []series{
			d.overMetrics("entropy", 5, func(m *flow.Metrics) flow.Number { return m.Entropy })}},
		{Title: "Ratio", Note: "of the policy's probability to that at the start of the update", floor: lowest, format: numberTick, Series: []series{
			d.overMetrics("mean", 0, func(m *flow.Metrics) flow.Number { return m.RatioMean }), ratioMax}},
		{Title: "Clipped", Note: "share of the action tokens", floor: 0, format: percentTick, Series: []series{
			d.overMetrics("low", 1, func(m *flow.Metrics) flow.Number { return m.ClipLow }),
			d.overMetrics("high", 0, func(m *flow.Metrics) flow.Number { return m.ClipHigh })}},
		{Title: "Mismatch", Note: "trainer's log-prob less sampler's: near 0 where rollouts use the trained weights", floor: lowest, format: numberTick, Series: []series{
			d.overMetrics("mean", 0, func(m *flow.Metrics) flow.Number { return m.MismatchMean }), gapMax}},
		{Title: "Gradient norm", Note: "before the clip", floor: 0, format: numberTick, Series: []series{
			d.overMetrics("norm", 6, func(m *flow.Metrics) flow.Number { return m.GradNorm })}},
		{Title: "Groups without signal", Note: "share of the groups whose rewards are all alike", floor: 0, format: percentTick, Series: []series{
			d.overMetrics("zero signal", 7, func(m *flow.Metrics) flow.Number { return m.GroupZeroSignal })}},
	}
}

func (d *reportData) secondsChart() chart {
	c := chart{Title: "Seconds per step", Note: "wall time by phase", floor: 0, format: numberTick, stacked: true}
	for i, of := range secondsOf {
		c.Series = append(c.Series, d.overMetrics(of.phase, i, func(m *flow.Metrics) flow.Number {
			if x := of.of(m); !math.IsNaN(float64(x)) {
				return x
			}
			return 0
		}))
	}
	return c
}
