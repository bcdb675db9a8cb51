package ckpt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// f32 makes a tensor of given bits.
func f32(name string, shape []int, bits []uint32) Tensor {
	data := make([]byte, 0, 4*len(bits))
	for _, b := range bits {
		data = binary.LittleEndian.AppendUint32(data, b)
	}
	return Tensor{Name: name, DType: F32, Shape: shape, Data: data}
}

// ramp makes a tensor of finite values that depend on seed.
func ramp(name string, seed, n int) Tensor {
	bits := make([]uint32, n)
	for i := range bits {
		bits[i] = math.Float32bits(float32(seed) + float32(i)/8)
	}
	return f32(name, []int{n}, bits)
}

// testCheckpoint is a small checkpoint of a step; content tells apart those of one step.
func testCheckpoint(t require, step, content int, full, inFlight bool) *Checkpoint {
	c := &Checkpoint{
		State: State{
			Step: step, PolicyVersion: step, AdamStep: step, ScheduleStep: step, Seed: math.MaxUint64, Data: DataCursor{Tasks: 4 * step},
			Base: BaseModel{Path: "/models/tiny", Hash: "0123"}, ConfigHash: fmt.Sprint(content),
			Engine: EngineIdentity{DType: "f32", Threads: 2, Backend: "cpu", Products: "own"},
		},
		Moments: []Tensor{ramp("a.exp_avg", content, 5), ramp("a.exp_avg_sq", content+1, 5)},
	}
	if full {
		c.Weights = []Tensor{ramp("w", content, 7), ramp("v", content+1, 3)}
		c.State.AdapterHash = HashTensors(c.Weights)
	} else {
		a, err := NewAdapter(tinyConfig(), 2, 4, []string{"q_proj", "down_proj"}, uint64(content), false)
		if err != nil {
			t.Fatal(err)
		}
		c.Adapter, c.State.AdapterHash = a, a.Hash()
	}
	if inFlight {
		c.State.Epoch = 1
		c.Update = []Tensor{f32("lo", []int{2}, []uint32{0x80000000, 0xbf800000}), f32("lr", []int{2}, []uint32{0x7fc00001, 0xffc00000})}
	}
	return c
}

// same says whether what was loaded is what was saved, to the bit.
func same(saved, loaded *Checkpoint) bool {
	type identity struct {
		state                    State
		adapter                  string
		config                   AdapterConfig
		weights, moments, update string
	}
	of := func(c *Checkpoint) identity {
		id := identity{state: c.State, weights: HashTensors(c.Weights), moments: HashTensors(c.Moments), update: HashTensors(c.Update)}
		id.state.Format = StateFormat
		if c.Adapter != nil {
			id.adapter, id.config = c.Adapter.Hash(), c.Adapter.Config
		}
		return id
	}
	return cmp.Equal(of(saved), of(loaded), cmp.AllowUnexported(identity{}), sameBits)
}

func mustSave(t *testing.T, dir string, c *Checkpoint) {
	t.Helper()
	if err := save(quickDisk{}, dir, c, 2); err != nil {
		t.Fatal(err)
	}
}

