package ref

import "math"

// Sample draws from softmax(logits / temperature) by the inverse of the cumulative distribution (Devroye 1986, II.2): the first token whose cumulative
// probability is above u in [0, 1), with its log-prob. Temperature 0 takes the largest logit, the first of several, with
// its log-prob at temperature 1.
func Sample(logits []float64, temperature, u float64) (token int, lp float64) {
	if temperature == 0 {
		for v, z := range logits {
			if z > logits[token] {
				token = v
			}
		}
		return token, logSoftmax(logits, 1)[token]
	}
	p := logSoftmax(logits, temperature)
	below := 0.0
	for v := range p {
		if w := math.Exp(p[v]); w > 0 {
			token = v
			if below += w; below > u {
				break
			}
		}
	}
	return token, p[token]
}

// logSoftmax is log softmax(z / temperature).
func logSoftmax(z []float64, temperature float64) []float64 {
	top, sum := math.Inf(-1), 0.0
	for _, x := range z {
		top = math.Max(top, x/temperature)
	}
	for _, x := range z {
		sum += math.Exp(x/temperature - top)
	}
	lp := make([]float64, len(z))
	for v, x := range z {
		lp[v] = x/temperature - top - math.Log(sum)
	}
	return lp
}
