package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"afctl/bench/eval"
	"afctl/flow"

	"github.com/go-json-experiment/json"
	"pgregory.net/rapid"
)

// external finds what a page would load, or do, beyond showing itself.
var external = regexp.MustCompile(`(?i)<script|<link|<iframe|<img|<object|<base|@import|url\(|src=|https?:|javascript:|\bon[a-z]+=|ZgotmplZ`)

// checkPage renders page and JSON and checks what holds for every report.
func checkPage(t *testing.T, d *reportData) string {
	t.Helper()
	var page, again, figures bytes.Buffer
	if err := errors.Join(d.writeHTML(&page), d.writeHTML(&again), d.writeJSON(&figures)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(page.Bytes(), again.Bytes()) {
		t.Error("two pages of one report differ")
	}
	if found := external.FindString(page.String()); found != "" {
		i := strings.Index(page.String(), found)
		t.Errorf("found %q in the page: …%.200s", found, page.String()[max(0, i-80):])
	}
	if !utf8.Valid(page.Bytes()) {
		t.Error("the page is not UTF-8")
	}
	if i := strings.IndexFunc(page.String(), func(r rune) bool { return r != '\n' && r != '\t' && unicode.In(r, unicode.Cc, unicode.Bidi_Control) }); i >= 0 {
		t.Errorf("a control character in the page: %q", page.String()[max(0, i-40):i+4])
	}
	var back map[string]any
	if err := json.Unmarshal(figures.Bytes(), &back); err != nil {
		t.Errorf("the JSON cannot be read: %v", err)
	}
	if back["format"] != float64(reportFormat) {
		t.Errorf("format %v", back["format"])
	}
	return page.String()
}

func TestReportPage(t *testing.T) {
	in := inputOf()
	c := DefaultConfig()
	c.Model = strings.Repeat("/a/long/path", 300) // the config stands there to its last key
	in.config = &c
	page := checkPage(t, mustReport(t, in))
	if first, second := strings.Index(page, `<th scope="row">2</th>`), strings.Index(page, `<th scope="row">1</th>`); first < 0 || second < first {
		t.Errorf("the last steps stand at %d and %d, expected the last one first", first, second)
	}
	for _, text := range []string{"50.0 %", "100.0 %", "2 of 100 steps", "Held-out accuracy", "what is two?", "repeats a failed call", "not_found", "1 failed", "step 3, 2 rollouts so far", "<svg", "eval_limit", "eval_every: 10"} {
		if !strings.Contains(page, text) {
			t.Errorf("the page does not say %q", text)
		}
	}
}

// A change is for the better or for the worse by what the figure is; none is neither.
func TestComparePair(t *testing.T) {
	few, many := &eval.Stats{ErrorRate: 0.1, Turns: 1}, &eval.Stats{ErrorRate: 0.2, Turns: 2, Accuracy: eval.Interval{Mean: 0.5}}
	for _, c := range []struct {
		before, after *eval.Stats
		of            compared
		expect        pair
	}{
		{few, many, accuracyOf, pair{"0.0 %", "50.0 %", "better"}}, {many, few, accuracyOf, pair{"50.0 %", "0.0 %", "worse"}},
		{few, many, errorsOf, pair{"10.0 %", "20.0 %", "worse"}}, {many, few, errorsOf, pair{"20.0 %", "10.0 %", "better"}},
		{few, many, turnsOf, pair{"1.00", "2.00", ""}}, {few, few, errorsOf, pair{"10.0 %", "10.0 %", ""}}, {few, nil, errorsOf, pair{"10.0 %", "", ""}},
	} {
		if got := comparePair(c.before, c.after, c.of); got != c.expect {
			t.Errorf("%s: %+v, expected %+v", c.of.name, got, c.expect)
		}
	}
}

// Nothing that tasks, models and tools say acts on the page or on a terminal.
func TestReportOfHostileText(t *testing.T) {
	hostile := []string{
		"<script>alert(1)</script>", `"><img src=x onerror=alert(1)>`, "</style><style>@import url(http://x)", "javascript:alert(1)//", "{{.Run}}", "]]>--><!--",
		"\x00\x07\x1b[2J\x1b]0;x\x07\x7f\u0085", "\xff\xfe\xc0\x80", "\u202eevil\u2066", strings.Repeat("x", 200_000), strings.Repeat("\xf0", 50_000), "a\u2028b",
	}
	in := inputOf()
	in.decode = func([]int32) string { return strings.Join(hostile, "") }
	c := DefaultConfig()
	c.Model, c.Tasks.Train = hostile[0]+hostile[6], hostile[1]+hostile[7]+hostile[8]
	in.config = &c
	for _, h := range hostile {
		task := flow.Task{ID: h, Question: h, Answers: []string{h}, Choices: []string{h}, Meta: map[string]string{"family": h}}
		in.tasks = append(in.tasks, task)
	}
	var solves []flow.Trajectory
	for i, h := range hostile {
		s := solveOf(h, 0, float64(i%2), "Calc")
		s.Answer, s.AdapterHash, s.Analysis, s.Turns[0].Stop = h, h, h, flow.StopReason(h)
		p := &s.Steps[0]
		*p = flow.Step{Justification: h, Context: h, SubGoal: h, Tool: h, Args: []byte(h), Result: h, ErrorKind: h, Error: h, Verdict: flow.Verdict(h), VerdictNote: h}
		failed := solveOf(h, 1, -1)
		failed.Failure, failed.FailureDetail = h, h
		solves = append(solves, s, failed)
	}
	in.batches = batchesOf(reportBatch{phaseEval, 0, solves}, reportBatch{phaseEval, 2, solves}, reportBatch{phaseTrain, 1, solves})
	page := checkPageOf(t, mustReport(t, in))
	for _, acts := range []string{"<script", "<img", "<!--", "</style><style>"} {
		if strings.Contains(page, acts) {
			t.Errorf("the page has %q", acts)
		}
	}
	const most = 3 << 20
	if len(page) > most {
		t.Errorf("a page of %d bytes, expected at most %d", len(page), most)
	}
}

// checkPageOf is checkPage where texts spell what external looks for: only what is UTF-8 and free of controls is checked.
func checkPageOf(t *testing.T, d *reportData) string {
	t.Helper()
	keep := external
	external = regexp.MustCompile(`ZgotmplZ`)
	defer func() { external = keep }()
	return checkPage(t, d)
}

func TestClip(t *testing.T) {
	for _, c := range []struct{ in, out string }{
		{"plain, ünïcode\n\ttext", "plain, ünïcode\n\ttext"}, {"a\x00b\x1b", "a␀b␛"}, {"\x7f", "␡"}, {"\u202e", "[U+202E]"}, {"\xff", "\ufffd"}, {"\u0085", "[U+0085]"},
		{"0123456789", "0123456789"}, {"0123456789abc", "0123456789 … (3 more characters)"},
	} {
		if got := clip(c.in, 10+strings.Count(c.in, "n")*50); got != c.out {
			t.Errorf("clip(%q) = %q, expected %q", c.in, got, c.out)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		s, n := string(rapid.SliceOf(rapid.Byte()).Draw(t, "s")), rapid.IntRange(0, 20).Draw(t, "n")
		got := clip(s, n)
		bad := func(r rune) bool {
			return r != '\n' && r != '\t' && unicode.In(r, unicode.Cc, unicode.Bidi_Control, unicode.Zl, unicode.Zp)
		}
		if !utf8.ValidString(got) || strings.ContainsFunc(got, bad) || utf8.RuneCountInString(got) > 8*n+50 {
			t.Fatalf("clip(%q, %d) = %q", s, n, got)
		}
	})
}

// Values read back to three digits.
func TestValueText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.Float64Range(-1e9, 1e9).Draw(t, "x") * math.Pow(10, float64(rapid.IntRange(-12, 0).Draw(t, "e")))
		back, err := strconv.ParseFloat(strings.ReplaceAll(valueText(x), ",", ""), 64)
		const shown = 0.05 // two digits of the smallest; 0.5 % of the others
		if err != nil || math.Abs(back-x) > shown*math.Abs(x) {
			t.Fatalf("%g is shown as %q", x, valueText(x))
		}
	})
	for _, c := range []struct {
		x    any
		text string
	}{{flow.Number(math.NaN()), "–"}, {math.Inf(1), "–"}, {0.0, "0"}, {12345.6, "12,346"}, {0.9996, "1.00"}, {0.9994, "0.999"}, {12.34, "12.3"}, {0.00957, "0.00957"}, {-1234567, "-1,234,567"}} {
		if got := valueText(c.x); got != c.text {
			t.Errorf("%v is shown as %q, expected %q", c.x, got, c.text)
		}
	}
}

