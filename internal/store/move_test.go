package store

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
)

// filled makes a file with everything in it that a manager can know.
func filled(t *testing.T, path string, c *memContents) (all []mail.MID) {
	t.Helper()
	s := openSQLite(t, path, c)
	rng := rand.New(rand.NewPCG(5, 6))
	var recs []*quarantine.Record
	for i := range 60 {
		r := randomRecord(t, s, c, rng, i)
		if i == 7 {
			r.Subject, r.Display = "odd \x00\xff\U0010fe01", "odd"
		}
		add(t, s, r)
		recs, all = append(recs, r), append(all, r.MID)
	}
	change(t, s, true, remove(recs[0]))
	change(t, s, true, remove(recs[1]))
	if n, err := s.Forget(ctx, start.Add(time.Hour), start.Add(-time.Hour), 1); err != nil || n != 1 { // its key is known
		t.Fatal(n, err)
	}
	for range 3 {
		if _, err := s.Decide(ctx, quarantine.Decision{Action: quarantine.Delete, By: "alice", At: start}); err != nil {
			t.Fatal(err)
		}
	}
	going := *recs[2]
	going.State, going.Actions = quarantine.Releasing, 1
	going.Release = []quarantine.Delivery{{Recipient: going.Envelope.To[0], State: quarantine.Queued, Action: 1, Asked: start}}
	change(t, s, true, quarantine.Change{Before: recs[2], After: &going, Intent: &quarantine.Intent{Action: mail.NewActionKey(going.Key, 1), Cause: quarantine.Manual, By: "alice", At: start}})
	if err := s.Retire(ctx, "Mine", quarantine.Release); err != nil {
		t.Fatal(err)
	}
	if err := s.do(ctx, true, func(t *tx) error { return t.exec("INSERT INTO meta (name, value) VALUES ('flush', $1)", []byte{}) }); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return all
}

func target(dsn string, c *memContents) Options {
	return Options{DSN: dsn, Name: "M1", Place: "memory", Contents: c, Clock: func() time.Time { return start }}
}

func quietly(string, int64, int64) {}

// A manager's file is carried to a server whole; the manager goes on there as if
// it had always been.
func TestMove(t *testing.T) {
	dsn, path, c := newDatabase(t), filepath.Join(t.TempDir(), "q.db"), &memContents{}
	mids := filled(t, path, c)
	objects := c.len()
	told := map[string]int64{}
	n, again, err := Move(ctx, path, target(dsn, c), func(table string, done, total int64) {
		if told[table] = done; done > total {
			t.Errorf("%s: %d of %d", table, done, total)
		}
	})
	if err != nil || again || n != 59 || told["message"] != 59 || told["known"] != 1 {
		t.Fatal(n, again, err, told)
	}
	if n, again, err = Move(ctx, path, target(dsn, c), quietly); err != nil || !again || n != 59 {
		t.Errorf("once more: %d, %v, %v", n, again, err)
	}
	a := openSQLite(t, path, c)
	b := openPostgres(t, dsn, c)
	if c.len() != objects {
		t.Errorf("%d contents of %d are left", c.len(), objects)
	}
	was, err := a.Load(ctx, mids)
	if err != nil {
		t.Fatal(err)
	}
	is, err := b.Load(ctx, mids)
	if err != nil || len(is) != 59 {
		t.Fatal(len(is), err)
	}
	for i := range was {
		if !reflect.DeepEqual(was[i], is[i]) {
			t.Errorf("was\n%+v\nis\n%+v", was[i], is[i])
		}
	}
	for name, get := range map[string]func(s *Store) (any, error){
		"counts":  func(s *Store) (any, error) { return s.Counts(ctx) },
		"usage":   func(s *Store) (any, error) { return s.Usage(ctx) },
		"exits":   func(s *Store) (any, error) { return s.Exits(ctx) },
		"retired": func(s *Store) (any, error) { return s.Retired(ctx) },
		"due":     func(s *Store) (any, error) { return s.Due(ctx, start.Add(24*time.Hour), 1000) },
		"search": func(s *Store) (any, error) {
			return find(s, quarantine.Query{Attachment: quarantine.Attachment{Type: quarantine.Text{Text: "pdf"}}, By: quarantine.BySubject})
		},
	} {
		x, err1 := get(a)
		y, err2 := get(b)
		if err1 != nil || err2 != nil || !reflect.DeepEqual(x, y) {
			t.Errorf("%s: was %+v %v, is %+v %v", name, x, err1, y, err2)
		}
	}
	if next := b.NextMID(); next <= slices.Max(mids) {
		t.Errorf("number %d is given again", next)
	}
	if id, err := b.Decide(ctx, quarantine.Decision{Action: quarantine.Delete, By: "bob", At: start}); err != nil || id != 4 {
		t.Errorf("decision %d, %v", id, err)
	}
	var owner string
	if err := b.read.QueryRow("SELECT owner FROM intent").Scan(&owner); err != nil || owner != "M1" {
		t.Errorf("the release under way belongs to %q, %v", owner, err)
	}
	if _, again, err := Move(ctx, path, target(dsn, c), quietly); !errs.Is(err, errs.Conflict) || again || !strings.Contains(err.Error(), "stop it first") {
		t.Errorf("while a manager works there: %v, %v", again, err)
	}
}

// What does not succeed leaves nothing, and what is another's is left alone.
func TestMoveAllOrNothing(t *testing.T) {
	dsn, path, c := newDatabase(t), filepath.Join(t.TempDir(), "q.db"), &memContents{}
	filled(t, path, c)
	for _, table := range []string{"attachment", "message", "tally"} {
		cut, cancel := context.WithCancel(ctx)
		if _, _, err := Move(cut, path, target(dsn, c), func(name string, _, _ int64) {
			if name == table {
				cancel()
			}
		}); err == nil {
			t.Errorf("cut off at %s, and no error", table)
		}
		cancel()
	}
	if n, again, err := Move(ctx, path, target(dsn, c), quietly); err != nil || again || n != 59 {
		t.Errorf("after three that were cut off: %d, %v, %v", n, again, err)
	}
	other := newDatabase(t)
	s := openQuiet(t, Options{DSN: other, Name: "M1", Contents: c})
	add(t, s, record(t, s, c, 999, "theirs", "Policy"))
	s.Close()
	_, _, err := Move(ctx, path, target(other, c), quietly)
	if !errs.Is(err, errs.Conflict) || !strings.Contains(err.Error(), "holds 1 messages") {
		t.Errorf("a database that is not empty: %v", err)
	}
}

// Each table is carried, or known not to be: a new one is not forgotten.
func TestMoveTables(t *testing.T) {
	s := openPostgres(t, newDatabase(t), &memContents{})
	rows, err := s.read.Query("SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	path := filepath.Join(t.TempDir(), "q.db")
	openSQLite(t, path, &memContents{}).Close()
	from, err := liteDialect{path: path}.read(1)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	moved, err := (&mover{s: s, from: from}).tables(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		known := slices.Contains(unmoved, name) || name == "manager" || name == "turn" // of several managers, which a file has not
		if slices.ContainsFunc(moved, func(m moveTable) bool { return m.name == name }) == known {
			t.Errorf("is %s carried or not?", name)
		}
	}
	if err := rows.Err(); err != nil {
		t.Error(err)
	}
	if len(moved) < 10 {
		t.Error(fmt.Sprint("only ", moved))
	}
}
