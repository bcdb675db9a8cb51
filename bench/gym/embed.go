package gym

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
)

//go:embed planner
var plannerFiles embed.FS

// ErrNoPlanner is returned by Planner in a build without the embedded planner.
var ErrNoPlanner = errors.New("the embedded planner has not been made: run make planner, then build again")

// PlannerFiles are the files that make the planner's folder a model.
var PlannerFiles = []string{"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}

// PlannerRecordFile lies beside them: a PlannerRecord.
const PlannerRecordFile = "PLANNER.json"

// PlannerRecord says how the planner was made, and what it was measured to solve before any training in the gym.
type PlannerRecord struct {
	Recipe string            `json:"recipe"`
	Seed   uint64            `json:"seed"`
	SHA256 map[string]string `json:"sha256"` // of PlannerFiles
	// The measurement: mean reward over Tasks of Suite, with a 95 % interval, and by family.
	Suite       string             `json:"suite"`
	Tasks       int                `json:"tasks"`
	Temperature float64            `json:"temperature"`
	Accuracy    float64            `json:"accuracy"`
	Low         float64            `json:"low"`
	High        float64            `json:"high"`
	Families    map[string]float64 `json:"families"`
}

// Planner gives the files of the embedded planner: a Hugging Face folder (PlannerFiles) with the record of how it was made.
func Planner() (fs.FS, error) {
	folder, err := fs.Sub(plannerFiles, "planner")
	if err != nil {
		return nil, fmt.Errorf("gym: %w", err)
	}
	return folder, checkPlanner(folder)
}

func checkPlanner(folder fs.FS) error {
	for _, name := range PlannerFiles {
		if _, err := fs.Stat(folder, name); err != nil {
			return fmt.Errorf("gym: planner/%s: %w", name, ErrNoPlanner)
		}
	}
	return nil
}
