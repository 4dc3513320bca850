package gateway

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"mime"
	"slices"

	"lazaret/internal/archive"
	"lazaret/internal/bounce"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/message"
	"lazaret/internal/pipeline"
	"lazaret/internal/queue"
)

// maxNotices bounds the messages that are made of one: a filter may notify all
// of its recipients.
const maxNotices = 200

// asides does what filters and mail policies want beside the message itself:
// notices and copies for others, which the queue stores together with what
// becomes of it, and copies in archives. All of it is of the message as it came.
func (p processor) asides(ctx context.Context, it *queue.Item, parts []pipeline.Part, open queue.Opener) (made []queue.Made, copies []queue.Copy, err error) {
	for _, part := range parts {
		for _, a := range part.Archive {
			if err := p.archive(it, a, open); err != nil {
				return nil, nil, err
			}
		}
		for _, b := range part.Bcc {
			c, err := p.bcc(ctx, it, b, open)
			if err != nil {
				return nil, nil, err
			}
			copies = append(copies, c...)
		}
		for _, n := range part.Notices {
			more, err := p.notice(ctx, it, n, open)
			if err != nil {
				return nil, nil, err
			}
			made = append(made, more...)
		}
	}
	if len(made) > maxNotices {
		p.g.Log.Warning("MID " + it.MID.String() + ": more than 200 notices; the rest is left out")
		made = made[:maxNotices]
	}
	return made, copies, nil
}

// bcc makes a copy of a message as it came, for somebody else. No stage looks at
// it (reference 7.4), unless that is asked for, and its sender hears nothing of
// it. A copy that is judged makes no more copies of that kind: it would never end.
func (p processor) bcc(ctx context.Context, it *queue.Item, to mail.Bcc, open queue.Opener) ([]queue.Copy, error) {
	if to.Scan && it.Copied {
		return nil, nil
	}
	c := it.Clone()
	c.MID = p.g.nextMID()
	of := it.MID
	if to.Subject != "" {
		if err := p.subject(ctx, c, to.Subject, open); err != nil {
			return nil, err
		}
		of = c.MID
	}
	c.Key = mail.NewKey(p.g.serial(), c.MID, c.Hash)
	c.State, c.Tries, c.Placements, c.Judged = queue.Routed, 0, nil, mail.Judgement{}
	c.Route = mail.Route{Host: to.Host}
	if !to.From.IsNull() {
		c.From = to.From
	}
	r := queue.Recipient{Address: to.To, RcptParams: mail.RcptParams{Notify: mail.NotifyNever}}
	word := "bcc"
	if to.Scan {
		c.State, c.Copied, word = queue.Work, true, "bcc-scan"
	} else {
		r.Dest = p.toDomain(c, c.Route)(r)
	}
	c.Recipients = []queue.Recipient{r}
	copied := queue.Copy{Of: of, Item: c}
	p.g.Log.Generated(c.MID, it.MID, word+" filter '"+to.By+"'")
	p.envelope(c)
	if !to.Scan {
		p.g.Log.QueuedForDelivery(c.MID)
	}
	return []queue.Copy{copied}, nil
}

// subject stores the content under the number of c with another subject.
func (p processor) subject(ctx context.Context, c *queue.Item, text string, open queue.Opener) error {
	content, err := open()
	if err != nil {
		return err
	}
	defer content.Close()
	d, err := p.g.spool.Receive(ctx, c.MID)
	if err != nil {
		return err
	}
	value := mime.BEncoding.Encode("utf-8", text)
	if _, err := (message.Edit{Subject: func(string) string { return value }}).Copy(d, content); err != nil {
		d.Abort()
		return err
	}
	c.Size, c.Hash, c.Subject = d.Size(), d.Hash(), value
	return errors.Join(d.Keep(), ctx.Err())
}

func (p processor) archive(it *queue.Item, a mail.Archived, open queue.Opener) error {
	content, err := open()
	if err != nil {
		return err
	}
	err = p.g.archives.Add(a.Name, archive.Mail{MID: it.MID, From: it.From, To: envelope(it).To, At: it.Accepted, By: a.By}, io.MultiReader(bytes.NewReader(it.Prepend), content))
	return errors.Join(err, content.Close())
}

// notice makes the messages of one notice, one for each of those who get it.
func (p processor) notice(ctx context.Context, it *queue.Item, n mail.Notice, open queue.Opener) (made []queue.Made, err error) {
	var to []mail.Address
	for _, a := range n.To {
		if !slices.Contains(to, a) && len(to) < maxNotices {
			to = append(to, a)
		}
	}
	if n.ToSender {
		if why := p.maySend(ctx, it, open); why != "" {
			p.g.Log.Info("MID " + it.MID.String() + ": the sender is not notified by " + n.By + ": " + why)
		} else if !slices.Contains(to, it.From) {
			to = append(to, it.From)
		}
	}
	for _, a := range to {
		one, err := p.noticeTo(it, n, a, open)
		if err != nil {
			return nil, errs.Context(err, "notifying of MID %s", it.MID)
		}
		made = append(made, one)
		p.g.Log.Generated(one.Item.MID, it.MID, n.By)
	}
	return made, nil
}

// maySend says why the sender of a message is not told of it; empty: he is (no
// backscatter, register B8).
func (p processor) maySend(ctx context.Context, it *queue.Item, open queue.Opener) string {
	switch {
	case it.From.IsNull():
		return "there is none"
	case it.Origin.Relay || it.Origin.User != "":
		return ""
	}
	return p.g.mayTell(ctx, it, open).why
}

func (p processor) noticeTo(it *queue.Item, n mail.Notice, to mail.Address, open queue.Opener) (queue.Made, error) {
	c, mid, now := p.g.Config.Committed(), p.g.nextMID(), p.g.Now()
	pass, err := mail.NewHeader(message.PassField, p.g.passes.Mark(mid))
	if err != nil {
		return queue.Made{}, err
	}
	m := bounce.Notice{
		Hostname: c.Hostname, From: cmp.Or(n.From, "Mail Delivery System "+c.ReportSender().Path()), To: to, Subject: n.Subject, Text: n.Text,
		Now: now, ID: mid.String() + "." + c.Serial, Secret: secret(), Marker: []mail.Header{pass},
	}
	if n.Copy {
		content, err := open()
		if err != nil {
			return queue.Made{}, err
		}
		defer content.Close()
		m.Original = io.MultiReader(bytes.NewReader(it.Prepend), content)
	}
	text, err := m.Content()
	if err != nil {
		return queue.Made{}, err
	}
	return p.g.OwnMail(mid, to, now, text), nil
}
