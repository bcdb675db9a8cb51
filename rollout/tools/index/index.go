package index

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"

	"afctl/ckpt"
)

// ErrFormat is the error of a file that is no index, or one of another version.
var ErrFormat = errors.New("not an index of this version")

// titleWeight is how much more a term counts in the title than in the body.
const titleWeight = 4.0

// minCoverage is the share of a query's information (the sum of its terms' idf) that a passage has to carry to be found
// at all. A name that stands nowhere has the most information: a query for one that the collection lacks finds
// nothing, rather than whatever shares its other words.
const minCoverage = 0.4

// candidates is how many passages are ranked in full for one search.
const candidates = 64

// Index is a collection that is open for searching. It is safe for concurrent use.
type Index struct {
	db       *sql.DB
	name     string
	passages int
	docs     int

	dfs dfCache

	exact, df, match, passage *sql.Stmt
}

// Open opens an index file. The file is only read and must not change while it is open.
func Open(path string) (*Index, error) {
	// SQLite would otherwise take a missing file for an empty database, and wait for the writer of a pipe.
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("open index: %w", err)
	}
	if err := ckpt.CheckRegular(info); err != nil {
		return nil, fmt.Errorf("open index %s: %w: %w", path, ErrFormat, err)
	}
	db, err := openDB(fileDSN(path, "mode=ro&immutable=1"), runtime.GOMAXPROCS(0))
	if err != nil {
		return nil, fmt.Errorf("open index %s: %w", path, err)
	}
	return newIndex(db, path)
}

func fileDSN(path, query string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	return (&url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: query}).String()
}

// openDB opens a database of at most conns connections; in memory, one connection is the database.
func openDB(dsn string, conns int) (*sql.DB, error) {
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	db.SetConnMaxLifetime(0)
	return db, nil
}

// newIndex takes over db, which it closes on an error.
func newIndex(db *sql.DB, name string) (*Index, error) {
	ix := &Index{db: db, name: name}
	if err := ix.prepare(); err != nil {
		db.Close()
		return nil, fmt.Errorf("open index %s: %w", name, err)
	}
	return ix, nil
}

func (ix *Index) prepare() error {
	var app, version int
	if err := ix.db.QueryRow("SELECT application_id, user_version FROM pragma_application_id, pragma_user_version").Scan(&app, &version); err != nil {
		return fmt.Errorf("%w: %v", ErrFormat, err)
	}
	if app != appID || version != formatVersion {
		return fmt.Errorf("%w: application id %#x, version %d, expected %#x and %d; build it anew", ErrFormat, app, version, appID, formatVersion)
	}
	if err := ix.db.QueryRow("SELECT count(*) FROM documents").Scan(&ix.docs); err != nil {
		return fmt.Errorf("%w: %v", ErrFormat, err)
	}
	if err := ix.db.QueryRow("SELECT coalesce(max(id), 0) FROM passages").Scan(&ix.passages); err != nil {
		return fmt.Errorf("%w: %v", ErrFormat, err)
	}
	for _, s := range []struct {
		stmt **sql.Stmt
		text string
	}{
		{&ix.exact, `SELECT lead FROM (
				SELECT lead, title, 0 AS further FROM documents WHERE title_key = ?1
				UNION ALL SELECT d.lead, n.title, 1 FROM names n JOIN documents d ON d.id = n.document WHERE n.title_key = ?1)
			GROUP BY lead ORDER BY max(title = ?2) DESC, max(lower(title) = lower(?2)) DESC, min(further), lead LIMIT ?3`},
		{&ix.df, "SELECT doc FROM vocabulary WHERE term = ?"},
		{&ix.match, fmt.Sprintf("SELECT rowid, -bm25(terms, %g, 1.0) AS score FROM terms WHERE terms MATCH ? ORDER BY score DESC, rowid LIMIT ?", titleWeight)},
		{&ix.passage, "SELECT d.title, d.url, p.section, p.body FROM passages p JOIN documents d ON d.id = p.document WHERE p.id = ?"},
	} {
		var err error
		if *s.stmt, err = ix.db.Prepare(s.text); err != nil {
			return fmt.Errorf("%w: %v", ErrFormat, err)
		}
	}
	return nil
}

// Close releases the file, or the memory.
func (ix *Index) Close() error { return ix.db.Close() }

// Docs is the number of documents.
func (ix *Index) Docs() int { return ix.docs }

// Passages is the number of passages.
func (ix *Index) Passages() int { return ix.passages }
