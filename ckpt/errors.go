package ckpt

import (
	"errors"
	"fmt"
)

// Errors that a caller can act on. They come wrapped with the file, tensor or field they are about.
var (
	// ErrUnsupported says that a well-formed file asks for something that is not built here.
	ErrUnsupported = errors.New("not supported")
	// ErrDType says that a tensor's element type cannot be read as numbers.
	ErrDType = errors.New("element type cannot be read as numbers")
	// ErrNoTensor says that a tensor that was asked for is not in the file.
	ErrNoTensor = errors.New("no such tensor")
	// ErrMismatch says that two things that are each well-formed do not belong together, such as an adapter and a model.
	ErrMismatch = errors.New("does not fit the model")
)

// NonFiniteError is a NaN or an infinity where a number must stand.
type NonFiniteError struct {
	Tensor string
	Index  int // of the element, in row-major order
	Value  float32
}

// Error names the tensor, the element and what it holds.
func (e *NonFiniteError) Error() string {
	return fmt.Sprintf("tensor %.100q: element %d is %v, expected a finite number", e.Tensor, e.Index, e.Value)
}

// unsupported says in one sentence which setting asks for something that is not built.
func unsupported(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrUnsupported, fmt.Sprintf(format, args...))
}
