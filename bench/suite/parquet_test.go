package suite

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
)

// parquetFile writes rows into a file.
func parquetFile[R any](t *testing.T, rows []R, options ...parquet.WriterOption) string {
	t.Helper()
	var b bytes.Buffer
	w := parquet.NewGenericWriter[R](&b, options...)
	if _, err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "t.parquet")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A column of ours that holds days, times or other things that are no text, number or boolean is refused by its name and type; others may hold anything.
func TestParquetTypes(t *testing.T) {
	type day struct {
		Question string `parquet:"question"`
		Answer   int32  `parquet:"answer,date"`
	}
	type moment struct {
		Question string  `parquet:"question"`
		Answers  []int64 `parquet:"golden_answers,list" parquet-element:",timestamp(microsecond)"`
	}
	type price struct {
		Question string `parquet:"question"`
		Answer   int64  `parquet:"answer,decimal(2:12)"`
	}
	for file, want := range map[string]string{
		parquetFile(t, []day{{"When?", -165}}):                                "column answer: found DATE",
		parquetFile(t, []moment{{"When?", []int64{12}}}):                      "column golden_answers: found TIMESTAMP",
		parquetFile(t, []price{{"How much?", 1250}}):                          "column answer: found DECIMAL(12,2)",
		parquetFile(t, []day{{"q", 1}}, parquet.Compression(&parquet.Lz4Raw)): "column question is compressed by LZ4, expected snappy",
	} {
		if _, err := plainReader.Load(file); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), want) {
			t.Errorf("found %v, expected %q", err, want)
		}
	}
	type bytes struct {
		Question string   `parquet:"question"`
		Options  []string `parquet:"options,list"`
		Answer   string   `parquet:"answer"`
	}
	for column, file := range map[string]string{
		"options":  parquetFile(t, []bytes{{"Which?", []string{"a", "b"}, "a"}, {"Which?", []string{"\xff\xfe", "b"}, "b"}}),
		"question": parquetFile(t, []bytes{{"Which?", []string{"a", "b"}, "a"}, {"Which\xff?", []string{"a", "b"}, "b"}}),
	} {
		if _, err := plainReader.Load(file); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "row 2: ") || !strings.Contains(err.Error(), "column "+column+": found bytes that are not UTF-8") {
			t.Errorf("%s: %v", column, err)
		}
	}
	type row struct {
		Question string   `parquet:"question"`
		Answer   *float64 `parquet:"answer,optional"`
		Day      int32    `parquet:"day,date"`
	}
	rose, sky, half := "rose", "sky", 0.5
	for _, codec := range []parquet.WriterOption{parquet.Compression(&parquet.Uncompressed), parquet.Compression(&parquet.Snappy), parquet.Compression(&parquet.Gzip), parquet.Compression(&parquet.Zstd), parquet.Compression(&parquet.Brotli)} {
		s, err := plainReader.Load(parquetFile(t, []row{{"Which is half?", &half, 7}}, codec))
		if err != nil || !slices.Equal(s.Tasks[0].Answers, []string{"0.5"}) {
			t.Errorf("%+v, %v", s, err)
		}
	}
	type coloured struct {
		Question string             `parquet:"question"`
		Answer   string             `parquet:"answer"`
		Options  map[string]*string `parquet:"options"`
	}
	s, err := plainReader.Load(parquetFile(t, []coloured{{"Which is red?", "A", map[string]*string{"A": &rose, "B": &sky}}}))
	if err != nil || !slices.Equal(s.Tasks[0].Choices, []string{"rose", "sky"}) || !strings.HasSuffix(s.Tasks[0].Question, "A. rose\nB. sky") {
		t.Errorf("%+v, %v", s, err)
	}
}
