package cuda

import "errors"

// Backend is the name of the GPU back end, beside "cpu", where one is chosen (engine.backend).
const Backend = "cuda"

// ErrNotBuilt says that this binary cannot compute on a GPU.
var ErrNotBuilt = errors.New("this build has no GPU engine; afctl-cuda, which a later version makes with `make cuda`, will have it. The same commands run on the CPU, without --gpus")

// Available returns nil where the GPU back end can be used, and ErrNotBuilt in a build without it.
func Available() error { return ErrNotBuilt }
