package ckpt

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// damage changes a checkpoint's folder; it is then passed over.
type damage struct {
	name string
	do   func(t *testing.T, dir string)
}

func damages(t *testing.T) []damage {
	write := func(t *testing.T, path string, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	read := func(t *testing.T, path string) []byte {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	rename := func(from, to string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			if err := os.Rename(filepath.Join(dir, from), filepath.Join(dir, to)); err != nil {
				t.Fatal(err)
			}
		}
	}
	all := []damage{
		{"a file that is not listed", func(t *testing.T, dir string) { write(t, filepath.Join(dir, "extra"), nil) }},
		{"a folder in it", func(t *testing.T, dir string) { os.Mkdir(filepath.Join(dir, "sub"), 0o700) }},
		{"a file renamed", rename(stateFile, "state.jsn")},
		{"a link instead of a file", func(t *testing.T, dir string) {
			rename(stateFile, "../state.json")(t, dir)
			if err := os.Symlink("../state.json", filepath.Join(dir, stateFile)); err != nil {
				t.Fatal(err)
			}
		}},
		{"another step's name", func(t *testing.T, dir string) {
			if err := os.Rename(dir, filepath.Join(filepath.Dir(dir), "step-000009")); err != nil {
				t.Fatal(err)
			}
		}},
		{"a file instead of the folder", func(t *testing.T, dir string) {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			write(t, dir, []byte("x"))
		}},
	}
	for _, name := range []string{adapterConfigFile, adapterWeightsFile, optimizerFile, updateFile, stateFile, sumsFile} {
		all = append(all,
			damage{name + " is missing", func(t *testing.T, dir string) {
				if err := os.Remove(filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
			}},
			damage{name + " is torn", func(t *testing.T, dir string) {
				data := read(t, filepath.Join(dir, name))
				write(t, filepath.Join(dir, name), data[:len(data)-1])
			}},
			damage{name + " goes on", func(t *testing.T, dir string) {
				data := read(t, filepath.Join(dir, name))
				write(t, filepath.Join(dir, name), append(data, '\n'))
			}})
	}
	return all
}

func TestLatestPassesOverWhatIsDamaged(t *testing.T) {
	older := testCheckpoint(t, 7, 1, false, false)
	check := func(t *testing.T, dir, what string) {
		t.Helper()
		got, rejected, err := Latest(dir)
		if err != nil || !same(older, got) {
			t.Fatalf("%s: error %v, expected the older checkpoint", what, err)
		}
		if len(rejected) != 1 || rejected[0].Reason == nil {
			t.Fatalf("%s: rejected %v, expected the newer checkpoint with a reason", what, rejected)
		}
	}
	for _, d := range damages(t) {
		dir := scratch(t)
		mustSave(t, dir, older)
		mustSave(t, dir, testCheckpoint(t, 8, 2, false, true))
		d.do(t, filepath.Join(dir, "checkpoints", "step-000008"))
		check(t, dir, d.name)
	}

	// Every bit of every file counts; prime strides visit all bit positions without taking all day.
	dir := scratch(t)
	mustSave(t, dir, older)
	mustSave(t, dir, testCheckpoint(t, 8, 2, false, true))
	for _, path := range glob(t, dir, "checkpoints/step-000008/*") {
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		stride := 149
		if filepath.Base(path) == sumsFile {
			stride = 7
		}
		for bit := 0; bit < 8*len(good); bit += stride {
			bad := bytes.Clone(good)
			bad[bit/8] ^= 1 << (bit % 8)
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			check(t, dir, fmt.Sprintf("%s, bit %d", filepath.Base(path), bit))
		}
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, rejected, err := Latest(dir); err != nil || len(rejected) > 0 || got.State.Step != 8 {
		t.Errorf("with everything put back: error %v, rejected %v", err, rejected)
	}
}

// resum rewrites the state of a saved checkpoint and its sums, as someone with another program would.
func resum(t *testing.T, dir string, edit func(state string) string) {
	t.Helper()
	path := filepath.Join(dir, stateFile)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	edited := edit(string(data))
	if edited == string(data) {
		t.Fatal("the edit changes nothing")
	}
	var sums sumList
	for _, path := range glob(t, dir, "*") {
		name := filepath.Base(path)
		if name == sumsFile {
			continue
		}
		if name == stateFile {
			if err := os.WriteFile(path, []byte(edited), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		sums.add(name, nopCloser{&bytes.Buffer{}}).Write(data)
	}
	if err := os.WriteFile(filepath.Join(dir, sumsFile), sums.marshal(), 0o600); err != nil {
		t.Fatal(err)
	}
}

type nopCloser struct{ *bytes.Buffer }

func (nopCloser) Close() error { return nil }

// Sums that are right do not make a state right, and a newer format is not passed over.
func TestLatestReadsTheState(t *testing.T) {
	for _, c := range []struct{ from, to, want string }{
		{`"format": 1`, `"format": 2`, "version"},
		{`"format": 1`, `"format": 0`, "format version 0"},
		{`"format": 1,`, ``, "format"},
		{`"seed"`, `"Seed"`, "Seed"},
		{`"seed"`, `"sead"`, "sead"},
		{`"adam_step": 8`, `"adam_step": -8`, "adam_step"},
		{`"adam_step": 8`, `"adam_step": 8.5`, "adam_step"},
		{`"step": 8`, `"step": 9`, "step 9"},
		{`"epoch": 1`, `"epoch": 0`, updateFile},
		{`"epoch": 1`, `"epoch": 9`, "epoch"},
		{`"adapter_hash": "`, `"adapter_hash": "0`, "adapter_hash"},
	} {
		dir := scratch(t)
		mustSave(t, dir, testCheckpoint(t, 8, 2, false, true))
		resum(t, filepath.Join(dir, "checkpoints", "step-000008"), func(s string) string { return strings.Replace(s, c.from, c.to, 1) })
		_, rejected, err := Latest(dir)
		if c.want == "version" {
			var version *VersionError
			if !errors.As(err, &version) || version.Found != 2 || version.Known != StateFormat {
				t.Errorf("newer format: error %v", err)
			}
			continue
		}
		if !errors.Is(err, ErrNoCheckpoint) || len(rejected) != 1 || !strings.Contains(rejected[0].Reason.Error(), c.want) {
			t.Errorf("%s -> %s: error %v, rejected %v; a reason with %q expected", c.from, c.to, err, rejected, c.want)
		}
	}
	if _, _, err := Latest(t.TempDir()); !errors.Is(err, ErrNoCheckpoint) {
		t.Errorf("an empty run folder: error %v", err)
	}
}

// Who takes a checkpoint for a PEFT folder gets its adapter by the sums, too; a folder without sums is as good as its files say.
func TestReadAdapterChecksSums(t *testing.T) {
	edit := func(name string, change func(data []byte) []byte) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			path := filepath.Join(dir, name)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, change(data), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	lastValue := func(data []byte) []byte { data[len(data)-2] ^= 1; return data }
	newline := func(data []byte) []byte { return append(data, '\n') }
	for _, c := range []struct {
		name string
		do   func(t *testing.T, dir string)
		want string
	}{
		{"whole", func(*testing.T, string) {}, ""},
		{"tensors changed", edit(adapterWeightsFile, lastValue), adapterWeightsFile + ": found SHA-256"},
		{"config changed", edit(adapterConfigFile, newline), adapterConfigFile + ": found SHA-256"},
		{"another file changed", edit(optimizerFile, lastValue), ""},
		{"sums torn", func(t *testing.T, dir string) {
			if err := os.Truncate(filepath.Join(dir, sumsFile), 70); err != nil {
				t.Fatal(err)
			}
		}, sumsFile + ": 70 bytes"},
		{"no sums", func(t *testing.T, dir string) {
			edit(adapterWeightsFile, lastValue)(t, dir)
			if err := os.Remove(filepath.Join(dir, sumsFile)); err != nil {
				t.Fatal(err)
			}
		}, ""},
	} {
		run := scratch(t)
		mustSave(t, run, testCheckpoint(t, 8, 2, false, false))
		dir := filepath.Join(run, "checkpoints", "step-000008")
		c.do(t, dir)
		_, err := ReadAdapter(dir)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, expected one with %q", c.name, err, c.want)
		}
	}
}
