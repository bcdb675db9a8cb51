package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"afctl/ckpt"
	"afctl/engine"
	"afctl/flow"

	"github.com/spf13/cobra"
)

// sftMetrics is a line of metrics.jsonl: an optimizer step, or the held-out loss after an epoch.
type sftMetrics struct {
	Step         int          `json:"step"`  // optimizer steps, from 1
	Epoch        int          `json:"epoch"` // from 1
	Loss         *flow.Number `json:"loss,omitempty"`
	HeldOutLoss  *flow.Number `json:"heldout/loss,omitempty"`
	GradNorm     *flow.Number `json:"grad_norm,omitempty"` // before the clip
	LR           *flow.Number `json:"lr,omitempty"`
	Tokens       int          `json:"tokens"` // of completions
	Seconds      flow.Number  `json:"seconds"`
	SkippedSteps int          `json:"skipped_steps"` // of the run so far
}

func number(x float64) *flow.Number { return (*flow.Number)(&x) }

// sftOptions are the flags of `afctl sft` beside those of the model.
type sftOptions struct {
	data, heldOut, out, saveDType string
	epochs, batch                 int
	seed                          uint64
}

func newSFTCommand() *cobra.Command {
	var f modelFlags
	var o sftOptions
	cmd := &cobra.Command{
		Use:   "sft",
		Short: "Supervised fine-tuning, the baseline",
		Long: `sft trains on the mean negative log-likelihood of completions, with a LoRA or (trainable: full) every weight. --data has one example
per line, in one of three forms:

  {"prompt":[ids],"completion":[ids]}        taken as they are
  {"prompt":"text","completion":"text"}      encoded by the model's tokenizer, special tokens in the text included
  {"messages":[{"role":"user","content":"..."},{"role":"assistant","content":"..."}]}
                                             rendered by the chat template; every assistant message is a completion

A completion given as text ends with its first end token; where it has none, the tokenizer's is appended. --out becomes a PEFT folder or a
model folder, with metrics.jsonl, a line per step.`,
		Example: "  afctl sft --model Qwen2.5-0.5B --data demos.jsonl --out adapter --epochs 2 --set optimizer.lr=1e-4",
	}
	f.add(cmd)
	flags := cmd.Flags()
	flags.StringVar(&o.data, "data", "", "file of JSON Lines to train on; - is stdin")
	flags.StringVar(&o.heldOut, "heldout", "", "file of JSON Lines whose loss is measured after each epoch")
	flags.StringVar(&o.out, "out", "", "folder to make; it has to be absent or empty")
	flags.IntVar(&o.epochs, "epochs", 1, "passes over the data")
	flags.IntVar(&o.batch, "batch-size", 32, "completions per optimizer step")
	flags.Uint64Var(&o.seed, "seed", 0, "of the order of examples")
	flags.StringVar(&o.saveDType, "save-dtype", "", "of a model folder's weights: f32, bf16 or f16 (default: as the model's are stored)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := f.modelSettings(cmd, "model", "adapter", "trainable", "optimizer", "engine", "lora", "!engine.kv_tokens", "!engine.max_batch")
		if err != nil {
			return err
		}
		if err := required(cmd, "data", "out"); err != nil {
			return err
		}
		_, known := saveDTypes[o.saveDType]
		switch {
		case o.epochs < 1:
			return usagef("--epochs: found %d, expected at least 1", o.epochs)
		case o.batch < 1:
			return usagef("--batch-size: found %d, expected at least 1", o.batch)
		case o.data == "-" && o.heldOut == "-":
			return usagef("--data and --heldout: found - for both, expected at most one of them on stdin")
		case !known:
			return usagef("--save-dtype: found %q, expected f32, bf16 or f16", o.saveDType)
		case o.saveDType != "" && s.Trainable != engine.Full:
			return usagef("--save-dtype has no effect with trainable: lora: an adapter is written in float32")
		}
		if err := checkFolderOut("out", o.out); err != nil {
			return err
		}
		return writeOutDir(o.out, func(d *ckpt.DirWriter) error { return sft(cmd, s, &o, d) })
	}
	return cmd
}

func sft(cmd *cobra.Command, s *settings, o *sftOptions, out *ckpt.DirWriter) (err error) {
	m, err := openModel(&s.Config)
	if err != nil {
		return err
	}
	data, heldOut, err := o.read(cmd, m)
	if err != nil {
		return errors.Join(err, m.Close())
	}
	ses, _, err := openAdapted(&s.Config, m, startAdapter)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ses.Close()) }()
	metrics, err := o.train(cmd.Context(), cmd.ErrOrStderr(), ses.engine, &s.Optimizer, data, heldOut)
	if err != nil {
		return err
	}
	return notFinite(writeTrained(ses, out, saveDTypes[o.saveDType], metrics), &s.Optimizer)
}

