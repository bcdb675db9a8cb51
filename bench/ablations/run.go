package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"afctl/ckpt"
)

// recordFile says what an arm's folder was made with.
const recordFile = "arm.json"

// record is what a folder's results follow from, and whether they are all there.
type record struct {
	Arm     string  `json:"arm"`
	Seed    uint64  `json:"seed"`
	Config  string  `json:"config"` // SHA-256 of the file
	Setting setting `json:"setting"`
	// Finished says that every command of the arm ended well.
	Finished bool `json:"finished"`
}

// errSettings is returned for a folder that was made with other settings.
var errSettings = errors.New("made with other settings")

// runner runs arms, one command after another.
type runner struct {
	configs, out string
	setting      setting
	// call runs afctl with these arguments.
	call func(ctx context.Context, args []string) error
	log  io.Writer
}

// dir is the folder of an arm's run.
func (r *runner) dir(arm string, seed uint64) string {
	return filepath.Join(r.out, arm, "seed-"+strconv.FormatUint(seed, 10))
}

// arm runs what is missing of an arm.
func (r *runner) arm(ctx context.Context, arm string, seed uint64) error {
	config, dir := filepath.Join(r.configs, configName(arm)), r.dir(arm, seed)
	text, err := os.ReadFile(config)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(text)
	want := record{Arm: arm, Seed: seed, Config: hex.EncodeToString(sum[:]), Setting: r.setting}
	have, err := readRecord(dir)
	switch finished := want; {
	case errors.Is(err, fs.ErrNotExist):
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return err
		}
		if err := want.write(dir); err != nil {
			return err
		}
	case err != nil:
		return err
	default:
		finished.Finished = have.Finished
		if have != finished {
			return fmt.Errorf("%s: %w: found %+v, expected %+v; choose another --out or remove the folder", dir, errSettings, have, want)
		}
		if have.Finished {
			fmt.Fprintf(r.log, "%s: finished before\n", dir)
			return nil
		}
	}
	c, err := readArmConfig(config)
	if err != nil {
		return err
	}
	commands, err := plan(arm, config, c, r.setting, seed, dir)
	if err != nil {
		return err
	}
	for _, c := range commands {
		if err := r.command(ctx, c); err != nil {
			return fmt.Errorf("%s: %w", dir, err)
		}
	}
	want.Finished = true
	return want.write(dir)
}

// outcome reads the figures of a finished arm.
func (r *runner) outcome(ctx context.Context, arm string, seed uint64) (outcome, error) {
	c, err := readArmConfig(filepath.Join(r.configs, configName(arm)))
	if err != nil {
		return outcome{}, err
	}
	return readOutcome(ctx, arm, seed, r.dir(arm, seed), c.trainingTasks(r.setting))
}

// command runs a command, goes on with it, or sees that it is done.
func (r *runner) command(ctx context.Context, c command) error {
	if c.Product != "" {
		if done, err := exists(c.Product); done || err != nil {
			return err
		}
	}
	if c.Demos != nil {
		fmt.Fprintf(r.log, "demonstrations of %d tasks: %s\n", c.Demos.Tasks, c.Demos.Path)
		return c.Demos.write(ctx)
	}
	args := c.Args
	if c.Started != "" {
		started, err := exists(c.Started)
		if err != nil {
			return err
		}
		if started {
			args = c.Resume
		} else if err := os.RemoveAll(c.Folder); err != nil {
			return err
		}
	}
	fmt.Fprintf(r.log, "afctl %q\n", args)
	if err := r.call(ctx, args); err != nil {
		return fmt.Errorf("afctl %s: %w", args[0], err)
	}
	return nil
}

func exists(path string) (bool, error) {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func readRecord(dir string) (r record, err error) {
	path := filepath.Join(dir, recordFile)
	data, err := os.ReadFile(path)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(data, &r, json.RejectUnknownMembers(true)); err != nil {
		return r, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

func (r record) write(dir string) error {
	return ckpt.WriteFileAtomic(filepath.Join(dir, recordFile), 0o666, func(w io.Writer) error {
		return json.MarshalWrite(w, r, jsontext.Multiline(true))
	})
}
