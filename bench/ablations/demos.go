package main

import (
	"bufio"
	"context"
	"io"

	"github.com/go-json-experiment/json"

	"afctl/bench/gym"
	"afctl/ckpt"
)

// write makes the file of demonstrations: the teacher's solves of the very tasks that a run of as many tasks draws, a line per turn.
// The file appears when it is whole.
func (d *demos) write(ctx context.Context) error {
	w, err := gym.Embedded()
	if err != nil {
		return err
	}
	return ckpt.WriteFileAtomic(d.Path, 0o666, func(out io.Writer) error {
		b := bufio.NewWriter(out)
		for e, err := range gym.Demos(ctx, w, gym.Teacher{}, d.Tasks, d.Seed) {
			if err != nil {
				return err
			}
			if err := json.MarshalWrite(b, e.Chat()); err != nil {
				return err
			}
			if err := b.WriteByte('\n'); err != nil {
				return err
			}
		}
		return b.Flush()
	})
}
