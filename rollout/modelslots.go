package rollout

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"text/template"

	"afctl/flow"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// DefaultMaxTokens bounds a completion where a slot states no bound (the paper's 2,048 tokens of output).
const DefaultMaxTokens = 2048

// ModelSlot is a slot backed by a model. The slots of that kind (ModelPlanner, ModelExecutor, ...) are this struct under
// other names, with the method of their slot; they hold no state and are safe for concurrent use.
type ModelSlot struct {
	Model Model
	// Template makes the prompt; nil takes the slot's built-in one (see LoadTemplate for what it may define).
	Template *template.Template
	// MaxTokens bounds the completion; 0 takes DefaultMaxTokens.
	MaxTokens int
	// Temperature of plain sampling; 0 is greedy, as suits the frozen slots.
	Temperature float64
	// MemoryBudget bounds the memory in the prompt, in tokens; 0 means no bound.
	MemoryBudget int
	// Count counts the tokens of a text for MemoryBudget; nil takes a token for every four bytes.
	Count func(string) int
}

// Model-backed slots. Each implements the interface of its name.
type (
	ModelAnalyst   ModelSlot
	ModelPlanner   ModelSlot
	ModelExecutor  ModelSlot
	ModelVerifier  ModelSlot
	ModelGenerator ModelSlot
)

var (
	_ Analyst   = ModelAnalyst{}
	_ Planner   = ModelPlanner{}
	_ Executor  = ModelExecutor{}
	_ Verifier  = ModelVerifier{}
	_ Generator = ModelGenerator{}
)

// Analyze asks for an analysis of the question.
func (a ModelAnalyst) Analyze(ctx context.Context, in Input) (string, error) {
	s := ModelSlot(a)
	c, err := s.ask(ctx, SlotAnalyst, s.data(in), in.Seed, nil, nil)
	return strings.TrimSpace(c.Said()), err
}

// Plan asks for one plan and reads it. It is asked once, in free text: a repair round or constrained output would train
// on other text than the policy's own.
func (p ModelPlanner) Plan(ctx context.Context, in Input) (Planning, error) {
	s := ModelSlot(p)
	c, err := s.ask(ctx, SlotPlanner, s.data(in), in.Seed, nil, nil)
	if err != nil {
		return Planning{}, err
	}
	out := Planning{Completion: c, Sampling: flow.Sampling{Temperature: s.Temperature, MaxTokens: s.maxTokens()}}
	if out.Plan, err = ParsePlan(c.Said()); err != nil {
		out.ParseError = err.Error()
	}
	return out, nil
}

// Arguments asks for the arguments of the tool. What cannot be read or does not satisfy the schema goes back to the
// model once, with what is wrong; after that it is a *ToolError of KindBadArgs.
func (e ModelExecutor) Arguments(ctx context.Context, in Input, plan Plan, tool ToolSpec) (json.RawMessage, error) {
	s := ModelSlot(e)
	data := s.data(in)
	data.Plan, data.Tool = plan, tool
	var args json.RawMessage
	var calls int
	_, err := s.ask(ctx, SlotExecutor, data, in.Seed, tool.Schema, func(text string) (err error) {
		if args, calls, err = ParseArguments(text); err != nil {
			return err
		}
		err = tool.Validate(args)
		if inner := argumentsOf(args); err != nil && tool.Validate(inner) == nil { // the form of a call without its tags
			args, err = inner, nil
		}
		return err
	})
	var unread *unreadable
	var bad *ToolError
	switch {
	case errors.As(err, &bad):
		return nil, bad
	case errors.As(err, &unread):
		return nil, &ToolError{Kind: KindBadArgs, Message: tool.Name + ": " + unread.err.Error()}
	case err != nil:
		return nil, err
	case calls > 1:
		return args, &Note{Text: fmt.Sprintf("only the first of %d calls was made", calls)}
	}
	return args, nil
}

var verdictSchema = json.RawMessage(`{"type":"object","properties":{"why":{"type":"string"},"verdict":{"enum":["STOP","CONTINUE"]}},"required":["why","verdict"]}`)

// maxNote bounds what a verifier's reason may take in memory, in bytes.
const maxNote = 300

