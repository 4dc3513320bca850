package delivery

import (
	"context"
	"io"

	"lazaret/internal/cpq"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/queue"
	"lazaret/internal/smtp"
)

// Rescans is a connection to a gateway for re-scans of what came from it. Not
// safe for concurrent use.
type Rescans struct {
	c *courier
	l *link
}

// OpenRescans connects to the gateway with a serial, proven like for a release.
// A gateway that is too old for re-scans is errs.Conflict.
func (c *Couriers) OpenRescans(ctx context.Context, serial string) (*Rescans, error) {
	way := &cpqWay{opt: &c.opt, release: true}
	l, err := way.open(ctx, queue.Dest{Name: queue.CPQReleaseHost, Lane: serial})
	if err != nil {
		return nil, err
	}
	r := &Rescans{c: &courier{opt: &c.opt, way: way}, l: l}
	if !hasWord(l.ext.Keywords[cpq.Verb], cpq.RescanWord) {
		r.Close(ctx)
		return nil, errs.New(errs.Conflict, "the gateway is too old to scan what is held again")
	}
	return r, nil
}

// Held is a message that is to be scanned again.
type Held struct {
	cpq.Rescan
	From    mail.Address
	To      mail.Address // any of its recipients: SMTP wants one, the gateway knows them
	Params  mail.Params
	Content io.Reader
}

// Ask sends one message and gives what the gateway found. An error says that it
// found nothing; with used false the connection is of no more use.
func (r *Rescans) Ask(ctx context.Context, h Held) (f mail.Finding, usable bool, err error) {
	b, err := cpq.Block(cpq.Metadata{Rescan: &h.Rescan})
	if err != nil {
		return f, true, errs.Context(err, "metadata of MID %s", h.ManagerMID)
	}
	res, err := r.l.client.Send(ctx, &smtp.Transaction{
		Before: []smtp.Block{b}, Params: h.Params, From: h.From, To: []mail.Address{h.To}, Size: h.Size, Content: h.Content,
	})
	usable = err == nil && !r.l.client.Closing()
	if err != nil {
		return f, usable, err
	}
	for _, reply := range []smtp.Reply{res.Before[0], res.Mail, res.Rcpt[0]} {
		if !reply.IsZero() && !reply.Positive() {
			return f, usable, refused(reply)
		}
	}
	if !res.Data.Positive() {
		return f, usable, refused(res.Data)
	}
	f, err = cpq.ParseFound(res.Data)
	return f, usable, err
}

func refused(r smtp.Reply) error {
	if r.Permanent() {
		return errs.New(errs.Denied, "the gateway scans it not again: %s", r)
	}
	return errs.New(errs.Temporary, "the gateway cannot scan it again now: %s", r)
}

// Close ends the connection.
func (r *Rescans) Close(ctx context.Context) { r.c.close(ctx, r.l) }
