package engine

import (
	"afctl/kernels"
)

// param is one trained matrix or vector: a stretch of the flat arrays.
type param struct {
	name       string
	rows, cols int
	at         int
}

// params are the trained values with their gradients and Adam's moments, in four flat float32 arrays of the same layout, so that
// norm, clip and optimizer are one operation each.
type params struct {
	list       []param
	n          int
	p, g, m, v kernels.Tensor // [1, n]
}

// add appends a parameter and returns its index. Starts are multiples of 16 elements.
func (ps *params) add(name string, rows, cols int) int {
	ps.list = append(ps.list, param{name, rows, cols, ps.n})
	ps.n += (rows*cols + 15) &^ 15
	return len(ps.list) - 1
}

// alloc makes the arrays, zero.
func (ps *params) alloc(b kernels.Backend) error {
	for _, t := range []*kernels.Tensor{&ps.p, &ps.g, &ps.m, &ps.v} {
		var err error
		if *t, err = b.Alloc(kernels.F32, 1, max(ps.n, 1)); err != nil {
			return err
		}
	}
	return nil
}

func (ps *params) free(b kernels.Backend) {
	for _, t := range []kernels.Tensor{ps.p, ps.g, ps.m, ps.v} {
		freeTensor(b, t)
	}
}

// view is parameter i's part of one of the arrays, [rows, cols].
func (ps *params) view(t kernels.Tensor, i int) kernels.Tensor {
	q := ps.list[i]
	t = t.ColRange(q.at, q.at+q.rows*q.cols)
	t.Rows, t.Cols, t.Stride = q.rows, q.cols, q.cols
	return t
}
