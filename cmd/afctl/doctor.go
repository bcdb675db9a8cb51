package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"text/tabwriter"

	"afctl/bench/gym"
	"afctl/cuda"
	"afctl/kernels/cpu"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"
)

// machine is what `afctl doctor` found.
type machine struct {
	Version        string      `json:"version"`
	CPU            string      `json:"cpu"`
	Cores          int         `json:"cores"`
	InstructionSet string      `json:"instruction_set"`
	MemoryGiB      float64     `json:"memory_gib"` // 0 where the system does not say
	FreeGiB        float64     `json:"memory_free_gib"`
	Products       string      `json:"products"`        // who makes the large products: "own", or a library
	ProductLibrary string      `json:"product_library"` // what is linked for them; empty without one
	F32GFLOPS      float64     `json:"f32_gflops"`
	BF16GFLOPS     float64     `json:"bf16_gflops"`
	MemoryGBps     float64     `json:"memory_gbps"`
	GPU            string      `json:"gpu"`
	Missing        []shortfall `json:"missing"`
	SelfTest       *selfTest   `json:"selftest,omitempty"`
}

// shortfall is something that is not there, with what it costs and the command that mends it.
type shortfall struct {
	What string `json:"what"`
	Mend string `json:"mend"`
}

// Time and memory of the measurements.
const (
	peakSeconds    = 0.2
	readSeconds    = 0.2
	maxReadBytes   = 256 << 20 // larger than the caches of most machines
	oneDNNInstall  = "apt-get install -y libdnnl-dev, then make"
	plannerInstall = "make planner, then make"
)

func newDoctorCommand() *cobra.Command {
	var test, asJSON bool
	var threads int
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "What this machine can run, and what is missing",
		Long: `doctor measures the machine and says what is missing, with the command that mends it. --selftest judges this machine's kernels: every
operation against float64 references, and the loss against automatic differentiation (a minute or two).`,
		Example: "  afctl doctor --selftest",
	}
	cmd.Flags().BoolVar(&test, "selftest", false, "run the kernels' conformance suite and the loss's oracle on this machine")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().IntVar(&threads, "threads", 0, "threads to measure with; 0 takes all cores")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if threads < 0 || threads > maxThreads {
			return usagef("--threads: found %d, expected 1 to %d, or 0 for all cores", threads, maxThreads)
		}
		b, err := cpu.New(cpu.Options{Threads: threads})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, b.Close()) }()
		m, err := examine(cmd.Context(), b)
		if err != nil {
			return err
		}
		if test {
			if m.SelfTest, err = runSelfTest(cmd.Context(), cmd.ErrOrStderr(), b); err != nil {
				return err
			}
		}
		if asJSON {
			err = json.MarshalWrite(cmd.OutOrStdout(), m, jsontext.WithIndent("  "), json.FormatNilSliceAsNull(false))
			if err == nil {
				_, err = fmt.Fprintln(cmd.OutOrStdout())
			}
		} else {
			err = m.print(cmd.OutOrStdout())
		}
		if err == nil && m.SelfTest != nil && len(m.SelfTest.Failed) > 0 {
			err = fmt.Errorf("selftest: %d of %d checks failed: do not train on this machine", len(m.SelfTest.Failed), m.SelfTest.Checks)
		}
		return err
	}
	return cmd
}

// examine measures, until ctx ends.
func examine(ctx context.Context, b *cpu.Backend) (*machine, error) {
	total, free := memoryBytes()
	m := &machine{Version: buildInfo(), CPU: cpuName(), Cores: runtime.NumCPU(), InstructionSet: b.Level().String(),
		MemoryGiB: gib(total), FreeGiB: gib(free), Products: b.Products(), ProductLibrary: cpu.ProductLibrary()}
	for _, peak := range []struct {
		bf16 bool
		into *float64
	}{{false, &m.F32GFLOPS}, {true, &m.BF16GFLOPS}} {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		*peak.into = b.PeakGFLOPS(peak.bf16, peakSeconds)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	size := maxReadBytes
	if free > 0 {
		size = min(size, int(free/8))
	}
	var err error
	if m.MemoryGBps, err = b.ReadGBps(size, readSeconds); err != nil {
		return nil, fmt.Errorf("memory bandwidth: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if m.ProductLibrary == "" {
		m.Missing = append(m.Missing, shortfall{"oneDNN, for faster dense products on CPUs with AMX", oneDNNInstall})
	}
	if b.Level() < cpu.AVX2 && runtime.GOARCH == "amd64" {
		m.Missing = append(m.Missing, shortfall{"AVX2: this CPU is many times slower than one that has it", "another machine"})
	}
	if _, err := gym.Planner(); err != nil {
		m.Missing = append(m.Missing, shortfall{"the embedded planner (model: gym)", plannerInstall})
	}
	m.GPU = "ready"
	if err := cuda.Available(); err != nil {
		m.GPU = err.Error()
	}
	return m, nil
}

func (m *machine) print(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "build\t%s\n", m.Version)
	fmt.Fprintf(tw, "CPU\t%s, %d cores, %s\n", m.CPU, m.Cores, m.InstructionSet)
	if m.MemoryGiB > 0 {
		fmt.Fprintf(tw, "memory\t%.1f GiB, %.1f free, read at %.1f GB/s\n", m.MemoryGiB, m.FreeGiB, m.MemoryGBps)
	} else {
		fmt.Fprintf(tw, "memory\tread at %.1f GB/s\n", m.MemoryGBps)
	}
	fmt.Fprintf(tw, "peak\t%.0f GFLOP/s f32, %.0f bf16\n", m.F32GFLOPS, m.BF16GFLOPS)
	products := m.Products
	if m.ProductLibrary != "" && m.ProductLibrary != m.Products {
		products += fmt.Sprintf(" (%s is linked, for CPUs with AMX)", m.ProductLibrary)
	}
	fmt.Fprintf(tw, "products\t%s\n", products)
	fmt.Fprintf(tw, "GPU\t%s\n", m.GPU)
	for _, s := range m.Missing {
		fmt.Fprintf(tw, "missing\t%s: %s\n", s.What, s.Mend)
	}
	if t := m.SelfTest; t != nil {
		fmt.Fprintf(tw, "selftest\t%d of %d checks passed\n", t.Checks-len(t.Failed), t.Checks)
		for _, f := range t.Failed {
			fmt.Fprintf(tw, "failed\t%s: %s\n", f.Name, f.Error)
		}
	}
	return tw.Flush()
}

func gib(n int64) float64 { return float64(n) / (1 << 30) }

// cpuName is the processor's name, or the architecture where the system does not say.
func cpuName() string {
	if name := procField("/proc/cpuinfo", "model name"); name != "" {
		return name
	}
	return runtime.GOARCH
}

// memoryBytes are all and what is free for programs; 0 where the system does not say.
func memoryBytes() (total, free int64) {
	read := func(name string) int64 {
		kib, _ := strconv.ParseInt(strings.TrimSuffix(procField("/proc/meminfo", name), " kB"), 10, 64)
		return kib << 10
	}
	return read("MemTotal"), read("MemAvailable")
}

// procField is the first value of a name in a file of "name : value" lines; empty where there is none.
func procField(file, name string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for l := range strings.Lines(string(data)) {
		if key, value, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
