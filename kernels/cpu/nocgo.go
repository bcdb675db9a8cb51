//go:build !cgo

package cpu

// Without a C compiler the Go tool leaves out every file that calls C; the build ends here, with the reason as the error.
var _ = afctl_needs_a_C_compiler___install_gcc_or_clang___and_leave_CGO_ENABLED_at_1