// A plot is well-formed XML whose colours are all the page's, whatever the data.
func TestPlots(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.OneOf(rapid.Float64Range(-3, 3), rapid.SampledFrom([]float64{math.NaN(), 0, 1, 1e-300, 1e18, math.MaxFloat32, -math.MaxFloat64, math.MaxFloat64, math.Inf(1)}))
		c := chart{Title: `a "plot" <of> & more`, format: numberTick, stacked: rapid.Bool().Draw(t, "stacked")}
		if c.stacked {
			number = rapid.OneOf(rapid.Float64Range(0, 3), rapid.Just(0.0))
		}
		if rapid.Bool().Draw(t, "free") {
			c.floor = math.Inf(1)
		}
		n := rapid.IntRange(1, 700).Draw(t, "steps")
		for k := range rapid.IntRange(1, 3).Draw(t, "series") {
			s := series{Name: "s", color: rapid.IntRange(0, 9).Draw(t, "color"), band: k == 0 && !c.stacked, bars: k == 1 && !c.stacked}
			pattern := rapid.SliceOfN(number, 1, 12).Draw(t, "y")
			for i := range n {
				y := pattern[i%len(pattern)]
				if s.band || s.bars {
					s.addInterval(i, eval.Interval{Mean: y, Low: y - 0.1, High: y + 0.2})
				} else {
					s.add(i, y)
				}
			}
			c.Series = append(c.Series, s)
		}
		if c.empty() {
			return
		}
		svg, err := c.draw()
		if err != nil {
			t.Fatal(err)
		}
		for d := xml.NewDecoder(strings.NewReader(string(svg))); ; {
			if _, err := d.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("%v in %s", err, svg)
			}
		}
		if strings.Contains(string(svg), ":#") || strings.Contains(string(svg), "NaN") || strings.Contains(string(svg), "Inf") || strings.Contains(string(svg), "font-family") {
			t.Fatalf("a colour, a font or a number of no place: %s", svg)
		}
	})
}

