package index

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	_ "modernc.org/sqlite" // the "sqlite" driver

	"afctl/ckpt"
)

// formatVersion stands in the file's user_version: 3 since documents have further names; appID marks the file as an index ("afix").
const (
	formatVersion = 3
	appID         = 0x61666978
)

// The layout: passages belong to documents; names are further names of documents; terms is a full-text index over the folded words of title and body, of
// which it keeps no copy; vocabulary gives the number of passages of a term.
const layout = `
CREATE TABLE documents(id INTEGER PRIMARY KEY, title TEXT NOT NULL, url TEXT NOT NULL, title_key TEXT NOT NULL, lead INTEGER NOT NULL);
CREATE TABLE names(title_key TEXT NOT NULL, title TEXT NOT NULL, document INTEGER NOT NULL);
CREATE TABLE passages(id INTEGER PRIMARY KEY, document INTEGER NOT NULL, section TEXT NOT NULL, body TEXT NOT NULL);
CREATE VIRTUAL TABLE terms USING fts5(title, body, content='', tokenize="unicode61 remove_diacritics 0");
CREATE VIRTUAL TABLE vocabulary USING fts5vocab(terms, row);
`

// Progress is how far a build has come.
type Progress struct {
	Docs, Passages int
	Skipped        int   // documents without text
	Names          int   // further names of documents; known at the end
	Lost           int   // redirects that are none: they lead to no document, in a circle, or over too many others; known at the end
	Done, Total    int64 // bytes of the source's file; 0 where there is none
}

// progressEvery is how many documents lie between two reports.
const progressEvery = 1000

// Build reads all documents of src, which stays the caller's to close, into a new index at dst, which it replaces when
// the new one is whole and durable: whatever fails, a former index at dst stays as it was and nothing else is left. What is
// there already must be a regular file, and not the one that src reads. progress may be nil; it is called now and then, and
// at the end.
func Build(ctx context.Context, dst string, src Source, progress func(Progress)) error {
	if err := checkTarget(dst, src); err != nil {
		return fmt.Errorf("build index %s: %w", dst, err)
	}
	err := ckpt.ReplaceFile(dst, func(temp string) error {
		db, err := openDB(fileDSN(temp, ""), 1)
		if err != nil {
			return err
		}
		if err = fill(ctx, db, src, progress); err != nil && ctx.Err() != nil {
			err = ctx.Err() // the database says only that its statements were closed
		}
		return errors.Join(err, db.Close())
	})
	if err != nil {
		return fmt.Errorf("build index: %w", err)
	}
	return nil
}

// checkTarget says before any work what must not be replaced.
func checkTarget(dst string, src Source) error {
	info, err := os.Lstat(dst)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := ckpt.CheckRegular(info); err != nil {
		return err
	}
	if file, ok := src.(interface{ reads(fs.FileInfo) bool }); ok && file.reads(info) {
		return errors.New("found the file of the documents, expected another: the index would replace them")
	}
	return nil
}

// BuildMemory builds an index that lives in memory until it is closed.
func BuildMemory(docs []Doc) (*Index, error) {
	db, err := openDB("file::memory:", 1)
	if err != nil {
		return nil, fmt.Errorf("build index: %w", err)
	}
	if err := fill(context.Background(), db, Docs(docs), nil); err != nil {
		db.Close()
		return nil, fmt.Errorf("build index: %w", err)
	}
	return newIndex(db, "memory")
}

// fill makes an empty database an index.
func fill(ctx context.Context, db *sql.DB, src Source, progress func(Progress)) error {
	// Nothing but the finished file counts, so that the database need not guard against a crash on the way.
	setup := fmt.Sprintf("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-65536; PRAGMA application_id=%d; PRAGMA user_version=%d;", appID, formatVersion)
	if _, err := db.ExecContext(ctx, setup+layout); err != nil {
		return err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	w, err := newWriter(ctx, tx)
	if err != nil {
		return err
	}
	for {
		d, err := src.Next(ctx)
		if err == io.EOF {
			break
		}
		if err == nil {
			err = w.add(ctx, d)
		}
		if err != nil {
			return err
		}
		if progress != nil && w.taken()%progressEvery == 0 {
			w.Done, w.Total = src.Offset()
			progress(w.Progress)
		}
	}
	if w.Docs == 0 {
		name := "the source"
		if file, ok := src.(interface{ Name() string }); ok {
			name = file.Name()
		}
		return fmt.Errorf("no document with text in %s (%d without), expected at least one", name, w.Skipped)
	}
	if _, err := tx.ExecContext(ctx, "CREATE INDEX documents_by_key ON documents(title_key)"); err != nil {
		return err
	}
	if err := w.follow(ctx, tx); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO terms(terms) VALUES('optimize')"); err != nil { // uses again the space of the redirects
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	if progress != nil {
		w.Done, w.Total = src.Offset()
		progress(w.Progress)
	}
	return nil
}

// writer adds documents within one transaction.
type writer struct {
	Progress
	redirects                          int // taken
	document, passage, terms, redirect *sql.Stmt
}

// taken is how many documents and redirects the source has given.
func (w *writer) taken() int { return w.Docs + w.Skipped + w.redirects }

func newWriter(ctx context.Context, tx *sql.Tx) (*writer, error) {
	if _, err := tx.ExecContext(ctx, redirects); err != nil {
		return nil, err
	}
	w := &writer{}
	for _, s := range []struct {
		stmt **sql.Stmt
		text string
	}{
		{&w.document, "INSERT INTO documents(id, title, url, title_key, lead) VALUES(?, ?, ?, ?, ?)"},
		{&w.passage, "INSERT INTO passages(id, document, section, body) VALUES(?, ?, ?, ?)"},
		{&w.terms, "INSERT INTO terms(rowid, title, body) VALUES(?, ?, ?)"},
		{&w.redirect, "INSERT INTO redirects(title_key, title, target_key, target) VALUES(?, ?, ?, ?)"},
	} {
		var err error
		if *s.stmt, err = tx.PrepareContext(ctx, s.text); err != nil {
			return nil, err
		}
	}
	return w, nil
}

func (w *writer) add(ctx context.Context, d Doc) error {
	d.Title = strings.ToValidUTF8(strings.TrimSpace(d.Title), "\uFFFD")
	if d.Title == "" {
		return fmt.Errorf("document %d has no title", w.taken()+1)
	}
	if d.Redirect != "" {
		w.redirects++
		target := strings.ToValidUTF8(d.Redirect, "\uFFFD")
		_, err := w.redirect.ExecContext(ctx, key(d.Title), d.Title, key(target), target)
		return err
	}
	d.Text = strings.ToValidUTF8(d.Text, "\uFFFD")
	passages := Split(d)
	if len(passages) == 0 {
		w.Skipped++
		return nil
	}
	w.Docs++
	title := key(d.Title)
	if _, err := w.document.ExecContext(ctx, w.Docs, d.Title, d.URL, title, w.Passages+1); err != nil {
		return err
	}
	for _, p := range passages {
		w.Passages++
		if _, err := w.passage.ExecContext(ctx, w.Passages, w.Docs, p.Section, p.Text); err != nil {
			return err
		}
		if _, err := w.terms.ExecContext(ctx, w.Passages, title, key(p.Section+"\n"+p.Text)); err != nil {
			return err
		}
	}
	return nil
}
