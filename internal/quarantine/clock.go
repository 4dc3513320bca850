package quarantine

import (
	"context"
	"fmt"
	"sync"
	"time"

	"lazaret/internal/auth"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// Limits of trust in the clock. Retention is the one thing here that a wrong
// clock can turn into loss (register G1).
const (
	clockJump   = time.Hour      // a step between two looks that nobody makes by hand
	clockStable = time.Hour      // how long a new time must last before it is believed
	clockGap    = 26 * time.Hour // an absence longer than a night is looked at like a jump
	maxShare    = 20             // percent of what is held that may expire at once behind a jump
	minShare    = 100            // messages that always may
)

// watch keeps the clock under observation. Times that are compared with one
// another come from Options.Elapsed, which no step of the clock moves.
type watch struct {
	mu      sync.Mutex
	seen    bool
	wall    time.Time
	elapsed time.Duration
	doubt   bool          // a jump was seen and has not been believed yet
	since   time.Duration // of the last jump, in elapsed time
	saved   time.Duration // when the clock was last noted durably
	blocked bool          // too much is due at once, and somebody was told
}

// Clock says what the service makes of the clock.
type Clock struct {
	Doubt   bool      `json:"doubt"`   // nothing expires: the clock jumped
	Until   time.Time `json:"until"`   // in doubt: expiry goes on then, if the clock stays
	Blocked bool      `json:"blocked"` // more is due at once than expires without confirmation
}

// look notes the time and reports whether it may be believed. note says that it
// is kept for the next life.
func (s *Service) look(ctx context.Context, note bool) (bool, error) {
	w := &s.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	wall, elapsed := s.now(), s.opt.Elapsed()
	jump := time.Duration(0)
	if w.seen {
		jump = wall.Sub(w.wall) - (elapsed - w.elapsed)
	} else {
		last, err := s.opt.Store.LastSeen(ctx)
		if err != nil {
			return false, err
		}
		if gap := wall.Sub(last); !last.IsZero() && (gap > clockGap || gap < -clockJump) {
			jump = gap
		}
		w.saved = elapsed - time.Hour
	}
	w.seen, w.wall, w.elapsed = true, wall, elapsed
	if jump > clockJump || jump < -clockJump {
		w.doubt, w.since = true, elapsed
		s.opt.Alert(fmt.Sprintf("the clock is %s from where it was: nothing expires until it has been steady for %s", jump.Round(time.Second), clockStable))
	}
	if w.doubt && elapsed-w.since < clockStable {
		return false, nil
	}
	if note && elapsed-w.saved >= time.Minute {
		w.saved = elapsed
		return true, s.opt.Store.Seen(ctx, wall)
	}
	return true, nil
}

// bearable reports whether what is due may expire without somebody's word: all
// of it, unless the clock jumped before.
func (s *Service) bearable(ctx context.Context) (bool, error) {
	w := &s.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.doubt {
		return true, nil
	}
	due, err := s.opt.Store.DueBy(ctx, s.stamp())
	if err != nil {
		return false, err
	}
	u, err := s.opt.Store.Usage(ctx)
	if err != nil {
		return false, err
	}
	n := int64(0)
	for _, c := range due {
		n += c.Messages
	}
	if n <= minShare || n*100 <= u.All.Messages*maxShare {
		w.doubt, w.blocked = false, false
		return true, nil
	}
	if !w.blocked {
		w.blocked = true
		s.opt.Alert(fmt.Sprintf("behind a jump of the clock %d of %d messages are due at once: they stay until somebody confirms the time (quarantineconfig confirmclock)",
			n, u.All.Messages))
	}
	return false, nil
}

// Clock gives what the service makes of the clock.
func (s *Service) Clock() Clock {
	w := &s.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	c := Clock{Doubt: w.doubt && s.opt.Elapsed()-w.since < clockStable, Blocked: w.blocked}
	if c.Doubt {
		c.Until = w.wall.Add(clockStable - (w.elapsed - w.since)).UTC()
	}
	return c
}

// ConfirmClock says that the clock is right: what is due expires.
func (s *Service) ConfirmClock(p mail.Principal) error {
	if !auth.Can(p.Role, auth.QuarantineAll) {
		return errs.New(errs.Denied, "role %q may not confirm the time", p.Role)
	}
	s.watch.mu.Lock()
	defer s.watch.mu.Unlock()
	s.watch.doubt, s.watch.blocked = false, false
	s.opt.Audit.Record(p, "quarantine confirm the clock", "ok")
	return nil
}
