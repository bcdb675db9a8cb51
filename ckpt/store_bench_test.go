package ckpt

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"afctl/flow"
)

// benchTrajectory is a rollout of three turns as a 0.5 B planner makes them: long prompts, short actions.
func benchTrajectory(r *rand.Rand, sample int) *flow.Trajectory {
	t := trajectory(fmt.Sprintf("task-%d", sample/8), sample%8, 3, "0123456789abcdef", 1)
	t.Turns = nil
	for range 3 {
		u := flow.Turn{Prompt: make([]int32, 600), Action: make([]int32, 80), LogProbs: make([]float32, 80), Stop: flow.StopEOS}
		for i := range u.Prompt {
			u.Prompt[i] = r.Int32N(150_000)
		}
		for i := range u.Action {
			u.Action[i], u.LogProbs[i] = r.Int32N(150_000), -r.Float32()
		}
		t.Turns = append(t.Turns, u)
	}
	t.Steps = append(t.Steps, t.Steps[0], t.Steps[0])
	return t
}

// BenchmarkPutTrajectory measures durable rollouts through the one writer, alone and by several callers.
func BenchmarkPutTrajectory(b *testing.B) {
	for _, callers := range []int{1, 8} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			s := newStore(b)
			var next atomic.Int64
			b.SetParallelism(callers)
			b.RunParallel(func(pb *testing.PB) {
				r := rand.New(rand.NewPCG(1, uint64(next.Add(1<<32))))
				for pb.Next() {
					if err := s.PutTrajectory(b.Context(), 1, PhaseTrain, benchTrajectory(r, int(next.Add(1)&0xffffffff))); err != nil {
						b.Error(err)
					}
				}
			})
			b.ReportMetric(3*float64(b.N)/b.Elapsed().Seconds(), "turns/s")
		})
	}
}

func BenchmarkTrajectories(b *testing.B) {
	s := newStore(b)
	r := rand.New(rand.NewPCG(1, 2))
	const n = 500
	for i := range n {
		if err := s.PutTrajectory(b.Context(), 1, PhaseTrain, benchTrajectory(r, i)); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		for _, err := range s.Trajectories(b.Context(), Query{Phase: PhaseTrain}) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(3*n*float64(b.N)/b.Elapsed().Seconds(), "turns/s")
}
