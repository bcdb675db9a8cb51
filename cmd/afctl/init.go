package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"afctl/bench/configs"
	"afctl/ckpt"

	"github.com/spf13/cobra"
)

const configHeader = `# Configuration of afctl. Every key is optional: what stands here are the defaults. A key that is unknown, or that has no effect beside
# the others, is an error; --set key=value on the command line (such as --set optimizer.lr=1e-4) overrules this file.

`

func newInitCommand() *cobra.Command {
	var out string
	var demo bool
	cmd := &cobra.Command{
		Use:     "init",
		Short:   "Write a commented config to start from",
		Long:    "init writes a config with every key, its default and what it means; with --demo the short one of the embedded planner's training in the gym.",
		Example: "  afctl init --out afctl.yaml\n  afctl init --demo --out demo.yaml",
	}
	cmd.Flags().BoolVar(&demo, "demo", false, "write the config of the demo: the embedded planner learns in the gym")
	cmd.Flags().StringVar(&out, "out", "-", "file to make; - is stdout")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkFileOut("out", out, nil); err != nil {
			return err
		}
		switch _, err := os.Stat(out); {
		case out == "-" || errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return fmt.Errorf("--out: %w", err)
		default:
			return fmt.Errorf("--out: %s: %w: move it, or choose another name", out, fs.ErrExist)
		}
		c := DefaultConfig()
		text := append([]byte(configHeader), marshalConfig(&c, true)...)
		if demo {
			text = configs.Demo
		}
		write := func(w io.Writer) error {
			_, err := w.Write(text)
			return err
		}
		if out == "-" {
			return write(cmd.OutOrStdout())
		}
		return ckpt.WriteFileAtomic(out, 0o666, write)
	}
	return cmd
}
