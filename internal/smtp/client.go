package smtp

import (
	"bufio"
	"context"
	"crypto/tls"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"lazaret/internal/errs"
)

// Client speaks to one server over one connection. Not safe for concurrent
// use, except for Close. Errors are failures of the connection or of the
// protocol, and the client is of no more use then; a refusal is a Reply.
// When the peer says 421, that reply stands in all the slots that are left, the
// error is nil, and Closing gives true.
type Client struct {
	cfg  ClientConfig
	raw  net.Conn // deadlines are set here, also under TLS
	rw   net.Conn
	in   input
	out  *bufio.Writer
	wait time.Duration // patience of the read under way

	ext    Extensions
	secure bool
	dirty  bool  // the peer has a transaction open: RSET goes first
	last   Reply // 421: the peer is closing
	broken error

	mu     sync.Mutex
	cancel bool      // the context of the call under way is done
	writes time.Time // the write deadline that is set
}

// NewClient makes a client of an open connection.
func NewClient(conn net.Conn, cfg ClientConfig) *Client {
	t := &cfg.Timeouts
	orDuration(&t.Greeting, 5*time.Minute)
	orDuration(&t.Command, 5*time.Minute)
	orDuration(&t.TLS, time.Minute)
	orDuration(&t.DataStart, 2*time.Minute)
	orDuration(&t.DataBlock, 3*time.Minute)
	orDuration(&t.DataDone, 10*time.Minute)
	c := &Client{cfg: cfg, raw: conn, rw: conn}
	c.in = input{buf: make([]byte, smallBuffer), fill: c.fill}
	c.out = bufio.NewWriterSize(timedWriter{c}, 16<<10)
	return c
}

// timedWriter gives each write to the connection its deadline.
type timedWriter struct{ c *Client }

// Write is io.Writer.
func (w timedWriter) Write(p []byte) (int, error) {
	if err := w.c.writeBy(w.c.cfg.Timeouts.DataBlock); err != nil {
		return 0, err
	}
	return w.c.rw.Write(p)
}

func (c *Client) fill(in *input) error {
	if err := c.readBy(c.wait); err != nil {
		return err
	}
	for {
		n, err := c.rw.Read(in.buf[in.w:])
		if n > 0 {
			in.w += n
			return nil
		}
		if err != nil {
			return cutOff(err)
		}
	}
}

// readBy sets the read deadline unless the context of the call is done.
func (c *Client) readBy(d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cancel {
		return context.Canceled
	}
	return c.raw.SetReadDeadline(time.Now().Add(d))
}

// writeBy sets the write deadline unless the context of the call is done, or
// one that is set serves.
func (c *Client) writeBy(d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cancel {
		return context.Canceled
	}
	t := time.Now().Add(d)
	if serves(c.writes, t, d) {
		return nil
	}
	c.writes = t.Add(d / slack)
	return c.raw.SetWriteDeadline(c.writes)
}

// begin starts a call: when ctx ends, whatever waits is woken. The function
// that it gives must be called at the end with the call's error.
func (c *Client) begin(ctx context.Context) func(*error) {
	if c.broken != nil {
		return func(err *error) { *err = c.broken }
	}
	undo := context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.cancel = true
		c.raw.SetDeadline(time.Unix(1, 0))
	})
	return func(err *error) {
		undo()
		if *err == nil {
			return
		}
		if ctx.Err() != nil {
			*err = errs.Wrap(errs.Closed, ctx.Err(), "smtp: the connection was given up")
		}
		c.broken = *err
	}
}

// Closing reports whether the peer said 421.
func (c *Client) Closing() bool { return !c.last.IsZero() }

// Greet reads the greeting.
func (c *Client) Greet(ctx context.Context) (r Reply, err error) {
	done := c.begin(ctx)
	defer done(&err)
	return c.reply(c.cfg.Timeouts.Greeting)
}

// Hello says EHLO, and HELO when that is not understood (RFC 5321 section 3.2).
func (c *Client) Hello(ctx context.Context, name string) (x Extensions, r Reply, err error) {
	done := c.begin(ctx)
	defer done(&err)
	if name == "" || !printable([]byte(name)) || strings.Contains(name, " ") {
		return x, r, errs.New(errs.Invalid, "smtp: %q is no name to greet with", name)
	}
	r, err = c.command("EHLO " + name)
	if err == nil && r.Permanent() && r.Code != 554 {
		r, err = c.command("HELO " + name)
		c.ext = Extensions{}
		return c.ext, r, err
	}
	if err != nil || !r.Positive() {
		return x, r, err
	}
	c.ext = parseExtensions(r)
	c.dirty = false
	return c.ext, r, nil
}

