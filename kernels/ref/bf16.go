package ref

import "math"

// BF16 rounds x to the nearest bfloat16, ties to even, as storing a float32 does: x is rounded to float32 first. Infinities
// and NaN stay what they are.
func BF16(x float64) float64 {
	u := math.Float32bits(float32(x))
	if math.IsNaN(x) {
		return x
	}
	u += 0x7fff + u>>16&1
	return float64(math.Float32frombits(u &^ 0xffff))
}
