package main

import (
	"bytes"
	"fmt"
	"html/template"
	"image/color"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"afctl/bench/eval"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// svgText is SVG that was made here, of numbers alone.
type svgText = template.HTML

// Size of a plot in points, which the page scales to its columns.
const (
	plotWidth  = 380
	plotHeight = 200
	plotFont   = 11
	// mostPoints of a series: more would be narrower than a pixel, and make a long run's page large.
	mostPoints = 300
	// fewPoints are marked by dots.
	fewPoints = 25
	// mostValue is the largest with a place in a plot: near the end of the float64 the library looks for ticks forever.
	mostValue = 1e100
)

// Colours are written as numbers that svgColor then replaces by the page's variables, which know light and dark.
const (
	axisColor = 60
	gridColor = 61
	bandColor = 16 // added to that of a series, twice for bars
)

// pageColor carries n in its blue. It is not black for any n, which the library leaves out as the default.
func pageColor(n int) color.Color { return color.RGBA{0xff, 0xff, uint8(n), 0xff} }

var (
	svgColor  = regexp.MustCompile(`(?i)(fill|stroke):#ffff([0-9a-f]{2})`)
	svgFont   = regexp.MustCompile(`font-family:[^;"]*;font-variant:[^;"]*;font-weight:[^;"]*;font-style:[^;"]*;`)
	svgHeader = regexp.MustCompile(`(?s)^.*?<svg width="[^"]*" height="[^"]*" viewBox="([^"]*)"[^>]*>`)
)

// chart is a plot over optimizer steps.
type chart struct {
	Title, Note    string
	Series         []series
	floor, ceiling float64              // of the y axis where the data do not go beyond; floor +Inf: none, ceiling 0: none
	format         func(float64) string // of the y axis's labels
	stacked        bool                 // areas on each other; all series have the same x
}

// series are the values of one name; NaN is a gap.
type series struct {
	Name      string
	color     int
	x, y      []float64
	low, high []float64 // ends of an interval; empty for none
	band      bool      // shows it as a band
	bars      bool      // shows it as bars
	peak      bool      // values are maxima
}

// add appends a value; one of no place is a gap.
func (s *series) add(step int, y float64) {
	if math.Abs(y) > mostValue {
		y = math.NaN()
	}
	s.x, s.y = append(s.x, float64(step)), append(s.y, y)
}

// addInterval appends a value with its interval.
func (s *series) addInterval(step int, in eval.Interval) {
	s.add(step, in.Mean)
	if math.Abs(in.Low) > mostValue || math.Abs(in.High) > mostValue {
		s.y[len(s.y)-1] = math.NaN()
	}
	s.low, s.high = append(s.low, in.Low), append(s.high, in.High)
}

func (c *chart) empty() bool {
	return !slices.ContainsFunc(c.Series, func(s series) bool {
		return slices.ContainsFunc(s.y, func(y float64) bool { return !math.IsNaN(y) })
	})
}

// Legend names the series where there are several.
func (c *chart) Legend() []legendEntry {
	var list []legendEntry
	for _, s := range c.Series {
		if len(c.Series) > 1 && len(s.y) > 0 {
			list = append(list, legendEntry{s.Name, s.color})
		}
	}
	return list
}

// draw returns the plot as SVG for a page that defines the colours.
func (c *chart) draw() (svgText, error) {
	p := plot.New()
	p.BackgroundColor = nil
	c.axes(p)
	grid := plotter.NewGrid()
	grid.Vertical.Width = 0
	grid.Horizontal.Color, grid.Horizontal.Width = pageColor(gridColor), 0.6
	p.Add(grid)
	var below []float64
	for _, s := range c.Series {
		s = s.thin(mostPoints)
		if len(s.x) == 0 {
			continue
		}
		var err error
		if c.stacked {
			below, err = s.drawArea(p, below)
		} else {
			err = s.drawLine(p)
		}
		if err != nil {
			return "", fmt.Errorf("plot %q: %w", c.Title, err)
		}
	}
	c.ranges(p) // adding series has widened them
	canvas := vgsvg.New(plotWidth, plotHeight)
	p.Draw(draw.New(canvas))
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return "", fmt.Errorf("plot %q: %w", c.Title, err)
	}
	return c.adapt(b.String()), nil
}

