package store

import (
	"context"
	"database/sql"
	"errors"
	"net/url"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"lazaret/internal/errs"
)

// liteDialect is SQLite, in a file that one process works on.
type liteDialect struct {
	path string
	vfs  string // "": that of the operating system
}

func (d liteDialect) name() string  { return "sqlite" }
func (d liteDialect) place() string { return d.path }

func (d liteDialect) read(conns int) (*sql.DB, error) {
	return d.openDB(conns, "_pragma=query_only(1)")
}

func (d liteDialect) write() (*sql.DB, error) { return d.openDB(1, "_txlock=immediate") }

func (d liteDialect) alone(context.Context, *sql.Conn, bool) error { return nil }

func (d liteDialect) begin() string { return "BEGIN IMMEDIATE" }

// flush: a commit that flushes takes all earlier ones with it, which stand
// before it in the same log. This pragma acts when it is compiled: it must not
// be a prepared statement.
func (d liteDialect) flush(ctx context.Context, c *sql.Conn, on bool) error {
	mode := "FULL"
	if !on {
		mode = "NORMAL"
	}
	_, err := c.ExecContext(ctx, "PRAGMA synchronous="+mode)
	return err
}

func (d liteDialect) snapshot() *sql.TxOptions { return &sql.TxOptions{ReadOnly: true} }

func (d liteDialect) has(column string) string { return "instr(" + column + ", ?) > 0" }

func (d liteDialect) bytewise(text string) string { return text }

func (d liteDialect) array(arg string) string { return "json_each(" + arg + ")" }

// argument: those with a number are named ones, which are looked up one by one.
func (d liteDialect) argument(int) string { return "?" }

// behind: a small commit of FTS5 costs more than all else of a message.
func (d liteDialect) behind() bool { return true }

func (d liteDialect) terms(list []term) string { return words(list) }

func (d liteDialect) match() string { return "search MATCH $1" }

func (d liteDialect) asked(list []term) string { return match(list) }

func (d liteDialect) mine() string { return "" } // the writer is alone

func (d liteDialect) exclude(*tx, string) error { return nil } // the writer is alone

func (d liteDialect) shared() bool { return false }

func (d liteDialect) prepares() bool { return true }

// openDB opens a pool in which every connection has the same
// settings. WAL with FULL is one flush a commit and no reader in a writer's way.
func (d liteDialect) openDB(conns int, extra string) (*sql.DB, error) {
	if d.vfs != "" {
		extra += "&vfs=" + url.QueryEscape(d.vfs)
	}
	dsn := "file:" + (&url.URL{Path: d.path}).EscapedPath() +
		"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)" +
		"&_pragma=wal_autocheckpoint(4000)&_pragma=cache_size(-16000)&_pragma=temp_store(MEMORY)&" + extra
	c, err := sqlite.NewConnector(dsn)
	if err != nil {
		return nil, errs.Wrap(errs.Internal, err, "opening the database %s", d.path)
	}
	db := sql.OpenDB(c)
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db, nil
}

const sqliteError = sqlite3.SQLITE_ERROR

// isCode compares the primary code of an SQLite error.
func isCode(err error, code int) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && e.Code()&0xff == code
}

// sqliteKind tells what an error of SQLite means.
func sqliteKind(err error) (kind errs.Kind, known bool) {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return errs.Internal, false
	}
	if e.Code() == sqlite3.SQLITE_IOERR_SHMSIZE {
		return errs.Full, true
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_FULL:
		return errs.Full, true
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return errs.Temporary, true
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return errs.Damaged, true
	}
	return errs.Internal, !isOver(err)
}

// diskFailed reports an error of the disk under an SQLite file: what is written
// after it cannot be believed. That the index of the log cannot grow is none: it
// is made anew from the log at each start, and the disk is most likely full.
func diskFailed(err error) bool {
	var e *sqlite.Error
	if errors.As(err, &e) && e.Code() == sqlite3.SQLITE_IOERR_SHMSIZE {
		return false
	}
	return isCode(err, sqlite3.SQLITE_IOERR) || isCode(err, sqlite3.SQLITE_CORRUPT)
}