// Save then Latest gives the same bits, whatever the state and the values.
func TestCheckpointRoundTrip(t *testing.T) {
	parent := scratch(t)
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(parent, "run")
		if err != nil {
			rt.Fatal(err)
		}
		finiteBits := rapid.Map(rapid.Uint32(), func(b uint32) uint32 {
			if b&0x7f800000 == 0x7f800000 { // NaN or infinity
				b &^= 0x00800000
			}
			return b
		})
		fill := func(name string, gen *rapid.Generator[uint32], n int) []uint32 {
			return rapid.SliceOfN(gen, n, n).Draw(rt, name)
		}
		count := rapid.IntRange(0, math.MaxInt)
		step := rapid.IntRange(1, 10_000_000).Draw(rt, "step")
		want := testCheckpoint(rt, step, 1, rapid.Bool().Draw(rt, "full"), rapid.Bool().Draw(rt, "in flight"))
		want.State.Seed = rapid.Uint64().Draw(rt, "seed")
		want.State.Data = DataCursor{Tasks: count.Draw(rt, "tasks"), Epoch: count.Draw(rt, "data epoch")}
		want.State.AdamStep, want.State.SkippedSteps = count.Draw(rt, "adam"), count.Draw(rt, "skipped")
		want.State.Base.Path = rapid.String().Draw(rt, "path")
		n := rapid.IntRange(0, 6).Draw(rt, "elements")
		want.Moments = []Tensor{f32("p.exp_avg_sq", []int{n}, fill("v", finiteBits, n)), f32("p.exp_avg", []int{n}, fill("m", finiteBits, n))}
		if want.State.Epoch > 0 {
			want.Update = []Tensor{f32("lo", []int{n, 1}, fill("lo", rapid.Uint32(), n)), f32("lr", []int{1, n}, fill("lr", rapid.Uint32(), n))}
		}
		if want.Adapter != nil {
			for i := range want.Adapter.Modules {
				for _, values := range [][]float32{want.Adapter.Modules[i].A, want.Adapter.Modules[i].B} {
					values[0] = math.Float32frombits(finiteBits.Draw(rt, "adapter"))
				}
			}
			want.State.AdapterHash = want.Adapter.Hash()
		}
		if err := save(quickDisk{}, dir, want, rapid.IntRange(-1, 3).Draw(rt, "keep")); err != nil {
			rt.Fatal(err)
		}
		got, rejected, err := Latest(dir)
		if err != nil || len(rejected) > 0 {
			rt.Fatal(err, rejected)
		}
		if !same(want, got) {
			rt.Fatal(cmp.Diff(want, got, sameBits))
		}
	})
}

func TestCheckpointBytesAreDeterministic(t *testing.T) {
	var folders [2]map[string]string
	for i := range folders {
		dir := scratch(t)
		mustSave(t, dir, testCheckpoint(t, 12, 3, false, true))
		folders[i] = map[string]string{}
		for _, path := range glob(t, dir, "checkpoints/step-000012/*") {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			folders[i][filepath.Base(path)] = string(data)
		}
	}
	if d := cmp.Diff(folders[0], folders[1]); d != "" {
		t.Error(d)
	}
	if len(folders[0]) != 6 {
		t.Errorf("%d files, expected 6", len(folders[0]))
	}
}

