package spool

import (
	"encoding/binary"
	"sync"
	"sync/atomic"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// midName is the key of the reserved numbers.
const midName = "MID"

// block is how many numbers one write reserves. A crash skips at most one and a
// half of it: the next block is reserved when half of one is left.
const block = 1000

// number gives out numbers. What may have been given out is on stable storage
// before it is, as an upper bound.
type number struct {
	mu    sync.Mutex // never held while the disk is waited for
	next  uint64
	limit uint64        // reserved: all below
	more  chan struct{} // closed when the reservation under way is over; nil: none is
	last  atomic.Uint64 // next - 1, for those who only look
}

func (n *number) load(s *Spool) error {
	v, found, err := s.get(nameKey(keyNumber, midName))
	if err != nil {
		return err
	}
	n.next = 1
	if found {
		key := nameKey(keyNumber, midName)
		if v, err = unseal(key, v); err != nil || len(v) != 8 {
			// Never guess: a number given twice would mix up two messages.
			return errs.New(errs.Damaged, "the reserved message numbers are damaged")
		}
		n.next = binary.BigEndian.Uint64(v)
	}
	n.limit = n.next
	n.last.Store(n.next - 1)
	return nil
}

// NextMID gives a message number that was never given before. It waits for the
// disk only when a whole half block was given while the next one was written.
func (s *Spool) NextMID() mail.MID {
	n := &s.number
	n.mu.Lock()
	defer n.mu.Unlock()
	for n.next >= n.limit {
		more := s.reserveAhead()
		n.mu.Unlock()
		<-more // all who wait here go on together
		n.mu.Lock()
	}
	n.last.Store(n.next)
	n.next++
	if n.limit-n.next < block/2 {
		s.reserveAhead()
	}
	return mail.MID(n.next - 1)
}

// reserveAhead has one more block reserved, unless that is under way, and gives
// what is closed behind it. number.mu is held.
func (s *Spool) reserveAhead() <-chan struct{} {
	n := &s.number
	if n.more != nil {
		return n.more
	}
	more, limit := make(chan struct{}), n.limit+block
	n.more = more
	go func() {
		// When this fails the engine is dead and nothing can be stored under the
		// numbers any more; or the disk takes long, and then the bound stands in the
		// log before whatever is stored under them. So nobody waits for the disk
		// here longer than its patience.
		_, _ = s.reserve(limit)
		n.mu.Lock()
		defer n.mu.Unlock()
		n.limit, n.more = limit, nil
		close(more)
	}()
	return more
}

// LastMID gives the last number given, in this life or an earlier one.
func (s *Spool) LastMID() mail.MID { return mail.MID(s.number.last.Load()) }

// reserve makes a bound durable. The answer is an error, too, when the disk
// takes too long: a higher bound that is written later does no harm.
func (s *Spool) reserve(limit uint64) (err error, abandoned bool) {
	b := s.db.NewBatch()
	key := nameKey(keyNumber, midName)
	if err := b.Set(key, seal(key, binary.BigEndian.AppendUint64(nil, limit)), nil); err != nil {
		b.Close()
		return s.die(err), false
	}
	return s.bounded(b, true, s.opt.wait, func() error { return nil })
}

// closeNumber gives back what was reserved and not used.
func (s *Spool) closeNumber() error {
	n := &s.number
	n.mu.Lock()
	for n.more != nil { // a bound written behind ours would only skip numbers
		more := n.more
		n.mu.Unlock()
		<-more
		n.mu.Lock()
	}
	next, limit := n.next, n.limit
	n.mu.Unlock()
	if next >= limit {
		return nil
	}
	err, _ := s.reserve(next)
	return err
}
