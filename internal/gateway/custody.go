package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"slices"
	"strconv"
	"time"

	"lazaret/internal/appliance"
	"lazaret/internal/config"
	"lazaret/internal/cpq"
	"lazaret/internal/errs"
	"lazaret/internal/listener"
	"lazaret/internal/mail"
	"lazaret/internal/message"
	"lazaret/internal/queue"
	"lazaret/internal/spool"
)

// custody takes released mail back from a manager. A manager may only return
// what this gateway gave away, unchanged, to those it was for (P4, register
// D6); a decision that is in the ledger is not carried out twice (P2).
type custody struct{ g *Gateway }

// NextMID implements listener.CPQSink.
func (c custody) NextMID() mail.MID { return c.g.nextMID() }

// Ready implements listener.CPQSink.
func (c custody) Ready(size int64) error { return c.g.spool.Ready(size) }

// Peer implements listener.CPQSink.
func (c custody) Peer(state tls.ConnectionState) (string, error) { return c.g.PeerOf(state) }

// Accept implements listener.CPQSink.
func (c custody) Accept(_ context.Context, peer string, m cpq.Metadata) error {
	if m.Deposit != nil {
		return cpq.ReplyNoDeposits().Err()
	}
	if err := c.g.StillPeer(peer); err != nil {
		return err
	}
	if r := m.Rescan; r != nil {
		_, err := c.sent(peer, given{r.Key, r.Size, r.Hash})
		return err
	}
	if !c.g.releases.Take(peer, c.g.releaseLimits().PerMinute, time.Minute, c.g.Now()) {
		return c.flood(peer)
	}
	sent, err := c.sent(peer, givenIn(m.Release))
	if err != nil {
		return err
	}
	return c.again(peer, sent.Key, m.Release.Action)
}

// flood makes a manager wait that gives back more in a minute than it may.
func (c custody) flood(peer string) error {
	err := errs.New(errs.Temporary, "manager %s has released %d messages in this minute, which is its limit", peer, c.g.releaseLimits().PerMinute)
	c.alarm(peer, "CPQ: "+err.Error()+"; the rest waits there")
	return err
}

// alarm tells the administrators once an hour, and the log each time.
func (c custody) alarm(peer, text string) {
	if c.g.alarms.Take(peer, 1, time.Hour, c.g.Now()) {
		c.g.Alert(appliance.AlertCPQ, text)
		return
	}
	c.g.Log.Warning(text)
}

// again refuses one more release of a message that came back often enough. The
// manager has no reason for it: it releases a message once to each recipient,
// and repeats a decision under the same action key, which is in the ledger.
func (c custody) again(peer string, key mail.Key, action mail.ActionKey) error {
	if _, taken, err := c.g.spool.Action(action); taken || err != nil {
		return err
	}
	limit := c.g.releaseLimits().PerMessage
	// Those under way first: what ends between the two looks is in the ledger
	// by then, and counted twice rather than not at all.
	n := c.g.returning.count(key, action)
	inLedger, err := c.g.spool.Actions(key, limit)
	if err != nil {
		return err
	}
	if n += inLedger; n >= limit {
		return c.refuse(peer, "message %s was released %d times already, which is the limit", key, n)
	}
	return nil
}

func (g *Gateway) releaseLimits() config.ReleaseLimits {
	return g.Config.Committed().ReleaseLimits.Effective()
}

// given is a message that a manager says we gave it.
type given struct {
	Key  mail.Key
	Size int64
	Hash mail.Hash
}

func givenIn(r *cpq.Release) given { return given{r.Key, r.Size, r.Hash} }

// sent looks up in the ledger what a manager speaks of.
func (c custody) sent(peer string, r given) (spool.Sent, error) {
	// The queue first: a message leaves it and enters the ledger in one step,
	// which may come between the two looks.
	here, err := c.g.spool.Holds(r.Key)
	if err != nil {
		return spool.Sent{}, err
	}
	if here {
		// The manager has it and we have not noted its receipt, perhaps never
		// shall, after a crash. Then it goes there once more, meets its own key,
		// and this release is right. Without a word that could wait for as long as
		// the two back-offs together.
		c.g.hurry()
		return spool.Sent{}, errs.New(errs.Temporary, "message %s is still on its way to the manager", r.Key)
	}
	sent, found, err := c.g.spool.Sent(r.Key)
	if err != nil {
		return sent, err
	}
	if !found || sent.Remote == spool.Own {
		return sent, c.refuse(peer, "message %s was never given away by this gateway", r.Key)
	}
	if sent.Hash != r.Hash || sent.Size != r.Size {
		return sent, c.refuse(peer, "content of message %s is not what this gateway gave away", r.Key)
	}
	return sent, nil
}

