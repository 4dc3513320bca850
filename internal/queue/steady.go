package queue

import (
	"sync"
	"time"
)

// Steady gives a clock for schedules and ages: it follows the wall clock, but no
// step of it. Mail would else bounce at once when somebody sets the clock ahead,
// all of it be tried in the same moment, and none when it is set back (register
// G1). A difference up to smallStep, which is what correcting a clock in the
// ordinary way makes, is followed; behind a larger one this clock goes on from
// where it was, until the next start.
//
// wall nil: time.Now. The clock may be used by many at once.
func Steady(wall func() time.Time) func() time.Time {
	if wall == nil {
		wall = time.Now
	}
	start := time.Now()
	s := &steady{wall: wall, elapsed: func() time.Duration { return time.Since(start) }}
	s.at, s.since = wall(), s.elapsed()
	return s.now
}

// smallStep is what the steady clock follows.
const smallStep = time.Minute

type steady struct {
	wall    func() time.Time
	elapsed func() time.Duration // what no step moves

	mu    sync.Mutex
	at    time.Time // the time when the clock was last right
	since time.Duration
}

func (s *steady) now() time.Time {
	wall, elapsed := s.wall(), s.elapsed()
	s.mu.Lock()
	defer s.mu.Unlock()
	should := s.at.Add(elapsed - s.since)
	if off := wall.Round(0).Sub(should.Round(0)); off < -smallStep || off > smallStep {
		return should
	}
	s.at, s.since = wall, elapsed
	return wall
}

// An absence of more than longAway is looked at like a clock that was set ahead:
// for the time of trust nothing is too old. Whatever waits is tried in it.
const (
	longAway = 26 * time.Hour
	trust    = time.Hour
)

// lastSeen keeps the last moment that a message found at start tells of.
func (q *Queue) lastSeen(it *Item) {
	at := it.Accepted
	for i := range it.Recipients {
		if last := it.Recipients[i].Last; last.After(at) {
			at = last
		}
	}
	if at.After(q.seen) {
		q.seen = at
	}
}

// takenUp decides, behind a start, whether ages may be believed. q.mu is held.
func (q *Queue) takenUp() {
	if now := q.now(); !q.seen.IsZero() && now.Sub(q.seen) > longAway {
		q.doubt = now.Add(trust)
	}
}

// old reports whether a message must not be tried again. q.mu need not be held:
// doubt does not change once the queue runs.
func (q *Queue) old(set Settings, accepted time.Time, attempts int, now time.Time) bool {
	if now.Before(q.doubt) {
		accepted = now
	}
	return set.expired(accepted, attempts, now)
}

// nextTry gives when a recipient is due. One never tried is due since it was
// accepted. When its last try lies ahead, the clock was set back since: it is due.
func nextTry(it *Item, r *Recipient, now time.Time) time.Time {
	switch {
	case r.Next.IsZero() && it.Accepted.After(now), r.Last.After(now.Add(smallStep)):
		return now
	case r.Next.IsZero():
		return it.Accepted
	}
	return r.Next
}
