package ckpt

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"sync"
)

// maxBatch is how many calls share a transaction at most, so that the first of them does not wait for long.
const maxBatch = 256

// storeWriter is the one connection that writes, and the goroutine that owns it between transactions.
type storeWriter struct {
	db       *sql.DB
	requests chan *writeRequest // without a buffer: what was sent was taken
	quit     chan struct{}
	done     chan struct{}

	mu   sync.Mutex // held for a transaction: a test takes it to let callers wait
	conn *writeConn
}

// writeRequest is a part of a transaction.
type writeRequest struct {
	ctx     context.Context
	durable bool // fsync at the commit
	apply   func(*writeConn) error
	result  chan error // has room for one, so that answering never waits
}

// writeConn is a connection with its prepared statements. Statements run without the caller's context: several callers
// share the transaction, and none may break it off.
type writeConn struct {
	conn       *sql.Conn
	statements map[string]*sql.Stmt
	full       bool // synchronous is FULL
}

// statement prepares a query once.
func (c *writeConn) statement(query string) (*sql.Stmt, error) {
	if s, ok := c.statements[query]; ok {
		return s, nil
	}
	s, err := c.conn.PrepareContext(context.Background(), query)
	if err == nil {
		c.statements[query] = s
	}
	return s, err
}

func (c *writeConn) exec(query string, args ...any) (sql.Result, error) {
	s, err := c.statement(query)
	if err != nil {
		return nil, err
	}
	return s.Exec(args...)
}

// row runs a query of one row.
func (c *writeConn) row(query string, args []any, into ...any) error {
	s, err := c.statement(query)
	if err != nil {
		return err
	}
	return s.QueryRow(args...).Scan(into...)
}

func openWriter(ctx context.Context, path string) (*storeWriter, error) {
	db, err := openDatabase(path, "rwc")
	if err != nil {
		return nil, err
	}
	conn, err := openWriteConn(ctx, db, path)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	w := &storeWriter{
		db: db, conn: conn,
		requests: make(chan *writeRequest), quit: make(chan struct{}), done: make(chan struct{}),
	}
	go w.run()
	return w, nil
}

func openWriteConn(ctx context.Context, db *sql.DB, path string) (*writeConn, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	c := &writeConn{conn: conn, statements: map[string]*sql.Stmt{}}
	err = migrate(ctx, conn, path)
	if err == nil {
		var mode string
		err = conn.QueryRowContext(ctx, "PRAGMA journal_mode = WAL").Scan(&mode)
		if err == nil && mode != "wal" {
			err = fmt.Errorf("found journal mode %q, expected wal: the file system must have shared memory", mode)
		}
	}
	if err == nil {
		err = c.sync(false)
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return c, nil
}

// sync chooses whether commits are fsynced from now on.
func (c *writeConn) sync(full bool) error {
	mode := "NORMAL"
	if full {
		mode = "FULL"
	}
	_, err := c.conn.ExecContext(context.Background(), "PRAGMA synchronous = "+mode)
	if err == nil {
		c.full = full
	}
	return err
}

// do hands a part of a transaction to the writer and waits for its commit. Where ctx ends first the part may or may
// not be committed.
func (w *storeWriter) do(ctx context.Context, durable bool, apply func(*writeConn) error) error {
	r := &writeRequest{ctx: ctx, durable: durable, apply: apply, result: make(chan error, 1)}
	select {
	case <-w.quit: // first: select chooses at random
		return fs.ErrClosed
	default:
	}
	select {
	case w.requests <- r:
	case <-w.quit:
		return fs.ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case err := <-r.result:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (w *storeWriter) run() {
	defer close(w.done)
	for {
		select {
		case r := <-w.requests:
			w.commit(w.gather(r))
		case <-w.quit:
			return
		}
	}
}

// gather takes along all callers that wait now. Nobody is waited for: a lone caller has its commit at once, and while
// one transaction runs the callers of the next one collect.
func (w *storeWriter) gather(first *writeRequest) []*writeRequest {
	batch := []*writeRequest{first}
	for len(batch) < maxBatch {
		select {
		case r := <-w.requests:
			batch = append(batch, r)
		default:
			return batch
		}
	}
	return batch
}

// commit runs a batch in one transaction. If that fails, each runs in one of its own, so that a bad call fails alone.
func (w *storeWriter) commit(batch []*writeRequest) {
	w.mu.Lock()
	defer w.mu.Unlock()
	err := w.conn.transact(batch)
	if err == nil || len(batch) == 1 {
		for _, r := range batch {
			r.result <- errors.Join(err, r.ctx.Err())
		}
		return
	}
	for _, r := range batch {
		err := w.conn.transact([]*writeRequest{r})
		r.result <- errors.Join(err, r.ctx.Err())
	}
}

// transact runs a batch in one transaction, without those whose callers have gone.
func (c *writeConn) transact(batch []*writeRequest) error {
	durable := false
	for _, r := range batch {
		durable = durable || r.durable
	}
	if durable != c.full {
		if err := c.sync(durable); err != nil {
			return err
		}
	}
	if _, err := c.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	var err error
	for _, r := range batch {
		if r.ctx.Err() == nil && err == nil {
			err = r.apply(c)
		}
	}
	if err == nil {
		_, err = c.exec("COMMIT")
	}
	if err != nil {
		// SQLite has rolled back by itself after some errors, and says so: no news.
		c.exec("ROLLBACK")
	}
	return err
}

// close lets the running transaction end. The last connection to a store folds the log into the file and removes it.
func (w *storeWriter) close() error {
	close(w.quit)
	<-w.done
	var errs []error
	for _, s := range w.conn.statements {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, w.conn.conn.Close(), w.db.Close())...)
}
