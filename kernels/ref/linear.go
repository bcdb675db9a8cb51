package ref

// Linear is y = x w^T: x [t, k], w [n, k], y [t, n]. The low-rank update of Hu et al. 2021 is a second one, added.
func Linear(x, w []float64, t, n, k int) []float64 {
	y := make([]float64, t*n)
	for i := range t {
		for o := range n {
			s := 0.0
			for c := range k {
				s += x[i*k+c] * w[o*k+c]
			}
			y[i*n+o] = s
		}
	}
	return y
}

// LinearBack is dx = dy w: dy [t, n], w [n, k], dx [t, k].
func LinearBack(dy, w []float64, t, n, k int) []float64 {
	dx := make([]float64, t*k)
	for i := range t {
		for o := range n {
			for c := range k {
				dx[i*k+c] += dy[i*n+o] * w[o*k+c]
			}
		}
	}
	return dx
}

// GradWeight is dw = dy^T x: dy [t, n], x [t, k], dw [n, k].
func GradWeight(dy, x []float64, t, n, k int) []float64 {
	dw := make([]float64, n*k)
	for i := range t {
		for o := range n {
			for c := range k {
				dw[o*k+c] += dy[i*n+o] * x[i*k+c]
			}
		}
	}
	return dw
}

// GradBias is db[o] = sum over rows of dy [t, n].
func GradBias(dy []float64, t, n int) []float64 {
	db := make([]float64, n)
	for i := range t {
		for o := range n {
			db[o] += dy[i*n+o]
		}
	}
	return db
}
