package store

import (
	"context"
	"database/sql"
	"errors"

	"lazaret/internal/errs"
)

// Try says what is wrong with a database on a server, without changing it.
func Try(ctx context.Context, opt Options) (err error) {
	d, err := newPostgres(opt.DSN)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*connectWait)
	defer cancel()
	s := &Store{opt: opt, d: d}
	if s.read, err = d.read(1); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.read.Close()) }()
	if s.conn, err = s.read.Conn(ctx); err != nil {
		return errs.Context(sqlError(err, "connecting"), "%s", d.place())
	}
	defer func() { err = errors.Join(err, s.conn.Close()) }()
	return s.tryConn(ctx)
}

func (s *Store) tryConn(ctx context.Context) error {
	if err := s.encoding(ctx); err != nil {
		return err
	}
	var made, filled bool
	err := s.conn.QueryRowContext(ctx, "SELECT to_regclass('schema_version') IS NOT NULL, to_regclass('meta') IS NOT NULL").Scan(&made, &filled)
	if err != nil {
		return sqlError(err, "reading the version of the database %s", s.d.place())
	}
	if !made {
		var may bool
		err := s.conn.QueryRowContext(ctx, "SELECT has_schema_privilege(current_schema(), 'CREATE')").Scan(&may)
		if err == nil && !may {
			return errs.New(errs.Denied, "the database %s: its user may not make tables there", s.d.place())
		}
		return sqlError(err, "reading the rights in the database %s", s.d.place())
	}
	list, err := listMigrations(migrations, s.d.name())
	if err == nil {
		_, err = s.fits(ctx, list)
	}
	if err == nil && filled {
		err = s.contentsHere(ctx)
	}
	return err
}

func (s *Store) encoding(ctx context.Context) error {
	var encoding string
	if err := s.conn.QueryRowContext(ctx, "SELECT current_setting('server_encoding')").Scan(&encoding); err != nil {
		return sqlError(err, "opening the database %s", s.d.place())
	}
	if encoding != "UTF8" {
		return errs.New(errs.Invalid, "the database %s has the encoding %s: make one with UTF8", s.d.place(), encoding)
	}
	return nil
}

// contentsHere refuses a database whose content lies elsewhere.
func (s *Store) contentsHere(ctx context.Context) error {
	var place string
	err := s.conn.QueryRowContext(ctx, "SELECT convert_from(value, 'UTF8') FROM meta WHERE name = 'contents'").Scan(&place)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil:
		return sqlError(err, "opening the database %s", s.d.place())
	case place != s.opt.Place:
		return errs.New(errs.Conflict, "the content of the messages in %s is kept in %s, and this manager keeps its content in %s: managers share a database only when they share content",
			s.d.place(), place, s.opt.Place)
	}
	return nil
}
