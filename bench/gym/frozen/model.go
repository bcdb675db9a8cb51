package frozen

import (
	"context"
	"fmt"
	"strings"
	"unicode"

	"afctl/rollout"
)

// Country is what everybody knows of a country.
type Country struct{ Capital, Currency string }

// Model is the frozen language model behind Base_Generator: it knows the common facts it was made with, if the query names
// the country and what is asked of it, and says that it does not know otherwise.
type Model struct{ countries map[string]Country }

// NewModel makes a model that knows these countries by name. The map must not change afterwards.
func NewModel(countries map[string]Country) Model { return Model{countries} }

// DoesNotKnow is the model's reply to what it has no fact for.
const DoesNotKnow = "I do not know."

// Complete implements rollout.Model. It answers the last message.
func (m Model) Complete(ctx context.Context, r rollout.Request) (rollout.Completion, error) {
	if err := ctx.Err(); err != nil {
		return rollout.Completion{}, err
	}
	if len(r.Messages) == 0 {
		return rollout.Completion{}, fmt.Errorf("frozen model: found no message, expected at least one")
	}
	return rollout.Completion{Text: m.reply(r.Messages[len(r.Messages)-1].Content)}, nil
}

func (m Model) reply(query string) string {
	words := strings.FieldsFunc(query, func(r rune) bool { return !unicode.IsLetter(r) })
	for _, name := range words {
		c, ok := m.countries[name]
		if !ok {
			continue
		}
		for _, word := range words {
			switch strings.ToLower(word) {
			case "capital":
				return fmt.Sprintf("The capital of %s is %s.", name, c.Capital)
			case "currency":
				return fmt.Sprintf("The currency of %s is the %s.", name, c.Currency)
			}
		}
	}
	return DoesNotKnow
}
