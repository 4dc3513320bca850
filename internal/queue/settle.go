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
	taken                    []mail.RID // delivered, of a message that stays for others
	events                   []Event
	delivered, soft, deleted int
	hard                     [numBounces]int // dns, 5xx, expired, other
	pending                  []mail.RID
	until                    time.Time // when the last of pending is tried again
}

// outcome moves one active recipient. entry.mu is held.
func (q *Queue) outcome(e *entry, h *host, c *change, r *Recipient, o Outcome, now time.Time) {
	state := o.State
	if state == Bounced && h.dest.Quarantine() && h.dest.Name != CPQReleaseHost {
		// Never bounce quarantined mail (P3). A release that the gateway
		// refused for good does end: the message is still held at the
		// manager, whose store marks the release as failed.
		state = Deferred
	}
	byHand := false
	if to := e.dropped(r.RID); state == Deferred && to.Final() {
		state, byHand = to, to == Bounced
	}
	next, err := r.State.To(state)
	if err != nil || next == Pending {
		q.log.Fault("queue", "courier for "+h.dest.String()+": outcome "+state.String()+" is none")
		next = Deferred
	}
	r.State, r.Reply, r.Code, r.Status, r.Remote, r.Last = next, o.Reply, o.Code, o.Status, o.Remote, now
	if byHand {
		r.byHand()
		o = Outcome{}
	}
	switch next {
	case Delivered:
		c.delivered++
		if len(e.item.Recipients) > 1 {
			c.taken = append(c.taken, r.RID)
		}
		if r.Notify.Has(mail.NotifySuccess) && !o.Passed && !h.dest.Quarantine() {
			c.events = append(c.events, Event{Kind: Relayed, Recipient: *r})
		}
		if o.Receipt != "" {
			c.receipt = &Receipt{Item: e.item, Remote: o.Receipt, Reply: o.Reply, At: now}
		}
	case Deleted:
		c.deleted++
	case Bounced:
		c.bounce(*r, bounceKind(o))
	case Deferred:
		c.soft++
		set := q.settings(e.item, h)
		if q.old(set, e.item.Accepted, r.Attempts, now) {
			r.State = Bounced
			c.bounce(*r, bounceExpired)
			return
		}
		wait := set.Wait(r.Attempts)
		if o.Possible {
			wait = set.WaitPossible(r.Attempts)
		}
		r.Next = now.Add(wait)
		c.wait(r)
		q.late(c, e.item, r, set, now)
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
	numBounces
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
	c.events = append(c.events, Event{Kind: Failed, Recipient: r, Expired: kind == bounceExpired})
	c.hard[kind]++
}

// failed gives how many recipients failed for good.
func (c *change) failed() (n int) {
	for _, k := range c.hard {
		n += k
	}
	return n
}

// commit writes a change and schedules what is left. entry.mu is held.
func (q *Queue) commit(e *entry, h *host, c *change, now time.Time) {
	if q.write(e, h, c, now); !e.gone {
		q.reslot(e, h)
	}
}

// write tells of what happened, writes the message's new state together with
// what is to be told, and counts. h is nil for a message that has no
// destination yet. entry.mu is held.
func (q *Queue) write(e *entry, h *host, c *change, now time.Time) {
	if h != nil && h.dest.Quarantine() {
		c.events = nil // nobody outside hears of a refused release
	}
	notice := q.tell(e, c, now)
	// The lines come first: after a crash in between they stand there twice,
	// and none is missing. Only a report may yet fail, and keep the message.
	told := len(notice.New) == 0
	if told {
		q.lines(e, c, e.item.Final())
	}
	err := q.store(e, c, notice)
	if err != nil && len(notice.New) > 0 {
		// Neither the report nor the end is in the store: those that failed
		// stay, and what was delivered is written without its report.
		c.keep(e, now)
		notice = Notice{}
		err = q.store(e, c, notice)
	}
	if err == nil {
		e.dirty = false
		q.takeNew(notice.New)
		if notice.Done != nil {
			notice.Done()
		}
	}
	q.count(h, c)
	if !told {
		q.lines(e, c, e.gone)
	}
}

// lines writes what ended here, and without a courier's line.
func (q *Queue) lines(e *entry, c *change, final bool) {
	for _, ev := range c.events {
		if ev.Expired {
			q.log.Bounced(0, e.mid, ev.Recipient.RID, "5.4.7", "Delivery expired (message too old)", "000", []string{ev.Recipient.Reply})
		}
	}
	if final {
		q.log.Finished(e.mid, true)
	}
}

// store writes the message's new state. entry.mu is held.
func (q *Queue) store(e *entry, c *change, notice Notice) error {
	u := Update{New: notice.New, Durable: len(notice.New) > 0}
	if c.receipt != nil {
		u.Receipts = []Receipt{*c.receipt}
	}
	final := e.item.Final()
	state := e.item.State
	if final {
		e.item.State, _ = state.To(Done)
		u.Remove, u.Final = []mail.MID{e.mid}, []*Item{e.item}
	} else {
		u.Save, u.Delivered = []*Item{e.item}, c.taken
	}
	if e.item.Release != nil {
		u.Report = []*Item{e.item}
	}
	err := q.apply(u)
	if err != nil && len(notice.New) > 0 {
		e.item.State = state
		return err
	}
	e.gone = final
	switch {
	case err == nil:
	case final || len(u.Receipts) > 0:
		q.postpone(u) // it left: it must not leave again while this process lives
	default:
		e.dirty = true
	}
	return err
}

func (q *Queue) count(h *host, c *change) {
	add := func(k stats.Counter, n int) {
		if n > 0 {
			q.stats.Add(k, uint64(n))
		}
	}
	hard := c.failed()
	add(stats.DeliveredRecipients, c.delivered)
	add(stats.SoftBouncedEvents, c.soft)
	add(stats.DeletedRecipients, c.deleted)
	add(stats.HardBouncedDNS, c.hard[bounceDNS])
	add(stats.HardBounced5XX, c.hard[bounce5XX])
	add(stats.HardBouncedExpired, c.hard[bounceExpired])
	add(stats.HardBouncedOther, c.hard[bounceOther])
	if h == nil {
		return
	}
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
		noted = noted || r.Attempts > 1
		r.Attempts--
		switch e.dropped(r.RID) {
		case Deleted:
			r.State = Deleted
			c.deleted++
		case Bounced:
			r.State = Bounced
			r.byHand()
			c.bounce(*r, bounceOther)
		default:
			r.State = to
		}
	}
	if c.deleted+c.failed() > 0 {
		q.commit(e, h, &c, now)
		return
	}
	if noted {
		if q.apply(Update{Save: []*Item{e.item}}) != nil {
			e.dirty = true
		}
	}
	s, _ := slotFor(e.item, h.dest, now)
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
