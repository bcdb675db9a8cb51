package main

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"

	"afctl/bench/eval"
	"afctl/flow"
)

// plainTools is how many tools a plain line names.
const plainTools = 4

// stepLine is the plain line of the newest step.
func (s *runState) stepLine(took time.Duration) string {
	m := s.last
	fields := []string{fmt.Sprintf("step %d/%d", m.Step, s.steps), "reward " + metricText("%.2f", m.RewardMean), "kl " + metricText("%.4f", m.KL),
		"ratio " + metricText("%.2f", m.RatioMean), "turns " + metricText("%.1f", m.TurnsMean)}
	if s.phase != nil {
		fields = append(fields, "errors "+percentText("%.0f %%", s.phase.errorRate()))
	}
	if m.Failed > 0 {
		fields = append(fields, fmt.Sprintf("failed %d", m.Failed))
	}
	if m.SkippedSteps > 0 {
		fields = append(fields, fmt.Sprintf("skipped %d", m.SkippedSteps))
	}
	if s.phase != nil {
		fields = append(fields, toolsText(s.phase.shares()))
	}
	return joinFields(append(fields, secondsText(took)))
}

// evalLine is the plain line of an evaluation after so many steps, or of one without training.
func (s *runState) evalLine(step int, e *eval.Summary) string {
	a := &e.All
	fields := []string{fmt.Sprintf("eval at step %d/%d", step, s.steps), "accuracy " + intervalText(a.Accuracy)}
	if s.before.step < step {
		fields = append(fields, "before "+percentText("%.1f %%", s.before.accuracy.Mean))
	}
	fields = append(fields, fmt.Sprintf("turns %.1f", a.Turns), "errors "+percentText("%.0f %%", a.ErrorRate), "stuck "+percentText("%.0f %%", a.StuckRate))
	if a.Failed > 0 {
		fields = append(fields, fmt.Sprintf("failed %d", a.Failed))
	}
	fields = append(fields, toolsText(a.Tools))
	if s.phase != nil {
		fields = append(fields, secondsText(time.Since(s.phase.begin)))
	}
	return joinFields(fields)
}

// line is the plain line of a phase of its own.
func (p *phase) line(took time.Duration) string {
	return joinFields([]string{fmt.Sprintf("%s %d/%d", p.name, p.done(), p.total), "reward " + figureText("%.2f", p.reward()), "turns " + figureText("%.1f", p.meanTurns()),
		"errors " + percentText("%.0f %%", p.errorRate()), fmt.Sprintf("failed %d", p.failures), toolsText(p.shares()), secondsText(took)})
}

func joinFields(fields []string) string {
	kept := fields[:0]
	for _, f := range fields {
		if f != "" {
			kept = append(kept, f)
		}
	}
	return strings.Join(kept, "  ")
}

// toolsText names the most frequent tools.
func toolsText(shares []eval.ToolStats) string {
	if len(shares) == 0 {
		return ""
	}
	text := "tools"
	for i, t := range shares {
		if i == plainTools {
			return text + " …"
		}
		text += " " + toolText(t)
	}
	return text
}

func toolText(t eval.ToolStats) string {
	return printable(t.Name) + " " + percentText("%.0f%%", t.Share)
}

func intervalText(i eval.Interval) string {
	return fmt.Sprintf("%.1f %% %s", 100*i.Mean, boundsText(i))
}

func boundsText(i eval.Interval) string { return fmt.Sprintf("(%.1f - %.1f)", 100*i.Low, 100*i.High) }

// figureText formats a figure: one that is not known as "-", one that rounds to nothing without a sign.
func figureText(format string, x float64) string {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return "-"
	}
	text := fmt.Sprintf(format, x)
	if strings.Trim(text, "-0.") == "" {
		return strings.TrimPrefix(text, "-")
	}
	return text
}

// counted is a number of things, as "1 step" and "2 steps".
func counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

func metricText(format string, x flow.Number) string { return figureText(format, float64(x)) }

func percentText(format string, share float64) string { return figureText(format, 100*share) }

func secondsText(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// clockText is a time to the second, or to the minute where it is long.
func clockText(d time.Duration) string {
	if d = d.Round(time.Second); d < time.Hour {
		return d.String()
	}
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}

// sparkLevels are the heights of a sparkline.
var sparkLevels = []rune("▁▂▃▄▅▆▇█")

// sparkline draws values in so many columns at most, each column the mean of its share of them. The scale is 0 to 1, or wider where
// values are: a small change looks small. What is not known is blank.
func sparkline(values []float64, columns int) string {
	n := min(columns, len(values))
	const unit = 0.25 // of the scale: no mean and no difference of two is beyond a float64
	low, high := 0.0, unit
	means := make([]float64, max(n, 0))
	for i := range means {
		var known []float64
		for _, x := range values[i*len(values)/n : (i+1)*len(values)/n] {
			if !math.IsNaN(x) && !math.IsInf(x, 0) {
				known = append(known, x)
			}
		}
		if len(known) == 0 {
			means[i] = math.NaN()
			continue
		}
		for _, x := range known {
			means[i] += unit * x / float64(len(known))
		}
		low, high = min(low, means[i]), max(high, means[i])
	}
	var b strings.Builder
	for _, x := range means {
		if math.IsNaN(x) {
			b.WriteByte(' ')
			continue
		}
		level := int((x - low) / (high - low) * float64(len(sparkLevels)))
		b.WriteRune(sparkLevels[min(level, len(sparkLevels)-1)])
	}
	return b.String()
}

// printable is text on one line without what a terminal would act on: control and format characters (Unicode Cc, Cf), and bytes that
// are no UTF-8.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t', r == '\u2028', r == '\u2029':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r):
			return -1
		}
		return r
	}, text)
}