// Verify asks whether memory suffices. An answer that cannot be read goes back once; then it counts as CONTINUE.
func (v ModelVerifier) Verify(ctx context.Context, in Input) (flow.Verdict, string, error) {
	s := ModelSlot(v)
	verdict, note := flow.VerdictContinue, ""
	_, err := s.ask(ctx, SlotVerifier, s.data(in), in.Seed, verdictSchema, func(text string) error {
		var ok bool
		if verdict, ok = ParseVerdict(text); !ok {
			return errors.New(`no clear verdict, expected {"why": "...", "verdict": "STOP"} or "CONTINUE"`)
		}
		note = reason(text)
		return nil
	})
	var unread *unreadable
	if errors.As(err, &unread) {
		return flow.VerdictContinue, "the verdict could not be read", nil
	}
	return verdict, note, err
}

// Answer asks for the answer: what stands in the last <answer>…</answer> of the reply that holds anything, else behind an
// <answer> that was not closed, or all of it. Where that is a JSON object with an answer, the answer is meant.
func (g ModelGenerator) Answer(ctx context.Context, in Input) (string, error) {
	s := ModelSlot(g)
	c, err := s.ask(ctx, SlotGenerator, s.data(in), in.Seed, nil, nil)
	if err != nil {
		return "", err
	}
	return objectAnswer(taggedAnswer(c.Said())), nil
}

func taggedAnswer(text string) string {
	const open, end = "<answer>", "</answer>"
	unclosed := ""
	for before := text; ; {
		i := strings.LastIndex(before, open)
		if i < 0 {
			break
		}
		inner, _, closed := strings.Cut(before[i+len(open):], end)
		inner = strings.TrimSpace(inner)
		switch {
		case inner != "" && closed:
			return inner
		case unclosed == "":
			unclosed = inner // an answer that was cut short, or no more than the tag's name in a sentence
		}
		before = before[:i]
	}
	if unclosed != "" {
		return unclosed
	}
	return strings.TrimSpace(strings.NewReplacer(open, "", end, "").Replace(text))
}

// objectAnswer is the answer that a JSON object names, if the text is one and nothing else; any other text is its own.
func objectAnswer(text string) string {
	object := strings.TrimSpace(strings.TrimSuffix(unfence(text), "```"))
	if !strings.HasPrefix(object, "{") {
		return text
	}
	var fields map[string]jsontext.Value
	if v, n := objectAt(object); n < len(object) || jsonv2.Unmarshal(v, &fields) != nil {
		return text
	}
	return cmp.Or(field(fields, "final_answer", "answer"), text)
}

func (s *ModelSlot) data(in Input) PromptData { return in.promptData(s.MemoryBudget, s.Count) }

func (s *ModelSlot) maxTokens() int {
	if s.MaxTokens == 0 {
		return DefaultMaxTokens
	}
	return s.MaxTokens
}

// unreadable is an answer that could not be read after its repair round either.
type unreadable struct{ err error }

func (e *unreadable) Error() string { return "unreadable answer: " + e.err.Error() }
func (e *unreadable) Unwrap() error { return e.err }

// ask renders the prompt and completes it. Where read is given and refuses the text, the model is shown what is wrong
// and asked once more; a second refusal is an *unreadable.
func (s *ModelSlot) ask(ctx context.Context, slot string, data PromptData, seed uint64, schema json.RawMessage, read func(string) error) (Completion, error) {
	if s.Model == nil {
		return Completion{}, errors.New("the slot has no model")
	}
	t := s.Template
	if t == nil {
		var err error
		if t, err = DefaultTemplate(slot); err != nil {
			return Completion{}, err
		}
	}
	chat, err := messages(t, data)
	if err != nil {
		return Completion{}, err
	}
	request := Request{Slot: slot, Messages: chat, MaxTokens: s.maxTokens(), Temperature: s.Temperature, Seed: seed, Schema: schema}
	c, err := s.Model.Complete(ctx, request)
	if err != nil || read == nil {
		return c, err
	}
	wrong := read(c.Said())
	if wrong == nil {
		return c, nil
	}
	request.Messages = append(chat, Message{Role: "assistant", Content: c.Said()},
		Message{Role: "user", Content: fmt.Sprintf("That cannot be used: %s. Answer again, in the form that was asked for and with nothing else.", wrong)})
	request.Seed = flow.DeriveSeed(seed, "repair")
	if c, err = s.Model.Complete(ctx, request); err != nil {
		return c, err
	}
	if wrong = read(c.Said()); wrong != nil {
		return c, &unreadable{wrong}
	}
	return c, nil
}
