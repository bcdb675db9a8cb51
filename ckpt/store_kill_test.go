package ckpt

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"afctl/flow"
)

// storeChild stores rollouts from several goroutines until it is killed, and prints the sample of each that was
// acknowledged.
func storeChild(path string) int {
	ctx := context.Background()
	s, err := OpenStore(ctx, path)
	if err == nil {
		err = s.PutTasks(ctx, []flow.Task{{ID: "q"}})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := 0; ; i += 4 {
				r := trajectory("g", worker+i, 0, "h", 1)
				r.Turns[0].Prompt = make([]int32, 300)
				if err := s.PutTrajectory(ctx, 1, PhaseTrain, r); err != nil {
					fmt.Fprintln(os.Stderr, err)
					return
				}
				fmt.Printf("%d\n", r.Sample) // one write
			}
		})
	}
	wg.Wait()
	return 1
}

// No rollout that was acknowledged is lost when the process is killed.
func TestStoreSurvivesKill(t *testing.T) {
	for _, wait := range []time.Duration{0, 30 * time.Millisecond, 150 * time.Millisecond} {
		path := filepath.Join(t.TempDir(), StoreFile)
		child, lines := startChild(t, "store", path)
		acknowledged := map[int]bool{}
		read := func() bool {
			if !lines.Scan() {
				return false
			}
			var sample int
			if _, err := fmt.Sscan(lines.Text(), &sample); err == nil { // the last line may be cut
				acknowledged[sample] = true
			}
			return true
		}
		read()
		time.AfterFunc(wait, func() { child.Process.Kill() })
		for read() {
		}
		child.Wait()

		s, err := OpenStore(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		var verdict string
		if err := s.read.QueryRow("PRAGMA integrity_check").Scan(&verdict); err != nil || verdict != "ok" {
			t.Errorf("integrity: %q, %v", verdict, err)
		}
		stored := collect(t, s.Trajectories(t.Context(), Query{}))
		for _, r := range stored {
			if len(r.Turns) != 1 || len(r.Turns[0].Prompt) != 300 || len(r.Steps) != 1 {
				t.Errorf("sample %d is not whole", r.Sample)
			}
			delete(acknowledged, r.Sample)
		}
		if len(acknowledged) > 0 || len(stored) == 0 {
			t.Errorf("killed after %v: %d stored, acknowledged and lost: %v", wait, len(stored), acknowledged)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
