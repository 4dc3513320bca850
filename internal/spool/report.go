package spool

import (
	"context"
	"encoding/binary"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/queue"
)

// A release that was taken from a manager is owed an account: what became of
// the message, for each recipient. It is kept under the action key from the
// batch that takes the message on, rewritten by each batch that changes
// something, and dropped when the manager has the whole of it. So there is one
// small record for each release, however often it is tried, and a crash loses
// neither the message nor what is to be said of it.

// Account is what is to be said of one release.
type Account struct {
	Action     mail.ActionKey
	ManagerMID mail.MID // 0: our own quarantine wants to know
	MID        mail.MID // ours: of the message that goes on
	Seq        uint64   // grows with each change
	At         time.Time
	Step       string            // what scanning it again gave; "": it was not
	Again      bool              // and so it is held again: what takes it is a quarantine
	Recipients []queue.Recipient // address, state, attempts, next, reply, code, remote, last
}

// Final reports whether nothing will change any more.
func (a *Account) Final() bool {
	for i := range a.Recipients {
		if !a.Recipients[i].State.Final() {
			return false
		}
	}
	return true
}

func accountOf(it *queue.Item, seq uint64, at time.Time) *Account {
	return &Account{Action: it.Release.Action, ManagerMID: it.Release.ManagerMID, MID: it.MID, Seq: seq, At: at, Step: it.Release.Step, Again: len(it.Placements) > 0, Recipients: it.Recipients}
}

func (a *Account) encode(key []byte) []byte {
	var e encoder
	e.b = append(make([]byte, 0, 64+64*len(a.Recipients)), recordVersion)
	e.uint(uint64(a.ManagerMID))
	e.uint(uint64(a.MID))
	e.uint(a.Seq)
	e.time(a.At)
	e.uint(uint64(len(a.Recipients)))
	for i := range a.Recipients {
		r := &a.Recipients[i]
		e.address(r.Address)
		e.uint(uint64(r.State))
		e.uint(uint64(max(0, r.Attempts)))
		e.time(r.Next)
		e.string(r.Reply)
		e.uint(uint64(max(0, r.Code)))
		e.string(r.Remote)
		e.time(r.Last)
	}
	e.string(a.Step)
	e.bool(a.Again)
	return seal(key, e.b)
}

func decodeAccount(key, v []byte) (*Account, error) {
	d, err := opened(key, v)
	if err != nil {
		return nil, err
	}
	a := &Account{Action: mail.ActionKey(key[1:]), ManagerMID: mail.MID(d.uint()), MID: mail.MID(d.uint()), Seq: d.uint(), At: d.time()}
	for range d.count(8) {
		r := queue.Recipient{Address: d.address(), State: queue.RecipientState(d.uint()), Attempts: int(d.uint()), Next: d.time(), Reply: d.string(),
			Code: int(d.uint()), Remote: d.string(), Last: d.time()}
		a.Recipients = append(a.Recipients, r)
	}
	if d.version > thirdVersion {
		a.Step = d.string()
	}
	if d.version > sixthVersion {
		a.Again = d.bool()
	} else {
		a.Again = strings.Contains(a.Step, ", held again in ") // it was said in words alone
	}
	return a, d.end()
}

// openAccount writes the account of a release that is being taken.
func (s *Spool) openAccount(b *pebble.Batch, it *queue.Item) error {
	if it.Release == nil {
		return nil
	}
	key := nameKey(keyReport, string(it.Release.Action))
	return errs.Wrap(errs.Internal, b.Set(key, accountOf(it, 1, s.now()).encode(key), nil), "opening an account")
}

// addAccount writes what became of a release, and gives the value. One that is
// closed stays so.
func (s *Spool) addAccount(b *pebble.Batch, it *queue.Item) (value []byte, err error) {
	key := nameKey(keyReport, string(it.Release.Action))
	old, found, err := s.get(key)
	if err != nil || !found {
		return nil, err
	}
	a, err := decodeAccount(key, old)
	if err != nil {
		// It says nothing that could be trusted: the account begins anew, behind
		// whatever was said before.
		s.opt.Log.Fault("spool", "account of "+string(it.Release.Action)+": "+err.Error())
		a = &Account{Seq: uint64(s.now().UnixMilli())}
	}
	value = accountOf(it, a.Seq+1, s.now()).encode(key)
	return value, errs.Wrap(errs.Internal, b.Set(key, value, nil), "writing an account")
}

