package smtp

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"

	"lazaret/internal/errs"
)

var (
	errShutdown = errs.New(errs.Closed, "server is shutting down")
	errTimeout  = errs.New(errs.Temporary, "peer is too slow")
	errTooSlow  = errs.New(errs.Temporary, "content comes too slowly")
)

// transaction is one message on its way in; reset assigns the zero value.
type transaction struct {
	recipients   int
	utf8, binary bool  // announced at MAIL
	refused      Reply // of a message in chunks: what all that are left are answered
}

// conn is one connection being served.
type conn struct {
	server *Server
	sess   Session
	obs    Observer
	hurry  Hurried         // nil: there is always time
	ctx    context.Context // of the Session's calls
	stop   *stopper

	raw net.Conn // deadlines are set here, also under TLS
	rw  net.Conn // raw, or TLS on it
	tls *tls.ConnectionState
	in  input
	out []byte // replies not yet sent

	phase    phase
	extended bool // EHLO
	authed   bool // AUTH succeeded
	secret   bool // the next line may be a password
	refused  bool // greeted with ServerConfig.Refuse
	tx       transaction
	again    []byte // a line to be taken before the input's

	errors, junk int
	wasted       bool // the present command was junk beyond the limit
	ended        bool
	how          End
	failure      error

	content struct { // pace of the content that is coming
		active bool
		got    int64
		waited time.Duration
	}
	begun time.Time // when the wait for the present command or block began
}

// nobody is the Observer of a Session that is none.
type nobody struct{}

func (nobody) TLSDone(tls.ConnectionState) {}
func (nobody) TLSFailed(error)             {}
func (nobody) UnknownCommand(string)       {}
func (nobody) BadSyntax(string)            {}

// Serve speaks with one peer until the end and closes the connection. A sess
// that is also an Observer is told of TLS and of errors. When ctx is cancelled,
// an idle peer is told 421 at once, and one in a transaction gets the grace
// time of Timeouts to finish it. The error is the cause of an end that was not
// asked for, else nil.
func (s *Server) Serve(ctx context.Context, nc net.Conn, sess Session) (End, error) {
	c := &conn{server: s, sess: sess, obs: nobody{}, raw: nc, rw: nc}
	if o, ok := sess.(Observer); ok {
		c.obs = o
	}
	c.hurry, _ = sess.(Hurried)
	c.in = input{buf: make([]byte, smallBuffer), fill: c.fill}
	var cancel context.CancelFunc
	c.ctx, cancel = context.WithCancel(context.WithoutCancel(ctx))
	c.stop = newStopper(nc, s.cfg.Timeouts.Shutdown, cancel)
	undo := context.AfterFunc(ctx, c.stop.stop)
	defer func() {
		undo()
		c.stop.release()
		cancel()
		c.in.release()
	}()
	if c.greet() {
		c.loop()
	}
	if c.phase == inMail || c.phase == inRcpt {
		c.sess.Reset(c.ctx)
	}
	c.flush()
	c.hangUp()
	return c.how, c.failure
}

// end notes how the connection ends; the loop stops after the present reply.
func (c *conn) end(how End) {
	if !c.ended {
		c.ended, c.how = true, how
	}
}

// fail ends the connection because of err and gives the last words, if any are
// worth saying.
func (c *conn) fail(err error) Reply {
	if !c.ended {
		c.failure = err
	}
	switch {
	case errors.Is(err, errShutdown):
		c.end(EndShutdown)
		return replyShutdown
	case errors.Is(err, errTimeout), errors.Is(err, errTooSlow):
		c.end(EndTimeout)
		return replyTimeout
	case errors.Is(err, errBareLF):
		c.end(EndRefused)
		return replyBareLF
	case errors.Is(err, errGarbage):
		c.end(EndRefused)
		return replyTooLong
	}
	c.end(EndLost)
	return Reply{}
}

// greet sends the banner, unless the peer spoke first.
func (c *conn) greet() bool {
	if c.talksEarly() {
		c.send(replyEarly)
		c.end(EndRefused)
		return false
	}
	if c.ended {
		return false
	}
	cfg := &c.server.cfg
	if !cfg.Refuse.IsZero() {
		c.refused = true
		c.send(cfg.Refuse)
		return true
	}
	c.send(NewReply(220, "", cfg.Hostname+" "+cfg.Greeting)) // no status: RFC 2034 section 4
	return true
}