// parseExtensions reads the lines of an EHLO reply, RFC 5321 section 4.1.1.1.
func parseExtensions(r Reply) Extensions {
	x := Extensions{Keywords: make(map[string]string, len(r.Text))}
	for i, line := range r.Text {
		if i == 0 {
			continue
		}
		word, params, _ := strings.Cut(strings.TrimSpace(line), " ")
		if word != "" {
			x.Keywords[strings.ToUpper(word)] = params
		}
	}
	has := func(word string) bool { _, ok := x.Keywords[word]; return ok }
	x.Pipelining, x.EightBit = has("PIPELINING"), has("8BITMIME")
	x.StatusCodes, x.StartTLS, x.HasSize = has("ENHANCEDSTATUSCODES"), has("STARTTLS"), has("SIZE")
	x.Chunking, x.Binary, x.UTF8 = has("CHUNKING"), has("BINARYMIME"), has("SMTPUTF8")
	x.DSN, x.RequireTLS = has("DSN"), has("REQUIRETLS")
	if n, err := strconv.ParseInt(x.Keywords["SIZE"], 10, 64); err == nil && n > 0 {
		x.Size = n
	}
	return x
}

// StartTLS turns the connection to TLS; Hello must follow. A refusal is a
// *ReplyError. Anything that the peer sent behind its reply was sent without
// TLS and fails the connection (register B3).
func (c *Client) StartTLS(ctx context.Context, cfg *tls.Config) (state tls.ConnectionState, err error) {
	done := c.begin(ctx)
	defer func() {
		if _, refused := err.(*ReplyError); !refused {
			done(&err)
		}
	}()
	if c.secure {
		return state, errs.New(errs.Conflict, "smtp: TLS is active already")
	}
	r, err := c.command("STARTTLS")
	if err != nil {
		return state, err
	}
	if r.Code != 220 {
		return state, &ReplyError{Reply: r}
	}
	if len(c.in.buffered()) > 0 {
		return state, errs.New(errs.Invalid, "smtp: peer sent plain text behind its reply to STARTTLS")
	}
	t := tls.Client(c.raw, cfg)
	if err := c.readBy(c.cfg.Timeouts.TLS); err != nil {
		return state, err
	}
	if err := c.writeBy(c.cfg.Timeouts.TLS); err != nil {
		return state, err
	}
	if err := t.HandshakeContext(ctx); err != nil {
		return state, err
	}
	c.rw, c.secure, c.ext = t, true, Extensions{}
	return t.ConnectionState(), nil
}

// Extend says an extension command with its octets, outside of a transaction,
// and gives the reply, which may be a refusal.
func (c *Client) Extend(ctx context.Context, b Block) (r Reply, err error) {
	done := c.begin(ctx)
	defer done(&err)
	if c.broken != nil {
		return r, c.broken
	}
	if c.Closing() {
		return c.last, nil
	}
	if c.dirty {
		if r, err = c.command("RSET"); err != nil || !r.Positive() {
			return r, err
		}
		c.dirty = false
	}
	if err := c.putBlock(&b); err != nil {
		return r, err
	}
	if err := c.out.Flush(); err != nil {
		return r, errs.Wrap(errs.Temporary, err, "smtp: sending %s", b.Verb)
	}
	r, err = c.reply(c.cfg.Timeouts.Command)
	return r, errs.Context(err, "smtp: reply to %s", b.Verb)
}

// Reset says RSET. A refusal is a *ReplyError.
func (c *Client) Reset(ctx context.Context) (err error) {
	done := c.begin(ctx)
	defer done(&err)
	r, err := c.command("RSET")
	if err == nil {
		c.dirty = false
		err = r.Err()
	}
	return err
}

// Quit says QUIT, waits for the reply and closes.
func (c *Client) Quit(ctx context.Context) (err error) {
	defer c.Close()
	if c.broken != nil || c.Closing() {
		return nil
	}
	done := c.begin(ctx)
	defer done(&err)
	r, err := c.command("QUIT")
	if err == nil {
		err = r.Err()
	}
	if err == nil && c.readBy(time.Second) == nil {
		c.rw.Read(c.in.buf) // the server closes first, RFC 5321 section 4.1.1.10
	}
	return err
}

// Close closes the connection at once.
func (c *Client) Close() error {
	err := c.raw.SetWriteDeadline(time.Now().Add(time.Second)) // for what TLS says at the end
	if cerr := c.rw.Close(); cerr != nil {
		err = cerr
	}
	return err
}

// command sends one line and reads the reply.
func (c *Client) command(line string) (Reply, error) {
	if c.broken != nil {
		return Reply{}, c.broken
	}
	if c.Closing() {
		return c.last, nil
	}
	c.out.WriteString(line)
	c.out.WriteString("\r\n")
	if err := c.out.Flush(); err != nil {
		return Reply{}, errs.Wrap(errs.Temporary, err, "smtp: sending %s", verbOf(line))
	}
	r, err := c.reply(c.cfg.Timeouts.Command)
	return r, errs.Context(err, "smtp: reply to %s", verbOf(line))
}

func verbOf(line string) string {
	verb, _, _ := strings.Cut(line, " ")
	return verb
}
