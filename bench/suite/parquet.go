package suite

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// readParquet reads all rows of a parquet file.
func readParquet(f io.ReaderAt, size int64) (rows []row, err error) {
	// The library panics on some malformed files; what it says is the best account of what is wrong.
	defer func() {
		if p := recover(); p != nil {
			rows, err = nil, fmt.Errorf("%w: not a readable parquet file: %v", ErrFormat, p)
		}
	}()
	if err := checkFooter(f, size); err != nil {
		return nil, err
	}
	file, err := parquet.OpenFile(f, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return nil, fmt.Errorf("%w: not a readable parquet file: %w", ErrFormat, err)
	}
	if err := readable(file); err != nil {
		return nil, err
	}
	if file.NumRows() > maxRows {
		return nil, errTooMany
	}
	if file.NumRows() == 0 {
		return nil, nil // the library's reader would seek in what is not there
	}
	reader := parquet.NewReader(file)
	defer func() { err = errors.Join(err, reader.Close()) }()
	for n := 1; ; n++ {
		fields := make(map[string]any)
		if err := reader.Read(&fields); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("row %d: %w: %w", n, ErrFormat, err)
		}
		maps.DeleteFunc(fields, unread)
		for k, v := range fields {
			if fields[k] = plain(v); !isText(fields[k]) {
				return nil, fmt.Errorf("row %d: %w: column %s: found bytes that are not UTF-8, expected text", n, ErrFormat, k)
			}
		}
		rows = append(rows, row{n: n, fields: fields})
	}
	if int64(len(rows)) != file.NumRows() {
		return nil, fmt.Errorf("%w: found %d rows, the file's footer says %d: it is damaged", ErrFormat, len(rows), file.NumRows())
	}
	return rows, nil
}

// checkFooter makes sure that the footer lies within the file: the library allocates whatever length it is told.
func checkFooter(f io.ReaderAt, size int64) error {
	const magic = "PAR1"
	var tail [8]byte // the footer's length, the magic
	if size < int64(len(magic)+len(tail)) {
		return fmt.Errorf("%w: found %d bytes: too short for a parquet file", ErrFormat, size)
	}
	if _, err := f.ReadAt(tail[:], size-int64(len(tail))); err != nil {
		return err
	}
	if string(tail[4:]) != magic {
		return fmt.Errorf("%w: found no %s at the end: not a parquet file, or cut off", ErrFormat, magic)
	}
	if n := int64(binary.LittleEndian.Uint32(tail[:4])); n > size-int64(len(magic)+len(tail)) {
		return fmt.Errorf("%w: found a footer of %d bytes in a parquet file of %d: it is damaged", ErrFormat, n, size)
	}
	return nil
}

// readable refuses what would not come out as what it says: columns of ours that hold other types than text, numbers and booleans, or lists and
// maps of these, and LZ4, whose damaged blocks the library takes ever more memory for.
func readable(file *parquet.File) error {
	for _, g := range file.Metadata().RowGroups {
		for _, c := range g.Columns {
			if c.MetaData.Codec == format.Lz4Raw || c.MetaData.Codec == format.Lz4 {
				return fmt.Errorf("%w: column %s is compressed by LZ4, expected snappy, zstd, gzip, brotli or none", ErrFormat, strings.Join(c.MetaData.PathInSchema, "."))
			}
		}
	}
	for _, f := range file.Schema().Fields() {
		if unread(f.Name(), nil) {
			continue
		}
		if kind := unreadable(f); kind != "" {
			return fmt.Errorf("%w: column %s: found %s, expected text, numbers, booleans, or lists of these", ErrFormat, f.Name(), kind)
		}
	}
	return nil
}

// unreadable names the first type within a column that is neither text nor a number nor a boolean; empty for none.
func unreadable(n parquet.Node) string {
	if !n.Leaf() {
		for _, f := range n.Fields() {
			if kind := unreadable(f); kind != "" {
				return kind
			}
		}
		return ""
	}
	if n.Type().Kind() == parquet.Int96 {
		return "INT96"
	}
	logical := n.Type().LogicalType()
	if logical == nil || logical.Value == nil {
		return ""
	}
	switch logical.Value.(type) {
	case *format.StringType, *format.EnumType, *format.JsonType, *format.IntType, *format.NullType:
		return ""
	}
	return logical.String()
}

// isText reports whether all text in a plain value is UTF-8: parquet does not promise it.
func isText(v any) bool {
	switch v := v.(type) {
	case string:
		return utf8.ValidString(v)
	case []any:
		return !slices.ContainsFunc(v, func(e any) bool { return !isText(e) })
	case map[string]any:
		for k, e := range v {
			if !utf8.ValidString(k) || !isText(e) {
				return false
			}
		}
	}
	return true
}

// plain brings parquet's values to those of a row.
func plain(v any) any {
	switch v := v.(type) {
	case nil, string, bool:
		return v
	case []byte:
		return string(v)
	case int, int8, int16, int32, int64, uint8, uint16, uint32, uint64, float32, float64:
		return number(fmt.Sprint(v))
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
		return v
	case map[string]any:
		for k := range v {
			v[k] = plain(v[k])
		}
		return v
	}
	if p := reflect.ValueOf(v); p.Kind() == reflect.Pointer { // an optional value of a map
		if p.IsNil() {
			return nil
		}
		return plain(p.Elem().Interface())
	}
	return fmt.Sprint(v)
}
