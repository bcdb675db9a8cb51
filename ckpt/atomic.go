package ckpt

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The write protocol, after restic's: a temporary name in the target's own folder, write, check the length, fsync,
// close, rename, fsync the folder, and on any error remove the temporary. At no moment does the target's name stand for
// anything but the whole old content or the whole new one, whatever fails and wherever the process or the machine stops.
// What a stop leaves behind carries tempPrefix in its name.

// ErrExists says that the target of a write that never overwrites is there already, and is not an empty folder.
var ErrExists = errors.New("exists already, and is not an empty folder")

// tempPrefix starts the name of everything that is not, or no longer, what its name will say.
const tempPrefix = ".tmp-"

// writeBufferBytes makes few large writes of the many small ones that an encoder makes.
const writeBufferBytes = 256 << 10

// WriteFileAtomic puts what write writes into the file at path, replacing one that is there. When it returns nil the
// file is complete and durable; when it returns an error the old file stands, or none, except that an fsync of the
// folder that failed after the rename leaves the new file, complete, in place. perm is subject to the umask. A symbolic
// link at path is replaced, not followed. w is an io.Closer: write may close it to know that all of it is durable.
func WriteFileAtomic(path string, perm fs.FileMode, write func(w io.Writer) error) error {
	return writeFile(realDisk{}, path, perm, write)
}

func writeFile(d disk, path string, perm fs.FileMode, write func(w io.Writer) error) error {
	return publishFile(d, path, func(temp string) error { return writeTempFile(d, temp, perm, write) })
}

// publishFile hands a temporary name beside path to write, which leaves a whole and durable file there, and gives that its own.
func publishFile(d disk, path string, write func(temp string) error) error {
	path = filepath.Clean(path)
	temp := tempPath(path)
	err := write(temp)
	if err == nil {
		err = d.rename(temp, path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, errors.Join(err, d.removeAll(temp)))
	}
	if err := d.syncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("write %s: fsync its folder: %w", path, err)
	}
	return nil
}

func writeTempFile(d disk, temp string, perm fs.FileMode, write func(w io.Writer) error) error {
	f, err := newSyncedFile(d, temp, perm)
	if err != nil {
		return err
	}
	if err := write(f); err != nil {
		return errors.Join(err, f.abort())
	}
	return f.Close()
}

// WriteDirAtomic makes the folder at path with the files that write creates in it. path must be absent or an empty
// folder, else ErrExists, and its parent must be there. A folder that cannot be made is an error before write runs, as
// far as it can be tried: write may take hours. When it returns nil the folder is complete and durable; when it returns
// an error there is none, except as WriteFileAtomic says.
func WriteDirAtomic(path string, write func(d *DirWriter) error) error {
	path = filepath.Clean(path)
	if err := checkTarget(path); err != nil {
		return fmt.Errorf("write folder %s: %w", path, err)
	}
	d := realDisk{}
	return writeDir(d, path, write, func(temp string) error { return d.rename(temp, path) })
}

// MkdirAll makes the folder at path, and those above it, where they are not there. When it returns nil, those that it made are durable.
func MkdirAll(path string) error { return mkdirAll(realDisk{}, filepath.Clean(path)) }

func mkdirAll(d disk, path string) error {
	switch info, err := os.Stat(path); {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		return &fs.PathError{Op: "mkdir", Path: path, Err: unix.ENOTDIR}
	}
	parent := filepath.Dir(path)
	if parent != path {
		if err := mkdirAll(d, parent); err != nil {
			return err
		}
	}
	if err := d.mkdir(path, 0o777); err != nil && !errors.Is(err, fs.ErrExist) { // another process may have been faster
		return err
	}
	if err := d.syncDir(parent); err != nil {
		return fmt.Errorf("make %s: fsync its parent: %w", path, err)
	}
	return nil
}

// checkTarget says early, before anything is written, what the rename would say in the end: it moves an empty folder away and back.
func checkTarget(path string) error {
	if to, err := os.Readlink(path); err == nil {
		return fmt.Errorf("a symbolic link to %s, which a folder cannot replace: choose another place", to)
	}
	entries, err := os.ReadDir(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, unix.ENOTDIR):
		return fmt.Errorf("a file is in the way: %w: move it, or choose another place", ErrExists)
	case err != nil:
		return err
	case len(entries) > 0:
		return fmt.Errorf("%w: it holds %s: move it, or choose another place", ErrExists, entries[0].Name())
	}
	away, d := tempPath(path), realDisk{}
	switch err := d.rename(path, away); {
	case errors.Is(err, unix.EXDEV): // an overlay cannot move a folder of its lower layers, and replaces it all the same
		return nil
	case err != nil:
		return fmt.Errorf("an empty folder that cannot be replaced: %w: choose a new name, such as one in it", errors.Unwrap(err))
	}
	return d.rename(away, path)
}

// writeDir writes a temporary folder beside path, makes all of it durable, and hands its name to publish, which gives
// it its own.
func writeDir(d disk, path string, write func(*DirWriter) error, publish func(temp string) error) error {
	temp := tempPath(path)
	err := writeTempDir(d, temp, write)
	if err == nil {
		if err = publish(temp); errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST) {
			err = fmt.Errorf("%w: %w", ErrExists, err)
		}
	}
	if err != nil {
		return fmt.Errorf("write folder %s: %w", path, errors.Join(err, d.removeAll(temp)))
	}
	if err := d.syncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("write folder %s: fsync its parent: %w", path, err)
	}
	return nil
}

