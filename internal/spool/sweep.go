package spool

import (
	"github.com/cockroachdb/pebble/v2"

	"lazaret/internal/mail"
)

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
	for _, prefix := range []byte{keyRecord, keyAside, keyShadow} {
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
