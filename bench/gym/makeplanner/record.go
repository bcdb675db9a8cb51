package main

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"afctl/bench/eval"
	"afctl/bench/gym"
)

// writeRecord writes PLANNER.json into the folder of a made planner: its files' hashes and what it was measured to solve.
func writeRecord(folder, report string) error {
	r, err := eval.ReadReport(report)
	if err != nil {
		return err
	}
	all := r.Summary.All
	record := gym.PlannerRecord{Recipe: "make planner", Seed: seed, SHA256: make(map[string]string), Suite: r.Suite, Tasks: all.Tasks, Temperature: r.Sampling.Temperature,
		Accuracy: all.Accuracy.Mean, Low: all.Accuracy.Low, High: all.Accuracy.High, Families: make(map[string]float64)}
	for _, p := range r.Summary.Families {
		record.Families[p.Name] = p.Stats.Accuracy.Mean
	}
	for _, name := range gym.PlannerFiles {
		b, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			return err
		}
		sum := sha256.Sum256(b)
		record.SHA256[name] = hex.EncodeToString(sum[:])
	}
	b, err := json.Marshal(&record, json.Deterministic(true), jsontext.Multiline(true))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, gym.PlannerRecordFile), append(b, '\n'), 0o666)
}
