package queue

import (
	"time"

	"lazaret/internal/errs"
)

// load makes the task of a slot that is due. Nil: there was nothing to do, or
// it was put back for later.
func (q *Queue) load(f *Feed, s slot) *Task {
	q.mu.Lock()
	e := q.acquire(s.mid)
	q.mu.Unlock()
	e.mu.Lock()
	t := &Task{feed: f, entry: e, slot: s}
	ok := q.fillFor(e, f.h, s) && q.pick(t, f.h)
	e.mu.Unlock()
	if !ok {
		q.release(e)
		return nil
	}
	t.Open = q.opener(s.mid, t.Item.Size, func(err error) {
		e.mu.Lock()
		t.damaged = err
		e.mu.Unlock()
	})
	q.mu.Lock()
	f.tasks[t] = struct{}{}
	q.mu.Unlock()
	return t
}

// fillFor loads the message behind a slot; on failure it does with the slot
// what the failure asks for.
func (q *Queue) fillFor(e *entry, h *host, s slot) bool {
	if e.gone {
		q.lost(e, h, s)
		return false
	}
	err := e.fill(q)
	if err == nil {
		return true
	}
	switch errs.KindOf(err) {
	case errs.NotFound: // set aside at another destination
		e.gone = true
		q.forget(h, s)
	case errs.Damaged:
		e.setAside(q, err)
		q.forget(h, s)
	default:
		q.log.Fault("queue", "loading MID "+e.mid.String()+": "+err.Error())
		q.putBack(h, s, q.now().Add(returnWait))
	}
	return false
}

// returnWait is how long a slot rests that could not be worked on for a reason
// that is not the destination's.
const returnWait = 5 * time.Second

// lost drops a slot whose message is gone. What an operator deleted is not
// counted any more; what was set aside at another destination still is.
func (q *Queue) lost(e *entry, h *host, s slot) {
	if e.aside {
		q.forget(h, s)
	}
}

// forget stops counting the recipients of a slot.
func (q *Queue) forget(h *host, s slot) {
	q.mu.Lock()
	h.recipients = max(0, h.recipients-int(s.rcpts))
	q.mu.Unlock()
}

func (q *Queue) putBack(h *host, s slot, next time.Time) {
	q.mu.Lock()
	s.next = next.UnixNano()
	h.wait.push(s)
	q.kick(h)
	q.mu.Unlock()
}

// pick chooses the recipients that are due and notes their attempt before
// anything is dialled (house rule 17). The first attempt of a message is
// implied by its record: only later ones are written.
func (q *Queue) pick(t *Task, h *host) bool {
	e, now := t.entry, q.now()
	it := e.item
	if it.State != Routed {
		q.forget(h, t.slot)
		return false
	}
	if q.expire(e, h, now, false); e.gone {
		return false
	}
	due := 0
	for i := range it.Recipients {
		if t.due(it, &it.Recipients[i], now) {
			due++
		}
	}
	due = q.reserve(h, due, now)
	retried := false
	for i := range it.Recipients {
		r := &it.Recipients[i]
		if len(t.Recipients) == due || !t.due(it, r, now) {
			continue
		}
		t.before = append(t.before, r.State)
		r.State, _ = r.State.To(Active)
		retried = retried || r.Attempts > 0
		r.Attempts++
		t.Recipients = append(t.Recipients, *r)
	}
	if len(t.Recipients) == 0 {
		q.reslot(e, h)
		return false
	}
	if retried {
		if err := q.apply(Update{Save: []*Item{it}}); err == nil {
			e.dirty = false
		}
	}
	t.Item = it
	if len(t.Recipients) < len(it.Recipients) {
		c := *it // others change Recipients meanwhile
		c.Recipients = nil
		t.Item = &c
	}
	return true
}

// due reports whether a recipient is to be delivered to by this task.
func (t *Task) due(it *Item, r *Recipient, now time.Time) bool {
	return r.Dest == t.feed.h.dest && (r.State == Pending || r.State == Deferred) && (!nextTry(it, r, now).After(now) || t.slot.next == forced)
}

// reslot puts what is left of a message at h back into the schedule. entry.mu
// is held.
func (q *Queue) reslot(e *entry, h *host) {
	s, n := slotFor(e.item, h.dest, q.now())
	if n == 0 {
		return
	}
	q.mu.Lock()
	h.wait.push(s)
	q.kick(h)
	q.mu.Unlock()
}
