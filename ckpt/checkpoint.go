package ckpt

import (
	"cmp"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Names in a run folder. FORMAT.md specifies what they hold.
const (
	checkpointsFolder = "checkpoints"
	checkpointPrefix  = "step-"
	asideSuffix       = ".old"

	stateFile     = "state.json"
	optimizerFile = "optimizer.safetensors"
	updateFile    = "update.safetensors"
	sumsFile      = "SHA256SUMS"
)

// Suffixes of a parameter's tensors in Checkpoint.Moments, PyTorch's words for Adam's m and v.
const (
	FirstMoment  = ".exp_avg"
	SecondMoment = ".exp_avg_sq"
)

// Names of the tensors of an update in flight: its old and reference log-probs, by target.
const (
	UpdateLo = "lo"
	UpdateLr = "lr"
)

// MinKeep is how many checkpoints are kept at least: should the newest one be damaged where it lies, there is another.
const MinKeep = 2

// ErrNoCheckpoint says that a run folder has no checkpoint that can be used.
var ErrNoCheckpoint = errors.New("no checkpoint")

// Checkpoint is a run's state and its tensors.
type Checkpoint struct {
	State   State
	Adapter *Adapter // what is trained: an adapter,
	Weights []Tensor // or all weights, F32. One of the two is nil
	// Moments are Adam's, F32: of each trained parameter NAME, tensors NAME.exp_avg and NAME.exp_avg_sq of one shape.
	Moments []Tensor
	// Update is what an update in flight holds constant, such as lo and lr, F32; nil between updates (State.Epoch 0).
	Update []Tensor
}

// HashTensors identifies tensors by names, dtypes, shapes and bits, in their order: SHA-256 in hex.
func HashTensors(tensors []Tensor) string {
	return sumSHA256(func(h hash.Hash) {
		for _, t := range tensors {
			hashString(h, t.Name)
			hashString(h, string(t.DType))
			hashUint(h, uint64(len(t.Shape)))
			for _, n := range t.Shape {
				hashUint(h, uint64(n))
			}
			h.Write(t.Data)
		}
	})
}

// check says whether the parts belong together. It holds for what is saved and for what is loaded.
func (c *Checkpoint) check() error {
	if err := c.State.check(); err != nil {
		return err
	}
	if (c.Adapter == nil) == (c.Weights == nil) {
		return errors.New("expected an adapter or weights, and not both")
	}
	trained := HashTensors(c.Weights)
	if c.Adapter != nil {
		trained = c.Adapter.Hash()
	}
	if trained != c.State.AdapterHash {
		return fmt.Errorf("state: adapter_hash: found %q, expected %s: the tensors are not those of the state", c.State.AdapterHash, trained)
	}
	for _, t := range slices.Concat(c.Weights, c.Moments) {
		if t.DType != F32 {
			return fmt.Errorf("tensor %.100q: found %s, expected %s", t.Name, t.DType, F32)
		}
		if err := CheckFinite(t); err != nil {
			return err
		}
	}
	if err := checkMoments(c.Moments); err != nil {
		return err
	}
	if inFlight := c.State.Epoch > 0; inFlight != (len(c.Update) > 0) {
		return fmt.Errorf("%d inner epochs done of an update, with %d of its tensors: expected both or none", c.State.Epoch, len(c.Update))
	}
	return checkUpdate(c.Update)
}

// checkUpdate says whether the tensors of an update in flight, if there are any, are lo and lr.
func checkUpdate(update []Tensor) error {
	for i, t := range update { // not finite where the model's log-probs were not: its step was skipped
		switch {
		case t.DType != F32:
			return fmt.Errorf("tensor %.100q: found %s, expected %s", t.Name, t.DType, F32)
		case len(update) != 2 || t.Name != UpdateLo && t.Name != UpdateLr || t.Name == update[1-i].Name:
			return fmt.Errorf("tensor %.100q, one of %d: expected %s and %s", t.Name, len(update), UpdateLo, UpdateLr)
		}
	}
	return nil
}

// checkMoments says whether every parameter has both moments, of one shape.
func checkMoments(moments []Tensor) error {
	shapes := make(map[string][]int, len(moments))
	for _, t := range moments {
		shapes[t.Name] = t.Shape
	}
	for _, t := range moments {
		name, first := strings.CutSuffix(t.Name, FirstMoment)
		other := name + SecondMoment
		if !first {
			var second bool
			if name, second = strings.CutSuffix(t.Name, SecondMoment); !second {
				return fmt.Errorf("tensor %.100q: expected a name that ends in %s or %s", t.Name, FirstMoment, SecondMoment)
			}
			other = name + FirstMoment
		}
		if shape, ok := shapes[other]; !ok || !slices.Equal(shape, t.Shape) {
			return fmt.Errorf("tensor %.100q: expected tensor %.100q with shape %v beside it", t.Name, other, t.Shape)
		}
	}
	return nil
}

// Save writes a checkpoint into the run folder, as checkpoints/step-NNNNNN by its step, and when that is durable drops
// the older ones but the newest keep good ones (MinKeep at least), and all of later steps, which a resume has left behind. When it
// returns an error, whatever it is, the run's last good checkpoint can still be loaded. The bytes depend on c alone.
//
// The caller holds the run folder's lock: what a save that was stopped has left there is removed first.
func Save(runDir string, c *Checkpoint, keep int) error { return save(realDisk{}, runDir, c, keep) }

func save(d disk, runDir string, c *Checkpoint, keep int) error {
	if err := c.check(); err != nil {
		return fmt.Errorf("save checkpoint of step %d: %w", c.State.Step, err)
	}
	dir := filepath.Join(runDir, checkpointsFolder)
	if err := d.mkdir(dir, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("save checkpoint: %w", err)
	}
	if err := d.syncDir(runDir); err != nil { // also where the folder is there: a save that made it may have been stopped before this
		return fmt.Errorf("save checkpoint: fsync %s: %w", runDir, err)
	}
	if err := sweep(d, dir); err != nil {
		return fmt.Errorf("save checkpoint: remove what an earlier save left: %w", err)
	}
	path := filepath.Join(dir, fmt.Sprintf("%s%06d", checkpointPrefix, c.State.Step))
	if err := writeDir(d, path, c.write, func(temp string) error { return replaceDir(d, temp, path) }); err != nil {
		return fmt.Errorf("save checkpoint: %w", err)
	}
	rememberSound(path)
	if err := retire(d, dir, c.State.Step, max(keep, MinKeep)); err != nil {
		return fmt.Errorf("checkpoint %s is saved; remove older ones: %w", path, err)
	}
	return nil
}

// Tidy does what a Save of step that was stopped after its checkpoint was durable did not come to: what it would have removed goes. The
// caller holds the run folder's lock.
func Tidy(runDir string, step, keep int) error {
	d, dir := realDisk{}, filepath.Join(runDir, checkpointsFolder)
	err := sweep(d, dir)
	if err == nil {
		err = retire(d, dir, step, max(keep, MinKeep))
	}
	if err != nil {
		return fmt.Errorf("remove old checkpoints: %w", err)
	}
	return nil
}

// write writes the files. SHA256SUMS is the last: it lists all others.
func (c *Checkpoint) write(d *DirWriter) error {
	var sums sumList
	create := func(name string) (io.WriteCloser, error) {
		f, err := d.Create(name)
		if err != nil {
			return nil, err
		}
		return sums.add(name, f), nil
	}
	put := func(name string, tensors []Tensor, meta map[string]string) error {
		return createFile(create, name, func(w io.Writer) error { return WriteSafetensors(w, tensors, meta) })
	}
	state, err := c.State.marshal()
	if err != nil {
		return err
	}
	if c.Adapter != nil {
		err = WriteAdapterFiles(create, c.Adapter)
	} else {
		err = put(weightsFile, c.Weights, map[string]string{"format": "pt"})
	}
	if err != nil {
		return err
	}
	if err := put(optimizerFile, c.Moments, nil); err != nil {
		return err
	}
	if c.State.Epoch > 0 {
		if err := put(updateFile, c.Update, nil); err != nil {
			return err
		}
	}
	if err := createBytes(create, stateFile, state); err != nil {
		return err
	}
	return createBytes(d.Create, sumsFile, sums.marshal())
}

// replaceDir gives a finished folder its name. One that is there already, of a run that came by this step before, steps
// aside, and is still found there should everything stop in between; retire removes it.
func replaceDir(d disk, temp, path string) error {
	err := d.rename(temp, path)
	if !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.EEXIST) {
		return err
	}
	aside := path + asideSuffix
	if err := d.removeAll(aside); err != nil {
		return err
	}
	if err := d.rename(path, aside); err != nil {
		return err
	}
	return d.rename(temp, path)
}

