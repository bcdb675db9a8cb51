package engine

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"afctl/ckpt"
)

// BenchmarkSampler is the sampler after one shared prompt of 300 tokens that is in its cache: 64 new tokens for each of 1 or 32 requests. For one
// request %bandwidth is what has to be read for a token, once each (the layers' matrices, the head, the adapter, keys and values), over
// what this machine was measured to read just before. For a batch x/batch1 is tokens/s over those of one request.
func BenchmarkSampler(b *testing.B) {
	for _, s := range []benchShape{benchToy, benchQ05x4, benchQ05} {
		for _, base := range []bool{true, false} {
			b.Run(s.name+map[bool]string{true: "/base", false: "/adapter"}[base], func(b *testing.B) {
				alone := 0.0
				for _, batch := range []int{1, 32} {
					b.Run(fmt.Sprint("batch", batch), func(b *testing.B) {
						rate := benchDecode(b, s, base, batch)
						if batch == 1 {
							alone = rate
						} else if alone > 0 {
							b.ReportMetric(rate/alone, "x/batch1")
						}
					})
				}
			})
		}
	}
}

func benchDecode(b *testing.B, s benchShape, base bool, batch int) (tokensPerSecond float64) {
	e, back := benchEngine(b, s, LoRA)
	smp, err := e.NewSampler(SamplerOptions{Base: base, CacheTokens: 8192})
	if err != nil {
		b.Fatal(err)
	}
	defer smp.Close()
	const prompt, length = 300, 64
	ids := tokens(rand.New(rand.NewPCG(1, 1)), prompt, s.cfg.VocabSize)
	run := func(i int) {
		var wg sync.WaitGroup
		for j := range batch {
			wg.Go(func() {
				if _, err := smp.Sample(context.Background(), SampleRequest{Prompt: ids, MaxTokens: length, Temperature: 0.7,
					Seed: uint64(i*batch + j), Stop: []int32{}}); err != nil {
					b.Error(err)
				}
			})
		}
		wg.Wait()
	}
	run(0)
	const memory, seconds = 512 << 20, 0.3
	read, err := back.ReadGBps(memory, seconds)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		run(i + 1)
	}
	b.StopTimer()
	steps := float64(length*b.N) / b.Elapsed().Seconds()
	if batch == 1 {
		b.ReportMetric(100*benchBytes(e, base, prompt+length/2)*steps/1e9/read, "%bandwidth")
	}
	b.ReportMetric(float64(batch)*steps, "tokens/s")
	return float64(batch) * steps
}

// benchBytes is what one token of one request reads: every matrix but the embedding (a tied head is one), and a context of keys and values.
func benchBytes(e *Engine, base bool, context int) float64 {
	c := &e.cfg
	n := e.w.head.Bytes() + 2*c.NumHiddenLayers*context*c.NumKeyValueHeads*c.HeadDim*e.opts.DType.Size()
	for i := range e.w.layers {
		for p, w := range e.w.layers[i].w {
			n += w.Bytes()
			if !base {
				in, out, _ := c.ProjectionSize(ckpt.Projections[p])
				n += 16 * (in + out) * e.opts.DType.Size()
			}
		}
	}
	return float64(n)
}
