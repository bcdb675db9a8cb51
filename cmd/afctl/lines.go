package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"os"

	"afctl/ckpt"
	"afctl/flow/strictjson"
)

// maxLineBytes bounds a line: a sequence of ten million tokens.
const maxLineBytes = 64 << 20

// line is one line of a file; its text is valid until the next one is read.
type line struct {
	file   string
	number int // from 1
	text   []byte
}

// wrap puts file and line before an error.
func (l *line) wrap(err error) error { return fmt.Errorf("%s:%d: %w", l.file, l.number, err) }

// openInput opens a file, or stdin for "-". name is for messages. What may be silent for long, stdin or a pipe, is read until ctx ends.
func openInput(ctx context.Context, path string, stdin io.Reader) (r io.ReadCloser, name string, err error) {
	if path == "-" {
		return io.NopCloser(&interruptible{ctx: ctx, r: stdin}), "stdin", nil
	}
	f, err := ckpt.OpenWaiting(ctx, path, os.O_RDONLY)
	if err != nil {
		return nil, path, err
	}
	info, err := f.Stat()
	switch {
	case err == nil && info.IsDir():
		f.Close()
		return nil, path, fmt.Errorf("%s: found a folder, expected a file of JSON Lines", path)
	case err == nil && !info.Mode().IsRegular():
		return struct {
			io.Reader
			io.Closer
		}{&interruptible{ctx: ctx, r: f}, f}, path, nil
	}
	return f, path, nil
}

// interruptible is a reader that ends with its context, though a read of r is under way, which is left to itself then.
type interruptible struct {
	ctx context.Context
	r   io.Reader
	buf []byte // its own: a read that is left to itself may still write to it
}

func (i *interruptible) Read(p []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	type outcome struct {
		n   int
		err error
	}
	if i.buf == nil {
		i.buf = make([]byte, 64<<10)
	}
	buf, done := i.buf[:min(len(p), len(i.buf))], make(chan outcome, 1)
	go func() {
		n, err := i.r.Read(buf)
		done <- outcome{n, err}
	}()
	select {
	case <-i.ctx.Done():
		return 0, i.ctx.Err()
	case o := <-done:
		return copy(p, buf[:o.n]), o.err
	}
}

// eachLine yields the lines of r that are not blank, or an error, which is the last then.
func eachLine(ctx context.Context, r io.Reader, name string) iter.Seq2[*line, error] {
	return func(yield func(*line, error) bool) {
		lines := ckpt.NewLines(r, maxLineBytes)
		for {
			text, err := lines.Next()
			l := line{file: name, number: lines.N, text: text}
			switch {
			case ctx.Err() != nil:
				yield(nil, ctx.Err())
				return
			case err == io.EOF:
				return
			case err != nil:
				yield(nil, l.wrap(err))
				return
			}
			if len(bytes.TrimSpace(text)) > 0 && !yield(&l, nil) {
				return
			}
		}
	}
}

// decodeLine reads one JSON object into v, a pointer to a struct. Errors name the field.
func decodeLine(text []byte, v any) error {
	return strictjson.Decode(text, v, strictjson.RefuseUnknown, strictjson.NoNull[int32](), strictjson.NoNull[string]())
}
