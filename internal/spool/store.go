package spool

import (
	"context"
	"encoding/binary"
	"math"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/queue"
)

var _ interface {
	queue.Store
	queue.SizedStore
	queue.LeanScanner
} = (*Spool)(nil)

// Scan gives each live message, oldest first. Where a table of the engine is
// damaged it goes on behind the damage: some messages may not be found, and
// that is reported, but the others flow (P5).
func (s *Spool) Scan(ctx context.Context, fn func(*queue.Item) error) error {
	return s.scan(ctx, decodeRecord, fn)
}

// ScanLean implements queue.LeanScanner. It makes nothing that has to be
// collected: a million messages wait for their schedule at the start.
func (s *Spool) ScanLean(ctx context.Context, fn func(*queue.Item) error) error {
	d, it := decoder{names: make(map[string]string)}, new(queue.Item)
	return s.scan(ctx, func(key, value []byte) (*queue.Item, error) { return d.record(key, value, it) }, fn)
}

// reading makes an item of a record.
type reading func(key, value []byte) (*queue.Item, error)

func (s *Spool) scan(ctx context.Context, read reading, fn func(*queue.Item) error) error {
	for from := mail.MID(0); ; {
		last, err := s.scanFrom(ctx, from, read, fn)
		if !errs.Is(err, errs.Damaged) {
			return err
		}
		next, more := s.behindDamage(max(from, last+1))
		s.opt.Log.Fault("spool", "a table is damaged: messages from MID "+(last+1).String()+" to "+(next-1).String()+" may be missing: "+err.Error())
		if !more {
			return nil
		}
		from = next
	}
}

// scanFrom gives the messages from a number on, and the last number it saw.
// errs.Damaged is about the engine's tables, not about one record.
func (s *Spool) scanFrom(ctx context.Context, from mail.MID, read reading, fn func(*queue.Item) error) (last mail.MID, err error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: midKey(keyRecord, from), UpperBound: []byte{keyRecord + 1}})
	if err != nil {
		return last, engineError(err, "reading the spool")
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		if err := ctx.Err(); err != nil {
			return last, err
		}
		if mid, err := keyMID(it.Key()); err == nil {
			last = mid
		}
		item, err := decode(it, read)
		if err != nil {
			err = s.damagedKey(it.Key(), err)
		} else {
			err = fn(item)
		}
		if errs.Is(err, errs.Damaged) { // whatever fn means by it: not a table
			err = errs.Wrap(errs.Internal, err, "taking up MID %d", last)
		}
		if err != nil {
			return last, err
		}
	}
	if err := it.Error(); err != nil {
		return last, engineError(err, "reading the spool")
	}
	return last, nil
}

// behindDamage finds the first number at or after from where reading works
// again; false when there is none before the end.
func (s *Spool) behindDamage(from mail.MID) (next mail.MID, more bool) {
	readable := func(mid mail.MID) (ok, found bool) {
		it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: midKey(keyRecord, mid), UpperBound: []byte{keyRecord + 1}})
		if err != nil {
			return false, false
		}
		defer it.Close()
		found = it.First()
		return it.Error() == nil, found
	}
	end := mail.MID(s.number.limit) + 1 // nothing was ever stored from here on
	bad := from - 1
	for step := mail.MID(1); ; step *= 2 {
		next = min(bad+step, end)
		if ok, _ := readable(next); ok || next == end {
			break
		}
		bad = next
	}
	for bad+1 < next { // bad cannot be read, next can
		mid := bad + (next-bad)/2
		if ok, _ := readable(mid); ok {
			next = mid
		} else {
			bad = mid
		}
	}
	_, found := readable(next)
	return next, found
}

func decode(it *pebble.Iterator, read reading) (*queue.Item, error) {
	v, err := it.ValueAndErr()
	if err != nil {
		return nil, engineError(err, "reading a record")
	}
	return read(it.Key(), v)
}

// damagedKey sets aside what Scan could not read.
func (s *Spool) damagedKey(key []byte, cause error) error {
	if !errs.Is(cause, errs.Damaged) {
		return cause
	}
	mid, err := keyMID(key)
	if err != nil {
		s.opt.Log.Fault("spool", cause.Error())
		return nil
	}
	s.opt.Log.Fault("spool", "MID "+mid.String()+" is set aside: "+cause.Error())
	return s.SetAside(context.Background(), mid, cause)
}