func (c *chart) axes(p *plot.Plot) {
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Color, a.Width = pageColor(axisColor), 0.6
		a.Tick.Color, a.Tick.Width, a.Tick.Length = pageColor(axisColor), 0.6, 3
		a.Tick.Label.Color = pageColor(axisColor)
		a.Tick.Label.Font = font.Font{Typeface: "Liberation", Variant: "Sans", Size: plotFont}
		a.Padding = 2
	}
	p.Y.Width, p.Y.Tick.Length = 0, 0
	p.X.Tick.Marker = plot.TickerFunc(func(lo, hi float64) []plot.Tick {
		return ticks(lo, hi, func(x float64) string {
			if x != math.Trunc(x) {
				return ""
			}
			return strconv.FormatFloat(x, 'f', 0, 64)
		})
	})
	p.Y.Tick.Marker = plot.TickerFunc(func(lo, hi float64) []plot.Tick { return ticks(lo, hi, c.format) })
}

// ticks are the library's, the labelled ones alone, with labels of our own; those with none are left out.
func ticks(lo, hi float64, format func(float64) string) []plot.Tick {
	var list []plot.Tick
	for _, t := range (plot.DefaultTicks{}).Ticks(lo, hi) {
		if t.Label == "" {
			continue
		}
		if t.Label = format(t.Value); t.Label != "" {
			list = append(list, t)
		}
	}
	return list
}

func percentTick(y float64) string { return numberTick(100*y) + " %" }

// numberTick writes a tick's value: few digits, none of them rounding noise.
func numberTick(y float64) string {
	if math.Abs(y) < 1e-12 {
		return "0"
	}
	return strconv.FormatFloat(y, 'g', 6, 64)
}

// ranges sets both axes by the data.
func (c *chart) ranges(p *plot.Plot) {
	lowX, highX := math.Inf(1), math.Inf(-1)
	low, high := c.floor, math.Inf(-1)
	if c.ceiling != 0 {
		high = c.ceiling
	}
	sums := map[float64]float64{}
	for _, s := range c.Series {
		for i, x := range s.x {
			y := s.y[i]
			if math.IsNaN(y) {
				continue
			}
			lowX, highX = min(lowX, x), max(highX, x)
			if c.stacked {
				sums[x] += y
				low, high = min(low, 0), max(high, sums[x])
				continue
			}
			low, high = min(low, y), max(high, y)
			if len(s.low) > 0 {
				low, high = min(low, s.low[i]), max(high, s.high[i])
			}
		}
	}
	if lowX == highX {
		lowX, highX = lowX-1, highX+1
	}
	const level = 1e-9 // of the values, and 1e-12 itself: rounding is not drawn, and the library finds no ticks for it
	switch span := high - low; {
	case span > max(level*max(math.Abs(low), math.Abs(high)), 1e-12):
		if c.ceiling == 0 {
			high += 0.06 * span
		}
	default:
		pad := max(math.Abs(low)*0.1, 0.01)
		high = low + pad
		if c.floor != 0 {
			low -= pad
		}
	}
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = lowX, highX, low, high
}

// thin returns the series with at most n points: means of neighbours, or maxima where values are maxima.
func (s series) thin(n int) series {
	if len(s.x) <= n {
		return s
	}
	out := s
	out.x, out.y, out.low, out.high = nil, nil, nil, nil
	for k := range n {
		from, to := k*len(s.x)/n, (k+1)*len(s.x)/n
		out.x = append(out.x, meanKnown(s.x[from:to], s.x[from:to]))
		y := meanKnown(s.y[from:to], s.y[from:to])
		if s.peak {
			for _, v := range s.y[from:to] {
				if v > y {
					y = v
				}
			}
		}
		out.y = append(out.y, y)
		if len(s.low) > 0 {
			out.low, out.high = append(out.low, meanKnown(s.low[from:to], s.y[from:to])), append(out.high, meanKnown(s.high[from:to], s.y[from:to]))
		}
	}
	return out
}

// meanKnown is the mean of v where y is not NaN; NaN for nothing.
func meanKnown(v, y []float64) float64 {
	sum, n := 0.0, 0
	for i, x := range v {
		if !math.IsNaN(y[i]) {
			sum, n = sum+x, n+1
		}
	}
	return sum / float64(n)
}

