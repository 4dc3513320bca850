package queue

import (
	"time"
)

// host is one destination with its schedule. Queue.mu guards it.
type host struct {
	dest  Dest
	set   Settings
	state HostState
	wait  slots

	feeds    map[*Feed]struct{} // one a run
	idle     []*Feed            // of these, those waiting in Next
	starting int                // of these, those that have not called Next yet
	window   int                // runs allowed now: grows with success, shrinks with failure
	blocked  bool               // stands in Queue.blocked
	rate     rate

	timer  *time.Timer
	wakeAt time.Time // when timer fires; zero: not armed

	failures int       // in a row
	nextTry  time.Time // while down
	lastErr  string
	lastErrT time.Time
	lastGood time.Time // last task settled
	lastUsed time.Time
	warned   time.Time // warnOld looked
	swept    time.Time // expireOld looked

	pinned     bool
	recipients int // not final
	delivered  uint64
	soft       uint64
	hard       uint64
}

// firstWindow is the number of runs a destination that was never reached may
// have at once; each success adds one.
const firstWindow = 5

// host gives the record of a destination and makes it when needed.
func (q *Queue) host(d Dest) *host {
	h := q.hosts[d]
	if h == nil {
		if len(q.hosts) >= q.opt.MaxHosts {
			q.forgetHosts()
		}
		h = &host{dest: d, feeds: make(map[*Feed]struct{}), window: firstWindow, lastUsed: q.now()}
		h.set = q.opt.Settings(d).normal(d)
		if q.suspended[""] || q.suspended[d.Name] {
			h.state = Suspended
		}
		q.hosts[d] = h
	}
	return h
}

// forgetHosts drops the records of destinations that have nothing to do and
// nothing to remember but counters.
func (q *Queue) forgetHosts() {
	for d, h := range q.hosts {
		if !h.pinned && h.wait.len() == 0 && h.recipients == 0 && len(h.feeds) == 0 && h.state != Suspended {
			h.stop()
			delete(q.hosts, d)
		}
	}
}

// move makes a transition of the table. What the table forbids is ignored:
// reports of runs come late.
func (h *host) move(to HostState) {
	if next, err := h.state.To(to); err == nil {
		h.state = next
	}
}

func (h *host) stop() {
	if h.timer != nil {
		h.timer.Stop()
	}
	h.wakeAt = time.Time{}
	h.wakeIdle()
}

// wakeIdle makes the feeds that wait look around again.
func (h *host) wakeIdle() {
	for _, f := range h.idle {
		f.waiting = false
		f.signal()
	}
	h.idle = h.idle[:0]
}

// schedule puts a routed message into the heaps of its destinations.
func (q *Queue) schedule(it *Item) {
	for i := range it.Recipients {
		if d := it.Recipients[i].Dest; !it.Recipients[i].State.Final() && firstWith(it, i, d) {
			h := q.host(d)
			s, n := slotFor(it, d, q.now())
			h.recipients += n
			h.wait.push(s)
			q.kick(h)
		}
	}
}

// firstWith reports whether recipient i is the first live one of the message at d.
func firstWith(it *Item, i int, d Dest) bool {
	for j := range i {
		if it.Recipients[j].Dest == d && !it.Recipients[j].State.Final() {
			return false
		}
	}
	return true
}

// slotFor makes the slot of a message at a destination, due when the first of
// its recipients there is. One never tried is due since it was accepted, so
// that the oldest mail leaves first. n counts its live recipients.
func slotFor(it *Item, d Dest, now time.Time) (s slot, n int) {
	s = slot{mid: it.MID, accepted: unixSeconds(it.Accepted)}
	for i := range it.Recipients {
		r := &it.Recipients[i]
		if r.Dest != d || r.State.Final() {
			continue
		}
		next := nextTry(it, r, now).UnixNano()
		if n == 0 || next < s.next {
			s.next = next
		}
		n++
	}
	s.rcpts = uint32(n)
	return s, n
}

// unixSeconds clamps, for clocks that are far off.
func unixSeconds(t time.Time) uint32 {
	return uint32(min(max(t.Unix(), 0), 1<<32-1))
}

// kick begins what can be begun at h and arms the timer for the rest.
func (q *Queue) kick(h *host) {
	if q.closing || !q.running || h.state == Suspended || h.wait.len() == 0 {
		return
	}
	now := q.now()
	if h.state == Down {
		q.probe(h, now)
		return
	}
	for h.wait.len() > 0 && h.wait.s[0].next <= now.UnixNano() && h.rate.left(h.set, now) > 0 {
		if n := len(h.idle); n > 0 {
			f := h.idle[n-1]
			h.idle = h.idle[:n-1]
			f.waiting, f.given, f.slot = false, true, h.wait.pop()
			f.signal()
			continue
		}
		if h.wait.len() <= h.starting || len(h.feeds) >= min(h.window, h.set.Concurrency) || !q.spawn(h, false) {
			return // a run takes it when it asks, or a permit comes free
		}
	}
	q.arm(h, now)
}

// probe begins the one attempt that a destination which is down gets, when it is time.
func (q *Queue) probe(h *host, now time.Time) {
	if now.Before(h.nextTry) {
		q.armAt(h, h.nextTry, now)
		return
	}
	if len(h.feeds) > 0 {
		return // the probe is under way, or the last runs of better times end
	}
	q.expireOld(h, now)
	q.warnOld(h, now)
	if h.wait.len() == 0 {
		return
	}
	if h.wait.s[0].next > now.UnixNano() || h.rate.left(h.set, now) == 0 {
		q.arm(h, now)
		return
	}
	q.spawn(h, true)
}

// arm wakes h when the next of its messages is due and its rate lets it go.
func (q *Queue) arm(h *host, now time.Time) {
	if h.wait.len() == 0 {
		return
	}
	at := time.Unix(0, h.wait.s[0].next)
	if h.rate.left(h.set, now) == 0 {
		if free := h.rate.next(now); free.After(at) {
			at = free
		}
	}
	q.armAt(h, at, now)
}

func (q *Queue) armAt(h *host, at, now time.Time) {
	if !h.wakeAt.IsZero() && !at.Before(h.wakeAt) {
		return
	}
	h.wakeAt = at
	d := max(at.Sub(now), 0)
	if h.timer != nil {
		h.timer.Reset(d)
		return
	}
	h.timer = time.AfterFunc(d, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		h.wakeAt = time.Time{}
		q.kick(h)
	})
}

// reached notes that a task was settled: the destination is up.
func (q *Queue) reached(h *host, now time.Time) {
	h.lastGood, h.lastUsed = now, now
	h.failures = 0
	if h.window < h.set.Concurrency {
		h.window++
	}
	if h.state != Up {
		h.move(Up)
		q.kick(h)
	}
}

// failed notes that a connection could not be made or kept. While other runs
// get through since began, the destination takes fewer connections but is not
// down.
func (q *Queue) failed(h *host, began time.Time, err error, now time.Time) {
	h.lastErr, h.lastErrT, h.lastUsed = err.Error(), now, now
	if h.state == Up && h.lastGood.After(began) {
		h.window = max(1, len(h.feeds)-1)
		return
	}
	h.window = firstWindow
	h.failures++
	// Jitter of a tenth either way: many links that failed together do not come back together.
	wait := float64(h.set.Wait(h.failures)) * (0.9 + 0.2*q.opt.Random())
	h.nextTry = now.Add(min(time.Duration(wait), h.set.LongestWait))
	h.move(Down)
	h.wakeIdle()
	q.kick(h)
}
