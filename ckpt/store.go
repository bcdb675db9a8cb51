package ckpt

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
	_ "modernc.org/sqlite" // the driver "sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// StoreFile is the name of the run store in a run folder.
const StoreFile = "run.db"

// Errors of files of our own that a caller can act on.
var (
	// ErrForeign says that a file is not what its place says, and was not written here.
	ErrForeign = errors.New("not a file of this program")
	// ErrReadOnly says that a store that was opened for reading was asked to write.
	ErrReadOnly = errors.New("opened for reading only")
)

// VersionError is a well-formed file of a format that this build does not know.
type VersionError struct {
	File         string
	Found, Known int // the format's versions; all up to Known can be read
}

// Error names both versions.
func (e *VersionError) Error() string {
	return fmt.Sprintf("%s: found format version %d, expected %d at most: use the afctl that wrote it, or a newer one",
		e.File, e.Found, e.Known)
}

// busyTimeoutMS is how long a statement waits for a lock that another process holds, in milliseconds, before it fails
// with SQLITE_BUSY. One writer and any number of readers never wait for each other in WAL mode; what is waited for is
// somebody's own look into the file, or the moment in which the log is folded in.
const busyTimeoutMS = 10_000

// Store is the run store: tasks, trajectories with their exact tokens, metrics and policy versions of one run, in one
// SQLite file. FORMAT.md gives the schema.
//
// Writes go through one goroutine, and calls that come together share a transaction; each returns when its own is
// committed. Journal mode is WAL with synchronous NORMAL: a commit is in the operating system's hands, so that nothing
// that was acknowledged is lost when the process is killed, at any moment; there is no fsync, which would cost each
// commit milliseconds. A power cut may lose the last commits, and never leaves half a one. What a resume could not do
// again is safe from that too: PutMetrics and PutPolicy, which end a step, are fsynced, and with them everything that
// was committed before.
//
// Safe for concurrent use, by readers in other processes as well.
type Store struct {
	path  string
	read  *sql.DB
	write *storeWriter // nil where the store is open for reading only
	close func() error
}

// OpenStore opens the store at path for reading and writing, and makes it if it is not there. Of the processes that use
// a store one writes: whoever holds the run folder's lock. ErrForeign for a file that is none of ours, *VersionError
// for one of a newer build.
func OpenStore(ctx context.Context, path string) (*Store, error) {
	s := &Store{path: path}
	w, err := openWriter(ctx, path)
	if err != nil {
		return nil, s.errorf("open: %w", err)
	}
	s.write = w
	if s.read, err = openDatabase(path, "ro"); err != nil {
		return nil, s.errorf("open: %w", errors.Join(err, w.close()))
	}
	s.close = sync.OnceValue(func() error { return errors.Join(s.read.Close(), w.close()) })
	return s, nil
}

// OpenStoreReadOnly opens the store at path for reading, also while a trainer writes to it. Each call that reads sees
// what was committed when it began. Errors as OpenStore, and fs.ErrNotExist where there is no such file.
//
// Whoever cannot write the folder reads what is in the file alone, where there is no log beside it: that of a run that has ended. Should the run go on
// meanwhile, the store has to be opened anew.
func OpenStoreReadOnly(ctx context.Context, path string) (*Store, error) {
	s := &Store{path: path}
	if _, err := os.Stat(path); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w: a run folder holds %s once its run has begun", fs.ErrNotExist, StoreFile)
		}
		return nil, s.errorf("open for reading: %w", err)
	}
	open := func(mode string, options ...string) (*sql.DB, error) {
		db, err := openDatabase(path, mode, options...)
		if err != nil {
			return nil, err
		}
		if err := checkVersion(ctx, db, path); err != nil {
			return nil, errors.Join(err, db.Close())
		}
		return db, nil
	}
	db, err := open("rw") // nothing is written, but the last to close a store takes its -wal and -shm away, which ro could not
	if code := sqliteCode(err) & 0xff; (code == sqlite3.SQLITE_READONLY || code == sqlite3.SQLITE_CANTOPEN) && !hasLog(path) {
		db, err = open("ro", "immutable") // SQLite would make the -shm even to find out that there is nothing in the -wal
	}
	if err != nil {
		return nil, s.errorf("open for reading: %w", err)
	}
	s.read, s.close = db, sync.OnceValue(db.Close)
	return s, nil
}

// hasLog says whether there may be commits that are not in the store's file yet.
func hasLog(path string) bool {
	info, err := os.Stat(path + "-wal")
	return !errors.Is(err, fs.ErrNotExist) && (err != nil || info.Size() > 0)
}

// openDatabase returns a pool of connections. mode is SQLite's: ro, rw or rwc; options are parameters to be set to 1.
func openDatabase(path, mode string, options ...string) (*sql.DB, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(path); err == nil { // SQLite would wait for the writer of a pipe
		if err := CheckRegular(info); err != nil {
			return nil, err
		}
	}
	query := url.Values{"mode": {mode}}
	for _, option := range options {
		query.Set(option, "1")
	}
	query.Add("_pragma", fmt.Sprintf("busy_timeout(%d)", busyTimeoutMS))
	query.Add("_pragma", "foreign_keys(1)")
	dsn := url.URL{Scheme: "file", Path: absolute, RawQuery: query.Encode()}
	return sql.Open("sqlite", dsn.String())
}

// Close waits for the writes that were taken, and closes the store. Calls that come later fail with fs.ErrClosed; reads
// must have ended before. A second call does nothing.
func (s *Store) Close() error {
	if err := s.close(); err != nil {
		return s.errorf("close: %w", err)
	}
	return nil
}

// errorf names the store in an error. That the disk is full is said in the words of the system, with ENOSPC for a caller to act on.
func (s *Store) errorf(format string, args ...any) error {
	for i, a := range args {
		err, _ := a.(error)
		switch sqliteCode(err) {
		case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE: // the latter of run.db-shm
			args[i] = unix.ENOSPC
		}
	}
	return fmt.Errorf("run store %s: "+format, append([]any{s.path}, args...)...)
}
