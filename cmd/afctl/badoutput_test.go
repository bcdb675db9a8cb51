package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"afctl/ckpt"
)

// TestBadOutputs: what cannot be written is said before the work where it can be known, and a full disk is an error.
func TestBadOutputs(t *testing.T) {
	model := tinyModel(t, true, ckpt.F32)
	trajectories := writeFile(t, "t.jsonl", strings.Join(tinyTrajectories(1, 2, 2), ""))
	full := filepath.Join(t.TempDir(), "full")
	if err := os.MkdirAll(filepath.Join(full, "x"), 0o777); err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{full, trajectories, filepath.Join(trajectories, "out")} {
		checkRefusal(t, afctl(t, "update", "--model", model, "--trajectories", trajectories, "--out", out), exitFailed, "--out", out)
		checkRefusal(t, afctl(t, "update", "--model", "nowhere", "--trajectories", "nowhere", "--out", out), exitFailed, "--out", out)
	}
	checkOnly(t, full, "x")
	checkUnmakeable(t, "update", "--trajectories", "nowhere")
	checkUnmakeable(t, "sft", "--data", "nowhere")
	checkUnmakeable(t, "export", "--adapter", "nowhere", "--to", "peft")
	in := writeFile(t, "in.jsonl", `{"tokens":[1,2,3],"start":1}`)
	checkRefusal(t, afctl(t, "score", "--model", "nowhere", "--in", in, "--out", filepath.Join(full, "no", "f")), exitFailed, full, "no such file")
	checkRefusal(t, afctl(t, "score", "--model", model, "--in", in, "--out", full), exitFailed, "--out", full)
	checkRefusal(t, afctl(t, "score", "--model", model, "--in", in, "--out", filepath.Join(full, "no", "f")), exitFailed, "no such file")
	checkRefusal(t, afctl(t, "score", "--model", model, "--in", filepath.Dir(in), "--out", "-"), exitFailed, "--in", "folder")
	checkRefusal(t, afctl(t, "score", "--model", model, "--in", "nowhere", "--out", "-"), exitFailed, "--in", "nowhere")
	if isDevice("/dev/full") {
		checkRefusal(t, afctl(t, "score", "--model", model, "--in", in, "--out", "/dev/full"), exitFailed, "no space left")
	}
	if isDevice(os.DevNull) {
		must(t, "score", "--model", model, "--in", in, "--out", os.DevNull)
		if !isDevice(os.DevNull) {
			t.Errorf("%s is no device any more", os.DevNull)
		}
	}
}

// checkUnmakeable checks that a command refuses folders of --out that it could not make in the end, before it looks at its model, and that it leaves
// neither what it found nor what it made on the way changed where it fails later.
func checkUnmakeable(t *testing.T, command string, args ...string) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := errors.Join(os.Mkdir("empty", 0o700), os.Symlink("empty", "link"), os.Symlink("nothing", "dangling"), os.Mkdir("closed", 0o500)); err != nil {
		t.Fatal(err)
	}
	args = append([]string{command, "--model", "nowhere"}, args...)
	type bad struct{ out, want string }
	list := []bad{{"link", "symbolic link to empty"}, {"dangling", "symbolic link to nothing"}, {strings.Repeat("n", 256), "too long"}}
	if os.Geteuid() != 0 {
		list = append(list, bad{filepath.Join("closed", "out"), "permission denied"})
	}
	for _, c := range list {
		checkRefusal(t, afctl(t, append(args, "--out", c.out)...), exitFailed, "--out", c.out, c.want)
	}
	for _, out := range []string{"empty", "new", strings.Repeat("n", 250), filepath.Join("a", "b", "c")} {
		checkRefusal(t, afctl(t, append(args, "--out", out)...), exitFailed, "nowhere")
	}
	checkOnly(t, dir, "empty", "link", "dangling", "closed")
	t.Chdir("empty")
	checkRefusal(t, afctl(t, append(args, "--out", ".")...), exitFailed, "--out", "an empty folder that cannot be replaced")
	checkOnly(t, ".")
	if info, err := os.Stat(filepath.Join(dir, "empty")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the empty folder is %v, %v", info, err)
	}
}

func isDevice(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode()&os.ModeDevice != 0
}

