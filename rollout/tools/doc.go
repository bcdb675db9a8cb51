// Package tools holds the tools that planners choose from, one file each: Base_Generator (a model), Calculator (exact
// arithmetic), Wikipedia_Search (passages of a local index) and Web_Search (passages of pages from a store), and what
// records and replays the results of any tool.
//
// Every tool is a rollout.Tool with strict arguments: a JSON object that its schema describes. What goes wrong is a
// *rollout.ToolError of a kind that the planner can react to (not_found, bad_args, division_by_zero, ...). No tool
// runs text that a model wrote. All are safe for concurrent use. A new tool is one file with a type that has Spec and
// Execute, and one entry in the table from which the registry is made (in cmd/afctl):
//
//	ix, err := index.Open("wiki.db")
//	registry, err := rollout.NewRegistry(
//		tools.NewBaseGenerator(model), tools.NewCalculator(),
//		tools.NewWikipediaSearch(ix, 3), tools.NewWebSearch(pages),
//	)
package tools
