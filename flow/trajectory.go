package flow

import (
	"encoding/json"
	"strings"
	"unicode"
)

// StopReason says why a sampler ended an action.
type StopReason string

// Reasons to stop. An action that ended with StopLimit has no end token.
const (
	StopEOS   StopReason = "eos"   // an end token was generated; it is the last token of the action
	StopLimit StopReason = "limit" // max tokens were generated
)

// Turn is one planner call, as exact token ids: they are appended, never re-tokenised.
type Turn struct {
	Prompt []int32 `json:"prompt"`
	Action []int32 `json:"action"`
	// LogProbs are ls, one per action token at the sampler's temperature; nil where the sampler reported none. A value below -1e30 is that of a token
	// for which it reported none.
	LogProbs []float32  `json:"logprobs,omitempty"`
	Stop     StopReason `json:"stop,omitempty"`
}

// Sampling is how actions were drawn. In training only plain temperature sampling is allowed (the ratio would be
// wrong otherwise), so the filters are recorded to be refused.
type Sampling struct {
	Temperature      float64 `json:"temperature,omitzero"` // 0: not recorded
	TopK             int     `json:"top_k,omitempty"`
	TopP             float64 `json:"top_p,omitempty"`
	MinP             float64 `json:"min_p,omitempty"`
	FrequencyPenalty float64 `json:"frequency_penalty,omitempty"`
	PresencePenalty  float64 `json:"presence_penalty,omitempty"`
	RepeatPenalty    float64 `json:"repeat_penalty,omitempty"`
	MaxTokens        int     `json:"max_tokens,omitempty"`
	// Seed is the seed of the rollout's own random stream.
	Seed uint64 `json:"seed,omitempty"`
}

// Verdict is what the verifier said after a step.
type Verdict string

// Verdicts. An answer of the verifier that cannot be read counts as VerdictContinue, with Step.VerdictNote saying so.
const (
	VerdictStop     Verdict = "STOP"
	VerdictContinue Verdict = "CONTINUE"
)

// Step is one turn of the agentic loop as it is remembered and stored.
type Step struct {
	Turn          int             `json:"turn"` // from 1
	Justification string          `json:"justification,omitempty"`
	Context       string          `json:"context,omitempty"`
	SubGoal       string          `json:"sub_goal,omitempty"`
	Tool          string          `json:"tool,omitempty"`
	Args          json.RawMessage `json:"args,omitempty"`
	Result        string          `json:"result,omitempty"`
	// ErrorKind is empty for a step that went well; else a short stable word ("parse", "unknown_tool", "bad_args",
	// "not_found", "timeout", ...), by which errors are counted.
	ErrorKind   string  `json:"error_kind,omitempty"`
	Error       string  `json:"error,omitempty"`
	Verdict     Verdict `json:"verdict,omitempty"`
	VerdictNote string  `json:"verdict_note,omitempty"`
	ToolMS      float64 `json:"tool_ms"`  // milliseconds in the tool
	TotalMS     float64 `json:"total_ms"` // milliseconds of the whole turn
	Tokens      int     `json:"tokens"`   // tokens of the result as the planner would see it
}

// Trajectory is the record of one solve.
type Trajectory struct {
	Task   string `json:"task"`   // Task.ID
	Group  string `json:"group"`  // rollouts that share it are compared with each other
	Sample int    `json:"sample"` // number of the rollout within its group, from 0
	Turns  []Turn `json:"turns"`
	Answer string `json:"answer"`
	// Reward is nil for a rollout that failed: it leaves the statistics and the denominators, and is counted.
	Reward *float64 `json:"reward"`
	// Failure is the kind of what ended a failed rollout; empty otherwise. FailureDetail is for a reader.
	Failure       string `json:"failure,omitempty"`
	FailureDetail string `json:"failure_detail,omitempty"`
	// PolicyVersion counts optimizer updates of the run; AdapterHash is the SHA-256 of the adapter's tensors
	// that sampled this trajectory. Together they prove which weights a rollout used.
	PolicyVersion int      `json:"policy_version"`
	AdapterHash   string   `json:"adapter_hash"`
	Sampling      Sampling `json:"sampling"`
	Analysis      string   `json:"analysis,omitempty"`
	Steps         []Step   `json:"steps,omitempty"`
	Retries       int      `json:"retries,omitempty"` // solves given up before this one
	TotalMS       float64  `json:"total_ms"`
}

// Failed reports whether the rollout ended without a reward.
func (t *Trajectory) Failed() bool { return t.Reward == nil }

// Reason is FailureDetail for a line of a terminal: printable, on one line, and not long.
func (t *Trajectory) Reason() string {
	const most = 160
	words := strings.FieldsFunc(strings.ToValidUTF8(t.FailureDetail, "\ufffd"), func(r rune) bool { return r == ' ' || !unicode.IsPrint(r) })
	text := []rune(strings.Join(words, " "))
	if len(text) > most {
		return string(text[:most]) + "..."
	}
	return string(text)
}
