package blob

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"lazaret/internal/errs"
)

// patience is how long a caller waits for a write: a full disk is waited for
// below us, in the end without anybody to answer (rule Q-3 and its cap).
const patience = 30 * time.Second

// bounded does a write and waits for it so long at most. abandoned: nobody waits
// any more; it may still be made, and after runs behind it, however it ends.
// What write and after use they own.
func (s *Store) bounded(wait time.Duration, write func() error, after func()) (err error, abandoned bool) {
	if !s.gate.Enter() {
		return errs.New(errs.Closed, "the content store is closed"), false
	}
	done := make(chan error, 1)
	var answered atomic.Bool // whoever sets it first has the last word
	go func() {
		defer s.gate.Leave()
		err := write()
		if answered.CompareAndSwap(false, true) {
			done <- err
		} else {
			after()
		}
	}()
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case err := <-done:
		return err, false
	case <-s.died:
	case <-t.C:
	}
	if !answered.CompareAndSwap(false, true) {
		return <-done, false // just in time
	}
	if e := s.dead.Load(); e != nil {
		return *e, true
	}
	if err := s.opt.Disk.Ready(); err != nil {
		return err, true
	}
	return errs.New(errs.Temporary, "the content store does not answer"), true
}

// undo takes back what there is of an object. While there is no room it is left
// to itself: the answer that somebody waits for comes first.
func (s *Store) undo(o object) error {
	wait := s.opt.wait
	if s.opt.Disk.Ready() != nil {
		wait = 0
	}
	err, abandoned := s.bounded(wait, func() error { return s.takeBack(o) }, func() {})
	if abandoned {
		return nil
	}
	return err
}

// undoLate is undo for what is behind an abandoned write, on its goroutine.
func (s *Store) undoLate(o object) {
	if err := s.takeBack(o); err != nil && s.opt.OnFault != nil {
		s.opt.OnFault(errs.Context(err, "removing content that was refused")) // the sweep of the next start finds it
	}
}

func (s *Store) takeBack(o object) error {
	b := s.db.NewBatch()
	defer b.Close()
	if err := o.remove(b); err != nil {
		return err
	}
	return b.Commit(pebble.NoSync)
}

// commit writes a batch to stable storage, and owns it.
func (s *Store) commit(b *pebble.Batch, o object) (err error, abandoned bool) {
	return s.bounded(s.opt.wait, func() error {
		defer b.Close()
		return errs.Wrap(errs.Internal, b.Commit(pebble.Sync), "writing content")
	}, func() { s.undoLate(o) })
}

// set writes a key, unsynced.
func (s *Store) set(o object, key, value []byte) (err error, abandoned bool) {
	return s.bounded(s.opt.wait, func() error { return s.db.Set(key, value, pebble.NoSync) }, func() { s.undoLate(o) })
}

// remove deletes an object, and waits as long as others do: what is left then is
// done when the disk goes on.
func (s *Store) remove(_ context.Context, o object) error {
	err, _ := s.bounded(s.opt.wait, func() error { return s.takeBack(o) }, func() {})
	return err
}
