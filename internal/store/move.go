package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"lazaret/internal/errs"
	"lazaret/internal/quarantine"
)

// Progress hears how far a long work is: rows of a table, of so many.
type Progress func(table string, done, total int64)

// unmoved are the tables of a file that are not carried to a server: the index is
// made there anew, the version of the schema is each database's own.
var unmoved = []string{"schema_version", "pending", "search"}

// movedName is in meta of a server's database: which file its rows came from.
const movedName = "moved"

// moveStep is how often progress is told, in rows.
const moveStep = 20_000

// Move carries all that the file of a manager knows to the empty database on a
// server that opt names, in one transaction, and compares numbers and hashes of
// all rows before it ends: all is there, or nothing. The file stays as it is.
// Nobody else may work on either. again: this file's rows are there already, from
// an earlier time.
func Move(ctx context.Context, path string, opt Options, tell Progress) (messages int64, again bool, err error) {
	from, err := currentFile(ctx, path, opt)
	if err != nil {
		return 0, false, err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	d, err := newPostgres(opt.DSN)
	if err != nil {
		return 0, false, err
	}
	// what takes long here is work, not a fault
	db := d.open(1, map[string]string{"statement_timeout": "0", "synchronous_commit": "on"})
	defer func() { err = errors.Join(err, db.Close()) }()
	m := mover{s: &Store{opt: opt, d: d, now: opt.Clock}, from: from, tell: tell}
	if m.s.conn, err = db.Conn(ctx); err != nil {
		return 0, false, errs.Context(sqlError(err, "connecting"), "%s", d.place())
	}
	defer func() { err = errors.Join(err, m.s.conn.Close()) }()
	return m.move(ctx)
}

// currentFile opens a file for reading; one of an earlier version is brought to
// this program's first.
func currentFile(ctx context.Context, path string, opt Options) (*sql.DB, error) {
	s, err := Open(ctx, Options{Path: path, Contents: untouched{opt.Contents}, Clock: opt.Clock})
	if err == nil {
		err = s.Close()
	}
	if err != nil {
		return nil, err
	}
	return liteDialect{path: path}.read(1)
}

// untouched is content that a move leaves alone.
type untouched struct{ quarantine.Contents }

func (untouched) Delete(context.Context, quarantine.ContentID) error { return nil }

// mover is one move under way.
type mover struct {
	s    *Store // of the server: its connection only
	from *sql.DB
	tell Progress
}

func (m *mover) move(ctx context.Context) (messages int64, again bool, err error) {
	s := m.s
	if err := s.encoding(ctx); err != nil {
		return 0, false, err
	}
	if err := s.migrate(ctx); err != nil {
		return 0, false, err
	}
	if err := s.d.alone(ctx, s.conn, true); err != nil {
		return 0, false, sqlError(err, "opening the database %s", s.d.place())
	}
	defer func() {
		if e := s.d.alone(context.WithoutCancel(ctx), s.conn, false); err == nil {
			err = sqlError(e, "closing the database %s", s.d.place())
		}
	}()
	name, err := m.identity(ctx)
	if err != nil {
		return 0, false, err
	}
	if err := m.from.QueryRowContext(ctx, "SELECT COUNT(*) FROM message").Scan(&messages); err != nil {
		return 0, false, sqlError(err, "counting messages")
	}
	if again, err = m.empty(ctx, name); again || err != nil {
		return messages, again, err
	}
	return messages, false, m.all(ctx, name)
}

// identity names the file: what it holds and up to which number.
func (m *mover) identity(ctx context.Context) (string, error) {
	var messages, last, decisions sql.NullInt64
	err := m.from.QueryRowContext(ctx, "SELECT (SELECT COUNT(*) FROM message), (SELECT MAX(mid) FROM message), (SELECT MAX(id) FROM decision)").Scan(&messages, &last, &decisions)
	return fmt.Sprintf("%s %d %d %d", m.s.opt.Name, messages.Int64, last.Int64, decisions.Int64), sqlError(err, "reading the database")
}

// empty refuses a server's database in which somebody works or something is;
// again: what is there came from this file.
func (m *mover) empty(ctx context.Context, name string) (again bool, err error) {
	c, place := m.s.conn, m.s.d.place()
	var live, messages, others int64
	err = c.QueryRowContext(ctx, "SELECT (SELECT COUNT(*) FROM manager WHERE until > "+serverNow+"), (SELECT COUNT(*) FROM message), (SELECT COUNT(*) FROM known)+(SELECT COUNT(*) FROM content)+(SELECT COUNT(*) FROM decision)").
		Scan(&live, &messages, &others)
	if err != nil {
		return false, sqlError(err, "looking into the database %s", place)
	}
	var moved []byte
	err = c.QueryRowContext(ctx, "SELECT value FROM meta WHERE name = $1", movedName).Scan(&moved)
	switch {
	case err != nil && !errors.Is(err, sql.ErrNoRows):
		return false, sqlError(err, "looking into the database %s", place)
	case live > 0:
		return false, errs.New(errs.Conflict, "a manager works on the database %s: stop it first (one that was killed counts for %s)", place, lease)
	case err == nil && string(moved) == name:
		return true, nil
	case messages+others > 0:
		return false, errs.New(errs.Conflict, "the database %s is not empty: it holds %d messages; give an empty one", place, messages)
	}
	return false, nil
}

// all copies table by table.
func (m *mover) all(ctx context.Context, name string) (err error) {
	c := m.s.conn
	for _, q := range []string{"SET idle_in_transaction_session_timeout = 0", "BEGIN", "DELETE FROM meta", "DELETE FROM tally"} {
		if _, err := c.ExecContext(ctx, q); err != nil {
			return sqlError(err, "beginning to copy")
		}
	}
	defer func() {
		if err != nil {
			_, e := c.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
			err = errors.Join(err, sqlError(e, "ending the copy"))
		}
	}()
	tables, err := m.tables(ctx)
	if err != nil {
		return err
	}
	for _, t := range tables {
		if err := m.copy(ctx, t); err != nil {
			return errs.Context(err, "copying the table %s", t.name)
		}
	}
	for _, q := range []struct {
		query string
		args  []any
	}{
		{"INSERT INTO meta (name, value) VALUES ($1, $2)", []any{movedName, []byte(name)}},
		{"INSERT INTO meta (name, value) VALUES ('contents', $1) ON CONFLICT (name) DO NOTHING", []any{[]byte(m.s.opt.Place)}},
		{"UPDATE intent SET owner = $1", []any{m.s.opt.Name}}, // in a file there is only one
		{"SELECT setval(pg_get_serial_sequence('decision', 'id'), (SELECT COALESCE(MAX(id), 0) + 1 FROM decision), false)", nil},
		{"INSERT INTO pending (mid) SELECT mid FROM message", nil}, // the index is made behind the start
		{"COMMIT", nil},
	} {
		if _, err := c.ExecContext(ctx, q.query, q.args...); err != nil {
			return sqlError(err, "ending the copy")
		}
	}
	return nil
}

// moveTable is a table with its columns, in the order of the file.
type moveTable struct {
	name    string
	columns []string
}

// tables lists what is copied. Migrations come in pairs, so both have the same;
// what differs is an error of this program and nothing is copied.
func (m *mover) tables(ctx context.Context) (out []moveTable, err error) {
	rows, err := m.from.QueryContext(ctx, `SELECT t.name, c.name FROM sqlite_master t JOIN pragma_table_info(t.name) c
		WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite\_%' ESCAPE '\' AND t.name NOT LIKE 'search\_%' ESCAPE '\' ORDER BY t.name, c.cid`)
	if err != nil {
		return nil, sqlError(err, "listing tables")
	}
	defer rows.Close()
	for rows.Next() {
		var table, column string
		if err := rows.Scan(&table, &column); err != nil {
			return nil, sqlError(err, "listing tables")
		}
		if slices.Contains(unmoved, table) {
			continue
		}
		if len(out) == 0 || out[len(out)-1].name != table {
			out = append(out, moveTable{name: table})
		}
		t := &out[len(out)-1]
		t.columns = append(t.columns, column)
	}
	if err := rows.Err(); err != nil {
		return nil, sqlError(err, "listing tables")
	}
	for _, t := range out {
		var there int
		err := m.s.conn.QueryRowContext(ctx, "SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = $1", t.name).Scan(&there)
		if err != nil {
			return nil, sqlError(err, "listing columns")
		}
		if there != len(t.columns) {
			return nil, errs.New(errs.Internal, "the table %s has %d columns here and %d there", t.name, len(t.columns), there)
		}
	}
	return out, nil
}

// copy carries one table and compares what arrived.
func (m *mover) copy(ctx context.Context, t moveTable) error {
	var total int64
	if err := m.from.QueryRowContext(ctx, "SELECT COUNT(*) FROM "+t.name).Scan(&total); err != nil {
		return sqlError(err, "counting")
	}
	list := strings.Join(t.columns, ", ")
	rows, err := m.from.QueryContext(ctx, "SELECT "+list+" FROM "+t.name)
	if err != nil {
		return sqlError(err, "reading the file")
	}
	defer rows.Close()
	src := &moveRows{rows: rows, values: make([]any, len(t.columns)), tell: func(n int64) { m.tell(t.name, n, total) }}
	err = m.s.conn.Raw(func(driver any) error {
		_, err := driver.(*stdlib.Conn).Conn().CopyFrom(ctx, pgx.Identifier{t.name}, t.columns, src)
		return err
	})
	if err = errors.Join(src.err, err); err != nil {
		return sqlError(err, "writing to the server")
	}
	there, err := m.s.conn.QueryContext(ctx, "SELECT "+list+" FROM "+t.name)
	if err != nil {
		return sqlError(err, "reading it back")
	}
	defer there.Close()
	back := &moveRows{rows: there, values: make([]any, len(t.columns)), tell: func(int64) {}}
	for back.Next() {
	}
	if err := back.Err(); err != nil {
		return sqlError(err, "reading it back")
	}
	if src.n != total || back.n != total || back.sum != src.sum {
		return errs.New(errs.Damaged, "what arrived is not what was sent: %d of %d rows, %d read; nothing was changed", back.n, total, src.n)
	}
	m.tell(t.name, total, total)
	return nil
}

// moveRows reads rows as the server's driver wants them, and adds up the hashes
// of all: a sum is the same in whatever order they are read.
type moveRows struct {
	rows   *sql.Rows
	values []any
	n      int64
	sum    [4]uint64
	err    error
	tell   func(n int64)
}

// Next implements pgx.CopyFromSource.
func (r *moveRows) Next() bool {
	if r.err != nil || !r.rows.Next() {
		r.err = errors.Join(r.err, r.rows.Err())
		return false
	}
	to := make([]any, len(r.values))
	for i := range r.values {
		to[i] = &r.values[i]
	}
	if r.err = r.rows.Scan(to...); r.err != nil {
		return false
	}
	for i, v := range r.values {
		if b, blob := v.([]byte); v == nil || blob && b == nil { // no column may be null: the file's driver gives an empty BLOB so
			r.values[i] = []byte{}
		}
	}
	r.add()
	if r.n++; r.n%moveStep == 0 {
		r.tell(r.n)
	}
	return true
}

// add adds the hash of a row.
func (r *moveRows) add() {
	h := sha256.New()
	for _, v := range r.values {
		switch v := v.(type) {
		case int64:
			h.Write(binary.BigEndian.AppendUint64([]byte{'i'}, uint64(v)))
		case string:
			h.Write(binary.BigEndian.AppendUint64([]byte{'t'}, uint64(len(v))))
			h.Write([]byte(v))
		case []byte:
			h.Write(binary.BigEndian.AppendUint64([]byte{'b'}, uint64(len(v))))
			h.Write(v)
		default:
			r.err = errs.New(errs.Internal, "a value of kind %T", v)
		}
	}
	sum := h.Sum(nil)
	for i := range r.sum {
		r.sum[i] += binary.BigEndian.Uint64(sum[8*i:])
	}
}

// Values implements pgx.CopyFromSource.
func (r *moveRows) Values() ([]any, error) { return r.values, nil }

// Err implements pgx.CopyFromSource.
func (r *moveRows) Err() error { return r.err }
