package ckpt

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// disk is what the writers of this package ask of the operating system, each call one operation that can fail by
// itself. Tests put one in its place that fails, or stops for good, at any of them.
type disk interface {
	// open opens a file for writing, with the flags of os.OpenFile.
	open(path string, flag int, perm fs.FileMode) (diskFile, error)
	mkdir(path string, perm fs.FileMode) error
	// rename is rename(2): in one step, and over a file or an empty folder that is in the way.
	rename(from, to string) error
	removeAll(path string) error
	// syncDir makes the entries of a folder durable: those created, renamed and removed in it.
	syncDir(path string) error
}

// diskFile is a file open for writing.
type diskFile interface {
	io.WriteCloser
	Sync() error
	Stat() (fs.FileInfo, error)
}

// realDisk is the operating system.
type realDisk struct{}

func (realDisk) open(path string, flag int, perm fs.FileMode) (diskFile, error) {
	f, err := os.OpenFile(path, flag, perm)
	if err != nil {
		return nil, err // not f: a nil *os.File in an interface would not be nil
	}
	return f, nil
}

func (realDisk) mkdir(path string, perm fs.FileMode) error { return os.Mkdir(path, perm) }

// rename does not use os.Rename, which refuses an empty folder as the target.
func (realDisk) rename(from, to string) error {
	for {
		err := unix.Rename(from, to)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
		}
		return nil
	}
}

func (realDisk) removeAll(path string) error { return os.RemoveAll(path) }

func (realDisk) syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) {
		err = nil // a file system whose folders need no fsync says so by refusing it
	}
	return errors.Join(err, d.Close())
}
