// Package conformance is the one suite that every kernels.Backend passes: each operation against package ref (float64) and within error bounds derived
// from the arithmetic that it is done in, and the promises of package kernels to the bit. It runs in tests (Run) and on a user's own machine (Check).
//
// # Cases
//
// A Case is one named check. Its inputs are random under a seed that its name gives, rounded to the dtype that the operation reads, so that the reference
// computes on the very numbers that the back end gets. Every tensor that a case hands to a back end stands between guard words, and where its stride is
// larger than its width there are guards between its rows: an operation must leave the guards, and its inputs, as they were. What operations do not
// promise to read holds finite garbage.
//
// A case gives a digest of the bits of all results. Check runs each case twice: the digests must agree. SameBits compares them between back ends that should
// agree, such as one that runs on one thread and one on three.
//
// # Errors and concurrency
//
// Cases return errors that name the operation's output, the place in it, what was found, expected and allowed. They do not panic unless the back end does. The inputs
// and wanted results of a case are computed on its first run and kept; a back end is used by one goroutine at a time, so cases on it run one after another.
//
//	err := conformance.Check(ctx, b, func(name string, err error) {
//		if err != nil {
//			fmt.Println(name, err)
//		}
//	})
package conformance
