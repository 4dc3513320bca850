package gateway

import (
	"cmp"
	"context"

	"lazaret/internal/appliance/pvo"
	"lazaret/internal/errs"
	"lazaret/internal/mail"
	"lazaret/internal/policy"
	"lazaret/internal/quarantine"
	"lazaret/internal/queue"
	"lazaret/internal/spool"
	"lazaret/internal/stats"
)

// What a gateway of its own quarantines uses for it at most, beside its real
// work: those who need more centralise.
const (
	localMemTable = 8 << 20
	localReaders  = 2
)

// openQuarantines opens the gateway's own. They are there also while quarantined
// mail goes to a manager: what they held before stays in them.
func (g *Gateway) openQuarantines(opt Options) (err error) {
	if g.quarantines, err = pvo.Open(g.Appliance, pvo.Options{Options: opt, MemTable: min(opt.Memory.Buffer(), localMemTable), Readers: localReaders, Examiner: examiner{g}}); err != nil {
		return err
	}
	// Releases are a queue of their own: what is in it is held yet, and what comes
	// out of it is in the spool. Its destination needs no host.
	g.returns, err = queue.New(queue.Options{
		Store: g.quarantines.Store.Releases(), Processor: pvo.Home{}, Courier: func(queue.Dest) queue.Courier { return returner{g} }, Log: g.Log,
		Stats: new(stats.Set), Clock: g.Steady, MaxConnections: localReturns,
	})
	if err != nil {
		return err
	}
	return g.quarantines.Serve(g.returns, pvo.Copier{Base: g.Appliance, Spool: g.spool, NextMID: g.nextMID, Adopt: g.queue.Adopt})
}

// localReturns is how many released messages come back at the same time: as
// many as share a flush of the spool well.
const localReturns = 6

// quarantineDest is where quarantined mail goes by the configuration in force.
func (g *Gateway) quarantineDest() queue.Dest {
	if g.Config.Committed().CPQ.Enabled {
		return queue.Dest{Name: queue.CPQHost}
	}
	return queue.Dest{Name: queue.PVOQueue}
}

// courier gives the courier of a destination: another host's, or the one into
// our own quarantines.
func (g *Gateway) courier(d queue.Dest) queue.Courier {
	switch d.Name {
	case queue.PVOQueue:
		return keeper{g}
	case queue.BounceQueue:
		return refuser{}
	}
	return g.couriers.Courier(d)
}

// keeper carries messages into the gateway's own quarantines.
type keeper struct{ g *Gateway }

// Run implements queue.Courier. Without room the destination is down: mail
// waits, whatever it is (P3).
func (k keeper) Run(ctx context.Context, _ queue.Dest, feed *queue.Feed) {
	for {
		t, ok := feed.Next(ctx)
		if !ok {
			return
		}
		if err := k.g.quarantines.Ready(t.Item.Size); err != nil {
			k.g.Log.Warning("quarantined mail waits at " + queue.PVOQueue + ": " + err.Error())
			feed.Down(err)
			return
		}
		o, err := k.keep(ctx, t)
		settle(t, o, err)
	}
}

// keep takes a message into its quarantines, durably, and once: after a crash
// it comes again under its key and is known.
func (k keeper) keep(ctx context.Context, t *queue.Task) (queue.Outcome, error) {
	it, c := t.Item, k.g.Config.Committed()
	content, err := t.Open()
	if err != nil {
		return queue.Outcome{}, err
	}
	defer content.Close()
	direction := "inbound"
	if it.Origin.Relay {
		direction = "outbound"
	}
	env := mail.Envelope{Params: it.Params, From: it.From}
	for i := range t.Recipients {
		env.To, env.Rcpt = append(env.To, t.Recipients[i].Address), append(env.Rcpt, t.Recipients[i].RcptParams)
	}
	_, _, err = k.g.quarantines.Ingest(ctx, quarantine.Deposit{
		MID: it.MID, Key: it.Key, Gateway: c.Serial, GatewayName: c.Hostname, GatewayMID: it.MID, Accepted: it.Accepted,
		Envelope: env, Origin: it.Origin, Policy: cmp.Or(it.Judged.Policy, policy.Default), Direction: direction, Size: it.Size, Hash: it.Hash,
		Subject: it.Subject, MessageID: it.MessageID, Prepend: it.Prepend, Placements: it.Placements,
	}, content)
	// What it was held for stays in our own ledger, as when a manager takes it:
	// released, it is scanned again and must not meet itself (reference 2.5).
	return queue.Outcome{State: queue.Delivered, Code: 250, Status: "2.0.0", Remote: queue.PVOQueue, Reply: "in quarantine", Receipt: spool.Own}, err
}

// settle gives all recipients of a task the same outcome; an error makes them
// wait.
func settle(t *queue.Task, o queue.Outcome, err error) {
	if err != nil {
		o = queue.Outcome{State: queue.Deferred, Status: "4.3.0", Reply: errs.Public(err)}
	}
	all := make([]queue.Outcome, len(t.Recipients))
	for i := range all {
		all[i] = o
	}
	t.Done(all)
}

// returner brings what was released from the gateway's own quarantines back
// into the spool.
type returner struct{ g *Gateway }

// Run implements queue.Courier.
func (r returner) Run(ctx context.Context, _ queue.Dest, feed *queue.Feed) {
	for {
		t, ok := feed.Next(ctx)
		if !ok {
			return
		}
		if err := r.g.spool.Ready(t.Item.Size); err != nil {
			r.g.Log.Warning("mail released from quarantine waits: " + err.Error())
			feed.Down(err)
			return
		}
		o, err := r.bring(ctx, t)
		if err != nil {
			r.g.Log.Fault("quarantine", "releasing MID "+t.Item.MID.String()+": "+err.Error())
		}
		settle(t, o, err)
	}
}

// bring commits a released message under a new number, once for each decision.
func (r returner) bring(ctx context.Context, t *queue.Task) (queue.Outcome, error) {
	it, rel := t.Item, t.Item.Release
	content, err := t.Open()
	if err != nil {
		return queue.Outcome{}, err
	}
	defer content.Close()
	sent, _, err := r.g.spool.Sent(it.Key) // without an entry nothing is remembered
	if err != nil {
		return queue.Outcome{}, err
	}
	back := &queue.Item{
		From: it.From, Params: it.Params, Accepted: r.g.Steady(), Origin: it.Origin, Subject: it.Subject, MessageID: it.MessageID, Prepend: it.Prepend,
		Judged: sent.Judged, Route: sent.Route, Recipients: make([]queue.Recipient, len(t.Recipients)),
		Release: &queue.Release{Action: rel.Action, Gateway: rel.Gateway, GatewayMID: it.MID, Cause: rel.Cause, By: rel.By, Held: sent.Placements},
	}
	for i := range t.Recipients {
		back.Recipients[i] = queue.Recipient{RID: mail.RID(i), Address: t.Recipients[i].Address, RcptParams: t.Recipients[i].RcptParams}
	}
	mid, err := r.g.comeBack(ctx, r.g.nextMID(), rel.Extras, content, func() *queue.Item { return back })
	return queue.Outcome{State: queue.Delivered, Reply: "back in the queue as MID " + mid.String(), Receipt: mid.String()}, err
}
