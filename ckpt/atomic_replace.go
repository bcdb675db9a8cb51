package ckpt

import (
	"errors"
	"os"
	"path/filepath"
)

// ReplaceFile is WriteFileAtomic for what opens its file by name, as a database does: fill gets the name of an empty file beside path, and what stands
// there when it returns nil takes path's place. It is as durable, and as whole, as what WriteFileAtomic writes. What fills of this path that were killed
// have left is removed first; that of one which goes on is locked, and stays. Nobody may write the same path by WriteFileAtomic meanwhile.
func ReplaceFile(path string, fill func(temp string) error) error {
	path = filepath.Clean(path)
	removeDead(path)
	return replaceFile(realDisk{}, path, fill)
}

func replaceFile(d disk, path string, fill func(temp string) error) error {
	return publishFile(d, path, func(temp string) error {
		f, err := d.open(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
		if err != nil {
			return err
		}
		if file, ok := f.(*os.File); ok {
			_ = Lock(file) // some file systems have no locks
		}
		if err = fill(temp); err == nil {
			err = f.Sync() // of the file, through whichever handle it was written
		}
		return errors.Join(err, f.Close())
	})
}

// removeDead removes the temporaries of path that nobody locks. Where a file system has no locks, they stay.
func removeDead(path string) {
	dir, base := filepath.Split(path)
	entries, _ := os.ReadDir(filepath.Clean(dir)) // a folder that cannot be read is an error of the write
	for _, e := range entries {
		if !IsTemp(e.Name(), base) {
			continue
		}
		name := filepath.Join(dir, e.Name())
		if f, err := OpenRegular(name); err == nil {
			if Lock(f) == nil {
				os.Remove(name)
			}
			f.Close()
		}
	}
}
