package ckpt

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// fault is a way in which a disk goes wrong at one operation.
type fault string

const (
	failOnce   fault = "the operation fails"          // EIO, nothing done; later ones work
	diskFull   fault = "the disk is full"             // from then on, and a write writes its first half
	shortWrite fault = "the write is short"           // half is written, and no error is given
	lostBytes  fault = "the write loses bytes"        // as shortWrite, and says that all were written
	kill       fault = "the process is killed"        // half a write is done, nothing after it
	powerCut   fault = "the power is cut"             // as kill, and what was not synced is gone
	lazyCut    fault = "the power is cut, some saved" // as powerCut, but the kernel had brought file contents to the disk
)

var allFaults = []fault{failOnce, diskFull, shortWrite, lostBytes, kill, powerCut, lazyCut}

// stops says that nobody is left to clean up.
func (f fault) stops() bool { return f == kill || f == powerCut || f == lazyCut }

// concerns says whether the fault does anything at an operation of this kind.
func (f fault) concerns(op string) bool {
	switch f {
	case failOnce:
		return op != "end"
	case diskFull:
		return op == "open" || op == "mkdir" || op == "write"
	case shortWrite, lostBytes:
		return op == "write"
	}
	return true
}

var errStopped = errors.New("stopped")

// faultyDisk is the real disk until operation number at, from 1.
type faultyDisk struct {
	t     *testing.T
	fault fault
	at    int

	ops      int
	log      []string // the kinds of the operations
	last     string   // the operation that went wrong
	stopped  bool
	files    []*faultyFile
	undo     []pendingEntry // changes of folders that no syncDir has made durable, oldest first
	graves   string
	graveSeq int
}

// pendingEntry takes back one change of a folder.
type pendingEntry struct {
	dir  os.FileInfo
	undo func() error
}

func newFaultyDisk(t *testing.T, f fault, at int) *faultyDisk {
	return &faultyDisk{t: t, fault: f, at: at, graves: scratch(t)}
}

// step counts an operation. now says that it is the one; a non-nil error ends it.
func (d *faultyDisk) step(op, path string) (now bool, err error) {
	if d.stopped {
		return false, errStopped
	}
	d.ops++
	d.log = append(d.log, op)
	now = d.ops == d.at
	if now {
		d.last = fmt.Sprintf("operation %d, %s %s", d.ops, op, filepath.Base(path))
	}
	switch {
	case d.fault == diskFull && d.at > 0 && d.ops >= d.at && (op == "open" || op == "mkdir"):
		return now, &fs.PathError{Op: op, Path: path, Err: unix.ENOSPC}
	case now && d.fault == failOnce:
		return now, &fs.PathError{Op: op, Path: path, Err: unix.EIO}
	case now && d.fault.stops():
		d.stopped = true
		return now, errStopped
	}
	return now, nil
}

// checkClean fails on temporaries that are left although the code under test was there to remove them, and could.
func (d *faultyDisk) checkClean(t *testing.T, dir string) {
	t.Helper()
	if left := leftovers(t, dir); len(left) > 0 && !d.fault.stops() && !strings.Contains(d.last, "remove") {
		t.Errorf("left behind: %v", left)
	}
}

// checkOldOrNew fails where the file f is neither the old one nor the new one, whole, or an error is none.
func (d *faultyDisk) checkOldOrNew(t *testing.T, dir string, before, after []byte, err error) {
	t.Helper()
	d.checkClean(t, dir)
	got, readErr := os.ReadFile(filepath.Join(dir, "f"))
	if readErr != nil {
		t.Fatal(readErr)
	}
	isNew := bytes.Equal(got, after)
	if !isNew && !bytes.Equal(got, before) {
		t.Fatalf("%d bytes that are neither the old nor the new content", len(got))
	}
	if err == nil && !isNew {
		t.Fatal("no error, and the old content")
	}
}

