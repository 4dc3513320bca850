package store

import (
	"context"
	"io"
	"math/rand/v2"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
	"lazaret/internal/queue"
)

// Releases is the store of the manager's queue: its messages are release
// decisions. Their content is that of the held message and is never copied; a
// row in intent makes one live.
type Releases struct{ s *Store }

// Releases gives the store of the queue on the same database.
func (s *Store) Releases() *Releases { return &Releases{s} }

// intent is a row of that table.
type intent struct {
	mid    mail.MID
	action mail.ActionKey
	cause  string
	actor  string
	at     time.Time
	state  queue.MessageState
	tries  int
}

// Scan implements queue.Store. A release can go to one destination only, so
// what waited for judgement when the last life ended is given as judged: a
// million releases are taken up without a million judgements.
func (q *Releases) Scan(ctx context.Context, fn func(*queue.Item) error) error {
	s := q.s
	err := s.do(ctx, true, func(t *tx) error {
		return t.exec("UPDATE intent SET qstate = $1, tries = 0 WHERE qstate = $2 AND owner = $3", int(queue.Routed), int(queue.Work), s.opt.Name)
	})
	if err != nil {
		return err
	}
	for after := mail.MID(0); ; {
		list, err := s.intents(ctx, "mid > $1 ORDER BY mid LIMIT 500", int64(after))
		if err != nil || len(list) == 0 {
			return err
		}
		items, damaged, err := s.items(ctx, list)
		if err != nil {
			return err
		}
		for i := range list {
			if after = list[i].mid; damaged[i] != nil {
				err = q.SetAside(ctx, after, damaged[i])
			} else {
				err = fn(items[i])
			}
			if err != nil {
				return err
			}
		}
	}
}

func (s *Store) intents(ctx context.Context, cond string, arg any) (out []intent, err error) {
	rows, err := s.read.QueryContext(ctx, "SELECT mid, action, cause, actor, at, qstate, tries FROM intent WHERE owner = $2 AND "+cond, arg, s.opt.Name)
	if err != nil {
		return nil, sqlError(err, "reading releases")
	}
	defer rows.Close()
	for rows.Next() {
		var in intent
		var at int64
		if err := rows.Scan(&in.mid, &in.action, &in.cause, &in.actor, &at, &in.state, &in.tries); err != nil {
			return nil, sqlError(err, "reading releases")
		}
		in.at = fromMS(at)
		out = append(out, in)
	}
	return out, sqlError(rows.Err(), "reading releases")
}

// Load implements queue.Store.
func (q *Releases) Load(ctx context.Context, mid mail.MID) (*queue.Item, error) {
	list, err := q.s.intents(ctx, "mid = $1", int64(mid))
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, errs.New(errs.NotFound, "MID %s is not being released", mid)
	}
	items, damaged, err := q.s.items(ctx, list)
	if err != nil {
		return nil, err
	}
	return items[0], damaged[0]
}

// items puts together what the queue knows of releases: for each an item, or
// what is wrong with it.
func (s *Store) items(ctx context.Context, list []intent) (items []*queue.Item, damaged []error, err error) {
	mids := make([]mail.MID, len(list))
	for i := range list {
		mids[i] = list[i].mid
	}
	records, err := s.Load(ctx, mids)
	if err != nil {
		return nil, nil, err
	}
	recipients, err := s.recipients(ctx, mids)
	if err != nil {
		return nil, nil, err
	}
	by := make(map[mail.MID]*quarantine.Record, len(records))
	for _, r := range records {
		by[r.MID] = r
	}
	items, damaged = make([]*queue.Item, len(list)), make([]error, len(list))
	for i := range list {
		items[i], damaged[i] = list[i].item(by[mids[i]], recipients[mids[i]])
	}
	return items, damaged, nil
}

// item makes one item.
func (in *intent) item(r *quarantine.Record, to []queue.Recipient) (*queue.Item, error) {
	if r == nil {
		return nil, errs.New(errs.Damaged, "release of MID %s: there is no such message", in.mid)
	}
	if len(to) != len(r.Envelope.To) {
		return nil, errs.New(errs.Damaged, "release of MID %s: %d of %d recipients are recorded", in.mid, len(to), len(r.Envelope.To))
	}
	for i := range to {
		if int(to[i].RID) != i {
			return nil, errs.New(errs.Damaged, "release of MID %s: recipient %d is recorded as %d", in.mid, i, to[i].RID)
		}
		to[i].RcptParams = r.Envelope.RcptParams(i)
		to[i].Address, to[i].Dest = r.Envelope.To[i], queue.Dest{Name: queue.CPQReleaseHost, Lane: r.Gateway}
	}
	return &queue.Item{MID: r.MID, Key: r.Key, State: in.state, From: r.Envelope.From, Params: r.Envelope.Params, Size: r.Size,
		Hash: r.Hash, Accepted: in.at, Origin: r.Origin, Subject: r.Subject, MessageID: r.MessageID, Prepend: r.Prepend,
		Tries: in.tries, Recipients: to,
		Release: &queue.Release{Action: in.action, Gateway: r.Gateway, ManagerMID: r.MID, GatewayMID: r.GatewayMID,
			Cause: in.cause, By: in.actor, Extras: r.Extras()}}, nil
}

