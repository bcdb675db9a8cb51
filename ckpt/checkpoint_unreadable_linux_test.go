package ckpt

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A checkpoint that cannot be read is not passed over for an older one: it may be good. Reading one's own memory at 0 is an error of
// input and output on Linux.
func TestLatestUnreadable(t *testing.T) {
	dir := t.TempDir()
	mustSave(t, dir, testCheckpoint(t, 1, 1, false, false))
	mustSave(t, dir, testCheckpoint(t, 2, 2, false, false))
	sums := filepath.Join(dir, checkpointsFolder, "step-000002", sumsFile)
	if err := os.Remove(sums); err != nil {
		t.Fatal(err)
	}
	if c, rejected, err := Latest(dir); err != nil || c.State.Step != 1 || len(rejected) != 1 {
		t.Fatalf("without its sums: %v, %v", rejected, err)
	}
	if err := os.Symlink("/proc/self/mem", sums); err != nil {
		t.Fatal(err)
	}
	if c, _, err := Latest(dir); err == nil || !strings.Contains(err.Error(), "it may be good") {
		t.Errorf("found %+v and error %v, expected none and one that says why", c, err)
	}
}
