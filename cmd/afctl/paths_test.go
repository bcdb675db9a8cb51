package main

import (
	"os/exec"
	"strings"
	"testing"
)

// A path in a command that is told to be run is one word of it, and stands as it is where it can.
func TestShellWord(t *testing.T) {
	for path, plain := range map[string]bool{"runs/first-2": true, "läufe/1": true, "my runs/first": false, "it's": false, `a"b$c`: false, "~x": false, "": false, "a\\b*": false, "a\nb": false} {
		word := shellWord(path)
		if (word == path) != plain {
			t.Errorf("%q became %s", path, word)
		}
		out, err := exec.Command("sh", "-c", "printf %s "+word).Output()
		if err != nil || string(out) != path {
			t.Errorf("a shell takes %s for %q (%v), expected %q", word, out, err, path)
		}
	}
	if err := fullCheckpointError("model", "my runs/c"); !strings.Contains(err.Error(), "--adapter 'my runs/c' --to") {
		t.Error(err)
	}
}
