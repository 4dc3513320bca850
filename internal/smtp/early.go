package smtp

import (
	"syscall"
	"time"
)

// talksEarly reports whether the peer sent anything before the greeting, which
// RFC 5321 section 4.3.1 forbids: such a peer does not listen, and is no mail
// server. Without a waiting time this is one look into the socket's queue.
func (c *conn) talksEarly() bool {
	wait := c.server.cfg.Timeouts.Greeting
	if wait <= 0 {
		return c.peek()
	}
	began := time.Now()
	if _, err := c.stop.readBy(began.Add(wait), false); err != nil {
		c.send(c.fail(err))
		c.flush()
		return false
	}
	n, err := c.raw.Read(c.in.buf)
	switch {
	case n > 0:
		return true
	case !isTimeout(err):
		c.fail(err)
	case c.stop.stoppedSince(false):
		c.send(c.fail(errShutdown))
		c.flush()
	}
	return false
}

// peek looks without waiting and without taking anything.
func (c *conn) peek() bool {
	s, ok := c.raw.(syscall.Conn)
	if !ok {
		return false // a pipe in a test
	}
	rc, err := s.SyscallConn()
	if err != nil {
		return false
	}
	found := false
	err = rc.Read(func(fd uintptr) bool {
		var b [1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		found = err == nil && n > 0
		return true
	})
	return err == nil && found
}
