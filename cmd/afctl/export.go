package main

import (
	"context"
	"errors"
	"fmt"

	"afctl/ckpt"

	"github.com/spf13/cobra"
)

func newExportCommand() *cobra.Command {
	var f modelFlags
	var to, out, dtype string
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write an adapter for other programs, or a model of a run with trainable: full",
		Long: `export writes the adapter for use elsewhere:

  --to peft      a PEFT folder in float32, with the ranks and scales it was read with
  --to merged    a model folder: base + scale * B A, computed in float64, in the base's type or --dtype; the tokenizer's files come along

With --to merged, --adapter may also be a checkpoint of a run with trainable: full, made from --model: its weights become the model folder,
which eval, score and rollout take as --model. --dtype f32 keeps them to the bit; a step of training may be less than shorter types can tell.
The modules beside the planner that ask a model ask a merged one, too: for the figures of the run, give eval the checkpoint as --adapter.`,
		Example: "  afctl export --model Qwen2.5-0.5B --adapter runs/first/checkpoints/step-000100 --to merged --out qwen-planner",
	}
	f.own = untrained // a run's own config may be given
	f.add(cmd)
	cmd.Flags().Lookup("adapter").Usage = adapterOrCheckpoint
	cmd.Flags().StringVar(&to, "to", "", "peft or merged")
	cmd.Flags().StringVar(&out, "out", "", "folder to make; it has to be absent or empty")
	cmd.Flags().StringVar(&dtype, "dtype", "", "of merged weights: f32, bf16 or f16 (default: as the base's are stored)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := f.modelSettings(cmd, "model", "adapter")
		if err != nil {
			return err
		}
		if s.Adapter == "" {
			return required(cmd, "adapter")
		}
		if err := required(cmd, "to", "out"); err != nil {
			return err
		}
		kind, known := saveDTypes[dtype]
		switch {
		case !known:
			return usagef("--dtype: found %q, expected f32, bf16 or f16", dtype)
		case to == "gguf" || to == "ollama":
			return fmt.Errorf("--to %s: this build cannot write it, only peft and merged", to)
		case to == "peft" && dtype != "":
			return usagef("--dtype has no effect with --to peft: an adapter is written in float32")
		case to != "peft" && to != "merged":
			return usagef("--to: found %q, expected peft or merged", to)
		}
		if err := checkFolderOut("out", out); err != nil {
			return err
		}
		return writeOutDir(out, func(d *ckpt.DirWriter) error { return export(cmd.Context(), s, to, d, kind) })
	}
	return cmd
}

func export(ctx context.Context, s *settings, to string, out *ckpt.DirWriter, dtype ckpt.DType) (err error) {
	m, err := openModel(&s.Config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	if to == "merged" && ckpt.IsFullCheckpoint(s.Adapter) {
		return exportFull(ctx, s.Adapter, m, out, dtype)
	}
	a, err := readAdapter(&s.Config, m)
	if err != nil {
		return err
	}
	if to == "peft" {
		return ckpt.WriteAdapterFiles(out.Create, a)
	}
	tensors, err := mergedTensors(ctx, m, a, dtype)
	if err != nil {
		return err
	}
	return ckpt.WriteModelFiles(out, m.Config, tensors, m.Files)
}

// exportFull writes the weights of a checkpoint of m's training with trainable: full as a model folder.
func exportFull(ctx context.Context, dir string, m *ckpt.Model, out *ckpt.DirWriter, dtype ckpt.DType) error {
	_, weights, err := readFullCheckpoint(dir, m)
	if err != nil {
		return err
	}
	tensors, err := convertTensors(ctx, m, func(name string) (ckpt.Tensor, error) { return weights[name], nil }, nil, dtype)
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	return ckpt.WriteModelFiles(out, m.Config, tensors, m.Files)
}
