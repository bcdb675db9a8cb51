// Package cuda will hold what talks to NVIDIA GPUs: devices, contexts, memory, streams and modules, cuBLASLt and NCCL. It is the
// seam at which a back end is chosen by name: the plain build has the back end "cpu" only, since a program that links a GPU's
// libraries does not start where there is none; the one with GPUs is a binary of its own, afctl-cuda.
//
// ErrNotBuilt is the only error, for a caller to recognise; nothing here has state.
//
//	if err := cuda.Available(); err != nil {
//		return err // one sentence: what this build lacks, and what has it
//	}
package cuda
