package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"lazaret/internal/errs"
)

// Limits on what a database server far away may take.
const (
	connectWait = 5 * time.Second  // to open a connection
	readWait    = 30 * time.Second // for one statement of a search
	writeWait   = 60 * time.Second // for one batch, lock waits included
	keepAlive   = 10 * time.Second // until a peer that fell silent is noticed: three times that
)

// pgDialect is PostgreSQL, which several managers may share.
type pgDialect struct{ cfg *pgx.ConnConfig }

// newPostgres reads a DSN: a URL or key=value words, as libpq does. What it
// leaves out comes from the PG variables of the environment, a password also
// from the file passfile names. Nothing of it goes into an error but what is
// no secret.
func newPostgres(dsn string) (*pgDialect, error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, errs.New(errs.Invalid, "the address of the database is not one: a URL such as postgres://user@host/name, or words such as host=... dbname=...")
	}
	if cfg.ConnectTimeout == 0 || cfg.ConnectTimeout > connectWait {
		cfg.ConnectTimeout = connectWait
	}
	cfg.DialFunc = (&net.Dialer{Timeout: connectWait, KeepAlive: keepAlive}).DialContext
	set := func(name, value string) {
		if _, given := cfg.RuntimeParams[name]; !given {
			cfg.RuntimeParams[name] = value
		}
	}
	set("application_name", "lazaret")
	set("timezone", "UTC")
	set("idle_in_transaction_session_timeout", millis(writeWait))
	set("tcp_keepalives_idle", "10") // at the server: a manager that vanished holds no locks for long
	set("tcp_keepalives_interval", "5")
	set("tcp_keepalives_count", "4")
	set("tcp_user_timeout", millis(3*keepAlive))
	// A generic plan walks the newest-first index for a rare substring: 131 ms
	// in place of 5 (measured).
	set("plan_cache_mode", "force_custom_plan")
	return &pgDialect{cfg}, nil
}

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

func (d *pgDialect) name() string { return "postgres" }

func (d *pgDialect) place() string {
	return "PostgreSQL " + d.cfg.Host + " port " + strconv.Itoa(int(d.cfg.Port)) + " database " + d.cfg.Database
}

func (d *pgDialect) read(conns int) (*sql.DB, error) {
	return d.open(conns, map[string]string{"default_transaction_read_only": "on", "statement_timeout": millis(readWait)}), nil
}

func (d *pgDialect) write() (*sql.DB, error) {
	return d.open(1, map[string]string{"synchronous_commit": "on", "statement_timeout": millis(writeWait)}), nil
}

// open makes a pool; no connection is opened yet.
func (d *pgDialect) open(conns int, params map[string]string) *sql.DB {
	cfg := d.cfg.Copy()
	for k, v := range params {
		if _, given := cfg.RuntimeParams[k]; !given {
			cfg.RuntimeParams[k] = v
		}
	}
	db := stdlib.OpenDB(*cfg)
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	db.SetConnMaxIdleTime(5 * time.Minute)
	return db
}

// migrationLock is the advisory lock under which migrations run.
const migrationLock = 0x6c617a6172657401 // "lazaret", 1

func (d *pgDialect) alone(ctx context.Context, c *sql.Conn, on bool) error {
	f := "pg_advisory_lock"
	if !on {
		f = "pg_advisory_unlock"
	}
	_, err := c.ExecContext(ctx, "SELECT "+f+"($1)", int64(migrationLock))
	return err
}

func (d *pgDialect) begin() string { return "BEGIN" }

// flush: the log is written in order, so a commit that waits for it takes the
// earlier ones along.
func (d *pgDialect) flush(ctx context.Context, c *sql.Conn, on bool) error {
	q := "RESET synchronous_commit"
	if !on {
		q = "SET synchronous_commit = off"
	}
	_, err := c.ExecContext(ctx, q)
	return err
}

func (d *pgDialect) snapshot() *sql.TxOptions {
	return &sql.TxOptions{ReadOnly: true, Isolation: sql.LevelRepeatableRead}
}

func (d *pgDialect) has(column string) string { return "strpos(" + column + ", ?) > 0" }

func (d *pgDialect) bytewise(text string) string { return "(" + text + `) COLLATE "C"` }

func (d *pgDialect) array(arg string) string {
	return "(SELECT value::bigint, key FROM json_array_elements_text(" + arg + "::text::json) WITH ORDINALITY AS a (value, key))"
}

func (d *pgDialect) argument(n int) string { return "$" + strconv.Itoa(n) }

// behind: a GIN index has a list of its own for what came last, which each
// search reads too.
func (d *pgDialect) behind() bool { return false }

func (d *pgDialect) terms(list []term) string { return numbered(list) }

func (d *pgDialect) match() string { return "terms @> $1" }

func (d *pgDialect) asked(list []term) string { return numbered(list) }

func (d *pgDialect) mine() string { return " FOR UPDATE" }

func (d *pgDialect) exclude(t *tx, thing string) error {
	return t.exec("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", "lazaret "+thing)
}

func (d *pgDialect) shared() bool { return true }

func (d *pgDialect) prepares() bool { return false } // the driver does, on each connection

// isOver reports that a context, not the database, ended something.
func isOver(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// state gives the SQLSTATE of an error the server sent.
func state(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// isAway reports that the server cannot be reached or has ended the
// connection: what was committed stands, and nothing is wrong with the disk.
func isAway(err error) bool {
	var connect *pgconn.ConnectError
	var network net.Error
	if errors.Is(err, errAway) {
		return true
	}
	switch s := state(err); {
	case err == nil:
		return false
	case strings.HasPrefix(s, "08"), strings.HasPrefix(s, "57P"), s == "53300", s == "25006", s == "25P03":
		// connection exceptions, shutdowns, too many connections, a server that
		// has become a standby, a transaction that was idle for too long
		return true
	case s != "":
		return errors.As(err, &connect)
	}
	return errors.As(err, &connect) || errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed) || errors.Is(err, driver.ErrBadConn)
}

// isClash reports that the server ended a transaction in favour of another
// one; made again, it goes through.
func isClash(err error) bool {
	s := state(err)
	return s == "40P01" || s == "40001"
}

// postgresKind tells what an error of PostgreSQL, or of the way to it, means.
func postgresKind(err error) (kind errs.Kind, known bool) {
	switch s := state(err); {
	case isAway(err), isClash(err), s == "57014", s == "55P03": // a statement or lock that took too long
		return errs.Temporary, true
	case s == "53100", s == "53200": // disk full, out of memory
		return errs.Full, true
	case strings.HasPrefix(s, "XX0"):
		return errs.Damaged, true
	case s != "":
		return errs.Internal, true
	}
	return errs.Internal, false
}
