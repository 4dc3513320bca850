package delivery

import (
	"context"
	"errors"
	"io"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/queue"
	"lazaret/internal/smtp"
)

// maxRecipients is the number of recipients that every server takes in one
// transaction, RFC 5321 section 4.5.3.1.8.
const maxRecipients = 100

// deliver carries one message and reports the fate of each recipient; false
// when the connection is of no more use.
func (c *courier) deliver(ctx context.Context, l *link, task *queue.Task) bool {
	var first *attempt
	if c.next != nil {
		first, c.next = c.next.first, nil
		if first != nil {
			first.early = l.client.Ahead()
		}
	} else {
		c.opt.Log.DeliveryStart(l.dcid, task.Item.MID, rids(task.Recipients), l.cpq)
	}
	fates := make([]fate, len(task.Recipients))
	good := c.transact(ctx, l, task, fates, first)
	if l.stale {
		// The peer closed a kept connection before it heard of this message.
		// Not settled, the task goes back and has cost no attempt.
		return false
	}
	for i := range fates {
		c.way.settle(&fates[i])
	}
	if l.cpq {
		unite(fates)
	}
	c.report(l, task, fates)
	l.carried++
	return good && !l.client.Closing()
}

// transact decides all fates in as many transactions as it takes. The first of
// them may be ready.
func (c *courier) transact(ctx context.Context, l *link, task *queue.Task, fates []fate, first *attempt) bool {
	for from := 0; from < len(fates); {
		a := first
		if first = nil; a == nil {
			var err error
			if a, err = c.attempt(l, task, from); err != nil {
				fill(fates[from:], local(err))
				return true
			}
		}
		if a.to == len(fates) && c.feed != nil {
			a.tx.Ahead = func() *smtp.Transaction { return c.ahead(ctx, l) }
		}
		ok := a.run(ctx, fates[from:a.to])
		from = a.to
		if !ok || l.client.Closing() {
			fill(fates[from:], lost(errEarlier))
			return false
		}
	}
	return true
}

// unite gives all recipients of a held message one fate. It went to all or to
// none (smtp.Transaction.Whole), so if one was refused, none was served.
func unite(fates []fate) {
	worst := 0
	for i := range fates {
		if rank(fates[i].state) > rank(fates[worst].state) {
			worst = i
		}
	}
	if fates[worst].state != queue.Delivered {
		fill(fates, fates[worst])
	}
}

func rank(s queue.RecipientState) int {
	switch s {
	case queue.Delivered:
		return 0
	case queue.Deferred:
		return 1
	}
	return 2
}

var errEarlier = errors.New("the connection was lost in an earlier transaction of this message")

func fill(fates []fate, f fate) {
	for i := range fates {
		fates[i] = f
	}
}

// attempt is one transaction with a part of the recipients.
type attempt struct {
	c        *courier
	l        *link
	task     *queue.Task
	from, to int
	raw      io.ReadCloser
	content  source
	tx       smtp.Transaction
	early    bool // the envelope may have left with the message before
}

// attempt prepares the transaction with the recipients from one on: as many as go
// together.
func (c *courier) attempt(l *link, task *queue.Task, from int) (*attempt, error) {
	item := task.Item
	if item.RequireTLS && !l.strict && !l.cpq {
		return nil, errs.New(errs.Internal, "MID %s demands REQUIRETLS and stands at a link that does not look for it", item.MID)
	}
	before, err := c.way.blocks(l, item)
	if err != nil {
		return nil, err
	}
	a := &attempt{c: c, l: l, task: task, from: from, to: len(task.Recipients)}
	if !l.cpq { // a held message is one message
		a.to = min(a.to, from+maxRecipients)
	}
	if a.raw, err = task.Open(); err != nil {
		return nil, err
	}
	a.content.r = a.raw
	a.tx = smtp.Transaction{
		Params:  item.Params,
		Before:  before,
		From:    item.From,
		To:      make([]mail.Address, 0, a.to-from),
		Rcpt:    make([]mail.RcptParams, 0, a.to-from),
		Whole:   l.cpq,
		Size:    item.Size,
		Content: &a.content,
	}
	// RFC 6152 section 3 wants 8-bit content converted or returned when the
	// peer does not take it. We differ: custody is byte-exact, and returning
	// what practically every server takes would lose mail.
	a.tx.EightBit = item.EightBit && l.ext.EightBit
	if !l.cpq { // there it travels in the metadata: what is kept is the content as received
		a.tx.Prepend = item.Prepend
		a.tx.Size += int64(len(item.Prepend))
	}
	for _, r := range task.Recipients[from:a.to] {
		a.tx.To, a.tx.Rcpt = append(a.tx.To, r.Address), append(a.tx.Rcpt, r.RcptParams)
	}
	return a, nil
}

func (a *attempt) close() {
	if err := a.raw.Close(); err != nil && a.content.err == nil {
		a.c.opt.Log.Fault("delivery", "MID "+a.task.Item.MID.String()+": close the content: "+err.Error())
	}
}