// Load gives one live message.
func (s *Spool) Load(_ context.Context, mid mail.MID) (*queue.Item, error) {
	key := midKey(keyRecord, mid)
	v, closer, err := s.db.Get(key)
	if err == pebble.ErrNotFound {
		return nil, errs.New(errs.NotFound, "no message with MID %d is in the queue", mid)
	}
	if err != nil {
		return nil, engineError(err, "reading MID "+mid.String())
	}
	defer closer.Close()
	return decodeRecord(key, v)
}

// Apply makes one change: all of it or nothing.
func (s *Spool) Apply(ctx context.Context, u queue.Update) error {
	b := s.db.NewBatch()
	defer b.Close()
	for _, c := range u.Add {
		if err := s.addCopy(ctx, b, c); err != nil {
			return errs.Context(err, "copying MID %d", c.Of)
		}
	}
	for i := range u.New {
		if err := s.addMade(b, &u.New[i]); err != nil {
			return err
		}
	}
	var buf []byte
	for _, it := range u.Save {
		key := midKey(keyRecord, it.MID)
		buf = appendRecord(buf[:0], key, it)
		if err := b.Set(key, buf, nil); err != nil {
			return errs.Wrap(errs.Internal, err, "saving MID %d", it.MID)
		}
	}
	for i := range u.Receipts {
		if err := s.addSent(b, &u.Receipts[i]); err != nil {
			return err
		}
	}
	accounts := make([][]byte, 0, len(u.Report))
	for _, it := range u.Report {
		v, err := s.addAccount(b, it)
		if err != nil {
			return err
		}
		accounts = append(accounts, v)
	}
	kept, bytes := 0, int64(0)
	for i, mid := range u.Remove {
		if r := s.shadowOf(&u, mid); r != nil {
			if err := s.addShadow(b, r); err != nil {
				return err
			}
			kept, bytes = kept+1, bytes+r.Item.Size
			continue
		}
		if err := s.remove(ctx, b, mid, final(u, i)); err != nil {
			return err
		}
	}
	if b.Empty() {
		if !u.Durable {
			return nil
		}
		s.turnDeparted()
		if s.covered() {
			return nil
		}
		return s.flush()
	}
	s.depart(&u, accounts)
	if err := s.commit(b, u.Durable); err != nil {
		return err
	}
	s.countShadows(kept, bytes)
	if s.opt.Accounts != nil {
		for _, it := range u.Report {
			s.opt.Accounts(it.Release.Action)
		}
	}
	return nil
}

// flush makes what was committed without one durable, together with what is
// being accepted. It waits for the disk however long that takes.
func (s *Spool) flush() error {
	b := s.db.NewBatch()
	if err := b.LogData(nil, nil); err != nil { // an entry of the log alone, to sync what is before it
		b.Close()
		return errs.Wrap(errs.Internal, err, "syncing the spool")
	}
	err, _ := s.bounded(b, true, math.MaxInt64, func() error { return nil })
	return err
}

// final gives the last state of a message that is removed, if the update has it.
func final(u queue.Update, i int) *queue.Item {
	if i < len(u.Final) && u.Final[i] != nil && u.Final[i].MID == u.Remove[i] {
		return u.Final[i]
	}
	return nil
}

// remove deletes a message, content and record.
func (s *Spool) remove(ctx context.Context, b *pebble.Batch, mid mail.MID, it *queue.Item) error {
	if it == nil {
		var err error
		if it, err = s.Load(ctx, mid); errs.Is(err, errs.NotFound) {
			return nil
		} else if err != nil {
			return err
		}
	}
	if err := s.dropContent(b, mid, s.chunksOf(it.Size)); err != nil {
		return err
	}
	return errs.Wrap(errs.Internal, b.Delete(midKey(keyRecord, mid), nil), "removing MID %d", mid)
}

