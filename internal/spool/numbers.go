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

// block is how many numbers one write reserves. A crash skips at most so many.
const block = 1000

// number gives out numbers. What may have been given out is on stable storage
// before it is, as an upper bound.
type number struct {
	mu    sync.Mutex
	next  uint64
	limit uint64        // reserved: all below
	last  atomic.Uint64 // next - 1, for those who only look: NextMID may wait for the disk
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

// NextMID gives a message number that was never given before.
func (s *Spool) NextMID() mail.MID {
	n := &s.number
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.next >= n.limit {
		// When this fails the engine is dead and nothing can be stored under
		// the number any more; or the disk takes long, and then the bound stands
		// in the log before whatever is stored under the number.
		// So nobody has to wait for the disk here a second time: behind one who
		// waits half a minute all the others would, one after the other.
		if err, abandoned := s.reserve(n.next + block); err == nil || abandoned {
			n.limit = n.next + block
		}
	}
	n.last.Store(n.next)
	n.next++
	return mail.MID(n.next - 1)
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
	defer n.mu.Unlock()
	if n.next >= n.limit {
		return nil
	}
	if err, _ := s.reserve(n.next); err != nil {
		return err
	}
	n.limit = n.next
	return nil
}