func glob(t *testing.T, dir, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// Whatever fails and wherever everything stops, the run goes on from the checkpoint before or from the new one, and
// nothing that is half there is even looked at; and the next save works and leaves no trace of it.
func TestSaveSurvivesEveryFault(t *testing.T) {
	for _, scenario := range []struct {
		name        string
		full        bool
		step        int // saved over step 1 and 2
		wantFolders []string
	}{
		{"next step", false, 3, []string{"step-000002", "step-000003"}},
		{"same step again", true, 2, []string{"step-000001", "step-000002"}},
		{"earlier step", true, 1, []string{"step-000001"}},
	} {
		t.Run(scenario.name, func(t *testing.T) {
			before := testCheckpoint(t, 2, 20, scenario.full, false)
			after := testCheckpoint(t, scenario.step, 30, scenario.full, !scenario.full)
			setup := func(t *testing.T, dir string) {
				mustSave(t, dir, testCheckpoint(t, 1, 10, scenario.full, false))
				mustSave(t, dir, before)
			}
			run := func(d disk, dir string) error { return save(d, dir, after, 2) }
			forEachFault(t, setup, run, func(t *testing.T, dir string, d *faultyDisk, saveErr error) {
				got, rejected, err := Latest(dir)
				if err != nil || len(rejected) > 0 {
					t.Fatalf("error %v, rejected %v", err, rejected)
				}
				if !same(before, got) && !same(after, got) {
					t.Fatalf("step %d that is neither the old nor the new one", got.State.Step)
				}
				if saveErr == nil && !same(after, got) {
					t.Fatalf("no error, and step %d", got.State.Step)
				}
				if saveErr == nil || !strings.Contains(saveErr.Error(), "is saved") { // what retire leaves, the next save sweeps
					d.checkClean(t, dir)
				}
				mustSave(t, dir, after)
				if got, _, err := Latest(dir); err != nil || !same(after, got) {
					t.Fatalf("saved again: error %v", err)
				}
				var names []string
				for _, path := range glob(t, dir, "checkpoints/*") {
					names = append(names, filepath.Base(path))
				}
				names = append(names, leftovers(t, dir)...)
				if d := cmp.Diff(scenario.wantFolders, names); d != "" {
					t.Error(d)
				}
			})
		})
	}
}

// The first save of a run, which makes the folder of checkpoints: all of it, or none.
func TestFirstSaveSurvivesEveryFault(t *testing.T) {
	c := testCheckpoint(t, 1, 10, false, false)
	run := func(d disk, dir string) error { return save(d, dir, c, 2) }
	forEachFault(t, func(*testing.T, string) {}, run, func(t *testing.T, dir string, _ *faultyDisk, saveErr error) {
		got, rejected, err := Latest(dir)
		switch {
		case len(rejected) > 0 || err != nil && !errors.Is(err, ErrNoCheckpoint):
			t.Fatalf("error %v, rejected %v", err, rejected)
		case err != nil && saveErr == nil:
			t.Fatal("no error, and no checkpoint")
		case err == nil && !same(c, got):
			t.Fatal("another checkpoint")
		}
		mustSave(t, dir, c)
		if got, _, err := Latest(dir); err != nil || !same(c, got) {
			t.Fatalf("saved again: error %v", err)
		}
	})
}

// A save that was stopped as soon as it had made the folder of checkpoints has left it to the next one to make that durable.
func TestSaveIntoAFolderThatIsNotDurable(t *testing.T) {
	dir, c := scratch(t), testCheckpoint(t, 1, 10, false, false)
	d := newFaultyDisk(t, powerCut, 0)
	if err := d.mkdir(filepath.Join(dir, checkpointsFolder), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := save(d, dir, c, 2); err != nil {
		t.Fatal(err)
	}
	if d.stopped = true; len(d.undo) > 0 {
		t.Errorf("%d changes of folders would be gone after a power cut", len(d.undo))
	}
	d.settle()
	if got, _, err := Latest(dir); err != nil || !same(c, got) {
		t.Errorf("after a power cut: error %v", err)
	}
}

// What must not be loaded is not saved, and nothing is written.
func TestSaveRefuses(t *testing.T) {
	for name, spoil := range map[string]func(c *Checkpoint){
		"adapter_hash":   func(c *Checkpoint) { c.State.AdapterHash = "" },
		"an adapter or":  func(c *Checkpoint) { c.Weights = []Tensor{ramp("w", 1, 2)} },
		"a.exp_avg_sq":   func(c *Checkpoint) { c.Moments = c.Moments[:1] },
		"with shape [5]": func(c *Checkpoint) { c.Moments[1] = ramp("a.exp_avg_sq", 1, 4) },
		"ends in":        func(c *Checkpoint) { c.Moments[0].Name = "a" },
		"expected F32":   func(c *Checkpoint) { c.Moments[0].DType = BF16 },
		"NaN":            func(c *Checkpoint) { c.Moments[0] = f32("a.exp_avg", []int{5}, []uint32{0, 0, 0x7fc00000, 0, 0}) },
		"inner epochs":   func(c *Checkpoint) { c.Update = nil },
		"step: found -1": func(c *Checkpoint) { c.State.Step = -1 },
		"skipped_steps":  func(c *Checkpoint) { c.State.SkippedSteps = -1 },
		`tensor "ls", one of 2: expected lo and lr`: func(c *Checkpoint) { c.Update[1].Name = "ls" },
		`tensor "lo", one of 2`:                     func(c *Checkpoint) { c.Update[1].Name = "lo" },
		`tensor "lo", one of 1`:                     func(c *Checkpoint) { c.Update = c.Update[:1] },
		`tensor "lr": found BF16`:                   func(c *Checkpoint) { c.Update[1].DType = BF16 },
		"lora_A": func(c *Checkpoint) {
			c.Adapter.Modules[0].A[0] = float32(math.NaN())
			c.State.AdapterHash = c.Adapter.Hash()
		},
	} {
		dir := scratch(t)
		c := testCheckpoint(t, 5, 1, false, true)
		spoil(c)
		if err := Save(dir, c, 2); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v", name, err)
		}
		if _, _, err := Latest(dir); !errors.Is(err, ErrNoCheckpoint) {
			t.Errorf("%s: error %v, expected no checkpoint", name, err)
		}
		if left := leftovers(t, dir); len(left) > 0 {
			t.Errorf("%s: left behind: %v", name, left)
		}
	}
	if err := Save(filepath.Join(t.TempDir(), "nowhere"), testCheckpoint(t, 5, 1, false, false), 2); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no run folder: error %v", err)
	}
}

