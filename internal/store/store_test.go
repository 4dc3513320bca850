package store

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"go.uber.org/goleak"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
	"lazaret/internal/queue"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		crashChild(dir) // never returns
	}
	if name := os.Getenv(managerName); name != "" {
		managerChild(name) // never returns
	}
	goleak.VerifyTestMain(withServer{m})
}

func openSQLite(t testing.TB, path string, c quarantine.Contents) *Store {
	t.Helper()
	s, err := Open(ctx, Options{Path: path, Contents: c, Clock: func() time.Time { return start },
		OnFault: func(err error) { t.Error(err) }, OnFatal: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestSQLite(t *testing.T) {
	suite(t, func(t *testing.T, c *memContents) backend {
		return openSQLite(t, filepath.Join(t.TempDir(), "q.db"), c)
	})
}

// Before 3.51.3 SQLite could lose data when a log was reset (stack.md, finding 6).
func TestSQLiteVersion(t *testing.T) {
	s := openSQLite(t, filepath.Join(t.TempDir(), "q.db"), &memContents{})
	var n int
	var v string
	if err := s.read.QueryRow("SELECT sqlite_version()").Scan(&v); err != nil {
		t.Fatal(err)
	}
	for _, p := range strings.Split(v, ".") {
		k := 0
		for _, c := range p {
			k = k*10 + int(c-'0')
		}
		n = n*1000 + k
	}
	if n < 3_051_003 {
		t.Errorf("SQLite %s is older than 3.51.3", v)
	}
	for db, want := range map[*sql.DB]string{s.read: "2 wal 1", s.write: "2 wal 0"} {
		if db == s.write {
			continue // its only connection is taken; it has the same settings but for query_only
		}
		var sync, mode, query string
		for q, to := range map[string]*string{"synchronous": &sync, "journal_mode": &mode, "query_only": &query} {
			if err := db.QueryRow("PRAGMA " + q).Scan(to); err != nil {
				t.Fatal(err)
			}
		}
		if got := sync + " " + mode + " " + query; got != want {
			t.Errorf("settings %s, want %s", got, want)
		}
	}
	var level int
	if err := s.conn.QueryRowContext(ctx, "PRAGMA synchronous").Scan(&level); err != nil || level != 2 {
		t.Errorf("the writer has synchronous %d, %v", level, err)
	}
	if err := s.flushing(false); err != nil {
		t.Fatal(err)
	}
	if err := s.conn.QueryRowContext(ctx, "PRAGMA synchronous").Scan(&level); err != nil || level != 1 {
		t.Errorf("unsynced: synchronous %d, %v", level, err)
	}
	if err := s.flushing(true); err != nil {
		t.Fatal(err)
	}
	if err := s.conn.QueryRowContext(ctx, "PRAGMA synchronous").Scan(&level); err != nil || level != 2 {
		t.Errorf("synced again: synchronous %d, %v", level, err)
	}
}

// The driver works only with exactly the libc of its own go.mod (finding 7).
func TestLibcPin(t *testing.T) {
	goMod := func(arg ...string) string {
		b, err := exec.Command("go", append([]string{"list", "-m", "-f"}, arg...)...).Output()
		if err != nil {
			t.Skip("no go tool:", err)
		}
		return strings.TrimSpace(string(b))
	}
	b, err := os.ReadFile(goMod("{{.GoMod}}", "modernc.org/sqlite"))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`modernc\.org/libc (\S+)`).FindSubmatch(b)
	if have := goMod("{{.Version}}", "modernc.org/libc"); m == nil || string(m[1]) != have {
		t.Errorf("modernc.org/libc is %s, the driver wants %s", have, m)
	}
}

func TestMigrations(t *testing.T) {
	path := filepath.Join(t.TempDir(), "q.db")
	c := &memContents{}
	s := openSQLite(t, path, c)
	r := record(t, s, c, 1, "a", "Policy")
	add(t, s, r)
	s.Close()
	s = openSQLite(t, path, c)
	if load(t, s, r.MID).Key != r.Key {
		t.Error("the record did not survive")
	}
	if n := s.NextMID(); n <= r.MID {
		t.Errorf("number %d is given again after %d", n, r.MID)
	}
	spoil := func(q string) error {
		t.Helper()
		if _, err := s.conn.ExecContext(ctx, q); err != nil {
			t.Fatal(err)
		}
		s.Close()
		_, err := Open(ctx, Options{Path: path, Contents: c})
		return err
	}
	if err := spoil("INSERT INTO schema_version SELECT MAX(version) + 1, 'next', 'x', 0 FROM schema_version"); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), "newer program") {
		t.Errorf("a newer database: %v", err)
	}
	db, _ := liteDialect{path: path}.openDB(1, "")
	db.Exec("DELETE FROM schema_version WHERE name = 'next'")
	db.Exec("UPDATE schema_version SET sum = 'y'")
	db.Close()
	if _, err := Open(ctx, Options{Path: path, Contents: c}); !errs.Is(err, errs.Damaged) {
		t.Errorf("another migration: %v", err)
	}
	bad := fstest.MapFS{"migration/0001_a.sqlite.sql": {}, "migration/0003_b.sqlite.sql": {}}
	if _, err := listMigrations(bad, "sqlite"); err == nil {
		t.Error("a gap in the numbers was accepted")
	}
}