// pieces yields the parts of a series between its gaps.
func (s series) pieces(yield func(from, to int) error) error {
	for i := 0; i < len(s.y); {
		from := i
		for i < len(s.y) && !math.IsNaN(s.y[i]) {
			i++
		}
		if i > from {
			if err := yield(from, i); err != nil {
				return err
			}
			continue
		}
		i++
	}
	return nil
}

func points(x, y []float64) plotter.XYs {
	list := make(plotter.XYs, len(x))
	for i := range x {
		list[i] = plotter.XY{X: x[i], Y: y[i]}
	}
	return list
}

// drawLine adds the series as a line, with its interval.
func (s series) drawLine(p *plot.Plot) error {
	return s.pieces(func(from, to int) error {
		x, y := s.x[from:to], s.y[from:to]
		if s.band && to-from > 1 {
			if err := addArea(p, x, s.low[from:to], s.high[from:to], bandColor+s.color); err != nil {
				return err
			}
		}
		if s.bars || s.band && to-from == 1 {
			bars, err := plotter.NewYErrorBars(struct {
				plotter.XYs
				plotter.YErrors
			}{points(x, y), intervals(y, s.low[from:to], s.high[from:to])})
			if err != nil {
				return err
			}
			bars.Color, bars.Width, bars.CapWidth = pageColor(bandColor*2+s.color), 1.2, 5
			p.Add(bars)
		}
		line, dots, err := plotter.NewLinePoints(points(x, y))
		if err != nil {
			return err
		}
		line.Color, line.Width = pageColor(s.color), 1.6
		p.Add(line)
		if s.bars || to-from <= fewPoints {
			dots.GlyphStyle = draw.GlyphStyle{Color: pageColor(s.color), Radius: 2, Shape: draw.CircleGlyph{}}
			p.Add(dots)
		}
		return nil
	})
}

// intervals are the distances of the ends from the values.
func intervals(y, low, high []float64) plotter.YErrors {
	list := make(plotter.YErrors, len(y))
	for i := range y {
		list[i].Low, list[i].High = y[i]-low[i], high[i]-y[i]
	}
	return list
}

// drawArea adds the series as an area on below, the sum of those before it, and returns the sum with it. One step alone is a block.
func (s series) drawArea(p *plot.Plot, below []float64) ([]float64, error) {
	if below == nil {
		below = make([]float64, len(s.y))
	}
	above := make([]float64, len(s.y))
	for i := range above {
		above[i] = below[i] + s.y[i]
	}
	x, low, high := s.x, below, above
	if len(x) == 1 {
		x = []float64{x[0] - 0.5, x[0] + 0.5}
		low, high = []float64{low[0], low[0]}, []float64{high[0], high[0]}
	}
	return above, addArea(p, x, low, high, s.color)
}

func addArea(p *plot.Plot, x, low, high []float64, n int) error {
	outline := points(x, high)
	back := points(x, low)
	slices.Reverse(back)
	area, err := plotter.NewPolygon(append(outline, back...))
	if err != nil {
		return err
	}
	area.Color, area.LineStyle.Width = pageColor(n), vg.Length(0)
	p.Add(area)
	return nil
}

// adapt makes the library's SVG part of the page: as wide as its column, in the page's colours and font.
func (c *chart) adapt(svg string) svgText {
	svg = svgHeader.ReplaceAllString(svg, `<svg viewBox="$1" role="img" aria-label="`+template.HTMLEscapeString(c.Title)+`">`)
	svg = svgFont.ReplaceAllString(svg, "")
	svg = svgColor.ReplaceAllStringFunc(svg, func(found string) string {
		m := svgColor.FindStringSubmatch(found)
		n, _ := strconv.ParseUint(m[2], 16, 8) // two hex digits by the expression
		switch {
		case n == axisColor:
			return m[1] + ":var(--axis)"
		case n == gridColor:
			return m[1] + ":var(--grid)"
		case n >= 2*bandColor:
			return fmt.Sprintf("%s:var(--c%d);%s-opacity:.55", m[1], n-2*bandColor, m[1])
		case n >= bandColor:
			return fmt.Sprintf("%s:var(--c%d);%s-opacity:.2", m[1], n-bandColor, m[1])
		}
		return fmt.Sprintf("%s:var(--c%d)", m[1], n)
	})
	return svgText(strings.ReplaceAll(svg, "\n\t", " "))
}