// The newest keep stay, in the order of numbers and not of names.
func TestSaveKeepsTheNewest(t *testing.T) {
	dir := scratch(t)
	for _, step := range []int{5, 999_998, 999_999, 1_000_000, 1_000_001} {
		if err := Save(dir, testCheckpoint(t, step, step, false, false), 3); err != nil {
			t.Fatal(err)
		}
	}
	var names []string
	for _, path := range glob(t, dir, "checkpoints/*") {
		names = append(names, filepath.Base(path))
	}
	if d := cmp.Diff([]string{"step-1000000", "step-1000001", "step-999999"}, names); d != "" {
		t.Error(d)
	}
	if got, _, err := Latest(dir); err != nil || got.State.Step != 1_000_001 {
		t.Errorf("error %v", err)
	}
}

// A damaged checkpoint does not take the place of the good one that a resume went on from; once there are enough good ones, it goes with the rest.
func TestSaveKeepsGoodOnes(t *testing.T) {
	dir := scratch(t)
	mustSave(t, dir, testCheckpoint(t, 10, 10, false, false))
	mustSave(t, dir, testCheckpoint(t, 20, 20, false, false))
	damaged := filepath.Join(dir, checkpointsFolder, "step-000020", optimizerFile)
	data, err := os.ReadFile(damaged)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-1] ^= 1
	if err := os.Chmod(damaged, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(damaged, data, 0o644); err != nil {
		t.Fatal(err)
	}
	if c, rejected, err := Latest(dir); err != nil || c.State.Step != 10 || len(rejected) != 1 {
		t.Fatalf("latest: %v, %v", rejected, err)
	}
	for _, after := range []struct {
		step int
		want []string
	}{{30, []string{"step-000010", "step-000020", "step-000030"}}, {40, []string{"step-000030", "step-000040"}}} {
		mustSave(t, dir, testCheckpoint(t, after.step, after.step, false, false))
		var names []string
		for _, path := range glob(t, dir, "checkpoints/*") {
			names = append(names, filepath.Base(path))
		}
		if d := cmp.Diff(after.want, names); d != "" {
			t.Errorf("after step %d: %s", after.step, d)
		}
	}
}

