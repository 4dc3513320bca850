package spool

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/queue"
)

// departed notes what foreign hosts have taken, in a small file beside the
// engine's. The engine keeps completions in its memory until the next flush:
// a process killed in between would deliver them once more. A note costs one
// write and no flush; it is with the system when the courier goes on, and
// outlives the process. After a power cut some notes may be missing, and that
// mail goes out again: outside, at least once.
//
// A note is a fact that stays true: numbers of messages never return, and who
// has taken a message has it. So old notes do no harm, and notes need no order.
//
// There are two files. A flush of the engine makes all notes before it
// needless; one that begins when a file is long moves on to the other.
type departed struct {
	mu   sync.Mutex
	f    vfs.File // nil: there are no notes, until a flush
	at   int      // which of the two files
	size int64
	buf  []byte
	over bool // closed for good
}

const (
	noteSize  = 16
	everybody = 1<<32 - 1 // in place of a recipient: the message is gone
	// accountFollows in place of a recipient: what is to be said of a release
	// stands in the cells behind.
	accountFollows = 1<<32 - 2
	maxDeparted    = 1 << 20  // octets of notes in one file, about
	maxRecall      = 64 << 20 // octets that are read at a start
)

func (s *Spool) departedPath(i int) string {
	return s.opt.FS.PathJoin(s.opt.Dir, "departed-"+strconv.Itoa(i))
}

// openDeparted carries out the notes of the last life and starts anew.
func (s *Spool) openDeparted() error {
	if err := s.recall(); err != nil {
		return err
	}
	for i := range 2 {
		f, err := s.opt.FS.Create(s.departedPath(i), vfs.WriteCategoryUnspecified)
		if err != nil {
			return errs.Wrap(errs.Internal, err, "making %s", s.departedPath(i))
		}
		if i > 0 {
			if err := f.Close(); err != nil {
				return errs.Wrap(errs.Internal, err, "making %s", s.departedPath(i))
			}
			continue
		}
		s.departed.f = f
	}
	return nil
}

// closeDeparted ends the notes: the engine has everything.
func (s *Spool) closeDeparted() error {
	d := &s.departed
	d.mu.Lock()
	defer d.mu.Unlock()
	d.over = true
	if d.f == nil {
		return nil
	}
	err := d.f.Close()
	d.f = nil
	return err
}

// depart notes what an update completes. Its failure costs nothing but the
// notes: it is told, and they begin anew with the next flush.
func (s *Spool) depart(u *queue.Update, accounts [][]byte) {
	if u.Durable || len(u.Receipts) > 0 {
		return // safe by itself, or carried out together with its receipt only
	}
	d := &s.departed
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.f == nil {
		return
	}
	d.buf = d.buf[:0]
	for _, mid := range u.Remove {
		d.note(mid, everybody)
	}
	for _, it := range u.Save {
		for _, rid := range u.Delivered {
			d.note(it.MID, uint32(rid))
		}
	}
	if len(d.buf) == 0 {
		return
	}
	for i, v := range accounts {
		if v != nil {
			d.account(u.Report[i].MID, u.Report[i].Release.Action, v)
		}
	}
	n, err := d.f.Write(d.buf)
	d.size += int64(n)
	if err != nil {
		s.opt.Log.Fault("spool", "noting what is delivered: "+err.Error())
		_ = d.f.Close() // it has failed already, and that was told
		d.f = nil
	}
}

func (d *departed) note(mid mail.MID, rid uint32) {
	at := len(d.buf)
	d.buf = binary.BigEndian.AppendUint64(d.buf, uint64(mid))
	d.buf = binary.BigEndian.AppendUint32(d.buf, rid)
	d.buf = binary.BigEndian.AppendUint32(d.buf, noteSum(d.buf[at:]))
}

func noteSum(b []byte) uint32 { return crc32.Checksum(b[:12], castagnoli) }

// turnDeparted moves on to the other file when this one is long. To be called
// by one caller at a time, before each flush of completions, or when an
// acceptance has flushed them: what the other file has was made needless by
// the flush that followed the turn before.
func (s *Spool) turnDeparted() {
	d := &s.departed
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over || d.f != nil && d.size < maxDeparted {
		return
	}
	f, err := s.opt.FS.Create(s.departedPath(1-d.at), vfs.WriteCategoryUnspecified)
	if err != nil {
		if d.f != nil { // otherwise it was told
			s.opt.Log.Fault("spool", "noting what is delivered: "+err.Error())
		}
		return // the old file goes on
	}
	if d.f != nil {
		_ = d.f.Close() // the flush that follows makes its content needless
	}
	d.f, d.at, d.size = f, 1-d.at, 0
}

// recall carries out the notes of the last life.
func (s *Spool) recall() error {
	b := s.db.NewBatch()
	defer b.Close()
	notes, err := s.readDeparted(func(key, value []byte) error { return s.recallAccount(b, key, value) })
	if err != nil {
		return err
	}
	for mid, who := range notes {
		if err := s.recallOne(b, mid, who); err != nil {
			return errs.Context(err, "carrying out what MID %s has behind it", mid)
		}
	}
	if b.Empty() {
		return nil
	}
	return s.commit(b, true)
}

func (s *Spool) recallOne(b *pebble.Batch, mid mail.MID, who []uint32) error {
	it, err := s.Load(context.Background(), mid)
	if errs.Is(err, errs.NotFound) || errs.Is(err, errs.Damaged) {
		return nil // it is gone indeed; a damaged one is set aside when its turn comes
	}
	if err != nil {
		return err
	}
	if slices.Contains(who, everybody) {
		return s.remove(context.Background(), b, mid, it)
	}
	// In state work its judgement was not written. It is judged again, for
	// those who are left.
	for _, rid := range who {
		if int(rid) < len(it.Recipients) && !it.Recipients[rid].State.Final() {
			it.Recipients[rid].State = queue.Delivered
		}
	}
	if it.Final() {
		return s.remove(context.Background(), b, mid, it)
	}
	key := midKey(keyRecord, mid)
	return errs.Wrap(errs.Internal, b.Set(key, appendRecord(nil, key, it), nil), "saving MID %d", mid)
}

// readDeparted gives the notes by message, and accounts to a function. What does
// not check was torn or never reached the disk, and is left out.
func (s *Spool) readDeparted(account func(key, value []byte) error) (map[mail.MID][]uint32, error) {
	notes := make(map[mail.MID][]uint32)
	for i := range 2 {
		f, err := s.opt.FS.Open(s.departedPath(i))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, errs.Wrap(errs.Internal, err, "reading %s", s.departedPath(i))
		}
		all, err := io.ReadAll(io.LimitReader(f, maxRecall))
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, errs.Wrap(errs.Internal, err, "reading %s", s.departedPath(i))
		}
		for ; len(all) >= noteSize; all = all[noteSize:] {
			if noteSum(all) != binary.BigEndian.Uint32(all[12:]) {
				continue
			}
			mid, rid := mail.MID(binary.BigEndian.Uint64(all)), binary.BigEndian.Uint32(all[8:])
			if rid != accountFollows {
				notes[mid] = append(notes[mid], rid)
				continue
			}
			key, value, size := accountIn(all[noteSize:])
			if size == 0 {
				continue // its cells are looked at one by one, and none is a note
			}
			if err := account(key, value); err != nil {
				return nil, err
			}
			all = all[min(size, len(all)-noteSize):] // filled up to whole cells, unless it is torn
		}
	}
	return notes, nil
}
