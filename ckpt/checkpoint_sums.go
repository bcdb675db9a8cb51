package ckpt

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"path/filepath"
	"slices"
	"strings"
)

// maxSumsBytes is more than the sums of a checkpoint's few files need.
const maxSumsBytes = 64 << 10

// sumList collects the SHA-256 of files while they are written.
type sumList []*summedFile

// summedFile is a file that is hashed on its way.
type summedFile struct {
	io.WriteCloser
	name string
	hash hash.Hash
}

func (s *sumList) add(name string, f io.WriteCloser) io.WriteCloser {
	file := &summedFile{WriteCloser: f, name: name, hash: sha256.New()}
	*s = append(*s, file)
	return file
}

func (f *summedFile) Write(p []byte) (int, error) {
	n, err := f.WriteCloser.Write(p)
	f.hash.Write(p[:n])
	return n, err
}

// marshal returns the text of SHA256SUMS, as sha256sum writes and checks it, in the order of the names.
func (s sumList) marshal() []byte {
	lines := make([]string, len(s))
	for i, f := range s {
		lines[i] = fmt.Sprintf("%x  %s\n", f.hash.Sum(nil), f.name)
	}
	slices.SortFunc(lines, func(a, b string) int { return strings.Compare(a[2*sha256.Size:], b[2*sha256.Size:]) })
	return []byte(strings.Join(lines, ""))
}

// parseSums reads SHA256SUMS into a map from name to the sum in lower-case hex.
func parseSums(file string, data []byte) (map[string]string, error) {
	if len(data) == 0 || !bytes.HasSuffix(data, []byte("\n")) {
		return nil, fmt.Errorf("%s: %d bytes found that do not end a line: the file is torn", file, len(data))
	}
	sums := map[string]string{}
	for i, line := range strings.Split(strings.TrimSuffix(string(data), "\n"), "\n") {
		sum, name, ok := strings.Cut(line, "  ")
		raw, err := hex.DecodeString(sum)
		if !ok || err != nil || len(raw) != sha256.Size || name == "" || name == sumsFile || name != filepath.Base(name) {
			return nil, fmt.Errorf("%s:%d: found %q, expected 64 hex digits, two spaces and a plain file name", file, i+1, line)
		}
		if sums[name] != "" {
			return nil, fmt.Errorf("%s:%d: %s is listed twice", file, i+1, name)
		}
		sums[name] = sum
	}
	return sums, nil
}

// sums reads what SHA256SUMS says of the folder's files: nil where there is none, as in every folder that is no checkpoint.
func (f folder) sums() (map[string]string, error) {
	if !f.has(sumsFile) {
		return nil, nil
	}
	list, err := f.read(sumsFile, maxSumsBytes)
	if err != nil {
		return nil, err
	}
	return parseSums(f.path(sumsFile), list)
}

// checkSum says whether a file has the sum that is listed, if one is.
func checkSum(path string, h hash.Hash, want string) error {
	if found := fmt.Sprintf("%x", h.Sum(nil)); want != "" && found != want {
		return fmt.Errorf("%s: found SHA-256 %s, expected %s by %s: the file is torn or changed", path, found, want, sumsFile)
	}
	return nil
}

// checkBytes is checkSum of a file's bytes, which may be mapped.
func checkBytes(path string, data []byte, want string) (err error) {
	if want == "" {
		return nil // and data is not read
	}
	defer catchFault(path, &err)()
	h := sha256.New()
	h.Write(data)
	return checkSum(path, h, want)
}