// read reads the data and, if there are any, the held-out examples.
func (o *sftOptions) read(cmd *cobra.Command, m *ckpt.Model) (data, heldOut []flow.Sequence, err error) {
	reader := &sftReader{model: m}
	file := func(flag, path string) ([]flow.Sequence, error) {
		r, name, err := openInput(cmd.Context(), path, cmd.InOrStdin())
		if err != nil {
			return nil, fmt.Errorf("--%s: %w", flag, err)
		}
		defer r.Close()
		return reader.read(cmd.Context(), r, name)
	}
	if data, err = file("data", o.data); err != nil || o.heldOut == "" {
		return data, nil, err
	}
	heldOut, err = file("heldout", o.heldOut)
	return data, heldOut, err
}

// train takes all steps. Each epoch goes through the data in an order of its own; its last batch may be smaller.
func (o *sftOptions) train(ctx context.Context, w io.Writer, e *engine.Engine, c *OptimizerConfig, data, heldOut []flow.Sequence) ([]sftMetrics, error) {
	most := min(o.batch, len(data)) // sequences of a batch
	perEpoch := (len(data) + most - 1) / most
	steps := perEpoch * o.epochs
	bar := newProgress(w, "sft", "steps", steps)
	defer bar.end()
	var metrics []sftMetrics
	step, skipped := 0, 0
	batch := make([]flow.Sequence, 0, most)
	for epoch := 1; epoch <= o.epochs; epoch++ {
		order := flow.NewRand(flow.DeriveSeed(o.seed, "sft", strconv.Itoa(epoch))).Perm(len(data))
		for len(order) > 0 {
			n := min(most, len(order))
			batch = batch[:0]
			for _, i := range order[:n] {
				batch = append(batch, data[i])
			}
			order = order[n:]
			step++
			opt := c.optimizer(step, steps)
			numberTargets(batch)
			m, err := e.SupervisedStep(ctx, batch, opt)
			if err != nil {
				return nil, fmt.Errorf("step %d of %d: %w", step, steps, err)
			}
			if m.Skipped {
				skipped++
			}
			metrics = append(metrics, sftMetrics{Step: step, Epoch: epoch, Loss: number(m.Loss), GradNorm: number(m.GradNorm),
				LR: number(opt.LR), Tokens: m.Tokens, Seconds: flow.Number(m.Seconds), SkippedSteps: skipped})
			bar.addf(1, "epoch %d, loss %.4g", epoch, m.Loss)
		}
		if heldOut == nil {
			continue
		}
		begin := time.Now()
		loss, tokens, err := meanLoss(ctx, e, heldOut)
		if err != nil {
			return nil, fmt.Errorf("held-out loss: %w", err)
		}
		metrics = append(metrics, sftMetrics{Step: step, Epoch: epoch, HeldOutLoss: number(loss), Tokens: tokens,
			Seconds: flow.Number(time.Since(begin).Seconds()), SkippedSteps: skipped})
	}
	last := metrics[len(metrics)-1]
	fmt.Fprintf(w, "%s, %s", counted(len(data), "completion"), counted(step, "step"))
	if last.HeldOutLoss != nil {
		fmt.Fprintf(w, ", held-out loss %.4g", float64(*last.HeldOutLoss))
	} else {
		fmt.Fprintf(w, ", last loss %.4g", float64(*last.Loss))
	}
	fmt.Fprintln(w)
	return metrics, checkSkipped(w, skipped, step)
}

// numberTargets numbers the targets of sequences one after another, and returns how many there are.
func numberTargets(seqs []flow.Sequence) int {
	n := 0
	for i := range seqs {
		seqs[i].Index = n
		n += len(seqs[i].Tokens) - seqs[i].Start
	}
	return n
}

// meanLoss is the mean negative log-likelihood of the completions, in nats per token.
func meanLoss(ctx context.Context, e *engine.Engine, seqs []flow.Sequence) (loss float64, tokens int, err error) {
	tokens = numberTargets(seqs)
	lps, err := e.Score(ctx, seqs, 1, true)
	if err != nil {
		return 0, 0, err
	}
	for _, lp := range lps {
		loss -= float64(lp)
	}
	return loss / float64(tokens), tokens, nil
}
