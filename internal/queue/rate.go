package queue

import (
	"math"
	"time"
)

// rateSlots is how finely a window is counted. One more slot than the window
// has is kept, so that no window, wherever it begins, sees more than the limit.
const rateSlots = 60

// rate counts the recipients that were handed to couriers of one destination
// in the last window (reference 8.1: recipient_limit in recipient_minutes). It
// is in memory only: a restart begins a new window. Queue.mu guards it.
type rate struct {
	slots [rateSlots + 1]uint32
	width int64 // of a slot, nanoseconds
	last  int64 // number of the newest slot: it began at last*width
	sum   int
}

// left gives how many recipients may go now.
func (r *rate) left(s Settings, now time.Time) int {
	if s.RateLimit <= 0 {
		return math.MaxInt
	}
	r.advance(s, now)
	return max(0, s.RateLimit-r.sum)
}

// take notes n recipients, which left has allowed.
func (r *rate) take(s Settings, now time.Time, n int) {
	if s.RateLimit <= 0 {
		return
	}
	r.advance(s, now)
	r.slots[r.last%(rateSlots+1)] += uint32(n)
	r.sum += n
}

// giveBack undoes take for recipients that were not tried after all, newest first.
func (r *rate) giveBack(n int) {
	for i := int64(0); i <= rateSlots && n > 0 && r.width > 0; i++ {
		slot := &r.slots[(r.last+rateSlots+1-i)%(rateSlots+1)]
		back := min(n, int(*slot))
		*slot -= uint32(back)
		r.sum -= back
		n -= back
	}
}

// next gives when some of what is used up is free again.
func (r *rate) next(now time.Time) time.Time {
	for i := int64(rateSlots); i >= 0; i-- {
		if n := r.last - i; n >= 0 && r.slots[n%(rateSlots+1)] > 0 {
			return time.Unix(0, (n+rateSlots+1)*r.width)
		}
	}
	return now
}

// advance drops what has left the window. When the window itself was changed,
// or the clock went back behind it, all that was counted counts as of now: too
// slow for one window, and never too fast.
func (r *rate) advance(s Settings, now time.Time) {
	width := max(1, int64(s.RateWindow)/rateSlots)
	at := max(0, now.UnixNano()/width)
	if width != r.width || at < r.last-rateSlots {
		sum := r.sum
		*r = rate{width: width, last: at, sum: sum}
		r.slots[at%(rateSlots+1)] = uint32(sum)
		return
	}
	for n := max(r.last+1, at-rateSlots); n <= at; n++ {
		slot := &r.slots[n%(rateSlots+1)]
		r.sum -= int(*slot)
		*slot = 0
	}
	r.last = max(r.last, at)
}

// reserve takes as many of n recipients as the rate of h allows now.
func (q *Queue) reserve(h *host, n int, now time.Time) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n = min(n, h.rate.left(h.set, now))
	h.rate.take(h.set, now, n)
	return n
}
