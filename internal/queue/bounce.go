package queue

import (
	"context"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// byHand is what a sender reads about a recipient that an administrator bounced.
const byHand = "The message was returned by an administrator of this system."

// Bounce ends the recipients that the match takes as failed for good; their
// senders are told like of any failure. Quarantined mail is never bounced
// (P3). A recipient that is with a courier at this moment is bounced when the
// courier does not deliver it; a message that is being judged at this moment
// is left alone, and counted in busy.
func (q *Queue) Bounce(ctx context.Context, m Match) (messages, recipients, busy int, err error) {
	if m.Host != "" && (Dest{Name: m.Host}).Quarantine() {
		return 0, 0, 0, errs.New(errs.Denied, "Quarantined mail is never bounced; delete it, or let it wait")
	}
	mids := q.candidates(m)
	for len(mids) > 0 && err == nil {
		n := min(len(mids), 10000)
		var s bounceSome
		err = q.bounceSome(ctx, mids[:n], m, &s)
		messages, recipients, busy = messages+s.messages, recipients+s.recipients, busy+s.busy
		mids = mids[n:]
	}
	return messages, recipients, busy, err
}

type bounceSome struct {
	messages, recipients, busy int
	lost                       map[Dest]map[mail.MID]bool // slots that have to go
}

// bounceSome bounces of some messages. As in deleteSome the entries stay
// referenced until their slots are out of the schedule.
func (q *Queue) bounceSome(ctx context.Context, mids []mail.MID, m Match, s *bounceSome) error {
	s.lost = make(map[Dest]map[mail.MID]bool)
	var used []*entry
	defer func() {
		for _, e := range used {
			q.release(e)
		}
	}()
	for _, mid := range mids {
		if err := ctx.Err(); err != nil {
			break
		}
		q.mu.Lock()
		e := q.acquire(mid)
		q.mu.Unlock()
		used = append(used, e)
		e.mu.Lock()
		if n := q.bounceFrom(e, m, s); n > 0 {
			s.messages++
			s.recipients += n
		}
		e.mu.Unlock()
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for d, gone := range s.lost {
		if h := q.hosts[d]; h != nil {
			h.wait.edit(func(s *slot) bool { return !gone[s.mid] })
		}
	}
	return ctx.Err()
}

// bounceFrom bounces recipients of one message and gives their number.
// entry.mu is held.
func (q *Queue) bounceFrom(e *entry, m Match, s *bounceSome) (n int) {
	if e.gone || e.fill(q) != nil || e.item.State != Work && e.item.State != Routed {
		return 0
	}
	if e.judging {
		s.busy++
		return 0
	}
	it := e.item
	var c change // one for all destinations: the sender gets one report
	at := make(map[Dest]int)
	for i := range it.Recipients {
		r := &it.Recipients[i]
		if r.State.Final() || r.Dest.Quarantine() || !m.recipient(it, r) {
			continue
		}
		n++
		if r.State == Active {
			e.dropLater(i, Bounced)
			continue
		}
		r.State, _ = r.State.To(Bounced)
		r.byHand()
		c.bounce(*r, bounceOther)
		at[r.Dest]++
	}
	if len(at) == 0 {
		return n
	}
	told := c.failed()
	q.write(e, nil, &c, q.now())
	if c.failed() == 0 { // nobody could be told: they stay
		return n - told
	}
	for _, ev := range c.events {
		q.log.Bounced(0, e.mid, ev.Recipient.RID, "5.0.0", "Bounced by an administrator", "000", []string{byHand})
	}
	q.bouncedAt(e.mid, at, s)
	return n
}

// bouncedAt counts what bounceFrom ended, by destination.
func (q *Queue) bouncedAt(mid mail.MID, at map[Dest]int, s *bounceSome) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for d, n := range at {
		if h := q.hosts[d]; h != nil {
			h.hard += uint64(n)
			h.recipients = max(0, h.recipients-n)
		}
		if s.lost[d] == nil {
			s.lost[d] = make(map[mail.MID]bool)
		}
		s.lost[d][mid] = true
	}
}

// byHand makes an administrator's decision the last word on a recipient.
func (r *Recipient) byHand() {
	r.Reply, r.Code, r.Status, r.Remote = byHand, 0, "5.0.0", ""
}