// pending notes how to take back a change of the folder that holds path, which is still there under this name.
func (d *faultyDisk) pending(path string, undo func(parent *os.Root, name string) error) {
	parent, err := os.OpenRoot(filepath.Dir(path)) // by handle: the folder may be renamed
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { parent.Close() })
	info, err := parent.Stat(".")
	if err != nil {
		d.t.Fatal(err)
	}
	d.undo = append(d.undo, pendingEntry{info, func() error { return undo(parent, filepath.Base(path)) }})
}

func (d *faultyDisk) open(path string, flag int, perm fs.FileMode) (diskFile, error) {
	if _, err := d.step("open", path); err != nil {
		return nil, err
	}
	_, missing := os.Lstat(path)
	f, err := os.OpenFile(path, flag, perm)
	if err != nil {
		return nil, err
	}
	if missing != nil {
		d.pending(path, func(parent *os.Root, name string) error { return parent.Remove(name) })
	}
	file := &faultyFile{disk: d, File: f}
	if info, err := f.Stat(); err == nil {
		file.durable = info.Size()
	}
	d.files = append(d.files, file)
	d.t.Cleanup(func() { f.Close() })
	return file, nil
}

func (d *faultyDisk) mkdir(path string, perm fs.FileMode) error {
	if _, err := d.step("mkdir", path); err != nil {
		return err
	}
	if err := os.Mkdir(path, perm); err != nil {
		return err
	}
	d.pending(path, func(parent *os.Root, name string) error { return parent.RemoveAll(name) })
	return nil
}

func (d *faultyDisk) rename(from, to string) error {
	if _, err := d.step("rename", from); err != nil {
		return err
	}
	grave := d.bury(to)
	if err := (realDisk{}).rename(from, to); err != nil {
		return err
	}
	d.pending(to, func(parent *os.Root, name string) error {
		if err := parent.Rename(name, filepath.Base(from)); err != nil {
			return err
		}
		if grave != "" {
			return os.Rename(grave, filepath.Join(parent.Name(), name))
		}
		return nil
	})
	return nil
}

// bury keeps a copy of a file that a rename is about to replace.
func (d *faultyDisk) bury(path string) (grave string) {
	if info, err := os.Lstat(path); err != nil || info.IsDir() {
		return ""
	}
	grave = d.grave()
	if err := os.Link(path, grave); err != nil {
		d.t.Fatal(err)
	}
	return grave
}

func (d *faultyDisk) grave() string {
	d.graveSeq++
	return filepath.Join(d.graves, fmt.Sprint(d.graveSeq))
}

func (d *faultyDisk) removeAll(path string) error {
	if now, err := d.step("remove", path); err != nil {
		if entries, _ := os.ReadDir(path); now && len(entries) > 0 { // a folder goes one file after the other
			return errors.Join(err, os.Remove(filepath.Join(path, entries[0].Name())))
		}
		return err
	}
	if _, err := os.Lstat(path); err != nil {
		return nil
	}
	grave := d.grave()
	if err := os.Rename(path, grave); err != nil {
		return err
	}
	d.pending(path, func(parent *os.Root, name string) error {
		return os.Rename(grave, filepath.Join(parent.Name(), name))
	})
	return nil
}

func (d *faultyDisk) syncDir(path string) error {
	if _, err := d.step("fsync folder", path); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	d.undo = slices.DeleteFunc(d.undo, func(p pendingEntry) bool { return os.SameFile(p.dir, info) })
	return nil
}

// settle does to the folder what a stop of this kind does, after the code under test returned.
func (d *faultyDisk) settle() {
	if !d.stopped || d.fault == kill {
		return
	}
	for _, f := range d.files {
		f.lose(d.fault == lazyCut)
	}
	for _, p := range slices.Backward(d.undo) {
		if err := p.undo(); err != nil {
			d.t.Fatal(err)
		}
	}
}