// sweep removes what saves that were stopped have left.
func sweep(d disk, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tempPrefix) {
			if err := d.removeAll(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// sound remembers, by the folder's path, the checkpoints that this process has written or found good: they are never modified, so that each save does
// not read the older ones anew.
var sound sync.Map

func rememberSound(path string) {
	if info, err := os.Stat(path); err == nil {
		sound.Store(path, info)
	}
}

// isSound says whether a checkpoint's files have their sums. One that cannot be read is not called sound either.
func isSound(path string) bool {
	info, err := os.Stat(path)
	if err != nil {
		return false
	}
	if known, ok := sound.Load(path); ok && os.SameFile(known.(os.FileInfo), info) {
		return true
	}
	if err := checkSummed(path); err != nil {
		return false
	}
	sound.Store(path, info)
	return true
}

// retire removes all checkpoints but that of step and the newest before it, keep good ones in all, with the damaged ones among them: what a resume
// passed over does not take the place of what it went on from. They first lose their names, durably, so that one that is half removed is never taken
// for a checkpoint.
func retire(d disk, dir string, step, keep int) error {
	folders, err := listCheckpoints(dir)
	if err != nil {
		return err
	}
	kept, before := 0, 0
	for _, f := range folders {
		if f.step <= step && !f.aside {
			before++
		}
	}
	var retired []string
	for _, f := range folders { // newest first
		path := filepath.Join(dir, f.name)
		if f.step == step && f.aside && !isSound(strings.TrimSuffix(path, asideSuffix)) {
			continue // it is the checkpoint of step: the one that was to replace it did not come, or is damaged
		}
		if f.step <= step && !f.aside && kept < keep {
			if before <= keep || isSound(path) {
				kept++
			}
			continue
		}
		sound.Delete(path)
		temp := tempPath(path)
		if err := d.rename(path, temp); err != nil {
			return err
		}
		retired = append(retired, temp)
	}
	if len(retired) == 0 {
		return nil
	}
	if err := d.syncDir(dir); err != nil {
		return err
	}
	for _, temp := range retired {
		if err := d.removeAll(temp); err != nil {
			return err
		}
	}
	return nil
}

// checkpointFolder is a folder whose name says that it holds a checkpoint.
type checkpointFolder struct {
	name  string
	step  int
	aside bool // replaced by another of the same step
}

// listCheckpoints returns the folders of dir by their names, the newest first, and of one step the one that stands
// aside last. No folder dir is none.
func listCheckpoints(dir string) ([]checkpointFolder, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var folders []checkpointFolder
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), checkpointPrefix)
		digits, aside := strings.CutSuffix(rest, asideSuffix)
		step, err := strconv.Atoi(digits)
		if ok && err == nil && step >= 0 && fmt.Sprintf("%06d", step) == digits {
			folders = append(folders, checkpointFolder{e.Name(), step, aside})
		}
	}
	slices.SortFunc(folders, func(a, b checkpointFolder) int {
		return cmp.Or(cmp.Compare(b.step, a.step), cmp.Compare(a.name, b.name)) // the suffix makes a name the larger one
	})
	return folders, nil
}
