package smtp

import (
	"context"
	"net"
	"sync"
	"time"
)

// lastWords is the time to send 421 after the grace time.
const lastWords = time.Second

// stopper turns the end of a context into deadlines of a connection.
type stopper struct {
	conn   net.Conn
	grace  time.Duration
	cancel context.CancelFunc
	done   chan struct{} // closed by stop

	mu     sync.Mutex
	at     time.Time // when stop was called
	timer  *time.Timer
	writes time.Time // the write deadline that is set
}

// slack is the part of its wait by which a write deadline may be late: one that
// was set a moment ago serves again, and most writes set none. What a peer is
// given to say something is exact.
const slack = 16

// serves reports whether a deadline that is set is not before t, and not much
// behind it.
func serves(set, t time.Time, wait time.Duration) bool {
	late := set.Sub(t)
	return late >= 0 && late <= wait/slack
}

func newStopper(conn net.Conn, grace time.Duration, cancel context.CancelFunc) *stopper {
	return &stopper{conn: conn, grace: grace, cancel: cancel, done: make(chan struct{})}
}

// stop wakes what waits, and cancels the Session's context after the grace time.
func (s *stopper) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = time.Now()
	s.timer = time.AfterFunc(s.grace, s.cancel)
	s.conn.SetReadDeadline(s.at)
	s.conn.SetWriteDeadline(s.at.Add(s.grace + lastWords))
	close(s.done)
}

func (s *stopper) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil {
		s.timer.Stop()
	}
}

// readBy sets the read deadline, and reports whether stop had been called.
// While stopping only what is busy may read on, and not beyond the grace time.
func (s *stopper) readBy(t time.Time, busy bool) (stopping bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if stopping = !s.at.IsZero(); stopping {
		if !busy {
			return true, errShutdown
		}
		if end := s.at.Add(s.grace); end.Before(t) {
			t = end
		}
	}
	return stopping, s.conn.SetReadDeadline(t)
}

// stoppedSince reports whether stop was called after readBy gave before.
func (s *stopper) stoppedSince(before bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !before && !s.at.IsZero()
}

// handshakeBy sets both deadlines.
func (s *stopper) handshakeBy(d time.Duration) {
	s.writeBy(d)
	s.readBy(time.Now().Add(d), true)
}

// writeBy sets the write deadline.
func (s *stopper) writeBy(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := time.Now().Add(d)
	if !s.at.IsZero() {
		if end := s.at.Add(s.grace + lastWords); end.Before(t) {
			t = end
		}
	} else if serves(s.writes, t, d) {
		return
	} else {
		t = t.Add(d / slack)
	}
	s.writes = t
	s.conn.SetWriteDeadline(t)
}