// recipients reads where the recipients of releases stand.
func (s *Store) recipients(ctx context.Context, mids []mail.MID) (map[mail.MID][]queue.Recipient, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT mid, rid, qstate, attempts, next, reply FROM release_recipient WHERE mid IN "+
		inList(mids)+" ORDER BY mid, rid")
	if err != nil {
		return nil, sqlError(err, "reading releases")
	}
	defer rows.Close()
	out := make(map[mail.MID][]queue.Recipient, len(mids))
	for rows.Next() {
		var mid, next int64
		var r queue.Recipient
		if err := rows.Scan(&mid, &r.RID, &r.State, &r.Attempts, &next, &r.Reply); err != nil {
			return nil, sqlError(err, "reading releases")
		}
		r.Next, r.Reply = fromMS(next), unescape(r.Reply)
		out[mail.MID(mid)] = append(out[mail.MID(mid)], r)
	}
	return out, sqlError(rows.Err(), "reading releases")
}

// Open implements queue.Store.
func (q *Releases) Open(ctx context.Context, mid mail.MID) (io.ReadCloser, error) {
	s := q.s
	r, err := s.one(ctx, mid)
	if err != nil {
		return nil, err
	}
	if r == nil || r.State.Final() {
		return nil, errs.New(errs.NotFound, "MID %s has no content any more", mid)
	}
	if r.Content == "" {
		return nil, errs.New(errs.Damaged, "MID %s: the record of its content is missing", mid)
	}
	c, err := s.opt.Contents.Open(ctx, r.Content)
	if errs.Is(err, errs.NotFound) {
		if r, again := s.one(ctx, mid); again == nil && r != nil && !r.State.Final() {
			return nil, errs.Wrap(errs.Damaged, err, "MID %s", mid)
		}
	}
	return c, err
}

// Apply implements queue.Store.
func (q *Releases) Apply(ctx context.Context, u queue.Update) error {
	s := q.s
	if len(u.Add)+len(u.New) > 0 {
		return errs.New(errs.Invalid, "the queue of a manager makes no copies")
	}
	final := make(map[mail.MID]*queue.Item, len(u.Final))
	for _, it := range u.Final {
		final[it.MID] = it
	}
	now := s.now()
	return s.do(ctx, u.Durable, func(t *tx) error {
		if u.Durable && len(u.Save)+len(u.Remove)+len(u.Receipts) == 0 {
			return t.flush() // a transaction that writes nothing flushes nothing
		}
		for _, it := range u.Save {
			if err := t.saveItem(it, now); err != nil {
				return err
			}
		}
		for i := range u.Receipts {
			if err := t.receipt(&u.Receipts[i]); err != nil {
				return err
			}
		}
		for _, mid := range u.Remove {
			if err := t.finish(mid, final[mid], now); err != nil {
				return err
			}
		}
		return nil
	})
}

