package cpu

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"afctl/kernels"
)

// TestOthersGetATurn: an operation that ends when a turn is due lets a goroutine run that waits for the only processor.
func TestOthersGetATurn(t *testing.T) {
	b, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	x, err := b.Alloc(kernels.F32, 1, 16)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Free(x)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var ran atomic.Bool
	go ran.Store(true)
	for range 3 { // the scheduler may give the turn back once
		b.yielded = time.Now().Add(-yieldEvery)
		if err := b.Zero(x); err != nil {
			t.Fatal(err)
		}
	}
	if !ran.Load() {
		t.Error("no other goroutine ran though its turn was due")
	}
}
