//go:build dnnl && linux

package cpu_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"testing"
	"time"

	"afctl/kernels"
	"afctl/kernels/cpu"
)

// TestLibraryKeepsOneTeam: however many threads of Go call, the product library keeps one team of threads, and none of a closed back end.
func TestLibraryKeepsOneTeam(t *testing.T) {
	const threads, callers = 4, 50
	const workers = threads - 1
	before := threadsOfC(t)
	turn, done, end := make(chan func() error), make(chan error), make(chan struct{})
	defer close(end)
	for range callers {
		go func() {
			runtime.LockOSThread() // for good: each has a thread, which ends with the test
			select {
			case call := <-turn:
				done <- call()
				<-end
			case <-end:
			}
		}()
	}
	t.Run("calls", func(t *testing.T) {
		e, a := libraryLinear(t, threads, 1)
		if more := atMost(t, before+workers) - before; more > workers {
			t.Errorf("before the first product: found %d more threads of C, expected %d workers", more, workers)
		}
		for range callers {
			turn <- func() error { return e.b.Linear(a) }
			e.must(<-done)
		}
		if more := atMost(t, before+workers+threads) - before; more > workers+threads {
			t.Errorf("after calls from %d threads: found %d more threads of C, expected %d workers and one team of %d", callers, more, workers, threads)
		}
	})
	if more := atMost(t, before) - before; more > 0 {
		t.Errorf("after Close: found %d more threads of C than before New, expected none", more)
	}
}

// TestLibraryOfTwoBackends: back ends whose products the library makes at the same time have each its own.
func TestLibraryOfTwoBackends(t *testing.T) {
	const calls = 50
	var run [2]func() error
	for i := range run {
		e, a := libraryLinear(t, 2, uint64(i))
		want, got := make([]float32, a.Y.Rows*a.Y.Cols), make([]float32, a.Y.Rows*a.Y.Cols)
		e.must(e.b.Linear(a)) // alone
		e.must(e.b.Download(want, a.Y))
		run[i] = func() error {
			for range calls {
				if err := errors.Join(e.b.Zero(a.Y), e.b.Linear(a), e.b.Download(got, a.Y)); err != nil {
					return err
				}
				if !slices.Equal(got, want) {
					return fmt.Errorf("back end %d: found other values than when it was alone", i)
				}
			}
			return nil
		}
	}
	done := make(chan error)
	for _, r := range run {
		go func() { done <- r() }()
	}
	for range run {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// libraryLinear is a product for the library, of enough rows and on a back end of its own.
func libraryLinear(t *testing.T, threads int, seed uint64) (*bench, kernels.Linear) {
	b, err := cpu.New(cpu.Options{Threads: threads, Products: cpu.ProductsLibrary})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	e := &bench{t, b, rand.New(rand.NewPCG(seed, 1))}
	const rows, n, k = 256, 128, 64
	return e, kernels.Linear{Y: e.tensor(kernels.F32, rows, n), X: e.tensor(kernels.F32, rows, k), W: e.matrix(kernels.F32, n, k)}
}

// threadsOfC counts the process's threads without Go's own, but for a constant. Either may be in the midst of starting or ending: it asks until it hears the same twice.
func threadsOfC(t *testing.T) int {
	t.Helper()
	n := -1
	for range 1000 {
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Skip(err)
		}
		last := n
		if n = len(tasks) - pprof.Lookup("threadcreate").Count(); n == last {
			break
		}
		time.Sleep(time.Millisecond)
	}
	return n
}

// atMost gives threads that end the time to do so: it is how many of C are left, once there are no more than n or after many tries.
func atMost(t *testing.T, n int) int {
	t.Helper()
	found := 0
	for range 1000 {
		if found = threadsOfC(t); found <= n {
			break
		}
	}
	return found
}
