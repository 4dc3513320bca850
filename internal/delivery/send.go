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
	c.opt.Log.DeliveryStart(l.dcid, task.Item.MID, rids(task.Recipients), l.cpq)
	fates := make([]fate, len(task.Recipients))
	good := c.transact(ctx, l, task, fates)
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

// transact decides all fates in as many transactions as it takes.
func (c *courier) transact(ctx context.Context, l *link, task *queue.Task, fates []fate) bool {
	before, err := c.way.blocks(l, task.Item)
	if err == nil && task.Item.RequireTLS && !l.strict && !l.cpq {
		err = errs.New(errs.Internal, "MID %s demands REQUIRETLS and stands at a link that does not look for it", task.Item.MID)
	}
	if err != nil {
		fill(fates, local(err))
		return true
	}
	share := maxRecipients
	if l.cpq {
		share = len(fates) // a held message is one message
	}
	for from := 0; from < len(fates); {
		to := min(from+share, len(fates))
		a := attempt{c: c, l: l, task: task, before: before, from: from, to: to}
		ok := a.run(ctx, fates[from:to])
		from = to
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
	before   []smtp.Block
	from, to int
}

// run sends the message and decides the fates; false when the connection is
// of no more use.
func (a *attempt) run(ctx context.Context, fates []fate) bool {
	item := a.task.Item
	raw, err := a.task.Open()
	if err != nil {
		fill(fates, local(err))
		return true
	}
	content := &source{r: raw}
	tx := smtp.Transaction{
		Params:  item.Params,
		Before:  a.before,
		From:    item.From,
		To:      make([]mail.Address, 0, a.to-a.from),
		Rcpt:    make([]mail.RcptParams, 0, a.to-a.from),
		Whole:   a.l.cpq,
		Size:    item.Size,
		Content: content,
	}
	// RFC 6152 section 3 wants 8-bit content converted or returned when the
	// peer does not take it. We differ: custody is byte-exact, and returning
	// what practically every server takes would lose mail.
	tx.EightBit = item.EightBit && a.l.ext.EightBit
	if !a.l.cpq { // there it travels in the metadata: what is kept is the content as received
		tx.Prepend = item.Prepend
		tx.Size += int64(len(item.Prepend))
	}
	for _, r := range a.task.Recipients[a.from:a.to] {
		tx.To, tx.Rcpt = append(tx.To, r.Address), append(tx.Rcpt, r.RcptParams)
	}
	res, err := a.l.client.Send(ctx, &tx)
	if cerr := raw.Close(); cerr != nil && content.err == nil {
		a.c.opt.Log.Fault("delivery", "MID "+item.MID.String()+": close the content: "+cerr.Error())
	}
	if (a.l.carried > 0 || ctx.Err() != nil) && a.from == 0 && content.err == nil && (err != nil || a.l.client.Closing()) && unheard(&res) {
		a.l.stale = true
		return false
	}
	a.decide(res, err, content, fates)
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
func (a *attempt) decide(res smtp.Result, err error, content *source, fates []fate) {
	unknown := false
	for i := range fates {
		r := res.Recipient(i)
		switch {
		case !r.IsZero() && (err == nil || !r.Positive() || !res.Data.IsZero()):
			fates[i] = judge(r, stageOf(&res, i))
		case content.err != nil:
			fates[i] = local(content.err)
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