// fullWriter is an output that takes so many bytes and no more.
type fullWriter struct{ room int }

func (w *fullWriter) Write(p []byte) (int, error) {
	if w.room -= len(p); w.room < 0 {
		return 0, syscall.ENOSPC
	}
	return len(p), nil
}

// TestFullOutput: a standard output that fails, at once or in the middle, fails the command.
func TestFullOutput(t *testing.T) {
	model := tinyModel(t, true, ckpt.F32)
	one := `{"tokens":[1,2,3],"start":1}` + "\n" // fits a buffer: its end fails
	in, long := writeFile(t, "in.jsonl", one), writeFile(t, "in.jsonl", strings.Repeat(one, 1000))
	for _, args := range [][]string{{"init"}, {"version"}, {"score", "--model", model, "--in", in},
		{"score", "--model", model, "--in", long}, {"doctor", "--json", "--threads", "1"}} {
		for _, room := range []int{0, 20} {
			if args[0] == "doctor" && room > 0 {
				continue // it measures for a second
			}
			var errs bytes.Buffer
			status := run(context.Background(), args, strings.NewReader(""), &fullWriter{room}, &errs)
			checkRefusal(t, result{status, "", errs.String()}, exitFailed, "no space left")
		}
	}
}

// TestFullDisk: where a file cannot be written to its end, the error says which, and nothing is left. The disk's end is the system's limit on
// the size of a file.
func TestFullDisk(t *testing.T) {
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no sh, whose ulimit bounds the size of files")
	}
	model, adapter := tinyModel(t, true, ckpt.F32), tinyAdapter(t, tinyConfig(true), 1)
	limited := func(t *testing.T, blocks string, args ...string) result {
		cmd := exec.Command(shell, append([]string{"-c", "ulimit -f " + blocks + ` && exec "$0" "$@"`, os.Args[0]}, args...)...)
		cmd.Env = append(os.Environ(), actAsProgram+"=1")
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		var exit *exec.ExitError
		if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		// The last line is the error; those above it say what was trained on.
		lines := strings.SplitAfter(strings.TrimSpace(errs.String()), "\n")
		return result{cmd.ProcessState.ExitCode(), out.String(), lines[len(lines)-1]}
	}
	for _, command := range modelCommands(t)[:4] {
		for _, blocks := range []string{"0", "4"} {
			if command.name == "score" && blocks != "0" {
				continue // its line is shorter
			}
			t.Run(command.name+"/"+blocks, func(t *testing.T) {
				dir := t.TempDir()
				args := append([]string{command.name, command.out, filepath.Join(dir, "out"), "--model", model, "--adapter", adapter}, command.args...)
				checkRefusal(t, limited(t, blocks, args...), exitFailed, "file too large", "out")
				checkOnly(t, dir)
			})
		}
	}
	t.Run("full training", func(t *testing.T) {
		dir := t.TempDir()
		r := limited(t, "4", append([]string{"update", "--out", filepath.Join(dir, "out"), "--model", model, "--set", "trainable=full"}, modelCommands(t)[1].args...)...)
		checkRefusal(t, r, exitFailed, "file too large", "out")
		checkOnly(t, dir)
	})
	t.Run("init", func(t *testing.T) {
		dir := t.TempDir()
		checkRefusal(t, limited(t, "1", "init", "--out", filepath.Join(dir, "c.yaml")), exitFailed, "file too large", "c.yaml")
		checkOnly(t, dir)
	})
	t.Run("index", func(t *testing.T) {
		dir := t.TempDir()
		in := writeFile(t, "docs.jsonl", `{"title":"a","text":"some words"}`)
		checkRefusal(t, limited(t, "4", "index", "--in", in, "--out", filepath.Join(dir, "ix.db")), exitFailed, "ix.db")
		checkOnly(t, dir)
	})
}

