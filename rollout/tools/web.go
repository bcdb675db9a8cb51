package tools

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"afctl/rollout"
	"afctl/rollout/tools/index"
)

// NameWebSearch is the tool's name.
const NameWebSearch = "Web_Search"

// WebSearch is the tool Web_Search: the passages of one page that matter to a query. Where pages come from is the
// store's business, so that a folder, an archive or live fetching are the same to it.
type WebSearch struct{ pages PageStore }

// NewWebSearch makes the tool on a page store.
func NewWebSearch(pages PageStore) *WebSearch { return &WebSearch{pages} }

// webPassages is how many passages of a page a call gives.
const webPassages = 3

// Spec implements rollout.Tool. The arguments are {"url", "query"}, the query being optional.
func (w *WebSearch) Spec() rollout.ToolSpec {
	return rollout.ToolSpec{
		Name:        NameWebSearch,
		Description: "Reads the web page of a given address and returns its passages that match a query.",
		Schema:      json.RawMessage(`{"type":"object","properties":{"url":{"type":"string","minLength":1},"query":{"type":"string"}},"required":["url"],"additionalProperties":false}`),
		Limits:      "Needs the exact address of one page; cannot search for pages.",
		Examples:    []rollout.ToolExample{{Args: json.RawMessage(`{"url":"https://example.org/report","query":"revenue in 2020"}`), What: "a figure on a known page"}},
	}
}

// Execute reads the page. A page that is not there is not_found; an address that is none is bad_args. Where no passage
// matches the query, the page's beginning is given, and the text says so.
func (w *WebSearch) Execute(ctx context.Context, args json.RawMessage) (rollout.Result, error) {
	a, err := decode[struct {
		URL   string `json:"url"`
		Query string `json:"query"`
	}](args)
	if err != nil {
		return rollout.Result{}, err
	}
	if _, err := NormalURL(a.URL); err != nil {
		return rollout.Result{}, fail(rollout.KindBadArgs, err.Error())
	}
	page, err := w.pages.Page(ctx, a.URL)
	if errors.Is(err, ErrPageNotFound) {
		return rollout.Result{}, fail(rollout.KindNotFound, fmt.Sprintf("no page at %s", clipRunes(a.URL)))
	}
	if err != nil {
		return rollout.Result{}, err
	}
	all := index.Split(index.Doc{Title: cmp.Or(page.Title, page.URL), URL: page.URL, Text: page.Text})
	if len(all) == 0 {
		return rollout.Result{}, fail(rollout.KindNotFound, fmt.Sprintf("the page at %s has no text", clipRunes(a.URL)))
	}
	found, err := index.Rank(ctx, a.Query, all, webPassages)
	if err != nil {
		return rollout.Result{}, err
	}
	note := ""
	if len(found) == 0 {
		found = all[:min(webPassages, len(all))]
		if a.Query != "" {
			note = "(nothing on the page matches the query; it begins:)\n"
		}
	}
	return rollout.Result{Text: note + passageText(found), Data: encode(found)}, nil
}
