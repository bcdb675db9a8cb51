package suite

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"github.com/parquet-go/parquet-go"
)

// check: whatever bytes are read, rows become tasks with distinct IDs or an error of a kind, never a panic.
func check(t *testing.T, rows []row, err error) {
	if err == nil {
		seen := map[string]bool{}
		tasks, e := Reader{}.tasks("s", rows)
		for _, task := range tasks {
			if e == nil && (seen[task.ID] || task.Question == "" || len(task.Answers) == 0 || task.Scorer == "") {
				t.Fatalf("unusable task %+v", task)
			}
			seen[task.ID] = true
		}
		err = e
	}
	if err != nil && !errors.Is(err, ErrFormat) && !errors.Is(err, ErrDuplicate) {
		t.Fatalf("an error of no kind: %v", err)
	}
}

func FuzzJSON(f *testing.F) {
	for _, name := range []string{"2wiki.json", "aime24.json", "gameof24.json", "gpqa.json", "hotpotqa.json", "medqa/data/data.json"} {
		data, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`[{"question":[1,2],"answer":1e400}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		rows, err := readJSON(bytes.NewReader(data))
		check(t, rows, err)
	})
}

func FuzzJSONL(f *testing.F) {
	data, err := os.ReadFile("testdata/mixed.jsonl")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte("{\"options\":{\"A\":\"x\"},\"answer_idx\":0,\"query\":\"q\"}\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		rows, err := readJSONL(bytes.NewReader(data))
		check(t, rows, err)
	})
}

func FuzzParquet(f *testing.F) {
	type r struct {
		Question string   `parquet:"question"`
		Answers  []string `parquet:"answers,list"`
	}
	var b bytes.Buffer
	w := parquet.NewGenericWriter[r](&b)
	if _, err := w.Write([]r{{"q", []string{"a"}}, {"r", []string{"b", "c"}}}); err != nil {
		f.Fatal(err)
	}
	if err := w.Close(); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte("PAR1PAR1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		rows, err := readParquet(bytes.NewReader(data), int64(len(data)))
		check(t, rows, err)
	})
}