// refuse says no and raises the alarm: a manager in its right mind does not do this.
func (c custody) refuse(peer, format string, args ...any) error {
	err := errs.New(errs.Denied, format, args...)
	c.alarm(peer, "CPQ: release by manager "+peer+" refused: "+err.Error())
	return err
}

// Take implements listener.CPQSink.
func (c custody) Take(ctx context.Context, m *listener.Message) (mail.MID, error) {
	r := m.Metadata.Release
	sent, err := c.sent(m.Peer, givenIn(r))
	if err != nil {
		return 0, err
	}
	asked, err := c.checkEnvelope(m, sent)
	if err != nil {
		return 0, err
	}
	// Others may be on their way with decisions of their own about the message:
	// all that are are counted before anyone is asked whether there is room.
	defer c.g.returning.enter(sent.Key, r.Action)()
	if err := c.again(m.Peer, sent.Key, r.Action); err != nil {
		return 0, err
	}
	mid, err := c.g.comeBack(ctx, m.MID, r.Extras, m.Content, func() *queue.Item {
		it := c.g.item(m)
		it.Origin, it.Prepend, it.Params, it.Judged, it.Route = sent.Origin, sent.Prepend, sent.Params, sent.Judged, sent.Route
		for i := range it.Recipients {
			it.Recipients[i].RcptParams = asked[i]
		}
		it.Release = &queue.Release{
			Action: r.Action, Gateway: c.g.serial(), ManagerMID: r.ManagerMID, GatewayMID: sent.MID, Cause: r.Cause, By: r.By,
			Held: sent.Placements,
		}
		return it
	})
	if err == nil && mid == m.MID {
		c.g.reports.heard()
		signal(c.g.shadows.near)
		c.g.backAgain(sent)
	}
	return mid, err
}

// backAgain drops the copy of a message that the manager has given back.
func (g *Gateway) backAgain(sent spool.Sent) {
	if err := g.spool.DropShadows([]spool.Shadow{{MID: sent.MID}}); err != nil {
		g.Log.Fault("outbreak", err.Error())
	}
}

// comeBack takes released mail into the spool and the queue under the number
// mid, changed as far as it was asked for, and gives its number: that of the
// first time for a decision that is in the ledger (P2). The item is asked for
// when the content was read: its subject may be known only then.
func (g *Gateway) comeBack(ctx context.Context, mid mail.MID, x extras, content io.Reader, item func() *queue.Item) (mail.MID, error) {
	d, err := g.spool.Receive(ctx, mid)
	if err != nil {
		return 0, err
	}
	defer d.Abort() // does nothing after Commit
	removed, err := x.copy(d, content, message.Edit{})
	if err != nil {
		return 0, err
	}
	it := item()
	x.mark(it)
	was := it.Release.GatewayMID
	err = d.Commit(ctx, it, spool.WithAction(it.Release.Action))
	var before *spool.Taken
	if errors.As(err, &before) {
		g.Log.Rewritten(was, before.MID, "Policy Quarantine") // the first time may have ended before this line
		return before.MID, nil
	}
	if err != nil {
		return 0, err
	}
	g.Log.Rewritten(was, mid, "Policy Quarantine")
	if x.strip() {
		g.Log.Info("MID " + mid.String() + " attachments stripped: " + strconv.Itoa(removed))
	}
	g.reports.track(it.Release.Action, false)
	g.queue.Add(it)
	return mid, nil
}

// checkEnvelope holds the envelope against the record, and gives what the
// record says the sender asked for each recipient: that is not the manager's
// to say.
func (c custody) checkEnvelope(m *listener.Message, sent spool.Sent) ([]mail.RcptParams, error) {
	if m.Envelope.From != sent.From {
		return nil, c.refuse(m.Peer, "sender of message %s is not the one on record", sent.Key)
	}
	left, params := slices.Clone(sent.Recipients), slices.Clone(sent.Rcpt)
	asked := make([]mail.RcptParams, len(m.Envelope.To))
	for i, to := range m.Envelope.To {
		at := slices.Index(left, to)
		if at < 0 {
			return nil, c.refuse(m.Peer, "recipient %d of message %s is not on record, or not so often", i, sent.Key)
		}
		asked[i] = params[at]
		left, params = slices.Delete(left, at, at+1), slices.Delete(params, at, at+1)
	}
	return asked, nil
}

// hurry makes what waits for the manager due now, at most once a second.
func (g *Gateway) hurry() {
	now := g.Now().Unix()
	if last := g.hurried.Load(); last != now && g.hurried.CompareAndSwap(last, now) {
		g.queue.DeliverNow(queue.CPQHost)
	}
}
