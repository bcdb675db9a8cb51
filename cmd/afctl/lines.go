package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"reflect"
	"strconv"
	"strings"

	"afctl/ckpt"
	"afctl/flow"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// maxLineBytes bounds a line: a sequence of ten million tokens.
const maxLineBytes = 64 << 20

// byteOrderMark may stand before the text of a file.
const byteOrderMark = "\ufeff"

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
	f, err := ckpt.OpenWaiting(ctx, path)
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
		br := bufio.NewReaderSize(r, 1<<20)
		var long []byte
		for l := (line{file: name, number: 1}); ; l.number++ {
			if err := ctx.Err(); err != nil {
				yield(nil, err)
				return
			}
			text, err := br.ReadSlice('\n')
			long = long[:0]
			for errors.Is(err, bufio.ErrBufferFull) && len(long) <= maxLineBytes {
				long = append(long, text...)
				text, err = br.ReadSlice('\n')
			}
			switch {
			case len(long) > maxLineBytes:
				yield(nil, l.wrap(fmt.Errorf("more than %d bytes in one line, expected one JSON object per line", maxLineBytes)))
				return
			case err != nil && err != io.EOF:
				yield(nil, l.wrap(err))
				return
			case len(long) > 0:
				long = append(long, text...)
				text = long
			}
			if l.number == 1 {
				text = bytes.TrimPrefix(text, []byte(byteOrderMark))
			}
			if l.text = text; len(bytes.TrimSpace(text)) > 0 && !yield(&l, nil) || err == io.EOF {
				return
			}
		}
	}
}

// strictOptions read a line: names match a field exactly and come once, and no null stands where a number or a string belongs.
var strictOptions = json.JoinOptions(json.RejectUnknownMembers(true), json.WithUnmarshalers(json.JoinUnmarshalers(
	json.UnmarshalFromFunc(refuseNull[int32]),
	json.UnmarshalFromFunc(refuseNull[string]),
)))

var errNull = errors.New("found null")

func refuseNull[T any](d *jsontext.Decoder, _ *T) error {
	if d.PeekKind() == 'n' {
		return errNull
	}
	return errors.ErrUnsupported // go on as usual
}

// objectAt is the struct that a pointer into a value of a type leads to.
func objectAt(t reflect.Type, at jsontext.Pointer) reflect.Type {
	for token := range at.Tokens() {
		t = elem(t)
		if t.Kind() != reflect.Struct {
			continue // an index: elem has gone into the list
		}
		for f := range t.Fields() {
			if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name == token {
				t = f.Type
				break
			}
		}
	}
	return elem(elem(t))
}

// elem is the type within a pointer or a list.
func elem(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		return t.Elem()
	}
	return t
}

// decodeLine reads one JSON object into v, a pointer to a struct. Errors name the field.
func decodeLine(text []byte, v any) error {
	err := json.Unmarshal(text, v, strictOptions)
	if err == nil {
		return nil
	}
	var syntax *jsontext.SyntacticError
	var semantic *json.SemanticError
	switch {
	case errors.As(err, &syntax) && errors.Is(err, jsontext.ErrDuplicateName):
		return fmt.Errorf("%s: found twice, expected once", fieldPath(syntax.JSONPointer))
	case errors.As(err, &syntax):
		return fmt.Errorf("not a JSON object: %w", syntax.Err)
	case !errors.As(err, &semantic):
		return err
	}
	path := fieldPath(semantic.JSONPointer)
	switch {
	case errors.Is(err, json.ErrUnknownName):
		var known []string
		for f := range objectAt(reflect.TypeOf(v), semantic.JSONPointer.Parent()).Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			known = append(known, name)
		}
		last := semantic.JSONPointer.LastToken()
		return fmt.Errorf("%s: unknown key; did you mean %q?", path, flow.Nearest(last, known))
	case errors.Is(err, errNull):
		return fmt.Errorf("%s: found null, expected %s", path, jsonKind(semantic.GoType))
	}
	return fmt.Errorf("%s: found %s, expected %s", path, foundValue(semantic), jsonKind(semantic.GoType))
}

// foundValue is the value that did not fit, or its kind where the library does not tell.
func foundValue(e *json.SemanticError) string {
	if len(e.JSONValue) > 0 {
		return shorten(string(e.JSONValue))
	}
	switch e.JSONKind {
	case '"':
		return "a string"
	case '{':
		return "an object"
	case '[':
		return "a list"
	case 't', 'f':
		return "a boolean"
	}
	return "a " + e.JSONKind.String()
}

// fieldPath writes a JSON pointer as messages do: /turns/1/prompt is turns[1].prompt.
func fieldPath(p jsontext.Pointer) string {
	var b strings.Builder
	for t := range p.Tokens() {
		if _, err := strconv.ParseUint(t, 10, 32); err == nil {
			fmt.Fprintf(&b, "[%s]", t)
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(shorten(t))
	}
	if b.Len() == 0 {
		return "line"
	}
	return b.String()
}

// jsonKind says in words what a Go type is read from.
func jsonKind(t reflect.Type) string {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil {
		return "another value"
	}
	switch t.Kind() {
	case reflect.Int32, reflect.Int:
		return fmt.Sprintf("a whole number of %d bits", t.Bits())
	case reflect.String:
		return "a string"
	case reflect.Slice:
		return "a list"
	}
	return "an object"
}
