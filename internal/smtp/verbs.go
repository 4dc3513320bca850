package smtp

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"
)

// withStatus gives a reply of the Session the general status of its class when
// it has none, RFC 2034 section 4.
func withStatus(r Reply) Reply {
	if r.Status == "" {
		switch r.Code / 100 {
		case 2:
			r.Status = "2.0.0"
		case 4:
			r.Status = "4.0.0"
		case 5:
			r.Status = "5.0.0"
		}
	}
	return r
}

// move takes a transition that dispatch found legal.
func (c *conn) move(e event) {
	if next, ok := transition(c.phase, e); ok {
		c.phase = next
	}
	if e != evRcpt && e != evData && e != evChunk {
		c.tx = transaction{}
	}
}

func (c *conn) helo(args string) Reply { return c.hello(args, false) }
func (c *conn) ehlo(args string) Reply { return c.hello(args, true) }

// hello is HELO and EHLO, RFC 5321 section 4.1.1.1. Any name is taken (section
// 4.1.4 forbids more) that is one word; a new greeting ends a transaction.
func (c *conn) hello(args string, extended bool) Reply {
	if args == "" || len(args) > 255 || strings.ContainsAny(args, " ") {
		return NewReply(501, "5.5.4", "syntax is "+map[bool]string{true: "EHLO", false: "HELO"}[extended]+" hostname")
	}
	c.sess.Reset(c.ctx)
	r := c.sess.Hello(c.ctx, HelloCommand{Extended: extended, Domain: args, TLS: c.tls})
	if !r.Positive() {
		return withStatus(r)
	}
	c.extended = extended
	c.move(evHello)
	r.Status = ""
	if len(r.Text) != 1 {
		r.Text = []string{c.server.cfg.Hostname}
	}
	if extended {
		words := c.server.plain
		if c.tls != nil {
			words = c.server.secure
		}
		r.Text = append(r.Text[:1:1], words...)
	}
	return r
}

func (c *conn) peer() peer {
	return peer{loose: c.server.cfg.LoosePaths, extended: c.extended, tls: c.tls != nil, auth: c.server.cfg.Auth && c.tls != nil, utf8: c.tx.utf8}
}

func (c *conn) mail(args string) Reply {
	m, r := parseMail(args, c.peer())
	if !r.IsZero() {
		return r
	}
	if max := c.server.cfg.MaxSize; max > 0 && m.Size > max {
		return replyTooBig // RFC 1870 section 6.1
	}
	r = withStatus(c.sess.Mail(c.ctx, m))
	if r.Positive() {
		c.move(evMail)
		c.tx.utf8, c.tx.binary = m.UTF8, m.Binary
	}
	return r
}

func (c *conn) rcpt(args string) Reply {
	to, r := parseRcpt(args, c.peer())
	if !r.IsZero() {
		return r
	}
	if c.tx.recipients >= c.server.cfg.MaxRecipients {
		return NewReply(452, "4.5.3", "too many recipients") // RFC 5321 section 4.5.3.1.10
	}
	r = withStatus(c.sess.Rcpt(c.ctx, to))
	if r.Positive() {
		c.tx.recipients++
		c.move(evRcpt)
	}
	return r
}

// data is DATA: the content goes to the Session, and whatever that leaves is
// read over up to the real end, so that the next command is a command.
func (c *conn) data(args string) Reply {
	if args != "" {
		return NewReply(501, "5.5.4", "DATA has no arguments")
	}
	if c.tx.binary {
		return replyNoData
	}
	if s, ok := c.sess.(DataStarter); ok {
		if r := s.DataStart(c.ctx); !r.IsZero() {
			c.sess.Reset(c.ctx)
			c.move(evReset)
			return withStatus(r)
		}
	}
	c.move(evData)
	c.send(NewReply(354, "", "go ahead"))
	c.in.grow()
	c.pace(true)
	d := newDotReader(&c.in, c.server.cfg.BareNewlines, c.server.cfg.MaxSize, c.server.cfg.MaxLine)
	r := withStatus(c.sess.Data(c.ctx, d))
	r = c.dataDone(d, r)
	c.pace(false)
	c.move(evDone)
	if r.Positive() {
		c.errors, c.junk = 0, 0
	}
	return r
}

// dataDone reads the content to its end and decides which reply counts.
func (c *conn) dataDone(d *dotReader, r Reply) Reply {
	if d.err == io.EOF && len(d.out) == 0 {
		return r
	}
	var refused *RefusedError
	errors.As(d.err, &refused)
	if err := d.drain(c.maxDrain()); err != io.EOF {
		last := c.fail(err)
		if refused != nil && !last.IsZero() && errors.Is(err, errGarbage) {
			return refused.Reply
		}
		return last
	}
	switch {
	case refused != nil:
		return refused.Reply
	case r.Positive():
		return NewReply(451, "4.3.0", "message was not taken to its end")
	}
	return r
}

// pace starts and ends the clock of the content.
func (c *conn) pace(on bool) {
	c.content.active, c.content.waited = on, 0
	c.content.got = int64(len(c.in.buffered()))
}

