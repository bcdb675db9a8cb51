package frozen

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"

	"afctl/flow"
	"afctl/rollout"
)

// Unknown is the generator's answer where memory does not hold what the question asks for.
const Unknown = "unknown"

// Executor turns a sub-goal into the arguments of a tool: the sub-goal is the query or the expression; for Web_Search it is
// searched for an address, and a single name stands for its own site (Zorak: zorak.test).
type Executor struct{}

// Verifier stops where memory holds an answer to the question.
type Verifier struct{}

// Generator reads the answer out of memory.
type Generator struct{}

var (
	_ rollout.Executor  = Executor{}
	_ rollout.Verifier  = Verifier{}
	_ rollout.Generator = Generator{}
)

var (
	address    = regexp.MustCompile(`[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+(?:/[^\s"'<>]*)?`)
	singleName = regexp.MustCompile(`^[A-Za-z]+$`)
)

// Arguments implements rollout.Executor. A sub-goal without an address for Web_Search is a *rollout.ToolError.
func (Executor) Arguments(_ context.Context, _ rollout.Input, plan rollout.Plan, tool rollout.ToolSpec) (json.RawMessage, error) {
	goal := strings.TrimSpace(plan.SubGoal)
	var args any
	switch tool.Name {
	case Calculator:
		args = map[string]string{"expression": goal}
	case BaseGenerator, WikipediaSearch:
		args = map[string]string{"query": goal}
	case WebSearch:
		url := address.FindString(goal)
		if url == "" && singleName.MatchString(goal) {
			url = Site(goal)
		}
		if url == "" {
			return nil, &rollout.ToolError{Kind: rollout.KindBadArgs, Message: fmt.Sprintf("no address in %q", goal)}
		}
		args = map[string]string{"url": url}
	default:
		return nil, fmt.Errorf("gym executor: found tool %q, expected %s, %s, %s or %s", tool.Name, BaseGenerator, Calculator, WikipediaSearch, WebSearch)
	}
	return jsonv2.Marshal(args)
}

// Site is the address of the site that bears a name.
func Site(name string) string { return strings.ToLower(name) + ".test" }

// Verify implements rollout.Verifier.
func (Verifier) Verify(_ context.Context, in rollout.Input) (flow.Verdict, string, error) {
	if _, ok := answer(in); ok {
		return flow.VerdictStop, "", nil
	}
	return flow.VerdictContinue, "", nil
}

// Answer implements rollout.Generator.
func (Generator) Answer(_ context.Context, in rollout.Input) (string, error) {
	if a, ok := answer(in); ok {
		return a, nil
	}
	return Unknown, nil
}

// answer is what memory says to the question, for all that verifier and generator can tell.
func answer(in rollout.Input) (string, bool) {
	q, ok := Parse(in.Question)
	if !ok || in.Memory == nil {
		return "", false
	}
	memory := Recall(in.Memory.Steps())
	return memory.Answer(q)
}
