package suite

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"afctl/ckpt"
	"afctl/flow/strictjson"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Limits of a file. They end the reading of a file that was never a suite of questions; none is near what suites hold.
const (
	maxFile = 4 << 30
	maxRows = 1 << 22
	maxLine = 64 << 20
)

// FileError says what is wrong with a file as a whole or with its rows.
type FileError struct {
	Path string
	Err  error
}

// Error implements error.
func (e *FileError) Error() string { return e.Path + ": " + e.Err.Error() }

// Unwrap gives the cause.
func (e *FileError) Unwrap() error { return e.Err }

// row is one record, with those of its columns that are read or refused: others, such as passages, would fill the memory. Values are string, number, bool, nil, []any and map[string]any.
type row struct {
	n      int // from 1
	fields map[string]any
}

// number is a number as it was written.
type number string

func readFile(path string) ([]row, error) {
	fail := func(err error) ([]row, error) { return nil, &FileError{Path: path, Err: err} }
	info, err := os.Stat(path) // first: a pipe would be waited for
	if err != nil {
		return nil, fmt.Errorf("suite: %w", err)
	}
	if err := ckpt.CheckRegular(info); err != nil {
		return fail(fmt.Errorf("%w: %w", ErrFormat, err))
	}
	if info.Size() > maxFile {
		return fail(fmt.Errorf("%w: found %d bytes, expected at most %d", ErrFormat, info.Size(), int64(maxFile)))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("suite: %w", err)
	}
	defer f.Close()
	var rows []row
	switch ext := strings.ToLower(filepath.Ext(path)); ext {
	case ".json":
		text := bufio.NewReaderSize(f, 1<<16)
		ckpt.SkipMark(text)
		rows, err = readJSON(text)
	case ".jsonl", ".ndjson":
		rows, err = readJSONL(f)
	case ".parquet":
		rows, err = readParquet(f, info.Size())
	default:
		err = fmt.Errorf("%w: found extension %q, expected one of %s", ErrFormat, ext, strings.Join(extensions, ", "))
	}
	if err != nil {
		return fail(err)
	}
	if len(rows) == 0 {
		return fail(fmt.Errorf("%w: found no rows, expected at least one", ErrFormat))
	}
	return rows, nil
}

// readJSON reads an array of objects. Keys are matched with their case; a key twice in an object is an error.
func readJSON(r io.Reader) ([]row, error) {
	d := jsontext.NewDecoder(r)
	open, err := d.ReadToken()
	if err != nil {
		return nil, jsonError(err, "file")
	}
	if open.Kind() != '[' {
		return nil, fmt.Errorf("%w: found %s at the start, expected an array of objects: [{...}, ...]", ErrFormat, strictjson.KindName(open.Kind()))
	}
	var rows []row
	for d.PeekKind() != ']' {
		if len(rows) == maxRows {
			return nil, errTooMany
		}
		value, err := d.ReadValue()
		if err != nil {
			return nil, fmt.Errorf("row %d: %w", len(rows)+1, jsonError(err, "file"))
		}
		one, err := readRow(value, len(rows)+1)
		if err != nil {
			return nil, err
		}
		rows = append(rows, one)
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, jsonError(err, "file")
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: found more after the array at byte %d, expected the end of the file", ErrFormat, d.InputOffset())
	}
	return rows, nil
}

var errTooMany = fmt.Errorf("%w: more than %d rows", ErrFormat, maxRows)

// jsonError says in words what is wrong with the JSON of a file, or of a line.
func jsonError(err error, whole string) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: the %s ends within a value: it is cut off", ErrFormat, whole)
	}
	var at *strictjson.Error
	if !errors.As(strictjson.Explain(err), &at) {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	pointer := at.Pointer
	if whole == "file" { // which is a list: the message has the row already
		_, inner, _ := strings.Cut(strings.TrimPrefix(string(pointer), "/"), "/")
		if pointer = ""; inner != "" {
			pointer = jsontext.Pointer("/" + inner)
		}
	}
	if pointer == "" {
		return fmt.Errorf("%w: %w", ErrFormat, at.Err)
	}
	return fmt.Errorf("%w: %w", ErrFormat, &strictjson.Error{Pointer: pointer, Offset: at.Offset, Err: at.Err})
}

// readJSONL reads one object a line; blank lines are skipped, but count.
func readJSONL(r io.Reader) ([]row, error) {
	lines := ckpt.NewLines(r, maxLine)
	var rows []row
	for {
		line, err := lines.Next()
		if err == io.EOF {
			return rows, nil
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w: %w", lines.N, ErrFormat, err)
		}
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		if len(rows) == maxRows {
			return nil, errTooMany
		}
		one, err := readRow(line, lines.N)
		if err != nil {
			return nil, err
		}
		rows = append(rows, one)
	}
}

func readRow(value []byte, n int) (row, error) {
	if jsontext.Value(value).Kind() != '{' {
		return row{}, fmt.Errorf("row %d: %w: found %s, expected an object {...}", n, ErrFormat, strictjson.KindName(jsontext.Value(value).Kind()))
	}
	var fields map[string]any
	if err := json.Unmarshal(value, &fields, json.WithUnmarshalers(keepNumbers)); err != nil {
		return row{}, fmt.Errorf("row %d: %w", n, jsonError(err, "line")) // in a list, it was read as JSON before
	}
	maps.DeleteFunc(fields, unread)
	return row{n: n, fields: fields}, nil
}

// keepNumbers reads a number as its text: 1.50 stays 1.50, and no digit of a large one is lost.
var keepNumbers = json.UnmarshalFromFunc(func(d *jsontext.Decoder, v *any) error {
	if d.PeekKind() != '0' {
		return errors.ErrUnsupported
	}
	t, err := d.ReadToken()
	if err == nil {
		*v = number(t.String())
	}
	return err
})
