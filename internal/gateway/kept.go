package gateway

import (
	"bytes"
	"context"
	"errors"
	"io"
	"time"

	"lazaret/internal/admin"
	"lazaret/internal/config"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/queue"
	"lazaret/internal/spool"
)

// keptCommands shows and changes kept mail, for the command undelivered.
type keptCommands struct{ g *Gateway }

// List implements admin.Undelivered.
func (c keptCommands) List(ctx context.Context) ([]admin.UndeliveredMessage, error) {
	mids, err := c.g.kept.all()
	if err != nil {
		return nil, err
	}
	var out []admin.UndeliveredMessage
	for _, mid := range mids {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		m, err := c.one(mid)
		if err != nil {
			m = admin.UndeliveredMessage{MID: mid, Why: errs.Public(err)}
		}
		out = append(out, m)
	}
	return out, nil
}

func (c keptCommands) one(mid mail.MID) (admin.UndeliveredMessage, error) {
	k, err := c.g.kept.load(mid)
	if err != nil {
		return admin.UndeliveredMessage{}, err
	}
	m := admin.UndeliveredMessage{MID: mid, Since: k.At, From: k.From, Subject: k.Subject, Why: k.Why, Undecided: k.Undecided}
	for _, r := range k.Recipients {
		m.To = append(m.To, admin.UndeliveredRecipient{Address: r.Address, Reply: r.Reply, Code: r.Code})
	}
	return m, nil
}

// Show implements admin.Undelivered.
func (c keptCommands) Show(_ context.Context, mid mail.MID) (admin.UndeliveredMessage, io.ReadCloser, error) {
	m, err := c.one(mid)
	if err != nil {
		return m, nil, err
	}
	content, err := c.g.kept.open(mid)
	return m, content, err
}

// Deliver implements admin.Undelivered: the message goes back into the queue,
// once, whatever crashes.
func (c keptCommands) Deliver(ctx context.Context, mid mail.MID) (mail.MID, error) {
	g := c.g
	g.kept.busy.Lock()
	defer g.kept.busy.Unlock()
	k, err := g.kept.load(mid)
	if err != nil {
		return 0, err
	}
	if k.Key == "" {
		k.Key = mail.NewKey(g.serial(), mid, mail.Hash{}) // kept by an older version: only the ledger reads it
	}
	content, err := g.kept.open(mid)
	if err != nil {
		return 0, err
	}
	it := k.item()
	it.MID, it.Key, it.State, it.Accepted = 0, "", queue.Routed, g.Steady()
	for i, r := range k.Recipients {
		it.Recipients = append(it.Recipients, queue.Recipient{
			RID: mail.RID(i), Address: r.Address, RcptParams: r.RcptParams, Dest: queue.Dest{Name: r.Address.Domain},
		})
	}
	again, err := g.commitOnce(ctx, it, content, k.action(deliverAction))
	if err = errors.Join(err, content.Close()); err != nil {
		return 0, err
	}
	g.Log.Rewritten(mid, again, "undelivered deliver")
	return again, g.kept.remove(mid)
}

// Remove implements admin.Undelivered.
func (c keptCommands) Remove(_ context.Context, mid mail.MID) error {
	c.g.kept.busy.Lock()
	defer c.g.kept.busy.Unlock()
	return c.g.kept.remove(mid)
}

// commitOnce stores a message under an action of the ledger and takes it up;
// when the action was carried out before, it gives the number of then.
func (g *Gateway) commitOnce(ctx context.Context, it *queue.Item, content io.Reader, a mail.ActionKey) (mail.MID, error) {
	d, err := g.spool.Receive(ctx, g.nextMID())
	if err != nil {
		return 0, err
	}
	defer d.Abort() // does nothing after Commit
	if _, err := io.Copy(d, content); err != nil {
		return 0, err
	}
	err = d.Commit(ctx, it, spool.WithAction(a))
	var before *spool.Taken
	if errors.As(err, &before) {
		return before.MID, nil
	}
	if err != nil {
		return 0, err
	}
	g.queue.Adopt(it)
	return it.MID, nil
}

// postOnce is commitOnce for a message of our own.
func (g *Gateway) postOnce(ctx context.Context, m queue.Made, a mail.ActionKey) (mail.MID, error) {
	m.Item.MID, m.Item.Key = 0, ""
	return g.commitOnce(ctx, m.Item, bytes.NewReader(m.Content), a)
}

// forgetKept removes what nobody has asked for within undelivered_days.
func (g *Gateway) forgetKept() {
	days := g.Config.Committed().Reports.KeepDays
	if days == 0 {
		days = config.DefaultKeepDays
	}
	limit := g.Steady().Add(-time.Duration(days) * 24 * time.Hour)
	g.kept.busy.Lock()
	defer g.kept.busy.Unlock()
	mids, err := g.kept.all()
	for _, mid := range mids {
		k, lerr := g.kept.load(mid)
		if lerr != nil || !k.At.Before(limit) {
			continue // what cannot be read stays
		}
		if rerr := g.kept.remove(mid); rerr != nil {
			err = errors.Join(err, rerr)
			continue
		}
		g.Log.Warning("MID " + mid.String() + " was removed from undelivered/: nobody asked for it since " + k.At.UTC().Format(time.DateOnly))
	}
	if err != nil {
		g.Log.Fault("undelivered", err.Error())
	}
}
