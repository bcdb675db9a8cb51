package ref

import (
	"math"

	"afctl/kernels"
)

// AdamW updates p, m and v by one step with gradient g (Loshchilov & Hutter 2019, algorithm 2, in the order of PyTorch's torch.optim.AdamW):
//
//	g' = GradScale g,   p = p (1 - LR WeightDecay)
//	m = Beta1 m + (1-Beta1) g',   v = Beta2 v + (1-Beta2) g'^2
//	p = p - LR/(1-Beta1^Step) m / (sqrt(v)/sqrt(1-Beta2^Step) + Eps)
//
// The tensors of a are not looked at.
func AdamW(p, g, m, v []float64, a kernels.AdamW) {
	c1, c2 := 1-math.Pow(a.Beta1, float64(a.Step)), 1-math.Pow(a.Beta2, float64(a.Step))
	for i := range p {
		gi := a.GradScale * g[i]
		p[i] *= 1 - a.LR*a.WeightDecay
		m[i] = a.Beta1*m[i] + (1-a.Beta1)*gi
		v[i] = a.Beta2*v[i] + (1-a.Beta2)*gi*gi
		p[i] -= a.LR / c1 * m[i] / (math.Sqrt(v[i])/math.Sqrt(c2) + a.Eps)
	}
}