func writeTempDir(d disk, temp string, write func(*DirWriter) error) error {
	if err := d.mkdir(temp, 0o777); err != nil {
		return err
	}
	w := &DirWriter{disk: d, dir: temp}
	if err := write(w); err != nil {
		return errors.Join(err, w.abort())
	}
	if err := w.finish(); err != nil {
		return err
	}
	return d.syncDir(temp)
}

// DirWriter creates the files of a folder that WriteDirAtomic writes. It is valid until the function it was given to
// returns. Not safe for concurrent use.
type DirWriter struct {
	disk  disk
	dir   string
	files []*syncedFile
	err   error
}

// errDirDone is what a DirWriter says that was kept for too long.
var errDirDone = errors.New("the folder is finished")

// Create creates a file in the folder. Closing it flushes it, checks its length and makes it durable; one that is not
// closed is closed when the folder is finished. After the first error of any file, all further calls return it.
func (w *DirWriter) Create(name string) (io.WriteCloser, error) {
	if err := w.Err(); err != nil {
		return nil, err
	}
	if name == "" || name != filepath.Base(name) || strings.HasPrefix(name, ".") {
		return nil, fmt.Errorf("file name %q: expected a plain name without a folder and without a dot in front", name)
	}
	f, err := newSyncedFile(w.disk, filepath.Join(w.dir, name), 0o666)
	if err != nil {
		w.err = err
		return nil, err
	}
	w.files = append(w.files, f)
	return f, nil
}

// Err returns the first error of the folder or of a file in it.
func (w *DirWriter) Err() error {
	if w.err != nil {
		return w.err
	}
	for _, f := range w.files {
		if f.err != nil {
			w.err = f.err
			return w.err
		}
	}
	return nil
}

// finish closes all files, also those that the caller left open, and retires the writer.
func (w *DirWriter) finish() error {
	if err := w.Err(); err != nil {
		return errors.Join(err, w.abort())
	}
	for _, f := range w.files {
		if err := f.Close(); err != nil {
			return errors.Join(err, w.abort())
		}
	}
	w.err = errDirDone
	return nil
}

// abort closes all files without making them durable, and retires the writer.
func (w *DirWriter) abort() error {
	var errs []error
	for _, f := range w.files {
		errs = append(errs, f.abort())
	}
	w.err = errDirDone
	return errors.Join(errs...)
}

// syncedFile is a new file of which Close returns nil only if all that was written is on the disk. Its first error
// stays: after a write or an fsync that failed nobody knows what the file holds, and asking again can hide it (an fsync
// that is repeated may succeed although the pages were dropped).
type syncedFile struct {
	file   diskFile
	path   string
	buffer *bufio.Writer
	bytes  int64 // taken from the caller
	closed bool
	err    error
}

func newSyncedFile(d disk, path string, perm fs.FileMode) (*syncedFile, error) {
	f, err := d.open(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return nil, err
	}
	return &syncedFile{file: f, path: path, buffer: bufio.NewWriterSize(f, writeBufferBytes)}, nil
}

func (f *syncedFile) Write(p []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	if f.closed {
		return 0, fmt.Errorf("%s: %w", f.path, fs.ErrClosed)
	}
	n, err := f.buffer.Write(p)
	f.bytes += int64(n)
	f.err = err
	return n, err
}

// Close flushes, checks the length, syncs and closes. A second call returns what the first one did.
func (f *syncedFile) Close() error {
	if f.closed {
		return f.err
	}
	if f.err == nil {
		f.err = f.settle()
	}
	f.closed = true
	if err := f.file.Close(); f.err == nil {
		f.err = err
	}
	return f.err
}

// settle brings all that was written to the disk.
func (f *syncedFile) settle() error {
	if err := f.buffer.Flush(); err != nil {
		return err
	}
	info, err := f.file.Stat()
	if err != nil {
		return err
	}
	if info.Size() != f.bytes {
		return fmt.Errorf("%s: %d bytes found after writing %d", f.path, info.Size(), f.bytes)
	}
	return f.file.Sync()
}

// abort closes a file that will be removed.
func (f *syncedFile) abort() error {
	if f.closed {
		return nil
	}
	f.closed = true
	return f.file.Close()
}

// tempPath returns a new temporary name beside path. It is random rather than counted, so that no two processes and no
// leftover can meet; the name never reaches a finished file, and is cut where there would be no room for more than the target's.
func tempPath(path string) string {
	return filepath.Join(filepath.Dir(path), tempStart(filepath.Base(path))+strconv.FormatUint(rand.Uint64(), 36))
}

func tempStart(base string) string { return tempPrefix + base[:min(len(base), 200)] + "-" }

// IsTemp says whether name is one that a write of the file called base, stopped midway, leaves beside it.
func IsTemp(name, base string) bool {
	end, ok := strings.CutPrefix(name, tempStart(base))
	return ok && !strings.Contains(end, "-") // else of a longer base
}

// RemoveTemps removes what writes of the file at path that were stopped midway have left beside it; nobody else may be writing it.
func RemoveTemps(path string) error {
	dir, base := filepath.Split(path)
	entries, err := os.ReadDir(filepath.Clean(dir))
	for _, e := range entries {
		if IsTemp(e.Name(), base) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return err
}
