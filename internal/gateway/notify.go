package gateway

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"strings"

	"lazaret/internal/bounce"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/message"
	"lazaret/internal/queue"
	"lazaret/internal/stats"
)

// notify implements queue.Notifier: what senders hear of their mail. What
// nobody can be told of is kept (promise P3).
func (g *Gateway) notify(ctx context.Context, it *queue.Item, events []queue.Event) (queue.Notice, error) {
	t := telling{g: g, ctx: ctx, it: it}
	by := map[queue.EventKind][]queue.Event{}
	for _, e := range events {
		by[e.Kind] = append(by[e.Kind], e)
	}
	if err := t.failed(by[queue.Failed]); err != nil {
		return queue.Notice{}, err
	}
	if err := t.courtesy(bounce.Delay, by[queue.Late]); err != nil {
		return queue.Notice{}, err
	}
	if err := t.courtesy(bounce.Success, by[queue.Relayed]); err != nil {
		return queue.Notice{}, err
	}
	return t.notice, nil
}

// telling is one call of the notifier.
type telling struct {
	g      *Gateway
	ctx    context.Context
	it     *queue.Item
	notice queue.Notice
}

// failed sees to recipients that ended without delivery.
func (t *telling) failed(events []queue.Event) error {
	log := t.g.Log
	var tell []queue.Event
	for _, e := range events {
		r := &e.Recipient
		switch {
		case t.it.From.IsNull() && t.it.Origin.ICID == 0: // a report or alert of ours: it ends here
			log.DoubleBounce(t.it.MID, r.RID, statusOf(r), r.Reply)
		case t.it.From.IsNull(): // RFC 5321 section 4.5.5: nobody is told; somebody may look
			log.DoubleBounce(t.it.MID, r.RID, statusOf(r), r.Reply)
			tell = append(tell, e)
		case r.Notify.WantsFailure():
			tell = append(tell, e)
		}
	}
	if len(tell) == 0 {
		return nil
	}
	if t.it.From.IsNull() {
		return t.g.undelivered(t.ctx, t.it, tell, keepReason{why: "it has no sender to tell"})
	}
	profile := t.g.profile(t.it, tell[0].Recipient.Dest.Name)
	if profile.Silent {
		log.Info("MID " + t.it.MID.String() + ": the bounce profile " + profile.Name + " tells no sender of failures")
		return nil
	}
	to := t.it.From
	if !profile.Alternate.IsNull() {
		to = profile.Alternate
	} else if why := t.outside(); why.why != "" {
		return t.g.undelivered(t.ctx, t.it, tell, why)
	}
	return t.report(bounce.Failure, profile, to, tell)
}

// courtesy tells of delays and of what was handed over. Where a failure would
// not be told, these are not; nothing is lost by that.
func (t *telling) courtesy(kind bounce.Kind, events []queue.Event) error {
	var tell []queue.Event
	for _, e := range events {
		if kind == bounce.Success || e.Recipient.Notify.WantsDelay() {
			tell = append(tell, e)
		}
	}
	if len(tell) == 0 || t.it.From.IsNull() {
		return nil
	}
	profile := t.g.profile(t.it, tell[0].Recipient.Dest.Name)
	to := t.it.From
	if !profile.Alternate.IsNull() {
		to = profile.Alternate
	} else if t.outside().why != "" {
		return nil
	}
	return t.report(kind, profile, to, tell)
}

// statusOf gives the status of a failed recipient.
func statusOf(r *queue.Recipient) string {
	if strings.HasPrefix(r.Status, "5.") {
		return r.Status
	}
	return "5.0.0"
}

// report makes one report.
func (t *telling) report(kind bounce.Kind, p bounce.Profile, to mail.Address, events []queue.Event) error {
	content, err := t.g.spool.Open(t.ctx, t.it.MID)
	if err != nil {
		return err
	}
	// content was not changed: what the report quotes begins with what we added
	made, err := t.g.makeReport(t.it, kind, p, to, events, io.MultiReader(bytes.NewReader(t.it.Prepend), content))
	if err = errors.Join(err, content.Close()); err != nil {
		return err
	}
	t.notice.New = append(t.notice.New, made)
	before := t.notice.Done
	t.notice.Done = func() {
		if before != nil {
			before()
		}
		t.g.told(made.Item.MID, t.it.MID, len(events))
	}
	return nil
}

// told says and counts that a report is in the queue.
func (g *Gateway) told(report, of mail.MID, recipients int) {
	g.Log.GeneratedBounce(report, of)
	g.Stats.Add(stats.GenBounceRecipients, uint64(recipients))
}

// makeReport makes the message that tells of events.
func (g *Gateway) makeReport(it *queue.Item, kind bounce.Kind, p bounce.Profile, to mail.Address, events []queue.Event, content io.Reader) (queue.Made, error) {
	c := g.Config.Committed()
	mid, now := g.nextMID(), g.Now()
	pass, err := mail.NewHeader(message.PassField, g.passes.Mark(mid))
	if err != nil {
		return queue.Made{}, err
	}
	r := bounce.Report{
		Kind: kind, Hostname: c.Hostname, From: c.ReportSender(), To: to, Now: now, ID: mid.String() + "." + c.Serial, Secret: secret(), Profile: p,
		Marker: []mail.Header{pass},
		Original: bounce.Original{
			Params: it.Params, From: it.From, Subject: message.DecodeHeader(it.Subject), MessageID: it.MessageID, Helo: it.Origin.Helo,
			Arrived: it.Accepted, Content: content,
		},
	}
	for _, e := range events {
		rc := &e.Recipient
		r.Recipients = append(r.Recipients, bounce.Recipient{
			RcptParams: rc.RcptParams, Address: rc.Address, Code: rc.Code, Status: rc.Status, Reply: rc.Reply, Remote: rc.Remote, Last: rc.Last,
			Until: e.Until, Expired: e.Expired,
		})
	}
	text, err := r.Content()
	if err != nil {
		return queue.Made{}, errs.Context(err, "reporting on MID %s", it.MID)
	}
	return g.OwnMail(mid, to, g.Steady(), text), nil
}

// secret gives what nobody can guess, for the boundary of a report.
func secret() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// postAlert implements appliance.PostAlert: alerts go the way of all mail, and
// like reports they have no sender, so that nothing comes back.
func (g *Gateway) postAlert(ctx context.Context, to mail.Address, write func(id string) ([]byte, error)) (mail.MID, error) {
	mid := g.nextMID()
	text, err := write(mid.String() + "." + g.serial())
	if err != nil {
		return 0, err
	}
	return mid, g.queue.Post(ctx, g.OwnMail(mid, to, g.Steady(), text))
}