// loop reads commands and writes replies. Replies go out when the input is
// empty, which is to say before a read waits: RFC 2920 section 3.2.
func (c *conn) loop() {
	for !c.ended {
		c.in.shrink()
		c.begun = time.Time{}
		line, err := c.again, error(nil)
		if line == nil {
			line, err = c.in.line(c.server.cfg.BareLFCommands)
		}
		c.again = nil
		switch {
		case err == nil:
			c.answer(c.dispatch(line))
		case errors.Is(err, errLineTooLong):
			c.obs.BadSyntax("")
			c.answer(c.mangled(nil, replyTooLong))
		default:
			c.send(c.fail(err))
		}
	}
}

// answer counts errors and sends r.
func (c *conn) answer(r Reply) {
	l := &c.server.cfg.ErrorLimits
	hard, hurried := l.Hard, c.stressed()
	if hurried {
		hard = min(hard, c.server.cfg.Stress.Hard)
	}
	// 452 for one recipient too many is no error, RFC 5321 section 4.5.3.1.10.
	if r.Code >= 400 && r.Code != 452 || c.wasted {
		c.errors++
		if c.errors >= l.Soft && !c.ended && !hurried { // waiting would keep the place that others need
			c.flush()
			c.tarpit(l.Delay)
		}
	}
	c.wasted = false
	c.send(r)
	if r.Code == 421 {
		c.end(EndClosed)
	}
	if c.errors >= hard && !c.ended {
		c.send(replyErrors)
		c.end(EndErrors)
	}
}

// send puts r into the buffer. Each reply but those to HELO and EHLO, the
// greeting and 3xx has a status, RFC 2034 section 4.
func (c *conn) send(r Reply) {
	if r.IsZero() {
		return
	}
	c.out = appendReply(c.out, r)
	if len(c.out) > smallBuffer {
		c.flush()
	}
}

// flush sends what is in the buffer.
func (c *conn) flush() {
	if len(c.out) == 0 {
		return
	}
	c.stop.writeBy(c.server.cfg.Timeouts.Write)
	_, err := c.rw.Write(c.out)
	c.out = c.out[:0]
	if err == nil {
		return
	}
	if isTimeout(err) {
		err = errs.Wrap(errs.Temporary, errTimeout, "writing to the peer")
	}
	c.fail(err)
}

// fill reads more input; replies that wait go out before.
func (c *conn) fill(in *input) error {
	c.flush()
	if c.ended {
		if c.failure == nil {
			return io.ErrClosedPipe
		}
		return c.failure
	}
	began := time.Now()
	for {
		until, last := c.patience(began)
		seen, err := c.stop.readBy(until, c.phase > greeted)
		if err != nil {
			return err
		}
		if seen && !last {
			continue // stopped in this moment: patience knows it now
		}
		n, err := c.rw.Read(in.buf[in.w:])
		if n > 0 {
			if c.content.active {
				c.content.waited += time.Since(began)
				c.content.got += int64(n)
			}
			in.w += n
			return nil
		}
		if err == nil {
			continue
		}
		if !isTimeout(err) {
			return cutOff(err)
		}
		if last && !c.stop.stoppedSince(seen) {
			return c.tooSlow(seen)
		}
	}
}

func (c *conn) tooSlow(stopping bool) error {
	switch {
	case stopping:
		return errShutdown
	case c.content.active:
		return errTooSlow
	}
	return errTimeout
}

// hangUp closes. When input is unread, close would make the kernel send a
// reset that may overtake our last reply; so the end of our side is sent
// first, and a little of the rest is read over. An error of Close tells nothing
// here: the last reply was flushed, and the peer is often gone.
func (c *conn) hangUp() {
	c.phase = closing
	c.stop.writeBy(time.Second)
	if c.how == EndRefused || c.how == EndErrors || c.how == EndTimeout || c.how == EndClosed {
		if t, ok := c.rw.(*tls.Conn); ok {
			t.CloseWrite()
		}
		if w, ok := c.raw.(interface{ CloseWrite() error }); ok && w.CloseWrite() == nil {
			c.raw.SetReadDeadline(time.Now().Add(time.Second))
			io.CopyN(io.Discard, c.raw, bigBuffer)
		}
	}
	c.rw.Close()
}
