package cpu_test

import (
	"math/rand/v2"
	"sync"
	"testing"

	"afctl/kernels"
	"afctl/kernels/cpu"
)

// machine is what the processor reaches at best on all threads: GFLOP/s of a loop in registers, GB/s of reading memory.
type machine struct {
	gflops [2]float64 // float32, bf16
	gbps   float64
	err    error
}

var peak = sync.OnceValue(func() (m machine) {
	b, err := cpu.New(cpu.Options{})
	if err != nil {
		return machine{err: err}
	}
	defer b.Close()
	const seconds, memory = 0.5, 512 << 20
	m.gflops = [2]float64{b.PeakGFLOPS(false, seconds), b.PeakGFLOPS(true, seconds)}
	m.gbps, m.err = b.ReadGBps(memory, seconds)
	return m
})

// BenchmarkOps runs every hot operation in the shapes of a step: go test -run - -bench Ops/0.5B/bf16/linear ./kernels/cpu. GFLOP/s and GB/s come with their percentage of what
// this machine was measured to reach, in the same run; what fits the caches may exceed the bandwidth of memory.
func BenchmarkOps(b *testing.B) {
	for _, s := range []shape{toy, model05B} {
		b.Run(s.name, func(b *testing.B) {
			for _, d := range []kernels.DType{kernels.F32, kernels.BF16} {
				b.Run(d.String(), func(b *testing.B) {
					for _, m := range hotOps(s, d) {
						b.Run(m.name, func(b *testing.B) { benchmark(b, m.make, d) })
					}
				})
			}
		})
	}
}

func benchmark(b *testing.B, make func(e *bench) hotOp, d kernels.DType) {
	best := peak()
	if best.err != nil {
		b.Fatal(best.err)
	}
	back, err := cpu.New(cpu.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { back.Close() })
	e := &bench{b, back, rand.New(rand.NewPCG(3, 4))}
	op := make(e)
	e.must(op.run()) // scratch memory is there from now on
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if err := op.run(); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	perSecond := float64(b.N) / b.Elapsed().Seconds() / 1e9
	if op.flops > 0 {
		b.ReportMetric(op.flops*perSecond, "GFLOP/s")
		b.ReportMetric(100*op.flops*perSecond/best.gflops[min(1, int(d))], "%peak")
	} else {
		b.ReportMetric(op.bytes*perSecond, "GB/s")
		b.ReportMetric(100*op.bytes*perSecond/best.gbps, "%peak")
	}
}