// A number is given once, by many at once, over restarts, more of them than one block has.
func TestNumbers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "q.db")
	seen := map[mail.MID]bool{}
	var mu sync.Mutex
	for range 3 {
		s := openSQLite(t, path, &memContents{})
		if last := s.LastMID(); int(last) != len(seen) {
			t.Errorf("after a clean end %d numbers were given, and the last is %d", len(seen), last)
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range block/2 + 100 {
					n := s.NextMID()
					mu.Lock()
					if n == 0 || seen[n] {
						t.Errorf("number %d", n)
					}
					seen[n] = true
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		s.Close()
		if n := s.NextMID(); n != 0 && seen[n] {
			t.Errorf("number %d after the end", n)
		}
	}
}

// A closed store says so and hangs nobody.
func TestClosed(t *testing.T) {
	c := &memContents{}
	s := openSQLite(t, filepath.Join(t.TempDir(), "q.db"), c)
	r := record(t, s, c, 1, "a", "Policy")
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			x := *r
			if _, _, err := s.Add(ctx, &x); err != nil && !errs.Is(err, errs.Closed) {
				t.Errorf("at the end: %v", err)
			}
		})
	}
	s.Close()
	wg.Wait()
	if _, _, err := s.Add(ctx, r); !errs.Is(err, errs.Closed) {
		t.Errorf("after the end: %v", err)
	}
	done, cancel := context.WithCancel(ctx)
	cancel()
	if err := s.do(done, true, nil); !errs.Is(err, errs.Temporary) {
		t.Errorf("with a context that is over: %v", err)
	}
}

