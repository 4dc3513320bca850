package store

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"io/fs"
	"strconv"
	"strings"

	"lazaret/internal/errs"
)

//go:embed migration/*.sql
var migrations embed.FS

// migration is one numbered file. Files are never changed once released: the
// checksum of each is kept with the database.
type migration struct {
	version int
	name    string
	text    string
	sum     string
}

// listMigrations reads the files NNNN_name.DIALECT.sql; numbers start at 1 and
// have no gaps.
func listMigrations(dir fs.FS, dialect string) ([]migration, error) {
	names, err := fs.Glob(dir, "migration/*."+dialect+".sql") // sorted
	if err != nil {
		return nil, err
	}
	var list []migration
	for _, n := range names {
		base := strings.TrimSuffix(strings.TrimPrefix(n, "migration/"), "."+dialect+".sql")
		num, name, _ := strings.Cut(base, "_")
		v, err := strconv.Atoi(num)
		if err != nil || v != len(list)+1 {
			return nil, errs.New(errs.Internal, "migration %s is out of order", n)
		}
		b, err := fs.ReadFile(dir, n)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(b)
		list = append(list, migration{v, name, string(b), hex.EncodeToString(sum[:])})
	}
	return list, nil
}

// migrate brings the database to the newest form, each step in a transaction of
// its own.
func (s *Store) migrate(ctx context.Context) error {
	list, err := listMigrations(migrations, s.d.name())
	if err != nil {
		return err
	}
	if err := s.d.alone(ctx, s.conn, true); err != nil {
		return sqlError(err, "opening the database %s", s.d.place())
	}
	err = s.migrateTo(ctx, list)
	return errors.Join(err, sqlError(s.d.alone(ctx, s.conn, false), "opening the database %s", s.d.place()))
}

func (s *Store) migrateTo(ctx context.Context, list []migration) error {
	const table = `CREATE TABLE IF NOT EXISTS schema_version (
		version BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL, sum TEXT NOT NULL, at BIGINT NOT NULL)`
	if _, err := s.conn.ExecContext(ctx, table); err != nil {
		return sqlError(err, "opening the database %s", s.d.place())
	}
	have, err := s.fits(ctx, list)
	if err != nil {
		return err
	}
	for _, m := range list[len(have):] {
		if err := s.step(ctx, m); err != nil {
			return sqlError(err, "migrating the database %s to version %d", s.d.place(), m.version)
		}
	}
	return nil
}

// fits refuses a database that this program does not know, and gives the
// checksums of the migrations that were made.
func (s *Store) fits(ctx context.Context, list []migration) ([]string, error) {
	have, err := s.applied(ctx)
	if err != nil {
		return nil, err
	}
	if len(have) > len(list) {
		return nil, errs.New(errs.Invalid, "the database %s is of version %d; this program knows versions up to %d: use a newer program",
			s.d.place(), len(have), len(list))
	}
	for i, sum := range have {
		if sum != list[i].sum {
			return nil, errs.New(errs.Damaged, "the database %s was made with another migration %d than this program has", s.d.place(), i+1)
		}
	}
	return have, nil
}

// applied gives the checksums of the migrations that were made, in order.
func (s *Store) applied(ctx context.Context) ([]string, error) {
	rows, err := s.conn.QueryContext(ctx, "SELECT version, sum FROM schema_version ORDER BY version")
	if err != nil {
		return nil, sqlError(err, "reading the version of the database %s", s.d.place())
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var v int
		var sum string
		if err := rows.Scan(&v, &sum); err != nil {
			return nil, sqlError(err, "reading the version of the database %s", s.d.place())
		}
		if v != len(out)+1 {
			return nil, errs.New(errs.Damaged, "the database %s lacks migration %d", s.d.place(), len(out)+1)
		}
		out = append(out, sum)
	}
	return out, sqlError(rows.Err(), "reading the version of the database %s", s.d.place())
}

func (s *Store) step(ctx context.Context, m migration) error {
	tx, err := s.conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, m.text); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO schema_version (version, name, sum, at) VALUES ($1, $2, $3, $4)",
		m.version, m.name, m.sum, s.now().UnixMilli())
	if err != nil {
		return err
	}
	return tx.Commit()
}