func (c *conn) rset(args string) Reply {
	if args != "" {
		return NewReply(501, "5.5.4", "RSET has no arguments")
	}
	c.sess.Reset(c.ctx)
	c.move(evReset)
	return NewReply(250, "2.0.0", "reset")
}

func (c *conn) noop(string) Reply { return NewReply(250, "2.0.0", "ok") }

func (c *conn) vrfy(string) Reply {
	return NewReply(252, "2.5.0", "cannot verify; send mail and it will be tried") // RFC 5321 section 7.3
}

func (c *conn) expn(string) Reply { return NewReply(502, "5.5.1", "EXPN is not offered") }

func (c *conn) help(string) Reply {
	return NewReply(214, "2.0.0", "commands are those of RFC 5321")
}

func (c *conn) quit(args string) Reply {
	if args != "" {
		return NewReply(501, "5.5.4", "QUIT has no arguments")
	}
	c.end(EndQuit)
	return NewReply(221, "2.0.0", c.server.cfg.Hostname+" closing the connection")
}

func (c *conn) foreign(string) Reply {
	c.end(EndRefused)
	return replyForeign
}

// startTLS is RFC 3207. Whatever was sent behind the command was sent without
// TLS and ends the connection (section 5, CVE-2011-0411); whatever was said
// before is forgotten (section 4.2).
func (c *conn) startTLS(args string) Reply {
	if args != "" {
		return NewReply(501, "5.5.4", "STARTTLS has no arguments")
	}
	if c.tls != nil {
		return NewReply(503, "5.5.1", "TLS is active already")
	}
	if len(c.in.buffered()) > 0 {
		c.end(EndRefused)
		return replyEarly
	}
	c.send(NewReply(220, "2.0.0", "go ahead with TLS"))
	c.flush()
	if c.ended {
		return Reply{}
	}
	t := tls.Server(c.raw, c.server.cfg.TLS)
	patience := c.server.cfg.Timeouts.TLS
	if c.stressed() {
		patience = min(patience, c.server.cfg.Stress.Command)
	}
	ctx, cancel := context.WithTimeout(c.ctx, patience)
	defer cancel()
	c.stop.handshakeBy(patience)
	if err := t.HandshakeContext(ctx); err != nil {
		c.failure = err
		c.end(EndTLSFailed)
		c.obs.TLSFailed(err)
		return Reply{}
	}
	state := t.ConnectionState()
	c.rw, c.tls = t, &state
	c.extended = false
	c.sess.Reset(c.ctx)
	c.move(evTLS)
	c.obs.TLSDone(state)
	return Reply{}
}

// extension is a verb with a block of octets behind its line. Once the number
// of octets is known they are read in any case; where it is not, what follows
// cannot be told from commands, and the connection ends.
func (c *conn) extension(cmd *command, args string) Reply {
	x := cmd.ext
	size, rest, _ := strings.Cut(args, " ")
	n, err := strconv.ParseUint(size, 10, 31)
	if err != nil || len(size) > 10 || strconv.FormatUint(n, 10) != size {
		c.obs.BadSyntax(x.Verb + " " + args)
		c.end(EndRefused)
		return NewReply(501, "5.5.4", "syntax is "+x.Verb+" octets; closing the connection")
	}
	secure := c.tls != nil || !x.NeedTLS && !c.server.cfg.TLSOnly
	if !secure || int64(n) > max(16*x.MaxBlock, bigBuffer) {
		c.end(EndRefused)
		if !secure {
			return replyNeedTLS
		}
		return NewReply(552, "5.3.4", "block is too big; closing the connection")
	}
	c.in.grow()
	b := &blockReader{in: &c.in, left: int64(n)}
	r := c.takeBlock(x, b, int64(n), rest)
	c.begun = time.Now()
	if _, err := io.Copy(io.Discard, b); err != nil {
		return c.fail(err)
	}
	return withStatus(r)
}

func (c *conn) takeBlock(x *Extension, b *blockReader, n int64, args string) Reply {
	switch {
	case c.phase == connected || !c.extended:
		return NewReply(503, "5.5.1", "say EHLO first")
	case c.phase != greeted:
		return NewReply(503, "5.5.1", x.Verb+" comes before MAIL")
	case n > x.MaxBlock:
		return NewReply(552, "5.3.4", "block is bigger than "+strconv.FormatInt(x.MaxBlock, 10)+" octets")
	case len(args) > x.MaxArgs:
		return NewReply(501, "5.5.4", "arguments are too long")
	}
	c.begun = time.Now()
	return x.Handle(c.ctx, c.sess, args, b)
}

// blockReader gives exactly left octets of the input.
type blockReader struct {
	in   *input
	left int64
}

// Read is io.Reader.
func (b *blockReader) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	if len(b.in.buffered()) == 0 {
		b.in.room()
		if err := b.in.fill(b.in); err != nil {
			return 0, err
		}
	}
	n := copy(p[:min(int64(len(p)), b.left)], b.in.buffered())
	b.in.r += n
	b.left -= int64(n)
	return n, nil
}
