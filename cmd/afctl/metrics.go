package main

import (
	"io"

	"afctl/ckpt"

	"github.com/go-json-experiment/json"
)

// metricsFile is the name of the metrics in a folder that training writes: JSON Lines, one per optimizer step.
const metricsFile = "metrics.jsonl"

// writeLines writes values as JSON Lines.
func writeLines[T any](w io.Writer, values []T) error {
	for i := range values {
		if err := json.MarshalWrite(w, &values[i]); err != nil {
			return err
		}
		if _, err := io.WriteString(w, "\n"); err != nil {
			return err
		}
	}
	return nil
}

// createLines writes them to a file of d.
func createLines[T any](d *ckpt.DirWriter, name string, values []T) error {
	f, err := d.Create(name)
	if err != nil {
		return err
	}
	if err := writeLines(f, values); err != nil {
		return err
	}
	return f.Close()
}
