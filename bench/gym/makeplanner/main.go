// Command makeplanner makes what the embedded planner is trained from, and writes the record of what came out. bench/gym/planner/make.sh
// runs it around `afctl sft`:
//
//	makeplanner --out DIR         DIR/base (a model folder: tokenizer, chat template, random weights) and the training texts
//	makeplanner --record FOLDER --eval eval.json       FOLDER/PLANNER.json
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"iter"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"afctl/bench/gym"
	"afctl/ckpt"
	"afctl/ckpt/tokenizer"
	"afctl/flow"
	"afctl/rollout"
)

// The recipe, with make.sh.
const (
	seed          = 1
	vocabulary    = 1024
	corpusSolves  = 3000
	worlds        = 100
	solvesAWorld  = 1000
	textLines     = 128_000 // of texts.jsonl
	drillLines    = 80_000  // of drills.jsonl
	answerLines   = 128_000 // of answers.jsonl
	initialSpread = 0.02    // standard deviation of the random weights
)

// endToken ends an answer.
const endToken = "<|im_end|>"

var specials = []string{"<|endoftext|>", "<|im_start|>", endToken}

// chatTemplate puts messages one after another: a tiny model pays for every token. (A newline as text after a tag would be trimmed.)
const chatTemplate = "{% for m in messages %}{{ m.content }}{% if m.role == 'assistant' %}" + endToken + "{% else %}{{ '\\n' }}{% endif %}{% endfor %}"

// architecture is 1.1 million parameters.
func architecture(vocab int, end int32) ckpt.ModelConfig {
	return ckpt.ModelConfig{ModelType: "qwen2", HiddenSize: 128, NumHiddenLayers: 4, NumAttentionHeads: 4, NumKeyValueHeads: 2, HeadDim: 32, IntermediateSize: 512,
		VocabSize: vocab, MaxPositionEmbeddings: 1024, RMSNormEps: 1e-6, RopeTheta: 10000, TieWordEmbeddings: true, AttentionBias: true, HiddenAct: "silu",
		EOSTokenIDs: []int32{end}}
}

func main() {
	out := flag.String("out", "", "folder to make the inputs of training in")
	record := flag.String("record", "", "folder of the made planner, to write PLANNER.json in")
	report := flag.String("eval", "", "with --record: eval.json of the planner's evaluation")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	switch {
	case *out != "" && *record == "":
		err = makeInputs(ctx, *out)
	case *record != "" && *report != "" && *out == "":
		err = writeRecord(*record, *report)
	default:
		flag.Usage()
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "makeplanner:", err)
		os.Exit(1)
	}
}

func makeInputs(ctx context.Context, dir string) error {
	w, err := gym.Embedded()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	if err := makeBase(ctx, w, filepath.Join(dir, "base")); err != nil {
		return err
	}
	drills := func(yield func(gym.Line, error) bool) {
		for d := range gym.Drills(w, drillLines, seed) {
			if !yield(drill(d), nil) {
				return
			}
		}
	}
	if err := writeLines(filepath.Join(dir, "drills.jsonl"), drills, drillLines); err != nil {
		return err
	}
	for _, part := range []struct {
		file         string
		demonstrator rollout.Planner
		lines        int
		form         func(gym.Example) gym.Line
	}{{"texts.jsonl", gym.Wanderer{}, textLines, text}, {"answers.jsonl", gym.Naive{}, answerLines, gym.Example.Chat}} {
		demos := gym.ManyDemos(ctx, w, worlds, part.demonstrator, solvesAWorld, flow.DeriveSeed(seed, "planner", part.file))
		lines := func(yield func(gym.Line, error) bool) {
			for e, err := range demos {
				if !yield(part.form(e), err) {
					return
				}
			}
		}
		if err := writeLines(filepath.Join(dir, part.file), lines, part.lines); err != nil {
			return err
		}
	}
	return nil
}

// makeBase writes the model that training starts from: a tokenizer of the gym's words, and random weights.
func makeBase(ctx context.Context, w *gym.World, dir string) error {
	files, err := os.MkdirTemp("", "makeplanner")
	if err != nil {
		return err
	}
	defer os.RemoveAll(files)
	var failed error
	tok, err := tokenizer.Train(func(yield func(string) bool) {
		for text, err := range gym.Corpus(ctx, w, corpusSolves, flow.DeriveSeed(seed, "planner.corpus")) {
			if failed = err; err != nil || !yield(text) {
				return
			}
		}
	}, vocabulary, specials)
	if err == nil {
		err = failed
	}
	if err != nil {
		return err
	}
	config, err := json.Marshal(map[string]any{"eos_token": endToken, "chat_template": chatTemplate}, json.Deterministic(true), jsontext.Multiline(true))
	if err != nil {
		return err
	}
	for name, b := range map[string][]byte{"tokenizer.json": tok, "tokenizer_config.json": append(config, '\n')} {
		if err := os.WriteFile(filepath.Join(files, name), b, 0o666); err != nil {
			return err
		}
	}
	t, err := tokenizer.Load(os.DirFS(files), dir)
	if err != nil {
		return err
	}
	end, _ := t.EOS()
	c := architecture(t.VocabSize(), end)
	rng := flow.NewRand(flow.DeriveSeed(seed, "planner.weights"))
	var tensors []ckpt.Tensor
	for _, spec := range c.TensorSpecs() {
		n := 1
		for _, d := range spec.Shape {
			n *= d
		}
		values := make([]float32, n)
		for i := range values {
			switch {
			case strings.HasSuffix(spec.Name, ".bias"):
			case len(spec.Shape) == 1: // of a norm
				values[i] = 1
			default:
				values[i] = float32(initialSpread * rng.NormFloat64())
			}
		}
		x, err := ckpt.Float32Tensor(spec.Name, ckpt.F32, spec.Shape, values)
		if err != nil {
			return err
		}
		tensors = append(tensors, x)
	}
	return ckpt.SaveModel(dir, c, tensors, os.DirFS(files))
}

// text is for learning to read and copy: every token after the first line is learned.
func text(e gym.Example) gym.Line {
	first, rest, _ := strings.Cut(e.Prompt, "\n")
	return gym.Line{Prompt: first + "\n", Completion: rest + "\n" + e.Completion}
}

// drill is for learning to copy what stands among others.
func drill(text string) gym.Line {
	first, rest, _ := strings.Cut(text, "\n")
	return gym.Line{Prompt: first + "\n", Completion: rest}
}

// writeLines writes the first n lines.
func writeLines(path string, lines iter.Seq2[gym.Line, error], n int) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	defer func() { err = errors.Join(err, w.Flush(), f.Close()) }()
	written := 0
	for l, err := range lines {
		if err != nil {
			return err
		}
		b, err := json.Marshal(l)
		if err != nil {
			return err
		}
		if _, err := w.Write(append(b, '\n')); err != nil {
			return err
		}
		if written++; written == n {
			return nil
		}
	}
	return fmt.Errorf("%s: the material ends after %d lines, expected %d: raise worlds", path, written, n)
}
