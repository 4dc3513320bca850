package gateway

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"lazaret/internal/bounce"
	"lazaret/internal/config"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/queue"
	"lazaret/internal/senderauth"
)

// Limits of asking whether a sender is genuine.
const (
	verifyTime     = 20 * time.Second
	verifiedAnHour = 5000          // messages, so that forged mail makes no storm of questions
	undecidedFor   = 4 * time.Hour // as long as DNS may be silent
)

// outsiders guards those whose names stand in forged mail (register B8).
type outsiders struct {
	mu       sync.Mutex
	reports  hourly
	verified hourly
}

// keepReason says why a message is kept instead of its sender being told.
type keepReason struct {
	why       string
	undecided bool // DNS has not answered: to be asked again
}

// outside gives why the sender of a message may not be told, or nothing: it is
// ours, or it is proven to be who it says and the limits allow it. The limits
// are taken.
func (t *telling) outside() keepReason {
	o := t.it.Origin
	if o.Relay || o.User != "" {
		return keepReason{}
	}
	return t.g.mayTell(t.ctx, t.it, func() (io.ReadCloser, error) { return t.g.spool.Open(t.ctx, t.it.MID) })
}

// mayTell asks whether an outside sender may be told of a message.
func (g *Gateway) mayTell(ctx context.Context, it *queue.Item, open queue.Opener) keepReason {
	c := g.Config.Committed()
	domain := it.From.Domain
	if !g.outsiders.take(g.Now, domain, c) {
		return keepReason{why: "its sender is not ours, and enough reports went outside in this hour"}
	}
	genuine, unknown, err := g.genuine(ctx, it, open)
	if genuine {
		return keepReason{}
	}
	g.outsiders.giveBack(domain)
	switch {
	case err != nil:
		return keepReason{why: "its sender is not ours, and the message could not be read: " + errs.Public(err), undecided: true}
	case unknown:
		return keepReason{why: "its sender is not ours, and DNS does not answer who may use its domain", undecided: true}
	}
	return keepReason{why: "its sender is not ours, and neither SPF nor DKIM proves that it is who it says"}
}

// genuine asks SPF, then DKIM: the message is read only when it must be.
func (g *Gateway) genuine(ctx context.Context, it *queue.Item, open queue.Opener) (genuine, unknown bool, err error) {
	g.outsiders.mu.Lock()
	ok := g.outsiders.verified.take(g.Now(), "", verifiedAnHour, verifiedAnHour)
	g.outsiders.mu.Unlock()
	if !ok {
		return false, true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, verifyTime)
	defer cancel()
	r := senderauth.Result{SPF: g.verifier.SPF(ctx, it.Origin, it.From)}
	if genuine, _ = r.Genuine(it.From.Domain); genuine {
		return true, false, nil
	}
	content, err := open()
	if err != nil {
		return false, true, err
	}
	r.DKIM, err = g.verifier.DKIM(ctx, content)
	if err = errors.Join(err, content.Close()); err != nil {
		return false, true, err
	}
	genuine, unknown = r.Genuine(it.From.Domain)
	return genuine, unknown, nil
}

// take counts one more report. The clock is asked under the lock: who asked it
// first and came second would see the hour begin in the future, which is how a
// clock that was set back looks, and count anew.
func (o *outsiders) take(now func() time.Time, domain string, c *config.Config) bool {
	perDomain, all := c.Reports.PerDomain, c.Reports.PerHour
	if perDomain == 0 {
		perDomain = config.DefaultPerDomain
	}
	if all == 0 {
		all = config.DefaultPerHour
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.reports.take(now(), domain, perDomain, all)
}

func (o *outsiders) giveBack(domain string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.reports.giveBack(domain)
}

// decideLater asks again about the senders that DNS did not answer for, until
// they are told or their time is up.
func (g *Gateway) decideLater(ctx context.Context) {
	t := time.NewTicker(time.Minute)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		g.decideUndecided(ctx)
	}
}

func (g *Gateway) decideUndecided(ctx context.Context) {
	for _, mid := range g.kept.waiting() {
		if ctx.Err() != nil {
			return
		}
		if err := g.decide(ctx, mid); err != nil {
			g.Log.Fault("undelivered", "MID "+mid.String()+": "+err.Error())
		}
	}
}

// stays ends the asking: the message is kept for the administrator.
func (g *Gateway) stays(mid mail.MID, why string) error {
	g.kept.busy.Lock()
	defer g.kept.busy.Unlock()
	k, err := g.kept.load(mid)
	if err != nil {
		return err
	}
	k.Undecided, k.Why = false, why
	if err := g.kept.save(k); err != nil {
		return err
	}
	g.kept.decided(mid)
	g.Log.Info("MID " + mid.String() + " stays in undelivered/: " + why)
	return nil
}

// decide tells the sender of one kept message, or decides that it stays.
func (g *Gateway) decide(ctx context.Context, mid mail.MID) error {
	k, err := g.kept.load(mid)
	if errs.Is(err, errs.NotFound) {
		g.kept.decided(mid)
		return nil
	}
	if err != nil {
		return err
	}
	it := k.item()
	open := func() (io.ReadCloser, error) { return g.kept.open(mid) }
	reason := g.mayTell(ctx, it, open)
	if reason.undecided && g.Now().Sub(k.At) < undecidedFor {
		return nil
	}
	if reason.why != "" {
		return g.stays(mid, reason.why)
	}
	g.kept.busy.Lock()
	defer g.kept.busy.Unlock()
	if k, err = g.kept.load(mid); err != nil { // there may be more recipients now
		return err
	}
	content, err := open()
	if err != nil {
		return err
	}
	events := k.events()
	made, err := g.makeReport(it, bounce.Failure, g.profile(it, k.Recipients[0].Address.Domain), it.From, events, content)
	if err = errors.Join(err, content.Close()); err != nil {
		return err
	}
	report, err := g.postOnce(ctx, made, k.action(reportAction))
	if err != nil {
		return err
	}
	g.told(report, mid, len(events))
	return g.kept.remove(mid)
}
