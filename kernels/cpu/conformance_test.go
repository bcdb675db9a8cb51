package cpu_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"afctl/kernels"
	"afctl/kernels/conformance"
	"afctl/kernels/cpu"
)

var levels = []cpu.Level{cpu.Baseline, cpu.AVX2, cpu.AVX512, cpu.AVX512BF16, cpu.AVX512Dot}

// open starts a back end for the length of a test, or skips it where the machine cannot run the level.
func open(t testing.TB, level cpu.Level, threads int) *cpu.Backend {
	t.Helper()
	b, err := cpu.New(cpu.Options{Threads: threads, Level: level, Products: cpu.ProductsOwn})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	if b.Level() != level {
		t.Skipf("this machine has no %v", level)
	}
	return b
}

// Every instruction-set level passes the suite.
func TestConformance(t *testing.T) {
	for _, level := range levels {
		t.Run(level.String(), func(t *testing.T) {
			conformance.Run(t, func(t *testing.T) kernels.Backend { return open(t, level, 2) })
		})
	}
}

// One thread, two and three give the same bits, at every level.
func TestThreadsGiveTheSameBits(t *testing.T) {
	for _, level := range levels {
		t.Run(level.String(), func(t *testing.T) {
			var bs []kernels.Backend
			for threads := 1; threads <= 3; threads++ {
				bs = append(bs, open(t, level, threads))
			}
			conformance.SameBits(func(name string, err error) {
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}, bs...)
		})
	}
}

// A gradient by a weight has the same bits when it is formed as a whole and a narrow stretch of columns at a time.
func TestGradWeightIsItsColumns(t *testing.T) {
	const rows, n, k = 531, 70, 144
	for _, level := range levels {
		for _, d := range []kernels.DType{kernels.F32, kernels.BF16} {
			t.Run(fmt.Sprintf("%v/%v", level, d), func(t *testing.T) {
				b := open(t, level, 2)
				e := &bench{TB: t, b: b, rng: rand.New(rand.NewPCG(1, 2))}
				dy, x := e.tensor(d, rows, n), e.tensor(d, rows, k)
				var got [2][]float32
				for i, width := range []int{k, 48} {
					dw := e.tensor(kernels.F32, n, k)
					e.must(b.Zero(dw))
					for from := 0; from < k; from += width {
						e.must(b.GradWeight(dw.ColRange(from, from+width), dy, x.ColRange(from, from+width), 1))
					}
					got[i] = make([]float32, n*k)
					e.must(b.Download(got[i], dw))
				}
				if !slices.Equal(got[0], got[1]) {
					t.Error("found other bits by columns than as a whole, expected the same")
				}
			})
		}
	}
}

// With the large products by a library the suite holds too, but for rows that do not depend on their batch.
func TestConformanceWithLibraryProducts(t *testing.T) {
	if cpu.ProductLibrary() == "" {
		t.Skip("no product library is linked (build tag dnnl, which needs oneDNN: libdnnl-dev)")
	}
	conformance.Run(t, func(t *testing.T) kernels.Backend {
		b, err := cpu.New(cpu.Options{Threads: 2, Products: cpu.ProductsLibrary})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { b.Close() })
		return b
	})
}

// Nothing is left of a closed back end, and closing twice is allowed.
func TestCloseTwice(t *testing.T) {
	b, err := cpu.New(cpu.Options{Threads: 3})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func ExampleNew() {
	b, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close()
	t, err := b.Alloc(kernels.F32, 1, 3)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Free(t)
	fmt.Println(b.Upload(t, []float32{3, 4, 12}))
	s, err := b.SumSquares(t)
	fmt.Println(s, err)
	// Output:
	// <nil>
	// 169 <nil>
}

// A number of threads that C's int does not hold is refused, not cut.
func TestThreadsAreBounded(t *testing.T) {
	for _, n := range []int{4097, 1<<32 + 2} {
		if b, err := cpu.New(cpu.Options{Threads: n}); err == nil {
			t.Errorf("%d threads: found a back end of %d, expected an error", n, b.Threads())
			b.Close()
		}
	}
}

// Products and levels that there are none of are refused by their names, and none is taken in their place.
func TestOptionsAreKnown(t *testing.T) {
	for _, c := range []struct {
		o    cpu.Options
		want string
	}{
		{cpu.Options{Products: "onednn"}, `found products "onednn", expected "", "own" or "library"`},
		{cpu.Options{Products: "Own"}, `found products "Own"`},
		{cpu.Options{Level: cpu.AVX512Dot + 1}, "found level 6, expected 0 (auto), 1 (baseline) to 5 (AVX-512 bf16 dot product)"},
		{cpu.Options{Level: -1}, "found level -1"},
	} {
		c.o.Threads = 1
		b, err := cpu.New(c.o)
		if err == nil {
			b.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: error %v, expected one with %q", c.o, err, c.want)
		}
	}
}

// What a back end starts with is what BestLevel names, and a higher level is never given for one that was asked for.
func TestLevelIsWhatWasAskedFor(t *testing.T) {
	for _, c := range []struct{ ask, most cpu.Level }{{cpu.Auto, cpu.BestLevel()}, {cpu.Baseline, cpu.Baseline}, {cpu.AVX2, cpu.AVX2}, {cpu.AVX512BF16, cpu.AVX512BF16}} {
		b, err := cpu.New(cpu.Options{Threads: 1, Level: c.ask})
		if err != nil {
			t.Fatal(err)
		}
		if got := b.Level(); got > c.most || c.ask == cpu.Auto && got != c.most {
			t.Errorf("asked for level %d: got %v, expected %v", c.ask, got, c.most)
		}
		b.Close()
	}
}
