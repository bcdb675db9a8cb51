package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"afctl/ckpt"
)

// input is a file or folder that a command reads.
type input struct {
	name string // for messages: a flag or a key
	path string
	read func(name string) bool // of a folder, the names of files that are read; nil for all
}

// checkFileOut refuses, before any work, a file of --flag that cannot be one, or that would replace what is read. "-" is stdout.
func checkFileOut(flag, out string, inputs []input) error {
	if out == "-" {
		return nil
	}
	if base := filepath.Base(out); out != "" && os.IsPathSeparator(out[len(out)-1]) || base == "." || base == ".." {
		return usagef("--%s: found %q, which names a folder, expected a file", flag, out)
	}
	for _, in := range inputs {
		if in.path != "-" && in.has(out) {
			return usagef("--%s: found %s, which belongs to %s (%s) and would be overwritten; choose another name", flag, out, in.name, in.path)
		}
	}
	return checkOutsideCheckpoints(flag, out)
}

// checkFolderOut refuses, before any work, a folder of --flag in a checkpoint's, and "-", which elsewhere is a stream.
func checkFolderOut(flag, out string) error {
	if out == "-" {
		return usagef("--%s: found -, expected a folder, which cannot be a stream; ./- is the one of that name", flag)
	}
	return checkOutsideCheckpoints(flag, out)
}

// checkOutsideCheckpoints refuses an output in the folder of a checkpoint: with a file or folder that it was not written with it is no good one any
// more, and what is in it goes with it.
func checkOutsideCheckpoints(flag, out string) error {
	path, err := filepath.Abs(out)
	if err != nil || out == "" {
		return err
	}
	for dir := filepath.Dir(path); dir != path; path, dir = dir, filepath.Dir(dir) {
		_, noState := os.Lstat(filepath.Join(dir, "state.json"))
		_, noSums := os.Lstat(filepath.Join(dir, "SHA256SUMS"))
		if noState == nil && noSums == nil {
			return usagef("--%s: found %s in %s, a checkpoint, which no other file may be in; choose another folder", flag, out, dir)
		}
	}
	return nil
}

// has says whether a file is the input, or one of those in it that are read, there or to be made.
func (in *input) has(out string) bool {
	info, err := os.Stat(in.path)
	if err != nil || !info.IsDir() {
		return sameFile(out, in.path)
	}
	if dir, err := os.Stat(filepath.Dir(out)); err == nil && os.SameFile(dir, info) && in.reads(filepath.Base(out)) {
		return true
	}
	entries, err := os.ReadDir(in.path)
	return err == nil && slices.ContainsFunc(entries, func(e os.DirEntry) bool {
		return in.reads(e.Name()) && sameFile(out, filepath.Join(in.path, e.Name()))
	})
}

func (in *input) reads(name string) bool { return in.read == nil || in.read(name) }

// sameFile says whether two paths are one regular file, or would be, were it made. A device may be named twice.
func sameFile(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	if errX == nil && errY == nil {
		return x.Mode().IsRegular() && os.SameFile(x, y)
	}
	if errX == nil || errY == nil || filepath.Base(a) != filepath.Base(b) {
		return false
	}
	x, errX = os.Stat(filepath.Dir(a))
	y, errY = os.Stat(filepath.Dir(b))
	return errX == nil && errY == nil && os.SameFile(x, y)
}

// sameFolder says whether two paths name one folder, there or to be made.
func sameFolder(a, b string) bool {
	x, errX := filepath.Abs(a)
	y, errY := filepath.Abs(b)
	return errX == nil && errY == nil && x == y
}

// isModelFile tells a file that belongs to a model or an adapter by its name.
func isModelFile(name string) bool {
	switch name {
	case "config.json", "generation_config.json", "model.safetensors.index.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
		"special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "adapter_config.json", "state.json", "SHA256SUMS":
		return true
	}
	return strings.HasSuffix(name, ".safetensors")
}

// isRunFile tells a file that belongs to a run or an evaluation by its name.
func isRunFile(name string) bool {
	return slices.Contains([]string{configFile, storeFile, storeFile + "-wal", storeFile + "-shm", metricsFile, evalReport, solvesIdentity, ckpt.LockFile}, name)
}

// runInputs are the files of a run folder, its checkpoints and events included, that no output may replace.
func runInputs(dir string) []input {
	list := []input{{"--run", dir, isRunFile}, {"--run", filepath.Join(dir, boardDir), nil}}
	folders, _ := filepath.Glob(filepath.Join(dir, "checkpoints", "*"))
	for _, f := range folders {
		list = append(list, input{"--run", f, isModelFile})
	}
	return list
}

// inputs are the files and folders that a config names, and its own file.
func (f *modelFlags) inputs(c *Config) []input {
	var list []input
	if f.config != "" {
		list = append(list, input{"--config", f.config, nil})
	}
	paths := c.paths()
	for _, key := range slices.Sorted(maps.Keys(paths)) {
		in := input{key, *paths[key], nil}
		if key == "model" || key == "adapter" {
			in.name, in.read = "--"+key, isModelFile
		}
		list = append(list, in)
	}
	return list
}
