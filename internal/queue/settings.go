package queue

import "time"

// Settings are the bounce profile and the destination controls of one
// destination, reference 8.1 and 8.4.
type Settings struct {
	MaxRetries  int           // attempts after the first; more make it a hard bounce
	MaxTime     time.Duration // in the queue; more makes it a hard bounce
	FirstRetry  time.Duration // after the first failure
	LongestWait time.Duration // between two attempts
	Concurrency int           // connections at once
	Idle        time.Duration // how long a connection without work is kept
	Forever     bool          // neither expires nor bounces

	RateLimit  int           // recipients in RateWindow; 0: no limit
	RateWindow time.Duration // up to an hour; 0: an hour

	WarnAfter time.Duration // in the queue: the sender hears of the delay, and again after as long
	Warnings  int           // how often at most; 0: never

	// Shortest are the least MaxTime and WarnAfter that Options.Profile may
	// give for messages here; 0: those above.
	ShortestTime, ShortestWarn time.Duration
}

// quarantineConcurrency is how many messages are on their way to a quarantine
// host at once, each on a connection: at the other end those that come together
// share a flush of content and a commit, whose cost hardly grows with them.
const quarantineConcurrency = 32

// DefaultSettings are those of reference 8.4; the two quarantine hosts are
// tried at least once a minute, for ever.
func DefaultSettings(d Dest) Settings {
	s := Settings{
		MaxRetries:  100,
		MaxTime:     72 * time.Hour,
		FirstRetry:  time.Minute,
		LongestWait: time.Hour,
		Concurrency: 20,
		Idle:        5 * time.Second,
		WarnAfter:   4 * time.Hour,
		Warnings:    1,
	}
	if d.Quarantine() {
		s.Forever = true
		s.FirstRetry = 5 * time.Second
		s.LongestWait = time.Minute
		s.Concurrency = quarantineConcurrency
		s.Idle = 30 * time.Second
	}
	return s
}

// MaxConcurrency is the most connections that one destination may have
// (reference 8.1: default of max_host_concurrency).
const MaxConcurrency = 500

// normal fills what is missing and holds the limits.
func (s Settings) normal(d Dest) Settings {
	def := DefaultSettings(d)
	if s.MaxRetries <= 0 {
		s.MaxRetries = def.MaxRetries
	}
	if s.MaxTime <= 0 {
		s.MaxTime = def.MaxTime
	}
	if s.FirstRetry <= 0 {
		s.FirstRetry = def.FirstRetry
	}
	if s.LongestWait <= 0 {
		s.LongestWait = def.LongestWait
	}
	if s.LongestWait < s.FirstRetry {
		s.LongestWait = s.FirstRetry
	}
	if s.Concurrency <= 0 {
		s.Concurrency = def.Concurrency
	}
	if s.Concurrency > MaxConcurrency {
		s.Concurrency = MaxConcurrency
	}
	if s.Idle < 0 {
		s.Idle = 0
	}
	if s.RateWindow <= 0 || s.RateWindow > time.Hour {
		s.RateWindow = time.Hour
	}
	if d.Quarantine() {
		s.Forever, s.RateLimit = true, 0
	}
	if s.Forever || s.WarnAfter <= 0 {
		s.Warnings = 0
	}
	if s.ShortestTime <= 0 || s.ShortestTime > s.MaxTime {
		s.ShortestTime = s.MaxTime
	}
	if s.ShortestWarn <= 0 || s.Warnings > 0 && s.ShortestWarn > s.WarnAfter {
		s.ShortestWarn = s.WarnAfter
	}
	return s
}

// warningsDue gives how many delay notices a message of that age should have
// had.
func (s Settings) warningsDue(accepted, now time.Time) int {
	if s.Warnings <= 0 {
		return 0
	}
	return min(int(now.Sub(accepted)/s.WarnAfter), s.Warnings)
}

// settings gives the bounce profile of a message at a destination. Queue.mu is
// not held.
func (q *Queue) settings(it *Item, h *host) Settings {
	q.mu.Lock()
	set := h.set // a commit may change it meanwhile
	q.mu.Unlock()
	if q.opt.Profile == nil || h.dest.Quarantine() {
		return set
	}
	return q.opt.Profile(it, h.dest, set).normal(h.dest)
}

// Wait gives the time between failure number n (from 1) and the next attempt:
// FirstRetry, doubled each time, at most LongestWait. Reference 8.4 leaves the
// growth open; doubling reaches the hour after six failures and makes 77
// attempts in 72 hours, so that time and not the count ends a message.
func (s Settings) Wait(n int) time.Duration {
	w := s.FirstRetry
	for ; n > 1 && w < s.LongestWait; n-- {
		w *= 2
	}
	return min(w, s.LongestWait)
}

// WaitPossible gives the same when the message was perhaps delivered: the
// longest wait, and each time one more of it up to half a day. A host that takes
// mail and never says so then makes about a dozen copies in three days, not one
// an hour (reference 8.2).
func (s Settings) WaitPossible(n int) time.Duration {
	return max(s.LongestWait, min(s.LongestWait*time.Duration(max(n, 1)), 12*time.Hour))
}

// expired reports whether a message must not be tried again.
func (s Settings) expired(accepted time.Time, attempts int, now time.Time) bool {
	return !s.Forever && (attempts > s.MaxRetries || now.Sub(accepted) >= s.MaxTime)
}
