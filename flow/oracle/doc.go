// Package oracle states the Flow-GRPO objective a second time, on gorgonia's automatic differentiation in float64, and
// judges other implementations by it. Nothing here shares a formula with package flow or a kernel: the loss is built
// from exp, log, sums and comparisons, and every gradient is the automatic one.
//
// Loss is the oracle; Check runs a loss implementation over a fixed table of cases (every option, both sides of every
// clip, clamps, importance sampling, missing ls, no signal) and reports the first value that is not the oracle's:
//
//	err := oracle.Check(func(o flow.Objective, in oracle.Inputs) (oracle.Outputs, error) {
//		return lossOnMyDevice(o, in)
//	}, oracle.Float32Tolerance)
//
// Errors are returned; a panic of gorgonia becomes an error. Functions are safe for concurrent use. It is slow: a graph
// is built per token.
package oracle
