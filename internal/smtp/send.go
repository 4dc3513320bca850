package smtp

import (
	"context"
	"errors"
	"io"
	"strconv"
	"sync"
	"time"

	"lazaret/internal/errs"
)

// copyBuffers are for content whose reader cannot write itself.
var copyBuffers = sync.Pool{New: func() any { b := make([]byte, bigBuffer); return &b }}

// Send sends one message: blocks, envelope and DATA in one pipeline where the
// peer offers it, then the content. An error with DotSent means that the peer
// may or may not have taken the message.
func (c *Client) Send(ctx context.Context, t *Transaction) (res Result, err error) {
	done := c.begin(ctx)
	defer done(&err)
	if c.broken != nil {
		return res, c.broken
	}
	res.Before = make([]Reply, len(t.Before))
	res.Rcpt = make([]Reply, len(t.To))
	if len(t.To) == 0 {
		return res, errs.New(errs.Invalid, "smtp: a message without recipients")
	}
	if r := c.unfit(t); !r.IsZero() {
		res.Mail = r
		return res, nil
	}
	go354, err := c.envelope(t, &res)
	if err != nil || !go354 {
		return res, err
	}
	return res, c.content(t, &res)
}

// unfit says in the peer's place what its EHLO reply said already.
func (c *Client) unfit(t *Transaction) Reply {
	switch {
	case t.EightBit && !c.ext.EightBit:
		return NewReply(554, "5.6.3", "message has 8-bit content and the peer does not offer 8BITMIME")
	case t.Binary && !(c.ext.Binary && c.ext.Chunking):
		// RFC 3030 section 3 would also let us convert. We differ: custody is
		// byte-exact, and a conversion breaks signatures.
		return NewReply(554, "5.6.3", "message is BINARYMIME and the peer does not offer that")
	case t.needsUTF8() && !c.ext.UTF8: // RFC 6531 section 3.5
		return NewReply(553, "5.6.7", "message needs SMTPUTF8 and the peer does not offer that")
	case c.ext.Size > 0 && t.Size > c.ext.Size:
		return NewReply(552, "5.3.4", "message is bigger than the "+strconv.FormatInt(c.ext.Size, 10)+" octets that the peer takes")
	}
	return Reply{}
}

func (t *Transaction) needsUTF8() bool {
	if t.UTF8 || !t.From.ASCII() {
		return true
	}
	for i := range t.To {
		if !t.To[i].ASCII() {
			return true
		}
	}
	return false
}

// step is one command on its way and where its reply goes.
type step struct {
	slot *Reply
	wait time.Duration
}

// envelope speaks up to the reply to DATA and reports whether that was 354.
func (c *Client) envelope(t *Transaction, res *Result) (bool, error) {
	cmd := c.cfg.Timeouts.Command
	p := pipeline{c: c, steps: make([]step, 0, len(t.Before)+len(t.To)+3)}
	var reset Reply
	if c.dirty {
		c.out.WriteString("RSET\r\n")
		p.sent(&reset, cmd)
	}
	for i := range t.Before {
		if err := c.putBlock(&t.Before[i]); err != nil {
			return false, err
		}
		if p.sent(&res.Before[i], cmd); !p.passed(&res.Before[i]) {
			return false, p.err
		}
	}
	c.dirty = true
	c.putMail(t)
	if p.sent(&res.Mail, cmd); !p.passed(&res.Mail) {
		return false, p.err
	}
	for i := range t.To {
		c.putRcpt(t, i)
		p.sent(&res.Rcpt[i], cmd)
	}
	if !c.ext.Pipelining && !t.enough(res.Rcpt) {
		return false, p.err
	}
	data := NewReply(354, "") // BDAT has nothing to ask for, RFC 3030 section 2
	if !t.Binary {
		c.out.WriteString("DATA\r\n")
		p.sent(&data, c.cfg.Timeouts.DataStart)
	}
	p.collect()
	if p.err != nil {
		return false, p.err
	}
	return c.judge(t, res, data)
}

// judge looks at all replies before the content.
func (c *Client) judge(t *Transaction, res *Result, data Reply) (bool, error) {
	wanted := res.Mail.Positive() && t.enough(res.Rcpt)
	for _, r := range res.Before {
		wanted = wanted && r.Positive()
	}
	if t.Binary {
		return wanted, nil
	}
	if data.Code == 354 && !wanted {
		// The peer wants content for an envelope that it refused: RFC 2920
		// section 3.1 would have us send an empty message. We send nothing.
		return false, errs.New(errs.Invalid, "smtp: peer asks for content after refusing the envelope")
	}
	if data.Code == 354 {
		return true, nil
	}
	if data.Positive() {
		return false, errs.New(errs.Invalid, "smtp: peer answers DATA with %d", data.Code)
	}
	if wanted {
		res.Data = data
	}
	return false, nil
}

