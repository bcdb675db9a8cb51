package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"afctl/ckpt"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the first signal asks for an orderly end, a second one kills
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "ablations: stopped; the same command goes on")
		os.Exit(1)
	default:
		fmt.Fprintln(os.Stderr, "ablations:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	r := runner{log: stderr}
	f := flag.NewFlagSet("ablations", flag.ContinueOnError)
	f.SetOutput(stderr)
	afctl := f.String("afctl", "bin/afctl", "the program")
	f.StringVar(&r.configs, "configs", "bench/configs", "folder of demo.yaml and ablation-*.yaml")
	f.StringVar(&r.out, "out", "build/ablations", "folder for runs and tables; the same command goes on in it")
	seedList := f.String("seeds", "1", "seeds, with commas: each is a run of every arm")
	only := f.String("only", "", "ablations, with commas; empty for all: sft, advantage, kl, group, turns, verifier")
	f.IntVar(&r.setting.Steps, "steps", 0, "updates of a run; 0 takes the config's")
	f.IntVar(&r.setting.EvalTasks, "eval-tasks", 0, "held-out tasks; 0 takes the config's")
	f.StringVar(&r.setting.Model, "model", "", "another model than the config's")
	limit := f.Duration("limit", 6*time.Hour, "time for one command of afctl")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 || r.setting.Steps < 0 || r.setting.EvalTasks < 0 || *limit <= 0 {
		return fmt.Errorf("found arguments %q, --steps %d, --eval-tasks %d, --limit %v; expected none, and numbers above 0", f.Args(), r.setting.Steps, r.setting.EvalTasks, *limit)
	}
	list, err := choose(names(*only))
	if err != nil {
		return err
	}
	seeds, err := parseSeeds(*seedList)
	if err != nil {
		return err
	}
	program, err := exec.LookPath(*afctl)
	if err != nil {
		return fmt.Errorf("--afctl: %w; make build makes it", err)
	}
	r.call = func(ctx context.Context, args []string) error { return callProgram(ctx, program, args, *limit, stderr) }

	byArm := map[string][]outcome{}
	for _, seed := range seeds {
		for _, arm := range arms(list) {
			if err := r.arm(ctx, arm, seed); err != nil {
				return err
			}
			o, err := r.outcome(ctx, arm, seed)
			if err != nil {
				return err
			}
			byArm[arm] = append(byArm[arm], o)
		}
	}
	rs := results(list, byArm)
	for name, write := range map[string]func(io.Writer, []result) error{"ablations.md": writeTables, "ablations.json": writeJSON} {
		if err := ckpt.WriteFileAtomic(filepath.Join(r.out, name), 0o666, func(w io.Writer) error { return write(w, rs) }); err != nil {
			return err
		}
	}
	return writeTables(stdout, rs)
}

// names splits a list with commas.
func names(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}

func parseSeeds(list string) ([]uint64, error) {
	var seeds []uint64
	seen := map[uint64]bool{}
	for _, s := range names(list) {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil || seen[n] {
			return nil, fmt.Errorf("--seeds: found %q in %q, expected distinct whole numbers", s, list)
		}
		seen[n] = true
		seeds = append(seeds, n)
	}
	if len(seeds) == 0 {
		return nil, errors.New("--seeds: found none, expected at least one whole number")
	}
	return seeds, nil
}

// stopping is how long afctl has to end in order before it is killed.
const stopping = time.Minute

// callProgram runs afctl, what it says going to w. When ctx ends, afctl is asked to stop, once: it has its own process group, which keeps a
// terminal's own signal, a second one, from it.
func callProgram(ctx context.Context, program string, args []string, limit time.Duration, w io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdout, cmd.Stderr = w, w
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = stopping
	err := cmd.Run()
	if cause := ctx.Err(); cause != nil {
		return errors.Join(cause, err)
	}
	return err
}