// flush makes the commit write, so that it takes all earlier ones to stable
// storage. SQLite writes no page whose content stays the same, and then its
// commit flushes nothing: the value is another one each time.
func (t *tx) flush() error {
	return t.exec(`INSERT INTO meta (name, value) VALUES ('flush', $1) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, number(rand.Uint64()))
}

// saveItem writes the state of a release and of its recipients.
func (t *tx) saveItem(it *queue.Item, now time.Time) error {
	n, err := t.execN("UPDATE intent SET qstate = $1, tries = $2 WHERE mid = $3 AND owner = $4", int(it.State), it.Tries, int64(it.MID), t.s.opt.Name)
	if err != nil || n == 0 {
		return err // n == 0: it is over, or another manager has taken it over
	}
	return t.saveRecipients(it, now)
}

// delivery translates the queue's view into what the quarantine shows.
func delivery(s queue.RecipientState) quarantine.DeliveryState {
	switch s {
	case queue.Delivered:
		return quarantine.Taken
	case queue.Bounced, queue.Deleted:
		return quarantine.FailedThere
	}
	return quarantine.Queued
}

const deletedFromQueue = "deleted from the queue by an operator"

func (t *tx) saveRecipients(it *queue.Item, now time.Time) error {
	for i := range it.Recipients {
		r := &it.Recipients[i]
		reply := r.Reply
		if r.State == queue.Deleted {
			reply = deletedFromQueue
		}
		err := t.exec(`UPDATE release_recipient SET qstate = $1, attempts = $2, next = $3, reply = $4,
			state = CASE WHEN state > 2 THEN state ELSE $5 END, at = $6
			WHERE mid = $7 AND rid = $8 AND (qstate <> $1 OR attempts <> $2 OR reply <> $4 OR next <> $3)`,
			int(r.State), r.Attempts, ms(r.Next), reply, int(delivery(r.State)), now.UnixMilli(), int64(it.MID), i)
		if err != nil {
			return err
		}
	}
	return nil
}

// receipt notes the message's new number at the gateway for the recipients that
// were taken with it.
func (t *tx) receipt(r *queue.Receipt) error {
	mine, err := t.row("SELECT 1 FROM intent WHERE mid = $1 AND owner = $2", []any{int64(r.Item.MID), t.s.opt.Name}, new(int))
	if err != nil || !mine {
		return err // another manager's now; that one hears the same from the gateway
	}
	if err := t.lock(r.Item.MID); err != nil {
		return err
	}
	remote, err := mail.ParseMID(r.Remote)
	if err != nil {
		remote = 0 // taken all the same; the reply is kept as it came
	}
	for i := range r.Item.Recipients {
		if r.Item.Recipients[i].State != queue.Delivered {
			continue
		}
		// A gateway may have said what became of it before its receipt was noted.
		err := t.exec(`UPDATE release_recipient SET state = CASE WHEN state > 2 THEN state ELSE $1 END, qstate = $2, remote = $3, reply = $4,
			at = $5, taken = $5
			WHERE mid = $6 AND rid = $7 AND remote = 0`,
			int(quarantine.Taken), int(queue.Delivered), int64(remote), r.Reply, ms(r.At), int64(r.Item.MID), i)
		if err != nil {
			return err
		}
	}
	return nil
}

// lock keeps other managers from changing a message until the commit: what a
// gateway says of a release may come to another one at this moment, and must be
// seen here, or there the end of this.
func (t *tx) lock(mid mail.MID) error {
	return t.exec("UPDATE message SET version = version WHERE mid = $1", int64(mid))
}

// finish ends a release. Taken by the gateway for everybody it was for: the
// content stays until it is proven what became of it. Refused for anybody: it has failed
// and is kept for another decision. Deleted from the queue for everybody: that
// was the decision.
func (t *tx) finish(mid mail.MID, it *queue.Item, now time.Time) error {
	n, err := t.execN("DELETE FROM intent WHERE mid = $1 AND owner = $2", int64(mid), t.s.opt.Name)
	if err != nil || n == 0 {
		return err // n == 0: done before, or another manager's now
	}
	if err := t.lock(mid); err != nil {
		return err
	}
	if it != nil {
		if err := t.saveRecipients(it, now); err != nil {
			return err
		}
	}
	var taken, refused, open, lost int64
	if _, err := t.row(`SELECT COALESCE(SUM(CASE WHEN qstate = $1 THEN 1 ELSE 0 END), 0), COALESCE(SUM(CASE WHEN qstate = $2 THEN 1 ELSE 0 END), 0),
		COALESCE(SUM(CASE WHEN state IN (1, 3, 4) THEN 1 ELSE 0 END), 0), COALESCE(SUM(CASE WHEN state IN (6, 7, 9) THEN 1 ELSE 0 END), 0)
		FROM release_recipient WHERE mid = $3`, []any{int(queue.Delivered), int(queue.Bounced), int64(mid)}, &taken, &refused, &open, &lost); err != nil {
		return err
	}
	to := quarantine.Gone
	switch {
	case refused > 0:
		to = quarantine.Failed
	case taken == 0:
		to = quarantine.Removed
	case open > 0: // the gateway has it, and has yet to say what became of it
		to = quarantine.Sent
	case lost > 0:
		to = quarantine.Failed
	}
	return t.end(mid, to, now)
}

// end moves a message that was leaving.
func (t *tx) end(mid mail.MID, to quarantine.State, now time.Time) error {
	var state int
	var size int64
	var hash []byte
	ok, err := t.row("SELECT state, hash, size FROM message WHERE mid = $1", []any{int64(mid)}, &state, &hash, &size)
	if err != nil || !ok {
		return err
	}
	next, err := quarantine.State(state).To(to)
	if err != nil { // the record contradicts the intent: said once, and the queue goes on
		t.s.fault(errs.Context(err, "ending the release of MID %s", mid))
		return nil
	}
	t.holds(quarantine.State(state), -1, size)
	t.holds(next, 1, size)
	err = t.exec("UPDATE message SET state = $1, changed = $2, version = version + 1 WHERE mid = $3", int(next), now.UnixMilli(), int64(mid))
	if err != nil || !next.Final() {
		return err
	}
	return t.unlink(hash)
}

// SetAside implements queue.Store: a release that cannot be carried out has
// failed. The message stays, with the cause for all to see.
func (q *Releases) SetAside(ctx context.Context, mid mail.MID, cause error) error {
	s := q.s
	now := s.now()
	return s.do(ctx, true, func(t *tx) error {
		n, err := t.execN("DELETE FROM intent WHERE mid = $1 AND owner = $2", int64(mid), s.opt.Name)
		if err != nil || n == 0 {
			return err
		}
		err = t.exec("UPDATE release_recipient SET state = $1, qstate = $2, reply = $3, at = $4 WHERE mid = $5 AND qstate <> $6",
			int(quarantine.FailedThere), int(queue.Bounced), cause.Error(), now.UnixMilli(), int64(mid), int(queue.Delivered))
		if err != nil {
			return err
		}
		return t.end(mid, quarantine.Failed, now)
	})
}
