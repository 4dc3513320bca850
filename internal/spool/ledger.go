package spool

import (
	"context"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/queue"
)

// take commits a message under an action key, once. Two that bring the same
// action at the same time do not both pass the look into the ledger: the
// second waits for the first.
func (d *Draft) take(ctx context.Context, it *queue.Item, a mail.ActionKey) error {
	s := d.s
	for {
		s.taking.Lock()
		other := s.inFlight[a]
		if other == nil {
			s.inFlight[a] = make(chan struct{})
			s.taking.Unlock()
			break
		}
		s.taking.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return errs.Wrap(errs.Temporary, ctx.Err(), "waiting for the same action")
		}
	}
	defer func() {
		s.taking.Lock()
		close(s.inFlight[a])
		delete(s.inFlight, a)
		s.taking.Unlock()
	}()
	mid, found, err := s.Action(a)
	if err != nil {
		return err
	}
	if found {
		return &Taken{Action: a, MID: mid}
	}
	return d.commit(it, a)
}

// addAction writes the ledger "taken".
func (s *Spool) addAction(b *pebble.Batch, a mail.ActionKey, mid mail.MID) error {
	key := nameKey(keyAction, string(a))
	var e encoder
	e.b = append(e.b, recordVersion)
	e.uint(uint64(mid))
	e.time(s.now())
	return errs.Wrap(errs.Internal, b.Set(key, seal(key, e.b), nil), "writing the ledger")
}

// Action says whether an action was carried out, and as which message. A
// ledger entry that cannot be read is errs.Damaged: the caller must refuse
// for now, not release again.
func (s *Spool) Action(a mail.ActionKey) (mail.MID, bool, error) {
	key := nameKey(keyAction, string(a))
	v, found, err := s.get(key)
	if err != nil || !found {
		return 0, false, err
	}
	mid, _, err := decodeAction(key, v)
	return mid, err == nil, errs.Context(err, "ledger entry %s", a)
}

// Actions gives how many actions about a message the ledger has, counting to
// limit at most. Each is one: whether it can be read does not matter.
func (s *Spool) Actions(k mail.Key, limit int) (n int, err error) {
	prefix := nameKey(keyAction, string(k)+"-")
	end := append(prefix[:len(prefix)-1:len(prefix)-1], '-'+1)
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: end})
	if err != nil {
		return 0, engineError(err, "reading the ledger")
	}
	defer it.Close()
	for ok := it.First(); ok && n < limit; ok = it.Next() {
		n++
	}
	return n, engineError(it.Error(), "reading the ledger")
}

func decodeAction(key, v []byte) (mid mail.MID, at time.Time, err error) {
	d, err := opened(key, v)
	if err != nil {
		return 0, time.Time{}, err
	}
	mid, at = mail.MID(d.uint()), d.time()
	return mid, at, d.end()
}

// opened checks the seal and the version of a ledger entry.
func opened(key, v []byte) (*decoder, error) {
	body, err := unseal(key, v)
	if err != nil {
		return nil, err
	}
	if len(body) < 1 || body[0] < firstVersion || body[0] > recordVersion {
		return nil, errs.New(errs.Damaged, "unknown version")
	}
	return &decoder{b: body[1:], version: body[0]}, nil
}

func (d *decoder) end() error {
	if d.bad || len(d.b) > 0 {
		return errs.New(errs.Damaged, "wrong form")
	}
	return nil
}

// Own in place of a manager's id says that a message is in a quarantine of this
// gateway: it is no manager's to give back.
const Own = "own"

// Sent is what the ledger keeps of a message whose custody a manager took, or a
// quarantine of our own (Own): all that is needed to check what comes back, and
// what is remembered of its judgement.
type Sent struct {
	Key    mail.Key
	MID    mail.MID
	Remote string // the message's id at the manager
	Reply  string
	At     time.Time
	From   mail.Address
	mail.Params
	Recipients []mail.Address
	Rcpt       []mail.RcptParams // for each of Recipients
	Size       int64
	Hash       mail.Hash
	Prepend    []byte // header lines to add when it comes back
	Subject    string
	Origin     mail.Origin
	Judged     mail.Judgement
	Placements []mail.Placement // what it was held for
	Route      mail.Route
}

