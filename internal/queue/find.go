package queue

import (
	"context"
	"slices"
	"strings"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/stats"
)

// Match chooses messages and recipients. The zero value chooses nothing.
type Match struct {
	All    bool
	Host   string   // recipients behind this destination
	Sender string   // envelope sender, without angle brackets
	MID    mail.MID // one message
}

func (m Match) sender(it *Item) bool {
	return m.Sender != "" && strings.EqualFold(it.From.String(), m.Sender)
}

// recipient reports whether the match takes a recipient of it.
func (m Match) recipient(it *Item, r *Recipient) bool {
	switch {
	case m.MID != 0:
		return it.MID == m.MID
	case m.Host != "":
		name := r.Dest.Name
		if name == "" { // not judged yet
			name = r.Address.Domain
		}
		return strings.EqualFold(name, m.Host)
	case m.Sender != "":
		return m.sender(it)
	}
	return m.All
}

// candidates gives the messages that may match, oldest first.
func (q *Queue) candidates(m Match) []mail.MID {
	if m.MID != 0 {
		return []mail.MID{m.MID}
	}
	q.mu.Lock()
	mids := q.work.all()
	for _, e := range q.live {
		if e.refs > 0 {
			mids = append(mids, e.mid)
		}
	}
	for d, h := range q.hosts {
		if m.Host != "" && !strings.EqualFold(d.Name, m.Host) {
			continue
		}
		for i := range h.wait.s {
			mids = append(mids, h.wait.s[i].mid)
		}
	}
	if m.All {
		mids = append(mids, q.work.held...)
	}
	q.mu.Unlock()
	slices.Sort(mids)
	return slices.Compact(mids)
}

// Find calls fn with a copy of each message of which the match takes a
// recipient that is not final, oldest first. Messages that leave meanwhile may be missed.
func (q *Queue) Find(ctx context.Context, m Match, fn func(*Item) error) error {
	for _, mid := range q.candidates(m) {
		if err := ctx.Err(); err != nil {
			return err
		}
		it, err := q.look(mid)
		if errs.Is(err, errs.NotFound) || errs.Is(err, errs.Damaged) {
			continue // left, or is set aside when its turn comes
		}
		if err != nil {
			return err
		}
		for i := range it.Recipients {
			if r := &it.Recipients[i]; !r.State.Final() && m.recipient(it, r) {
				if err := fn(it); err != nil {
					return err
				}
				break
			}
		}
	}
	return nil
}

// look gives a copy of a message as it is now.
func (q *Queue) look(mid mail.MID) (*Item, error) {
	q.mu.Lock()
	e := q.live[mid]
	if e != nil {
		e = q.acquire(mid)
	}
	q.mu.Unlock()
	if e == nil {
		return q.opt.Store.Load(q.ctx, mid)
	}
	defer q.release(e)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.gone {
		return nil, errs.New(errs.NotFound, "message %d has left the queue", mid)
	}
	if err := e.fill(q); err != nil {
		return nil, err
	}
	return e.item.Clone(), nil
}

