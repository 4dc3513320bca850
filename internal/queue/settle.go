package queue

import (
	"time"

	"lazaret/internal/mail"
	"lazaret/internal/stats"
)

// settle records the outcomes of a task.
func (q *Queue) settle(t *Task, outcomes []Outcome) {
	e, h, now := t.entry, t.feed.h, q.now()
	e.mu.Lock()
	if !e.gone && t.damaged != nil {
		e.setAside(q, t.damaged)
	}
	if e.gone {
		q.lost(e, h, t.slot)
		e.mu.Unlock()
		q.release(e)
		return
	}
	var c change
	for i := range t.Recipients {
		o := Outcome{State: Deferred, Reply: "no result"}
		if i < len(outcomes) {
			o = outcomes[i]
		}
		q.outcome(e, h, &c, &e.item.Recipients[t.Recipients[i].RID], o, now)
	}
	q.mu.Lock()
	if spoke(outcomes) || h.state == Down {
		q.reached(h, now)
	}
	q.mu.Unlock()
	if len(c.pending) > 0 {
		q.log.Pending(e.item.MID, c.pending, c.until)
	}
	q.commit(e, h, &c, now)
	e.mu.Unlock()
	q.release(e)
}

// spoke reports whether the destination itself answered: a domain that does
// not exist bounces without anybody having been reached.
func spoke(outcomes []Outcome) bool {
	for _, o := range outcomes {
		if o.Code > 0 || o.State == Delivered {
			return true
		}
	}
	return false
}

// change collects what happened to one message at one destination.
type change struct {
	receipt                  *Receipt
	bounced                  []Recipient
	late                     []bool // for each of bounced: it expired
	delivered, soft, deleted int
	hard                     [4]int // dns, 5xx, expired, other
	pending                  []mail.RID
	until                    time.Time // when the last of pending is tried again
}

// outcome moves one active recipient. entry.mu is held.
func (q *Queue) outcome(e *entry, h *host, c *change, r *Recipient, o Outcome, now time.Time) {
	state := o.State
	if state == Bounced && h.set.Forever && h.dest.Name != CPQReleaseHost {
		// Never bounce quarantined mail (P3). A release that the gateway
		// refused for good does end: the message is still held at the
		// manager, whose store marks the release as failed.
		state = Deferred
	}
	if state == Deferred && int(r.RID) < len(e.drop) && e.drop[r.RID] {
		state = Deleted
	}
	next, err := r.State.To(state)
	if err != nil || next == Pending {
		q.log.Fault("queue", "courier for "+h.dest.String()+": outcome "+state.String()+" is none")
		next = Deferred
	}
	r.State, r.Reply = next, o.Reply
	switch next {
	case Delivered:
		c.delivered++
		if o.Receipt != "" {
			c.receipt = &Receipt{Item: e.item, Remote: o.Receipt, Reply: o.Reply, At: now}
		}
	case Deleted:
		c.deleted++
	case Bounced:
		c.bounce(*r, bounceKind(o))
	case Deferred:
		c.soft++
		if h.set.expired(e.item.Accepted, r.Attempts, now) {
			r.State = Bounced
			c.bounce(*r, bounceExpired)
			return
		}
		wait := h.set.Wait(r.Attempts)
		if o.Possible {
			wait = h.set.WaitPossible(r.Attempts)
		}
		r.Next = now.Add(wait)
		c.wait(r)
	}
}

// wait notes a recipient that is tried again, for the log line.
func (c *change) wait(r *Recipient) {
	if r.Next.After(c.until) {
		c.until = r.Next
	}
	c.pending = append(c.pending, r.RID)
}

const (
	bounceDNS = iota
	bounce5XX
	bounceExpired
	bounceOther
)

func bounceKind(o Outcome) int {
	switch {
	case o.Code >= 500:
		return bounce5XX
	case o.Code == 0 && (o.Status == "5.1.2" || o.Status == "5.1.10" || o.Status == "5.4.4"):
		return bounceDNS
	}
	return bounceOther
}

func (c *change) bounce(r Recipient, kind int) {
	c.bounced = append(c.bounced, r)
	c.hard[kind]++
	c.late = append(c.late, kind == bounceExpired)
}

// commit writes a change and schedules what is left. entry.mu is held.
func (q *Queue) commit(e *entry, h *host, c *change, now time.Time) {
	if q.write(e, h, c, now); !e.gone {
		q.reslot(e, h)
	}
}

