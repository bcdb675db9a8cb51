package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// allowed are the arrows of the house: which top-level folders a folder may import. Folders below count as their top.
var allowed = map[string][]string{
	"cmd":     {"bench", "rollout", "engine", "ckpt", "flow", "kernels", "cuda"},
	"bench":   {"rollout", "engine", "ckpt", "flow"},
	"rollout": {"ckpt", "flow"},
	"engine":  {"kernels", "ckpt", "flow"},
	"ckpt":    {"flow"},
	"kernels": {},
	"flow":    {},
	"cuda":    {},
}

// allowedMore are arrows of single packages.
var allowedMore = map[string][]string{"afctl/kernels/gpu": {"cuda"}}

// testsMay are arrows that only tests draw: they judge one room by another.
var testsMay = map[string][]string{"engine": {"kernels"}}

type goPackage struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
	CgoFiles                           []string
}

// packages lists this module's packages.
func packages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,TestImports,XTestImports,CgoFiles", "./...")
	cmd.Dir = filepath.Join("..", "..")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var all []goPackage
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// top is the folder of an import path of ours; empty for others'.
func top(path string) string {
	rest, ok := strings.CutPrefix(path, "afctl/")
	if !ok {
		return ""
	}
	folder, _, _ := strings.Cut(rest, "/")
	return folder
}

// TestImportArrows walks the import graph: an arrow that is not drawn fails.
func TestImportArrows(t *testing.T) {
	for _, p := range packages(t) {
		from := top(p.ImportPath)
		if _, ok := allowed[from]; !ok {
			t.Errorf("%s: a top-level folder that the house does not have", p.ImportPath)
			continue
		}
		check := func(imports []string, may ...string) {
			for _, path := range imports {
				to := top(path)
				if to == "" || to == from || slices.Contains(allowed[from], to) || slices.Contains(allowedMore[p.ImportPath], to) || slices.Contains(may, to) {
					continue
				}
				t.Errorf("%s imports %s: the house has no arrow from %s to %s", p.ImportPath, path, from, to)
			}
		}
		check(p.Imports)
		check(p.TestImports, testsMay[from]...)
		check(p.XTestImports, testsMay[from]...)
	}
}

// TestCgoRooms: C is in kernels/cpu, kernels/gpu and cuda alone, and flow does no I/O.
func TestCgoRooms(t *testing.T) {
	for _, p := range packages(t) {
		switch p.ImportPath {
		case "afctl/kernels/cpu", "afctl/kernels/gpu", "afctl/cuda":
		default:
			if len(p.CgoFiles) > 0 {
				t.Errorf("%s: %v import C", p.ImportPath, p.CgoFiles)
			}
		}
		if top(p.ImportPath) == "flow" {
			for _, path := range p.Imports {
				if first, _, _ := strings.Cut(path, "/"); slices.Contains([]string{"os", "net", "bufio", "syscall", "database", "log", "plugin"}, first) || path == "io/fs" || path == "io/ioutil" {
					t.Errorf("%s imports %s: flow is pure", p.ImportPath, path)
				}
			}
		}
	}
}

// TestNotices: every module that is linked into the program stands in NOTICES.md with its version.
func TestNotices(t *testing.T) {
	notices, err := os.ReadFile(filepath.Join("..", "..", "NOTICES.md"))
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{.Path}} {{.Version}}{{end}}", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		path, version, _ := strings.Cut(strings.TrimSpace(line), " ")
		if version == "" || seen[path] {
			continue
		}
		seen[path] = true
		if !strings.Contains(string(notices), "| "+path+" | "+version+" |") {
			t.Errorf("NOTICES.md does not have a row for %s %s", path, version)
		}
	}
}
