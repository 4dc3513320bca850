package manager

import (
	"context"
	"io"
	"sync"
	"time"

	"lazaret/internal/cpq"
	"lazaret/internal/delivery"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/quarantine"
)

// rescans asks gateways what their engines say now of what came from them. It
// implements quarantine.Examiner. Connections are kept for a few seconds: many
// messages follow each other.
type rescans struct {
	m *Manager

	mu   sync.Mutex
	kept map[string][]*keptLink // by serial
}

// keptLink is a connection that nobody uses now.
type keptLink struct {
	*delivery.Rescans
	timer *time.Timer
}

const (
	keepRescan = 3 * time.Second
	maxKept    = 2 // connections to one gateway, without use
)

// Examine implements quarantine.Examiner.
func (x *rescans) Examine(ctx context.Context, r *quarantine.Record, open func() (io.ReadCloser, error)) (mail.Finding, error) {
	if _, ok := x.m.gateway(r.Gateway); !ok {
		return mail.Finding{}, errs.New(errs.Conflict, "gateway %s is not one of this manager's any more", r.Gateway)
	}
	for {
		link, old, err := x.link(ctx, r.Gateway)
		if err != nil {
			return mail.Finding{}, err
		}
		f, usable, err := x.ask(ctx, link, r, open)
		if usable {
			x.keep(r.Gateway, link)
		} else {
			link.Close(ctx)
		}
		if old && !usable && ctx.Err() == nil {
			continue // the gateway closed it meanwhile
		}
		return f, err
	}
}

// ask sends one message over a connection.
func (x *rescans) ask(ctx context.Context, link *delivery.Rescans, r *quarantine.Record, open func() (io.ReadCloser, error)) (mail.Finding, bool, error) {
	content, err := open()
	if err != nil {
		return mail.Finding{}, true, err
	}
	defer content.Close()
	h := delivery.Held{Rescan: cpq.Rescan{Key: r.Key, ManagerMID: r.MID, Size: r.Size, Hash: r.Hash},
		From: r.Envelope.From, Params: r.Envelope.Params, Content: content}
	if len(r.Envelope.To) == 0 {
		return mail.Finding{}, true, errs.New(errs.Damaged, "message %s has no recipients", r.MID)
	}
	h.To = r.Envelope.To[0]
	f, usable, err := link.Ask(ctx, h)
	if err != nil && errs.KindOf(err) == errs.Internal { // of the connection: what it was stands in the log
		err = errs.Wrap(errs.Temporary, err, "the gateway did not answer")
	}
	return f, usable, err
}

// link gives a connection to a gateway, a kept one if there is one.
func (x *rescans) link(ctx context.Context, serial string) (l *delivery.Rescans, old bool, err error) {
	x.mu.Lock()
	for list := x.kept[serial]; len(list) > 0; list = x.kept[serial] {
		k := list[len(list)-1]
		x.kept[serial] = list[:len(list)-1]
		if k.timer.Stop() {
			x.mu.Unlock()
			return k.Rescans, true, nil
		}
	}
	x.mu.Unlock()
	l, err = x.m.couriers.OpenRescans(ctx, serial)
	return l, false, err
}

// keep keeps a connection for the next message.
func (x *rescans) keep(serial string, l *delivery.Rescans) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.kept[serial]) >= maxKept {
		go l.Close(context.Background())
		return
	}
	k := &keptLink{Rescans: l}
	k.timer = time.AfterFunc(keepRescan, func() { x.drop(serial, k) })
	if x.kept == nil {
		x.kept = map[string][]*keptLink{}
	}
	x.kept[serial] = append(x.kept[serial], k)
}

// drop closes a kept connection that nobody wanted.
func (x *rescans) drop(serial string, k *keptLink) {
	x.mu.Lock()
	for i, o := range x.kept[serial] {
		if o == k {
			x.kept[serial] = append(x.kept[serial][:i], x.kept[serial][i+1:]...)
			break
		}
	}
	x.mu.Unlock()
	k.Close(context.Background())
}

// close ends the kept connections.
func (x *rescans) close() {
	x.mu.Lock()
	kept := x.kept
	x.kept = nil
	x.mu.Unlock()
	for _, list := range kept {
		for _, k := range list {
			if k.timer.Stop() {
				k.Close(context.Background())
			}
		}
	}
}
