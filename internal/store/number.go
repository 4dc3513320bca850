package store

import (
	"context"
	"encoding/binary"
	"sync"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// Numbers of messages are reserved in blocks: a block is on stable storage as
// used before its first number is given out, so that none is ever given twice.
// A crash skips what is left of a block.
const (
	block       = 10000
	retryNumber = 100 * time.Millisecond
	midName     = "mid" // in meta
)

type numbers struct {
	mu    sync.Mutex
	next  uint64        // to be given out
	limit uint64        // first number that is not reserved
	more  chan struct{} // closed when limit has grown
	kick  chan struct{} // capacity 1: the block is half used
}

// NextMID gives a number that no message had before; 0 only when the store is
// closed.
func (s *Store) NextMID() mail.MID {
	n := &s.numbers
	for {
		n.mu.Lock()
		if n.limit-n.next < block/2 {
			select {
			case n.kick <- struct{}{}:
			default:
			}
		}
		if n.next < n.limit {
			mid := n.next
			n.next++
			n.mu.Unlock()
			return mail.MID(mid)
		}
		more := n.more
		n.mu.Unlock()
		select {
		case <-more:
		case <-s.done:
			return 0
		}
	}
}

// LastMID gives the last number given, in this life or an earlier one.
func (s *Store) LastMID() mail.MID {
	s.numbers.mu.Lock()
	defer s.numbers.mu.Unlock()
	return mail.MID(s.numbers.next - 1)
}

// loadNumbers goes on behind what the last life reserved.
func (s *Store) loadNumbers() error {
	b, err := s.get(midName)
	if err != nil {
		return err
	}
	n := &s.numbers
	n.next, n.more, n.kick = 1, make(chan struct{}), make(chan struct{}, 1)
	if b != nil {
		if len(b) != 8 {
			return errs.New(errs.Damaged, "the database %s: the last message number has %d bytes", s.d.place(), len(b))
		}
		n.next = binary.BigEndian.Uint64(b)
	}
	n.limit = n.next
	return s.reserve()
}

// reserve makes one more block durable and then usable.
func (s *Store) reserve() error {
	n := &s.numbers
	n.mu.Lock()
	limit := n.limit + block
	n.mu.Unlock()
	if err := s.put(midName, binary.BigEndian.AppendUint64(nil, limit)); err != nil {
		return err
	}
	n.mu.Lock()
	n.limit = limit
	close(n.more)
	n.more = make(chan struct{})
	n.mu.Unlock()
	return nil
}

// numberLoop reserves ahead, so that nobody waits for a number.
func (s *Store) numberLoop() {
	n := &s.numbers
	retry := time.NewTimer(0)
	defer retry.Stop()
	for {
		select {
		case <-n.kick:
		case <-retry.C:
		case <-s.done:
			return
		}
		n.mu.Lock()
		low := n.limit-n.next < block/2
		n.mu.Unlock()
		if !low {
			continue
		}
		if err := s.reserve(); err != nil && !errs.Is(err, errs.Closed) {
			s.fault(errs.Context(err, "reserving message numbers"))
			retry.Reset(retryNumber)
		}
	}
}

// put keeps a small piece of state under a name.
func (s *Store) put(name string, value []byte) error {
	return s.do(context.Background(), true, func(t *tx) error { return t.exec(putMeta, name, value) })
}

const putMeta = `INSERT INTO meta (name, value) VALUES ($1, $2)
	ON CONFLICT (name) DO UPDATE SET value = excluded.value`

// giveBack keeps what is left of the block for the next life, at a clean end.
// The loops have ended: nobody else writes, and no number is given any more.
func (s *Store) giveBack() error {
	n := &s.numbers
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.limit == 0 || s.conn == nil { // it was never open
		return nil
	}
	n.limit = n.next
	_, err := s.conn.ExecContext(context.Background(), putMeta, midName, binary.BigEndian.AppendUint64(nil, n.next))
	return sqlError(err, "keeping the last message number")
}

// get gives what put kept; nil when there is nothing.
func (s *Store) get(name string) (v []byte, err error) {
	rows, err := s.read.Query("SELECT value FROM meta WHERE name = $1", name)
	if err != nil {
		return nil, sqlError(err, "reading %q", name)
	}
	defer rows.Close()
	if rows.Next() {
		err = rows.Scan(&v)
	}
	if err == nil {
		err = rows.Err()
	}
	return v, sqlError(err, "reading %q", name)
}
