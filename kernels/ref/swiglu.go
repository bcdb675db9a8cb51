package ref

import "math"

// SwiGLU is act = silu(gate) up with silu(g) = g/(1+e^-g) (Shazeer 2020, eq. 6).
func SwiGLU(gate, up []float64) []float64 {
	act := make([]float64, len(gate))
	for i, g := range gate {
		act[i] = g * sigmoid(g) * up[i]
	}
	return act
}

// SwiGLUBack is the gradient: dup = dact silu(g), dgate = dact up silu'(g), silu'(g) = s + g s (1-s) with s = sigmoid(g).
func SwiGLUBack(dact, gate, up []float64) (dgate, dup []float64) {
	dgate, dup = make([]float64, len(gate)), make([]float64, len(gate))
	for i, g := range gate {
		s := sigmoid(g)
		dup[i] = dact[i] * g * s
		dgate[i] = dact[i] * up[i] * (s + g*s*(1-s))
	}
	return dgate, dup
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
