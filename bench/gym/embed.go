package gym

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
)

//go:embed all:planner
var plannerFiles embed.FS

// ErrNoPlanner is returned by Planner in a build without the embedded planner.
var ErrNoPlanner = errors.New("the embedded planner has not been made: run make planner, then build again")

// Planner gives the files of the embedded planner: a Hugging Face folder (config.json, model.safetensors,
// tokenizer.json, tokenizer_config.json) with the record of how it was made.
func Planner() (fs.FS, error) {
	folder, err := fs.Sub(plannerFiles, "planner")
	if err != nil {
		return nil, fmt.Errorf("gym: %w", err)
	}
	return folder, checkPlanner(folder)
}

func checkPlanner(folder fs.FS) error {
	for _, name := range []string{"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} {
		if _, err := fs.Stat(folder, name); err != nil {
			return fmt.Errorf("gym: planner/%s: %w", name, ErrNoPlanner)
		}
	}
	return nil
}
