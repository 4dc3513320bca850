package smtp

import (
	"bytes"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"lazaret/internal/errs"
)

// command is one row of the table: what may be said when, how long it may be,
// and what happens.
type command struct {
	verb  string
	event event // legal where the state machine has a transition for it
	limit int   // octets with CR LF
	plain bool  // allowed before TLS on a server with TLSOnly
	last  bool  // nothing may be pipelined behind it, RFC 2920 section 3.1
	junk  bool  // counts as junk: moves no mail
	block bool  // octets follow the line: where it is not understood the connection ends
	utf8  bool  // its arguments may be UTF-8, RFC 6531 section 3.7
	run   func(c *conn, args string) Reply
	ext   *Extension
}

// baseLimit is RFC 5321 section 4.5.3.1.4. MAIL and RCPT have room for what
// their parameters add, each with the blank before it: SIZE (26, RFC 1870 section
// 3), BODY (17, RFC 6152 section 2), SMTPUTF8 (10, RFC 6531 section 3.1), AUTH
// (500, RFC 4954 section 3), REQUIRETLS (11), RET and ENVID (9 and 107), NOTIFY
// and ORCPT (29 and 507, RFC 3461 sections 4.1 and 4.2).
const (
	baseLimit = 512
	mailLimit = baseLimit + 26 + 17 + 10 + 500 + 11 + 9 + 107
	rcptLimit = baseLimit + 29 + 507
)

// prepare makes the table and the EHLO keywords.
func (s *Server) prepare() error {
	rows := []command{
		{verb: "HELO", event: evHello, limit: baseLimit, last: true, run: (*conn).helo},
		{verb: "EHLO", event: evHello, limit: baseLimit, plain: true, last: true, run: (*conn).ehlo},
		{verb: "MAIL", event: evMail, limit: mailLimit, utf8: true, run: (*conn).mail},
		{verb: "RCPT", event: evRcpt, limit: rcptLimit, utf8: true, run: (*conn).rcpt},
		{verb: "DATA", event: evData, limit: baseLimit, last: true, run: (*conn).data},
		{verb: "BDAT", limit: baseLimit, block: true, run: (*conn).bdat},
		{verb: "RSET", event: evReset, limit: baseLimit, junk: true, run: (*conn).rset},
		{verb: "NOOP", limit: baseLimit, plain: true, junk: true, run: (*conn).noop},
		{verb: "VRFY", limit: baseLimit, utf8: true, junk: true, run: (*conn).vrfy},
		{verb: "EXPN", limit: baseLimit, utf8: true, junk: true, run: (*conn).expn},
		{verb: "HELP", limit: baseLimit, junk: true, run: (*conn).help},
		{verb: "QUIT", event: evClose, limit: baseLimit, plain: true, run: (*conn).quit},
		// What browsers and proxies say: no mail comes from there, and lines of
		// a form could be commands.
		{verb: "GET", limit: maxCommand, plain: true, run: (*conn).foreign},
		{verb: "POST", limit: maxCommand, plain: true, run: (*conn).foreign},
		{verb: "CONNECT", limit: maxCommand, plain: true, run: (*conn).foreign},
	}
	if s.cfg.TLS != nil {
		rows = append(rows, command{verb: "STARTTLS", event: evTLS, limit: baseLimit, plain: true, run: (*conn).startTLS})
	}
	if s.cfg.Auth {
		// The initial response is part of the line: as long as any is read.
		rows = append(rows, command{verb: "AUTH", event: evAuth, limit: maxCommand, last: true, run: (*conn).auth})
	}
	s.commands = make(map[string]*command, len(rows)+len(s.cfg.Extensions))
	for i := range rows {
		s.commands[rows[i].verb] = &rows[i]
	}
	for i := range s.cfg.Extensions {
		if err := s.extend(&s.cfg.Extensions[i]); err != nil {
			return err
		}
	}
	s.keywords()
	return nil
}

func (s *Server) extend(x *Extension) error {
	switch {
	case x.Verb == "" || len(x.Verb) > maxVerb || x.Verb != strings.ToUpper(x.Verb):
		return errs.New(errs.Invalid, "smtp server: extension verb %q is not an upper-case word of at most %d letters", x.Verb, maxVerb)
	case s.commands[x.Verb] != nil:
		return errs.New(errs.Invalid, "smtp server: verb %s is there already", x.Verb)
	case x.Handle == nil || x.MaxBlock < 0 || x.MaxArgs < 0 || x.MaxArgs > baseLimit:
		return errs.New(errs.Invalid, "smtp server: extension %s has no handler or wrong limits", x.Verb)
	}
	s.commands[x.Verb] = &command{verb: x.Verb, limit: baseLimit + x.MaxArgs, ext: x}
	return nil
}

// keywords makes the lists of the EHLO reply.
func (s *Server) keywords() {
	base := []string{"PIPELINING", "SIZE " + strconv.FormatInt(s.cfg.MaxSize, 10), "8BITMIME", "ENHANCEDSTATUSCODES", "CHUNKING", "BINARYMIME", "SMTPUTF8", "DSN"}
	s.secure = append(base[:len(base):len(base)], "REQUIRETLS") // RFC 8689 section 2: inside TLS only
	if s.cfg.Auth {
		s.secure = append(s.secure, "AUTH PLAIN LOGIN")
	}
	if s.cfg.TLSOnly {
		s.plain = []string{"ENHANCEDSTATUSCODES"}
	} else {
		s.plain = base[:len(base):len(base)]
	}
	if s.cfg.TLS != nil {
		s.plain = append(s.plain, "STARTTLS")
	}
	for _, x := range s.cfg.Extensions {
		if !x.NeedTLS && !s.cfg.TLSOnly {
			s.plain = append(s.plain, x.Keyword)
		}
		s.secure = append(s.secure, x.Keyword)
	}
}

