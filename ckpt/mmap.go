package ckpt

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapFile maps a regular file read-only. The file must not be cut short while it is mapped: reading beyond its new end
// would kill the process, which is why every writer of this package writes beside and renames.
func mapFile(path string) (data []byte, unmap func() error, err error) {
	f, err := openRegular(path)
	if err != nil {
		if irregular := (*irregularError)(nil); errors.As(err, &irregular) {
			err = fmt.Errorf("%s: %w", path, err)
		}
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	size := info.Size()
	if size == 0 { // mmap refuses an empty length; the reader above says what is wrong with the file
		return nil, func() error { return nil }, nil
	}
	if int64(int(size)) != size {
		return nil, nil, fmt.Errorf("%s: %d bytes do not fit this machine's address space", path, size)
	}
	data, err = unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: map %d bytes: %w", path, size, err)
	}
	return data, func() error { return unix.Munmap(data) }, nil
}

// dropPages gives back the pages of mapped that lie within part; the next to read them has them from the file. It is advice: a failure changes
// nothing.
func dropPages(mapped, part []byte) {
	if len(part) == 0 {
		return
	}
	page := uintptr(os.Getpagesize())
	start := uintptr(unsafe.Pointer(unsafe.SliceData(part))) - uintptr(unsafe.Pointer(unsafe.SliceData(mapped)))
	from, to := (start+page-1)/page*page, (start+uintptr(len(part)))/page*page
	if from < to {
		_ = unix.Madvise(mapped[from:to], unix.MADV_DONTNEED)
	}
}