// write tells of bounces, writes the message's new state and counts. entry.mu
// is held.
func (q *Queue) write(e *entry, h *host, c *change, now time.Time) {
	q.tellBounces(e, h, c, now)
	u := Update{}
	if c.receipt != nil {
		u.Receipts = []Receipt{*c.receipt}
	}
	final := e.item.Final()
	if final {
		e.gone = true
		e.item.State, _ = e.item.State.To(Done)
		u.Remove, u.Final = []mail.MID{e.mid}, []*Item{e.item}
	} else {
		u.Save = []*Item{e.item}
	}
	err := q.apply(u)
	switch {
	case err == nil:
		e.dirty = false
	case final || len(u.Receipts) > 0:
		q.postpone(u) // it left: it must not leave again while this process lives
	default:
		e.dirty = true
	}
	q.count(h, c)
	for i, r := range c.bounced {
		if c.late[i] {
			q.log.Bounced(0, e.mid, r.RID, "5.4.7", "Delivery expired (message too old)", "000", []string{r.Reply})
		}
	}
	if final {
		q.log.Finished(e.mid, true)
	}
}

// tellBounces calls the bounce hook; when it fails the recipients stay.
func (q *Queue) tellBounces(e *entry, h *host, c *change, now time.Time) {
	if len(c.bounced) == 0 || q.opt.Bounce == nil || h.dest.Quarantine() {
		return // nobody outside hears of a refused release
	}
	err := q.opt.Bounce(q.ctx, e.item.Clone(), c.bounced)
	if err == nil {
		return
	}
	q.log.Fault("queue", "bouncing MID "+e.mid.String()+": "+err.Error())
	for _, b := range c.bounced {
		r := &e.item.Recipients[b.RID]
		r.State, r.Next = Deferred, now.Add(h.set.FirstRetry)
	}
	c.bounced, c.late, c.hard = nil, nil, [4]int{}
}

func (q *Queue) count(h *host, c *change) {
	add := func(k stats.Counter, n int) {
		if n > 0 {
			q.stats.Add(k, uint64(n))
		}
	}
	hard := len(c.bounced)
	add(stats.DeliveredRecipients, c.delivered)
	add(stats.SoftBouncedEvents, c.soft)
	add(stats.DeletedRecipients, c.deleted)
	add(stats.HardBouncedDNS, c.hard[bounceDNS])
	add(stats.HardBounced5XX, c.hard[bounce5XX])
	add(stats.HardBouncedExpired, c.hard[bounceExpired])
	add(stats.HardBouncedOther, c.hard[bounceOther])
	q.mu.Lock()
	h.delivered += uint64(c.delivered)
	h.soft += uint64(c.soft)
	h.hard += uint64(hard)
	h.recipients = max(0, h.recipients-c.delivered-c.deleted-hard)
	q.mu.Unlock()
}

// giveBack undoes pick. A run that got anything through may have met a
// connection that died of age: its tasks are due at once. One that got nothing
// through must not try the same again without a rest, unless the destination
// is down and the probe decides.
func (q *Queue) giveBack(t *Task) {
	e, h := t.entry, t.feed.h
	e.mu.Lock()
	if !e.gone && t.damaged != nil {
		e.setAside(q, t.damaged)
	}
	if e.gone {
		q.lost(e, h, t.slot)
	} else {
		q.undo(t)
	}
	e.mu.Unlock()
	q.release(e)
}

func (q *Queue) undo(t *Task) {
	e, h, now := t.entry, t.feed.h, q.now()
	var c change
	noted := false
	for i := range t.Recipients {
		r := &e.item.Recipients[t.Recipients[i].RID]
		to := t.before[i]
		if int(r.RID) < len(e.drop) && e.drop[r.RID] {
			to = Deleted
			c.deleted++
		}
		noted = noted || r.Attempts > 1
		r.State = to
		r.Attempts--
	}
	if c.deleted > 0 {
		q.commit(e, h, &c, now)
		return
	}
	if noted {
		if q.apply(Update{Save: []*Item{e.item}}) != nil {
			e.dirty = true
		}
	}
	s, _ := slotFor(e.item, h.dest)
	if t.slot.next == forced {
		s.next = forced
	}
	q.mu.Lock()
	h.rate.giveBack(len(t.Recipients))
	if h.state != Down && t.feed.settled == 0 {
		s.next = now.Add(returnWait).UnixNano()
	}
	h.wait.push(s)
	q.kick(h)
	q.mu.Unlock()
}