// Every colour comes through the library's SVG as itself.
func TestPlotColors(t *testing.T) {
	for n := range 10 {
		c := chart{format: numberTick, Series: []series{{color: n, x: []float64{1, 2}, y: []float64{1, 2}, low: []float64{0, 1}, high: []float64{2, 3}, band: true, bars: true}}}
		svg, err := c.draw()
		if err != nil {
			t.Fatal(err)
		}
		own := "var(--c" + strconv.Itoa(n) + ")"
		for _, text := range []string{"stroke:" + own + ";stroke-width", "fill:" + own + ";fill-opacity:.2", "stroke:" + own + ";stroke-opacity:.55", "var(--axis)", "var(--grid)"} {
			if !strings.Contains(string(svg), text) {
				t.Errorf("colour %d: no %s", n, text)
			}
		}
		if strings.Count(string(svg), "var(--c") != strings.Count(string(svg), own) {
			t.Errorf("colour %d: another one in %s", n, svg)
		}
	}
}

// Thinning keeps the mean, and of maxima the largest.
func TestThin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := series{peak: rapid.Bool().Draw(t, "peak")}
		n := rapid.IntRange(1, 40).Draw(t, "n")
		k := n * rapid.IntRange(1, 5).Draw(t, "times")
		sum, most := 0.0, math.Inf(-1)
		for i := range k {
			y := rapid.Float64Range(0, 1).Draw(t, "y")
			sum, most = sum+y, max(most, y)
			s.add(i, y)
		}
		got, mean, peak := s.thin(n), 0.0, math.Inf(-1)
		for _, y := range got.y {
			mean, peak = mean+y/float64(len(got.y)), max(peak, y)
		}
		const rounding = 1e-12
		if len(got.y) != n && k > n || s.peak && peak != most || !s.peak && math.Abs(mean-sum/float64(k)) > rounding {
			t.Fatalf("%d of %d: mean %g of %g, peak %g of %g", len(got.y), k, mean, sum/float64(k), peak, most)
		}
	})
}
