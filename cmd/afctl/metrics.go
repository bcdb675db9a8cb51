package main

import (
	"io"

	"afctl/ckpt"

	"github.com/go-json-experiment/json"
)

// metricsFile is the name of the metrics in a folder that training writes: JSON Lines, one per optimizer step.
const metricsFile = "metrics.jsonl"

// writeLine writes a value as a line of JSON.
func writeLine(w io.Writer, v any) error {
	if err := json.MarshalWrite(w, v); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// createLines writes values as JSON Lines to a file of d.
func createLines[T any](d *ckpt.DirWriter, name string, values []T) error {
	f, err := d.Create(name)
	if err != nil {
		return err
	}
	for i := range values {
		if err := writeLine(f, &values[i]); err != nil {
			return err
		}
	}
	return f.Close()
}
