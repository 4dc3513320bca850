package spool

import (
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"lazaret/internal/mail"
)

// sweep drops the contents that earlier lives left without a record: what was
// coming in when the process died. It runs beside the mail flow and looks only
// at numbers that nobody can be receiving now.
//
// It goes through the records, not through the contents, and looks for contents
// where numbers are missing: a queue that waits has long contents and few gaps.
func (s *Spool) sweep() {
	if err := s.sweepAll(); err != nil {
		s.opt.Log.Fault("spool", "sweeping: "+err.Error())
	}
}

func (s *Spool) sweepAll() (err error) {
	var w sweeper
	// In this order: a record that is set aside meanwhile, or becomes a shadow, is
	// seen by one of them.
	for _, it := range []struct {
		prefix byte
		to     **pebble.Iterator
	}{{keyRecord, &w.records}, {keyAside, &w.aside}, {keyShadow, &w.shadows}, {keyContent, &w.contents}} {
		if *it.to, err = s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{it.prefix}, UpperBound: midKey(it.prefix, s.old)}); err != nil {
			return errors.Join(err, w.close())
		}
	}
	defer func() {
		if e := w.close(); err == nil { // it says the same once more
			err = e
		}
	}()
	w.records.First()
	w.aside.First()
	w.shadows.First()
	for from := mail.MID(0); from < s.old; {
		select {
		case <-s.closing:
			return nil
		default:
		}
		known, err := w.next(s.old)
		if err != nil {
			return err
		}
		if err := s.sweepGap(&w, from, known); err != nil {
			return err
		}
		from = known + 1
	}
	return nil
}

// sweepGap drops contents of messages from one number up to, without, another.
func (s *Spool) sweepGap(w *sweeper, from, to mail.MID) error {
	if from >= to {
		return nil
	}
	if !w.contents.SeekGE(midKey(keyContent, from)) {
		return w.contents.Error()
	}
	if mid, err := keyMID(w.contents.Key()); err != nil || mid >= to {
		return err
	}
	b := s.db.NewBatch()
	defer b.Close()
	if err := b.DeleteRange(midKey(keyContent, from), midKey(keyContent, to), nil); err != nil {
		return err
	}
	return s.commit(b, false)
}

// sweeper goes through what is in the engine, as it was when it began.
type sweeper struct {
	records, aside, shadows, contents *pebble.Iterator
}

// next gives the number of the next message that there is, or end. What cannot be
// read may be one: that is an error.
func (w *sweeper) next(end mail.MID) (mail.MID, error) {
	first := end
	var of *pebble.Iterator
	for _, it := range []*pebble.Iterator{w.records, w.aside, w.shadows} {
		if !it.Valid() {
			if err := it.Error(); err != nil {
				return 0, err
			}
			continue
		}
		mid, err := keyMID(it.Key())
		if err != nil {
			return 0, err
		}
		if mid < first {
			first, of = mid, it
		}
	}
	if of != nil {
		of.Next()
	}
	return first, nil
}

func (w *sweeper) close() (err error) {
	for _, it := range []*pebble.Iterator{w.records, w.aside, w.shadows, w.contents} {
		if it != nil {
			err = errors.Join(err, it.Close())
		}
	}
	return err
}
