package rollout

import (
	"context"
	"encoding/json"

	"afctl/flow"
)

// Names of the slots, as they stand in Request.Slot, in Error.Slot and in the labels of random streams.
const (
	SlotAnalyst   = "analyst"
	SlotPlanner   = "planner"
	SlotExecutor  = "executor"
	SlotVerifier  = "verifier"
	SlotGenerator = "generator"
	SlotJudge     = "judge"
)

// Input is what every slot may look at: never the ground truth.
type Input struct {
	Question string // Task.Question as it is: choices, where there are any, stand in it
	Analysis string // empty where the analyst is off
	Tools    []ToolSpec
	Memory   *Memory // read-only to slots
	Turn     int     // of the call, from 1
	MaxTurns int
	// Seed is the random stream of this call.
	Seed uint64
}

// Plan is the planner's decision, parsed.
type Plan struct {
	Justification string
	Context       string
	SubGoal       string
	Tool          string // as written; Registry.find is lenient
}

// Planning is one planner call: the plan, or why none could be read, and the recorded turn.
type Planning struct {
	Plan Plan
	// ParseError is not empty where the text could not be read as a plan: a recorded step error, not a failure.
	ParseError string
	Completion Completion
	// Sampling is how the completion was drawn; its Seed is left to the solver.
	Sampling flow.Sampling
}

// Analyst reads the question once before the loop.
type Analyst interface {
	Analyze(ctx context.Context, in Input) (string, error)
}

// Planner chooses the next sub-goal and tool. It is the trained slot.
type Planner interface {
	Plan(ctx context.Context, in Input) (Planning, error)
}

// Executor turns a plan into the arguments of the chosen tool, as a JSON object. The solver checks them against the
// tool's schema. An executor that finds no arguments returns a *ToolError, which becomes the step's error; it may
// return arguments together with a *Note, which are used, and the note is shown with the result. Any other error ends
// the solve.
type Executor interface {
	Arguments(ctx context.Context, in Input, plan Plan, tool ToolSpec) (json.RawMessage, error)
}

// Note is a remark on arguments that are used all the same, such as that only the first of several calls was made.
type Note struct{ Text string }

// Error implements error, so that a note can stand beside the arguments.
func (n *Note) Error() string { return n.Text }

// Verifier decides whether memory holds what the question needs. Note says why in a sentence, or that the verdict could
// not be read, which counts as CONTINUE; later turns see it in memory.
type Verifier interface {
	Verify(ctx context.Context, in Input) (v flow.Verdict, note string, err error)
}

// Generator gives the answer from memory.
type Generator interface {
	Answer(ctx context.Context, in Input) (string, error)
}

// Slots are the modules of one agentic system. Analyst and Verifier may be nil: no analysis; CONTINUE until the turns
// are used up.
type Slots struct {
	Analyst   Analyst
	Planner   Planner
	Executor  Executor
	Verifier  Verifier
	Generator Generator
}