// P5: a damaged record hides no other, neither in a search nor at the start of
// the queue; it is reported, and its release is set aside.
func TestDamagedRecord(t *testing.T) {
	c := &memContents{}
	var mu sync.Mutex
	faults := 0
	s, err := Open(ctx, Options{Path: filepath.Join(t.TempDir(), "q.db"), Contents: c, OnFault: func(error) {
		mu.Lock()
		faults++
		mu.Unlock()
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var mids []mail.MID
	for i := range 5 {
		r := record(t, s, c, i, strings.Repeat("x", i+1), "Policy")
		add(t, s, r)
		change(t, s, true, release(r, 1))
		mids = append(mids, r.MID)
	}
	for i, q := range []string{"UPDATE message SET detail = '{' WHERE mid = $1", "UPDATE message SET recipients = 'no address' WHERE mid = $1"} {
		if err := s.do(ctx, true, func(t *tx) error { return t.exec(q, int64(mids[2+i])) }); err != nil {
			t.Fatal(err)
		}
	}
	want := []mail.MID{mids[4], mids[1], mids[0]}
	if got, err := find(s, quarantine.Query{Limit: 3}); err != nil || !slices.Equal(got, want) {
		t.Errorf("found %v, %v, want %v", got, err, want)
	}
	var seen []mail.MID
	if err := s.Releases().Scan(ctx, func(it *queue.Item) error { seen = append(seen, it.MID); return nil }); err != nil || len(seen) != 3 {
		t.Errorf("the queue starts with %v, %v", seen, err)
	}
	if _, err := s.Releases().Load(ctx, mids[2]); !errs.Is(err, errs.NotFound) || faults == 0 {
		t.Errorf("the damaged one: %v, %d faults", err, faults)
	}
}

// A database of each earlier version opens with what it held. testdata has
// dumps that those versions wrote.
func TestOldDatabase(t *testing.T) {
	dump, err := os.ReadFile("testdata/v1.sqlite.sql")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "old.db")
	db, err := liteDialect{path: path}.openDB(1, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(ctx, string(dump)); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	checkOld(t, openSQLite(t, path, &memContents{}))
}

// The rows that version 1 wrote, in a database of the first PostgreSQL
// migration: the same in both but for how bytes are written.
func TestOldPostgres(t *testing.T) {
	dump, err := os.ReadFile("testdata/v1.sqlite.sql")
	if err != nil {
		t.Fatal(err)
	}
	dsn := newDatabase(t)
	db, err := (&pgDialect{}).openDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	list, err := listMigrations(migrations, "postgres")
	if err != nil {
		t.Fatal(err)
	}
	text := `CREATE TABLE schema_version (version BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL, sum TEXT NOT NULL, at BIGINT NOT NULL);` + list[0].text
	for _, line := range regexp.MustCompile(`(?m)^INSERT.*$`).FindAllString(string(dump), -1) {
		line = regexp.MustCompile(`\bX'([0-9a-f]*)'`).ReplaceAllString(line, `'\x$1'`)
		line = regexp.MustCompile(`replace\('((?:[^']|'')*)','\\n',char\(10\)\)`).ReplaceAllString(line, `E'$1'`)
		if strings.HasPrefix(line, "INSERT INTO schema_version") {
			line = fmt.Sprintf("INSERT INTO schema_version VALUES (1, 'quarantine', '%s', 0);", list[0].sum)
		}
		text += line + "\n"
	}
	if _, err := db.Exec(text); err != nil {
		t.Fatal(err)
	}
	s := openPostgres(t, dsn, &memContents{})
	if _, err := db.Exec("UPDATE intent SET owner = 'M1'"); err != nil { // as a takeover does
		t.Fatal(err)
	}
	checkOld(t, s)
}

func checkOld(t *testing.T, s *Store) {
	t.Helper()
	all, err := s.Load(ctx, []mail.MID{2, 1})
	if err != nil || len(all) != 2 || all[1].State != quarantine.Held || len(all[1].Memberships) != 2 || all[0].State != quarantine.Releasing ||
		!all[0].Until.IsZero() || all[0].Hold.On() {
		t.Errorf("%v\n%+v", err, all)
	}
	if u, err := s.Usage(ctx); err != nil || u.All.Messages != 2 || u.Going.Messages != 1 || u.Bin.Messages != 0 {
		t.Errorf("%+v, %v", u, err)
	}
	if l, err := s.Evictable(ctx, nil, 10); err != nil || len(l) != 1 || l[0].MID != all[1].MID {
		t.Errorf("%v, %v", l, err)
	}
	change(t, s, true, remove(all[1]))
	if it, err := s.Releases().Load(ctx, all[0].MID); err != nil || it.Release.By != "alice" {
		t.Errorf("%+v, %v", it, err)
	}
}

// indexNow indexes without waiting for the moment.
func (s *Store) indexNow() error { return s.indexAll(ctx) }