// faultyFile is a file on a faultyDisk. durable is how much of it an fsync has brought to the disk.
type faultyFile struct {
	disk *faultyDisk
	*os.File
	durable int64
}

func (f *faultyFile) Write(p []byte) (int, error) {
	now, err := f.disk.step("write", f.Name())
	switch {
	case f.disk.fault == diskFull && f.disk.at > 0 && f.disk.ops >= f.disk.at:
		n, _ := f.File.Write(p[:len(p)/2])
		return n, &fs.PathError{Op: "write", Path: f.Name(), Err: unix.ENOSPC}
	case now && f.disk.fault == shortWrite:
		return f.File.Write(p[:len(p)/2])
	case now && f.disk.fault == lostBytes:
		_, err := f.File.Write(p[:len(p)/2])
		return len(p), err
	case now && f.disk.fault.stops():
		n, _ := f.File.Write(p[:len(p)/2])
		return n, err
	case err != nil:
		return 0, err
	}
	return f.File.Write(p)
}

func (f *faultyFile) Stat() (fs.FileInfo, error) {
	if _, err := f.disk.step("stat", f.Name()); err != nil {
		return nil, err
	}
	return f.File.Stat()
}

func (f *faultyFile) Sync() error {
	if _, err := f.disk.step("fsync", f.Name()); err != nil {
		return err
	}
	info, err := f.File.Stat()
	if err == nil {
		f.durable = info.Size()
	}
	return err
}

func (f *faultyFile) Close() error {
	if _, err := f.disk.step("close", f.Name()); err != nil {
		return err
	}
	return nil // open until the test ends, so that lose can reach it under any name
}

// lose takes back what was never synced.
func (f *faultyFile) lose(lazy bool) {
	if lazy {
		return
	}
	if err := f.File.Truncate(f.durable); err != nil && !errors.Is(err, fs.ErrClosed) {
		f.disk.t.Fatal(err)
	}
}

// forEachFault runs the code once for every operation it does, and once more for the moment after the last, and every
// fault, each time in a new folder that setup filled, and has check look at what is left.
func forEachFault(t *testing.T, setup func(t *testing.T, dir string), run func(d disk, dir string) error,
	check func(t *testing.T, dir string, d *faultyDisk, err error)) {
	t.Helper()
	once := func(t *testing.T, f fault, at int) *faultyDisk {
		dir := scratch(t)
		setup(t, dir)
		d := newFaultyDisk(t, f, at)
		err := run(d, dir)
		if d.ops < at { // it went through; what it promised must hold from now on
			d.stopped, d.last = true, "after the last operation"
		}
		d.settle()
		if at > 0 {
			t.Logf("%s: %s", f, d.last)
			check(t, dir, d, err)
		} else if err != nil {
			t.Fatalf("without a fault: %v", err)
		}
		return d
	}
	log := append(once(t, "", 0).log, "end")
	if len(log) < 5 {
		t.Fatalf("operations %v: the disk is not used", log)
	}
	for _, f := range allFaults {
		for i, op := range log {
			at := i + 1
			if !f.concerns(op) {
				continue
			}
			t.Run(fmt.Sprintf("%s/%d", strings.ReplaceAll(string(f), " ", "_"), at), func(t *testing.T) { once(t, f, at) })
		}
	}
}

// quickDisk is the real disk without waiting for it: for what a test prepares, or only looks at afterwards.
type quickDisk struct{ realDisk }

type quickFile struct{ diskFile }

func (quickDisk) open(path string, flag int, perm fs.FileMode) (diskFile, error) {
	f, err := realDisk{}.open(path, flag, perm)
	return quickFile{f}, err
}
func (quickDisk) syncDir(string) error { return nil }
func (quickFile) Sync() error          { return nil }

// scratch is a temporary folder in memory where there is one: a test of a thousand small folders must not depend on how
// busy the disk is.
func scratch(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "afctl-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// leftovers lists the temporary names anywhere below dir.
func leftovers(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(e.Name(), tempPrefix) {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