// Look gives a copy of a message as it is now. What waits behind a destination
// that is down has the reason, and the time of the next try, of that.
func (q *Queue) Look(mid mail.MID) (*Item, error) {
	it, err := q.look(mid)
	if err != nil {
		return nil, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range it.Recipients {
		r := &it.Recipients[i]
		h := q.hosts[r.Dest]
		if h == nil || h.state != Down || r.State != Pending && r.State != Deferred || h.lastErrT.Before(r.Last) {
			continue
		}
		r.Reply, r.Code, r.Status, r.Remote, r.Last = h.lastErr, 0, "", "", h.lastErrT
		if h.nextTry.After(r.Next) {
			r.Next = h.nextTry
		}
	}
	return it, nil
}

// Removed is one message of which Delete took recipients.
type Removed struct {
	MID  mail.MID
	RIDs []mail.RID
}

// Delete deletes the recipients that the match takes, and with the last one
// the message. A recipient that is with a courier at this moment is deleted
// when the courier does not deliver it. fn, if not nil, hears of each message,
// when it is in the store.
func (q *Queue) Delete(ctx context.Context, m Match, fn func(Removed)) (messages, recipients int, err error) {
	mids := q.candidates(m)
	for len(mids) > 0 && err == nil {
		n := min(len(mids), 10000)
		var done []Removed
		done, err = q.deleteSome(ctx, mids[:n], m)
		mids = mids[n:]
		for _, d := range done {
			messages++
			recipients += len(d.RIDs)
			q.log.Deleted(d.MID, d.RIDs)
			if fn != nil {
				fn(d)
			}
		}
	}
	return messages, recipients, err
}

// deleteSome deletes in one update. The entries stay referenced until the
// slots are out of the schedule, so that a run that has just popped one sees
// that the message is gone.
func (q *Queue) deleteSome(ctx context.Context, mids []mail.MID, m Match) (done []Removed, err error) {
	var used []*entry
	defer func() {
		for _, e := range used {
			q.release(e)
		}
	}()
	var u Update
	u.Durable = true
	lost := make(map[Dest]map[mail.MID]int)
	for _, mid := range mids {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		q.mu.Lock()
		e := q.acquire(mid)
		q.mu.Unlock()
		used = append(used, e)
		e.mu.Lock()
		if rids := q.deleteFrom(e, m, &u, lost); len(rids) > 0 {
			done = append(done, Removed{MID: mid, RIDs: rids})
		}
		e.mu.Unlock()
	}
	if len(u.Save)+len(u.Remove) > 0 {
		if err := q.apply(u); err != nil {
			q.postpone(u)
		}
	}
	q.mu.Lock()
	for d, n := range lost {
		q.unschedule(q.hosts[d], n)
	}
	for _, mid := range u.Remove {
		if i := slices.Index(q.work.held, mid); i >= 0 {
			q.work.held = slices.Delete(q.work.held, i, i+1)
		}
	}
	q.mu.Unlock()
	return done, nil
}

// deleteFrom marks the recipients of one message and gives their numbers.
// entry.mu is held.
func (q *Queue) deleteFrom(e *entry, m Match, u *Update, lost map[Dest]map[mail.MID]int) (rids []mail.RID) {
	if e.gone || e.fill(q) != nil {
		return nil
	}
	it, now := e.item, 0
	for i := range it.Recipients {
		r := &it.Recipients[i]
		if r.State.Final() || !m.recipient(it, r) {
			continue
		}
		rids = append(rids, mail.RID(i))
		if r.State == Active || e.judging {
			e.dropLater(i, Deleted)
			continue
		}
		r.State, _ = r.State.To(Deleted)
		now++
		if it.State == Routed {
			if lost[r.Dest] == nil {
				lost[r.Dest] = make(map[mail.MID]int)
			}
			lost[r.Dest][e.mid]++
		}
	}
	if now == 0 {
		return rids
	}
	q.stats.Add(stats.DeletedRecipients, uint64(now))
	if it.Release != nil {
		u.Report = append(u.Report, it.Clone())
	}
	if it.Final() {
		e.gone = true
		it.State, _ = it.State.To(Done)
		u.Remove, u.Final = append(u.Remove, e.mid), append(u.Final, it)
	} else {
		e.dirty = false
		u.Save = append(u.Save, it.Clone())
	}
	return rids
}

// dropLater notes what becomes of a recipient that is with a courier or being
// judged, unless it is delivered. entry.mu is held.
func (e *entry) dropLater(i int, to RecipientState) {
	if e.drop == nil {
		e.drop = make([]RecipientState, len(e.item.Recipients))
	}
	e.drop[i] = to
}

// dropped gives what dropLater noted, or Pending. entry.mu is held.
func (e *entry) dropped(rid mail.RID) RecipientState {
	if int(rid) < len(e.drop) {
		return e.drop[rid]
	}
	return Pending
}

// unschedule takes n[mid] recipients of each message out of a schedule.
func (q *Queue) unschedule(h *host, n map[mail.MID]int) {
	if h == nil {
		return
	}
	for _, c := range n {
		h.recipients = max(0, h.recipients-c)
	}
	h.wait.edit(func(s *slot) bool {
		c := uint32(n[s.mid])
		s.rcpts -= min(c, s.rcpts)
		return c == 0 || s.rcpts > 0
	})
}