// run sends the message and decides the fates; false when the connection is
// of no more use.
func (a *attempt) run(ctx context.Context, fates []fate) bool {
	res, err := a.l.client.Send(ctx, &a.tx)
	a.close()
	early := a.early && misled(&res, err)
	if !a.l.cpq && ctx.Err() == nil && a.content.err == nil && (early || err != nil && res.DotSent && a.l.client.Ahead()) {
		if a.c.shy.note(a.l.peer, a.c.opt.Clock()) {
			a.c.opt.Log.Info(a.l.peer + " " + shyNote)
		}
		if early {
			a.l.stale = true
			return false
		}
	}
	if (a.l.carried > 0 || ctx.Err() != nil) && a.from == 0 && a.content.err == nil && (err != nil || a.l.client.Closing()) && unheard(&res) {
		a.l.stale = true
		return false
	}
	a.decide(res, err, fates)
	return err == nil
}

// unheard reports whether the peer answered nothing of a transaction, or only
// that it closes.
func unheard(res *smtp.Result) bool {
	for i := range res.Before {
		if c := res.Before[i].Code; c != 0 && c != 421 {
			return false
		}
	}
	return !res.DotSent && (res.Mail.IsZero() || res.Mail.Code == 421)
}

// decide turns what the peer said into fates.
func (a *attempt) decide(res smtp.Result, err error, fates []fate) {
	unknown := false
	for i := range fates {
		r := res.Recipient(i)
		switch {
		case !r.IsZero() && (err == nil || !r.Positive() || !res.Data.IsZero()):
			fates[i] = judge(r, stageOf(&res, i))
		case a.content.err != nil:
			fates[i] = local(a.content.err)
		case err == nil:
			fates[i] = lost(errNoReply)
		default:
			fates[i] = lost(err)
			fates[i].possible = res.DotSent && !a.l.cpq && a.c.opt.Possible()
			unknown = unknown || res.DotSent
		}
	}
	if unknown {
		a.c.opt.Log.PossibleDelivery(a.l.dcid, a.task.Item.MID, rids(a.task.Recipients[a.from:a.to]))
	}
}

var errNoReply = errors.New("the server gave no answer for this recipient")

// stageOf says where the reply of recipient i came from.
func stageOf(res *smtp.Result, i int) stage {
	for _, b := range res.Before {
		if !b.Positive() {
			return stageContent
		}
	}
	if !res.Mail.Positive() || i < len(res.Rcpt) && !res.Rcpt[i].Positive() {
		return stageEnvelope
	}
	return stageContent
}

// source remembers an error of our own storage, so that it is not taken for
// one of the connection.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// WriteTo implements io.WriterTo: the content goes from the store's memory to
// the connection without a copy in between.
func (s *source) WriteTo(w io.Writer) (int64, error) {
	t := taker{w: w}
	n, err := io.Copy(&t, s.r)
	if err != nil && t.err == nil {
		s.err = err
	}
	return n, err
}

// taker remembers an error of the side that takes.
type taker struct {
	w   io.Writer
	err error
}

func (t *taker) Write(p []byte) (n int, err error) {
	n, t.err = t.w.Write(p)
	return n, t.err
}

// report writes the lines of reference 5.8 and tells the queue.
func (c *courier) report(l *link, task *queue.Task, fates []fate) {
	outcomes := make([]queue.Outcome, len(fates))
	told := make([]bool, len(fates))
	for i := range fates {
		outcomes[i] = fates[i].outcome()
		if outcomes[i].Code > 0 {
			outcomes[i].Remote = l.peer
		}
		outcomes[i].Passed = l.ext.DSN && !l.cpq // RFC 3461 section 5.2.1: the peer was told, and will see to it
		if told[i] {
			continue
		}
		// Those behind one final dot share one line.
		group := task.Recipients[i : i+1 : i+1]
		for j := i + 1; j < len(fates) && fates[i].state == queue.Delivered; j++ {
			if !told[j] && fates[i].same(&fates[j]) {
				told[j] = true
				group = append(group, task.Recipients[j])
			}
		}
		c.lines(l, task.Item.MID, group, &fates[i])
	}
	task.Done(outcomes)
}

func (c *courier) lines(l *link, mid mail.MID, rs []queue.Recipient, f *fate) {
	log := c.opt.Log
	if f.state == queue.Delivered {
		log.MessageDone(l.dcid, mid, rids(rs), l.cpq)
		log.Response(mid, rids(rs), f.response(l.cpq))
		return
	}
	for i := range rs {
		if f.state == queue.Bounced {
			log.Bounced(l.dcid, mid, rs[i].RID, f.status, f.reason, code3(f.code), f.texts)
		} else {
			log.Delayed(l.dcid, mid, rs[i].RID, f.status, f.reason, code3(f.code), f.texts)
		}
	}
}
