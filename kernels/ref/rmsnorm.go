package ref

import "math"

// RMSNorm is y[t,c] = x[t,c] rstd[t] w[c] with rstd[t] = 1/sqrt(mean_c x[t,c]^2 + eps) (Zhang & Sennrich 2019, eq. 4). x, y [T, d], w [d].
func RMSNorm(x, w []float64, d int, eps float64) (y, rstd []float64) {
	t := len(x) / d
	y, rstd = make([]float64, t*d), make([]float64, t)
	for i := range t {
		row := x[i*d : (i+1)*d]
		rstd[i] = 1 / math.Sqrt(SumSquares(row)/float64(d)+eps)
		for c := range d {
			y[i*d+c] = row[c] * rstd[i] * w[c]
		}
	}
	return y, rstd
}

// RMSNormBack is the gradient by x and w. With xhat = x rstd and g = dy w,
//
//	dx[t,c] = rstd[t] (g[t,c] - xhat[t,c] mean_c(g xhat)),   dw[c] = sum_t dy[t,c] xhat[t,c]
func RMSNormBack(dy, x, w, rstd []float64, d int) (dx, dw []float64) {
	t := len(x) / d
	dx, dw = make([]float64, t*d), make([]float64, d)
	for i := range t {
		mean := 0.0
		for c := range d {
			mean += dy[i*d+c] * w[c] * x[i*d+c] * rstd[i] / float64(d)
		}
		for c := range d {
			xhat := x[i*d+c] * rstd[i]
			dx[i*d+c] = rstd[i] * (dy[i*d+c]*w[c] - xhat*mean)
			dw[c] += dy[i*d+c] * xhat
		}
	}
	return dx, dw
}
