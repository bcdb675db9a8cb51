package ckpt

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Limits on the small files of a folder, so that a wrong file cannot fill the memory.
const (
	maxConfigBytes = 4 << 20  // config.json, generation_config.json, adapter_config.json
	maxIndexBytes  = 64 << 20 // model.safetensors.index.json
)

// folder is a place with files from outside: a directory, whose large files are mapped, or an fs.FS such as one
// embedded in the binary, whose files are read.
type folder struct {
	name string // for errors: the path, or the caller's name of the fs.FS
	dir  string // "" for an fs.FS
	fsys fs.FS
}

// openFolder opens a directory, and says so where there is none.
func openFolder(dir, what string) (folder, error) {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return folder{}, fmt.Errorf("%s: no such folder, expected %s: %w", dir, what, fs.ErrNotExist)
	case err != nil:
		return folder{}, err
	case !info.IsDir():
		return folder{}, fmt.Errorf("%s: found a file, expected %s", dir, what)
	}
	return folder{name: dir, dir: dir, fsys: regularFS(dir)}, nil
}

// path is what a file of the folder is called in errors.
func (f folder) path(name string) string { return filepath.Join(f.name, name) }

// has says whether a file is there.
func (f folder) has(name string) bool {
	_, err := fs.Stat(f.fsys, name)
	return err == nil
}

// read returns a whole file of at most limit bytes.
func (f folder) read(name string, limit int64) ([]byte, error) {
	return ReadFile(f.fsys, f.name, name, limit)
}

// ReadFile reads a whole file of at most limit bytes. folder is what fsys is called in errors.
func ReadFile(fsys fs.FS, folder, name string, limit int64) ([]byte, error) {
	where := filepath.Join(folder, name)
	f, err := fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", where, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", where, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s: more than %d bytes, too long for what it should be", where, limit)
	}
	return data, nil
}

// safetensors opens one file of tensors.
func (f folder) safetensors(name string) (*Safetensors, error) {
	if f.dir != "" {
		return OpenSafetensors(filepath.Join(f.dir, name))
	}
	data, err := fs.ReadFile(f.fsys, name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.path(name), err)
	}
	return ParseSafetensors(f.path(name), data)
}
