package cpu_test

import (
	"testing"

	"afctl/kernels"
	"afctl/kernels/conformance"
	"afctl/kernels/cpu"
	"pgregory.net/rapid"
)

// Attention over any forest, forward and backward, is that of its sequences: within 1e-5 of every gradient's norm in float32.
func TestForestIsItsSequences(t *testing.T) {
	b := open(t, cpu.BestLevel(), 2)
	heads := []kernels.Heads{{Query: 1, KeyValue: 1, Dim: 2}, {Query: 4, KeyValue: 2, Dim: 16}, {Query: 7, KeyValue: 1, Dim: 8}, {Query: 3, KeyValue: 3, Dim: 24}}
	rapid.Check(t, func(t *rapid.T) {
		f := conformance.Forest{Heads: rapid.SampledFrom(heads).Draw(t, "heads"), Gap: rapid.IntRange(0, 5).Draw(t, "gap"), Seed: rapid.Uint64().Draw(t, "seed")}
		f.DType = rapid.SampledFrom([]kernels.DType{kernels.F32, kernels.BF16}).Draw(t, "dtype")
		f.DKV = f.DType
		start := int32(0)
		for i := range rapid.IntRange(0, 8).Draw(t, "runs") {
			r := kernels.Run{Start: start, Len: rapid.Int32Range(1, 24).Draw(t, "len"), Parent: rapid.Int32Range(-1, int32(i)-1).Draw(t, "parent")}
			if r.Parent >= 0 {
				r.Depth = f.Runs[r.Parent].Depth + f.Runs[r.Parent].Len
			}
			f.Runs = append(f.Runs, r)
			start += r.Len
		}
		if rapid.Bool().Draw(t, "some rows") {
			f.Rows = []int32{}
			for row := int32(0); row < start; row++ {
				if rapid.Bool().Draw(t, "wanted") {
					f.Rows = append(f.Rows, row)
				}
			}
		}
		if _, err := f.Case().Run(b); err != nil {
			t.Fatal(err)
		}
	})
}
