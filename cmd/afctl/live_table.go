package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"afctl/bench/eval"
)

// writeGain writes what training changed, from the evaluations of the same tasks before it and after so many steps: the accuracy with
// its 95 % intervals, then accuracy, tool errors, stuck loops and turns of each family.
func writeGain(w io.Writer, before, after *eval.Summary, steps int) error {
	a, b := &before.All, &after.All
	fmt.Fprintf(w, "held-out accuracy  %s -> %s  after %s, on %s, with 95 %% intervals\n\n", intervalText(a.Accuracy), intervalText(b.Accuracy),
		counted(steps, "step"), counted(b.Tasks, "task"))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "family\ttasks\taccuracy %\ttool errors %\tstuck %\tturns\t")
	line := func(name string, a, b *eval.Stats) {
		fmt.Fprintf(t, "%s\t%d\t%.1f -> %.1f\t%.1f -> %.1f\t%.1f -> %.1f\t%.2f -> %.2f\t\n", printable(name), b.Tasks, 100*a.Accuracy.Mean, 100*b.Accuracy.Mean,
			100*a.ErrorRate, 100*b.ErrorRate, 100*a.StuckRate, 100*b.StuckRate, a.Turns, b.Turns)
	}
	for i := range before.Families {
		if f := &before.Families[i]; after.Family(f.Name) != nil {
			line(f.Name, &f.Stats, after.Family(f.Name))
		}
	}
	line("all", a, b)
	return t.Flush()
}
