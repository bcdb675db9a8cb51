package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"afctl/ckpt"
	"afctl/flow"
)

// solvesIdentity is the file, beside the store of a folder of solves, that says what they follow from.
const solvesIdentity = "identity.yaml"

// identity is what solves follow from: they are taken over from a folder only where it is the same. own puts in what is the command's own.
func (l loaded) identity(own func(k *Config)) (string, error) {
	templates := sha256.New()
	if err := hashTemplates(templates, l.c); err != nil {
		return "", err
	}
	k, c := DefaultConfig(), l.c
	k.Model, k.Adapter, k.Engine.DType = l.s.model.Hash(), l.adapterHash, c.Engine.DType
	k.Flow.Temperature, k.Flow.MaxActionTokens = c.Flow.Temperature, c.Flow.MaxActionTokens
	k.Tasks.Seed, k.Tasks.Scorer, k.Run.Seed = c.Tasks.Seed, c.Tasks.Scorer, c.Run.Seed
	k.Rollout = c.Rollout
	k.Rollout.clearLimits()
	// These end a loop or a step and not the solve, which goes on without a word: --retry-failed would not find it.
	k.Rollout.MaxSeconds, k.Rollout.ToolSeconds = c.Rollout.MaxSeconds, c.Rollout.ToolSeconds
	own(&k)
	if err := identifyPaths(&k); err != nil {
		return "", err
	}
	return fmt.Sprintf("# What the solves of this folder follow from. Model and adapter are hashes.\n# templates: %x\n%s", templates.Sum(nil), marshalConfig(&k, false, k.withoutResult()...)), nil
}

// identifyPaths puts what lies at a config's paths in place of them, so that it may be named from any folder, and that a change is seen.
func identifyPaths(c *Config) (err error) {
	for key, p := range c.paths() {
		switch key {
		case "model", "adapter": // hashes already
		case "tasks.eval": // may hold more tasks than are asked for, so its name stands for it
			*p, err = filepath.Abs(*p)
		case "rollout.tools.wikipedia_index", "rollout.tools.pages", "rollout.tools.replay":
			of := sha256.New()
			err = hashPath(of, *p)
			*p = fmt.Sprintf("%x", of.Sum(nil))
		case "rollout.tools.record": // is written
			*p = ""
		default: // tasks of rollout and templates, whose contents have hashes of their own
			*p = "path"
		}
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return nil
}

// solves is an open folder of solves: its store, and the right to write to it.
type solves struct {
	*ckpt.Store
	lock *ckpt.RunLock
}

// Close closes the store and gives the folder free.
func (s *solves) Close() error { return errors.Join(s.Store.Close(), s.lock.Close()) }

// openSolves opens the folder of the solves of what, such as an evaluation, with its tasks in the store.
func openSolves(ctx context.Context, dir, what, identity string, tasks []flow.Task) (*solves, error) {
	if err := ckpt.MkdirAll(dir); err != nil {
		return nil, fmt.Errorf("--out: %w", err)
	}
	if isMissing(filepath.Join(dir, solvesIdentity)) { // before a lock is put into a folder of somebody else's
		begun := func(name string) bool { return name == ckpt.LockFile || ckpt.IsTemp(name, solvesIdentity) }
		if err := checkOutDir(dir, begun); err != nil {
			return nil, err
		}
	}
	lock, err := ckpt.LockRun(dir)
	if err != nil {
		return nil, fmt.Errorf("--out: %w", err)
	}
	if err := identify(dir, what, identity); err != nil {
		return nil, errors.Join(fmt.Errorf("--out: %w", err), lock.Close())
	}
	store, err := ckpt.OpenStore(ctx, filepath.Join(dir, storeFile))
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	s := &solves{store, lock}
	if err := s.PutTasks(ctx, tasks); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func readRegular(path string) ([]byte, error) {
	f, err := ckpt.OpenRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// identify writes what the solves of a new folder follow from, or checks that those of an old one follow from the same.
func identify(dir, what, identity string) error {
	file := filepath.Join(dir, solvesIdentity)
	if err := ckpt.RemoveTemps(file); err != nil {
		return err
	}
	before, err := readRegular(file)
	if errors.Is(err, os.ErrNotExist) {
		return ckpt.WriteFileAtomic(file, 0o666, func(w io.Writer) error {
			_, err := io.WriteString(w, identity)
			return err
		})
	}
	if err == nil && string(before) != identity {
		err = fmt.Errorf("%s holds the solves of another %s: %s; expected a folder of its own", dir, what, firstDifference(string(before), identity))
	}
	return err
}