// Observe writes what can be seen of a release that waits, if it is news.
func (s *Spool) Observe(it *queue.Item) error {
	b := s.db.NewBatch()
	defer b.Close()
	if _, err := s.addAccount(b, it); err != nil || b.Empty() {
		return err
	}
	return s.commit(b, false)
}

// Account gives the account of a release: errs.NotFound, errs.Damaged.
func (s *Spool) Account(a mail.ActionKey) (*Account, error) {
	key := nameKey(keyReport, string(a))
	v, found, err := s.get(key)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, errs.New(errs.NotFound, "there is no account of %s", a)
	}
	return decodeAccount(key, v)
}

// Accounts gives all that are open, in no order. Damaged ones are left out, and
// told.
func (s *Spool) Accounts(ctx context.Context, fn func(*Account) error) error {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{keyReport}, UpperBound: []byte{keyReport + 1}})
	if err != nil {
		return engineError(err, "reading accounts")
	}
	defer it.Close()
	for ok := it.First(); ok && ctx.Err() == nil; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return engineError(err, "reading accounts")
		}
		a, err := decodeAccount(it.Key(), v)
		if err != nil {
			s.opt.Log.Fault("spool", "account of "+string(it.Key()[1:])+": "+err.Error())
			continue
		}
		if err := fn(a); err != nil {
			return err
		}
	}
	if err := it.Error(); err != nil {
		return engineError(err, "reading accounts")
	}
	return ctx.Err()
}

// Settle makes everything applied so far durable, so that what is read of
// accounts before may be said.
func (s *Spool) Settle(ctx context.Context) error { return s.Apply(ctx, queue.Update{Durable: true}) }

// CloseAccounts drops accounts of which the manager has the whole; each only if
// it is as it was then. The manager may hear of one again after a crash.
func (s *Spool) CloseAccounts(list []*Account) error {
	b := s.db.NewBatch()
	defer b.Close()
	for _, a := range list {
		now, err := s.Account(a.Action)
		if errs.Is(err, errs.NotFound) || err == nil && now.Seq != a.Seq {
			continue
		}
		if err != nil {
			return err
		}
		if err := b.Delete(nameKey(keyReport, string(a.Action)), nil); err != nil {
			return errs.Wrap(errs.Internal, err, "closing an account")
		}
	}
	if b.Empty() {
		return nil
	}
	return s.commit(b, false)
}

// account notes in the file of what departed what is to be said of a release:
// in cells like those of notes, so that what is torn is left out. The first
// cell has the length.
func (d *departed) account(mid mail.MID, action mail.ActionKey, value []byte) {
	d.note(mid, accountFollows)
	at := len(d.buf)
	d.buf = binary.BigEndian.AppendUint16(d.buf, uint16(len(action)))
	d.buf = binary.BigEndian.AppendUint32(d.buf, uint32(len(value)))
	d.buf = append(append(d.buf, action...), value...)
	for (len(d.buf)-at)%noteSize != 0 {
		d.buf = append(d.buf, 0)
	}
}

// accountIn reads what account wrote behind its first cell, and gives the octets
// that it takes; 0 when it is torn. The value has its own checksum.
func accountIn(b []byte) (key, value []byte, size int) {
	if len(b) < 6 {
		return nil, nil, 0
	}
	k, v := int(binary.BigEndian.Uint16(b)), int(binary.BigEndian.Uint32(b[2:]))
	if v > maxDeparted || 6+k+v > len(b) {
		return nil, nil, 0
	}
	key = nameKey(keyReport, string(b[6:6+k]))
	value = b[6+k : 6+k+v]
	if _, err := unseal(key, value); err != nil {
		return nil, nil, 0
	}
	size = 6 + k + v
	return key, value, size + (noteSize-size%noteSize)%noteSize
}

// recallAccount writes what was to be said of a release when the process died.
func (s *Spool) recallAccount(b *pebble.Batch, key, value []byte) error {
	old, found, err := s.get(key)
	if err != nil || !found {
		return err // the manager has the whole of it
	}
	a, err := decodeAccount(key, value)
	if err != nil {
		return nil
	}
	if before, err := decodeAccount(key, old); err == nil && before.Seq >= a.Seq {
		return nil
	}
	return errs.Wrap(errs.Internal, b.Set(key, value, nil), "recalling an account")
}