// A save that was stopped between its checkpoint and the removal of older ones is finished by Tidy.
func TestTidyFinishesASave(t *testing.T) {
	dir := scratch(t)
	for step := 1; step <= 5; step++ {
		if err := Save(dir, testCheckpoint(t, step, step, false, false), 5); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, checkpointsFolder, tempPrefix+"left"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := Tidy(dir, 4, 2); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, path := range append(glob(t, dir, "checkpoints/*"), glob(t, dir, "checkpoints/.*")...) {
		names = append(names, filepath.Base(path))
	}
	if d := cmp.Diff([]string{"step-000003", "step-000004"}, names); d != "" {
		t.Error(d)
	}
}

// TestTidyKeepsTheOneSetAside: a save that was cut between its two renames leaves the last good checkpoint set aside, alone or beside a damaged one; it
// is kept until there is a good one in its place.
func TestTidyKeepsTheOneSetAside(t *testing.T) {
	for _, damaged := range []bool{false, true} {
		dir := scratch(t)
		for step := 1; step <= 3; step++ {
			if err := Save(dir, testCheckpoint(t, step, step, false, false), 2); err != nil {
				t.Fatal(err)
			}
		}
		last := filepath.Join(dir, checkpointsFolder, "step-000003")
		if damaged {
			if err := os.CopyFS(last+asideSuffix, os.DirFS(last)); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(filepath.Join(last, stateFile), 3); err != nil {
				t.Fatal(err)
			}
		} else if err := os.Rename(last, last+asideSuffix); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			c, _, err := Latest(dir)
			if err != nil || c.State.Step != 3 {
				t.Fatalf("damaged %v: %+v, %v; expected step 3", damaged, c, err)
			}
			if err := Tidy(dir, 3, 2); err != nil {
				t.Fatal(err)
			}
		}
		if err := Save(dir, testCheckpoint(t, 3, 3, false, false), 2); err != nil {
			t.Fatal(err)
		}
		if left := glob(t, dir, "checkpoints/*"+asideSuffix); len(left) > 0 {
			t.Errorf("damaged %v: %v left", damaged, left)
		}
	}
}

func FuzzState(f *testing.F) {
	good, err := testCheckpoint(f, 8, 2, true, true).State.marshal()
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{string(good), `{"format":1}`, `{"format":99,"new":{}}`, `{"format":1,"format":1}`, `{"FORMAT":1}`, "[]", ""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parseState(stateFile, data)
		if err != nil {
			return
		}
		again, err := s.marshal()
		if err != nil {
			t.Fatal(err)
		}
		if s2, err := parseState(stateFile, again); err != nil || s2 != s {
			t.Fatalf("%+v read back as %+v, error %v", s, s2, err)
		}
	})
}

func FuzzSums(f *testing.F) {
	line := strings.Repeat("0123456789abcdef", 4) + "  state.json\n"
	for _, s := range []string{line, line + line, line[1:], strings.ToUpper(line), line + "x", "", "\n",
		line[:66] + "../state.json\n", line[:66] + "a/state.json\n", line[:66] + "\n", line[:66] + sumsFile + "\n", line[:64] + "zz" + line[64:]} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		sums, err := parseSums(sumsFile, data)
		if err != nil {
			return
		}
		for name, sum := range sums {
			if name == "" || name == sumsFile || name != filepath.Base(name) || len(sum) != 64 || !bytes.Contains(data, []byte(sum+"  "+name+"\n")) {
				t.Fatalf("%q: %q", name, sum)
			}
		}
	})
}

// Whether an old checkpoint is good is found without room for its tensors.
func TestIsSoundTakesNoMemory(t *testing.T) {
	const n = 1 << 20
	c := testCheckpoint(t, 8, 2, true, false)
	c.Weights = []Tensor{ramp("w", 2, n)}
	c.State.AdapterHash = HashTensors(c.Weights)
	run := scratch(t)
	mustSave(t, run, c)
	path := filepath.Join(run, "checkpoints", "step-000008")
	taken := func(want bool) uint64 {
		sound.Delete(path)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if isSound(path) != want {
			t.Errorf("sound: %v, expected %v", !want, want)
		}
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	if bytes := taken(true); bytes > n {
		t.Errorf("%d bytes allocated for tensors of %d", bytes, 4*n)
	}
	f, err := os.OpenFile(filepath.Join(path, weightsFile), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{1}, 4*n); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	taken(false)
}
