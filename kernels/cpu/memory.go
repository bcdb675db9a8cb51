package cpu

/*
#include <stdlib.h>
#include "af.h"
*/
import "C"

import (
	"fmt"
	"unsafe"

	"afctl/kernels"
)

// Alloc implements kernels.Backend.
func (b *Backend) Alloc(d kernels.DType, rows, cols int) (kernels.Tensor, error) {
	n, err := kernels.Bytes("alloc", d, rows, cols)
	if err != nil {
		return kernels.Tensor{}, err
	}
	p := C.af_alloc(C.size_t(n))
	if p == nil {
		return kernels.Tensor{}, fmt.Errorf("alloc %v [%d %d], %d MiB: %w", d, rows, cols, n>>20, kernels.ErrMemory)
	}
	return kernels.Tensor{Ptr: p, Rows: rows, Cols: cols, Stride: cols, DType: d}, nil
}

// Free implements kernels.Backend.
func (b *Backend) Free(t kernels.Tensor) {
	C.af_release(t.Ptr, C.size_t(t.Rows*t.Cols*t.DType.Size()))
}

// host views dense memory of the back end as a Go slice.
func host[E any](t kernels.Tensor) []E { return unsafe.Slice((*E)(t.Ptr), t.Rows*t.Cols) }

// Upload implements kernels.Backend.
func (b *Backend) Upload(dst kernels.Tensor, src []float32) error {
	if err := kernels.CheckCopy("upload", dst, len(src), true); err != nil {
		return err
	}
	if dst.DType == kernels.F32 {
		copy(host[float32](dst), src)
		return nil
	}
	d := host[uint16](dst)
	for i, x := range src {
		d[i] = toBF16(x)
	}
	return nil
}

// UploadI32 implements kernels.Backend.
func (b *Backend) UploadI32(dst kernels.Tensor, src []int32) error {
	if err := kernels.CheckCopy("upload", dst, len(src), false); err != nil {
		return err
	}
	copy(host[int32](dst), src)
	return nil
}

// Download implements kernels.Backend.
func (b *Backend) Download(dst []float32, src kernels.Tensor) error {
	if err := kernels.CheckCopy("download", src, len(dst), true); err != nil {
		return err
	}
	if src.DType == kernels.F32 {
		copy(dst, host[float32](src))
		return nil
	}
	for i, x := range host[uint16](src) {
		dst[i] = fromBF16(x)
	}
	return nil
}

// DownloadI32 implements kernels.Backend.
func (b *Backend) DownloadI32(dst []int32, src kernels.Tensor) error {
	if err := kernels.CheckCopy("download", src, len(dst), false); err != nil {
		return err
	}
	copy(dst, host[int32](src))
	return nil
}

// Zero implements kernels.Backend.
func (b *Backend) Zero(t kernels.Tensor) error {
	if t.Dense() {
		return b.done("zero", C.af_zero(b.c, t.Ptr, C.size_t(t.Rows*t.Cols*t.DType.Size())))
	}
	for r := range t.Rows {
		if err := b.done("zero", C.af_zero(b.c, t.RowRange(r, r+1).Ptr, C.size_t(t.Cols*t.DType.Size()))); err != nil {
			return err
		}
	}
	return nil
}

// NewMatrix implements kernels.Backend.
func (b *Backend) NewMatrix(d kernels.DType, n, k int) (kernels.Matrix, error) {
	if err := kernels.CheckMatrix(d, n, k); err != nil {
		return nil, err
	}
	size := C.af_matrix_bytes(C.int64_t(n), C.int64_t(k), C.int(d))
	m := (*C.af_matrix)(C.calloc(1, C.sizeof_af_matrix))
	if m == nil {
		return nil, fmt.Errorf("matrix [%d %d]: %w", n, k, kernels.ErrMemory)
	}
	m.n, m.k, m.dtype = C.int64_t(n), C.int64_t(k), C.int32_t(d)
	if m.data = C.af_alloc(size); m.data == nil {
		C.free(unsafe.Pointer(m))
		return nil, fmt.Errorf("matrix %v [%d %d], %d MiB: %w", d, n, k, int(size)>>20, kernels.ErrMemory)
	}
	return &matrix{m: m, size: int(size)}, nil
}

// FreeMatrix implements kernels.Backend.
func (b *Backend) FreeMatrix(w kernels.Matrix) {
	m, ok := w.(*matrix)
	if !ok || m == nil || m.m == nil {
		return
	}
	C.af_release(m.m.data, C.size_t(m.size))
	C.free(unsafe.Pointer(m.m))
	m.m = nil
}

// Load implements kernels.Backend.
func (b *Backend) Load(w kernels.Matrix, from, rows int, src []byte, s kernels.Source) error {
	if err := kernels.CheckLoad(w, from, rows, src, s); err != nil {
		return err
	}
	m, err := own("load", w)
	if err != nil || rows == 0 {
		return err
	}
	return b.done("load", C.af_pack(b.c, m, unsafe.Pointer(unsafe.SliceData(src)), C.int(s), C.int64_t(from), C.int64_t(rows), 1))
}

// Pack implements kernels.Backend.
func (b *Backend) Pack(w kernels.Matrix, src kernels.Tensor, scale float64) error {
	if err := kernels.CheckPack("pack", w, src); err != nil {
		return err
	}
	m, err := own("pack", w)
	if err != nil {
		return err
	}
	return b.done("pack", C.af_pack(b.c, m, src.Ptr, C.AF_SRC_F32, 0, m.n, C.float(scale)))
}

// Unpack implements kernels.Backend.
func (b *Backend) Unpack(dst kernels.Tensor, w kernels.Matrix) error {
	if err := kernels.CheckPack("unpack", w, dst); err != nil {
		return err
	}
	m, err := own("unpack", w)
	if err != nil {
		return err
	}
	return b.done("unpack", C.af_unpack(b.c, m, floats(dst)))
}
