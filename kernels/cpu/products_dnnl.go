//go:build dnnl

package cpu

// #cgo CFLAGS: -DAF_DNNL
// #cgo LDFLAGS: -ldnnl -lgomp
import "C"