// TestBadLineFiles: files that are no JSON Lines at all, for every command that reads them. A byte order mark and CRLF, which editors add,
// are no error.
func TestBadLineFiles(t *testing.T) {
	const object = `{"tokens":[1,2],"start":1}`
	commands := modelCommands(t)[:3]
	flags := []string{"--in", "--trajectories", "--data"}
	lines := []string{object, strings.TrimSpace(tinyTrajectories(1, 1, 2)[0]), `{"prompt":[1],"completion":[2]}`}
	model := tinyModel(t, true, ckpt.F32)
	for i, command := range commands {
		command.args = nil
		for _, c := range []struct {
			name, text string
			want       []string // nil: it works
		}{
			{"a byte order mark", "\ufeff" + lines[i] + "\n", nil},
			{"CRLF", "\r\n" + lines[i] + "\r\n\r\n", nil},
			{"no end of line", lines[i], nil},
			{"UTF-16", "{\x00}\x00", []string{"f.jsonl:1", "not JSON"}},
			{"not UTF-8", lines[i] + "\n{\"caf\xe9\":1}\n", []string{"f.jsonl:2", "UTF-8"}},
			{"a mark within", lines[i] + "\n\ufeff" + lines[i], []string{"f.jsonl:2", "not JSON"}},
			{"NUL", lines[i] + "\n\x00\n", []string{"f.jsonl:2", "not JSON"}},
			{"a number", "1", []string{"f.jsonl:1"}},
			{"null", "null", []string{"f.jsonl:1"}},
			{"nested without end", strings.Repeat("[", 1<<20), []string{"f.jsonl:1"}},
			{"two objects in a line", lines[i] + lines[i], []string{"f.jsonl:1"}},
			{"one object in two lines", strings.Replace(lines[i], ",", ",\n", 1), []string{"f.jsonl:1"}},
		} {
			t.Run(command.name+"/"+c.name, func(t *testing.T) {
				dir := t.TempDir()
				r := command.run(t, dir, model, "", flags[i], writeFile(t, "f.jsonl", c.text))
				if c.want == nil {
					if r.status != exitDone {
						t.Error(r.stderr)
					}
					return
				}
				checkRefusal(t, r, exitFailed, c.want...)
				checkOnly(t, dir)
			})
		}
		t.Run(command.name+"/missing", func(t *testing.T) {
			checkRefusal(t, command.run(t, t.TempDir(), model, "", flags[i], "nowhere"), exitFailed, flags[i], "nowhere", "no such file")
			checkRefusal(t, command.run(t, t.TempDir(), model, "", flags[i], model), exitFailed, flags[i], model, "found a folder")
		})
		t.Run(command.name+"/a line without end", func(t *testing.T) {
			dir := t.TempDir()
			var errs bytes.Buffer
			args := []string{command.name, "--model", model, flags[i], "-", "--out", filepath.Join(dir, "out")}
			status := run(context.Background(), args, endless{}, io.Discard, &errs)
			checkRefusal(t, result{status, "", errs.String()}, exitFailed, "stdin:1", "one JSON object per line")
			checkOnly(t, dir)
		})
	}
}

// TestBadTaskFiles: what rollout and eval are given to solve.
func TestBadTaskFiles(t *testing.T) {
	model := tinyModel(t, true, ckpt.F32)
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"empty", "", []string{"f.jsonl", "no rows"}},
		{"torn", `{"question":"a","answer":"b"}` + "\n" + `{"question":`, []string{"f.jsonl", "2"}},
		{"no answer", `{"question":"a"}`, []string{"f.jsonl", "answer"}},
		{"not UTF-8", "{\"question\":\"caf\xe9\",\"answer\":\"b\"}", []string{"f.jsonl", "UTF-8"}},
	} {
		for _, args := range [][]string{{"rollout", "--tasks"}, {"eval", "--suite"}} {
			t.Run(c.name+"/"+args[0], func(t *testing.T) {
				dir := t.TempDir()
				r := afctl(t, append(args, writeFile(t, "f.jsonl", c.text), "--model", model, "--out", filepath.Join(dir, "out"))...)
				checkRefusal(t, r, exitFailed, append(c.want, args[1])...)
				checkOnly(t, dir)
			})
		}
	}
	// What is said is what was given.
	config := writeFile(t, "c.yaml", "tasks:\n  eval: nowhere.json\n")
	checkRefusal(t, afctl(t, "eval", "--config", config), exitFailed, config+":2:3: tasks.eval: ", "nowhere.json")
	checkRefusal(t, afctl(t, "rollout", "--set", "tasks.train=nowhere.json"), exitFailed, "afctl rollout: --set tasks.train: ", "nowhere.json")
}
