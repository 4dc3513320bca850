package queue

import (
	"context"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// Notifier hears of what happened to recipients of one message in one moment,
// and gives the messages that are to be made of it. The queue writes them
// together with the end of the recipients, in one durable batch: after a crash
// both are there or neither is.
//
// What it keeps elsewhere must be durable when it returns nil. An error keeps
// recipients that failed in the queue. It may be called again for the same
// recipients after a crash or a failed write, and at the same time for
// different messages. It must not call the queue and not change the Item.
type Notifier func(ctx context.Context, item *Item, events []Event) (Notice, error)

// Notice is what a Notifier wants done.
type Notice struct {
	New  []Made // state Routed: they are not judged
	Done func() // called once, when they are in the store; may be nil
}

// EventKind says what happened to a recipient.
type EventKind uint8

// The kinds of events. A sender hears of Relayed only on request.
const (
	Failed  EventKind = iota // it ended without delivery
	Late                     // it waits for longer than the profile says
	Relayed                  // another host took it, and the sender asked to be told
)

// Event is what happened to one recipient.
type Event struct {
	Kind      EventKind
	Recipient Recipient // as it is now
	Expired   bool      // Failed because its time was up
	Until     time.Time // Late: when the queue gives up
}

// tell asks the notifier what is to be made of a change. On an error those
// that failed stay in the queue, and delays are told later. entry.mu is held.
func (q *Queue) tell(e *entry, c *change, now time.Time) Notice {
	if len(c.events) == 0 || q.opt.Notify == nil {
		return Notice{}
	}
	n, err := q.opt.Notify(q.ctx, e.item.Clone(), c.events)
	if err != nil {
		q.log.Fault("queue", "telling the sender of MID "+e.mid.String()+": "+err.Error())
		c.keep(e, now)
		return Notice{}
	}
	return n
}

// keep takes back what nobody could be told. entry.mu is held.
func (c *change) keep(e *entry, now time.Time) {
	for _, ev := range c.events {
		r := &e.item.Recipients[ev.Recipient.RID]
		switch ev.Kind {
		case Failed:
			r.State, r.Next = Deferred, now.Add(keepWait)
		case Late:
			r.Warned-- // so that it is due again
		}
	}
	c.events, c.hard = nil, [numBounces]int{}
}

// keepWait is how long a recipient rests that failed while nobody could be told.
const keepWait = time.Minute

// takeNew takes up what the store now has.
func (q *Queue) takeNew(list []Made) {
	if len(list) == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, n := range list {
		if n.Item.State == Routed {
			q.schedule(n.Item)
		} else {
			q.work.fresh.push(n.Item.MID)
			q.wake.Signal()
		}
	}
}

// Post stores messages that the program itself made, durably, and takes them up.
func (q *Queue) Post(ctx context.Context, list ...Made) error {
	if err := q.opt.Store.Apply(ctx, Update{New: list, Durable: true}); err != nil {
		return errs.Context(err, "storing a message")
	}
	q.takeNew(list)
	return nil
}

// Adopt takes up a message that is durable in the store and routed already.
func (q *Queue) Adopt(it *Item) { q.takeNew([]Made{{Item: it}}) }

// warnOld looks for the messages behind a destination that is down whose
// senders are to hear of the delay: nothing else would look at them. Queue.mu
// is held.
func (q *Queue) warnOld(h *host, now time.Time) {
	if h.set.Forever || q.opt.Notify == nil || h.set.ShortestWarn <= 0 {
		return
	}
	gap, from := int64(h.set.ShortestWarn/time.Second), h.warned.Unix()
	if h.warned.IsZero() {
		from = 0
	}
	h.warned = now
	var due []mail.MID
	for i := range h.wait.s {
		at := int64(h.wait.s[i].accepted)
		if k := (now.Unix() - at) / max(gap, 1); k > 0 && (from <= at || k > (from-at)/max(gap, 1)) {
			due = append(due, h.wait.s[i].mid)
		}
	}
	if len(due) > 0 {
		q.wg.Go(func() { q.warnAll(h, due) })
	}
}

// warnAll tells the senders of what warnOld found.
func (q *Queue) warnAll(h *host, mids []mail.MID) {
	for _, mid := range mids {
		if q.ctx.Err() != nil {
			return
		}
		q.mu.Lock()
		e := q.acquire(mid)
		q.mu.Unlock()
		e.mu.Lock()
		if !e.gone && e.fill(q) == nil && e.item.State == Routed { // what cannot be read is seen to when it is due
			q.warn(e, h, q.now())
		}
		e.mu.Unlock()
		q.release(e)
	}
}

// warn tells of the waiting recipients at h. entry.mu is held.
func (q *Queue) warn(e *entry, h *host, now time.Time) {
	var c change
	set := q.settings(e.item, h)
	for i := range e.item.Recipients {
		r := &e.item.Recipients[i]
		if r.Dest != h.dest || r.State != Pending && r.State != Deferred {
			continue
		}
		if r.Reply == "" {
			r.Reply = q.lastError(h)
		}
		q.late(&c, e.item, r, set, now)
	}
	if len(c.events) > 0 {
		q.write(e, h, &c, now)
	}
}

// late notes that the sender is to hear of a delay, if it is time.
func (q *Queue) late(c *change, it *Item, r *Recipient, set Settings, now time.Time) {
	n := set.warningsDue(it.Accepted, now)
	if n <= r.Warned || now.Before(q.doubt) {
		return
	}
	r.Warned = n
	c.events = append(c.events, Event{Kind: Late, Recipient: *r, Until: it.Accepted.Add(set.MaxTime)})
}