// maxVerb is the longest verb that is looked up.
const maxVerb = 16

// parseCommand splits a line into an upper-case verb and its arguments.
func parseCommand(line []byte, verb *[maxVerb]byte) (name []byte, args string) {
	n := 0
	for n < len(line) && line[n] != ' ' {
		if n == maxVerb {
			return nil, ""
		}
		c := line[n]
		if c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		verb[n] = c
		n++
	}
	if n < len(line) {
		args = strings.TrimRight(string(line[n+1:]), " ")
	}
	return verb[:n], args
}

// sound reports whether a line may be a command: ASCII without control
// characters (RFC 5321 section 4.1.2), or UTF-8 where SMTPUTF8 lets it be.
func (cmd *command) sound(line []byte) bool {
	return printable(line) || cmd != nil && cmd.utf8 && utf8.Valid(line) && bytes.IndexFunc(line, unicode.IsControl) < 0
}

// printable reports whether b is ASCII without control characters.
func printable(line []byte) bool {
	for _, c := range line {
		if c < 32 || c > 126 {
			return false
		}
	}
	return true
}

var (
	replyUnknown  = NewReply(500, "5.5.2", "command is not recognised")
	replyTooLong  = NewReply(500, "5.5.2", "line is too long")
	replyNotText  = NewReply(500, "5.5.2", "command has a character that is not printable ASCII")
	replyNeedTLS  = NewReply(530, "5.7.0", "must issue STARTTLS first")
	replyEarly    = NewReply(554, "5.5.0", "input was sent before it was asked for; closing the connection")
	replyBareLF   = NewReply(500, "5.5.2", "line does not end in CR LF; closing the connection")
	replyErrors   = NewReply(421, "4.7.0", "too many errors; closing the connection")
	replyForeign  = NewReply(421, "4.7.0", "this is not a web server; closing the connection")
	replyShutdown = NewReply(421, "4.3.2", "service is shutting down; closing the connection")
	replyTimeout  = NewReply(421, "4.4.2", "timeout; closing the connection")
)

// dispatch runs one line.
func (c *conn) dispatch(line []byte) Reply {
	var buf [maxVerb]byte
	name, args := parseCommand(line, &buf)
	cmd := c.server.commands[string(name)]
	secret := c.secret
	c.secret = false
	switch {
	case c.refused && (cmd == nil || cmd.verb != "QUIT"):
		return NewReply(503, "5.5.1", "no service here: say QUIT") // RFC 5321 section 3.1
	case !cmd.sound(line):
		c.obs.BadSyntax(shown(line, secret))
		return c.mangled(cmd, replyNotText)
	case cmd == nil:
		c.obs.UnknownCommand(shown(line, secret))
		return replyUnknown
	case len(line)+2 > cmd.limit:
		c.obs.BadSyntax(shown(line, secret))
		return c.mangled(cmd, replyTooLong)
	}
	if cmd.ext != nil {
		return c.extension(cmd, args)
	}
	if c.server.cfg.TLSOnly && c.tls == nil && !cmd.plain {
		if cmd.block {
			c.end(EndRefused)
		}
		return replyNeedTLS
	}
	if _, ok := transition(c.phase, cmd.event); !ok {
		return c.outOfOrder(cmd)
	}
	if cmd.last && len(c.in.buffered()) > 0 {
		c.end(EndRefused)
		return replyEarly
	}
	if cmd.junk {
		c.junk++
		c.wasted = c.junk > c.server.cfg.ErrorLimits.Junk
	}
	r := cmd.run(c, args)
	if r.Code == 501 { // line is gone by now: run may have read more
		c.obs.BadSyntax(shown([]byte(cmd.verb+" "+args), secret))
	}
	return r
}

// mangled answers a line that is not even a command. Where a block may follow a
// line, nobody can tell whether one follows this: the connection ends.
func (c *conn) mangled(cmd *command, r Reply) Reply {
	if len(c.server.cfg.Extensions) > 0 || cmd != nil && cmd.block {
		c.end(EndRefused)
	}
	return r
}

// outOfOrder says what is missing. RFC 5321 section 4.1.4.
func (c *conn) outOfOrder(cmd *command) Reply {
	switch {
	case c.phase == inChunks: // RFC 3030 section 2
		return NewReply(503, "5.5.1", "message is coming in chunks: BDAT or RSET is next")
	case cmd.event == evTLS && c.tls != nil:
		return NewReply(503, "5.5.1", "TLS is active already")
	case cmd.event == evTLS && c.phase != connected:
		return NewReply(503, "5.5.1", "STARTTLS is not allowed inside a transaction")
	case c.phase == connected:
		return NewReply(503, "5.5.1", "say EHLO first")
	case cmd.event == evAuth:
		return NewReply(503, "5.5.1", "AUTH is not allowed inside a transaction") // RFC 4954 section 4
	case cmd.event == evMail:
		return NewReply(503, "5.5.1", "sender was given already")
	case (cmd.event == evData || cmd.block) && c.phase == inMail:
		return NewReply(554, "5.5.1", "no valid recipients") // RFC 5321 section 3.3
	}
	return NewReply(503, "5.5.1", "MAIL comes first")
}

// tarpit makes a peer that has made too many errors wait, in bounds.
func (c *conn) tarpit(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.stop.done:
	}
}
