package engine

import "testing"

// The budget follows from the model: a small one computes more at once.
func TestMicroBatch(t *testing.T) {
	for _, c := range []struct {
		s    benchShape
		want int
	}{{benchToy, 4096}, {benchQ05x4, 4096}, {benchQ05, 4096}} {
		if got := microBatch(&c.s.cfg, c.s.dtype); got != c.want {
			t.Errorf("%s: %d rows, expected %d", c.s.name, got, c.want)
		}
	}
}
