package delivery

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"strings"
	"time"

	"lazaret/internal/certs"
	"lazaret/internal/cpq"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/queue"
	"lazaret/internal/smtp"
)

// maxCPQMessages is how many messages one CPQ connection carries. A handshake
// costs as much as some ten messages; ending a connection now and then lets a
// changed pin, key or address be noticed.
const maxCPQMessages = 10000

// cpqWay goes to the manager or back to a gateway. TLS 1.3 with both pinned
// certificates is not a choice here, so there is no mode.
type cpqWay struct {
	opt     *Options
	release bool // to a gateway; else a deposit to the manager
}

// open finds the peer and proves who it is. When what Locate knew does not
// work, it asks once more before it gives up: a gateway whose port was changed
// gets its mail without anyone telling (reference 4.1).
func (w *cpqWay) open(ctx context.Context, dest queue.Dest) (*link, error) {
	ep, err := w.locate(ctx, dest)
	if err != nil {
		return nil, err
	}
	l, err := w.connect(ctx, dest, ep)
	if err == nil {
		return l, nil
	}
	w.opt.Locator.Forget(dest, ep)
	if ctx.Err() != nil {
		return nil, err
	}
	again, lerr := w.locate(ctx, dest)
	if lerr != nil || again.Addr == ep.Addr {
		return nil, err
	}
	if l, err = w.connect(ctx, dest, again); err != nil {
		w.opt.Locator.Forget(dest, again)
	}
	return l, err
}

func (w *cpqWay) locate(ctx context.Context, dest queue.Dest) (Endpoint, error) {
	if w.opt.Locator == nil {
		return Endpoint{}, errs.New(errs.Temporary, "%s: no CPQ peer is configured", dest)
	}
	ep, err := w.opt.Locator.Locate(ctx, dest)
	if err != nil {
		err = errs.Context(err, "%s: find out where the peer listens", dest)
		w.opt.notLocated(err)
		return Endpoint{}, err
	}
	if ep.TLS == nil || !ep.Addr.IsValid() {
		return Endpoint{}, errs.New(errs.Internal, "%s: the peer has no address or no TLS configuration", dest)
	}
	return ep, nil
}

// notLocated writes the line of a peer that cannot be asked where it listens.
// A peer that is down or not paired is an ordinary condition; only what nobody
// expects is a fault, and not when whoever met it has written so.
func (o *Options) notLocated(err error) {
	var told interface{ Logged() bool }
	switch {
	case errors.As(err, &told) && told.Logged():
	case errs.Is(err, errs.Internal):
		o.Log.Fault("delivery", err.Error())
	default:
		o.Log.Warning(err.Error())
	}
}

// connect makes one connection, proven and ready for metadata, or none.
func (w *cpqWay) connect(ctx context.Context, dest queue.Dest, ep Endpoint) (*link, error) {
	h := hello{opt: w.opt, dcid: w.opt.DCIDs(), domain: dest.Name, remote: ep.Addr, local: ep.LocalIP}
	client, err := h.dial(ctx)
	if err != nil {
		return nil, err
	}
	l := &link{client: client, dcid: h.dcid, messages: maxCPQMessages, cpq: true}
	if l.ext, err = h.greet(ctx, client); err == nil {
		err = w.prove(ctx, &h, l, ep)
	}
	if err != nil {
		h.giveUp(client)
		return nil, err
	}
	return l, nil
}

// prove does STARTTLS and EHLO. TLS 1.3 tells us late that the peer refused our
// certificate: the handshake is complete for us before the peer has looked at
// it. So TLS has succeeded only when EHLO is answered inside it, and nothing
// but EHLO may leave before (docs/cpq.md).
func (w *cpqWay) prove(ctx context.Context, h *hello, l *link, ep Endpoint) error {
	if !l.ext.StartTLS {
		return w.tlsFailed(h, ep, errs.New(errs.Denied, "the peer does not offer STARTTLS"))
	}
	state, err := l.client.StartTLS(ctx, ep.TLS)
	if err != nil {
		return w.tlsFailed(h, ep, err)
	}
	ext, reply, err := l.client.Hello(ctx, w.opt.Hostname)
	if err != nil {
		return w.tlsFailed(h, ep, err)
	}
	w.opt.Log.DCIDTLSSuccess(h.dcid, tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite), h.domain)
	if err := h.check(reply, nil, "EHLO inside TLS"); err != nil {
		return err
	}
	version, ok := ext.Keywords[cpq.Verb]
	if !ok || !hasWord(version, cpq.VersionWord) {
		h.failed("the peer does not announce "+cpq.Verb+" "+cpq.VersionWord, "the peer is not a CPQ listener of this version")
		return errs.New(errs.Temporary, "%s (%s) is not a CPQ listener of this version", ep.Name, h.remote)
	}
	l.ext = ext
	return nil
}

