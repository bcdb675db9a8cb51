package rollout

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"

	"afctl/flow"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// ModelJudge scores answers by a model, for tasks that no rule can mark. Equal questions to it are answered from its
// own cache, which lives as long as the judge; what the model cannot be brought to say is an error, never a 0. It is
// safe for concurrent use and must not be copied after its first use.
type ModelJudge struct {
	ModelSlot // which has no memory to bound here

	mu     sync.Mutex
	cached map[[sha256.Size]byte]float64
}

var markSchema = json.RawMessage(`{"type":"object","properties":{"why":{"type":"string"},"correct":{"type":"boolean"}},"required":["why","correct"]}`)

// Score is a Scorer: 1 for an answer that the model marks as correct, 0 for one that it marks as wrong.
func (j *ModelJudge) Score(ctx context.Context, task flow.Task, answer string) (float64, error) {
	data := PromptData{Question: task.Question, Answer: answer, Accepted: task.Answers}
	key := sha256.Sum256([]byte(strings.Join(append([]string{data.Question, data.Answer}, data.Accepted...), "\x00")))
	j.mu.Lock()
	reward, known := j.cached[key]
	j.mu.Unlock()
	if known {
		return reward, nil
	}
	// The seed goes by what is asked, as the cache does: which of two tasks that ask the same came first is not seen.
	_, err := j.ask(ctx, SlotJudge, data, flow.DeriveSeed(0, SlotJudge, string(key[:])), markSchema, func(text string) error {
		correct, ok := parseMark(text)
		if !ok {
			return errors.New(`no clear mark, expected {"why": "...", "correct": true} or false`)
		}
		reward = 0
		if correct {
			reward = 1
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("judge: %w", err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.cached == nil {
		j.cached = map[[sha256.Size]byte]float64{}
	}
	j.cached[key] = reward
	return reward, nil
}

// marked is a mark that ends a text and stands in no object that can be read: quotes within its "why" are often not escaped.
var marked = regexp.MustCompile("(?i)\\bcorrect\\b[\\s\"'*`]*[:：=][\\s\"'*`]*(true|false)[\\s\"'*`.}]*$")

// parseMark reads the last object that says whether the answer is correct, or else the mark that the text ends with.
func parseMark(text string) (correct, ok bool) {
	for object := range jsonObjects(strings.ToValidUTF8(text, "\uFFFD")) {
		var fields map[string]jsontext.Value
		if jsonv2.Unmarshal(object, &fields) != nil {
			continue
		}
		switch strings.ToLower(jsonText(fields["correct"])) { // in quotes or not
		case "true":
			correct, ok = true, true
		case "false":
			correct, ok = false, true
		}
	}
	if said := marked.FindStringSubmatch(text); !ok && said != nil {
		correct, ok = strings.EqualFold(said[1], "true"), true
	}
	return correct, ok
}
