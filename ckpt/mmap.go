package ckpt

import (
	"fmt"
	"os"
	"runtime/debug"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapFile maps a regular file read-only. Where another program cuts the file short, reading beyond its new end would kill the process, in C without a
// word: what reads the data does so in Go, under catchFault. Every writer of this package writes beside and renames.
func mapFile(path string) (data []byte, unmap func() error, err error) {
	f, err := OpenRegular(path)
	if err != nil {
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

// catchFault makes a fault in mapped data the error of the function that defers what it returns; what was read is named in it.
func catchFault(what string, err *error) func() {
	before := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(before)
		switch fault := recover().(type) {
		case nil:
		case interface{ Addr() uintptr }:
			*err = fmt.Errorf("%s: the file was cut short while it was read; start again when what writes it has ended", what)
		default:
			panic(fault)
		}
	}
}

// copyMapped fills dst from mapped data; what is their name in the error.
func copyMapped(what string, dst, mapped []byte) (err error) {
	defer catchFault(what, &err)()
	copy(dst, mapped)
	return nil
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
