package main

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/schollz/progressbar/v3"
)

// Colors of the panel (ECMA-48 SGR).
const (
	sgrDim   = "\x1b[2m"
	sgrGreen = "\x1b[32m"
	sgrCyan  = "\x1b[36m"
	sgrRed   = "\x1b[31m"
	sgrReset = "\x1b[0m"
)

// cell is a piece of a line of the panel.
type cell struct{ content, color string }

// panelLine is a line of the panel: cells side by side.
type panelLine []cell

// text is the line as it is written.
func (l panelLine) text(color bool) string {
	var b strings.Builder
	for _, c := range l {
		if color && c.color != "" {
			b.WriteString(c.color + c.content + sgrReset)
			continue
		}
		b.WriteString(c.content)
	}
	return b.String()
}

// labelColumns is the width of the labels at the left.
const labelColumns = 10

// panelLayout lays out lines in the columns of a terminal.
type panelLayout struct {
	columns int
	lines   []panelLine
}

// add adds a line: a label, and as many of the cells as there is room for. One without any is left out.
func (p *panelLayout) add(label string, cells ...cell) {
	label = fmt.Sprintf("%-*s ", labelColumns-1, label) // a long one, such as "step 10000", keeps its distance
	line := panelLine{{label, sgrDim}}
	room := p.columns - utf8.RuneCountInString(label)
	for _, c := range cells {
		if c.content == "" {
			continue
		}
		gap := ""
		if len(line) > 1 {
			gap = "  "
		}
		n := len(gap) + utf8.RuneCountInString(c.content)
		if n > room {
			break
		}
		line = append(line, cell{content: gap}, c)
		room -= n
	}
	if len(line) > 1 {
		p.lines = append(p.lines, line)
	}
}

// panel is the state of the run in at most seven lines that a terminal of so many columns shows. With ended, nothing is under way.
func (s *runState) panel(columns int, now time.Time, ended bool) []panelLine {
	if s.phase == nil {
		return nil
	}
	p := panelLayout{columns: columns}
	bar := min(max(columns-50, 5), 40)
	if s.steps > 0 {
		p.add("run", cell{barText(s.done, s.steps, bar), sgrGreen}, plainCell(clockText(now.Sub(s.begin))), eta(s.left(now)))
	}
	if !ended || s.steps == 0 {
		s.addPhase(&p, bar, now)
	}
	s.addReward(&p, min(max(columns-40, 8), 40))
	s.addHeldOut(&p, ended)
	f := s.figures()
	var tools []cell
	for _, t := range f.shares() {
		tools = append(tools, plainCell(toolText(t)))
	}
	p.add("tools", tools...)
	if f.done() > 0 {
		failed := ""
		if f.failures > 0 {
			failed = fmt.Sprintf("failed %d", f.failures)
		}
		rate := ""
		if x := figureText("sampled %.0f tokens/s", f.tokensPerSecond()); f.tokens > 0 && x != "-" {
			rate = x
		}
		p.add("solves", plainCell("turns "+figureText("%.2f", f.meanTurns())), plainCell("errors "+percentText("%.1f %%", f.errorRate())), cell{failed, sgrRed}, plainCell(rate))
	}
	if m := s.last; m != nil {
		skipped := ""
		if m.SkippedSteps > 0 {
			skipped = fmt.Sprintf("skipped %d", m.SkippedSteps)
		}
		p.add(fmt.Sprintf("step %d", m.Step), plainCell("kl "+metricText("%.4f", m.KL)), plainCell(fmt.Sprintf("ratio %s (max %s)", metricText("%.2f", m.RatioMean), metricText("%.2f", m.RatioMax))),
			cell{skipped, sgrRed}, plainCell("entropy "+metricText("%.3f", m.Entropy)), plainCell(metricText("trained %.0f tokens/s", m.TokensPerSecond)))
	}
	return p.lines
}

func plainCell(content string) cell { return cell{content: content} }

func eta(left time.Duration, known bool) cell {
	if !known {
		return cell{}
	}
	return plainCell("eta " + clockText(left))
}

// addPhase adds what is under way.
func (s *runState) addPhase(p *panelLayout, bar int, now time.Time) {
	if since, ok := s.updating(); ok {
		p.add("update", plainCell(fmt.Sprintf("step %d of %d", min(s.done+1, s.steps), s.steps)), plainCell(clockText(now.Sub(since))))
		return
	}
	p.add(s.phase.name, cell{barText(s.phase.done(), s.phase.total, bar), sgrCyan}, plainCell(clockText(now.Sub(s.phase.begin))), eta(s.phase.left(now)))
}

// addReward adds the reward by step, and that of the rollouts under way.
func (s *runState) addReward(p *panelLayout, spark int) {
	last, now := "", ""
	if len(s.reward) > 0 {
		last = figureText("%.2f", s.reward[len(s.reward)-1])
	}
	if f := s.phase; f.name == phaseSolve && f.done() > 0 && (f.done() < f.total || s.steps == 0) {
		now = "so far " + figureText("%.2f", f.reward())
	}
	p.add("reward", plainCell(last), cell{sparkline(s.reward, spark), sgrCyan}, plainCell(now))
}

// addHeldOut adds the accuracy before training and now, and that of the evaluation under way.
func (s *runState) addHeldOut(p *panelLayout, ended bool) {
	soFar := cell{}
	if f := s.phase; f.name == phaseEvaluate && f.done() > 0 && (!ended || s.steps == 0) {
		soFar = plainCell("so far " + percentText("%.1f %%", f.rewards/float64(f.done())))
	}
	if s.now == nil {
		p.add("held-out", soFar)
		return
	}
	at, bounds := plainCell(fmt.Sprintf("at step %d", s.now.step)), plainCell(boundsText(s.now.accuracy)) // which a narrow terminal has no room for
	if s.now.step == s.before.step {
		p.add("held-out", plainCell(percentText("%.1f %%", s.now.accuracy.Mean)), bounds, at, soFar)
		return
	}
	color := sgrGreen
	if s.now.accuracy.Mean < s.before.accuracy.Mean {
		color = sgrRed
	}
	p.add("held-out", plainCell(percentText("%.1f %%", s.before.accuracy.Mean)+" ->"), cell{percentText("%.1f %%", s.now.accuracy.Mean), color}, bounds, at, soFar)
}

// barText draws how much of total is done, in a bar so wide.
func barText(done, total, width int) string {
	if total <= 0 {
		return ""
	}
	b := progressbar.NewOptions(total, progressbar.OptionSetWriter(io.Discard), progressbar.OptionSetWidth(width), progressbar.OptionShowCount(),
		progressbar.OptionSetElapsedTime(false), progressbar.OptionSetPredictTime(false),
		progressbar.OptionSetTheme(progressbar.Theme{Saucer: "█", SaucerPadding: "░", BarStart: "", BarEnd: ""}))
	_ = b.Set(min(done, total))
	return strings.TrimRight(strings.TrimPrefix(b.String(), "\r"), " ")
}
