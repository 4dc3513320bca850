package store

import (
	"fmt"
	"os"
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
