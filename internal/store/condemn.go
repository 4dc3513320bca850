package store

import (
	"context"
	"crypto/rand"
	"strconv"
	"strings"

	"lazaret/internal/quarantine"
)

// condemnBatch is how many objects one statement asks for.
const condemnBatch = 500

// Condemn is the question of a sweep of content that several managers share:
// it says for each object whether some record's content is kept in it, and sees
// to it that one of which it says no never will be.
//
// A condemned object has a row in content itself. Its name is under the same
// unique index as those of all others, so a record that is written at the same
// moment and this row can never both be there, in whatever order they come and
// whatever the database lets a transaction see: the later one fails, here or in
// Add. The rows stay: there is one for each object that a crash left behind.
func (s *Store) Condemn(ctx context.Context, ids []quarantine.ContentID) ([]bool, error) {
	known := make([]bool, len(ids))
	for at := 0; at < len(ids); at += condemnBatch {
		end := min(at+condemnBatch, len(ids))
		if err := s.condemn(ctx, ids[at:end], known[at:end]); err != nil {
			return nil, err
		}
	}
	return known, nil
}

func (s *Store) condemn(ctx context.Context, ids []quarantine.ContentID, known []bool) error {
	refs, err := s.references(ctx, ids)
	if err != nil {
		return err
	}
	lost := 0
	for i, id := range ids {
		n, ok := refs[id]
		if known[i] = ok && n > 0; !ok {
			lost++
		}
	}
	if lost == 0 {
		return nil
	}
	return s.do(ctx, true, func(t *tx) error {
		for i, id := range ids {
			if _, ok := refs[id]; ok {
				continue
			}
			n, err := t.execN("INSERT INTO content (hash, object, size, refs) VALUES ($1, $2, 0, 0) ON CONFLICT DO NOTHING", []byte(id), string(id))
			if err != nil {
				return err
			}
			known[i] = n == 0 // somebody's by now, or another sweep's: the next one sees
		}
		return nil
	})
}

// references gives the number of messages for each object that has a row.
func (s *Store) references(ctx context.Context, ids []quarantine.ContentID) (map[quarantine.ContentID]int64, error) {
	var in strings.Builder
	args := make([]any, len(ids))
	for i, id := range ids {
		if i > 0 {
			in.WriteString(", ")
		}
		in.WriteString("$" + strconv.Itoa(i+1))
		args[i] = string(id)
	}
	rows, err := s.read.QueryContext(ctx, "SELECT object, refs FROM content WHERE object IN ("+in.String()+")", args...)
	if err != nil {
		return nil, sqlError(err, "asking for content")
	}
	defer rows.Close()
	refs := make(map[quarantine.ContentID]int64, len(ids))
	for rows.Next() {
		var id string
		var n int64
		if err := rows.Scan(&id, &n); err != nil {
			return nil, sqlError(err, "asking for content")
		}
		refs[quarantine.ContentID(id)] = n
	}
	return refs, sqlError(rows.Err(), "asking for content")
}

// InBucket reports whether some message's content is kept in a bucket: such
// objects begin with another letter than those on this machine.
func (s *Store) InBucket(ctx context.Context) (is bool, err error) {
	err = s.read.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM content WHERE object >= 'b' AND object < 'c' AND refs > 0)").Scan(&is)
	return is, sqlError(err, "asking for content")
}

// identityName is the key of the database's own name in meta.
const identityName = "identity"

// Identity gives the name that the database got when it was first asked, the
// same for all managers on it.
func (s *Store) Identity(ctx context.Context) (name string, err error) {
	err = s.do(ctx, true, func(t *tx) error {
		if err := t.exec("INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING", identityName, []byte(rand.Text())); err != nil {
			return err
		}
		var b []byte
		_, err := t.row("SELECT value FROM meta WHERE name = $1", []any{identityName}, &b)
		name = string(b)
		return err
	})
	return name, err
}
