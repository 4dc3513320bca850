package store

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
	"lazaret/internal/testlib/litedisk"
)

// stopped is a disk that does not answer while it is held.
type stopped struct {
	mu   sync.Mutex
	free chan struct{} // nil: it answers
	hit  chan struct{} // something waits for it
}

func (d *stopped) before(string, string) error {
	d.mu.Lock()
	free := d.free
	d.mu.Unlock()
	if free != nil {
		select {
		case d.hit <- struct{}{}:
		default:
		}
		<-free
	}
	return nil
}

// hold stops the disk until the function is called that it gives.
func (d *stopped) hold() (release func()) {
	free := make(chan struct{})
	d.mu.Lock()
	defer d.mu.Unlock()
	d.free = free
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.free = nil
		close(free)
	}
}

// F9, F7: whoever brings mail or decides while a commit gets no answer hears an
// error in time. What was under way may be made when the disk goes on, and what
// came behind it is not; a repeat of all of it leaves each message once, no
// content that is nobody's, and the queue hears of the release.
func TestDeadDiskAnswers(t *testing.T) {
	d := &stopped{hit: make(chan struct{}, 1)}
	disk := litedisk.New(t)
	disk.Quick, disk.Before = true, d.before
	c := &memContents{}
	s, err := Open(ctx, Options{Path: filepath.Join(t.TempDir(), "q.db"), vfs: disk.Name(), wait: 50 * time.Millisecond, Lease: 100 * time.Millisecond,
		Contents: c, Clock: func() time.Time { return start }, OnFault: func(err error) { t.Error(err) }, OnFatal: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	deadAnswers(t, s, c, func() (func(), func() bool) {
		select {
		case <-d.hit:
		default:
		}
		return d.hold(), func() bool {
			select {
			case <-d.hit:
				return true
			default:
				return false
			}
		}
	})
}

// The same with a server on which somebody holds what each commit needs.
func TestStuckServerAnswers(t *testing.T) {
	dsn := newDatabase(t)
	c := &memContents{}
	s := openQuiet(t, Options{DSN: dsn, Name: "M1", Place: "memory", AnyClock: true, Contents: c, wait: 50 * time.Millisecond, Lease: 3 * time.Second,
		Clock: func() time.Time { return start }})
	d, err := newPostgres(dsn)
	if err != nil {
		t.Fatal(err)
	}
	db, err := d.write()
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	deadAnswers(t, s, c, func() (func(), func() bool) {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec("SELECT 1 FROM manager WHERE name = 'M1' FOR UPDATE"); err != nil {
			t.Fatal(err)
		}
		return func() { tx.Rollback() }, func() bool {
			var n int
			err := tx.QueryRow("SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'").Scan(&n)
			if err != nil {
				t.Fatal(err)
			}
			return n > 0
		}
	})
}

// deadAnswers does it: hold stops the store, and gives what lets it go on and
// what says whether the writer waits for it.
func deadAnswers(t *testing.T, s *Store, c *memContents, hold func() (free func(), hit func() bool)) {
	t.Helper()
	var mu sync.Mutex
	taken := map[mail.MID]bool{}
	run, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Releases().TakeOver(run, func(mid mail.MID) { mu.Lock(); taken[mid] = true; mu.Unlock() }); err != nil {
			t.Error(err)
		}
	})
	defer wg.Wait()
	defer stop()
	var held mail.MID
	again(t, s, func() (err error) { // a busy machine may be late here already
		held, _, err = s.Add(ctx, record(t, s, c, 0, "deposit 0", "Policy"))
		return err
	})
	settle(t, s)
	n := 1
	for _, first := range []string{"release", "deposit"} {
		free, hit := hold()
		refuse := func(what string, err error) {
			if !errs.Is(err, errs.Temporary) {
				t.Errorf("%s: %v", what, err)
			}
		}
		one := func() error {
			_, err := s.Change(ctx, []quarantine.Change{release(load(t, s, held), 1)})
			return err
		}
		if first == "deposit" {
			one = func() error { return bring(t, s, c, 1) }
		}
		for refuse(first, one()); !hit(); refuse(first, one()) { // until one is under way
		}
		var adds sync.WaitGroup
		for range 8 {
			n++
			number := n
			adds.Go(func() { refuse("deposit", bring(t, s, c, number)) })
		}
		adds.Wait() // all have their answer, and the store still hangs
		free()
		settle(t, s)
	}
	for i := 1; i <= n; i++ { // who heard 4xx comes again
		again(t, s, func() error { return bring(t, s, c, i) })
	}
	var rows int
	if err := s.read.QueryRow("SELECT COUNT(*) FROM message").Scan(&rows); err != nil || rows != n+1 {
		t.Errorf("%d records of %d messages, %v", rows, n+1, err)
	}
	until(t, func() bool { return c.len() == n+1 }) // what nobody needs is removed behind the writer
	r := load(t, s, held)
	if r.State != quarantine.Releasing { // it was undone: nobody may send it
		return
	}
	until(t, func() bool { mu.Lock(); defer mu.Unlock(); return taken[held] })
}

// bring deposits message n, as a peer does: each time with a content of its own.
func bring(t *testing.T, s *Store, c *memContents, n int) error {
	_, _, err := s.Add(ctx, record(t, s, c, n, fmt.Sprint("deposit ", n), "Policy"))
	return err
}

// settle waits until the writer has done all that it was asked for.
func settle(t *testing.T, s *Store) {
	t.Helper()
	if err := s.do(ctx, true, func(t *tx) error { return t.flush() }); err != nil {
		t.Fatal(err)
	}
}

// again repeats what was refused because the machine is busy.
func again(t *testing.T, s *Store, do func() error) {
	t.Helper()
	until(t, func() bool {
		err := do()
		if err != nil && !errs.Is(err, errs.Temporary) {
			t.Error(err)
			return true
		}
		if err != nil {
			settle(t, s)
		}
		return err == nil
	})
}