// addSent writes the ledger "sent".
func (s *Spool) addSent(b *pebble.Batch, r *queue.Receipt) error {
	it := r.Item
	key := nameKey(keySent, string(it.Key))
	var e encoder
	e.b = append(e.b, recordVersion)
	e.uint(uint64(it.MID))
	e.string(r.Remote)
	e.string(r.Reply)
	e.time(r.At)
	e.address(it.From)
	e.bool(it.EightBit)
	e.uint(uint64(it.Size))
	e.b = append(e.b, it.Hash[:]...)
	e.bytes(it.Prepend)
	e.string(it.Subject)
	e.origin(&it.Origin)
	e.uint(uint64(len(it.Recipients)))
	for i := range it.Recipients {
		e.address(it.Recipients[i].Address)
	}
	e.params(&it.Params)
	e.string(it.Origin.User)
	for i := range it.Recipients {
		e.rcptParams(&it.Recipients[i].RcptParams)
	}
	e.judgement(&it.Judged)
	e.placements(it.Placements)
	e.route(&it.Route)
	return errs.Wrap(errs.Internal, b.Set(key, seal(key, e.b), nil), "writing the ledger")
}

// Sent says whether custody of a message was passed to a manager.
func (s *Spool) Sent(k mail.Key) (Sent, bool, error) {
	key := nameKey(keySent, string(k))
	v, found, err := s.get(key)
	if err != nil || !found {
		return Sent{}, false, err
	}
	sent, err := decodeSent(key, v)
	sent.Key = k
	return sent, err == nil, errs.Context(err, "ledger entry %s", k)
}

func decodeSent(key, v []byte) (Sent, error) {
	d, err := opened(key, v)
	if err != nil {
		return Sent{}, err
	}
	out := Sent{MID: mail.MID(d.uint()), Remote: d.string(), Reply: d.string(), At: d.time(), From: d.address()}
	out.EightBit = d.bool()
	out.Size = int64(d.uint())
	copy(out.Hash[:], d.take(uint64(len(out.Hash))))
	out.Prepend = d.bytes()
	out.Subject = d.string()
	d.origin(&out.Origin)
	for range d.count(2) {
		out.Recipients = append(out.Recipients, d.address())
	}
	out.Rcpt = make([]mail.RcptParams, len(out.Recipients))
	if d.version > firstVersion {
		d.params(&out.Params)
		out.Origin.User = d.string()
		for i := range out.Rcpt {
			d.rcptParams(&out.Rcpt[i])
		}
	}
	if d.version > thirdVersion {
		d.judgement(&out.Judged)
		out.Placements = d.placements()
	}
	if d.version > seventhVersion {
		out.Route = d.route()
	}
	return out, d.end()
}

// Holds says whether the message with this key is still in the queue here.
func (s *Spool) Holds(k mail.Key) (bool, error) {
	_, _, mid, err := mail.ParseKey(string(k))
	if err != nil {
		return false, err
	}
	it, err := s.Load(context.Background(), mid)
	if errs.Is(err, errs.NotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return it.Key == k, nil
}

// Forget drops ledger entries older than a time, and gives their number. The
// time must lie before anything that a manager may still hold.
func (s *Spool) Forget(ctx context.Context, before time.Time) (n int, err error) {
	for _, prefix := range []byte{keyAction, keySent} {
		m, err := s.forget(ctx, prefix, before)
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func (s *Spool) forget(ctx context.Context, prefix byte, before time.Time) (n int, err error) {
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefix}, UpperBound: []byte{prefix + 1}})
	if err != nil {
		return 0, engineError(err, "reading the ledger")
	}
	defer it.Close()
	b := s.db.NewBatch()
	defer func() { b.Close() }()
	for ok := it.First(); ok && ctx.Err() == nil; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return n, engineError(err, "reading the ledger")
		}
		if at, err := entryTime(prefix, it.Key(), v); err != nil || !at.Before(before) {
			continue // what cannot be read stays: it may say "taken"
		}
		if err := b.Delete(it.Key(), nil); err != nil {
			return n, errs.Wrap(errs.Internal, err, "writing the ledger")
		}
		if n++; n%1000 == 0 {
			if err := s.commit(b, true); err != nil {
				return n, err
			}
			b.Close()
			b = s.db.NewBatch()
		}
	}
	if err := it.Error(); err != nil {
		return n, engineError(err, "reading the ledger")
	}
	if b.Empty() {
		return n, ctx.Err()
	}
	return n, s.commit(b, true)
}

func entryTime(prefix byte, key, v []byte) (time.Time, error) {
	if prefix == keySent {
		sent, err := decodeSent(key, v)
		return sent.At, err
	}
	_, at, err := decodeAction(key, v)
	return at, err
}
