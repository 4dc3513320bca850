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
// A crash skips what is left of a block. Managers that share a database take
// smaller blocks in turn, so that numbers still grow about as mail comes in.
const (
	block       = 10000
	sharedBlock = 500
	retryNumber = 100 * time.Millisecond
	midName     = "mid" // in meta: the first number that is not reserved
)

// span is a run of reserved numbers.
type span struct{ next, limit uint64 }

type numbers struct {
	mu    sync.Mutex
	spans []span // in the order of use; all but the first are whole
	last  uint64 // given out
	more  chan struct{}
	kick  chan struct{} // capacity 1: half of a block is left
	size  uint64        // of a block
	open  bool
}

// left gives how many numbers can be given out.
func (n *numbers) left() (sum uint64) {
	for _, sp := range n.spans {
		sum += sp.limit - sp.next
	}
	return sum
}

// add takes up a block.
func (n *numbers) add(sp span) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if i := len(n.spans) - 1; i >= 0 && n.spans[i].limit == sp.next {
		n.spans[i].limit = sp.limit
	} else {
		n.spans = append(n.spans, sp)
	}
	close(n.more)
	n.more = make(chan struct{})
}

// NextMID gives a number that no message had before; 0 only when the store is
// closed.
func (s *Store) NextMID() mail.MID {
	n := &s.numbers
	for {
		n.mu.Lock()
		if n.left() < n.size/2 {
			select {
			case n.kick <- struct{}{}:
			default:
			}
		}
		for len(n.spans) > 0 && n.spans[0].next == n.spans[0].limit {
			n.spans = n.spans[1:]
		}
		if len(n.spans) > 0 {
			n.last = n.spans[0].next
			n.spans[0].next++
			mid := n.last
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

// LastMID gives the last number given here, in this life or an earlier one.
func (s *Store) LastMID() mail.MID {
	s.numbers.mu.Lock()
	defer s.numbers.mu.Unlock()
	return mail.MID(s.numbers.last)
}

// loadNumbers goes on behind what was reserved before.
func (s *Store) loadNumbers() error {
	n := &s.numbers
	n.more, n.kick, n.size = make(chan struct{}), make(chan struct{}, 1), block
	if s.d.shared() {
		n.size = sharedBlock
	}
	sp, err := s.reserve()
	if err != nil {
		return err
	}
	n.last, n.open = sp.next-1, true
	n.add(sp)
	return nil
}

// reserve makes one more block durable.
func (s *Store) reserve() (sp span, err error) {
	err = s.do(context.Background(), true, func(t *tx) error {
		sp = span{next: 1}
		// The row must be there to be locked.
		err := t.exec("INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING", midName, number(1))
		if err != nil {
			return err
		}
		var b []byte
		if _, err := t.row("SELECT value FROM meta WHERE name = $1"+s.d.mine(), []any{midName}, &b); err != nil {
			return err
		}
		if len(b) != 8 {
			return errs.New(errs.Damaged, "the database %s: the last message number has %d bytes", s.d.place(), len(b))
		}
		sp.next = binary.BigEndian.Uint64(b)
		sp.limit = sp.next + s.numbers.size
		return t.exec("UPDATE meta SET value = $1 WHERE name = $2", number(sp.limit), midName)
	})
	return sp, err
}

func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

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
		low := n.left() < n.size/2
		n.mu.Unlock()
		if !low {
			continue
		}
		sp, err := s.reserve()
		switch {
		case err == nil:
			n.add(sp)
		case !errs.Is(err, errs.Closed):
			s.fault(errs.Context(err, "reserving message numbers"))
			retry.Reset(retryNumber)
		}
	}
}

// giveBack keeps what is left of the last block for the next life, at a clean
// end, if nobody has reserved behind it. The loops have ended: nobody else here
// writes, and no number is given any more.
func (s *Store) giveBack() error {
	n := &s.numbers
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.open || len(n.spans) == 0 || s.conn == nil {
		return nil
	}
	sp := n.spans[len(n.spans)-1]
	n.spans = nil
	_, err := s.conn.ExecContext(context.Background(), "UPDATE meta SET value = $1 WHERE name = $2 AND value = $3",
		number(sp.next), midName, number(sp.limit))
	return sqlError(err, "keeping the last message number")
}
