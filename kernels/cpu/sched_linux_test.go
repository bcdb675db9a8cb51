package cpu

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

// TestThreadsAreBatchWork: once there is a back end, no thread of the process is left whose waking interrupts one that computes.
func TestThreadsAreBatchWork(t *testing.T) {
	const batch = 3 // SCHED_BATCH
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var priority int32
	if _, _, no := syscall.Syscall(syscall.SYS_SCHED_SETSCHEDULER, 0, batch, uintptr(unsafe.Pointer(&priority))); no != 0 {
		t.Skipf("this system refuses the policy SCHED_BATCH: %v", no)
	}
	b, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	tasks, err := filepath.Glob("/proc/self/task/*/stat")
	if err != nil || len(tasks) == 0 {
		t.Skipf("no /proc/self/task: %v", err)
	}
	const policy, normal = 41 - 3, "0" // proc(5): the 41st field; the second, in parentheses, may hold spaces
	for _, task := range tasks {
		stat, err := os.ReadFile(task)
		if err != nil {
			continue // it ended
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		if f := strings.Fields(rest); f[policy] == normal {
			t.Errorf("%s: found policy %s (SCHED_OTHER), expected SCHED_BATCH", task, f[policy])
		}
	}
}
