// Package ref states every operation of kernels.Backend in plain Go and float64, forward and backward: a formula, its source,
// and loops that follow it. It is what kernels/conformance judges back ends by, and its own backward passes are judged by
// central differences. Nothing here is fast.
//
// Arrays are dense and row-major; shapes use the legend of package kernels (T rows, D hidden, H query heads, K kv heads, Dh head size, V
// vocabulary, N targets). Functions return fresh slices, but for those that add to or update what they are given, which say so. A weight
// W is [N, K], N outputs by K inputs, as in package kernels.
//
// Shapes are the caller's duty: there are no errors to return, and a slice that is too short panics. All functions may be called
// concurrently on different arrays.
//
//	y := ref.Linear(x, w, t, n, k)
//	dx := ref.LinearBack(dy, w, t, n, k)
//	o, lse := ref.Attention(q, k, v, kernels.Heads{Query: 14, KeyValue: 2, Dim: 64}, scale)
package ref
