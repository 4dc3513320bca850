package store

import (
	"context"
	"database/sql"
	"errors"

	"lazaret/internal/errs"
)

// reader is a connection for searches, with the statements that were prepared
// on it: to prepare one takes longer than most searches.
type reader struct {
	conn  *sql.Conn
	stmts map[string]*sql.Stmt
}

// maxPrepared bounds the statements of a reader: conditions can be put together
// in more ways than anybody does.
const maxPrepared = 200

// withReader runs fn with all that it reads being as of one moment.
func (s *Store) withReader(ctx context.Context, fn func(*reader) error) (err error) {
	var r *reader
	select {
	case r = <-s.readers:
	case <-ctx.Done():
		return errs.Wrap(errs.Temporary, ctx.Err(), "searching")
	}
	defer func() { s.readers <- r }()
	if r.conn == nil {
		if r.conn, err = s.read.Conn(ctx); err != nil {
			r.conn = nil
			return sqlError(err, "searching")
		}
	}
	tx, err := r.conn.BeginTx(ctx, s.d.snapshot())
	if err != nil {
		return errors.Join(sqlError(err, "searching"), r.close()) // another one the next time
	}
	defer tx.Rollback()
	return fn(r)
}

// each reads rows by a statement that stays prepared.
func (r *reader) each(ctx context.Context, query string, args []any, fn func(*sql.Rows) error) error {
	st := r.stmts[query]
	if st == nil {
		var err error
		if st, err = r.conn.PrepareContext(ctx, query); err != nil {
			return sqlError(err, "preparing a search")
		}
		if len(r.stmts) < maxPrepared {
			r.stmts[query] = st
		} else {
			defer st.Close()
		}
	}
	rows, err := st.QueryContext(ctx, bind(args)...)
	if err != nil {
		return sqlError(err, "searching")
	}
	defer rows.Close()
	for rows.Next() {
		if err := fn(rows); err != nil {
			return sqlError(err, "searching")
		}
	}
	return sqlError(rows.Err(), "searching")
}

// close gives up the connection.
func (r *reader) close() (err error) {
	if r.conn == nil {
		return nil
	}
	for _, st := range r.stmts {
		err = errors.Join(err, st.Close())
	}
	err = errors.Join(err, r.conn.Close())
	r.conn, r.stmts = nil, make(map[string]*sql.Stmt)
	return err
}

// closeReaders ends those that are idle, and waits for the others.
func (s *Store) closeReaders() (err error) {
	for range cap(s.readers) {
		r := <-s.readers
		err = errors.Join(err, r.close())
	}
	return err
}