// enough reports whether the recipients accepted are worth the content: all of
// them for a message that goes whole, else any.
func (t *Transaction) enough(rs []Reply) bool {
	for i := range rs {
		if rs[i].Positive() != t.Whole {
			return !t.Whole
		}
	}
	return t.Whole
}

// maxGroup is how many commands go out before replies are read: so many replies
// fit into the buffers between us and the peer, and more could make both sides
// wait for each other for ever (RFC 2920 section 3.1).
const maxGroup = 100

// pipeline is the commands whose replies have not been read.
type pipeline struct {
	c     *Client
	steps []step
	err   error
}

// sent notes a command; without PIPELINING its reply is read at once.
func (p *pipeline) sent(slot *Reply, wait time.Duration) {
	p.steps = append(p.steps, step{slot, wait})
	if !p.c.ext.Pipelining || len(p.steps) == maxGroup {
		p.collect()
	}
}

// passed reports whether to go on behind a command: yes if it was accepted or
// its reply is not there yet.
func (p *pipeline) passed(r *Reply) bool {
	return p.err == nil && (r.IsZero() || r.Positive())
}

// collect flushes and reads the replies that are due.
func (p *pipeline) collect() {
	if p.err != nil || len(p.steps) == 0 {
		return
	}
	if err := p.c.out.Flush(); err != nil && !p.c.Closing() {
		p.err = errs.Wrap(errs.Temporary, err, "smtp: sending the envelope")
		return
	}
	for _, s := range p.steps {
		if *s.slot, p.err = p.c.reply(s.wait); p.err != nil {
			p.err = errs.Context(p.err, "smtp: reply to the envelope")
			return
		}
	}
	p.steps = p.steps[:0]
}

// putBlock writes an extension command with its octets.
func (c *Client) putBlock(b *Block) error {
	if b.Verb == "" || !printable([]byte(b.Verb+b.Args)) {
		return errs.New(errs.Invalid, "smtp: block's verb or arguments are not printable")
	}
	var buf [20]byte
	c.out.WriteString(b.Verb)
	c.out.WriteByte(' ')
	c.out.Write(strconv.AppendInt(buf[:0], int64(len(b.Data)), 10))
	if b.Args != "" {
		c.out.WriteByte(' ')
		c.out.WriteString(b.Args)
	}
	c.out.WriteString("\r\n")
	c.out.Write(b.Data) // a failure stays in the writer and comes with Flush
	return nil
}

// content sends header lines, content and final dot, and reads the reply.
func (c *Client) content(t *Transaction, res *Result) error {
	if t.Binary {
		return c.binary(t, res)
	}
	d := &dotWriter{w: c.out}
	if len(t.Prepend) > 0 {
		if _, err := d.Write(t.Prepend); err != nil {
			return c.aborted(err)
		}
		if d.inLine || d.cr {
			return errs.New(errs.Invalid, "smtp: header lines to be added do not end in CR LF")
		}
	}
	if err := copyContent(d, t.Content); err != nil {
		return c.aborted(err)
	}
	if err := d.finish(); err != nil {
		return c.aborted(err)
	}
	res.DotSent = true // from here on the peer may have it
	if err := c.out.Flush(); err != nil {
		return errs.Wrap(errs.Temporary, err, "smtp: sending the end of the content")
	}
	r, err := c.reply(c.cfg.Timeouts.DataDone)
	if err != nil {
		return errs.Context(err, "smtp: reply to the content")
	}
	if r.Code < 400 && !r.Positive() {
		return errs.New(errs.Invalid, "smtp: peer answers the content with %d", r.Code)
	}
	res.Data, c.dirty = r, false
	return nil
}

// aborted is an end in the midst of the content. The connection is of no use
// any more, and closing it without the final dot makes the peer forget it all.
func (c *Client) aborted(err error) error {
	var known *errs.Error
	if errors.As(err, &known) { // of the content's reader, or ErrBareNewline
		return errs.Context(err, "smtp: sending the content")
	}
	return errs.Wrap(errs.Temporary, err, "smtp: sending the content")
}

func copyContent(d *dotWriter, r io.Reader) error {
	if r == nil {
		return nil
	}
	if w, ok := r.(io.WriterTo); ok {
		_, err := w.WriteTo(d)
		return err
	}
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	_, err := io.CopyBuffer(struct{ io.Writer }{d}, r, *buf)
	return err
}
