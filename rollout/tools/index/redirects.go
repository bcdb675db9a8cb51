package index

import (
	"context"
	"database/sql"
)

// redirects are kept until all documents are there, since they may come before their targets. document is where one leads, and steps over how many
// redirects, once that is known.
const redirects = `CREATE TABLE redirects(
	title_key TEXT NOT NULL, title TEXT NOT NULL, target_key TEXT NOT NULL, target TEXT NOT NULL, document INTEGER, steps INTEGER)`

// maxSteps bounds a chain of redirects. MediaWiki follows one and has its bots mend the others.
const maxSteps = 8

// follow makes names of the redirects that lead to a document, over others where need be, and counts those that do not.
func (w *writer) follow(ctx context.Context, tx *sql.Tx) error {
	if w.redirects > 0 {
		if err := followSteps(ctx, tx); err != nil {
			return err
		}
	}
	const keep = "INSERT INTO names(title_key, title, document) SELECT title_key, title, document FROM redirects WHERE document IS NOT NULL ORDER BY rowid"
	kept, err := tx.ExecContext(ctx, keep)
	if err != nil {
		return err
	}
	n, err := kept.RowsAffected()
	if err != nil {
		return err
	}
	w.Names, w.Lost = int(n), w.redirects-int(n)
	_, err = tx.ExecContext(ctx, "DROP TABLE redirects; CREATE INDEX names_by_key ON names(title_key)")
	return err
}

// followSteps takes one step of all chains after the other: a target is a document, or a redirect whose own steps are known.
func followSteps(ctx context.Context, tx *sql.Tx) error {
	if _, err := tx.ExecContext(ctx, "CREATE INDEX redirects_by_key ON redirects(title_key)"); err != nil {
		return err
	}
	const first = `UPDATE redirects SET steps = 1, document = d.id FROM documents d WHERE d.title_key = redirects.target_key AND d.title = redirects.target`
	const next = `UPDATE redirects SET steps = ?1, document = r.document FROM redirects r
		WHERE redirects.document IS NULL AND r.steps = ?1 - 1 AND r.title_key = redirects.target_key AND r.title = redirects.target`
	made, err := tx.ExecContext(ctx, first)
	for steps := 2; err == nil && steps <= maxSteps; steps++ {
		if n, countErr := made.RowsAffected(); n == 0 || countErr != nil {
			return countErr
		}
		made, err = tx.ExecContext(ctx, next, steps)
	}
	return err
}
