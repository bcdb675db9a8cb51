package ref

// Gather is x[t] = w[tokens[t]], rows of d: the embedding, and the selection of rows.
func Gather(w []float64, tokens []int32, d int) []float64 {
	x := make([]float64, len(tokens)*d)
	for t, token := range tokens {
		copy(x[t*d:(t+1)*d], w[int(token)*d:])
	}
	return x
}

// ScatterAdd is y[rows[i]] += x[i] in order of i, rows of d: the backward pass of Gather. y is added to.
func ScatterAdd(y, x []float64, rows []int32, d int) {
	for i, r := range rows {
		for c := range d {
			y[int(r)*d+c] += x[i*d+c]
		}
	}
}

// SumSquares is sum x^2.
func SumSquares(x []float64) float64 {
	s := 0.0
	for _, v := range x {
		s += v * v
	}
	return s
}
