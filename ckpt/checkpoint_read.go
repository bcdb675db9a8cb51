package ckpt

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Rejected is a checkpoint that was passed over, and why.
type Rejected struct {
	Path   string
	Reason error
}

// Latest returns the newest checkpoint of a run folder whose every file is listed, present and right by its SHA-256, and
// whose parts belong together. Those that are not, newer than it, are returned for a word to the user; nothing of them is
// used. ErrNoCheckpoint if none is good. A good one of a newer format is not passed over: it is a *VersionError, since
// going on from an older one would undo the work of a newer build. Nor is one that cannot be read for reasons that are not
// its own (permissions, the disk, too many open files): it may be good.
//
// Latest changes nothing, and may be called while a run saves.
func Latest(runDir string) (*Checkpoint, []Rejected, error) {
	dir := filepath.Join(runDir, checkpointsFolder)
	folders, err := listCheckpoints(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("latest checkpoint: %w", err)
	}
	var rejected []Rejected
	for _, f := range folders {
		path := filepath.Join(dir, f.name)
		c, err := ReadCheckpoint(path)
		if err == nil && c.State.Step != f.step {
			err = fmt.Errorf("%s: found step %d, expected %d by the folder's name", filepath.Join(path, stateFile), c.State.Step, f.step)
		}
		var version *VersionError
		switch {
		case err == nil:
			rememberSound(path)
			return c, rejected, nil
		case errors.As(err, &version):
			return nil, rejected, fmt.Errorf("latest checkpoint: %w", err)
		case errors.Is(err, fs.ErrNotExist) && !folderExists(path):
			continue // retired since it was listed
		case unreadable(err):
			return nil, rejected, fmt.Errorf("latest checkpoint: %w; it may be good, and nothing older is used in its place", err)
		}
		sound.Delete(path)
		rejected = append(rejected, Rejected{path, err})
	}
	return nil, rejected, fmt.Errorf("%s: %w", dir, ErrNoCheckpoint)
}

// unreadable tells an error of reading a file from one of what stands in it, or of a file that is missing or none at all.
func unreadable(err error) bool {
	var failed *fs.PathError
	if !errors.As(err, &failed) {
		return false
	}
	for _, own := range []error{fs.ErrNotExist, unix.ENOTDIR, unix.EISDIR, unix.ELOOP} {
		if errors.Is(failed.Err, own) {
			return false
		}
	}
	return true
}

func folderExists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// IsFullCheckpoint tells a checkpoint of a run that trains all weights from a PEFT folder, a model, and what is none of them.
func IsFullCheckpoint(dir string) bool {
	there := func(name string) bool {
		_, err := os.Stat(filepath.Join(dir, name))
		return err == nil
	}
	return there(weightsFile) && there(stateFile) && !there("config.json")
}

// ReadCheckpoint reads the checkpoint in a folder of any name, checked as Latest checks it. What is parsed are the very bytes that were summed.
func ReadCheckpoint(dir string) (*Checkpoint, error) {
	files, err := readSummed(dir)
	if err != nil {
		return nil, err
	}
	take := func(name string) ([]byte, error) {
		data, ok := files[name]
		delete(files, name)
		if !ok {
			return nil, fmt.Errorf("%s: not listed in %s", filepath.Join(dir, name), sumsFile)
		}
		return data, nil
	}
	takeTensors := func(name string) ([]Tensor, error) {
		data, err := take(name)
		if err != nil {
			return nil, err
		}
		return parseTensors(filepath.Join(dir, name), data)
	}

	c := new(Checkpoint)
	data, err := take(stateFile)
	if err != nil {
		return nil, err
	}
	if c.State, err = parseState(filepath.Join(dir, stateFile), data); err != nil {
		return nil, err
	}
	if _, full := files[weightsFile]; full {
		c.Weights, err = takeTensors(weightsFile)
	} else {
		c.Adapter, err = takeAdapter(dir, take)
	}
	if err != nil {
		return nil, err
	}
	if c.Moments, err = takeTensors(optimizerFile); err != nil {
		return nil, err
	}
	if c.State.Epoch > 0 {
		if c.Update, err = takeTensors(updateFile); err != nil {
			return nil, err
		}
	}
	for name := range files {
		return nil, fmt.Errorf("%s: no part of a checkpoint in this state", filepath.Join(dir, name))
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return c, nil
}

// takeAdapter reads the two files of a PEFT folder.
func takeAdapter(dir string, take func(name string) ([]byte, error)) (*Adapter, error) {
	config, err := take(adapterConfigFile)
	if err != nil {
		return nil, err
	}
	parsed, err := parseAdapterConfig(filepath.Join(dir, adapterConfigFile), config)
	if err != nil {
		return nil, err
	}
	data, err := take(adapterWeightsFile)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, adapterWeightsFile)
	tensors, err := ParseSafetensors(path, data)
	if err != nil {
		return nil, err
	}
	a, err := newAdapterFromTensors(parsed, tensors)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return a, nil
}

// parseTensors returns all tensors of a file in memory, in its order; their data are parts of it.
func parseTensors(file string, data []byte) ([]Tensor, error) {
	s, err := ParseSafetensors(file, data)
	if err != nil {
		return nil, err
	}
	tensors := make([]Tensor, 0, len(s.Names()))
	for _, name := range s.Names() {
		t, err := s.Tensor(name)
		if err != nil {
			return nil, err
		}
		tensors = append(tensors, t)
	}
	return tensors, nil
}

// listSummed returns the sums of a folder's files, and checks that SHA256SUMS and the files that it lists are all there is.
func listSummed(dir string) (map[string]string, error) {
	f, err := openFolder(dir, "a checkpoint")
	if err != nil {
		return nil, err
	}
	list, err := f.read(sumsFile, maxSumsBytes)
	if err != nil {
		return nil, err
	}
	sums, err := parseSums(f.path(sumsFile), list)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if e.Name() != sumsFile && sums[e.Name()] == "" {
			return nil, fmt.Errorf("%s: not listed in %s", f.path(e.Name()), sumsFile)
		}
		if !e.Type().IsRegular() {
			return nil, fmt.Errorf("%s: %w", f.path(e.Name()), &irregularError{e.Type()})
		}
	}
	return sums, nil
}

// readSummed reads the files of a folder and checks them: those that listSummed lists, each with its sum.
func readSummed(dir string) (map[string][]byte, error) {
	sums, err := listSummed(dir)
	if err != nil {
		return nil, err
	}
	files := make(map[string][]byte, len(sums))
	for name, sum := range sums {
		path := filepath.Join(dir, name)
		data, err := os.ReadFile(path)
		if err == nil {
			err = checkBytes(path, data, sum)
		}
		if err != nil {
			return nil, err
		}
		files[name] = data
	}
	return files, nil
}

// checkSummed is readSummed for who wants no more than to know: the files of all weights' checkpoint take gigabytes, which a save has no room for.
func checkSummed(dir string) error {
	sums, err := listSummed(dir)
	if err != nil {
		return err
	}
	for name, sum := range sums {
		if err := checkFile(filepath.Join(dir, name), sum); err != nil {
			return err
		}
	}
	return nil
}

// checkFile is checkSum of a file, which is read a little at a time.
func checkFile(path, want string) error {
	f, err := OpenRegular(path)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	return checkSum(path, h, want)
}
