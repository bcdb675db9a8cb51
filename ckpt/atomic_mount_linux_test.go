package ckpt

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// An empty folder that another disk is mounted at is refused before any work; one of an overlay's lower layer, which cannot be moved but
// replaced, is not.
func TestWriteDirOnMounts(t *testing.T) {
	disk := t.TempDir()
	mount := func(kind, at, options string) {
		t.Helper()
		if err := unix.Mount(kind, at, kind, 0, options); err != nil {
			t.Skipf("no right to mount a %s: %v", kind, err)
		}
		t.Cleanup(func() {
			if err := unix.Unmount(at, 0); err != nil {
				t.Error(err)
			}
		})
	}
	write := func(d *DirWriter) error {
		f, err := d.Create("f")
		if err == nil {
			_, err = io.WriteString(f, "content")
		}
		return err
	}
	mount("tmpfs", disk, "")
	worked := false
	err := WriteDirAtomic(disk, func(*DirWriter) error { worked = true; return nil })
	if !errors.Is(err, unix.EBUSY) || worked {
		t.Errorf("a mount point: error %v, expected EBUSY before any work", err)
	}
	at := func(name string) string { return filepath.Join(disk, name) }
	for _, name := range []string{"lower", "lower/out", "upper", "work", "all"} {
		if err := os.Mkdir(at(name), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	mount("overlay", at("all"), fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", at("lower"), at("upper"), at("work")))
	if err := WriteDirAtomic(at("all/out"), write); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(at("all/out/f")); err != nil || string(text) != "content" {
		t.Errorf("%q, %v", text, err)
	}
}
