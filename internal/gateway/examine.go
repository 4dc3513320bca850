package gateway

import (
	"context"
	"io"
	"slices"

	"lazaret/internal/errs"
	"lazaret/internal/listener"
	"lazaret/internal/mail"
	"lazaret/internal/pipeline"
	"lazaret/internal/quarantine"
	"lazaret/internal/spool"
)

// maxExamined is how many held messages are scanned at the same time, so that
// engines and disk are left to fresh mail.
const maxExamined = 2

// Examine implements listener.Examiner: a manager asks what our engines say now
// of a message that it holds. By whom and for whom it is, and what it was held
// for, the ledger says. The content is here as long as the scan takes; a crash
// leaves nothing but that, for the sweep.
func (c custody) Examine(ctx context.Context, m *listener.Message) (mail.Finding, error) {
	r := m.Metadata.Rescan
	sent, err := c.sent(m.Peer, given{r.Key, r.Size, r.Hash})
	if err != nil {
		return mail.Finding{}, err
	}
	release, err := c.g.examining.enter(ctx)
	if err != nil {
		return mail.Finding{}, err
	}
	defer release()
	open, drop, err := c.g.lay(ctx, m.MID, m.Content)
	if err != nil {
		return mail.Finding{}, err
	}
	defer drop()
	return c.g.examine(ctx, sent, open)
}

// examine asks the engines about a message of the ledger.
func (g *Gateway) examine(ctx context.Context, sent spool.Sent, open func() (io.ReadCloser, error)) (mail.Finding, error) {
	f, err := g.pipeline.Examine(ctx, pipeline.Again{
		Input: pipeline.Input{MID: sent.MID, Env: mail.Envelope{Params: sent.Params, From: sent.From, To: sent.Recipients, Rcpt: sent.Rcpt},
			Origin: sent.Origin, Size: sent.Size, Hash: sent.Hash, Subject: sent.Subject, Open: open},
		Judged: sent.Judged, Outbreak: fromOutbreak(sent.Placements),
	})
	if err == nil {
		g.Log.ScannedAgain(sent.MID, f.Text)
	}
	return f, err
}

func fromOutbreak(held []mail.Placement) bool {
	return slices.ContainsFunc(held, func(h mail.Placement) bool { return h.Quarantine == quarantine.Outbreak })
}

// lay puts content where it can be read several times, until drop.
func (g *Gateway) lay(ctx context.Context, mid mail.MID, content io.Reader) (open func() (io.ReadCloser, error), drop func(), err error) {
	d, err := g.spool.Receive(ctx, mid)
	if err != nil {
		return nil, nil, err
	}
	if _, err := io.Copy(d, content); err != nil {
		d.Abort()
		return nil, nil, err
	}
	size := d.Size()
	if err := d.Keep(); err != nil {
		return nil, nil, err
	}
	return func() (io.ReadCloser, error) { return g.spool.OpenSized(ctx, mid, size) }, d.Drop, nil
}

// slots bounds what is done at the same time.
type slots chan struct{}

// enter waits for a place, and gives what gives it back.
func (s slots) enter(ctx context.Context) (leave func(), err error) {
	select {
	case s <- struct{}{}:
		return func() { <-s }, nil
	case <-ctx.Done():
		return nil, errs.Wrap(errs.Temporary, ctx.Err(), "waiting for the engines")
	}
}

// examiner asks our own engines about what our own quarantines hold. It
// implements quarantine.Examiner.
type examiner struct{ g *Gateway }

// Examine implements quarantine.Examiner.
func (x examiner) Examine(ctx context.Context, r *quarantine.Record, open func() (io.ReadCloser, error)) (mail.Finding, error) {
	sent, found, err := x.g.spool.Sent(r.Key)
	if err != nil {
		return mail.Finding{}, err
	}
	if !found { // held before there was a ledger of it
		sent = spool.Sent{Key: r.Key, MID: r.GatewayMID, From: r.Envelope.From, Params: r.Envelope.Params, Recipients: r.Envelope.To,
			Rcpt: r.Envelope.Rcpt, Size: r.Size, Hash: r.Hash, Subject: r.Subject, Origin: r.Origin}
		for i := range r.Memberships {
			sent.Placements = append(sent.Placements, mail.Placement{Quarantine: r.Memberships[i].Quarantine})
		}
	}
	release, err := x.g.examining.enter(ctx)
	if err != nil {
		return mail.Finding{}, err
	}
	defer release()
	return x.g.examine(ctx, sent, open)
}
