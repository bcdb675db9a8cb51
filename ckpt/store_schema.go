package ckpt

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// storeApplicationID marks a SQLite file as a run store ("AFRS", in its header at offset 68).
const storeApplicationID = 0x41465253

// storeMigrations bring a store from one version to the next: migration i makes version i+1 of version i. One that was
// ever released is never changed; the version is SQLite's user_version.
var storeMigrations = []string{schemaV1}

// schemaV1 keeps long columns last, so that a report that does not ask for them does not read their pages. turns and
// agent_steps have a row id beside their key: without one their long rows cost a quarter more to write.
const schemaV1 = `
CREATE TABLE tasks (
	id       TEXT NOT NULL PRIMARY KEY,
	question TEXT NOT NULL,
	answers  TEXT NOT NULL, -- JSON, as are the next ones
	scorer   TEXT NOT NULL,
	choices  TEXT NOT NULL,
	meta     TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE trajectories (
	id             INTEGER PRIMARY KEY,
	phase          TEXT    NOT NULL,
	step           INTEGER NOT NULL,
	group_id       TEXT    NOT NULL,
	sample         INTEGER NOT NULL,
	task           TEXT    NOT NULL REFERENCES tasks (id),
	reward         REAL,              -- NULL: the rollout failed
	failure        TEXT    NOT NULL,
	policy_version INTEGER NOT NULL,
	adapter_hash   TEXT    NOT NULL,
	retries        INTEGER NOT NULL,
	total_ms       REAL    NOT NULL,
	sampling       TEXT    NOT NULL,  -- JSON
	answer         TEXT    NOT NULL,
	failure_detail TEXT    NOT NULL,
	analysis       TEXT    NOT NULL,
	UNIQUE (phase, step, group_id, sample)
) STRICT;
CREATE INDEX trajectories_by_task ON trajectories (task);

CREATE TABLE turns (
	trajectory INTEGER NOT NULL REFERENCES trajectories (id) ON DELETE CASCADE,
	turn       INTEGER NOT NULL, -- from 0
	stop       TEXT    NOT NULL,
	prompt     BLOB    NOT NULL, -- int32, little-endian
	action     BLOB    NOT NULL, -- int32, little-endian
	logprobs   BLOB,             -- float32, little-endian; NULL: none
	PRIMARY KEY (trajectory, turn)
) STRICT;

CREATE TABLE agent_steps (
	trajectory    INTEGER NOT NULL REFERENCES trajectories (id) ON DELETE CASCADE,
	seq           INTEGER NOT NULL, -- from 0
	turn          INTEGER NOT NULL,
	tool          TEXT    NOT NULL,
	error_kind    TEXT    NOT NULL,
	verdict       TEXT    NOT NULL,
	tool_ms       REAL    NOT NULL,
	total_ms      REAL    NOT NULL,
	tokens        INTEGER NOT NULL,
	justification TEXT    NOT NULL,
	context       TEXT    NOT NULL,
	sub_goal      TEXT    NOT NULL,
	args          TEXT,             -- JSON; NULL: none
	result        TEXT    NOT NULL,
	error         TEXT    NOT NULL,
	verdict_note  TEXT    NOT NULL,
	PRIMARY KEY (trajectory, seq)
) STRICT;

CREATE TABLE metrics (
	step INTEGER PRIMARY KEY,
	line TEXT NOT NULL -- JSON: the line of metrics.jsonl
) STRICT;

CREATE TABLE policy_versions (
	version      INTEGER PRIMARY KEY,
	adapter_hash TEXT    NOT NULL,
	step         INTEGER NOT NULL
) STRICT;
`

// queryer is a pool, a connection or a transaction.
type queryer interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// storeVersion returns the schema's version, 0 for a file without any content. ErrForeign if it is not a store.
func storeVersion(ctx context.Context, q queryer) (int, error) {
	var application, version, objects int
	err := q.QueryRowContext(ctx, `SELECT (SELECT application_id FROM pragma_application_id),
		(SELECT user_version FROM pragma_user_version), (SELECT count(*) FROM sqlite_schema)`).
		Scan(&application, &version, &objects)
	switch {
	case sqliteCode(err) == sqlite3.SQLITE_NOTADB:
		return 0, fmt.Errorf("%w: no SQLite database: move it away", ErrForeign)
	case err != nil:
		return 0, err
	case application == storeApplicationID && version > 0:
		return version, nil
	case application == 0 && version == 0 && objects == 0:
		return 0, nil
	case application == storeApplicationID:
		return 0, fmt.Errorf("%w: found user_version %d, expected a schema version of 1 to %d: the file was changed by another program: move it away",
			ErrForeign, version, len(storeMigrations))
	}
	return 0, fmt.Errorf("%w: a SQLite database with application_id %#x, expected %#x: move it away",
		ErrForeign, uint32(application), storeApplicationID)
}

// checkVersion says whether a store can be read as it is.
func checkVersion(ctx context.Context, q queryer, path string) error {
	version, err := storeVersion(ctx, q)
	switch {
	case err != nil:
		return err
	case version > len(storeMigrations):
		return &VersionError{File: path, Found: version, Known: len(storeMigrations)}
	case version == 0:
		return fmt.Errorf("%w: the file is empty: its run has not begun", ErrForeign)
	case version < len(storeMigrations):
		return fmt.Errorf("found schema version %d, expected %d: open it once for writing, as a resume does",
			version, len(storeMigrations))
	}
	return nil
}

// migrate brings a store to the newest version, in one transaction.
func migrate(ctx context.Context, conn *sql.Conn, path string) (err error) {
	// Nothing is written before the file is known to be ours.
	if version, err := storeVersion(ctx, conn); err != nil || version == len(storeMigrations) {
		return err
	}
	if _, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK") // as in transact
		}
	}()
	version, err := storeVersion(ctx, conn) // again: another process may have been faster
	if err != nil {
		return err
	}
	if version > len(storeMigrations) {
		return &VersionError{File: path, Found: version, Known: len(storeMigrations)}
	}
	for ; version < len(storeMigrations); version++ {
		if _, err := conn.ExecContext(ctx, storeMigrations[version]); err != nil {
			return fmt.Errorf("migrate to schema version %d: %w", version+1, err)
		}
	}
	_, err = conn.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT",
		storeApplicationID, len(storeMigrations)))
	return err
}

// sqliteCode returns the extended result code of an error of SQLite, 0 for others.
func sqliteCode(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code()
	}
	return 0
}
