package ckpt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// irregularError is what stands where a regular file must, such as a pipe, which would be waited for without end.
type irregularError struct{ mode fs.FileMode }

func (e *irregularError) Error() string {
	return "found " + fileKind(e.mode) + ", expected a regular file"
}

// fileKind says in words what a file is.
func fileKind(mode fs.FileMode) string {
	switch {
	case mode.IsRegular():
		return "a regular file"
	case mode.IsDir():
		return "a folder"
	case mode&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeSymlink != 0:
		return "a symbolic link"
	}
	return "a device"
}

// CheckRegular returns an error that says what a file is where it is no regular one.
func CheckRegular(info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return &irregularError{info.Mode()}
	}
	return nil
}

// OpenRegular opens a file for reading, and never waits for it: what is no regular file is refused, by name.
func OpenRegular(path string) (*os.File, error) {
	f, err := openRegular(path)
	if irregular := (*irregularError)(nil); errors.As(err, &irregular) {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return f, err
}

// openRegular opens a file for reading, and never waits for it: what it is is asked before it is opened, since opening
// alone can change a device, and of the open file, since the name may stand for another by then.
func openRegular(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err == nil {
		err = CheckRegular(info)
	}
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err = f.Stat(); err == nil {
		err = CheckRegular(info)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// OpenWaiting opens a file that is there, of whatever kind, for reading or writing (os.O_RDONLY, os.O_WRONLY). That of a named pipe waits for
// its other end, until ctx ends.
func OpenWaiting(ctx context.Context, path string, flag int) (*os.File, error) {
	if info, err := os.Stat(path); err != nil || info.Mode()&fs.ModeNamedPipe == 0 {
		return os.OpenFile(path, flag, 0)
	}
	other := os.O_WRONLY
	if flag == os.O_WRONLY {
		other = os.O_RDONLY
	}
	type opened struct {
		f   *os.File
		err error
	}
	done := make(chan opened, 1)
	go func() {
		f, err := os.OpenFile(path, flag, 0)
		done <- opened{f, err}
	}()
	select {
	case o := <-done:
		return o.f, o.err
	case <-ctx.Done():
	}
	for { // another end of our own ends the waiting, once it has begun
		if fd, err := unix.Open(path, other|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err == nil {
			unix.Close(fd)
		}
		select {
		case o := <-done:
			if o.err == nil {
				o.f.Close()
			}
			return nil, &fs.PathError{Op: "open", Path: path, Err: context.Cause(ctx)}
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// regularFS is os.DirFS of which only folders and regular files can be opened.
type regularFS string

func (dir regularFS) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	path := filepath.Join(string(dir), filepath.FromSlash(name))
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return os.Open(path)
	}
	f, err := openRegular(path)
	if err != nil {
		return nil, err // not f, which would be no nil interface
	}
	return f, nil
}

func (dir regularFS) Stat(name string) (fs.FileInfo, error) {
	return fs.Stat(os.DirFS(string(dir)), name)
}
