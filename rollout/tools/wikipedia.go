package tools

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"afctl/rollout"
	"afctl/rollout/tools/index"
)

// NameWikipediaSearch is the tool's name.
const NameWikipediaSearch = "Wikipedia_Search"

// WikipediaSearch is the tool Wikipedia_Search over a local index.
type WikipediaSearch struct {
	index *index.Index
	k     int
}

// NewWikipediaSearch makes the tool on an index, which stays the caller's to close; it gives k passages unless a call
// asks for another number. k below 1 takes 3.
func NewWikipediaSearch(ix *index.Index, k int) *WikipediaSearch {
	if k < 1 {
		k = 3
	}
	return &WikipediaSearch{index: ix, k: min(k, maxPassages)}
}

// maxPassages bounds what one call may ask for.
const maxPassages = 10

// Spec implements rollout.Tool. The arguments are {"query", "k"}, k being optional.
func (w *WikipediaSearch) Spec() rollout.ToolSpec {
	return rollout.ToolSpec{
		Name:        NameWikipediaSearch,
		Description: "Finds passages of the encyclopedia for a query: a title, or the words that the passage should contain.",
		Schema: json.RawMessage(fmt.Sprintf(`{"type":"object","properties":{"query":{"type":"string","minLength":1},`+
			`"k":{"type":"integer","minimum":1,"maximum":%d}},"required":["query"],"additionalProperties":false}`, maxPassages)),
		Limits:   "Finds by words, not by meaning: a short query with the name of one thing works best.",
		Examples: []rollout.ToolExample{{Args: json.RawMessage(`{"query":"Mount Etna height"}`), What: "a fact about one thing"}},
	}
}

// Execute searches. Where no passage carries enough of the query, the error is not_found.
func (w *WikipediaSearch) Execute(ctx context.Context, args json.RawMessage) (rollout.Result, error) {
	a, err := decode[struct {
		Query string `json:"query"`
		K     int    `json:"k"`
	}](args)
	if err != nil {
		return rollout.Result{}, err
	}
	if a.K == 0 {
		a.K = w.k
	}
	passages, err := w.index.Search(ctx, a.Query, a.K)
	if err != nil {
		return rollout.Result{}, err
	}
	if len(passages) == 0 {
		return rollout.Result{}, fail(rollout.KindNotFound, fmt.Sprintf("no article about %q", clipRunes(a.Query)))
	}
	return rollout.Result{Text: passageText(passages), Data: encode(passages)}, nil
}

// passageText shows passages one to a line, each under its title.
func passageText(passages []index.Passage) string {
	var b strings.Builder
	for i, p := range passages {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(p.Title)
		if p.Section != "" {
			b.WriteString(", " + p.Section)
		}
		b.WriteString(": " + strings.ReplaceAll(p.Text, "\n", " "))
	}
	return b.String()
}

// clipRunes shortens what a message repeats of an argument, to 100 characters.
func clipRunes(s string) string {
	const most = 100
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