// addCopy makes a new message from the content of another.
func (s *Spool) addCopy(ctx context.Context, b *pebble.Batch, c queue.Copy) error {
	if c.Of != c.Item.MID { // else it is there: Draft.Keep
		of, err := s.Load(ctx, c.Of)
		if err != nil {
			return err
		}
		if err := s.copyContent(b, c.Of, c.Item.MID, of.Size); err != nil {
			return err
		}
		c.Item.Size, c.Item.Hash = of.Size, of.Hash
	}
	key := midKey(keyRecord, c.Item.MID)
	return errs.Wrap(errs.Internal, b.Set(key, appendRecord(nil, key, c.Item), nil), "storing MID %d", c.Item.MID)
}

// maxMade is the largest content of a message that the program makes: whole in
// the batch, so that it needs no sweep after a crash.
const maxMade = chunkSize

// addMade stores a message that the program itself made.
func (s *Spool) addMade(b *pebble.Batch, m *queue.Made) error {
	if len(m.Content) > maxMade || int64(len(m.Content)) != m.Item.Size {
		return errs.New(errs.Internal, "a message of our own has %d bytes, its record says %d", len(m.Content), m.Item.Size)
	}
	if len(m.Content) > 0 {
		key := chunkKey(m.Item.MID, 0)
		if err := b.Set(key, seal(key, append(make([]byte, 0, len(m.Content)+4), m.Content...)), nil); err != nil {
			return errs.Wrap(errs.Internal, err, "storing MID %d", m.Item.MID)
		}
	}
	key := midKey(keyRecord, m.Item.MID)
	return errs.Wrap(errs.Internal, b.Set(key, appendRecord(nil, key, m.Item), nil), "storing MID %d", m.Item.MID)
}

// SetAside takes a message out of the queue's sight. Record and content stay,
// as far as they can be read.
func (s *Spool) SetAside(_ context.Context, mid mail.MID, cause error) error {
	key := midKey(keyRecord, mid)
	raw, _, err := s.get(key)
	if err != nil && !errs.Is(err, errs.Damaged) {
		return err
	}
	var e encoder
	e.time(s.now())
	e.string(cause.Error())
	e.bytes(raw)
	b := s.db.NewBatch()
	defer b.Close()
	if err := b.Set(midKey(keyAside, mid), e.b, nil); err != nil {
		return errs.Wrap(errs.Internal, err, "setting MID %d aside", mid)
	}
	if err := b.Delete(key, nil); err != nil {
		return errs.Wrap(errs.Internal, err, "setting MID %d aside", mid)
	}
	return s.commit(b, true)
}

// Aside is one message that was set aside.
type Aside struct {
	MID   mail.MID
	At    time.Time
	Cause string
}

// Aside lists what was set aside, oldest first.
func (s *Spool) Aside() (list []Aside, err error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{keyAside}, UpperBound: []byte{keyAside + 1}})
	if err != nil {
		return nil, engineError(err, "reading what is set aside")
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		mid, err := keyMID(it.Key())
		if err != nil {
			continue
		}
		a := Aside{MID: mid, Cause: "unreadable"}
		if v, err := it.ValueAndErr(); err == nil {
			d := decoder{b: v}
			a.At, a.Cause = d.time(), d.string()
		}
		list = append(list, a)
	}
	if err := it.Error(); err != nil {
		return list, engineError(err, "reading what is set aside")
	}
	return list, nil
}

// Discard drops a message that was set aside, with its content.
func (s *Spool) Discard(mid mail.MID) error {
	if _, found, err := s.get(midKey(keyAside, mid)); err != nil || !found {
		if err == nil {
			err = errs.New(errs.NotFound, "MID %d is not set aside", mid)
		}
		return err
	}
	b := s.db.NewBatch()
	defer b.Close()
	from, to := chunkKey(mid, 0), binary.BigEndian.AppendUint64([]byte{keyContent}, uint64(mid)+1)
	if err := b.DeleteRange(from, to, nil); err != nil {
		return errs.Wrap(errs.Internal, err, "discarding MID %d", mid)
	}
	if err := b.Delete(midKey(keyAside, mid), nil); err != nil {
		return errs.Wrap(errs.Internal, err, "discarding MID %d", mid)
	}
	return s.commit(b, true)
}
