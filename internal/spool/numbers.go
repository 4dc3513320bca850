package spool

import (
	"encoding/binary"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// The kinds of numbers. The names are keys: only append.
const (
	numMID = iota
	numICID
	numDCID
	numKinds
)

var numberNames = [numKinds]string{"MID", "ICID", "DCID"}

// block is how many numbers one write reserves. A crash skips at most so many.
const block = 1000

// number gives out numbers. What may have been given out is on stable storage
// before it is, as an upper bound.
type number struct {
	mu    sync.Mutex
	next  uint64
	limit uint64 // reserved: all below
}

func (n *number) load(s *Spool, kind int) error {
	v, found, err := s.get(nameKey(keyNumber, numberNames[kind]))
	if err != nil {
		return err
	}
	n.next = 1
	if found {
		key := nameKey(keyNumber, numberNames[kind])
		if v, err = unseal(key, v); err != nil || len(v) != 8 {
			// Never guess: a number given twice would mix up two messages.
			return errs.New(errs.Damaged, "the reserved numbers of %s are damaged", numberNames[kind])
		}
		n.next = binary.BigEndian.Uint64(v)
	}
	n.limit = n.next
	return nil
}

func (s *Spool) next(kind int) uint64 {
	n := &s.numbers[kind]
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.next >= n.limit {
		// When this fails the engine is dead and nothing can be stored under
		// the number any more.
		if s.reserve(kind, n.next+block) == nil {
			n.limit = n.next + block
		}
	}
	n.next++
	return n.next - 1
}

func (s *Spool) reserve(kind int, limit uint64) error {
	b := s.db.NewBatch()
	defer b.Close()
	key := nameKey(keyNumber, numberNames[kind])
	if err := b.Set(key, seal(key, binary.BigEndian.AppendUint64(nil, limit)), nil); err != nil {
		return s.die(err)
	}
	return s.commit(b, true)
}

// closeNumbers gives back what was reserved and not used.
func (s *Spool) closeNumbers() error {
	for k := range s.numbers {
		n := &s.numbers[k]
		n.mu.Lock()
		if n.next < n.limit {
			if err := s.reserve(k, n.next); err != nil {
				n.mu.Unlock()
				return err
			}
			n.limit = n.next
		}
		n.mu.Unlock()
	}
	return nil
}

// NextMID gives a message number that was never given before.
func (s *Spool) NextMID() mail.MID { return mail.MID(s.next(numMID)) }

// NextICID gives the number of an incoming connection.
func (s *Spool) NextICID() mail.ICID { return mail.ICID(s.next(numICID)) }

// NextDCID gives the number of a delivery connection.
func (s *Spool) NextDCID() mail.DCID { return mail.DCID(s.next(numDCID)) }

// Numbers gives the last of each kind, for the status command.
func (s *Spool) Numbers() (mid mail.MID, icid mail.ICID, dcid mail.DCID) {
	var last [numKinds]uint64
	for k := range s.numbers {
		n := &s.numbers[k]
		n.mu.Lock()
		last[k] = n.next - 1
		n.mu.Unlock()
	}
	return mail.MID(last[numMID]), mail.ICID(last[numICID]), mail.DCID(last[numDCID])
}

// sweep drops the contents that earlier lives left without a record: what was
// coming in when the process died. It runs beside the mail flow and looks only
// at numbers that nobody can be receiving now.
func (s *Spool) sweep() {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{keyContent}, UpperBound: midKey(keyContent, s.old)})
	if err != nil {
		s.opt.Log.Fault("spool", "sweeping: "+err.Error())
		return
	}
	defer it.Close()
	for ok := it.First(); ok; {
		select {
		case <-s.closing:
			return
		default:
		}
		mid, err := keyMID(it.Key())
		if err != nil {
			ok = it.Next()
			continue
		}
		if err := s.sweepOne(mid); err != nil {
			s.opt.Log.Fault("spool", "sweeping MID "+mid.String()+": "+err.Error())
			return
		}
		ok = it.SeekGE(midKey(keyContent, mid+1))
	}
	if err := it.Error(); err != nil {
		s.opt.Log.Fault("spool", "sweeping: "+err.Error())
	}
}

func (s *Spool) sweepOne(mid mail.MID) error {
	for _, prefix := range []byte{keyRecord, keyAside} {
		_, found, err := s.get(midKey(prefix, mid))
		if found || err != nil {
			return err // also one that cannot be read: it is there
		}
	}
	b := s.db.NewBatch()
	defer b.Close()
	if err := b.DeleteRange(midKey(keyContent, mid), midKey(keyContent, mid+1), nil); err != nil {
		return err
	}
	return s.commit(b, false)
}
