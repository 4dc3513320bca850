package smtp

import "lazaret/internal/errs"

// errAhead is a caller who forgot which message comes next.
var errAhead = errs.New(errs.Internal, "smtp: the envelope of another message is on its way")

// sendAhead writes the envelope of the message that follows t behind t's final
// dot: RFC 2920 section 3.1 allows the end of the content to be the first in a
// group of commands, and DATA to be the last. So a message costs one write in
// place of two, and the peer's replies come together. The peer forgets t with its
// reply to the dot, whatever that is (RFC 5321 section 4.1.1.4): no RSET is needed.
func (c *Client) sendAhead(t *Transaction) {
	if t.Ahead == nil || !c.ext.Pipelining {
		return
	}
	n := t.Ahead()
	if n == nil || n.Binary || len(n.To) == 0 || len(n.Before)+len(n.To)+2 > maxGroup {
		return
	}
	if r := c.unfit(n); !r.IsZero() {
		return
	}
	for i := range n.Before {
		if n.Before[i].check() != nil {
			return // Send will say it
		}
	}
	for i := range n.Before {
		c.putBlock(&n.Before[i])
	}
	c.putMail(n)
	for i := range n.To {
		c.putRcpt(n, i)
	}
	c.out.WriteString("DATA\r\n") // a failure stays in the writer and comes with Flush
	c.ahead = n
}

// Ahead reports whether the envelope of a message is on its way that Send was not
// called with yet.
func (c *Client) Ahead() bool { return c.ahead != nil }

// envelopeAhead reads the replies to an envelope that sendAhead has sent.
func (c *Client) envelopeAhead(t *Transaction, res *Result, p *pipeline) (bool, error) {
	c.ahead, c.dirty = nil, true
	cmd := c.cfg.Timeouts.Command
	for i := range t.Before {
		p.steps = append(p.steps, step{&res.Before[i], cmd})
	}
	p.steps = append(p.steps, step{&res.Mail, cmd})
	for i := range t.To {
		p.steps = append(p.steps, step{&res.Rcpt[i], cmd})
	}
	var data Reply
	p.steps = append(p.steps, step{&data, c.cfg.Timeouts.DataStart})
	if p.collect(); p.err != nil {
		return false, p.err
	}
	return c.judge(t, res, data)
}
