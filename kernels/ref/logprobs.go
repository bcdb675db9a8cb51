package ref

import "math"

// Head is what the log-prob head gives for rows of hidden states under W [V, D], all logits divided by a temperature.
type Head struct {
	LogP    []float64 // [rows, V]: log softmax(h W^T / temperature)
	LP      []float64 // [N]: of each target's token in its row
	Entropy []float64 // [rows], nats: -sum_v p_v log p_v
	LSE     []float64 // [rows]: log sum_v e^(logit_v / temperature)
	EW, ELW []float64 // [rows, D]: sum_v p_v W_v and sum_v p_v log(p_v) W_v
}

// LogProbs computes the head: row r of h [rows, d] has targets first[r]..first[r+1] of tokens.
func LogProbs(h, w []float64, first, tokens []int32, d int, temperature float64) Head {
	rows, v := len(h)/d, len(w)/d
	z := Linear(h, w, rows, v, d)
	out := Head{LogP: z, LP: make([]float64, len(tokens)), Entropy: make([]float64, rows), LSE: make([]float64, rows),
		EW: make([]float64, rows*d), ELW: make([]float64, rows*d)}
	for r := range rows {
		lp := z[r*v : (r+1)*v]
		top, sum := math.Inf(-1), 0.0
		for i := range lp {
			lp[i] /= temperature
			top = math.Max(top, lp[i])
		}
		for i := range lp {
			sum += math.Exp(lp[i] - top)
		}
		out.LSE[r] = top + math.Log(sum)
		for i := range lp {
			lp[i] -= out.LSE[r]
			p := math.Exp(lp[i])
			out.Entropy[r] -= p * lp[i]
			axpy(out.EW[r*d:(r+1)*d], p, w[i*d:])
			axpy(out.ELW[r*d:(r+1)*d], p*lp[i], w[i*d:])
		}
		for t := first[r]; t < first[r+1]; t++ {
			out.LP[t] = lp[tokens[t]]
		}
	}
	return out
}

// LogProbsBack is the gradient by h and W of a loss with derivatives g [N] by the targets' log-probs and dent [rows] by the rows' entropies
// (nil: 0), through the logits:
//
//	dlp/dlogit_v = (1[v == token] - p_v)/temperature,   dH/dlogit_v = -p_v (log p_v + H)/temperature
func LogProbsBack(out Head, h, w []float64, first, tokens []int32, d int, temperature float64, g, dent []float64) (dh, dw []float64) {
	rows, v := len(h)/d, len(w)/d
	dz := make([]float64, rows*v)
	for r := range rows {
		row, lp := dz[r*v:(r+1)*v], out.LogP[r*v:(r+1)*v]
		for t := first[r]; t < first[r+1]; t++ {
			for i := range row {
				row[i] -= g[t] * math.Exp(lp[i]) / temperature
			}
			row[tokens[t]] += g[t] / temperature
		}
		if dent != nil {
			for i := range row {
				row[i] -= dent[r] * math.Exp(lp[i]) * (lp[i] + out.Entropy[r]) / temperature
			}
		}
	}
	return LinearBack(dz, w, rows, v, d), GradWeight(dz, h, rows, v, d)
}
