package store

import (
	"database/sql"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"lazaret/internal/quarantine"
	"lazaret/internal/testlib"
)

// server is the PostgreSQL server of this package's tests, started when the
// first of them needs it.
var server struct {
	once sync.Once
	p    *testlib.Postgres
	err  error
}

// withServer ends the server behind the tests.
type withServer struct{ m *testing.M }

func (w withServer) Run() int {
	code := w.m.Run()
	if server.p != nil {
		if err := server.p.End(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	return code
}

// newDatabase gives the DSN of an empty database.
func newDatabase(t testing.TB) string {
	t.Helper()
	server.once.Do(func() { server.p, server.err = testlib.StartPostgres() })
	if server.err != nil {
		t.Fatal(server.err)
	}
	return server.p.Database(t)
}

func openPostgres(t testing.TB, dsn string, c quarantine.Contents) *Store {
	t.Helper()
	return openAs(t, dsn, c, "M1")
}

func openAs(t testing.TB, dsn string, c quarantine.Contents, name string) *Store {
	t.Helper()
	s, err := Open(ctx, Options{DSN: dsn, Name: name, Place: "memory", AnyClock: true, Contents: c, Clock: func() time.Time { return start },
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

func TestPostgres(t *testing.T) {
	suite(t, func(t *testing.T, c *memContents) backend { return openPostgres(t, newDatabase(t), c) })
}

// openQuiet opens a store whose trouble is expected.
func openQuiet(t testing.TB, o Options) *Store {
	t.Helper()
	o.AnyClock, o.Place = true, "memory"
	if o.Clock == nil {
		o.Clock = func() time.Time { return start }
	}
	if o.OnFault == nil {
		o.OnFault = func(err error) { t.Log(err) }
	}
	s, err := Open(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Log(err)
		}
	})
	return s
}

// dbname gives the database of a DSN of the test server.
func dbname(dsn string) string { return dsn[strings.LastIndexByte(dsn, '=')+1:] }

func r0(n int) string { return strconv.Itoa(n) }

// until waits for something that happens in another goroutine or process.
func until(t testing.TB, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not happen")
		}
	}
}

// openDSN opens a pool that is nobody's.
func (*pgDialect) openDSN(dsn string) (*sql.DB, error) {
	d, err := newPostgres(dsn)
	if err != nil {
		return nil, err
	}
	return d.open(4, nil), nil
}