// tlsFailed writes the seed's two lines with the true cause.
func (w *cpqWay) tlsFailed(h *hello, ep Endpoint, err error) error {
	w.opt.Log.DCIDTLSFailed(h.dcid, "verify error: "+certs.Cause(err))
	w.opt.Log.DCIDTLSRequired(h.dcid)
	return errs.Wrap(errs.Temporary, errors.Join(errTLS, err), "TLS with %s (%s)", ep.Name, h.remote)
}

// hasWord reports whether one of the blank-separated words of s is word.
func hasWord(s, word string) bool {
	for _, f := range strings.Fields(s) {
		if f == word {
			return true
		}
	}
	return false
}

// blocks makes the metadata that goes before MAIL.
func (w *cpqWay) blocks(l *link, item *queue.Item) ([]smtp.Block, error) {
	m, err := w.metadata(item)
	if err != nil {
		return nil, err
	}
	if m.Version() == cpq.VersionExtras && !hasWord(l.ext.Keywords[cpq.Verb], cpq.ExtrasWord) {
		return nil, errs.New(errs.Temporary, "MID %s is to be tagged or stripped, and the gateway is too old for that: "+
			"it waits until the gateway announces %s", item.MID, cpq.Keyword)
	}
	if m.Version() == cpq.VersionKeep && !hasWord(l.ext.Keywords[cpq.Verb], cpq.KeepWord) {
		m = m.Unkept() // held as long as the manager's quarantine says
	}
	if m.Version() == cpq.VersionMatched && !hasWord(l.ext.Keywords[cpq.Verb], cpq.MatchedWord) {
		m = m.Plain() // it is only for people to look at
	}
	b, err := cpq.Block(m)
	if err != nil && m.Version() >= cpq.VersionMatched { // too long with what was matched
		b, err = cpq.Block(m.Plain())
	}
	if err != nil {
		return nil, errs.Context(err, "metadata of MID %s", item.MID)
	}
	return []smtp.Block{b}, nil
}

// metadata is decided by the way we go, not by the item: mail that came back
// to a gateway carries its release, and may be held a second time.
func (w *cpqWay) metadata(item *queue.Item) (cpq.Metadata, error) {
	if !w.release {
		return deposit(item, w.opt.Hostname)
	}
	r := item.Release
	if r == nil {
		return cpq.Metadata{}, errs.New(errs.Damaged, "MID %s goes back to a gateway without a release decision", item.MID)
	}
	return cpq.Metadata{Release: &cpq.Release{
		Action: r.Action, Key: item.Key, ManagerMID: r.ManagerMID, GatewayMID: r.GatewayMID,
		Size: item.Size, Hash: item.Hash, Cause: r.Cause, By: r.By, Prepend: string(item.Prepend),
		Extras: r.Extras,
	}}, nil
}

// defaultPolicy is the last row of the mail policy tables, reference 7.8.
const defaultPolicy = "DEFAULT"

func deposit(item *queue.Item, gateway string) (cpq.Metadata, error) {
	_, serial, _, err := mail.ParseKey(string(item.Key))
	if err != nil {
		return cpq.Metadata{}, errs.Context(err, "key of MID %s", item.MID)
	}
	if len(item.Placements) == 0 {
		return cpq.Metadata{}, errs.New(errs.Damaged, "MID %s goes to a quarantine, but none is named", item.MID)
	}
	direction := cpq.Inbound
	if item.Origin.Relay {
		direction = cpq.Outbound
	}
	return cpq.Metadata{Deposit: &cpq.Deposit{
		Key: item.Key, GatewaySerial: serial, GatewayName: gateway, GatewayMID: item.MID,
		Accepted: item.Accepted.UTC().Truncate(time.Millisecond),
		Origin: cpq.Origin{RemoteIP: item.Origin.RemoteIP, RemoteHost: item.Origin.RemoteHost, Helo: item.Origin.Helo,
			Listener: item.Origin.Listener, SenderGroup: item.Origin.SenderGroup},
		Policy: cmp.Or(item.Judged.Policy, defaultPolicy), Direction: direction, Size: item.Size, Hash: item.Hash,
		Subject: item.Subject, Prepend: string(item.Prepend), Placements: item.Placements,
	}}, nil
}

// settle keeps what only CPQ knows. A deposit never bounces, whatever the peer
// says: it waits, and an operator sees why (promise P3). A refused release is
// final for that decision: the store marks it failed, and the message stays.
func (w *cpqWay) settle(f *fate) {
	if f.state == queue.Bounced && !w.release {
		f.state = queue.Deferred
	}
	if f.state != queue.Delivered {
		return
	}
	mid, err := cpq.ParseAccepted(f.reply)
	if err != nil {
		// Taken without a receipt is not taken. The same key goes again and
		// meets the answer that this one should have had.
		*f = fate{state: queue.Deferred, code: f.code, status: "4.5.0", reason: "Protocol error",
			texts: []string{"the reply names no message: " + f.reply.Message()}, reply: f.reply}
		return
	}
	f.receipt = mid.String()
}
