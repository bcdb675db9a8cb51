package ref

import "math"

// RoPETable returns, for each position, dh/2 cosines and then dh/2 sines of position * theta^(-2i/dh) (Su et al. 2021, eq. 15).
func RoPETable(positions, dh int, theta float64) []float64 {
	table := make([]float64, 0, positions*dh)
	for p := range positions {
		for i := range dh / 2 {
			table = append(table, math.Cos(float64(p)*math.Pow(theta, -2*float64(i)/float64(dh))))
		}
		for i := range dh / 2 {
			table = append(table, math.Sin(float64(p)*math.Pow(theta, -2*float64(i)/float64(dh))))
		}
	}
	return table
}

// RoPE rotates every head of x [T, heads*dh], paired as Hugging Face does it: i with i + dh/2 (Su et al. 2021, eq. 34). inverse rotates
// the other way: the rotation is orthogonal, so that is its backward pass.
//
//	y[i] = x[i] cos - x[i+dh/2] sin,   y[i+dh/2] = x[i+dh/2] cos + x[i] sin
func RoPE(x []float64, positions []int32, table []float64, heads, dh int, inverse bool) []float64 {
	y := make([]float64, len(x))
	half := dh / 2
	for t, p := range positions {
		for h := range heads {
			at := (t*heads + h) * dh
			for i := range half {
				cos, sin := table[int(p)*dh+i], table[int(p)*dh+half+i]
				if inverse {
					sin = -sin
				}
				a, b := x[at+i], x[at+half+i]
				y[at+i] = a*cos - b*sin
				y[at+half+i] = b*cos + a*sin
			}
		}
	}
	return y
}
