package queue

import "time"

// sweepGap is the least time between two looks for old messages: those whose
// own profile is longer than the destination's come back into the schedule.
const sweepGap = 10 * time.Second

// expireOld takes the messages that are too old out of the schedule of a
// destination that is down: nothing else would ever look at them. Queue.mu is
// held.
func (q *Queue) expireOld(h *host, now time.Time) {
	if h.set.Forever || now.Before(q.doubt) || now.Sub(h.swept) < sweepGap {
		return
	}
	h.swept = now
	limit := now.Add(-h.set.ShortestTime).Unix()
	var old []slot
	h.wait.edit(func(s *slot) bool {
		if int64(s.accepted) > limit {
			return true
		}
		old = append(old, *s)
		return false
	})
	if len(old) > 0 {
		q.wg.Go(func() { q.expireSlots(h, old) })
	}
}

// expireSlots bounces what expireOld found.
func (q *Queue) expireSlots(h *host, old []slot) {
	for i, s := range old {
		if q.ctx.Err() != nil {
			q.mu.Lock()
			for _, rest := range old[i:] {
				h.wait.push(rest)
			}
			q.mu.Unlock()
			return
		}
		q.mu.Lock()
		e := q.acquire(s.mid)
		q.mu.Unlock()
		e.mu.Lock()
		if q.fillFor(e, h, s) {
			q.expire(e, h, q.now(), true)
			if !e.gone {
				q.reslot(e, h)
			}
		}
		e.mu.Unlock()
		q.release(e)
	}
}

// expire bounces the waiting recipients at h whose time is used up. One that
// was never tried is tried first, unless its destination is down (untried).
// entry.mu is held and the message has no slot at h; it gets none here.
func (q *Queue) expire(e *entry, h *host, now time.Time, untried bool) {
	var c change
	it := e.item
	for i := range it.Recipients {
		r := &it.Recipients[i]
		if r.Dest != h.dest || r.State != Pending && r.State != Deferred || r.Attempts == 0 && !untried {
			continue
		}
		if !q.old(q.settings(it, h), it.Accepted, 0, now) { // attempts are counted where they fail
			continue
		}
		r.State, _ = r.State.To(Bounced)
		if r.Reply == "" {
			r.Reply = q.lastError(h)
		}
		c.bounce(*r, bounceExpired)
	}
	if len(c.events) > 0 {
		q.write(e, h, &c, now)
	}
}

func (q *Queue) lastError(h *host) string {
	q.mu.Lock()
	defer q.mu.Unlock()
	if h.lastErr == "" {
		return "message too old"
	}
	return h.lastErr
}
