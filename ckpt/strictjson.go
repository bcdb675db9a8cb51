package ckpt

import (
	"bytes"
	"errors"
	"fmt"

	"afctl/flow/strictjson"

	"github.com/go-json-experiment/json/jsontext"
)

// DecodeJSON reads one JSON value from data, the content of a file from outside, into v as strictjson.Decode does, a byte order mark aside. Every
// error names file, line, column and, where there is one, the JSON pointer of the culprit.
func DecodeJSON(file string, data []byte, v any, unknown strictjson.Unknown) error {
	return DecodeJSONLine(file, 1, bytes.TrimPrefix(data, []byte(ByteOrderMark)), v, unknown)
}

// DecodeJSONLine is DecodeJSON for one line of a file, counted from 1.
func DecodeJSONLine(file string, line int, data []byte, v any, unknown strictjson.Unknown) error {
	data = bytes.TrimRight(data, "\r\n") // so that a torn line is not said to end on the next one
	return jsonError(file, line, data, strictjson.Decode(data, v, unknown))
}

// jsonError puts file, line and column before an error of reading JSON; nil stays nil. data begin with the file's line of that number.
func jsonError(file string, line int, data []byte, err error) error {
	var at *strictjson.Error
	if !errors.As(strictjson.Explain(err), &at) {
		return err
	}
	where := file
	if at.Offset >= 0 && at.Offset <= int64(len(data)) {
		head := data[:at.Offset]
		column := len(head) - bytes.LastIndexByte(head, '\n')
		where = fmt.Sprintf("%s:%d:%d", file, line+bytes.Count(head, []byte("\n")), column)
	}
	if at.Pointer != "" {
		return fmt.Errorf("%s: %.100s: %w", where, at.Pointer, at.Err)
	}
	return fmt.Errorf("%s: %w", where, at.Err)
}

// compactValues takes the white space out of values that messages quote: a file may have them on many lines.
func compactValues(object map[string]jsontext.Value) {
	for key, value := range object {
		value.Compact()
		object[key] = value
	}
}
