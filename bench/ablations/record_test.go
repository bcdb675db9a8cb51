package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestRecordIsStrict (trap 33): a key in another case, twice, or of another program is none of a record's.
func TestRecordIsStrict(t *testing.T) {
	dir := t.TempDir()
	for text, good := range map[string]bool{
		`{"arm":"a","seed":1}`: true, `{"arm":"a","Seed":1}`: false, `{"arm":"a","seed":1,"seed":1}`: false, `{"arm":"a","sed":1}`: false,
	} {
		if err := os.WriteFile(filepath.Join(dir, recordFile), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := readRecord(dir); (err == nil) != good {
			t.Errorf("%s: error %v", text, err)
		}
	}
}
