package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"afctl/cuda"
	"afctl/flow/nearest"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Exit statuses.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
	exitPipe   = 128 + int(syscall.SIGPIPE) // nobody reads stdout any more: nothing to tell, as of other programs in a pipe
)

// commands are the subcommands, in the order of a first run.
func commands() []*cobra.Command {
	return []*cobra.Command{
		newInitCommand(),
		newRolloutCommand(),
		newTrainCommand(),
		newEvalCommand(),
		newReportCommand(),
		newScoreCommand(),
		newUpdateCommand(),
		newSFTCommand(),
		newExportCommand(),
		newIndexCommand(),
		newDoctorCommand(),
		newVersionCommand(),
	}
}

// run executes one command line (without the program's name) and returns the exit status.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(stdin)
	out := &output{ctx: ctx, Writer: stdout}
	root.SetOut(out)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		err = out.err
	}
	if err == nil {
		return exitDone
	}
	if errors.Is(out.err, syscall.EPIPE) {
		return exitPipe
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = errors.New("interrupted")
	}
	fmt.Fprintf(stderr, "%s: %s\n", cmd.CommandPath(), printable(oneLine(err)))
	var usage *usageError
	if errors.As(err, &usage) {
		fmt.Fprintf(stderr, "'%s --help' shows how it is used.\n", cmd.CommandPath())
		return exitUsage
	}
	return exitFailed
}

// output is standard output; it remembers the first error for those who write without looking, such as the printer of help.
type output struct {
	ctx context.Context
	io.Writer
	err error
}

// patience is how long a write may still take once an end is asked for: a reader that takes nothing may never do.
const patience = time.Second

func (o *output) Write(p []byte) (int, error) {
	type outcome struct {
		n   int
		err error
	}
	done, text := make(chan outcome, 1), bytes.Clone(p) // a write that is left to itself still reads it
	go func() {
		n, err := o.Writer.Write(text)
		done <- outcome{n, err}
	}()
	var r outcome
	select {
	case r = <-done:
	case <-o.ctx.Done():
		select {
		case r = <-done:
		case <-time.After(patience):
			return 0, context.Cause(o.ctx)
		}
	}
	if r.err != nil && o.err == nil {
		o.err = fmt.Errorf("standard output: %w", r.err)
	}
	return r.n, r.err
}

// oneLine is the error's text with the lines of joined errors put one after another.
func oneLine(err error) string {
	lines := strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' })
	return strings.Join(lines, "; ")
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "afctl",
		Short: "Train the planner of an agentic system with Flow-GRPO, on one machine",
		Long: "afctl trains the planner of an agentic system (planner, executor, verifier, generator) with\n" +
			"reinforcement learning, Flow-GRPO, on one machine, offline.",
		Example:       "  afctl init --out afctl.yaml        # a commented config to start from\n  afctl doctor                       # what this machine can run",
		Version:       buildInfo(), // what --version prints
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("a command is missing: one of %s", strings.Join(commandNames(cmd), ", "))
			}
			return unknownCommand(cmd, args[0])
		},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkEmpty(cmd); err != nil {
				return err
			}
			if gpus, _ := cmd.Flags().GetIntSlice("gpus"); len(gpus) > 0 {
				return cuda.Available()
			}
			return nil
		},
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.PersistentFlags().IntSlice("gpus", nil, "compute on these GPUs, such as 0,1 (in builds that can)")
	root.SetFlagErrorFunc(flagError)
	root.CompletionOptions.HiddenDefaultCmd = true
	for _, c := range commands() {
		if c.Args == nil {
			c.Args = noArguments
		}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if t := f.Value.Type(); !strings.HasSuffix(t, "Slice") && !strings.HasSuffix(t, "Array") { // which take several
				f.Value = &onceValue{Value: f.Value}
			}
		})
		root.AddCommand(c)
	}
	root.InitDefaultHelpCmd()
	help, _, _ := root.Find([]string{"help"})
	help.Args = func(cmd *cobra.Command, args []string) error {
		if _, rest, _ := root.Find(args); len(rest) > 0 {
			return unknownCommand(cmd, rest[0])
		}
		return nil
	}
	return root
}

// onceValue is the value of a flag that is given once: the first of two would have no effect.
type onceValue struct {
	pflag.Value
	given bool
}

var errTwice = errors.New("found twice, expected once")

func (v *onceValue) Set(s string) error {
	if v.given {
		return errTwice
	}
	v.given = true
	if number := numbers[v.Type()]; number != nil {
		if !number.MatchString(s) {
			return strconv.ErrSyntax
		}
		s = leadingZeros.ReplaceAllString(s, "$1$2")
	}
	return v.Value.Set(s)
}

// numbers are written as in a config: without the prefixes and underscores of Go's, and 010 is ten.
var (
	numbers = map[string]*regexp.Regexp{
		"int": regexp.MustCompile(`^[-+]?\d+$`), "uint64": regexp.MustCompile(`^\+?\d+$`), "float64": regexp.MustCompile(`^[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?$`),
	}
	leadingZeros = regexp.MustCompile(`^([-+]?)0+(\d)`)
)

// checkEmpty returns an error for a flag that is given an empty text, which means none of what it could.
func checkEmpty(cmd *cobra.Command) (err error) {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if err != nil || f.Value.Type() != "string" || f.Value.String() != "" {
			return
		}
		if f.Name == "out" {
			err = usagef(`--out: found "", expected a %s`, f.Usage)
			return
		}
		err = usagef(`--%s: found "", expected a value: %s`, f.Name, f.Usage)
	})
	return err
}

func unknownCommand(cmd *cobra.Command, name string) error {
	return usagef("unknown command %q; did you mean %q?", name, nearest.Name(name, commandNames(cmd)))
}

func commandNames(cmd *cobra.Command) []string {
	var names []string
	for _, c := range cmd.Root().Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return names
}

// usageError is a command line or a config that cannot be meant.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// flagValues says what a flag's value is, by the name of its type.
var flagValues = map[string]string{"int": "a whole number", "uint64": "a whole number from 0", "float64": "a number", "bool": "true or false",
	"intSlice": "whole numbers with commas between"}

// flagError says what was expected of a flag's value, or adds to cobra's error the flag that was probably meant.
func flagError(cmd *cobra.Command, err error) error {
	var value *pflag.InvalidValueError
	if errors.As(err, &value) {
		f := value.GetFlag()
		if errors.Is(err, errTwice) {
			return usagef("--%s: %w", f.Name, errTwice)
		}
		expected := flagValues[f.Value.Type()]
		if errors.Is(err, strconv.ErrRange) {
			expected += " of 64 bits"
		}
		return usagef("--%s: found %q, expected %s", f.Name, value.GetValue(), expected)
	}
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) || unknown.GetSpecifiedName() == "" || unknown.GetSpecifiedShortnames() != "" {
		return &usageError{err}
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	return usagef("%w; did you mean --%s?", err, nearest.Name(unknown.GetSpecifiedName(), names))
}

func noArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("found %q, expected flags only", args[0])
	}
	return nil
}

// required returns an error that names the first of the flags that was not given.
func required(cmd *cobra.Command, names ...string) error {
	for _, name := range names {
		if f := cmd.Flags().Lookup(name); !f.Changed || f.Value.String() == "" {
			return usagef("--%s is missing: %s", name, f.Usage)
		}
	}
	return nil
}
