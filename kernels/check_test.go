package kernels_test

import (
	"errors"
	"math"
	"testing"

	"afctl/kernels"
)

// Sizes that wrap are no small ones.
func TestBytes(t *testing.T) {
	for _, c := range []struct {
		d          kernels.DType
		rows, cols int
		want       int
		err        error
	}{
		{kernels.F32, 3, 5, 60, nil}, {kernels.BF16, 3, 5, 30, nil}, {kernels.I32, 0, 5, 0, nil},
		{kernels.F32, 1 << 31, 1 << 31, 0, kernels.ErrMemory}, {kernels.F32, 1 << 32, 1 << 32, 0, kernels.ErrMemory},
		{kernels.BF16, math.MaxInt, 2, 0, kernels.ErrMemory}, {kernels.F32, math.MaxInt, math.MaxInt, 0, kernels.ErrMemory},
		{kernels.F32, -1, 5, 0, kernels.ErrShape}, {7, 1, 5, 0, kernels.ErrShape},
	} {
		if n, err := kernels.Bytes("alloc", c.d, c.rows, c.cols); n != c.want || !errors.Is(err, c.err) {
			t.Errorf("%v[%d %d]: %d bytes, %v; expected %d, %v", c.d, c.rows, c.cols, n, err, c.want, c.err)
		}
	}
	if err := kernels.CheckMatrix(kernels.F32, 1<<31, 1<<31); !errors.Is(err, kernels.ErrMemory) {
		t.Errorf("a matrix of 2^62 elements: %v", err)
	}
}
