package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"

	"afctl/ckpt"
	"afctl/engine"
	"afctl/flow"

	"github.com/spf13/cobra"
)

// scoreLine is a line of `afctl score`'s input.
type scoreLine struct {
	Tokens []int32 `json:"tokens"`
	Start  *int32  `json:"start"`
}

// scoreChunkTokens is how many tokens of lines are scored together: many micro-batches, so that cutting them wastes little, and a
// bound on memory for a file of any length.
const scoreChunkTokens = 1 << 16

func newScoreCommand() *cobra.Command {
	var f modelFlags
	var in, out string
	var temperature float64
	cmd := &cobra.Command{
		Use:   "score",
		Short: "Log-probs of given tokens under a model",
		Long: `score reads JSON Lines {"tokens":[ids],"start":k} with 1 <= k < len(tokens), and writes for each, in the same order,
{"logprobs":[...]}: the natural log-probs of tokens[k:], each given all tokens before it, at --temperature.`,
		Example: "  afctl score --model Qwen2.5-0.5B --adapter runs/first/checkpoints/step-000100 --in seqs.jsonl --out logprobs.jsonl --temperature 0.7",
	}
	f.own = untrained
	f.add(cmd)
	cmd.Flags().StringVar(&in, "in", "-", "file of JSON Lines; - is stdin")
	cmd.Flags().StringVar(&out, "out", "-", "file of JSON Lines; - is stdout")
	cmd.Flags().Float64Var(&temperature, "temperature", 1, "logits are divided by it")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := f.modelSettings(cmd, "model", "adapter", "engine", "!engine.kv_tokens", "!engine.max_batch")
		if err != nil {
			return err
		}
		if !flow.Divides(temperature) {
			return usagef("--temperature: found %v, expected a number > 0 with an inverse that float32 holds", temperature)
		}
		if err := checkFileOut("out", out, append(f.inputs(&s.Config), input{"--in", in, nil})); err != nil {
			return err
		}
		input, name, err := openInput(cmd.Context(), in, cmd.InOrStdin())
		if err != nil {
			return fmt.Errorf("--in: %w", err)
		}
		defer input.Close()
		return writeOutput(cmd.Context(), "out", out, cmd.OutOrStdout(), func(w io.Writer) error {
			said := cmd.ErrOrStderr()
			if out == "-" && onTerminal(cmd.OutOrStdout()) {
				said = io.Discard // a bar would stand among the lines
			}
			return scoreInput(cmd.Context(), &s.Config, input, name, w, temperature, said)
		})
	}
	return cmd
}

// scoreInput writes the log-probs of the lines of r under the model of a config.
func scoreInput(ctx context.Context, c *Config, r io.Reader, name string, w io.Writer, temperature float64, said io.Writer) (err error) {
	m, err := openModel(c)
	if err != nil {
		return err
	}
	s, _, err := openAdapted(c, m, readAdapter)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	bar := newProgress(said, "score", "lines", -1)
	defer bar.end()
	bw := bufio.NewWriter(w)
	if err := scoreLines(ctx, s.engine, r, name, bw, temperature, bar); err != nil {
		return err
	}
	return bw.Flush()
}

// scoreLines scores the lines of r in chunks and writes a line for each.
func scoreLines(ctx context.Context, e *engine.Engine, r io.Reader, name string, w *bufio.Writer, temperature float64, bar *progress) error {
	var chunk []flow.Sequence
	tokens, targets, last := 0, 0, 0
	flush := func() error {
		if len(chunk) == 0 {
			return nil
		}
		lps, err := e.Score(ctx, chunk, temperature, true)
		if err != nil {
			return fmt.Errorf("%s: the %d sequences up to line %d: %w", name, len(chunk), last, err)
		}
		for _, s := range chunk {
			if err := writeLogProbs(w, lps[s.Index:s.Index+len(s.Tokens)-s.Start]); err != nil {
				return fmt.Errorf("%s: among the %d sequences up to line %d: %w", name, len(chunk), last, err)
			}
		}
		bar.add(len(chunk))
		chunk, tokens, targets = chunk[:0], 0, 0
		return nil
	}
	cfg := e.Config()
	for l, err := range eachLine(ctx, r, name) {
		if err != nil {
			return err
		}
		var in scoreLine
		if err := decodeLine(l.text, &in); err != nil {
			return l.wrap(err)
		}
		s, err := in.sequence(&cfg)
		if err != nil {
			return l.wrap(err)
		}
		s.Index, last = targets, l.number
		chunk, tokens, targets = append(chunk, s), tokens+len(s.Tokens), targets+len(s.Tokens)-s.Start
		if tokens < scoreChunkTokens {
			continue
		}
		if err := flush(); err != nil {
			return err
		}
	}
	return flush()
}

// sequence checks a line against the model.
func (l *scoreLine) sequence(c *ckpt.ModelConfig) (flow.Sequence, error) {
	if l.Tokens == nil {
		return flow.Sequence{}, errors.New("tokens: found none, expected a list of token ids")
	}
	if n := len(l.Tokens); n < 2 {
		return flow.Sequence{}, fmt.Errorf("tokens: found %d, expected at least 2: one to score behind another", n)
	}
	if l.Start == nil {
		return flow.Sequence{}, errors.New("start: found none, expected the index of the first token to score")
	}
	if *l.Start < 1 || int(*l.Start) >= len(l.Tokens) {
		return flow.Sequence{}, fmt.Errorf("start: found %d, expected 1 <= start < %d, the number of tokens", *l.Start, len(l.Tokens))
	}
	if err := checkIDs("tokens", l.Tokens, c); err != nil {
		return flow.Sequence{}, err
	}
	return flow.Sequence{Tokens: l.Tokens, Start: int(*l.Start)}, checkLength("tokens", len(l.Tokens), c)
}

// writeLogProbs writes {"logprobs":[...]}, each number with the digits that give its float32 back.
func writeLogProbs(w *bufio.Writer, lps []float32) error {
	buf := append(w.AvailableBuffer(), `{"logprobs":[`...)
	for i, lp := range lps {
		if x := float64(lp); math.IsNaN(x) || math.IsInf(x, 0) {
			return fmt.Errorf("found a log-prob of %v, which JSON cannot hold: the weights of the model or the adapter, or the temperature, are out of range", lp)
		}
		if i > 0 {
			buf = append(buf, ',')
		}
		buf = strconv.AppendFloat(buf, float64(lp), 'g', -1, 32)
	}
	_, err := w.Write(append(buf, "]}\n"...))
	return err
}
