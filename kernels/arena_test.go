package kernels_test

import (
	"errors"
	"testing"

	"afctl/kernels"
	"afctl/kernels/cpu"
	"pgregory.net/rapid"
)

// What an arena lays out fits into what it measured, aligned and without overlap, and again after Reset.
func TestArena(t *testing.T) {
	b, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	rapid.Check(t, func(t *rapid.T) {
		type shape struct {
			d          kernels.DType
			rows, cols int
		}
		var shapes []shape
		for range rapid.IntRange(1, 20).Draw(t, "tensors") {
			shapes = append(shapes, shape{kernels.DType(rapid.Int32Range(0, 2).Draw(t, "dtype")), rapid.IntRange(0, 20).Draw(t, "rows"), rapid.IntRange(0, 70).Draw(t, "cols")})
		}
		lay := func(a *kernels.Arena) (all []kernels.Tensor) {
			for _, s := range shapes {
				x, err := a.Tensor(s.d, s.rows, s.cols)
				if err != nil {
					t.Fatal(err)
				}
				if x.Rows != s.rows || x.Cols != s.cols || x.DType != s.d || !x.Dense() {
					t.Fatalf("found %v, expected %v", x, s)
				}
				all = append(all, x)
			}
			return all
		}
		var measure kernels.Arena
		lay(&measure)
		a, err := kernels.NewArena(b, measure.Size())
		if measure.Size() == 0 {
			if !errors.Is(err, kernels.ErrShape) { // it would measure, and its tensors be none
				t.Fatalf("an arena of nothing: found error %v, expected ErrShape", err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		defer a.Free()
		all := lay(a)
		end := uintptr(0)
		for i, x := range all {
			at := uintptr(x.Ptr)
			if at%64 != 0 || at < end {
				t.Fatalf("tensor %d at %#x, the one before ends at %#x", i, at, end)
			}
			end = at + uintptr(x.Rows*x.Cols*x.DType.Size())
		}
		if n := end - uintptr(all[0].Ptr); int(n) > a.Capacity() {
			t.Fatalf("laid out %d bytes of %d", n, a.Capacity())
		}
		_, err = a.Tensor(kernels.F32, 1, a.Capacity())
		if !errors.Is(err, kernels.ErrMemory) {
			t.Fatalf("beyond the end: found %v, expected ErrMemory", err)
		}
		a.Reset()
		for i, x := range lay(a) {
			if x != all[i] {
				t.Fatalf("tensor %d after Reset: found %v at %p, expected %p", i, x, x.Ptr, all[i].Ptr)
			}
		}
	})
}

// A number of bytes that no tensor has is refused.
func TestArenaOfNothing(t *testing.T) {
	b, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for _, n := range []int{0, -1, -1 << 40} {
		if a, err := kernels.NewArena(b, n); !errors.Is(err, kernels.ErrShape) {
			t.Errorf("%d bytes: found error %v, expected ErrShape", n, err)
			a.Free()
		}
	}
}
